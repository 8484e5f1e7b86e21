//! Where content is: pieces of the blob that can each be decoded alone.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::toc::{Chunk, Listed};
use crate::image::digest::Digest;
use crate::layer::checkpoint::Checkpoint;
use crate::layer::content::DataOffset;

/// The content of a file, as pieces of its layer's blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// What it is put together of. They lie in the blob in this order.
    pub pieces: Vec<Piece>,
    /// The digest of all of it, where the table has it. Where not, each piece that is not zeros has one.
    pub digest: Option<Digest>,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The bytes of the blob that hold it: they can be decoded by themselves, and it ends with them at the latest. `None` where it is zeros.
    pub stored: Option<Range<u64>>,
    /// What a decoder must know to begin there; `None` where a frame or a member begins. Pieces of the same bytes have the same.
    pub checkpoint: Option<Arc<Checkpoint>>,
    /// How many decoded bytes come before it.
    pub skip: u64,
    /// Its length in bytes, decoded.
    pub size: u64,
    /// Its digest, decoded.
    pub digest: Option<Digest>,
}

impl Pieces {
    /// The bytes of the blob from the first piece to the end of the last; `None` where all is zeros.
    pub fn stored(&self) -> Option<Range<u64>> {
        let mut stored = self.pieces.iter().filter_map(|piece| piece.stored.as_ref());
        let first = stored.next()?;
        Some(first.start..stored.next_back().unwrap_or(first).end)
    }
}

/// Finds out where contents are while a table passes by. Where one ends is as a rule told by where another one begins.
pub(super) struct Locating {
    /// Where in the blob all contents end.
    end: u64,
    /// Where any chunk begins: eight bytes for each.
    starts: Vec<u64>,
    wanted: Vec<Wanted>,
}

struct Wanted {
    content: DataOffset,
    chunks: Vec<Chunk>,
    end: Option<u64>,
    digest: Option<Digest>,
}

impl Locating {
    pub(super) fn new(end: u64) -> Self {
        Locating { end, starts: Vec::new(), wanted: Vec::new() }
    }

    /// Takes in the next entry.
    pub(super) fn take(&mut self, listed: Listed, is_wanted: bool) {
        let Listed { entry, chunks, end, digest } = listed;
        self.starts.extend(chunks.iter().map(|chunk| chunk.start));
        if is_wanted {
            self.wanted.push(Wanted { content: DataOffset(entry.data_offset), chunks, end, digest });
        }
    }

    pub(super) fn finish(mut self) -> HashMap<DataOffset, Pieces> {
        self.starts.sort_unstable();
        let wanted = std::mem::take(&mut self.wanted);
        let pieces = |Wanted { content, chunks, end, digest }: Wanted| {
            let next: Vec<Option<u64>> = chunks.iter().skip(1).map(|chunk| Some(chunk.start)).chain([end]).collect();
            let pieces = chunks.into_iter().zip(next).map(|(chunk, next)| {
                let next = next.filter(|next| *next > chunk.start).unwrap_or_else(|| self.next(chunk.start));
                Piece {
                    stored: (!chunk.is_zeros).then_some(chunk.start..next),
                    checkpoint: None,
                    skip: chunk.inner,
                    size: chunk.size,
                    digest: chunk.digest,
                }
            });
            (content, Pieces { pieces: pieces.collect(), digest })
        };
        wanted.into_iter().map(pieces).collect()
    }

    /// Where the next chunk behind `start` begins.
    fn next(&self, start: u64) -> u64 {
        let behind = self.starts.partition_point(|other| *other <= start);
        // Where zeros are said to be, nobody looks.
        self.starts.get(behind).map_or(self.end, |start| self.end.min(*start))
    }
}
