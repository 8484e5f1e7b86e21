//! From a host's name to its addresses: by the machine's hosts file and the name servers of its resolv.conf, without the C library.
//!
//! A static C library cannot look names up by itself. And where no name server is configured none is asked: reqwest's own
//! resolver, which is built on the same crate, would then tell a public one the names of private registries.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves names for HTTP clients; clones share what they have learnt.
#[derive(Clone, Default)]
pub struct HostNames(Arc<OnceLock<TokioResolver>>);

impl HostNames {
    /// The resolver, made when it is first needed, as it belongs to the runtime of then.
    fn resolver(&self) -> Result<&TokioResolver, NetError> {
        if let Some(resolver) = self.0.get() {
            return Ok(resolver);
        }
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::debug!(%error, "the system has no name servers; only its hosts file is used");
            let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default())
        });
        // All addresses, so that the client can try the one kind when the other does not answer (RFC 8305).
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let resolver = builder.build()?;
        Ok(self.0.get_or_init(|| resolver))
    }
}

impl Resolve for HostNames {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.resolver()?.lookup_ip(name.as_str()).await?;
            let addresses: Vec<SocketAddr> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}
