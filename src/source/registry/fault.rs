//! What can fail on the way to a registry and back, told apart by what can be done about it.
//!
//! A [`Fault`] is one failed exchange, from an error of the HTTP client or from a status that says "not now". It knows
//! whether trying again may help; [`Tries`](super::retry::Tries) decides whether to.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::proxy::ProxyServer;
use crate::source::SourceError;
use crate::source::http::certificate::{Distrust, Remedy};
use crate::source::http::fault_kind::FaultKind;
use crate::source::http::shown::authority;

/// One exchange that failed.
#[derive(Debug)]
pub(super) struct Fault {
    /// The host (and port) that was talked to.
    pub host: String,
    /// How it failed.
    pub kind: FaultKind,
    /// How it was to be reached.
    pub way: Way,
}

/// What is known of the way to a host: whom to name, and what to try, when it fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// The proxy before it.
    pub proxy: Option<ProxyServer>,
    /// The folders where a registry's certificates are looked for. Empty for any other host, which has none of its own.
    pub certificates: Vec<PathBuf>,
    /// Whether it has ever answered.
    pub has_answered: bool,
}

/// Why a request gave no answer: something to try again, or an error to report.
#[derive(Debug)]
pub(super) enum Failure {
    /// The network's or the server's state; it may pass.
    Fault(Fault),
    /// An error that stays.
    Final(SourceError),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Failure::Fault(fault)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Failure::Final(error)
    }
}

impl Fault {
    /// Reads an error of the HTTP client. Its text is never passed on whole: it may hold a URL's secrets.
    pub fn of(error: &reqwest::Error, url: &Url, way: Way) -> Self {
        Fault { host: authority(url), kind: FaultKind::of(error), way }
    }

    /// No byte from `url` for `limit`.
    pub fn stalled(url: &Url, limit: Duration, way: Way) -> Self {
        Fault { host: authority(url), kind: FaultKind::Stalled(limit), way }
    }

    /// Whether the same request may go well a moment later.
    pub fn is_transient(&self) -> bool {
        use FaultKind::{Certificate, Handshake, Local, ProxyLogin};
        !matches!(self.kind, Certificate(_) | Handshake(_) | ProxyLogin | Local(_))
    }

    /// Whether there is no sign that anybody is there: no connection, or no word on it, and never an answer before.
    pub fn finds_nobody(&self) -> bool {
        !self.way.has_answered && (self.is_no_connection() || matches!(self.kind, FaultKind::Stalled(_)))
    }

    fn is_no_connection(&self) -> bool {
        matches!(self.kind, FaultKind::Refused | FaultKind::Unresolved | FaultKind::Unreachable(_))
    }

    /// Whose fault it is: the host's, or that of the proxy before it, which makes all connections for us.
    fn culprit(&self) -> Result<&str, &ProxyServer> {
        let is_proxys = self.is_no_connection() || matches!(self.kind, FaultKind::ProxyLogin);
        self.way.proxy.as_ref().filter(|_| is_proxys).map_or(Ok(&self.host), Err)
    }

    /// Who failed and how, for a notice.
    pub fn notice(&self) -> String {
        match self.culprit() {
            Ok(host) => format!("registry {host}: {}", self.brief()),
            Err(proxy) => format!("proxy {proxy}: {}", self.brief()),
        }
    }

    /// How it failed, in a few words.
    pub fn brief(&self) -> String {
        self.kind.brief()
    }

    /// How it failed and what to try, for the error that ends the work.
    pub fn explain(&self) -> String {
        let (host, brief) = (&self.host, self.brief());
        match (&self.kind, self.culprit()) {
            (FaultKind::ProxyLogin, Err(proxy)) => {
                let variable = &proxy.variable;
                format!(
                    "{host}: the proxy {proxy}: {brief}; write them into {variable} as http://USER:PASSWORD@HOST:PORT"
                )
            }
            (_, Err(proxy)) => {
                let variable = &proxy.variable;
                format!("{host}: the proxy {proxy}: {brief}; correct {variable}, or name {host} in NO_PROXY")
            }
            // A token server or a storage, that is, whose name nobody typed.
            (FaultKind::Refused | FaultKind::Unresolved, _) if self.way.certificates.is_empty() => {
                format!("cannot connect to {host}, which the registry refers to: {brief}; check the network")
            }
            (FaultKind::Refused, _) => format!("cannot connect to {host}: {brief}; is the registry running?"),
            (FaultKind::Unresolved, _) => format!("{host}: {brief}; check the registry's name and the network"),
            (FaultKind::Unreachable(_), _) => format!("{host}: {brief}; check the network and the proxy settings"),
            (FaultKind::Certificate(distrust), _) => {
                format!("{host}: {brief}; {}, or skip the check with --insecure", self.remedy(distrust))
            }
            (FaultKind::Handshake(_), _) if self.way.certificates.is_empty() => format!("{host}: {brief}"),
            (FaultKind::Handshake(_), _) => {
                let folders = self.certificate_files("").join(" or ");
                format!(
                    "{host}: {brief}; a registry without TLS needs --plain-http; for one that asks for a client certificate, put it \
                     into {folders}"
                )
            }
            (FaultKind::Local(_), _) => {
                format!("cannot connect to {host}: {brief}; this machine's limit, not the network's")
            }
            _ => match &self.way.proxy {
                Some(proxy) => format!("{host} (through the proxy {proxy}): {brief}"),
                None => format!("{host}: {brief}"),
            },
        }
    }

    fn remedy(&self, distrust: &Distrust) -> String {
        match distrust.remedy {
            Remedy::Authority if self.way.certificates.is_empty() => {
                "add the CA's certificate to the system's (SSL_CERT_FILE)".to_owned()
            }
            Remedy::Authority => {
                format!("put the CA's certificate into {}", self.certificate_files("ca.crt").join(" or "))
            }
            Remedy::Clock => "check this machine's clock, or have the certificate renewed".to_owned(),
            Remedy::Name => "use a name that the certificate is for".to_owned(),
            Remedy::Other => format!("ask whoever runs {}", self.host),
        }
    }

    fn certificate_files(&self, name: &str) -> Vec<String> {
        self.way.certificates.iter().map(|folder| folder.join(name).display().to_string()).collect()
    }
}
