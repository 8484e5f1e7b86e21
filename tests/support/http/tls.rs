//! A certificate authority of one's own, and the certificates that it signs.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A certificate authority that nobody trusts yet.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub certificate: Certificate,
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new([]).expect("no names are valid names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = new_key();
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Authority { issuer: Issuer::new(parameters, key), certificate }
    }

    /// A certificate for `name` and its key.
    pub fn sign(&self, name: &str) -> (Certificate, KeyPair) {
        let key = new_key();
        let parameters = CertificateParams::new([name.to_owned()]).expect("a valid name");
        (parameters.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// TLS for a server at 127.0.0.1, which asks for a client certificate of this authority if `mutual`.
    pub fn server(&self, mutual: bool) -> Arc<ServerConfig> {
        self.server_for(vec!["127.0.0.1".to_owned()], mutual)
    }

    /// The same for a server of these names.
    pub fn server_for(&self, names: Vec<String>, mutual: bool) -> Arc<ServerConfig> {
        let client_root = mutual.then(|| self.certificate.der().clone());
        self.config(CertificateParams::new(names).expect("valid names"), client_root)
    }

    /// TLS for a server whose certificate is for 127.0.0.1 except for what `change` makes of it.
    pub fn server_with(&self, change: impl Fn(&mut CertificateParams)) -> Arc<ServerConfig> {
        let mut parameters = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a valid name");
        change(&mut parameters);
        self.config(parameters, None)
    }

    fn config(&self, parameters: CertificateParams, client_root: Option<CertificateDer<'static>>) -> Arc<ServerConfig> {
        let key = new_key();
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        server_config(&certificate, &key, client_root)
    }
}

/// A certificate (in PEM) for `name` that is its own CA, and TLS for the server that has it.
pub fn self_signed(name: &str) -> (String, Arc<ServerConfig>) {
    let mut parameters = CertificateParams::new([name.to_owned()]).expect("a valid name");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = new_key();
    let certificate = parameters.self_signed(&key).expect("a certificate");
    (certificate.pem(), server_config(&certificate, &key, None))
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn server_config(
    certificate: &Certificate,
    key: &KeyPair,
    client_root: Option<CertificateDer<'static>>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().expect("the provider knows TLS 1.3");
    let builder = match client_root {
        Some(root) => {
            let mut roots = RootCertStore::empty();
            roots.add(root).expect("our own certificate");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("one root"))
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![certificate.der().clone()];
    Arc::new(builder.with_single_cert(chain, key).expect("key and certificate belong together"))
}
