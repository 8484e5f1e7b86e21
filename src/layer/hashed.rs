//! A layer's tar that is compared with its diff ID when it has been read to its end: where nothing vouches for the blob as it is
//! stored, its uncompressed content is what the config promises.

use std::io::{self, BufRead, Read};

use super::checkpoint::Extent;
use super::error::LayerError;
use super::stream::Stream;
use crate::image::digest::{DiffId, Hasher};

/// A stream whose content must have a diff ID.
pub struct Hashed<S> {
    stream: S,
    hasher: Option<Hasher>,
    expected: DiffId,
}

impl<S: Stream> Hashed<S> {
    /// The stream, of which nothing has been read.
    pub fn new(stream: S, expected: DiffId) -> Self {
        Hashed { stream, hasher: Some(expected.0.hasher()), expected }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }
}

impl<S: Stream> Stream for Hashed<S> {
    fn begin_entry(&mut self, header: u64, next: u64) {
        self.stream.begin_entry(header, next);
    }

    fn extent(&self, end: u64) -> Option<Extent> {
        self.stream.extent(end)
    }

    fn finish(&mut self) -> Result<(), LayerError> {
        loop {
            let ready = self.fill_buf()?.len();
            if ready == 0 {
                break;
            }
            self.consume(ready);
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(actual) if actual != self.expected.0 => {
                Err(LayerError::Mismatch { expected: self.expected.clone(), actual: DiffId(actual) })
            }
            _ => Ok(()),
        }
    }

    fn is_damaged(&self) -> bool {
        self.stream.is_damaged()
    }

    fn drain_blob(&mut self) -> Result<(), LayerError> {
        match self.stream.is_damaged() {
            true => self.stream.drain_blob(),
            false => self.finish(),
        }
    }
}

impl<S: Stream> BufRead for Hashed<S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is consumed was in the buffer, which is not filled anew.
        if let (Some(hasher), true, Ok(ready)) = (&mut self.hasher, amount > 0, self.stream.fill_buf()) {
            hasher.update(&ready[..amount.min(ready.len())]);
        }
        self.stream.consume(amount);
    }
}

impl<S: Stream> Read for Hashed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::tar_of;
    use super::super::{Decompressed, Flow, scan};
    use super::*;
    use crate::image::digest::Digest;

    fn read(tar: &[u8], expected: &[u8], wanted: bool) -> Result<(), LayerError> {
        let stream = Hashed::new(Decompressed::new(tar)?, DiffId(Digest::of(expected)));
        scan(stream, &mut |_, data| {
            if wanted {
                io::copy(data, &mut io::sink())?;
            }
            Ok::<_, LayerError>(Flow::Continue)
        })
    }

    #[test]
    fn a_tar_must_have_its_diff_id_whatever_of_it_is_wanted() {
        let tar = tar_of(&[("a", &[1; 700_000]), ("b", b"2")]);
        for wanted in [false, true] {
            read(&tar, &tar, wanted).unwrap();
            assert!(matches!(read(&tar, b"another", wanted), Err(LayerError::Mismatch { .. })));
        }
        // Another layer altogether is the better explanation for one that is no tar.
        let junk = vec![b'x'; 2000];
        assert!(matches!(read(&junk, &tar, true), Err(LayerError::Mismatch { .. })));
        assert!(matches!(read(&junk, &junk, true), Err(LayerError::Malformed { .. })));
    }
}
