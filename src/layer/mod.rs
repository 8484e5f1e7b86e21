//! One layer: from the blob's compressed bytes to tar entries. Plain [`std::io::Read`], so that everything here can be tested
//! with a byte slice; it knows nothing of images or of where the bytes come from.

mod ahead;
pub mod checkpoint;
pub mod compression;
mod decimal;
mod decode;
mod decompressed;
pub mod entry;
mod error;
mod extent;
#[cfg(test)]
mod fixture;
mod gzip;
mod hashed;
mod header;
mod inflate;
mod name;
#[cfg(test)]
mod odd_deflate;
mod pax;
mod sparse;
mod stepped;
pub mod tar;
mod zstd;

use std::io::{self, BufRead, Read};

pub use ahead::Ahead;
pub use checkpoint::Tracked;
pub use compression::{Compression, MAGIC, sniff};
pub use decompressed::Decompressed;
pub use entry::{Entry, Kind};
pub use error::LayerError;
use extent::Extent;
pub use hashed::Hashed;
pub use sparse::Run;
pub use stepped::Stepped;
pub use tar::TarReader;

/// A layer's tar, decompressed as it is read.
pub trait Stream: BufRead {
    /// An entry's headers have been read: they began at the uncompressed offset `header`, and those of the next one will
    /// begin at `next`. What no extent from there on can need may be forgotten.
    fn begin_entry(&mut self, header: u64, next: u64);

    /// The least part of the blob that holds the tar from the current entry's headers to the uncompressed offset `end`, up to
    /// which it has been read. `None` where the stream does not keep track.
    fn extent(&self, end: u64) -> Option<Extent>;

    /// Goes so many bytes further, or fewer where the tar ends, and says how many. A stream that cannot jump reads them.
    fn skip(&mut self, amount: u64) -> io::Result<u64> {
        let mut left = amount;
        while left > 0 {
            let ready = self.fill_buf()?.len();
            if ready == 0 {
                break;
            }
            let skipped = usize::try_from(left).map_or(ready, |left| left.min(ready));
            self.consume(skipped);
            left -= skipped as u64;
        }
        Ok(amount - left)
    }

    /// Reads what is left of the tar, and of the blob, so that the source sees the blob's end and can compare its digest.
    fn finish(&mut self) -> Result<(), LayerError>;

    /// Whether the compressed stream turned out to be damaged or cut short.
    fn is_damaged(&self) -> bool;

    /// Reads what is left of the blob without decompressing it. Of a damaged stream the source can say more than the
    /// decoder: that the blob is not the one that was asked for.
    fn drain_blob(&mut self) -> Result<(), LayerError>;
}

/// The content of an entry. Reading it gives the zeros of its holes, too.
pub trait Content: Read {
    /// What comes next, or none at the end: so many bytes to be read, or a hole, which this steps over. A few bytes of tar can
    /// claim a hole that takes minutes to read.
    fn next_run(&mut self) -> Option<Run>;

    /// The least part of the blob that holds the entry, headers included, once its content has been read. `None` where the
    /// layer is read without keeping track.
    fn extent(&self) -> Option<Extent>;
}

/// Whether to go on after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next one, and behind the last one to the blob's end.
    Continue,
    /// Not at all: what is left of the blob is not read, and so its digest not checked.
    Stop,
}

/// Hands each entry of the layer `stream` to `visit`, with its content, which may be left unread. Unless `visit` stops it, the blob is read
/// to its end, so that its reader can check its digest; where the layer turns out to be damaged, this comes first, as a blob
/// that is not the one asked for is the better explanation.
pub fn scan<S: Stream, E: From<LayerError>>(
    stream: S,
    visit: &mut dyn FnMut(&Entry, &mut dyn Content) -> Result<Flow, E>,
) -> Result<(), E> {
    let mut tar = TarReader::new(stream);
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

fn visit_all<S: Stream, E: From<LayerError>>(
    tar: &mut TarReader<S>,
    visit: &mut dyn FnMut(&Entry, &mut dyn Content) -> Result<Flow, E>,
) -> Result<Flow, E> {
    while let Some(entry) = tar.next()? {
        tar.begin_entry(&entry);
        if visit(&entry, &mut tar.data())? == Flow::Stop {
            return Ok(Flow::Stop);
        }
    }
    Ok(Flow::Continue)
}

#[cfg(test)]
mod tests;
