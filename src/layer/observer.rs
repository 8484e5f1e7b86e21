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
}

/// Is told of places while a layer is decoded, on the thread that decodes.
pub trait Observer: Send + Sync {
    /// The layer is compressed like this, and about to be decoded.
    fn begin(&self, compression: Compression);

    /// Decoding can begin here. Says how many compressed bytes behind it the next such place is to be at least. Where others want more
    /// of them, all come.
    fn restart(&self, restart: &Restart) -> u64;

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
    /// The compressed offset that was told last.
    reached: u64,
    /// Whether the last step ended for want of room, so that there may be more without any input.
    was_full: bool,
}

impl Observed {
    pub(super) fn new(observers: Vec<Arc<dyn Observer>>, compression: Compression) -> Self {
        observers.iter().for_each(|observer| observer.begin(compression));
        let mut observed = Observed { observers, uncompressed: 0, due: 0, reached: 0, was_full: false };
        // Where a gzip member's first block begins is said when its header has been read.
        if compression == Compression::Zstd {
            observed.restart(0, Checkpoint::ZstdFrame);
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

    /// Tells that decoding can begin at this compressed offset.
    pub(super) fn restart(&mut self, compressed: u64, checkpoint: Checkpoint) {
        let restart = Restart { uncompressed: self.uncompressed, compressed, checkpoint: Arc::new(checkpoint) };
        let distance = self.observers.iter().map(|observer| observer.restart(&restart)).min().unwrap_or(u64::MAX);
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
