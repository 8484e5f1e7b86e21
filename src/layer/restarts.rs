//! Where a layer that was read once can be begun again: checkpoints, some distance apart, and how far into the blob content reaches.
//!
//! A [`Decompressed`](super::Decompressed) layer tells them as it goes, at next to no cost, as it stops at a block only where a checkpoint
//! is due. They are worth what that reading is.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::compression::Compression;
use super::extent::Checkpoint;
use super::observer::{Observer, Restart, STRIDE, Wanted};

/// How many checkpoints are kept at most. A window takes 32 KiB: 2 MiB in all.
const MAX_CHECKPOINTS: usize = 64;

/// How many compressed bytes lie between two checkpoints at least. Each time that there are too many, every second one is dropped and
/// the distance doubled.
const FIRST_DISTANCE: u64 = 256 << 10;

/// How many places are kept at most that tell how far into the blob content reaches, 16 bytes each.
const MAX_REACHED: usize = 1024;

/// Where a layer can be begun again.
#[derive(Debug, Default)]
pub struct Restarts(Mutex<Places>);

#[derive(Debug)]
struct Places {
    /// Whether the layer is plain, and begins anywhere.
    is_plain: bool,
    restarts: Vec<Restart>,
    distance: u64,
    /// How far the decoder was: uncompressed, compressed.
    reached: Vec<(u64, u64)>,
    stride: u64,
}

impl Default for Places {
    fn default() -> Self {
        let (restarts, reached) = Default::default();
        Places { is_plain: false, restarts, distance: FIRST_DISTANCE, reached, stride: STRIDE }
    }
}

/// Which bytes of a blob hold a stretch of its tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayBack {
    /// The bytes of the blob; `None` for an end that is not known better than as the blob's.
    pub compressed: (u64, Option<u64>),
    /// What they begin with: bytes from the start of the uncompressed tar.
    pub uncompressed: u64,
}

impl Restarts {
    /// How to get at the bytes `wanted` of the uncompressed tar, which have been read; `None` where the only way is from the start.
    pub fn way_back(&self, wanted: &Range<u64>) -> Option<WayBack> {
        let places = self.places();
        if places.is_plain {
            return Some(WayBack { compressed: (wanted.start, Some(wanted.end)), uncompressed: wanted.start });
        }
        let behind = places.restarts.partition_point(|restart| restart.uncompressed <= wanted.start);
        let restart = places.restarts.get(behind.checked_sub(1)?)?;
        let reached = places.reached.partition_point(|(uncompressed, _)| *uncompressed < wanted.end);
        let end = places.reached.get(reached).map(|(_, compressed)| *compressed);
        Some(WayBack { compressed: (restart.compressed, end), uncompressed: restart.uncompressed })
    }

    /// What a decoder must know to begin where this way back does.
    pub fn checkpoint(&self, way: &WayBack) -> Option<Checkpoint> {
        let places = self.places();
        if places.is_plain {
            return Some(Checkpoint::Plain);
        }
        let restart = places.restarts.iter().find(|restart| restart.uncompressed == way.uncompressed);
        restart.map(|restart| Checkpoint::clone(&restart.checkpoint))
    }

    /// How far into the blob the decoder has come, about, when `uncompressed` bytes of the tar have been read.
    pub fn position(&self, uncompressed: u64) -> u64 {
        let places = self.places();
        match places.is_plain {
            true => uncompressed,
            false => places.reached.last().map_or(0, |(_, compressed)| *compressed),
        }
    }

    /// How many checkpoints are kept.
    pub fn count(&self) -> usize {
        self.places().restarts.len()
    }

    /// Drops every second checkpoint, to save memory.
    pub fn thin(&self) {
        self.places().thin();
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // What a panicking thread leaves here is at worst a place that is missing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Restarts {
    fn begin(&self, compression: Compression) {
        self.places().is_plain = compression == Compression::None;
    }

    fn restart(&self, restart: &Restart) -> Wanted {
        let mut places = self.places();
        let wanted = |distance| Wanted { distance, stored: 0 };
        let distance = places.distance;
        match places.restarts.last() {
            // Of two at one place, as an empty block leaves them, the later one is the nearer.
            Some(last) if last.uncompressed == restart.uncompressed => drop(places.restarts.pop()),
            Some(last) if restart.compressed < last.compressed.saturating_add(distance) => {
                return wanted(distance);
            }
            _ => {}
        }
        places.restarts.push(restart.clone());
        if places.restarts.len() > MAX_CHECKPOINTS {
            places.thin();
        }
        wanted(places.distance)
    }

    fn reached(&self, uncompressed: u64, compressed: u64) {
        let mut places = self.places();
        if places.is_plain
            || places.reached.last().is_some_and(|last| compressed < last.1.saturating_add(places.stride))
        {
            return;
        }
        places.reached.push((uncompressed, compressed));
        if places.reached.len() > MAX_REACHED {
            places.stride *= 2;
            let mut nth = 0_usize;
            places.reached.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
        }
    }
}

impl Places {
    /// Drops every second checkpoint, and never the first.
    fn thin(&mut self) {
        self.distance = self.distance.saturating_mul(2);
        let mut nth = 0_usize;
        self.restarts.retain(|_| {
            nth += 1;
            nth % 2 == 1
        });
        self.restarts.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests;
