//! Layer tables: all entries of one layer, and where the content of each is, told by a table of contents and not by the layer's tar.
//!
//! A [`Table`] gives the same [`Entry`]s as the layer would, in the same order, and [`Pieces`] of the blob for the contents that are
//! wanted. Where tables come from differs, a file each: `estargz` and `zstd_chunked` are part of the layer, and the manifest
//! covers them; `soci` are blobs beside it.
//! Nothing here does any input or output, and nothing in a table is believed before all of it had the digest that the manifest has.
//!
//! Of a table only its bytes are held, as they are stored, some percent of the layer; they are read anew for each question.

mod estargz;
pub mod own;
mod pieces;
pub mod soci;
mod time;
mod toc;
mod zstd_chunked;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::Range;

pub use pieces::{Piece, Pieces};

use self::pieces::Locating;
use crate::image::Layer;
use crate::image::manifest::Descriptor;
use crate::layer::content::DataOffset;
use crate::layer::{Compression, Entry};

/// A table longer than this many bytes, as it is stored, is not read: it is held in memory. One of a million entries is shorter.
pub const MAX_STORED: u64 = 128 << 20;

/// A table is not read further than to so many bytes for each that is stored, and so many more. Usual ones have four to seven, and one of
/// empty files alone a hundred.
const MAX_RATIO: u64 = 200;
const FREE_LENGTH: u64 = 1 << 20;

/// Why a table is not believed. The layer can be read instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

impl Unusable {
    /// A table that has this `problem`.
    pub fn new(problem: impl Into<String>) -> Self {
        Unusable(problem.into())
    }
}

/// A kind of table that an image carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// eStargz: gzip, with the table in its last member but one.
    Estargz,
    /// zstd:chunked: zstd, with the table in a skippable frame.
    ZstdChunked,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Estargz => "estargz",
            Format::ZstdChunked => "zstd:chunked",
        })
    }
}

impl Format {
    /// The kind of table that the manifest promises for `layer`.
    pub fn of(layer: &Layer) -> Option<Self> {
        let annotations = annotations(layer)?;
        if annotations.contains_key(zstd_chunked::POSITION) && annotations.contains_key(zstd_chunked::CHECKSUM) {
            return Some(Format::ZstdChunked);
        }
        annotations.contains_key(estargz::TOC_DIGEST).then_some(Format::Estargz)
    }

    /// How the pieces of a layer are compressed.
    pub fn compression(self) -> Compression {
        match self {
            Format::Estargz => Compression::Gzip,
            Format::ZstdChunked => Compression::Zstd,
        }
    }
}

/// What the manifest promises about the table of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    format: Format,
    /// The layer's length in bytes, as stored.
    size: u64,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Estargz(estargz::Promise),
    ZstdChunked(zstd_chunked::Promise),
}

/// What is to be read of a layer for its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// These bytes of the blob, in front of those that have come, which are given back.
    Read(Range<u64>, Vec<u8>),
    /// Nothing else.
    Table(Table),
}

impl Offer {
    /// What the manifest promises about the table of `layer`; `None` where it promises none.
    pub fn of(layer: &Layer) -> Option<Result<Self, Unusable>> {
        let (format, annotations) = (Format::of(layer)?, annotations(layer)?);
        let place = match format {
            Format::Estargz => estargz::Promise::of(annotations).map(Place::Estargz),
            Format::ZstdChunked => zstd_chunked::Promise::of(annotations, layer.size()).map(Place::ZstdChunked),
        };
        Some(place.map(|place| Offer { format, size: layer.size(), place }))
    }

    /// Which bytes of the blob are asked for first.
    pub fn first(&self) -> Range<u64> {
        match &self.place {
            Place::Estargz(_) => estargz::tail(self.size),
            Place::ZstdChunked(promise) => promise.range.clone(),
        }
    }

    /// What to do when the blob's bytes from `start` on have come, as far as they were asked for.
    pub fn next(&self, start: u64, bytes: Vec<u8>) -> Result<Next, Unusable> {
        let Offer { format, size, place } = self.clone();
        let (stored, end) = match &place {
            Place::Estargz(_) => match estargz::toc(&bytes, start, size)? {
                estargz::Toc::Before(range) => return Ok(Next::Read(range, bytes)),
                estargz::Toc::At(at, end) => (bytes[at].to_vec(), end),
            },
            Place::ZstdChunked(promise) => {
                promise.check(&bytes)?;
                (bytes, promise.range.start)
            }
        };
        Ok(Next::Table(Table { format, size, end, place, stored }))
    }
}

/// A table that is held whole, as it is stored, and read anew for each question.
pub trait WholeTable: fmt::Debug + Send + Sync {
    /// Hands each entry to `visit`, in the order of the layer's tar, as the tar would have it, except for offsets: [`Entry::data_offset`]
    /// tells contents apart, and nothing else. What is handed on counts only where it ends well: only then it is known that the table
    /// is the one that was meant, and that it does not contradict itself.
    fn entries(&self, visit: &mut dyn FnMut(&Entry) -> Result<(), Unusable>) -> Result<(), Unusable>;

    /// Where the contents `wanted` are.
    fn contents(&self, wanted: &HashSet<DataOffset>) -> Result<Contents, Unusable>;

    /// How the layer is compressed.
    fn compression(&self) -> Compression;
}

/// Where contents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Each in pieces of its own, which have digests.
    Pieces(HashMap<DataOffset, Pieces>),
    /// In parts of the layer that have digests as they are stored.
    Spans(Vec<soci::Stretch>),
}

/// A layer's table of contents, as the layer itself has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    format: Format,
    /// The layer's length in bytes, as stored.
    size: u64,
    /// Where in the blob the contents end.
    end: u64,
    place: Place,
    /// As it is stored.
    stored: Vec<u8>,
}

impl WholeTable for Table {
    fn entries(&self, visit: &mut dyn FnMut(&Entry) -> Result<(), Unusable>) -> Result<(), Unusable> {
        self.read(&mut |listed| visit(&listed.entry))
    }

    fn contents(&self, wanted: &HashSet<DataOffset>) -> Result<Contents, Unusable> {
        let mut locating = Locating::new(self.end);
        self.read(&mut |listed| {
            let is_wanted = wanted.contains(&DataOffset(listed.entry.data_offset));
            locating.take(listed, is_wanted);
            Ok(())
        })?;
        Ok(Contents::Pieces(locating.finish()))
    }

    fn compression(&self) -> Compression {
        self.format.compression()
    }
}

impl Table {
    /// What kind of table it is.
    pub fn format(&self) -> Format {
        self.format
    }

    fn read(&self, each: &mut dyn FnMut(toc::Listed) -> Result<(), Unusable>) -> Result<(), Unusable> {
        let most = self.most();
        let assembling = toc::Assembling::new(self.end, self.size, self.stored.len() as u64);
        match &self.place {
            Place::Estargz(promise) => promise.read(&self.stored, most, assembling, each),
            Place::ZstdChunked(promise) => promise.read(&self.stored, most, assembling, each),
        }
    }

    /// How many bytes the table may have when it is decompressed.
    fn most(&self) -> u64 {
        (self.stored.len() as u64).saturating_mul(MAX_RATIO).saturating_add(FREE_LENGTH)
    }
}

/// The canonical paths of the tar members of `layer` that belong to the layer's format, and are nothing that the image's maker put there.
pub fn own_members(layer: &Layer) -> &'static [&'static [u8]] {
    match annotations(layer) {
        Some(annotations) if annotations.contains_key(estargz::TOC_DIGEST) => &estargz::OWN_MEMBERS,
        _ => &[],
    }
}

fn annotations(layer: &Layer) -> Option<&BTreeMap<String, String>> {
    layer.blob.descriptor.as_ref().and_then(|Descriptor { annotations, .. }| annotations.as_ref())
}

#[cfg(test)]
mod tests;
