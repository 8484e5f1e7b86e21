//! What an answer that is not the content means: gone for now, not there, not for us, or nonsense.

use std::time::SystemTime;

use bytes::Bytes;
use oci_distribution::errors::{OciEnvelope, OciErrorCode};
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use super::clients::Answer;
use super::fault::{Fault, Way};
use super::retry::retry_after;
use crate::source::http::fault_kind::FaultKind;
use crate::source::http::shown::{authority, printable};

/// The longest error answer that is read, in bytes.
pub(super) const MAX_ERROR_BYTES: u64 = 64 << 10;

/// The fault, if the answer's status is one that may pass.
pub(super) fn passing(answer: &Answer, body: &Bytes) -> Option<Fault> {
    use StatusCode as Status;
    let passing = [
        Status::REQUEST_TIMEOUT,
        Status::TOO_MANY_REQUESTS,
        Status::INTERNAL_SERVER_ERROR,
        Status::BAD_GATEWAY,
        Status::SERVICE_UNAVAILABLE,
        Status::GATEWAY_TIMEOUT,
    ];
    let status = answer.response.status();
    let wait = answer.response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    passing.contains(&status).then(|| Fault {
        host: authority(&answer.url),
        kind: FaultKind::Status {
            status,
            message: message(body),
            retry_after: wait.and_then(|wait| retry_after(wait, SystemTime::now())),
        },
        way: Way { has_answered: true, ..Way::default() },
    })
}

/// The error codes in an answer (distribution-spec, *Error Codes*).
pub(super) fn codes(body: &[u8]) -> Vec<OciErrorCode> {
    let envelope = serde_json::from_slice::<OciEnvelope>(body);
    envelope.map(|envelope| envelope.errors.into_iter().map(|error| error.code).collect()).unwrap_or_default()
}

/// What the server said, for a person: the messages of a registry's error answer, or a short plain text.
pub(super) fn message(body: &[u8]) -> String {
    match serde_json::from_slice::<OciEnvelope>(body) {
        Ok(envelope) => {
            let messages = envelope.errors.iter().map(|error| error.message.as_str());
            printable(&messages.filter(|message| !message.is_empty()).collect::<Vec<_>>().join(", "))
        }
        // A page of HTML or other JSON helps nobody.
        Err(_) if body.trim_ascii_start().starts_with(b"<") || body.trim_ascii_start().starts_with(b"{") => {
            String::new()
        }
        Err(_) => printable(&String::from_utf8_lossy(body)),
    }
}
