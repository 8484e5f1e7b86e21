//! One layer: from the blob's compressed bytes to tar entries. Plain [`std::io::Read`], so that everything here can be tested
//! with a byte slice; it knows nothing of images or of where the bytes come from.

mod blocks;
pub mod checkpoint;
pub mod compression;
pub mod entry;
mod error;
#[cfg(test)]
mod fixture;
mod gzip;
mod header;
mod name;
mod pax;
mod sparse;
pub mod tar;
mod zstd;

use std::io::Read;

pub use compression::Decompressed;
pub use entry::{Entry, Kind};
pub use error::LayerError;
pub use tar::TarReader;

/// Whether to go on after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next one, and behind the last one to the blob's end.
    Continue,
    /// Not at all: what is left of the blob is not read, and so its digest not checked.
    Stop,
}

/// Hands each entry of a layer to `visit`, with its content, which may be left unread. Unless `visit` stops it, the blob is read
/// to its end, so that its reader can check its digest; where the layer turns out to be damaged, this comes first, as a blob
/// that is not the one asked for is the better explanation.
pub fn scan<E: From<LayerError>>(
    blob: impl Read,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<Flow, E>,
) -> Result<(), E> {
    let mut tar = TarReader::new(Decompressed::new(blob)?);
    let result = visit_all(&mut tar, visit);
    let failed = tar.has_failed();
    let mut stream = tar.into_inner();
    let result = match result {
        Ok(Flow::Stop) => return Ok(()),
        Ok(Flow::Continue) => stream.finish().map_err(E::from),
        Err(error) => Err(error),
    };
    if result.is_err() && (failed || stream.is_damaged()) {
        stream.drain_blob()?;
    }
    result
}

fn visit_all<R: Read, E: From<LayerError>>(
    tar: &mut TarReader<Decompressed<R>>,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<Flow, E>,
) -> Result<Flow, E> {
    while let Some(entry) = tar.next()? {
        if visit(&entry, &mut tar.data())? == Flow::Stop {
            return Ok(Flow::Stop);
        }
    }
    Ok(Flow::Continue)
}

#[cfg(test)]
mod tests;
