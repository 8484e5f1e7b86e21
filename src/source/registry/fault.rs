//! What can fail on the way to a registry and back, told apart by what can be done about it.
//!
//! A [`Fault`] is one failed exchange, from an error of the HTTP client or from a status that says "not now". It knows
//! whether trying again may help; [`Tries`](super::retry::Tries) decides whether to.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::{StatusCode, Url};

use crate::source::SourceError;

/// One exchange that failed.
#[derive(Debug)]
pub(super) struct Fault {
    /// The host (and port) that was talked to.
    pub host: String,
    /// How it failed.
    pub kind: FaultKind,
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
    Certificate(String),
    /// TLS failed in another way.
    Handshake(String),
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
    pub fn of(error: &reqwest::Error, url: &Url) -> Self {
        let host = authority(url);
        let mut last: &(dyn StdError + 'static) = error;
        let mut next = error.source();
        while let Some(cause) = next {
            if let Some(kind) = cause.downcast_ref::<io::Error>().and_then(of_io) {
                return Fault { host, kind };
            }
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                return Fault { host, kind: of_tls(tls) };
            }
            last = cause;
            next = cause.source();
        }
        // Only the innermost cause is shown, which knows nothing of the URL; the outermost would name it.
        let text = if error.source().is_some() { last.to_string() } else { "the request failed".to_owned() };
        let kind = match () {
            () if error.is_dns() => FaultKind::Unresolved,
            () if error.is_connect() && error.is_timeout() => FaultKind::Unreachable("no answer".to_owned()),
            () if error.is_connect() => FaultKind::Unreachable(text),
            () => FaultKind::Broken(text),
        };
        Fault { host, kind }
    }

    /// No byte from `url` for `limit`.
    pub fn stalled(url: &Url, limit: Duration) -> Self {
        Fault { host: authority(url), kind: FaultKind::Stalled(limit) }
    }

    /// Whether the same request may go well a moment later.
    pub fn is_transient(&self) -> bool {
        !matches!(self.kind, FaultKind::Certificate(_) | FaultKind::Handshake(_))
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
            FaultKind::Certificate(text) => format!("its certificate is not trusted ({text})"),
            FaultKind::Handshake(text) => format!("TLS failed ({text})"),
            FaultKind::Status { status, message, .. } if message.is_empty() => format!("it answered {status}"),
            FaultKind::Status { status, message, .. } => format!("it answered {status}: {message}"),
        }
    }

    /// How it failed and what to try, for the error that ends the work.
    pub fn explain(&self) -> String {
        let (host, brief) = (&self.host, self.brief());
        match &self.kind {
            FaultKind::Refused => format!("cannot connect to {host}: {brief}; is the registry running?"),
            FaultKind::Unresolved => format!("{host}: {brief}; check the registry's name and the network"),
            FaultKind::Unreachable(_) => format!("{host}: {brief}; check the network and the proxy settings"),
            FaultKind::Certificate(_) => format!(
                "{host}: {brief}; put the CA's certificate into /etc/docker/certs.d/{host}/ca.crt, or skip the check \
                 with --insecure"
            ),
            FaultKind::Handshake(_) => format!(
                "{host}: {brief}; a registry without TLS needs --plain-http, one that asks for client certificates \
                 finds them in /etc/docker/certs.d/{host}/"
            ),
            _ => format!("{host}: {brief}"),
        }
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
        rustls::Error::InvalidCertificate(reason) => FaultKind::Certificate(reason.to_string()),
        other => FaultKind::Handshake(other.to_string()),
    }
}

/// The host and, where it is not the scheme's own, the port of a URL.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A URL as logs and messages may show it: without user, password, query and fragment, where secrets travel.
pub(super) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), authority(url), url.path())
}

/// At most 300 characters of `text`, without anything that could move a terminal's cursor.
pub(super) fn printable(text: &str) -> String {
    let line = text.trim().chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    line.filter(|c| !c.is_control()).take(300).collect()
}
