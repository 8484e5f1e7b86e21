//! Our own tables: one for each layer's blob, with all its entries and where the content of each is, made to be read in parts.
//!
//! The cache of this machine has them as files, and an image index in a registry as blobs: `docs/formats.md` is their specification.
//! Rows are sorted by path, in leaves that are each read, checked and decoded alone. Two levels of nodes above the leaves name them by
//! their first keys and their digests, so that a table is covered by the digest of its top node.

#![allow(dead_code, unused_variables)]

use std::fs::File;
use std::io;
use std::ops::Range;

use super::Unusable;
use crate::image::digest::{Digest, Hasher};
use crate::layer::checkpoint::Checkpoint;
use crate::layer::{Compression, Entry};

/// One entry of a layer, and where its content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The entry, as the tar has it.
    pub entry: Entry,
    /// Whether it is a directory that the tar only implies.
    pub implied: bool,
    /// Where the content is; `None` for what is not a regular file, is empty, or is stored with holes.
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

/// Why a table was not written.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The layer is of a form that tables do not tell.
    #[error("{0}")]
    Untold(&'static str),
}

/// Writes a table, while the layer passes by.
pub struct Writer {
    table: File,
    scratch: Box<dyn Fn() -> io::Result<File> + Send>,
}

/// A table that has been written.
#[derive(Debug)]
pub struct Written {
    /// The file, which is at its end.
    pub file: File,
    /// Its length in bytes.
    pub length: u64,
    /// Its top node.
    pub top: Part,
    /// How many rows it has.
    pub rows: u64,
}

impl Writer {
    /// A table of the layer in `blob` that is to be written into `table`, which is empty. Files that `scratch` gives hold rows until
    /// they are sorted.
    pub fn new(table: File, scratch: Box<dyn Fn() -> io::Result<File> + Send>, blob: Blob) -> Self {
        Writer { table, scratch }
    }

    /// Takes note that a decoder can begin at these offsets; says how many bytes of the table that takes.
    pub fn checkpoint(
        &mut self,
        compressed: u64,
        uncompressed: u64,
        checkpoint: &Checkpoint,
    ) -> Result<u64, NotWritten> {
        unimplemented!()
    }

    /// Takes note of how far a decoder is.
    pub fn reached(&mut self, compressed: u64, uncompressed: u64) {
        unimplemented!()
    }

    /// Takes note of what the hash of the blob's bytes up to `position` is. Such a table is for this machine alone.
    pub fn hashed(&mut self, position: u64, hasher: &Hasher) {
        unimplemented!()
    }

    /// Takes in the next entry of the tar, with the SHA-256 of its content where it is known.
    pub fn entry(&mut self, entry: &Entry, digest: Option<Digest>) -> Result<(), NotWritten> {
        unimplemented!()
    }

    /// Writes what is left.
    pub fn finish(self) -> Result<Written, NotWritten> {
        unimplemented!()
    }
}

/// What stands at the end of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the top node is.
    pub top: Part,
    /// Where the hashes of the blob are; empty where there are none.
    pub trail: Range<u64>,
}

impl Trailer {
    /// The length of a trailer in bytes.
    pub const LENGTH: usize = 72;

    /// The trailer in the last bytes of a table that is `length` bytes long.
    pub fn read(last: &[u8], length: u64) -> Result<Self, Unusable> {
        unimplemented!()
    }
}

/// A table whose top node has been read.
#[derive(Clone, Debug)]
pub struct OwnTable {}

/// What of a layer is wanted: canonical paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// These, with all directories on the way to them.
    pub paths: Vec<Vec<u8>>,
    /// These, with all directories on the way to them and all that is below them; the empty path is the root, and everything.
    pub below: Vec<Vec<u8>>,
}

/// A question to a table: which parts are to be read, and what is in them.
#[derive(Debug)]
pub struct Query {}

/// What is to be done for a [`Query`].
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// These parts are to be read, in any order, and given to the query.
    Read(Vec<Part>),
    /// All rows have come.
    Done,
}

impl OwnTable {
    /// The table with this top node, which has to be what `part` says; it has to be one of the layer in `blob`.
    pub fn of(top: &[u8], part: &Part, blob: (&Digest, u64)) -> Result<Self, Unusable> {
        unimplemented!()
    }

    /// How the layer is compressed.
    pub fn compression(&self) -> Compression {
        unimplemented!()
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        unimplemented!()
    }

    /// Whether rows may be taken in the order in which they come. Otherwise all of them are to be asked for, and sorted by
    /// [`Entry::header_offset`] first.
    pub fn is_simple(&self) -> bool {
        unimplemented!()
    }

    /// Asks for what is `wanted`.
    pub fn query(&self, wanted: Wanted) -> Query {
        unimplemented!()
    }
}

impl Query {
    /// What is to be done next.
    pub fn step(&mut self) -> Step {
        unimplemented!()
    }

    /// Takes in the `bytes` of a part that it asked for, and hands on the rows that are wanted, in the order of their keys. Rows that
    /// nobody asked for may come too; no row comes twice.
    pub fn give(
        &mut self,
        part: &Part,
        bytes: &[u8],
        each: &mut dyn FnMut(Row) -> Result<(), Unusable>,
    ) -> Result<(), Unusable> {
        unimplemented!()
    }
}
