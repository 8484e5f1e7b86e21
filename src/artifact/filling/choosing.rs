//! Which of the places where a layer can be begun its table keeps: windows are what a table is long by.
//!
//! A place is worth keeping only where a file begins that lies too far behind the last one, and then it is the last place before that
//! file. All that is handed on depends on the layer alone, and not on what came earlier by chance: it is not decided on a content until
//! all places before it are known, and what follows the last of them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::image::digest::{Digest, Hasher};
use crate::layer::checkpoint::Checkpoint;
use crate::layer::observer::Restart;
use crate::layer::referred::{AHEAD, without_unreferred};
use crate::layer::{Compression, Entry, Kind, MOST_AHEAD};
use crate::table::own::{Blob, NotWritten, Writer};

/// How many stored bytes may lie between a place where decoding begins and a file that is read from there: with what comes behind its end
/// about a mebibyte.
const DISTANCE: u64 = 896 << 10;

/// How much all windows together may take, packed: so many thousandths of what is stored.
const WINDOWS: u64 = 13;

/// Of so many bytes in advance, as stored, windows may take their part already, as there may be many small files at the start.
const ADVANCE: u64 = 4 << 20;

/// A window that takes no more than this, packed, is kept as it is.
const CHEAP: u64 = 8 << 10;

/// Takes in a table. What entries, places and hashes come to does not depend on the order among these.
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

/// A place where decoding can begin.
struct Place {
    restart: Restart,
    /// The blob's bytes from the place on, as far as they have come: [`AHEAD`] of them at most, and none where there is no window.
    stored: Vec<u8>,
    /// How much the window takes, packed, where nothing can be saved of it any more.
    packed: Option<u64>,
}

/// Chooses the places that are kept.
pub(super) struct Choosing<S> {
    sink: S,
    compression: Compression,
    /// The blob's length in bytes.
    size: u64,
    /// No content begins before this byte of the tar any more.
    floor: u64,
    /// The last place at or before `floor`, and those behind it, of up to 72 KiB each.
    places: VecDeque<Place>,
    /// How far the decoder was, behind `floor`: uncompressed, compressed.
    reached: VecDeque<(u64, u64)>,
    /// Contents that have not been decided on, 16 bytes each. They begin in some [`AHEAD`] bytes of the blob, in which there is room for about
    /// 60,000 of them.
    waiting: VecDeque<Content>,
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
            places: VecDeque::new(),
            reached: VecDeque::new(),
            waiting: VecDeque::new(),
            kept: None,
            windows: 0,
        }
    }

    /// Takes in a place where decoding can begin.
    pub(super) fn restart(&mut self, restart: Restart) {
        let stored = match window(&restart.checkpoint) {
            [] => Vec::new(),
            _ => restart.first.into_iter().collect(),
        };
        // All contents that begin further back have been told. There may be none for long, as in a file that is stored with holes.
        if self.waiting.is_empty() {
            self.floor = self.floor.max(restart.uncompressed.saturating_sub(MOST_AHEAD));
        }
        self.places.push_back(Place { restart, stored, packed: None });
        self.forget();
    }

    /// Takes in bytes of the blob, from this offset on.
    pub(super) fn stored(&mut self, from: u64, bytes: &[u8]) -> Result<(), NotWritten> {
        let places = self.places.iter_mut().rev();
        places
            .take_while(|place| place.restart.compressed + AHEAD as u64 > from)
            .for_each(|place| place.take(from, bytes));
        self.release(false)
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

    /// Takes in that a content begins.
    pub(super) fn content(&mut self, content: Content) -> Result<(), NotWritten> {
        if self.compression == Compression::None {
            return Ok(());
        }
        self.waiting.push_back(content);
        self.release(false)
    }

    /// Takes in the next entry.
    pub(super) fn entry(&mut self, entry: &Entry, digest: Option<Digest>) -> Result<(), NotWritten> {
        self.sink.entry(entry, digest)
    }

    /// The sink, which has got everything.
    pub(super) fn finish(mut self) -> Result<S, NotWritten> {
        self.release(true)?;
        Ok(self.sink)
    }

    /// Decides on the contents of which enough is known; at the end that is all of them.
    fn release(&mut self, at_end: bool) -> Result<(), NotWritten> {
        while let Some(Content { start, end }) = self.waiting.front().copied() {
            let reached = self.reached.iter().find(|(uncompressed, _)| *uncompressed > start);
            let begun_by = reached.map(|(_, compressed)| *compressed).or(at_end.then_some(self.size));
            let Some(begun_by) = begun_by else { break };
            if !self.keep(start, begun_by, at_end)? {
                break;
            }
            self.waiting.pop_front();
            self.floor = end;
        }
        self.forget();
        Ok(())
    }

    /// Keeps the last place before the content that begins at `start` of the tar, by the stored byte `begun_by`, where that is needed. Comes
    /// back with false where more of the blob must be known for that.
    fn keep(&mut self, start: u64, begun_by: u64, at_end: bool) -> Result<bool, NotWritten> {
        let before = self.places.partition_point(|place| place.restart.uncompressed <= start);
        let Some(place) = before.checked_sub(1).and_then(|last| self.places.get_mut(last)) else { return Ok(true) };
        let passed = place.restart.compressed;
        let distance = match self.kept {
            Some(kept) if passed <= kept => return Ok(true),
            Some(kept) => begun_by.saturating_sub(kept),
            None => u64::MAX,
        };
        if !window(&place.restart.checkpoint).is_empty() {
            if distance <= DISTANCE {
                return Ok(true);
            }
            if place.stored.len() < AHEAD && place.packed.is_none() && !at_end {
                return Ok(false);
            }
            let counted = passed.saturating_add(ADVANCE).min(self.size);
            if place.packed()? > (counted / 1000 * WINDOWS).saturating_sub(self.windows) {
                return Ok(true);
            }
        }
        self.windows += self.sink.checkpoint(&place.restart)?;
        self.kept = Some(passed);
        Ok(true)
    }

    /// Drops what no content behind `floor` needs.
    fn forget(&mut self) {
        while self.places.get(1).is_some_and(|next| next.restart.uncompressed <= self.floor) {
            self.places.pop_front();
        }
        while self.reached.front().is_some_and(|(uncompressed, _)| *uncompressed <= self.floor) {
            self.reached.pop_front();
        }
    }
}

impl Place {
    /// Takes in those of these bytes of the blob that follow what has come.
    fn take(&mut self, from: u64, bytes: &[u8]) {
        let next = self.restart.compressed + self.stored.len() as u64;
        let known = next.checked_sub(from).and_then(|known| usize::try_from(known).ok());
        if let Some(bytes) = known.and_then(|known| bytes.get(known..))
            && !window(&self.restart.checkpoint).is_empty()
        {
            self.stored.extend(&bytes[..bytes.len().min(AHEAD - self.stored.len())]);
        }
    }

    /// How much the window takes, packed, when all that nothing refers to was taken out of it, where that is worth it.
    fn packed(&mut self) -> io::Result<u64> {
        if let Some(packed) = self.packed {
            return Ok(packed);
        }
        let mut least = packed(&self.restart.checkpoint)?;
        if least > CHEAP
            && let Some(checkpoint) = without_unreferred(&self.restart.checkpoint, &self.stored)
        {
            let packed = packed(&checkpoint)?;
            if packed < least {
                (self.restart.checkpoint, least) = (Arc::new(checkpoint), packed);
            }
        }
        self.stored = Vec::new();
        self.packed = Some(least);
        Ok(least)
    }
}

/// How many bytes the window of `checkpoint` takes in a table.
fn packed(checkpoint: &Checkpoint) -> io::Result<u64> {
    Ok(zstd::bulk::compress(window(checkpoint), zstd::DEFAULT_COMPRESSION_LEVEL)?.len() as u64)
}

fn window(checkpoint: &Checkpoint) -> &[u8] {
    match checkpoint {
        Checkpoint::DeflateBlock { window, .. } => window,
        Checkpoint::Plain | Checkpoint::ZstdFrame => &[],
    }
}
