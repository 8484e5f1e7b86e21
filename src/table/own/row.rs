//! What a table says of an entry, and of the blob that it is of.

use crate::image::digest::Digest;
use crate::layer::{Compression, Entry};

/// One entry of a layer, and where its content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The entry, as the tar has it.
    pub entry: Entry,
    /// Whether it is a directory that the tar only implies.
    pub implied: bool,
    /// Where the content is; `None` for what is not a regular file, is empty, is stored with holes, or has nothing in front of it where a
    /// decoder could begin.
    pub content: Option<Located>,
}

/// Where the content of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Where the blob can be begun, in front of it.
    pub start: Start,
    /// By which byte of the blob all of it has come.
    pub end: u64,
    /// Its SHA-256, where the table has it.
    pub digest: Option<Digest>,
}

/// Where a blob can be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Bytes from the start of the blob.
    pub compressed: u64,
    /// Bytes from the start of the uncompressed tar.
    pub uncompressed: u64,
    /// The decoder's state.
    pub state: State,
}

/// The state of a decoder where a blob can be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// An uncompressed tar: there is no state.
    Plain,
    /// A zstd frame begins.
    ZstdFrame,
    /// A deflate block begins.
    DeflateBlock {
        /// How many of the first byte's lowest bits (0 to 7) belong to the block before.
        skipped_bits: u8,
        /// Where the table has the window; `None` where it is empty.
        window: Option<Part>,
    },
}

/// A part of a table that is read alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// Its bytes, counted from the start of the table: (start, end).
    pub range: (u64, u64),
    /// Their SHA-256.
    pub digest: [u8; 32],
}

/// The layer's blob that a table is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes, as stored.
    pub size: u64,
    /// How it is compressed.
    pub compression: Compression,
}

/// What of a layer is wanted: canonical paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// These, with all directories on the way to them.
    pub paths: Vec<Vec<u8>>,
    /// These, with all directories on the way to them and all that is below them; the empty path is the root, and everything.
    pub below: Vec<Vec<u8>>,
}
