//! Taking note of places while a layer is decoded: where it can be begun again, and how far into the blob its tar reaches.
//!
//! Which places these are depends on the blob alone, not on the pieces in which it came or was read, so that whoever writes them down
//! writes the same for the same blob.

use std::sync::Arc;

use super::compression::Compression;
use super::decoded::{Boundary, Decoded};
use super::extent::Checkpoint;

/// How many compressed bytes lie between two places of which it is told how far the decoder is.
pub const STRIDE: u64 = 16 << 10;

/// How many bytes of a plain layer lie between two of these, which say nothing there but that time goes by.
const PLAIN_STRIDE: u64 = 1 << 20;

/// A place where decoding can begin.
#[derive(Clone, Debug)]
pub struct Restart {
    /// Bytes from the start of the uncompressed tar.
    pub uncompressed: u64,
    /// Bytes from the start of the blob.
    pub compressed: u64,
    /// What a decoder must know to begin there.
    pub checkpoint: Arc<Checkpoint>,
    /// The byte at `compressed`, if the decoder has taken it already, as the block before ends in it.
    pub first: Option<u8>,
}

/// What is wanted behind a place where decoding can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many compressed bytes further the next such place is to be at least. Where others want more of them, all come.
    pub distance: u64,
    /// How many compressed bytes from the place on are to be told by [`Observer::stored`]. Where others want more, all come.
    pub stored: u64,
}

/// Is told of places while a layer is decoded, on the thread that decodes.
pub trait Observer: Send + Sync {
    /// The layer is compressed like this, and about to be decoded.
    fn begin(&self, compression: Compression);

    /// Decoding can begin here.
    fn restart(&self, restart: &Restart) -> Wanted;

    /// The decoder has taken these bytes of the blob, from the compressed offset `from` on. A [`Restart::first`] comes before them.
    fn stored(&self, _from: u64, _bytes: &[u8]) {}

    /// So many bytes of the tar can be had from so many bytes of the blob. Comes every [`STRIDE`] compressed bytes.
    fn reached(&self, uncompressed: u64, compressed: u64);
}

/// How far a decoder is, for those who are told.
pub(super) struct Observed {
    observers: Vec<Arc<dyn Observer>>,
    /// Bytes of the tar that have been decoded.
    uncompressed: u64,
    /// From which compressed offset on the next boundary is told: a whole number of strides, at which steps end.
    due: u64,
    /// Up to which compressed offset the blob's bytes are told, too.
    stored_until: u64,
    /// The byte that the decoder has taken last.
    last: Option<u8>,
    /// The compressed offset that was told last.
    reached: u64,
    /// Whether the last step ended for want of room, so that there may be more without any input.
    was_full: bool,
}

impl Observed {
    pub(super) fn new(observers: Vec<Arc<dyn Observer>>, compression: Compression) -> Self {
        observers.iter().for_each(|observer| observer.begin(compression));
        let (uncompressed, due, stored_until, last, reached) = Default::default();
        let mut observed = Observed { observers, uncompressed, due, stored_until, last, reached, was_full: false };
        // Where a gzip member's first block begins is said when its header has been read.
        if compression == Compression::Zstd {
            observed.restart(0, 0, Checkpoint::ZstdFrame);
        }
        observed
    }

    /// Whether the decoder, which has taken so many bytes, is to say where it could begin.
    pub(super) fn stops(&self, taken: u64) -> bool {
        taken >= self.due
    }

    /// Whether it first has to give what it can without another byte: how much that is must not depend on the room that there was.
    pub(super) fn must_empty(&self, taken: u64) -> bool {
        self.was_full && taken.is_multiple_of(STRIDE)
    }

    /// How many bytes it may take in one step.
    pub(super) fn most_in(&self, taken: u64) -> usize {
        usize::try_from(STRIDE - taken % STRIDE).unwrap_or(usize::MAX)
    }

    /// Takes in a step that began when the decoder had taken `before` bytes, and may have ended for want of room. Comes back with a boundary
    /// that is to be told by [`restart`](Self::restart).
    pub(super) fn step(&mut self, before: u64, step: &Decoded, was_full: bool) -> Option<Boundary> {
        let taken = before + step.consumed as u64;
        self.uncompressed += step.produced as u64;
        self.was_full = was_full;
        if taken.is_multiple_of(STRIDE) && taken > self.reached && !was_full {
            self.tell_reached(taken);
        }
        step.boundary.filter(|_| self.stops(before))
    }

    /// Takes in these bytes of the blob, from the compressed offset `from` on, which the decoder has taken in one step.
    pub(super) fn took(&mut self, from: u64, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.last = Some(*last);
        let left = usize::try_from(self.stored_until.saturating_sub(from)).unwrap_or(usize::MAX);
        if left > 0 {
            let bytes = &bytes[..bytes.len().min(left)];
            self.observers.iter().for_each(|observer| observer.stored(from, bytes));
        }
    }

    /// Tells that decoding can begin at this compressed offset, where the decoder has taken `taken` bytes.
    pub(super) fn restart(&mut self, taken: u64, compressed: u64, checkpoint: Checkpoint) {
        let first = self.last.filter(|_| compressed < taken);
        let (uncompressed, checkpoint) = (self.uncompressed, Arc::new(checkpoint));
        let restart = Restart { uncompressed, compressed, checkpoint, first };
        let mut distance = u64::MAX;
        for observer in &self.observers {
            let wanted = observer.restart(&restart);
            distance = distance.min(wanted.distance);
            self.stored_until = self.stored_until.max(compressed.saturating_add(wanted.stored));
        }
        let due = compressed.saturating_add(distance);
        self.due = due.checked_next_multiple_of(STRIDE).unwrap_or(u64::MAX);
    }

    /// Takes in that so many bytes of a plain layer have come.
    pub(super) fn plain(&mut self, received: u64) {
        if received - self.reached >= PLAIN_STRIDE {
            self.uncompressed = received;
            self.tell_reached(received);
        }
    }

    fn tell_reached(&mut self, compressed: u64) {
        self.reached = compressed;
        self.observers.iter().for_each(|observer| observer.reached(self.uncompressed, compressed));
    }
}
