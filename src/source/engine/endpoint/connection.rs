//! A connection to an engine: requests go out by it, and what fails on the way is told with where the engine was looked for.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::address::Destination;
use super::ssh::Tunnel;
use super::tls::TlsFiles;
use crate::source::SourceError;
use crate::source::http::certificate::Remedy;
use crate::source::http::fault_kind::FaultKind;
use crate::source::http::resolver::HostNames;
use crate::source::http::shown::printable;
use crate::source::http::tls::no_config;

/// How long a machine may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an engine may take to answer for the first time: it may only be started by being asked.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same by ssh, which may ask somebody for a password first.
const PATIENCE_BY_SSH: Duration = Duration::from_secs(120);
/// How much is read of the first answer, which is two bytes long where it comes from an engine.
const MAX_PING: usize = 4 << 10;
/// What begins the URLs of requests by a socket, where the name of a host means nothing.
const BASE: &str = "http://localhost";

/// Where an engine is looked for, in words.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its address.
    pub shown: String,
    /// What said so.
    pub origin: String,
    /// Other sockets that are there.
    pub others: Vec<PathBuf>,
}

/// A connection to an engine. There may be several requests at a time, each over a stream of its own; clones share the streams.
#[derive(Clone, Debug)]
pub struct Connection {
    client: Client,
    /// What begins each URL, without a slash at its end.
    base: String,
    place: Place,
    is_tls: bool,
    /// The file of the roots that the engine's certificate is checked by.
    ca: Option<PathBuf>,
    tunnel: Option<Arc<Tunnel>>,
    api_version: Option<String>,
}

impl Connection {
    /// Connects to a socket of this machine.
    pub(super) async fn by_socket(path: &Path, place: Place) -> Result<Self, SourceError> {
        // The HTTP client would hide which of the ways in which this fails it was.
        match timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(place.no_socket(path, error)),
            Err(_) => return Err(place.failed(format!("it took no connection for {} s", CONNECT_TIMEOUT.as_secs()))),
        }
        let client = build(client()?.unix_socket(path))?;
        Connection { client, base: BASE.to_owned(), place, is_tls: false, ca: None, tunnel: None, api_version: None }
            .greet(PATIENCE)
            .await
    }

    /// Connects to an engine that listens on the network.
    pub(super) async fn by_url(url: &Url, tls: Option<&TlsFiles>, place: Place) -> Result<Self, SourceError> {
        let is_tls = url.scheme() == "https";
        let mut builder = client()?;
        if is_tls {
            builder = builder.tls_backend_preconfigured(tls.cloned().unwrap_or_default().config()?);
        }
        let ca = tls.and_then(|tls| tls.ca.clone());
        let (client, base) = (build(builder)?, url.as_str().trim_end_matches('/').to_owned());
        Connection { client, base, place, is_tls, ca, tunnel: None, api_version: None }.greet(PATIENCE).await
    }

    /// Connects, by ssh, to the engine of another machine.
    pub(super) async fn by_ssh(
        destination: &Destination,
        search_path: Option<OsString>,
        place: Place,
    ) -> Result<Self, SourceError> {
        let tunnel = Tunnel::open(destination, search_path)
            .map_err(|error| SourceError::Io { what: "making a socket for ssh".to_owned(), error })?;
        let client = build(client()?.unix_socket(tunnel.socket()))?;
        let (base, tunnel) = (BASE.to_owned(), Some(Arc::new(tunnel)));
        Connection { client, base, place, is_tls: false, ca: None, tunnel, api_version: None }
            .greet(PATIENCE_BY_SSH)
            .await
    }

    /// Asks whoever is there for a sign of life, which says what version of the API it speaks.
    async fn greet(mut self, patience: Duration) -> Result<Self, SourceError> {
        let greeting = async {
            let mut response = self.request(Method::GET, "/_ping").send().await?;
            let version = response.headers().get("api-version").and_then(|value| value.to_str().ok()).map(printable);
            let said = beginning(&mut response).await?;
            Ok((response.status(), version, said))
        };
        match timeout(patience, greeting).await {
            Ok(Ok((status, version, said))) => {
                // A proxy before the engine may keep this answer from us, and let through what is asked next.
                if version.is_none() && !matches!(status, StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED) {
                    return Err(self.no_engine(status, &said));
                }
                self.api_version = version;
                Ok(self)
            }
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => Err(self.place.failed(format!("no answer for {} s", patience.as_secs()))),
        }
    }

    /// A request to the engine: `path_and_query` begins with a slash, and is percent-encoded.
    pub fn request(&self, method: Method, path_and_query: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path_and_query}", self.base))
    }

    /// The engine's address, as messages show it.
    pub fn shown(&self) -> &str {
        &self.place.shown
    }

    /// The newest version of its API that the engine speaks, such as `1.41`, where it said.
    pub fn api_version(&self) -> Option<&str> {
        self.api_version.as_deref()
    }

    /// The error for a request that got no answer, or not a whole one: how it failed, and what to try.
    pub fn failed(&self, error: &reqwest::Error) -> SourceError {
        let kind = FaultKind::of(error);
        let brief = kind.brief();
        if let Some(said) = self.tunnel.as_ref().and_then(|tunnel| tunnel.said()) {
            return self
                .place
                .failed(format!("{said}; check that ssh reaches that machine, and that docker works there"));
        }
        self.place.failed(match &kind {
            FaultKind::Local(_) => format!("{brief}; this machine's limit, not the network's"),
            FaultKind::Refused | FaultKind::Unreachable(_) => format!("{brief}; is the engine running?"),
            FaultKind::Unresolved => format!("{brief}; check the address and the network"),
            FaultKind::Certificate(distrust) => match (distrust.remedy, &self.ca) {
                (Remedy::Authority | Remedy::Other, Some(ca)) => {
                    format!("{brief}; put its CA's certificate into {}", ca.display())
                }
                (Remedy::Authority, None) => {
                    format!("{brief}; name its CA's certificate with --tlscacert, or in the context")
                }
                (Remedy::Clock, _) => format!("{brief}; check this machine's clock, or have it renewed"),
                (Remedy::Name, _) => format!("{brief}; use a name that the certificate is for"),
                (Remedy::Other, None) => brief,
            },
            FaultKind::Handshake(_) => {
                format!("{brief}; check the certificates, or, where it has no TLS, unset DOCKER_TLS_VERIFY")
            }
            FaultKind::Reset | FaultKind::Broken(_) if !self.is_tls && self.base != BASE => {
                format!("{brief}; if it speaks TLS, set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH")
            }
            _ => brief,
        })
    }

    /// The error for an answer that no engine gives.
    fn no_engine(&self, status: StatusCode, said: &str) -> SourceError {
        let problem = match said.contains("HTTP request to an HTTPS server") {
            true => "it speaks TLS; set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH".to_owned(),
            false => format!("what answers there is not a Docker engine ({status}); check the address"),
        };
        SourceError::Protocol { what: self.place.to_string(), problem }
    }
}

/// A client that goes nowhere else: by no proxy, and by no redirect.
fn client() -> Result<ClientBuilder, SourceError> {
    let builder = Client::builder().no_proxy().redirect(redirect::Policy::none()).http1_only();
    let builder = builder.connect_timeout(CONNECT_TIMEOUT).dns_resolver(HostNames::default()).referer(false);
    let builder = builder.user_agent(concat!("docker-artifact/", env!("CARGO_PKG_VERSION")));
    // Without one, the client would read the system's certificates for its own.
    Ok(builder.tls_backend_preconfigured(no_config()?))
}

fn build(builder: ClientBuilder) -> Result<Client, SourceError> {
    builder.build().map_err(|error| SourceError::Io {
        what: "setting up the HTTP client".to_owned(),
        error: io::Error::other(error),
    })
}

/// The beginning of an answer, as text.
async fn beginning(response: &mut Response) -> Result<String, reqwest::Error> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_PING
        && let Some(chunk) = response.chunk().await?
    {
        bytes.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Place {
    fn failed(&self, problem: String) -> SourceError {
        SourceError::Network { what: self.to_string(), problem }
    }

    /// The error for a socket that takes no connection.
    pub(super) fn no_socket(&self, path: &Path, error: io::Error) -> SourceError {
        let advice = "start the engine, or name another with --host, DOCKER_HOST or docker context use";
        match error.kind() {
            ErrorKind::PermissionDenied => SourceError::Denied {
                message: format!(
                    "{self}: permission denied; use sudo, or have your user added to the group that owns {} (docker, as a \
                     rule)",
                    path.display()
                ),
            },
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                let others = self.others.iter().map(|other| format!("DOCKER_HOST=unix://{}", other.display()));
                let others = others.collect::<Vec<_>>().join(" or ");
                match others.is_empty() {
                    true => self.failed(format!("there is no such socket; {advice}")),
                    false => self.failed(format!("there is no such socket; {advice}: there is {others}")),
                }
            }
            ErrorKind::ConnectionRefused => self.failed(format!("nobody listens on that socket; {advice}")),
            _ => SourceError::Io { what: format!("connecting to {self}"), error },
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the Docker engine at {} ({})", self.shown, self.origin)
    }
}
