//! Which of the places where a layer can be begun its table keeps: windows are what a table is long by.
//!
//! A place is worth keeping only where a file begins that lies too far behind the last one, and then it is the last place before that
//! file. All that is handed on depends on the layer alone, and not on what came earlier by chance: an entry is held until it is sure
//! that all places before its content are known.

use std::collections::VecDeque;
use std::io;

use crate::image::digest::{Digest, Hasher};
use crate::layer::checkpoint::Checkpoint;
use crate::layer::observer::Restart;
use crate::layer::{Compression, Entry, Kind};
use crate::table::own::{Blob, NotWritten, Writer};

/// How many stored bytes may lie between a place where decoding begins and a file that is read from there: with what comes behind its end
/// about a mebibyte.
const DISTANCE: u64 = 896 << 10;

/// How much all windows together may take, packed: so many thousandths of what is stored.
const WINDOWS: u64 = 13;

/// Of so many bytes ahead, as stored, windows may take their part already, as there may be many small files at the start.
const AHEAD: u64 = 4 << 20;

/// How many bytes of entries are held at most. More of them are begun where it is known that they can be.
const MAX_HELD: usize = 1 << 20;

/// Takes in a table, in the order in which [`Writer`] wants it.
pub(super) trait Sink: Send {
    /// See [`Writer::checkpoint`].
    fn checkpoint(&mut self, restart: &Restart) -> Result<u64, NotWritten>;
    /// See [`Writer::reached`].
    fn reached(&mut self, uncompressed: u64, compressed: u64);
    /// See [`Writer::entry`].
    fn entry(&mut self, entry: &Entry, digest: Option<Digest>) -> Result<(), NotWritten>;
    /// See [`Writer::hashed`].
    fn hashed(&mut self, position: u64, hasher: &Hasher);
}

impl Sink for Writer {
    fn checkpoint(&mut self, restart: &Restart) -> Result<u64, NotWritten> {
        Writer::checkpoint(self, restart.compressed, restart.uncompressed, &restart.checkpoint)
    }

    fn reached(&mut self, uncompressed: u64, compressed: u64) {
        Writer::reached(self, compressed, uncompressed);
    }

    fn entry(&mut self, entry: &Entry, digest: Option<Digest>) -> Result<(), NotWritten> {
        Writer::entry(self, entry, digest)
    }

    fn hashed(&mut self, position: u64, hasher: &Hasher) {
        Writer::hashed(self, position, hasher);
    }
}

/// Where the content of a file is in the tar: its first byte, and the one behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Content {
    /// The content of `entry`, where a table tells where it is.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        match entry.kind {
            Kind::File { size: 1.., sparse: true } => None,
            Kind::File { size: size @ 1.., .. } => {
                Some(Content { start: entry.data_offset, end: entry.data_offset.checked_add(size)? })
            }
            _ => None,
        }
    }
}

/// What is held until it is sure that all places before it are known.
enum Held {
    /// A content begins.
    Content(Content),
    /// An entry is complete.
    Entry(Box<Entry>, Option<Digest>),
}

/// Chooses the places that are kept.
pub(super) struct Choosing<S> {
    sink: S,
    compression: Compression,
    /// The blob's length in bytes.
    size: u64,
    /// No content begins before this byte of the tar any more.
    floor: u64,
    /// The last place at or before `floor`, and those behind it.
    restarts: VecDeque<Restart>,
    /// How far the decoder was, behind `floor`: uncompressed, compressed.
    reached: VecDeque<(u64, u64)>,
    held: VecDeque<Held>,
    /// About how many bytes `held` takes.
    weight: usize,
    /// The compressed offset of the last place that was kept.
    kept: Option<u64>,
    /// How many bytes windows take.
    windows: u64,
}

impl<S: Sink> Choosing<S> {
    pub(super) fn new(sink: S, blob: &Blob) -> Self {
        Choosing {
            sink,
            compression: blob.compression,
            size: blob.size,
            floor: 0,
            restarts: VecDeque::new(),
            reached: VecDeque::new(),
            held: VecDeque::new(),
            weight: 0,
            kept: None,
            windows: 0,
        }
    }

    /// Takes in a place where decoding can begin.
    pub(super) fn restart(&mut self, restart: Restart) {
        self.restarts.push_back(restart);
        self.forget();
    }

    /// Takes in how far the decoder is.
    pub(super) fn reached(&mut self, uncompressed: u64, compressed: u64) -> Result<(), NotWritten> {
        if self.compression == Compression::None {
            return Ok(());
        }
        self.sink.reached(uncompressed, compressed);
        self.reached.push_back((uncompressed, compressed));
        self.release(false)
    }

    /// Takes in what the blob's hash had come to.
    pub(super) fn hashed(&mut self, position: u64, hasher: &Hasher) {
        self.sink.hashed(position, hasher);
    }

    /// Takes in that a content begins, of an entry that will follow.
    pub(super) fn content(&mut self, content: Content) {
        if self.compression != Compression::None {
            self.held.push_back(Held::Content(content));
        }
    }

    /// Takes in the next entry.
    pub(super) fn entry(&mut self, entry: Box<Entry>, digest: Option<Digest>) -> Result<(), NotWritten> {
        self.weight += weight(&entry);
        self.held.push_back(Held::Entry(entry, digest));
        self.release(false)
    }

    /// The sink, which has got everything.
    pub(super) fn finish(mut self) -> Result<S, NotWritten> {
        self.release(true)?;
        Ok(self.sink)
    }

    /// Hands on what need not be held; at the end that is everything.
    fn release(&mut self, at_end: bool) -> Result<(), NotWritten> {
        while let Some(held) = self.held.pop_front() {
            match held {
                Held::Content(content) => {
                    let reached = self.reached.iter().find(|(uncompressed, _)| *uncompressed > content.start);
                    let Some(begun_by) = reached.map(|(_, compressed)| *compressed).or_else(|| self.guess(at_end))
                    else {
                        self.held.push_front(held);
                        return Ok(());
                    };
                    self.keep(content.start, begun_by)?;
                    self.floor = content.end;
                }
                Held::Entry(entry, digest) => {
                    self.weight -= weight(&entry);
                    self.sink.entry(&entry, digest)?;
                }
            }
        }
        self.forget();
        Ok(())
    }

    /// By which stored byte a content has begun that is behind all that is known, where it cannot be held any longer.
    fn guess(&self, at_end: bool) -> Option<u64> {
        match at_end {
            true => Some(self.size),
            false => self.reached.back().filter(|_| self.weight > MAX_HELD).map(|(_, compressed)| *compressed),
        }
    }

    /// Keeps the last place before the content that begins at `start` of the tar, by the stored byte `begun_by`, where that is needed.
    fn keep(&mut self, start: u64, begun_by: u64) -> Result<(), NotWritten> {
        let before = self.restarts.partition_point(|restart| restart.uncompressed <= start);
        let Some(restart) = before.checked_sub(1).and_then(|last| self.restarts.get(last)) else { return Ok(()) };
        let distance = match self.kept {
            Some(kept) if restart.compressed <= kept => return Ok(()),
            Some(kept) => begun_by.saturating_sub(kept),
            None => u64::MAX,
        };
        let window = match &*restart.checkpoint {
            Checkpoint::DeflateBlock { window, .. } => window.as_slice(),
            Checkpoint::Plain | Checkpoint::ZstdFrame => &[],
        };
        if window.is_empty() || (distance > DISTANCE && self.affords(restart.compressed, window)?) {
            self.windows += self.sink.checkpoint(restart)?;
            self.kept = Some(restart.compressed);
        }
        Ok(())
    }

    /// Whether there is room for `window` when so many stored bytes have passed.
    fn affords(&self, passed: u64, window: &[u8]) -> io::Result<bool> {
        let counted = passed.saturating_add(AHEAD).min(self.size);
        let left = (counted / 1000 * WINDOWS).saturating_sub(self.windows);
        if window.len() as u64 <= left {
            return Ok(true);
        }
        Ok(zstd::bulk::compress(window, zstd::DEFAULT_COMPRESSION_LEVEL)?.len() as u64 <= left)
    }

    /// Drops what no content behind `floor` needs.
    fn forget(&mut self) {
        while self.restarts.get(1).is_some_and(|next| next.uncompressed <= self.floor) {
            self.restarts.pop_front();
        }
        while self.reached.front().is_some_and(|(uncompressed, _)| *uncompressed <= self.floor) {
            self.reached.pop_front();
        }
    }
}

/// About how many bytes `entry` takes.
pub(super) fn weight(entry: &Entry) -> usize {
    let target = match &entry.kind {
        Kind::Symlink(target) | Kind::HardLink(target) => target.len(),
        _ => 0,
    };
    let xattrs: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
    size_of::<Entry>() + entry.path.len() + target + xattrs
}
