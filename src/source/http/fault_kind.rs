//! What can fail in one exchange over HTTP, whoever is at the other end, told apart by what can be done about it.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use rustix::io::Errno;

use super::certificate::{self, Distrust};
use super::shown::printable;

/// How an exchange failed.
#[derive(Debug)]
pub enum FaultKind {
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

impl FaultKind {
    /// Reads an error of the HTTP client. Its text is never passed on whole: it may hold a URL's secrets.
    pub fn of(error: &reqwest::Error) -> FaultKind {
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

    /// How it failed, in a few words.
    pub fn brief(&self) -> String {
        match self {
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
