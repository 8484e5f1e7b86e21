//! Faults: which requests go wrong, and how.

use std::sync::Mutex;

use crate::support::http::{Ending, Length, Request, Response};

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is reset before any answer.
    NoAnswer,
    /// The connection is reset after so many bytes of the body.
    ResetAfter(usize),
    /// The connection is closed in order after so many bytes of the body.
    CutAfter(usize),
    /// Nothing comes any more after so many bytes of the body, on an open connection.
    StallAfter(usize),
    /// `Content-Length` says this in place of the truth.
    ContentLength(u64),
    /// `Content-Range` says this in place of the truth, where there is one.
    ContentRange(&'static str),
    /// One more header, or another value of it.
    Header(&'static str, &'static str),
    /// A header is missing.
    Without(&'static str),
    /// One bit of the content is wrong, at so many bytes from the content's start.
    Altered(usize),
    /// `Range` is ignored: the whole content comes, with status 200.
    RangeIgnored,
    /// This status, with the distribution-spec's error code for it.
    Status(u16),
    /// This status, with one header.
    StatusWith(u16, &'static str, &'static str),
    /// This status, with a body of this media type.
    Answer(u16, &'static str, &'static str),
    /// A redirect to another place.
    Redirect(String),
    /// The answer is that what was sent is kept, and it is not.
    Dropped,
}

/// Which requests a fault befalls.
struct Rule {
    path_part: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

/// The faults still to come.
#[derive(Default)]
pub struct Faults(Mutex<Vec<Rule>>);

/// Requests whose path (with its query, and with the method and a space before it) contains some text. Say which of them, then
/// what befalls them.
pub struct Requests<'a> {
    faults: &'a Faults,
    path_part: String,
    skip: usize,
    times: usize,
}

impl<'a> Requests<'a> {
    /// Only the first `count` of them.
    pub fn first(self, count: usize) -> Self {
        Requests { times: count, ..self }
    }

    /// Only the `number`th of them, counted from 1.
    pub fn nth(self, number: usize) -> Self {
        Requests { skip: number - 1, times: 1, ..self }
    }

    /// All but the first `count` of them.
    pub fn after(self, count: usize) -> Self {
        Requests { skip: count, ..self }
    }

    /// Befalls them from now on.
    pub fn fail(self, fault: Fault) {
        let rule = Rule { path_part: self.path_part, skip: self.skip, times: self.times, fault };
        self.faults.0.lock().expect("no thread panics here").push(rule);
    }
}

impl Faults {
    /// The requests whose path contains `path_part`.
    pub fn requests(&self, path_part: &str) -> Requests<'_> {
        Requests { faults: self, path_part: path_part.to_owned(), skip: 0, times: usize::MAX }
    }

    /// The fault that befalls `request`, if any. Each rule counts the requests it matches.
    pub fn take(&self, request: &Request) -> Option<Fault> {
        let mut rules = self.0.lock().expect("no thread panics here");
        let mut found = None;
        let line = format!("{} {}", request.method, request.target);
        for rule in rules.iter_mut().filter(|rule| line.contains(&rule.path_part)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 && found.is_none() {
                rule.times -= 1;
                found = Some(rule.fault.clone());
            }
        }
        found
    }
}

impl Fault {
    /// What the fault makes of the request before it is answered.
    pub fn befall_request(&self, request: &mut Request) {
        if matches!(self, Fault::RangeIgnored) {
            request.headers.retain(|(name, _)| name != "range");
        }
        if matches!(self, Fault::Dropped) {
            request.method = "HEAD".to_owned();
        }
    }

    /// What the fault makes of the answer.
    pub fn befall(&self, mut response: Response) -> Response {
        match self {
            Fault::NoAnswer => response.ending = Ending::NoAnswer,
            Fault::ResetAfter(bytes) => response.ending = Ending::Reset(*bytes),
            Fault::CutAfter(bytes) => response.ending = Ending::Cut(*bytes),
            Fault::StallAfter(bytes) => response.ending = Ending::Stall(*bytes),
            Fault::ContentLength(length) => response.length = Length::Said(*length),
            Fault::ContentRange(range) if response.status == 206 => {
                response = response.header("Content-Range", range);
            }
            Fault::Altered(offset) => {
                let mut bytes = response.body.to_vec();
                bytes[*offset] ^= 1;
                response.body = bytes.into();
            }
            Fault::Header(name, value) => response = response.header(name, value),
            Fault::Without(name) => response.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name)),
            Fault::ContentRange(_) | Fault::RangeIgnored => {}
            Fault::Status(status) => response = Response::error(*status, code(*status)),
            Fault::StatusWith(status, name, value) => {
                response = Response::error(*status, code(*status)).header(name, value);
            }
            Fault::Answer(status, media_type, body) => {
                response = Response::new(*status, &[("Content-Type", media_type)], body);
            }
            Fault::Dropped => response = Response::status(201),
            Fault::Redirect(location) => response = Response::status(307).header("Location", location),
        }
        response
    }
}

fn code(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        404 => "BLOB_UNKNOWN",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    }
}
