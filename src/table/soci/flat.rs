//! Reading FlatBuffers, as far as zTOCs need it: tables with numbers, strings, vectors and further tables. Every offset is hostile: it is
//! followed only inside the bytes. Strings are bytes here, as names of files need not be UTF-8.
//! Spec: FlatBuffers *Internals*; its numbers are little-endian.

use std::ops::Range;

/// Bytes that are not laid out as FlatBuffers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// A table, whose fields are told apart by their numbers, from 0 on. One that is not there has its default: 0, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    /// Where it begins.
    at: usize,
    /// Where its fields are: two bytes for each, counted from `at`.
    places: &'a [u8],
}

/// A vector of what lies elsewhere: strings or tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    /// Where its first element's offset is.
    at: usize,
    count: usize,
}

impl<'a> Fields<'a> {
    /// The root table of `bytes`.
    pub(super) fn root(bytes: &'a [u8]) -> Result<Self, Damaged> {
        Self::at(bytes, follow(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Result<Self, Damaged> {
        let to_places = i64::from(i32::from_le_bytes(number(bytes, at)?));
        let places = i64::try_from(at).ok().and_then(|at| at.checked_sub(to_places));
        let places = places.and_then(|places| usize::try_from(places).ok()).ok_or(Damaged)?;
        let length = usize::from(u16::from_le_bytes(number(bytes, places)?));
        let places = places.checked_add(length).and_then(|end| bytes.get(places..end));
        // It begins with its own length and the table's.
        Ok(Fields { bytes, at, places: places.and_then(|places| places.get(4..)).ok_or(Damaged)? })
    }

    /// Where this field is.
    fn place(&self, field: usize) -> Option<usize> {
        let place = number(self.places, field * 2).map(u16::from_le_bytes).ok().filter(|place| *place > 0)?;
        Some(self.at + usize::from(place))
    }

    fn number<const N: usize>(&self, field: usize) -> Result<Option<[u8; N]>, Damaged> {
        self.place(field).map(|place| number(self.bytes, place)).transpose()
    }

    /// A field of one byte, where it is there.
    pub(super) fn byte(&self, field: usize) -> Result<Option<u8>, Damaged> {
        Ok(self.number(field)?.map(u8::from_le_bytes))
    }

    /// A field of four bytes.
    pub(super) fn unsigned(&self, field: usize) -> Result<u32, Damaged> {
        Ok(self.number(field)?.map(u32::from_le_bytes).unwrap_or_default())
    }

    /// A field of eight bytes.
    pub(super) fn long(&self, field: usize) -> Result<i64, Damaged> {
        Ok(self.number(field)?.map(i64::from_le_bytes).unwrap_or_default())
    }

    /// A string, or a vector of bytes.
    pub(super) fn bytes(&self, field: usize) -> Result<&'a [u8], Damaged> {
        self.range(field)?.map_or(Ok(&[]), |range| self.bytes.get(range).ok_or(Damaged))
    }

    /// Which of all the bytes a string or a vector of bytes is.
    pub(super) fn range(&self, field: usize) -> Result<Option<Range<usize>>, Damaged> {
        self.place(field).map(|place| vector(self.bytes, follow(self.bytes, place)?, 1)).transpose()
    }

    /// A further table.
    pub(super) fn fields(&self, field: usize) -> Result<Option<Self>, Damaged> {
        let fields = self.place(field).map(|place| Self::at(self.bytes, follow(self.bytes, place)?));
        fields.transpose()
    }

    /// A vector of strings or tables.
    pub(super) fn elements(&self, field: usize) -> Result<Elements<'a>, Damaged> {
        let Some(place) = self.place(field) else { return Ok(Elements { bytes: self.bytes, at: 0, count: 0 }) };
        let range = vector(self.bytes, follow(self.bytes, place)?, 4)?;
        Ok(Elements { bytes: self.bytes, at: range.start, count: range.len() / 4 })
    }
}

impl<'a> Elements<'a> {
    /// How many there are: no more than a quarter of the bytes.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn place(&self, index: usize) -> Result<usize, Damaged> {
        if index >= self.count {
            return Err(Damaged);
        }
        follow(self.bytes, self.at + index * 4)
    }

    /// The string at this position, from 0 on.
    pub(super) fn bytes(&self, index: usize) -> Result<&'a [u8], Damaged> {
        self.bytes.get(vector(self.bytes, self.place(index)?, 1)?).ok_or(Damaged)
    }

    /// The table at this position, from 0 on.
    pub(super) fn fields(&self, index: usize) -> Result<Fields<'a>, Damaged> {
        Fields::at(self.bytes, self.place(index)?)
    }
}

/// The bytes of a number.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Damaged> {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().ok_or(Damaged)
}

/// What the offset at this place, which counts from there, leads to.
fn follow(bytes: &[u8], at: usize) -> Result<usize, Damaged> {
    let offset = usize::try_from(u32::from_le_bytes(number(bytes, at)?)).map_err(|_| Damaged)?;
    at.checked_add(offset).filter(|at| *at < bytes.len()).ok_or(Damaged)
}

/// Where the elements of a vector are, each of which has `width` bytes. They are inside the bytes.
fn vector(bytes: &[u8], at: usize, width: usize) -> Result<Range<usize>, Damaged> {
    let count = usize::try_from(u32::from_le_bytes(number(bytes, at)?)).map_err(|_| Damaged)?;
    let (begin, length) = (at + 4, count.checked_mul(width).ok_or(Damaged)?);
    begin.checked_add(length).filter(|end| *end <= bytes.len()).map(|end| begin..end).ok_or(Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with a byte, a string, a vector of two strings and a table of its own, laid out by hand.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![16, 0, 0, 0];
        // Lengths, then where the fields are; the third one is not there.
        bytes.extend([12, 0, 24, 0, 4, 0, 8, 0, 0, 0, 12, 0]);
        // The table: back to its places; 7; to a string; to a vector.
        bytes.extend([12, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 12, 0, 0, 0]);
        bytes.extend([3, 0, 0, 0, b'a', 0xff, b'c', 0]);
        bytes.extend([2, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0]);
        bytes.extend([1, 0, 0, 0, b'x', 0, 0, 0]);
        bytes
    }

    #[test]
    fn fields_are_found_by_their_numbers() {
        let bytes = sample();
        let root = Fields::root(&bytes).unwrap();
        assert_eq!((root.byte(0), root.unsigned(0), root.byte(2), root.long(9)), (Ok(Some(7)), Ok(7), Ok(None), Ok(0)));
        assert_eq!((root.bytes(1), root.bytes(2)), (Ok(&b"a\xffc"[..]), Ok(&[][..])));
        let strings = root.elements(3).unwrap();
        assert_eq!((strings.count(), strings.bytes(0), strings.bytes(1)), (2, Ok(&b"x"[..]), Ok(&b"x"[..])));
        assert_eq!(strings.bytes(2), Err(Damaged));
        assert!(root.fields(2).unwrap().is_none() && root.elements(7).unwrap().count() == 0);
    }

    #[test]
    fn no_byte_leads_outside() {
        let read = |bytes: &[u8]| -> Result<(), Damaged> {
            let root = Fields::root(bytes)?;
            for field in 0..5 {
                let _ = (root.byte(field), root.unsigned(field), root.long(field), root.bytes(field));
                let _ = root.fields(field).map(|fields| fields.map(|fields| fields.bytes(0)));
                if let Ok(elements) = root.elements(field) {
                    for index in 0..elements.count().min(100) {
                        let _ = (elements.bytes(index), elements.fields(index).map(|fields| fields.bytes(0)));
                    }
                }
            }
            Ok(())
        };
        let good = sample();
        for end in 0..good.len() {
            let _ = read(&good[..end]);
        }
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = read(&bytes);
                bytes[at..].iter_mut().take(4).for_each(|byte| *byte = value);
                let _ = read(&bytes);
            }
        }
        assert_eq!(read(&[]), Err(Damaged));
    }
}
