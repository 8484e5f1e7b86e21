//! Decompressing on a thread of its own, a little ahead of whoever reads: entries are then looked at, hashed and written beside
//! the decoding.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::decompressed::{Decompressed, read_buffered};
use super::error::LayerError;
use super::extent::Extent;
use super::stream::Stream;

/// The bytes of one piece. What a decoder costs for each call is lost in it.
const PIECE: usize = 256 * 1024;

/// So many pieces wait to be read; as many again are being filled, read, or on their way back.
const PIECES: usize = 4;

/// How many bytes of the tar may have been decoded at most that nobody has read yet: pieces that are being filled, that wait, and that are
/// being read, and what is in the stream's own buffer.
pub const MOST_AHEAD: u64 = (PIECES as u64 + 4) * PIECE as u64;

/// So many bytes of files' contents are read without a thread. Headers, and contents that are skipped, cost so little that a thread of
/// their own would take longer to hand them over.
const WITHOUT: u64 = 1 << 20;

/// What is read at once, in bytes, where it is content: more than a header.
const CONTENT: usize = 4096;

/// A layer's tar, decompressed ahead where much of it is wanted.
///
/// Takes about 2 MiB beside what the stream does. Dropping it ends the thread as soon as that has finished its piece.
pub struct Ahead<R> {
    /// The stream, as long as there is no thread.
    here: Option<Decompressed<R>>,
    /// How many bytes more of contents are read before there is one.
    without: u64,
    thread: Option<Thread>,
    ready: Vec<u8>,
    /// Which bytes of `ready` are still to be read.
    start: usize,
    end: usize,
}

/// What a thread that decompresses is reached by.
struct Thread {
    pieces: Receiver<Piece>,
    /// The way back for buffers.
    used: SyncSender<Vec<u8>>,
    ended: bool,
    /// How the rest of a damaged blob came out.
    drained: Option<Result<(), LayerError>>,
    damaged: bool,
}

enum Piece {
    /// A buffer, and how many of its bytes count.
    Data(Vec<u8>, usize),
    /// The tar and the blob are at their ends.
    End,
    Failed {
        error: io::Error,
        /// Where the compressed stream is damaged, how the rest of the blob came out.
        drained: Option<Result<(), LayerError>>,
    },
}

impl<R: Read + Send + 'static> Ahead<R> {
    /// Makes ready to decompress `stream`, of which nothing has been read.
    pub fn new(stream: Decompressed<R>) -> Self {
        // A plain tar needs no decoding.
        let without = if stream.is_plain() { u64::MAX } else { WITHOUT };
        Ahead { here: Some(stream), without, thread: None, ready: Vec::new(), start: 0, end: 0 }
    }

    /// Hands the stream to a thread, once that is worth it.
    fn depart(&mut self) {
        if self.without > 0 || self.thread.is_some() {
            return;
        }
        let (sender, pieces) = sync_channel(PIECES);
        let (used, buffers) = sync_channel(PIECES + 2);
        let (give, take) = sync_channel(1);
        let run = move || take.recv().map_or((), |stream| run(stream, &sender, &buffers));
        // Without a thread it goes on as before.
        match thread::Builder::new().name("decompress".to_owned()).spawn(run) {
            Ok(_) => {
                self.thread = Some(Thread { pieces, used, ended: false, drained: None, damaged: false });
                if let Some(stream) = self.here.take() {
                    // It is there to take it.
                    let _ = give.send(stream);
                }
            }
            Err(_) => self.without = u64::MAX,
        }
    }
}

/// Sends all that is left of `stream`, until nobody listens any more.
fn run<R: Read>(mut stream: Decompressed<R>, pieces: &SyncSender<Piece>, buffers: &Receiver<Vec<u8>>) {
    loop {
        let mut buffer = buffers.try_recv().unwrap_or_default();
        // Anew only where it is a new one.
        buffer.resize(PIECE, 0);
        let piece = match stream.read(&mut buffer) {
            Ok(0) => Piece::End,
            Ok(length) => Piece::Data(buffer, length),
            Err(error) => {
                let drained = stream.is_damaged().then(|| stream.drain_blob());
                Piece::Failed { error, drained }
            }
        };
        let is_last = !matches!(piece, Piece::Data(..));
        if pieces.send(piece).is_err() || is_last {
            return;
        }
    }
}

impl Thread {
    /// The next piece, and how many of its bytes count: none at the end. `old` goes back to be filled again.
    fn next(&mut self, old: Vec<u8>) -> io::Result<(Vec<u8>, usize)> {
        // Where there is no room for it, it is dropped.
        let _ = self.used.try_send(old);
        if self.ended {
            return Ok((Vec::new(), 0));
        }
        match self.pieces.recv() {
            Ok(Piece::Data(piece, length)) => return Ok((piece, length)),
            Ok(Piece::End) => self.ended = true,
            Ok(Piece::Failed { error, drained }) => {
                (self.ended, self.damaged, self.drained) = (true, drained.is_some(), drained);
                return Err(error);
            }
            Err(_) => {
                self.ended = true;
                return Err(io::Error::other("the thread that decompresses has ended"));
            }
        }
        Ok((Vec::new(), 0))
    }

    /// Reads what is left, and says how the blob came out.
    fn drain(&mut self) -> Result<(), LayerError> {
        let mut piece = Vec::new();
        while !self.ended {
            match self.next(piece) {
                Ok((next, _)) => piece = next,
                Err(_) if self.damaged => break,
                Err(error) => return Err(LayerError::Io(error)),
            }
        }
        self.drained.take().unwrap_or(Ok(()))
    }
}

impl<R: Read + Send + 'static> Stream for Ahead<R> {
    fn begin_entry(&mut self, _: u64, _: u64) {}

    fn extent(&self, _: u64) -> Option<Extent> {
        None
    }

    fn is_damaged(&self) -> bool {
        self.here.as_ref().is_some_and(Decompressed::is_damaged)
            || self.thread.as_ref().is_some_and(|thread| thread.damaged)
    }

    fn drain_blob(&mut self) -> Result<(), LayerError> {
        match (&mut self.here, &mut self.thread) {
            (Some(stream), _) => stream.drain_blob(),
            (None, Some(thread)) => thread.drain(),
            (None, None) => Ok(()),
        }
    }
}

impl<R: Read + Send + 'static> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // Not while there is something to be read here.
        if self.here.as_ref().is_some_and(|stream| stream.unread().is_empty()) {
            self.depart();
        }
        match (&mut self.here, &mut self.thread) {
            (Some(stream), _) => stream.fill_buf(),
            (None, Some(thread)) => {
                if self.start == self.end {
                    (self.start, self.end) = (0, 0);
                    (self.ready, self.end) = thread.next(std::mem::take(&mut self.ready))?;
                }
                Ok(&self.ready[self.start..self.end])
            }
            (None, None) => Ok(&[]),
        }
    }

    fn consume(&mut self, amount: usize) {
        match &mut self.here {
            Some(stream) => stream.consume(amount),
            None => self.start = self.end.min(self.start.saturating_add(amount)),
        }
    }
}

impl<R: Read + Send + 'static> Read for Ahead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(stream) = &mut self.here
            && self.without > 0
        {
            // A large read goes past the buffer.
            let read = stream.read(buffer)?;
            if buffer.len() > CONTENT {
                self.without = self.without.saturating_sub(read as u64);
            }
            return Ok(read);
        }
        read_buffered(self, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::fixture::tar_of;
    use super::super::{Flow, scan};
    use super::*;
    use crate::support::random::Random;

    /// A blob that counts what was read of it, and ends as one of another digest does if that is so.
    #[derive(Clone)]
    struct Blob {
        bytes: Arc<[u8]>,
        at: usize,
        mismatch: bool,
        count: Arc<AtomicU64>,
    }

    impl Blob {
        fn new(bytes: &[u8], mismatch: bool) -> Self {
            Blob { bytes: bytes.into(), at: 0, mismatch, count: Arc::default() }
        }
    }

    impl Read for Blob {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = (&self.bytes[self.at..]).read(buffer)?;
            self.at += read;
            self.count.fetch_add(read as u64, Ordering::Relaxed);
            if read == 0 && self.mismatch { Err(io::Error::other("the digest is wrong")) } else { Ok(read) }
        }
    }

    /// A tar that is long enough for a thread, as gzip and as zstd.
    fn blobs() -> [Vec<u8>; 2] {
        let long = Random::new(1).compressible(2_000_000);
        let tar = tar_of(&[("a", &long), ("b", b"2"), ("c", &long), ("d", b"4")]);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&tar).unwrap();
        [encoder.finish().unwrap(), ::zstd::encode_all(tar.as_slice(), 1).unwrap()]
    }

    /// The names and the contents' lengths that a scan saw, and how it ended.
    fn outcome(stream: impl Stream, wanted: bool) -> (Vec<(Vec<u8>, u64)>, String) {
        let mut seen = Vec::new();
        let result = scan(stream, &mut |entry, data| {
            let length = if wanted { io::copy(data, &mut io::sink())? } else { 0 };
            seen.push((entry.path.clone(), length));
            Ok::<_, LayerError>(Flow::Continue)
        });
        (seen, result.map_or_else(|error| format!("{error}: {error:?}"), |()| "read".to_owned()))
    }

    #[test]
    fn whatever_a_blob_is_it_comes_out_as_without_a_thread() {
        for blob in blobs() {
            let mut cases = vec![blob.clone()];
            for place in (0..blob.len()).step_by(blob.len() / 23) {
                cases.push(blob[..place].to_vec());
                cases.push([&blob[..place], &[blob[place] ^ 0x55], &blob[place + 1..]].concat());
            }
            for case in cases {
                for (mismatch, wanted) in [(false, false), (false, true), (true, true)] {
                    let read = |stream: Decompressed<Blob>| outcome(stream, wanted);
                    let ahead = |stream: Decompressed<Blob>| outcome(Ahead::new(stream), wanted);
                    let (one, other) = (Blob::new(&case, mismatch), Blob::new(&case, mismatch));
                    let counts = [Arc::clone(&one.count), Arc::clone(&other.count)];
                    let outcomes = (Decompressed::new(one).map(read), Decompressed::new(other).map(ahead));
                    assert_eq!(outcomes.0.ok(), outcomes.1.ok());
                    let [one, other] = counts.map(|count| count.load(Ordering::Relaxed));
                    assert_eq!(one, other, "the blob is read as far");
                }
            }
        }
    }

    #[test]
    fn a_reader_that_stops_early_ends_the_thread() {
        let [gzip, _] = blobs();
        let blob = Blob::new(&gzip, false);
        let alive = Arc::downgrade(&blob.bytes);
        let mut stream = Ahead::new(Decompressed::new(blob).unwrap());
        io::copy(&mut (&mut stream).take(WITHOUT + 1), &mut io::sink()).unwrap();
        assert!(stream.thread.is_some());
        drop(stream);
        while alive.upgrade().is_some() {
            thread::yield_now();
        }
    }
}
