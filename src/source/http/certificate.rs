//! What is wrong with a server's certificate, or with its TLS, in words: the TLS library has names for it, made for programmers.

use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::shown::printable;

/// How many of a certificate's names are listed.
const MAX_NAMES: usize = 5;

/// Why a certificate is not trusted.
#[derive(Debug)]
pub struct Distrust {
    /// What is wrong with it.
    pub problem: String,
    /// What helps.
    pub remedy: Remedy,
}

/// What helps against a certificate that is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// To trust who signed it.
    Authority,
    /// Another time, of this machine or of the certificate.
    Clock,
    /// Another name.
    Name,
    /// Another certificate.
    Other,
}

/// What an error of the TLS library says about a certificate.
pub fn distrust(error: &CertificateError) -> Distrust {
    use CertificateError as Reason;
    let (problem, remedy) = match error {
        Reason::Expired => ("it has expired".to_owned(), Remedy::Clock),
        Reason::ExpiredContext { not_after, .. } => (format!("it expired on {}", date(*not_after)), Remedy::Clock),
        Reason::NotValidYet => ("it is not valid yet".to_owned(), Remedy::Clock),
        Reason::NotValidYetContext { not_before, .. } => {
            (format!("it is not valid before {}", date(*not_before)), Remedy::Clock)
        }
        Reason::UnknownIssuer => ("it is signed by a CA that this machine does not know".to_owned(), Remedy::Authority),
        Reason::NotValidForName => ("it is for another name".to_owned(), Remedy::Name),
        Reason::NotValidForNameContext { expected, presented } => {
            (format!("it is for {}, not for {}", names(presented), expected.to_str()), Remedy::Name)
        }
        Reason::BadSignature => ("its signature is wrong".to_owned(), Remedy::Other),
        Reason::BadEncoding => ("it cannot be decoded".to_owned(), Remedy::Other),
        Reason::Revoked => ("it has been revoked".to_owned(), Remedy::Other),
        Reason::UnhandledCriticalExtension => {
            ("it has a critical extension that is not known".to_owned(), Remedy::Other)
        }
        Reason::InvalidPurpose | Reason::InvalidPurposeContext { .. } => {
            ("it is not made for a server".to_owned(), Remedy::Other)
        }
        Reason::UnsupportedSignatureAlgorithmContext { .. }
        | Reason::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            ("it is signed with an algorithm that is not supported".to_owned(), Remedy::Other)
        }
        Reason::Other(inner) => of_webpki(&inner.to_string()),
        other => (in_words(&format!("{other:?}")), Remedy::Other),
    };
    Distrust { problem, remedy }
}

/// The complaints that have no variant of their own come as the name that the library below has for them.
fn of_webpki(name: &str) -> (String, Remedy) {
    match name {
        // What `openssl req -x509` makes: the certificate is its own CA, and says so.
        "CaUsedAsEndEntity" => {
            ("it is a CA's own, or self-signed, and this machine does not know it".to_owned(), Remedy::Authority)
        }
        "EndEntityUsedAsCa" => ("what it is signed by is not a CA's certificate".to_owned(), Remedy::Other),
        "PathLenConstraintViolated" | "MaximumPathDepthExceeded" => {
            ("there are too many CAs between it and its root".to_owned(), Remedy::Other)
        }
        "NameConstraintViolation" => ("its CA may not sign certificates for this name".to_owned(), Remedy::Other),
        "UnsupportedCertVersion" => ("it is not an X.509 version 3 certificate".to_owned(), Remedy::Other),
        other => (in_words(other), Remedy::Other),
    }
}

/// What any error of the TLS library says.
pub fn problem(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(reason) => distrust(reason).problem,
        other => handshake_problem(other),
    }
}

/// What an error of the TLS library other than about the server's certificate says.
pub fn handshake_problem(error: &Error) -> String {
    match error {
        Error::AlertReceived(AlertDescription::CertificateRequired) => "it asks for a client certificate".to_owned(),
        Error::AlertReceived(AlertDescription::ProtocolVersion) => "it does not support TLS 1.2 or later".to_owned(),
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => format!("it does not take our client certificate: {}", in_words(&format!("{alert:?}"))),
        Error::AlertReceived(alert) => format!("the server ended it: {}", in_words(&format!("{alert:?}"))),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "what answers there does not speak TLS".to_owned(),
        Error::InvalidMessage(kind) => format!("the server's message is broken: {}", in_words(&format!("{kind:?}"))),
        Error::PeerIncompatible(reason) => {
            format!("the server offers nothing we can use: {}", in_words(&format!("{reason:?}")))
        }
        Error::PeerMisbehaved(reason) => format!("the server breaks the rules: {}", in_words(&format!("{reason:?}"))),
        other => printable(&other.to_string()),
    }
}

/// `CaUsedAsEndEntity` as "ca used as end entity"; what is in brackets behind a name is left out.
fn in_words(name: &str) -> String {
    let name = name.split([' ', '(', '{']).next().unwrap_or_default();
    let mut words = String::new();
    let mut is_after_small = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && is_after_small {
            words.push(' ');
        }
        is_after_small = character.is_ascii_lowercase() || character.is_ascii_digit();
        words.push(character.to_ascii_lowercase());
    }
    printable(&words)
}

fn date(time: UnixTime) -> String {
    // Past what a date can say, as a certificate's year may be, the library that writes dates panics.
    const LAST: u64 = 253_402_300_799;
    let time = Duration::from_secs(time.as_secs().min(LAST));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + time)
}

/// A certificate's names, which come as `DnsName("registry.test")` or `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        printable(inner.trim_matches('"'))
    };
    let shown: Vec<_> = presented.iter().take(MAX_NAMES).map(bare).collect();
    match presented.len().saturating_sub(MAX_NAMES) {
        _ if shown.is_empty() => "no name at all".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_tls_library_is_read_as_words() {
        for (name, words) in [
            ("CaUsedAsEndEntity", "ca used as end entity"),
            ("TrailingData(Signature)", "trailing data"),
            ("ServerDoesNotSupportTls12Or13", "server does not support tls12 or13"),
            ("UnknownCA", "unknown ca"),
            ("", ""),
        ] {
            assert_eq!(in_words(name), words);
        }
    }

    #[test]
    fn each_problem_of_a_certificate_has_its_words_and_its_remedy() {
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let now = time(1_000_000_000);
        let expected = rustls::pki_types::ServerName::try_from("b.test").unwrap();
        let presented = vec![r#"DnsName("a.test")"#.to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        for (error, problem, remedy) in [
            (
                CertificateError::ExpiredContext { time: now, not_after: time(784_111_777) },
                "it expired on Sun, 06 Nov 1994 08:49:37 GMT",
                Remedy::Clock,
            ),
            (
                CertificateError::NotValidYetContext { time: now, not_before: time(u64::MAX) },
                "it is not valid before Fri, 31 Dec 9999 23:59:59 GMT",
                Remedy::Clock,
            ),
            (
                CertificateError::NotValidForNameContext { expected, presented },
                "it is for a.test, 127.0.0.1, not for b.test",
                Remedy::Name,
            ),
            (
                CertificateError::UnknownIssuer,
                "it is signed by a CA that this machine does not know",
                Remedy::Authority,
            ),
            (CertificateError::BadSignature, "its signature is wrong", Remedy::Other),
            (CertificateError::InvalidOcspResponse, "invalid ocsp response", Remedy::Other),
        ] {
            let distrust = distrust(&error);
            assert_eq!((distrust.problem.as_str(), distrust.remedy), (problem, remedy));
        }
    }
}
