//! A plain layer in something that can be read at any place: what nobody wants is stepped over, not read.
//!
//! Nothing of such a layer is compared with a digest, as not all of it passes by.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::checkpoint::Extent;
use super::error::LayerError;
use super::stream::Stream;

/// How much is read behind a jump: one header.
const LEAST: usize = 512;

/// How much is read at a time at most, where one small entry follows the other. Larger reads go past the buffer.
const BUFFER: usize = 32 * 1024;

/// A plain tar that is stepped through.
pub struct Stepped<R> {
    blob: R,
    /// The blob's length in bytes.
    length: u64,
    /// How many of its bytes lie before what comes next from `blob`.
    position: u64,
    buffer: Box<[u8]>,
    /// How much is read next. Each time that nothing was skipped it is twice as much.
    ahead: usize,
    /// What of the buffer has not been consumed.
    start: usize,
    end: usize,
}

impl<R: Read + Seek> Stepped<R> {
    /// Begins at the front of an uncompressed blob.
    pub fn new(mut blob: R) -> io::Result<Self> {
        let length = blob.seek(SeekFrom::End(0))?;
        blob.rewind()?;
        Ok(Stepped { blob, length, position: 0, buffer: vec![0; BUFFER].into(), ahead: LEAST, start: 0, end: 0 })
    }
}

impl<R: Read + Seek> Stream for Stepped<R> {
    fn begin_entry(&mut self, _: u64, _: u64) {}

    fn extent(&self, _: u64) -> Option<Extent> {
        None
    }

    fn skip(&mut self, amount: u64) -> io::Result<u64> {
        let buffered = (self.end - self.start) as u64;
        if amount <= buffered {
            self.consume(usize::try_from(amount).unwrap_or(usize::MAX));
            return Ok(amount);
        }
        let jump = (amount - buffered).min(self.length - self.position);
        self.blob.seek(SeekFrom::Start(self.position + jump))?;
        self.position += jump;
        (self.start, self.end, self.ahead) = (0, 0, LEAST);
        Ok(buffered + jump)
    }

    fn finish(&mut self) -> Result<(), LayerError> {
        Ok(())
    }

    fn is_damaged(&self) -> bool {
        false
    }

    fn drain_blob(&mut self) -> Result<(), LayerError> {
        Ok(())
    }
}

impl<R: Read + Seek> BufRead for Stepped<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.end = self.blob.read(&mut self.buffer[..self.ahead])?;
            self.ahead = (2 * self.ahead).min(BUFFER);
            self.position += self.end as u64;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start.saturating_add(amount));
    }
}

impl<R: Read + Seek> Read for Stepped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end && buffer.len() >= self.ahead {
            let read = self.blob.read(buffer)?;
            self.position += read as u64;
            return Ok(read);
        }
        let ready = self.fill_buf()?;
        let amount = ready.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&ready[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::fixture::{Counted, tar_of};
    use super::super::{Flow, Kind, scan};
    use super::*;

    #[test]
    fn only_headers_and_what_is_wanted_are_read() {
        let big = vec![7; 10 << 20];
        let tar = tar_of(&[("a", &big), ("wanted", b"hello"), ("b", &big), ("last", b"x")]);
        let mut blob = Counted::new(Cursor::new(&tar));
        let (mut names, mut content) = (Vec::new(), Vec::new());
        scan(Stepped::new(&mut blob).unwrap(), &mut |entry, data| {
            names.push(String::from_utf8_lossy(&entry.path).into_owned());
            if entry.path == b"wanted" {
                data.read_to_end(&mut content)?;
            }
            Ok::<_, LayerError>(Flow::Continue)
        })
        .unwrap();
        assert_eq!((names.join(" ").as_str(), content.as_slice()), ("a wanted b last", b"hello".as_slice()));
        assert!(blob.bytes <= 12 * LEAST as u64, "{} bytes were read", blob.bytes);
    }

    #[test]
    fn what_ends_inside_an_entry_is_truncated_however_it_is_read() {
        let tar = tar_of(&[("a", &[1; 9000]), ("b", &[2; 9000])]);
        for cut in [100, 600, 9000, 9300, 9728 + 600, 18_900] {
            for wanted in [false, true] {
                let outcome = scan(Stepped::new(Cursor::new(&tar[..cut])).unwrap(), &mut |entry, data| {
                    if wanted && matches!(entry.kind, Kind::File { .. }) {
                        io::copy(data, &mut io::sink())?;
                    }
                    Ok::<_, LayerError>(Flow::Continue)
                });
                assert!(matches!(outcome, Err(LayerError::Truncated { .. })), "{cut} {wanted}: {outcome:?}");
            }
        }
    }
}
