//! What lets a part of a blob be read a second time and still be covered by the blob's digest: what the hash had come to at places of
//! the first reading.
//!
//! The digest of the first n bytes is noted for some n. Whoever reads a part again goes on from the hash in front of it, and must come to
//! the same digest behind it. Then the whole blob with these bytes in it has the digest that it had in the first reading: it is the
//! same comparison, of which the bytes before and behind the part are known already. It is worth what the first reading is, so only
//! where that came to the blob's end and had the digest that was promised.
//!
//! Few places are kept in memory. Somebody who writes them down is handed more of them, while the blob is read.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BlobReader, SourceError};
use crate::image::digest::{Digest, Hasher};

/// How many places are noted at most: about 110 bytes each for SHA-256, twice as much for SHA-512.
const MAX_PLACES: usize = 1024;

/// How many bytes lie between two places at first. Each time that there are too many, every second one is forgotten.
const FIRST_STEP: u64 = 16 << 10;

/// How many bytes lie between two places that are handed on.
const HANDED_ON: u64 = 32 << 10;

/// What a blob's hash had come to, at places of it.
#[derive(Debug)]
pub struct Trail(Mutex<Places>);

#[derive(Debug)]
struct Places {
    /// How many bytes lie between two places.
    step: u64,
    /// The hash of the first so many bytes, a whole number of steps each.
    hashes: Vec<(u64, Hasher)>,
    /// The places that are still to be handed on; `None` where nobody wants them. Whoever does takes them as fast as the blob is read.
    new: Option<Vec<(u64, Hasher)>>,
}

impl Default for Trail {
    fn default() -> Self {
        Trail(Mutex::new(Places { step: FIRST_STEP, hashes: Vec::new(), new: None }))
    }
}

impl Trail {
    /// Takes `bytes`, which begin at `position`, into the hash of all bytes before, and notes what that comes to on the way.
    pub(super) fn follow(&self, hasher: &mut Hasher, position: u64, bytes: &[u8]) {
        let (mut position, mut left, mut places) = (position, bytes, self.places());
        if position == 0 && places.hashes.is_empty() {
            places.hashes.push((0, hasher.clone()));
        }
        while !left.is_empty() {
            let to_next = places.to_next(position);
            let length = usize::try_from(to_next).map_or(left.len(), |to_next| to_next.min(left.len()));
            let (now, later) = left.split_at(length);
            hasher.update(now);
            (left, position) = (later, position + length as u64);
            if length as u64 == to_next {
                places.note(position, hasher);
            }
        }
    }

    /// Begins to hand on all places, those of the first bytes included, which may have come already.
    pub fn hand_on(&self) {
        let mut places = self.places();
        let begun = places.hashes.iter().filter(|(position, _)| is_handed_on(*position)).cloned().collect();
        places.new = Some(begun);
    }

    /// The places that have come since it was asked before, in their order: so many bytes, and their hash.
    pub fn handed_on(&self) -> Vec<(u64, Hasher)> {
        self.places().new.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Hands on nothing any more, as nobody takes it.
    pub fn hand_on_no_more(&self) {
        self.places().new = None;
    }

    /// The least part of a blob that can be compared and holds its bytes `range`; `blob` is its digest and its length in bytes. `None`
    /// where its hash was not followed.
    pub fn around(&self, range: Range<u64>, (digest, length): (&Digest, u64)) -> Option<Part> {
        let places = self.places();
        let behind = places.hashes.partition_point(|(position, _)| *position <= range.start);
        let (start, hasher) = places.hashes.get(behind.checked_sub(1)?)?;
        let next = places.hashes.iter().skip(behind).find(|(position, _)| *position >= range.end);
        let (end, expected) = match next {
            Some((end, hasher)) => (*end, hasher.clone().finish()),
            None => (length, digest.clone()),
        };
        Some(Part::new(*start..end, hasher.clone(), expected))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // What a panicking thread leaves here is at worst a place that is missing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// How many bytes behind `position` the next place is.
    fn to_next(&self, position: u64) -> u64 {
        let step = if self.new.is_some() { self.step.min(HANDED_ON) } else { self.step };
        step - position % step
    }

    fn note(&mut self, position: u64, hasher: &Hasher) {
        if let Some(new) = self.new.as_mut().filter(|_| is_handed_on(position)) {
            new.push((position, hasher.clone()));
        }
        if !position.is_multiple_of(self.step) {
            return;
        }
        self.hashes.push((position, hasher.clone()));
        if self.hashes.len() > MAX_PLACES {
            self.step *= 2;
            let step = self.step;
            self.hashes.retain(|(position, _)| position % step == 0);
        }
    }
}

fn is_handed_on(position: u64) -> bool {
    position > 0 && position.is_multiple_of(HANDED_ON)
}

/// A part of a blob that is to be read again.
#[derive(Clone, Debug)]
pub struct Part {
    /// The bytes of the blob, counted from its start as stored.
    pub range: Range<u64>,
    /// The hash of all bytes before.
    hasher: Hasher,
    /// The digest of all bytes up to its end.
    expected: Digest,
}

impl Part {
    /// The bytes `range` of a blob, where the hash of all bytes before is known, and the digest of all up to their end.
    pub fn new(range: Range<u64>, hasher: Hasher, expected: Digest) -> Self {
        Part { range, hasher, expected }
    }

    /// Reads the part from `reader`, which must give what the first reading had there: anything else ends in an error, never in a
    /// clean end of file. Messages call it `what`.
    pub fn compared(self, reader: BlobReader, what: String) -> BlobReader {
        Box::new(Compared { reader, expected: Some((self.hasher, self.expected)), what })
    }
}

struct Compared {
    reader: BlobReader,
    /// The digest that must come out; `None` when it has been compared.
    expected: Option<(Hasher, Digest)>,
    what: String,
}

impl Read for Compared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if let Some((hasher, _)) = &mut self.expected {
            hasher.update(&buffer[..read]);
        }
        if read == 0
            && !buffer.is_empty()
            && let Some((hasher, expected)) = self.expected.take()
            && hasher.finish() != expected
        {
            let (expected, actual) = ("the bytes that it had before".to_owned(), "others".to_owned());
            return Err(SourceError::Mismatch { what: self.what.clone(), expected, actual }.into());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::support::random::Random;

    /// The trail of `blob`, which came in pieces of `piece` bytes.
    fn trail(blob: &[u8], piece: usize) -> (Trail, Digest) {
        let (trail, digest) = (Trail::default(), Digest::of(blob));
        let (mut hasher, mut position) = (digest.hasher(), 0);
        for bytes in blob.chunks(piece) {
            trail.follow(&mut hasher, position, bytes);
            position += bytes.len() as u64;
        }
        assert_eq!(hasher.finish(), digest);
        (trail, digest)
    }

    fn read(part: &Part, bytes: &[u8]) -> io::Result<usize> {
        part.clone().compared(Box::new(Cursor::new(bytes.to_vec())), "it".to_owned()).read_to_end(&mut Vec::new())
    }

    #[test]
    fn any_part_is_compared_with_what_came_first_and_a_little_around_it() {
        let blob = Random::new(1).bytes(500_000);
        for piece in [1000, 65_536, 500_000] {
            let (trail, digest) = trail(&blob, piece);
            for range in [0..1, 0..500_000, 16_384..16_385, 100_000..200_000, 499_000..500_000, 499_999..499_999] {
                let part = trail.around(range.clone(), (&digest, 500_000)).unwrap();
                assert!(part.range.start <= range.start && part.range.end >= range.end, "{range:?} {:?}", part.range);
                let around = (part.range.end - part.range.start) - (range.end - range.start);
                assert!(around <= 2 * FIRST_STEP, "{around} bytes more than {range:?}");
                let bytes = &blob[part.range.start as usize..part.range.end as usize];
                assert_eq!(read(&part, bytes).unwrap(), bytes.len());
                for place in [0, bytes.len() / 2, bytes.len() - 1] {
                    let mut other = bytes.to_vec();
                    other[place] ^= 1;
                    assert!(read(&part, &other).is_err());
                }
                assert!(read(&part, &bytes[1..]).is_err() && read(&part, &bytes[..bytes.len() - 1]).is_err());
            }
        }
    }

    #[test]
    fn a_blob_of_any_length_leaves_no_more_than_so_many_places() {
        let (trail, hasher) = (Trail::default(), Hasher::default());
        for steps in 0..MAX_PLACES as u64 * 5 / 2 {
            let (position, mut places) = (steps * FIRST_STEP, trail.places());
            if position % places.step == 0 {
                places.note(position, &hasher);
            }
        }
        let count = trail.places().hashes.len();
        assert!((MAX_PLACES / 2..=MAX_PLACES).contains(&count), "{count}");
        assert_eq!(trail.places().step, FIRST_STEP * 4);
        let part = trail.around(1_000_000..1_000_001, (&Digest::of(b"x"), 1 << 30)).unwrap();
        assert_eq!(part.range, 983_040..1_048_576);
    }

    #[test]
    fn whoever_writes_places_down_gets_all_of_them_even_if_some_bytes_had_come() {
        let blob = Random::new(2).bytes(40 << 20);
        for before in [0, 100_000] {
            let (trail, digest, mut handed_on) = (Trail::default(), Digest::of(&blob), Vec::new());
            let (mut hasher, mut position) = (digest.hasher(), 0);
            trail.follow(&mut hasher, position, &blob[..before]);
            trail.hand_on();
            position += before as u64;
            for bytes in blob[before..].chunks(70_000) {
                trail.follow(&mut hasher, position, bytes);
                position += bytes.len() as u64;
                handed_on.extend(trail.handed_on());
            }
            assert!(handed_on.iter().map(|(position, _)| *position).eq((1..=1280).map(|nth| nth * HANDED_ON)));
            for (position, hasher) in handed_on.into_iter().step_by(400) {
                assert_eq!(hasher.finish(), Digest::of(&blob[..position as usize]));
            }
            assert!(trail.places().hashes.len() <= MAX_PLACES && trail.handed_on().is_empty());
            trail.hand_on_no_more();
            trail.follow(&mut hasher, position, &blob[..100_000]);
            assert!(trail.handed_on().is_empty());
        }
    }

    #[test]
    fn a_blob_whose_hash_nobody_followed_has_no_parts() {
        assert!(Trail::default().around(0..1, (&Digest::of(b"x"), 1)).is_none());
    }
}
