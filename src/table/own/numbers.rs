//! Numbers and strings of bytes as tables have them: seven bits to a byte, the lowest first, each byte but the last with its highest bit
//! set (LEB128). A signed number has its sign in the lowest bit. A string has its length in front.

use crate::table::Unusable;

/// Appends a number.
pub(super) fn put(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a signed number.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, (number << 1 ^ number >> 63).cast_unsigned());
}

/// Appends a string.
pub(super) fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    put(out, string.len() as u64);
    out.extend_from_slice(string);
}

/// How many bytes two strings have in common at their start.
pub(super) fn shared(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Bytes that are taken from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Unusable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unusable> {
        let (byte, rest) = self.0.split_first().ok_or_else(cut)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(super) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Unusable> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(cut)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, Unusable> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Unusable::new("a number in the table has more than 64 bits"))
    }

    pub(super) fn number32(&mut self) -> Result<u32, Unusable> {
        u32::try_from(self.number()?).map_err(|_| Unusable::new("a number in the table has more than 32 bits"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, Unusable> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A string of `most` bytes at most.
    pub(super) fn string(&mut self, most: usize) -> Result<&'a [u8], Unusable> {
        let length = usize::try_from(self.number()?).ok().filter(|length| *length <= most);
        self.take(length.ok_or_else(|| Unusable::new("a string in the table is too long"))?)
    }
}

fn cut() -> Unusable {
    Unusable::new("the table ends in the middle of something")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), 1 << 62, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            put_signed(&mut bytes, number.cast_signed());
            put_signed(&mut bytes, number.cast_signed().wrapping_neg());
            let mut read = Bytes(&bytes);
            assert_eq!(read.number().unwrap(), number);
            assert_eq!(read.signed().unwrap(), number.cast_signed());
            assert_eq!(read.signed().unwrap(), number.cast_signed().wrapping_neg());
            assert!(read.is_empty() && read.byte().is_err());
        }
        assert!(Bytes(&[0xff; 9]).number().is_err());
        assert!(Bytes(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number().is_err());
    }
}
