//! Asking for a blob, or for the rest of one: of the registry first, in the middle where that goes, from the start where not.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use oci_distribution::RegistryOperation;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};

use super::super::clients::{Answer, encoding};
use super::super::foreign;
use super::super::retry::Tries;
use super::super::transport::{Asked, Request, Target, Transport};
use crate::image::digest::{Digest, InvalidDigest};
use crate::image::manifest::Descriptor;
use crate::source::SourceError;
use crate::source::http::shown::{authority, printable, shown};

/// An answer whose body goes on where the last one ended.
pub(super) struct Continuation {
    /// The answer.
    pub answer: Answer,
    /// How many of its first bytes were delivered before.
    pub skip: u64,
}

/// A blob, or a part of one, and where to ask for it.
pub(super) struct Asking {
    /// The way to the registry.
    pub transport: Arc<Transport>,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's length in bytes, as its descriptor promises.
    size: u64,
    /// The bytes that are wanted, counted from the blob's start.
    pub range: Range<u64>,
    /// Whether that is said in every request, and not only where one goes on in the middle.
    is_part: bool,
    /// Where it is asked for.
    place: Target,
    /// Where else a foreign layer may be had, in the order in which the manifest names them.
    elsewhere: VecDeque<Url>,
    /// Whether the place did not go on in the middle, so that it is asked from the start.
    from_start: bool,
    /// How often the place was asked and did not answer well.
    pub tries: Tries,
}

impl Asking {
    /// The whole blob.
    pub fn whole(transport: Arc<Transport>, descriptor: &Descriptor) -> Result<Self, SourceError> {
        let malformed = |problem| SourceError::Protocol { what: descriptor.digest.escape_debug().to_string(), problem };
        let digest: Digest = descriptor.digest.parse().map_err(|error: InvalidDigest| malformed(error.to_string()))?;
        let size = u64::try_from(descriptor.size)
            .map_err(|_| malformed(format!("its descriptor says {} bytes", descriptor.size)))?;
        Ok(Asking {
            place: Target::Registry(format!("blobs/{digest}")),
            tries: Tries::new(transport.retry_pause),
            from_start: false,
            range: 0..size,
            is_part: false,
            transport,
            digest,
            size,
            elsewhere: foreign::urls(descriptor),
        })
    }

    /// The bytes `range` of the blob.
    pub fn part(transport: Arc<Transport>, descriptor: &Descriptor, range: Range<u64>) -> Result<Self, SourceError> {
        let whole = Self::whole(transport, descriptor)?;
        if range.start > range.end || range.end > whole.size {
            let problem = format!("the bytes {} to {} are not within its {}", range.start, range.end, whole.size);
            return Err(whole.protocol_error(problem));
        }
        Ok(Asking { range, is_part: true, ..whole })
    }

    /// How many bytes are wanted.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Goes to the next place that may have it, after this one failed with `error`, which is the end where there is none. The
    /// registry comes first, as it may well have a copy, and counts: only what it has not is asked elsewhere.
    pub fn move_on(&mut self, error: SourceError) -> Result<(), SourceError> {
        let is_over = match (&self.place, &error) {
            (Target::Registry(_), error) => !matches!(error, SourceError::NotFound { .. }),
            (Target::Elsewhere(_), error) => matches!(error, SourceError::RangeIgnored { .. } | SourceError::Io { .. }),
        };
        while let Some(url) = self.elsewhere.pop_front().filter(|_| !is_over) {
            let (what, shown) = (self.what(), shown(&url));
            match foreign::objection(&url, self.transport.base()) {
                Some(objection) => {
                    let line = format!("{what}: not asking {shown}, which the manifest names for it: {objection}");
                    self.transport.progress.notice(&line);
                }
                None => {
                    let line = format!("{what}: asking {shown}, which the manifest names for it");
                    self.transport.progress.notice(&line);
                    self.place = Target::Elsewhere(url);
                    self.tries = Tries::new(self.transport.retry_pause);
                    return Ok(());
                }
            }
        }
        Err(error)
    }

    /// Asks for what is still to be delivered, from `position` (counted from the blob's start) on, and checks that the answer is that. Where the place does not go on in the middle,
    /// it is asked from the start, and then always, so that it costs one more request.
    pub async fn open(&mut self, position: u64) -> Result<Continuation, SourceError> {
        loop {
            let is_resumed = position > self.range.start && !self.from_start;
            let answer = match self.ask(position, is_resumed).await? {
                (answer, Some(skip)) => return Ok(Continuation { answer, skip }),
                (answer, None) => answer,
            };
            let (what, host) = (self.what(), authority(&answer.url));
            let line = format!("{what}: {host} does not continue at byte {position}; starting over");
            self.transport.progress.notice(&line);
            self.from_start = true;
        }
    }

    /// Sends one request, and gives its answer and how many of its bytes were delivered before; none, where it is
    /// to go on in the middle, and the answer does not.
    async fn ask(&mut self, position: u64, is_resumed: bool) -> Result<(Answer, Option<u64>), SourceError> {
        let is_part = self.is_part;
        let start = if is_resumed { position } else { self.range.start };
        let mut headers = HeaderMap::new();
        if is_part || is_resumed {
            // One range, with both its ends: some registries refuse several, or one that is open (RFC 9110, section 14.1.2).
            let range = HeaderValue::from_str(&format!("bytes={start}-{}", self.range.end.saturating_sub(1)));
            headers.insert(RANGE, range.map_err(|error| self.protocol_error(error.to_string()))?);
        }
        let asked_for_part = headers.contains_key(RANGE);
        let request = Request {
            method: Method::GET,
            target: self.place.clone(),
            headers,
            body: None,
            operation: RegistryOperation::Pull,
            asked: Asked::Blob(self.digest.clone()),
        };
        let also = is_resumed.then_some(StatusCode::RANGE_NOT_SATISFIABLE);
        let answer = self.transport.send_or(&request, &mut self.tries, also).await?;
        match answer.response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => Ok((answer, None)),
            StatusCode::PARTIAL_CONTENT if asked_for_part => match self.check_content_range(&answer, start) {
                Err(_) if is_resumed => Ok((answer, None)),
                Err(error) => Err(error),
                Ok(()) => Ok((answer, Some(position - start))),
            },
            StatusCode::OK if is_part => Err(SourceError::RangeIgnored { digest: self.digest.clone() }),
            StatusCode::OK => {
                let length = answer.response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
                let length = length.and_then(|value| value.parse::<u64>().ok());
                if let Some(length) = length.filter(|length| *length != self.size) {
                    return Err(self.wrong_size(&answer, &format!("{length} bytes")));
                }
                Ok((answer, Some(position)))
            }
            status => Err(self.protocol_error(format!("{} answered {status}", authority(&answer.url)))),
        }
    }

    /// Checks `Content-Range: bytes FIRST-LAST/SIZE` (RFC 9110, section 14.4) against what was asked for.
    fn check_content_range(&self, answer: &Answer, start: u64) -> Result<(), SourceError> {
        let header = answer.response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let fits = header.and_then(|header| {
            let (range, size) = header.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let range = first.parse::<u64>().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
            let same_size = size == "*" || size.parse() == Ok(self.size);
            Some(same_size && range == (start..self.range.end))
        });
        if fits == Some(true) {
            return Ok(());
        }
        if let Some(error) = self.encoded(answer) {
            return Err(error);
        }
        let asked = format!("bytes {start}-{}/{}", self.range.end.saturating_sub(1), self.size);
        let got = header.map_or("no Content-Range".to_owned(), printable);
        Err(self.protocol_error(format!("{} was asked for {asked} and sent {got}", authority(&answer.url))))
    }

    /// The error for content of another length than is wanted.
    pub fn wrong_size(&self, answer: &Answer, actual: &str) -> SourceError {
        self.mismatch(answer, format!("{} bytes", self.length()), actual.to_owned())
    }

    /// The error for content that is not what it should be. Stores may call what is stored compressed encoded, and send it as
    /// it is, so only where something is wrong is the encoding what is wrong.
    pub fn mismatch(&self, answer: &Answer, expected: String, actual: String) -> SourceError {
        let what = format!("{} from {}", self.what(), authority(&answer.url));
        self.encoded(answer).unwrap_or(SourceError::Mismatch { what, expected, actual })
    }

    fn encoded(&self, answer: &Answer) -> Option<SourceError> {
        let encoding = encoding(answer.response.headers())?;
        Some(self.transport.encoded(&Asked::Blob(self.digest.clone()), &authority(&answer.url), &encoding))
    }

    fn protocol_error(&self, problem: String) -> SourceError {
        SourceError::Protocol { what: self.what(), problem }
    }

    /// The blob, as messages name it.
    pub fn what(&self) -> String {
        self.transport.name_of(&Asked::Blob(self.digest.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::loopback::*;
    use super::*;
    use crate::source::Store;

    #[tokio::test]
    async fn another_range_than_asked_for_is_refused() {
        for range in ["bytes 0-99/100", "bytes 60-99/101", "bytes 50-98/100", "bytes 50-18446744073709551615/100", ""] {
            let server = Server::start(move |_, before| match before {
                0 => Reply::promising(100, 200, &[], &content(100)[..50]),
                _ => Reply::new(206, &[("Content-Range", range)], &content(100)[50..]),
            });
            let error = fetch(&server, &content(100)).await.unwrap_err();
            assert!(matches!(error, SourceError::Protocol { .. }), "{range}: {error}");
        }
    }

    #[tokio::test]
    async fn a_place_that_does_not_go_on_in_the_middle_is_asked_from_the_start() {
        let blob = content(50_000);
        // One that says there is no such range, sends another one, or sends one without saying which.
        let refusals: [fn(&[u8]) -> Reply; 3] = [
            |_| Reply::new(416, &[("Content-Range", "bytes */50000")], ""),
            |blob| Reply::new(206, &[("Content-Range", "bytes 0-49999/50000")], blob),
            |blob| Reply::new(206, &[], &blob[20_000..]),
        ];
        for refusal in refusals {
            let served = blob.clone();
            let server = Server::start(move |request, before| match before {
                0 => Reply::promising(50_000, 200, &[], &served[..20_000]),
                _ if !request.header("range").is_empty() => refusal(&served),
                2 => Reply::promising(50_000, 200, &[], &served[..30_000]),
                _ => Reply::ok(&served),
            });
            assert_eq!(fetch(&server, &blob).await.unwrap(), blob);
            assert_eq!(ranges(&server), ["", "bytes=20000-49999", "", ""]);
        }
    }

    #[tokio::test]
    async fn a_part_is_begun_again_too() {
        let blob = content(10_000);
        let served = blob.clone();
        let server = Server::start(move |request, before| match before {
            0 => Reply::promising(100, 206, &[("Content-Range", "bytes 200-299/10000")], &served[200..250]),
            1 => Reply::status(416),
            _ => serve(&served, request),
        });
        let part = Setup::default().open(&server).blob_range(&descriptor(&blob), 200..300).await.unwrap();
        assert_eq!(read(part).await.unwrap(), blob[200..300]);
        assert_eq!(ranges(&server), ["bytes=200-299", "bytes=250-299", "bytes=200-299"]);
    }

    #[tokio::test]
    async fn a_place_that_breaks_off_before_the_same_byte_each_time_is_given_up() {
        let blob = content(1_000);
        let served = blob.clone();
        let server = Server::start(move |request, _| match request.header("range") {
            "" => Reply::promising(1_000, 200, &[], &served[..999]),
            _ => Reply::status(416),
        });
        let error = fetch(&server, &blob).await.unwrap_err();
        assert!(error.to_string().contains("tried 5 times"), "{error}");
        assert_eq!(server.received().len(), 6);
    }

    #[tokio::test]
    async fn a_refusal_of_a_resumed_download_is_final() {
        for (status, expected) in [(403, "refuses access"), (404, "not found"), (410, "410"), (204, "204")] {
            let server = Server::start(move |_, before| match before {
                0 => Reply::promising(100, 200, &[], &content(100)[..50]),
                _ => Reply::status(status),
            });
            let error = fetch(&server, &content(100)).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(server.received().len(), 2, "{error}");
        }
    }
}
