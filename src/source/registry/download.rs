//! A blob's bytes on their way: streamed, resumed where the connection broke, verified before the end is told.
//!
//! A task on the runtime fetches and hashes; whoever reads does so on a thread of its own, through a channel that holds no
//! more than about a mebibyte. Hashing so runs beside the decoding. Dropping the reader stops the task.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use oci_distribution::RegistryOperation;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::mpsc;

use super::clients::Answer;
use super::fault::{authority, printable};
use super::retry::Tries;
use super::transport::{Asked, Request, Target, Transport};
use crate::image::digest::{Digest, Hasher};
use crate::image::manifest::Descriptor;
use crate::source::{BlobReader, SourceError};

/// The most bytes that go through the channel in one piece.
const PIECE_BYTES: usize = 64 << 10;
/// The most pieces that wait in the channel.
const PIECES: usize = 16;

/// A blob, or a part of one, to be fetched.
pub(super) struct Download {
    transport: Arc<Transport>,
    digest: Digest,
    /// The blob's length in bytes, as its descriptor promises.
    size: u64,
    /// The bytes to deliver, counted from the blob's start.
    wanted: Range<u64>,
    /// The next byte to deliver, counted from the blob's start.
    position: u64,
    /// Takes in what was delivered, where that is the whole blob.
    hasher: Option<Hasher>,
    /// The places that may have it, best first; the first is the one in use.
    places: Vec<Target>,
    tries: Tries,
}

/// What goes through the channel. A channel that closes without an end was cut off.
enum Piece {
    Data(Bytes),
    End,
    Failed(SourceError),
}

/// An answer whose body continues where the last one ended, after `skip` bytes that were delivered before.
struct Continuation {
    answer: Answer,
    skip: u64,
}

impl Download {
    /// The whole blob, to be verified by its digest.
    pub fn whole(transport: Arc<Transport>, descriptor: &Descriptor) -> Result<Self, SourceError> {
        let mut download = Self::new(transport, descriptor)?;
        download.hasher = Some(download.digest.hasher());
        Ok(download)
    }

    /// The bytes `range` of the blob, whose number alone is checked.
    pub fn part(transport: Arc<Transport>, descriptor: &Descriptor, range: Range<u64>) -> Result<Self, SourceError> {
        let mut download = Self::new(transport, descriptor)?;
        if range.start > range.end || range.end > download.size {
            let problem = format!("the bytes {} to {} are not within its {}", range.start, range.end, download.size);
            return Err(download.protocol_error(problem));
        }
        download.position = range.start;
        download.wanted = range;
        Ok(download)
    }

    fn new(transport: Arc<Transport>, descriptor: &Descriptor) -> Result<Self, SourceError> {
        let malformed = |problem| SourceError::Protocol { what: descriptor.digest.escape_debug().to_string(), problem };
        let digest: Digest = descriptor
            .digest
            .parse()
            .map_err(|error: crate::image::digest::InvalidDigest| malformed(error.to_string()))?;
        let size = u64::try_from(descriptor.size)
            .map_err(|_| malformed(format!("its descriptor says {} bytes", descriptor.size)))?;
        let mut places = vec![Target::Registry(format!("blobs/{digest}"))];
        // A foreign layer's own servers come second: registries may well have a copy (image-spec, *Descriptors*, `urls`).
        let urls = descriptor.urls.iter().flatten().filter_map(|url| Url::parse(url).ok());
        places.extend(urls.filter(|url| matches!(url.scheme(), "http" | "https")).map(Target::Elsewhere));
        let tries = Tries::new(transport.retry_pause);
        Ok(Download { transport, digest, size, wanted: 0..size, position: 0, hasher: None, places, tries })
    }

    /// Sends the first request, so that a blob that cannot be had fails here, and hands out the reader.
    pub async fn start(mut self) -> Result<BlobReader, SourceError> {
        if self.wanted.is_empty() && self.hasher.is_none() {
            return Ok(Box::new(io::empty()));
        }
        let continuation = loop {
            match self.open().await {
                Err(SourceError::NotFound { .. }) if self.places.len() > 1 => self.places.remove(0),
                result => break result?,
            };
        };
        let (sender, receiver) = mpsc::channel(PIECES);
        tokio::spawn(self.run(continuation, sender));
        Ok(Box::new(PieceReader { receiver, current: Bytes::new(), is_over: false }))
    }

    async fn run(mut self, continuation: Continuation, sender: mpsc::Sender<Piece>) {
        let task = Task::start(&self);
        let result = tokio::select! {
            biased;
            () = sender.closed() => return,
            result = self.deliver(continuation, &sender) => result,
        };
        drop(task);
        // Where nobody listens any more, nobody needs to know.
        let _ = sender.send(result.map_or_else(Piece::Failed, |()| Piece::End)).await;
    }

    async fn deliver(&mut self, from: Continuation, sender: &mpsc::Sender<Piece>) -> Result<(), SourceError> {
        let Continuation { mut answer, mut skip } = from;
        loop {
            match self.transport.clients.chunk(&mut answer).await {
                Ok(Some(mut chunk)) => {
                    self.transport.add_fetched(chunk.len());
                    let old = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
                    skip -= old as u64;
                    self.take(chunk.split_off(old), &answer, sender).await?;
                }
                Ok(None) if self.position < self.wanted.end => {
                    return Err(self.wrong_size(&answer, &format!("{} bytes", self.position - self.wanted.start)));
                }
                Ok(None) => return self.verify(&answer),
                // Only the end mark is missing, and the digest says as much as that would.
                Err(_) if self.position == self.wanted.end => return self.verify(&answer),
                Err(fault) => {
                    let what = self.what();
                    self.tries.pause_after(fault, &what, &*self.transport.progress).await?;
                    Continuation { answer, skip } = self.open().await?;
                }
            }
        }
    }

    /// Hands on new bytes.
    async fn take(
        &mut self,
        mut bytes: Bytes,
        answer: &Answer,
        sender: &mpsc::Sender<Piece>,
    ) -> Result<(), SourceError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() as u64 > self.wanted.end - self.position {
            return Err(self.wrong_size(answer, &format!("more than {} bytes", self.wanted.end - self.wanted.start)));
        }
        self.tries.progressed();
        self.transport.progress.advance(self.digest.as_str(), bytes.len() as u64);
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&piece);
            }
            self.position += piece.len() as u64;
            // It fails when the reader is gone, and then `run` ends at its next turn.
            let _ = sender.send(Piece::Data(piece)).await;
        }
        Ok(())
    }

    fn verify(&mut self, answer: &Answer) -> Result<(), SourceError> {
        let Some(actual) = self.hasher.take().map(Hasher::finish) else { return Ok(()) };
        if actual == self.digest {
            return Ok(());
        }
        Err(SourceError::Mismatch {
            what: format!("{} from {}", self.what(), authority(&answer.url)),
            expected: self.digest.to_string(),
            actual: actual.to_string(),
        })
    }

    /// Asks for what is still to be delivered, and checks that the answer is that.
    async fn open(&mut self) -> Result<Continuation, SourceError> {
        let is_part = self.wanted != (0..self.size) || self.hasher.is_none();
        let mut headers = HeaderMap::new();
        // A server that compressed what is compressed already would change the bytes that the digest is of.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if is_part || self.position > 0 {
            let last = if is_part { (self.wanted.end - 1).to_string() } else { String::new() };
            let range = HeaderValue::from_str(&format!("bytes={}-{last}", self.position));
            headers.insert(RANGE, range.map_err(|error| self.protocol_error(error.to_string()))?);
        }
        let asked_for_part = headers.contains_key(RANGE);
        let target = self.places.first().cloned();
        let request = Request {
            method: Method::GET,
            target: target.ok_or_else(|| self.protocol_error("there is no place to get it from".to_owned()))?,
            headers,
            operation: RegistryOperation::Pull,
            asked: Asked::Blob(self.digest.clone()),
        };
        let answer = self.transport.send(&request, &mut self.tries).await?;
        match answer.response.status() {
            StatusCode::PARTIAL_CONTENT if asked_for_part => {
                self.check_content_range(&answer)?;
                Ok(Continuation { answer, skip: 0 })
            }
            StatusCode::OK if is_part => Err(SourceError::RangeIgnored { digest: self.digest.clone() }),
            StatusCode::OK => {
                let length = answer.response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
                let length = length.and_then(|value| value.parse::<u64>().ok());
                if let Some(length) = length.filter(|length| *length != self.size) {
                    return Err(self.wrong_size(&answer, &format!("{length} bytes")));
                }
                Ok(Continuation { answer, skip: self.position })
            }
            status => Err(self.protocol_error(format!("{} answered {status}", authority(&answer.url)))),
        }
    }

    /// Checks `Content-Range: bytes FIRST-LAST/SIZE` (RFC 9110, section 14.4) against what was asked for.
    fn check_content_range(&self, answer: &Answer) -> Result<(), SourceError> {
        let header = answer.response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let fits = header.and_then(|header| {
            let (range, size) = header.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let range = first.parse::<u64>().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
            let same_size = size == "*" || size.parse() == Ok(self.size);
            Some(same_size && range == (self.position..self.wanted.end))
        });
        if fits == Some(true) {
            return Ok(());
        }
        let asked = format!("bytes {}-{}/{}", self.position, self.wanted.end.saturating_sub(1), self.size);
        let got = header.map_or("no Content-Range".to_owned(), printable);
        Err(self.protocol_error(format!("{} was asked for {asked} and sent {got}", authority(&answer.url))))
    }

    fn wrong_size(&self, answer: &Answer, actual: &str) -> SourceError {
        SourceError::Mismatch {
            what: format!("{} from {}", self.what(), authority(&answer.url)),
            expected: format!("{} bytes", self.wanted.end - self.wanted.start),
            actual: actual.to_owned(),
        }
    }

    fn protocol_error(&self, problem: String) -> SourceError {
        SourceError::Protocol { what: self.what(), problem }
    }

    fn what(&self) -> String {
        self.transport.name_of(&Asked::Blob(self.digest.clone()))
    }
}

/// Tells the beginning of a download, and its end however that comes.
struct Task {
    transport: Arc<Transport>,
    digest: Digest,
}

impl Task {
    fn start(download: &Download) -> Self {
        let Download { transport, digest, wanted, .. } = download;
        transport.progress.start(digest.as_str(), digest.short(), Some(wanted.end - wanted.start));
        Task { transport: transport.clone(), digest: digest.clone() }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.transport.progress.finish(self.digest.as_str());
    }
}

/// The channel's other end, for a thread that may block.
struct PieceReader {
    receiver: mpsc::Receiver<Piece>,
    current: Bytes,
    is_over: bool,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.is_over && !buffer.is_empty() {
            match self.receiver.blocking_recv() {
                Some(Piece::Data(bytes)) => self.current = bytes,
                Some(Piece::End) => self.is_over = true,
                Some(Piece::Failed(error)) => return Err(error.into()),
                None => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the download was stopped")),
            }
        }
        let length = buffer.len().min(self.current.len());
        let piece = self.current.split_to(length);
        if let Some(target) = buffer.get_mut(..length) {
            target.copy_from_slice(&piece);
        }
        Ok(length)
    }
}
