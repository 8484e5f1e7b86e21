//! One layer: from the blob's compressed bytes to tar entries. Plain [`std::io::Read`], so that everything here can be tested
//! with a byte slice; it knows nothing of images or of where the bytes come from.

mod ahead;
pub mod checkpoint;
pub mod compression;
pub mod content;
mod decode;
mod decoded;
mod decompressed;
pub mod entry;
mod error;
mod extent;
#[cfg(test)]
pub(crate) mod fixture;
mod gzip;
mod hashed;
mod inflate;
mod name;
pub mod observer;
#[cfg(test)]
mod odd_deflate;
pub mod referred;
pub mod restarts;
mod scan;
mod stepped;
mod stream;
pub mod tar;
mod zstd;

pub use ahead::{Ahead, MOST_AHEAD};
pub use checkpoint::Tracked;
pub use compression::{Compression, MAGIC, sniff};
pub use decompressed::Decompressed;
pub use entry::{Entry, Kind};
pub use error::LayerError;
pub use hashed::Hashed;
pub(crate) use name::{AtRoot, MAX_NAME, canonical};
pub use scan::{Flow, scan};
pub use stepped::Stepped;
pub use stream::{Content, Stream};
pub use tar::TarReader;

pub use crate::tar::sparse::Run;

#[cfg(test)]
mod tests;
