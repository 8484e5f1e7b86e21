//! What can fail on the way to a registry and back, told apart by what can be done about it.
//!
//! A [`Fault`] is one failed exchange, from an error of the HTTP client or from a status that says "not now". It knows
//! whether trying again may help; [`Tries`](super::retry::Tries) decides whether to.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{StatusCode, Url};
use rustix::io::Errno;

use super::certificate::{self, Distrust, Remedy};
use super::proxy::ProxyServer;
use super::shown::{authority, printable};
use crate::source::SourceError;

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

/// How an exchange failed.
#[derive(Debug)]
pub(super) enum FaultKind {
    /// Nobody listens there.
    Refused,
    /// The name has no address, as far as anybody answers.
    Unresolved,
    /// No connection for another reason.
    Unreachable(String),
    /// The other side dropped the connection.
    Reset,
    /// The answer ended too early, or is not HTTP.
    Broken(String),
    /// Not one byte came for this long.
    Stalled(Duration),
    /// The server's certificate is not trusted.
    Certificate(Distrust),
    /// TLS failed in another way.
    Handshake(String),
    /// The proxy asks for a user name and a password, or for others.
    ProxyLogin,
    /// This machine has run out of something.
    Local(io::Error),
    /// The server answered that it cannot serve this now.
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// What the server said about it.
        message: String,
        /// How long to wait, where the server says.
        retry_after: Option<Duration>,
    },
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
        Fault { host: authority(url), kind: kind_of(error), way }
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
        match &self.kind {
            FaultKind::Refused => "connection refused".to_owned(),
            FaultKind::Unresolved => "its name cannot be resolved".to_owned(),
            FaultKind::Unreachable(text) => format!("cannot connect ({text})"),
            FaultKind::Reset => "connection reset".to_owned(),
            FaultKind::Broken(text) => format!("the connection broke off ({text})"),
            FaultKind::Stalled(limit) => format!("nothing came for {} s", limit.as_secs_f32()),
            FaultKind::Certificate(distrust) => format!("its certificate is not trusted: {}", distrust.problem),
            FaultKind::Handshake(text) => format!("TLS failed ({text})"),
            FaultKind::ProxyLogin => "it asks for a user name and a password, or for others".to_owned(),
            FaultKind::Local(error) => printable_os_error(error),
            FaultKind::Status { status, message, .. } if message.is_empty() => format!("it answered {status}"),
            FaultKind::Status { status, message, .. } => format!("it answered {status}: {message}"),
        }
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
                    "{host}: {brief}; a registry without TLS needs --plain-http, one that asks for client certificates \
                     finds them in {folders}"
                )
            }
            (FaultKind::Local(_), _) => {
                format!("cannot connect to {host}: {brief}; this machine's limit, not the network's")
            }
            _ => match &self.way.proxy {
                Some(proxy) => format!("{host} (by the proxy {proxy}): {brief}"),
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

fn kind_of(error: &reqwest::Error) -> FaultKind {
    let mut last: &(dyn StdError + 'static) = error;
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(kind) = cause.downcast_ref::<io::Error>().and_then(of_io) {
            return kind;
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return of_tls(tls);
        }
        last = cause;
        next = cause.source();
    }
    // Only the innermost cause is shown, which knows nothing of the URL; the outermost would name it.
    let text = match last.downcast_ref::<io::Error>() {
        Some(error) => printable_os_error(error),
        None if error.source().is_some() => printable(&last.to_string()),
        None => "the request failed".to_owned(),
    };
    match text.strip_prefix("tunnel error: ") {
        _ if error.is_dns() => FaultKind::Unresolved,
        // The HTTP library does not show its errors of a proxy's tunnel as a type.
        Some("proxy authorization required") => FaultKind::ProxyLogin,
        Some("unsuccessful") => FaultKind::Unreachable("it does not let us through".to_owned()),
        Some(problem) => FaultKind::Unreachable(problem.to_owned()),
        None if error.is_connect() && error.is_timeout() => FaultKind::Unreachable("no answer".to_owned()),
        None if error.is_connect() => FaultKind::Unreachable(text),
        None => FaultKind::Broken(text),
    }
}

/// What an [`io::Error`] in the chain says, or the one or the TLS error inside it, which its `source` does not give.
fn of_io(error: &io::Error) -> Option<FaultKind> {
    if let Some(inner) = error.get_ref() {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return Some(of_tls(tls));
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return of_io(io);
        }
    }
    // Descriptors and memory that this machine lacks are not there a moment later either, whoever is asked.
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS];
    if let Some(errno) = Errno::from_io_error(error).filter(|errno| exhausted.contains(errno)) {
        return Some(FaultKind::Local(errno.into()));
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(FaultKind::Refused),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            Some(FaultKind::Reset)
        }
        io::ErrorKind::UnexpectedEof => Some(FaultKind::Broken("the other side hung up".to_owned())),
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> FaultKind {
    match error {
        rustls::Error::InvalidCertificate(reason) => FaultKind::Certificate(certificate::distrust(reason)),
        other => FaultKind::Handshake(certificate::handshake_problem(other)),
    }
}

/// The operating system's words, without the number that Rust puts after them.
fn printable_os_error(error: &io::Error) -> String {
    let text = error.to_string();
    printable(text.split_once(" (os error ").map_or(text.as_str(), |(words, _)| words))
}
