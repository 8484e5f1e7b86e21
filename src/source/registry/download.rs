//! A blob's bytes on their way: streamed, resumed where the connection broke, verified before the end is told.
//!
//! A task on the runtime fetches and hashes; whoever reads does so on a thread of its own, through a channel that holds no
//! more than about a mebibyte. Hashing so runs beside the decoding. Dropping the reader stops the task.

mod ask;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use self::ask::{Asking, Continuation};
use super::clients::Answer;
use super::transport::Transport;
use crate::image::digest::{Digest, Hasher};
use crate::image::manifest::Descriptor;
use crate::source::pieces::{self, PIECE_BYTES, Piece, Sender};
use crate::source::{BlobReader, SourceError, Trail};

/// A blob, or a part of one, to be fetched.
pub(super) struct Download {
    asking: Asking,
    /// The next byte to deliver, counted from the blob's start.
    position: u64,
    /// Takes in what was delivered, where that is the whole blob.
    hasher: Option<Hasher>,
    trail: Arc<Trail>,
}

impl Download {
    /// The whole blob, to be verified by its digest. Its hash leaves `trail`.
    pub fn whole(transport: Arc<Transport>, descriptor: &Descriptor, trail: Arc<Trail>) -> Result<Self, SourceError> {
        let asking = Asking::whole(transport, descriptor)?;
        let hasher = Some(asking.digest.hasher());
        Ok(Download { asking, position: 0, hasher, trail })
    }

    /// The bytes `range` of the blob, whose number alone is checked.
    pub fn part(transport: Arc<Transport>, descriptor: &Descriptor, range: Range<u64>) -> Result<Self, SourceError> {
        let position = range.start;
        let asking = Asking::part(transport, descriptor, range)?;
        Ok(Download { asking, position, hasher: None, trail: Arc::default() })
    }

    /// Sends the first request, so that a blob that cannot be had fails here, and hands out the reader.
    pub async fn start(mut self) -> Result<BlobReader, SourceError> {
        if self.asking.range.is_empty() && self.hasher.is_none() {
            return Ok(Box::new(io::empty()));
        }
        let continuation = loop {
            match self.asking.open(self.position).await {
                Ok(continuation) => break continuation,
                Err(error) => self.asking.move_on(error)?,
            }
        };
        let (sender, reader) = pieces::channel();
        tokio::spawn(self.run(continuation, sender));
        Ok(Box::new(reader))
    }

    async fn run(mut self, continuation: Continuation, sender: Sender) {
        let task = Task::start(&self.asking);
        let result = tokio::select! {
            biased;
            () = sender.closed() => return,
            result = self.deliver(continuation, &sender) => result,
        };
        drop(task);
        // Where nobody listens any more, nobody needs to know.
        let _ = sender.send(result.map_or_else(Piece::Failed, |()| Piece::End)).await;
    }

    async fn deliver(&mut self, from: Continuation, sender: &Sender) -> Result<(), SourceError> {
        let Continuation { mut answer, mut skip } = from;
        loop {
            let fault = match self.asking.transport.clients.chunk(&mut answer).await {
                Ok(Some(mut chunk)) => {
                    self.asking.transport.add_fetched(chunk.len());
                    let old = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
                    skip -= old as u64;
                    self.take(chunk.split_off(old), &answer, sender).await?;
                    continue;
                }
                // Nothing said where the body ends but the connection's end, which may have come too early.
                Ok(None) if self.position < self.asking.range.end && answer.ends_with_connection() => {
                    let (got, all) = (self.delivered(), self.asking.length());
                    self.asking.transport.clients.cut_short(&answer, format!("it ended after {got} of {all} bytes"))
                }
                Ok(None) if self.position < self.asking.range.end => {
                    return Err(self.asking.wrong_size(&answer, &format!("{} bytes", self.delivered())));
                }
                Ok(None) => return self.verify(&answer),
                // Only the end mark is missing, and the digest says as much as that would.
                Err(_) if self.position == self.asking.range.end => return self.verify(&answer),
                Err(fault) => fault,
            };
            let what = self.asking.what();
            self.asking.tries.pause_after(fault, &what, &*self.asking.transport.progress).await?;
            Continuation { answer, skip } = self.asking.open(self.position).await?;
        }
    }

    /// Hands on new bytes.
    async fn take(&mut self, mut bytes: Bytes, answer: &Answer, sender: &Sender) -> Result<(), SourceError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() as u64 > self.asking.range.end - self.position {
            return Err(self.asking.wrong_size(answer, &format!("more than {} bytes", self.asking.length())));
        }
        self.asking.tries.progressed();
        self.asking.transport.progress.advance(self.asking.digest.as_str(), bytes.len() as u64);
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            if let Some(hasher) = &mut self.hasher {
                self.trail.follow(hasher, self.position, &piece);
            }
            self.position += piece.len() as u64;
            // It fails when the reader is gone, and then `run` ends at its next turn.
            let _ = sender.send(Piece::Data(piece)).await;
        }
        Ok(())
    }

    /// How many bytes were delivered.
    fn delivered(&self) -> u64 {
        self.position - self.asking.range.start
    }

    fn verify(&mut self, answer: &Answer) -> Result<(), SourceError> {
        let Some(actual) = self.hasher.take().map(Hasher::finish) else { return Ok(()) };
        if actual == self.asking.digest {
            return Ok(());
        }
        Err(self.asking.mismatch(answer, self.asking.digest.to_string(), actual.to_string()))
    }
}

/// Tells the beginning of a download, and its end however that comes.
struct Task {
    transport: Arc<Transport>,
    digest: Digest,
}

impl Task {
    fn start(asking: &Asking) -> Self {
        let Asking { transport, digest, .. } = asking;
        transport.progress.start(digest.as_str(), digest.short(), Some(asking.length()));
        Task { transport: transport.clone(), digest: digest.clone() }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.transport.progress.finish(self.digest.as_str());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::loopback::*;
    use super::*;
    use crate::source::{Source, Store};

    #[tokio::test]
    async fn a_blob_comes_whole_and_as_stored() {
        let blob = content(3_000_000);
        let (served, expected) = (blob.clone(), descriptor(&blob));
        let server = Server::start(move |request, _| serve(&served, request));
        let setup = Setup::default();
        let registry = setup.open(&server);
        assert_eq!(read(registry.blob(&expected).await.unwrap()).await.unwrap(), blob);
        assert_eq!(server.paths(), [format!("GET /v2/app/blobs/{}", expected.digest)]);
        assert_eq!(server.received()[0].header("accept-encoding"), "identity");
        assert_eq!(registry.bytes_fetched(), 3_000_000);
        let short = Digest::of(&blob).short().to_owned();
        assert_eq!(setup.lines(), [format!("start {short} 3000000"), "finish".to_owned()]);
    }

    #[tokio::test]
    async fn an_empty_blob_is_no_special_case() {
        let server = Server::start(|_, _| Reply::ok(""));
        assert_eq!(fetch(&server, b"").await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_plain_thread_can_read_a_blob() {
        let server = Server::start(|_, _| Reply::ok(content(200_000)));
        let mut reader = Setup::default().open(&server).blob(&descriptor(&content(200_000))).await.unwrap();
        let (done, length) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || done.send(io::copy(&mut reader, &mut io::sink()).unwrap()));
        assert_eq!(length.await.unwrap(), 200_000);
    }

    #[tokio::test]
    async fn a_broken_blob_goes_on_from_its_last_byte() {
        let blob = content(500_000);
        let served = blob.clone();
        let server = Server::start(move |request, before| match before {
            0 => Reply::promising(500_000, 200, &[], &served[..100_000]),
            1 => {
                Reply::promising(400_000, 206, &[("Content-Range", "bytes 100000-499999/*")], &served[100_000..300_000])
            }
            _ => serve(&served, request),
        });
        let setup = Setup::default();
        let registry = setup.open(&server);
        assert_eq!(read(registry.blob(&descriptor(&blob)).await.unwrap()).await.unwrap(), blob);
        assert_eq!(ranges(&server), ["", "bytes=100000-499999", "bytes=300000-499999"]);
        assert_eq!(registry.bytes_fetched(), 500_000);
        // Each piece that came set the count of tries back.
        assert_eq!(setup.lines().iter().filter(|line| line.ends_with("(2 of 5)")).count(), 2);
    }

    #[tokio::test]
    async fn a_body_that_ends_with_its_connection_goes_on_where_that_came_too_early() {
        let blob = content(5000);
        let served = blob.clone();
        let server = Server::start(move |request, before| match before {
            0 => Reply::until_closed(200, &[], &served[..1000]),
            1 => Reply::until_closed(206, &[("Content-Range", "bytes 1000-4999/5000")], &served[1000..]),
            _ => serve(&served, request),
        });
        assert_eq!(fetch(&server, &blob).await.unwrap(), blob);
        assert_eq!(ranges(&server), ["", "bytes=1000-4999"]);
        let served = blob.clone();
        let always = Server::start(move |_, _| Reply::until_closed(200, &[], &served[..1000]));
        let error = fetch(&always, &blob).await.unwrap_err();
        assert!(matches!(error, SourceError::Network { .. }), "{error}");
        assert!(error.to_string().contains("it ended after 1000 of 5000 bytes"), "{error}");
        // What an answer itself calls its end is no fault of the network.
        let short = Server::start(|_, _| Reply::chunked(&content(1000)));
        assert!(matches!(fetch(&short, &blob).await, Err(SourceError::Mismatch { .. })));
    }

    #[tokio::test]
    async fn a_stalled_blob_goes_on_too() {
        let blob = content(50_000);
        let served = blob.clone();
        let server = Server::start(move |request, before| match before {
            0 => Reply::promising(50_000, 200, &[], &served[..1_000]).then_stall(),
            _ => serve(&served, request),
        });
        let mut setup = Setup::default();
        setup.options.stall_timeout = Duration::from_millis(500);
        let reader = setup.open(&server).blob(&descriptor(&blob)).await.unwrap();
        assert_eq!(read(reader).await.unwrap(), blob);
        assert_eq!(ranges(&server), ["", "bytes=1000-49999"]);
    }

    #[tokio::test]
    async fn a_registry_that_ignores_range_starts_over_and_the_reader_does_not_notice() {
        let blob = content(50_000);
        let served = blob.clone();
        let server = Server::start(move |_, before| match before {
            0 => Reply::promising(50_000, 200, &[], &served[..20_000]),
            1 => Reply::promising(50_000, 200, &[], &served[..10_000]),
            _ => Reply::ok(&served),
        });
        assert_eq!(fetch(&server, &blob).await.unwrap(), blob);
        assert_eq!(ranges(&server), ["", "bytes=20000-49999", "bytes=20000-49999"]);
    }

    #[tokio::test]
    async fn a_blob_of_another_length_or_digest_ends_in_an_error() {
        let wrong = |reply: fn() -> Reply, expected: &'static str| async move {
            let server = Server::start(move |_, _| reply());
            let error = fetch(&server, &content(5000)).await.unwrap_err();
            assert!(matches!(error, SourceError::Mismatch { .. }), "{error}");
            assert!(error.to_string().contains(expected), "{error} does not say {expected}");
            assert_eq!(server.received().len(), 1, "a wrong blob is not tried again");
        };
        wrong(|| Reply::ok(content(4999)), "got 4999 bytes").await;
        wrong(|| Reply::ok(content(5001)), "got 5001 bytes").await;
        wrong(|| Reply::chunked(&content(4999)), "got 4999 bytes").await;
        wrong(|| Reply::chunked(&content(5001)), "got more than 5000 bytes").await;
        wrong(|| Reply::ok(vec![7; 5000]), Digest::of(&[7; 5000]).to_string().leak()).await;
    }

    #[tokio::test]
    async fn a_part_is_exactly_what_was_asked_for() {
        let blob = content(10_000);
        let served = blob.clone();
        let server = Server::start(move |request, before| match before {
            0 => Reply::promising(100, 206, &[("Content-Range", "bytes 200-299/10000")], &served[200..250]),
            _ => serve(&served, request),
        });
        let registry = Setup::default().open(&server);
        let part = registry.blob_range(&descriptor(&blob), 200..300).await.unwrap();
        assert_eq!(read(part).await.unwrap(), blob[200..300]);
        assert_eq!(ranges(&server), ["bytes=200-299", "bytes=250-299"]);
        let nothing = registry.blob_range(&descriptor(&blob), 7..7).await.unwrap();
        assert_eq!(read(nothing).await.unwrap(), b"");
        let beyond = registry.blob_range(&descriptor(&blob), 9_000..10_001).await;
        assert!(matches!(beyond, Err(SourceError::Protocol { .. })));
        assert_eq!(server.received().len(), 2);
    }

    #[tokio::test]
    async fn a_part_that_cannot_be_had_is_told_from_one_that_is_wrong() {
        let blob = descriptor(&content(1000));
        let whole = Server::start(|_, _| Reply::ok(content(1000)));
        let error = Setup::default().open(&whole).blob_range(&blob, 0..1000).await.err().unwrap();
        assert!(matches!(error, SourceError::RangeIgnored { .. }), "{error}");
        let none = Server::start(|_, _| Reply::status(416));
        let error = Setup::default().open(&none).blob_range(&blob, 1..9).await.err().unwrap();
        assert!(matches!(error, SourceError::Protocol { .. }), "{error}");
        let short = Server::start(|_, _| Reply::new(206, &[("Content-Range", "bytes 1-8/1000")], "1234567"));
        let reader = Setup::default().open(&short).blob_range(&blob, 1..9).await.unwrap();
        assert!(matches!(read(reader).await, Err(SourceError::Mismatch { .. })));
    }

    #[tokio::test]
    async fn what_comes_encoded_is_said_to_be_and_what_is_called_so_alone_is_taken() {
        for encoding in ["gzip", "x-gzip", "br"] {
            let header = [("Content-Encoding", encoding)];
            let called = Server::start(move |_, _| Reply::new(200, &header, content(100)));
            assert_eq!(fetch(&called, &content(100)).await.unwrap(), content(100));
            assert_eq!(called.received()[0].header("accept-encoding"), "identity");
            let replies: [Reply; 4] = [
                Reply::new(200, &header, content(90)),
                Reply::new(200, &header, [7; 100]),
                Reply::new(200, &[header[0], ("Transfer-Encoding", "chunked")], "1\r\na\r\n0\r\n\r\n"),
                Reply::new(200, &header, content(110)),
            ];
            for reply in replies {
                let reply = std::sync::Mutex::new(Some(reply));
                let server = Server::start(move |_, _| reply.lock().unwrap().take().unwrap());
                let error = fetch(&server, &content(100)).await.unwrap_err();
                assert!(matches!(error, SourceError::Protocol { .. }), "{error}");
                assert!(error.to_string().contains(&format!("sent it encoded ({encoding})")), "{error}");
            }
            let range = ("Content-Range", "bytes 0-9/90");
            let server = Server::start(move |_, _| Reply::new(206, &[header[0], range], content(10)));
            let error =
                Setup::default().open(&server).blob_range(&descriptor(&content(100)), 0..10).await.err().unwrap();
            assert!(error.to_string().contains("sent it encoded"), "{error}");
        }
    }

    #[tokio::test]
    async fn dropping_the_reader_stops_the_download() {
        let server = Server::start(|_, _| Reply::promising(1 << 30, 200, &[], content(4 << 20)).then_stall());
        let setup = Setup::default();
        let large = Descriptor { size: 1 << 30, ..descriptor(b"") };
        let reader = setup.open(&server).blob(&large).await.unwrap();
        drop(reader);
        setup.recorder.finished.notified().await;
    }

    #[test]
    fn a_runtime_that_ends_is_no_clean_end_of_the_blob() {
        let server = Server::start(|_, _| Reply::promising(9_000, 200, &[], content(10)).then_stall());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let registry = Setup::default().open(&server);
        let blob = descriptor(&content(9_000));
        let mut reader = runtime.block_on(registry.blob(&blob)).unwrap();
        drop(runtime);
        assert!(io::copy(&mut reader, &mut io::sink()).is_err());
    }
}
