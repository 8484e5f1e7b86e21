//! The trail of a table: what the hash of the layer's blob had come to at places of it, so that a part of the blob that is read again can be
//! compared with what its digest covered the first time.
//!
//! A record is a position, in eight bytes, little-endian, and the eight words of the SHA-256's state, four bytes each, little-endian too.
//! Positions grow.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::image::digest::{Digest, Hasher};
use crate::table::Unusable;

/// The length of a record in bytes.
const RECORD: usize = 40;

/// The record of what the hash of the first `position` bytes is; `None` where there can be none.
pub(super) fn record(position: u64, hasher: &Hasher) -> Option<[u8; RECORD]> {
    let (hashed, state) = hasher.state()?;
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&position.to_le_bytes());
    record[8..].copy_from_slice(&state);
    (hashed == position).then_some(record)
}

/// A trail, of which only those records are read that are needed.
#[derive(Debug)]
pub struct Trail<R> {
    table: R,
    start: u64,
    count: u64,
}

/// A part of a blob that can be compared.
#[derive(Clone, Debug)]
pub struct Around {
    /// The bytes of the blob.
    pub range: Range<u64>,
    /// The hash of all bytes before.
    pub hasher: Hasher,
    /// The digest of all bytes up to its end.
    pub expected: Digest,
}

impl<R: Read + Seek> Trail<R> {
    /// The trail that is at `range` of the file `table`, as its [`Trailer`](super::Trailer) says.
    pub fn new(table: R, range: &Range<u64>) -> Result<Self, Unusable> {
        let length = range.end.saturating_sub(range.start);
        match length % RECORD as u64 {
            0 => Ok(Trail { table, start: range.start, count: length / RECORD as u64 }),
            _ => Err(Unusable::new("the trail of the table is cut")),
        }
    }

    /// The least part of the blob that can be compared and holds its bytes `range`; `blob` is its digest and its length in bytes. `None`
    /// where there is no trail, or none that can be followed.
    pub fn around(&mut self, range: Range<u64>, (digest, size): (&Digest, u64)) -> io::Result<Option<Around>> {
        if self.count == 0 || digest.sha256().is_none() || range.start > range.end || range.end > size {
            return Ok(None);
        }
        let behind = self.first(|position| position > range.start)?;
        let (start, hasher) = match behind.checked_sub(1) {
            None => (0, Hasher::default()),
            Some(at) => match self.get(at)? {
                (start, Some(hasher)) => (start, hasher),
                (_, None) => return Ok(None),
            },
        };
        let next = self.first(|position| position >= range.end && position > start)?;
        let (end, expected) = match next < self.count {
            false => (size, digest.clone()),
            true => match self.get(next)? {
                (end, Some(hasher)) => (end, hasher.finish()),
                (_, None) => return Ok(None),
            },
        };
        let holds = start <= range.start && range.end <= end && end <= size;
        Ok(holds.then_some(Around { range: start..end, hasher, expected }))
    }

    /// Which record is the first whose position `is` it; all behind it are.
    fn first(&mut self, is: impl Fn(u64) -> bool) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if is(self.get(middle)?.0) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }

    /// A record: its position, and the hash, if it can be one.
    fn get(&mut self, at: u64) -> io::Result<(u64, Option<Hasher>)> {
        let mut record = [0; RECORD];
        self.table.seek(SeekFrom::Start(self.start + at * RECORD as u64))?;
        self.table.read_exact(&mut record)?;
        let (position, state) = record.split_at(8);
        let position = position.try_into().map_or(0, u64::from_le_bytes);
        let hasher = state.try_into().ok().and_then(|state: [u8; 32]| Hasher::resumed(position, &state));
        Ok((position, hasher))
    }
}
