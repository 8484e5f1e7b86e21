//! Extents and checkpoints, as they are handed round: which part of a blob holds some bytes of the tar, and what a decoder must
//! know to begin there. Offsets are *compressed* (bytes from the start of the blob as stored) or *uncompressed* (bytes from the
//! start of the tar).

use std::ops::Range;

/// One compressed byte range with what is needed to decode it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The bytes of the blob.
    pub compressed: Range<u64>,
    /// What they decode to, as bytes of the tar.
    pub uncompressed: Range<u64>,
    /// The decoder's state at the start.
    pub checkpoint: Checkpoint,
}

/// The state of a decoder at the start of an [`Extent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// An uncompressed tar: there is no state.
    Plain,
    /// A zstd frame begins (RFC 8878, section 3.1).
    ZstdFrame,
    /// A deflate block begins (RFC 1951, section 3.2.3).
    DeflateBlock {
        /// How many of the first byte's lowest bits (0 to 7) belong to the block before.
        skipped_bits: u8,
        /// What the block may refer back to: the last bytes decoded before it, 32 KiB at most.
        window: Vec<u8>,
    },
}
