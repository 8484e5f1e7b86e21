//! Sparse files: where in a file the bytes lie that the tar stores, in GNU tar's old format and in its three PAX formats.

use super::decimal::decimal;
use super::header::number;

/// A run of bytes that the tar stores; what lies between two of them is zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The most segments that a file may have: 16 MiB of memory, and 64 GiB of file where every second block of 32 KiB is a hole.
const MAX_SEGMENTS: usize = 1 << 20;

/// The most bytes of holes that a file may have: the largest honest file of this kind, a `lastlog` with the highest user ID, has
/// 1.2 TB. They cost nothing as long as they are stepped over; whoever hashes or streams them needs a limit of its own.
const MAX_HOLES: u64 = 2 << 40;

/// Appends a segment. Empty ones (GNU tar ends its maps with one) say nothing and are left out, though not unchecked.
pub(crate) fn push(map: &mut Vec<Segment>, segment: Segment) -> Result<(), &'static str> {
    let end = map.last().map_or(0, |last| last.offset + last.length);
    if segment.offset < end || segment.offset.checked_add(segment.length).is_none_or(|end| end > i64::MAX as u64) {
        return Err("has a sparse map that is out of order");
    }
    if segment.length == 0 {
        return Ok(());
    }
    if map.len() == MAX_SEGMENTS {
        return Err("has a sparse map of more than a million segments");
    }
    map.push(segment);
    Ok(())
}

/// Checks a whole map against the file's size and the bytes that the tar stores for it.
pub(crate) fn check(map: &[Segment], size: u64, stored: u64) -> Result<(), &'static str> {
    let end = map.last().map_or(0, |last| last.offset + last.length);
    // No overflow: the segments are in order and end below 2^63.
    let data: u64 = map.iter().map(|segment| segment.length).sum();
    if end > size {
        return Err("its sparse map reaches beyond the file's end");
    }
    if size - data > MAX_HOLES {
        return Err("it has holes of more than 2 TiB");
    }
    if data != stored {
        return Err("its sparse map does not fit the data that is stored");
    }
    Ok(())
}

/// Reads the entries of an old GNU sparse header (four in the header itself, 21 in each extension). The list ends at the first
/// empty one.
pub(crate) fn push_gnu_entries(map: &mut Vec<Segment>, entries: &[u8]) -> Result<(), &'static str> {
    for entry in entries.chunks_exact(24) {
        if entry[0] == 0 {
            break;
        }
        let part = |field| {
            number(field).and_then(|number| u64::try_from(number).ok()).ok_or("has no number in its sparse map")
        };
        push(map, Segment { offset: part(&entry[..12])?, length: part(&entry[12..])? })?;
    }
    Ok(())
}

/// Reads the map of version 1.0, which stands in front of the data, piece by piece: decimal numbers, each with a newline behind
/// it; first how many segments there are, then offset and length of each.
#[derive(Default)]
pub(crate) struct MapReader {
    map: Vec<Segment>,
    /// Digits of a number that goes on in the next block.
    digits: Vec<u8>,
    /// How many numbers are to come; unknown until the first one is there.
    wanted: Option<u64>,
    offset: Option<u64>,
}

impl MapReader {
    /// Takes the next block; true when the map is whole. What follows in the block is padding.
    pub(crate) fn push(&mut self, block: &[u8]) -> Result<bool, &'static str> {
        for &byte in block {
            if byte != b'\n' {
                // decimal() refuses what is longer.
                if self.digits.len() > 20 {
                    return Err("has no number in its sparse map");
                }
                self.digits.push(byte);
                continue;
            }
            let number = decimal(&self.digits).map_err(|_| "has no number in its sparse map")?;
            self.digits.clear();
            match (self.wanted, self.offset.take()) {
                (None, _) => self.wanted = Some(number),
                (Some(_), None) => self.offset = Some(number),
                (Some(wanted), Some(offset)) => {
                    push(&mut self.map, Segment { offset, length: number })?;
                    self.wanted = Some(wanted - 1);
                }
            }
            if self.wanted == Some(0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn into_map(self) -> Vec<Segment> {
        self.map
    }
}

/// What comes next in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// So many zeros that the tar does not store.
    Hole(u64),
    /// So many bytes that it does.
    Data(u64),
}

/// Walks through a file, hole by hole.
#[derive(Debug)]
pub(crate) struct Cursor {
    map: Vec<Segment>,
    next: usize,
    position: u64,
    size: u64,
}

impl Cursor {
    /// Starts at the front of a file whose map has been checked.
    pub(crate) fn new(map: Vec<Segment>, size: u64) -> Self {
        Cursor { map, next: 0, position: 0, size }
    }

    /// The run at the cursor, or none at the file's end.
    pub(crate) fn run(&self) -> Option<Run> {
        match self.map.get(self.next) {
            Some(segment) if self.position < segment.offset => Some(Run::Hole(segment.offset - self.position)),
            Some(segment) => Some(Run::Data(segment.offset + segment.length - self.position)),
            None if self.position < self.size => Some(Run::Hole(self.size - self.position)),
            None => None,
        }
    }

    /// The same, and moves on behind a hole.
    pub(crate) fn next_run(&mut self) -> Option<Run> {
        let run = self.run();
        if let Some(Run::Hole(length)) = run {
            self.advance(length);
        }
        run
    }

    /// Moves on by at most the run's length.
    pub(crate) fn advance(&mut self, amount: u64) {
        self.position += amount;
        if self.map.get(self.next).is_some_and(|segment| self.position >= segment.offset + segment.length) {
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_a_limit() {
        let mut map = Vec::new();
        for at in 0..MAX_SEGMENTS as u64 {
            push(&mut map, Segment { offset: 2 * at, length: 1 }).unwrap();
        }
        assert!(push(&mut map, Segment { offset: 1 << 40, length: 1 }).is_err());
    }

    #[test]
    fn a_hole_is_stepped_over_whatever_its_length() {
        let map = vec![Segment { offset: 1 << 40, length: 6 }, Segment { offset: (1 << 40) + 6, length: 4 }];
        let mut cursor = Cursor::new(map, 2 << 40);
        let mut runs = Vec::new();
        while let Some(run) = cursor.next_run() {
            runs.push(run);
            if let Run::Data(length) = run {
                cursor.advance(length);
            }
        }
        assert_eq!(runs, [Run::Hole(1 << 40), Run::Data(6), Run::Data(4), Run::Hole((1 << 40) - 10)]);
    }
}
