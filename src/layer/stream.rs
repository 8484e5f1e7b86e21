//! What a layer gives and what its reader hands on: a tar that knows where in the blob it is, and the content of an entry.

use std::io::{self, BufRead, Read};

use super::error::LayerError;
use super::extent::Extent;
use crate::tar::sparse::Run;

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
    fn finish(&mut self) -> Result<(), LayerError> {
        loop {
            let ready = self.fill_buf()?.len();
            if ready == 0 {
                return Ok(());
            }
            self.consume(ready);
        }
    }

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
