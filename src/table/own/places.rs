//! Where a blob can be begun, and how far into it content reaches, gathered while it is read.

use super::row::{Start, State};

/// How many checkpoints are kept at most, about 100 bytes each. Where there are more, every second one is left out.
const MAX_CHECKPOINTS: usize = 1 << 15;

/// How many places are kept at most that tell how far content reaches, 16 bytes each: 1 MiB.
const MAX_REACHED: usize = 1 << 16;

/// Checkpoints, in their order.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    starts: Vec<Start>,
    /// How many compressed bytes lie between two of them at least.
    stride: u64,
}

impl Checkpoints {
    /// Whether one at this place is to be kept.
    pub(super) fn takes(&self, compressed: u64, uncompressed: u64) -> bool {
        self.starts.last().is_none_or(|last| {
            let distance = compressed.checked_sub(last.compressed);
            last.uncompressed <= uncompressed && distance.is_some_and(|distance| distance >= self.stride)
        })
    }

    /// Takes one in.
    pub(super) fn push(&mut self, compressed: u64, uncompressed: u64, state: State) {
        // Of two at one place, as an empty block leaves them, the later one is the nearer.
        if self.starts.last().is_some_and(|last| last.uncompressed == uncompressed) {
            self.starts.pop();
        }
        if self.starts.len() == MAX_CHECKPOINTS {
            every_second(&mut self.starts);
            self.stride = self.stride.max(compressed / self.starts.len() as u64);
        }
        self.starts.push(Start { compressed, uncompressed, state });
    }

    /// Which one is the last at or before `uncompressed`.
    pub(super) fn before(&self, uncompressed: u64) -> Option<usize> {
        self.starts.partition_point(|start| start.uncompressed <= uncompressed).checked_sub(1)
    }

    pub(super) fn get(&self, at: usize) -> Option<&Start> {
        self.starts.get(at)
    }
}

/// How far a decoder was.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Uncompressed, compressed.
    places: Vec<(u64, u64)>,
    /// How many compressed bytes lie between two of them at least.
    stride: u64,
    /// Where it was the last time.
    last: Option<(u64, u64)>,
}

impl Reached {
    pub(super) fn push(&mut self, compressed: u64, uncompressed: u64) {
        self.last = Some((uncompressed, compressed));
        if let Some(kept) = self.places.last_mut() {
            if uncompressed < kept.0 || compressed < kept.1 {
                return;
            }
            if compressed == kept.1 {
                kept.0 = uncompressed;
                return;
            }
            if compressed - kept.1 < self.stride {
                return;
            }
        }
        if self.places.len() == MAX_REACHED {
            every_second(&mut self.places);
            let whole = self.places.last().map_or(0, |last| last.1);
            self.stride = (whole / self.places.len() as u64).max(self.stride);
        }
        self.places.push((uncompressed, compressed));
    }

    /// By which compressed offset the first `uncompressed` bytes of the tar have come; `size` is the blob's.
    pub(super) fn end(&self, uncompressed: u64, size: u64) -> u64 {
        let at = self.places.partition_point(|place| place.0 < uncompressed);
        let place = self.places.get(at).or(self.last.as_ref().filter(|last| last.0 >= uncompressed));
        place.map_or(size, |place| place.1)
    }
}

/// Drops every second one, and never the first.
fn every_second<T>(all: &mut Vec<T>) {
    let mut nth = 0_usize;
    all.retain(|_| {
        nth += 1;
        nth % 2 == 1
    });
}
