//! One 512-byte tar header block: which dialect it is in, and its fields. POSIX `pax`, "ustar Interchange Format", and GNU tar's
//! "Basic Tar Format".

use std::borrow::Cow;

/// The size of a tar's blocks.
pub(crate) const BLOCK: usize = 512;

/// What the header's magic says about the fields behind the classic ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// No magic: nothing is there.
    V7,
    /// A prefix of the name.
    Ustar,
    /// A shorter prefix, then times.
    Star,
    /// Times and a sparse map.
    Gnu,
}

/// A header block.
pub(crate) struct Header<'a>(pub(crate) &'a [u8; BLOCK]);

impl Header<'_> {
    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }

    /// Compares the checksum. Some old writers summed signed bytes.
    pub(crate) fn check(&self) -> Result<(), String> {
        // Blanks stand for the checksum's own field.
        let blanks = 8 * i64::from(b' ');
        let (before, after) = (&self.0[..148], &self.0[156..]);
        // In 32 bits, which 512 bytes do not exceed, so that several are added at once.
        let sum = |bytes: &[u8]| i64::from(bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>());
        let unsigned = sum(before) + blanks + sum(after);
        let written = number(&self.0[148..156]).ok_or("no tar header (its checksum is no number)")?;
        if written == unsigned {
            return Ok(());
        }
        // A byte with its first bit set counts 256 less.
        let negative = before.iter().chain(after).filter(|byte| **byte >= 0x80).count() as i64;
        match written == unsigned - 256 * negative {
            true => Ok(()),
            false => Err(format!("no tar header (its checksum is {written} and should be {unsigned})")),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match (&self.0[257..265], &self.0[508..512]) {
            (b"ustar  \0", _) => Dialect::Gnu,
            // Some writers leave the version out or write it in their own way.
            ([b'u', b's', b't', b'a', b'r', 0, ..], b"tar\0") => Dialect::Star,
            ([b'u', b's', b't', b'a', b'r', 0, ..], _) => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    pub(crate) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// The name, with its prefix.
    pub(crate) fn name(&self) -> Cow<'_, [u8]> {
        let name = text(&self.0[0..100]);
        let prefix = match self.dialect() {
            Dialect::V7 => &[],
            Dialect::Ustar => text(&self.0[345..500]),
            Dialect::Star => text(&self.0[345..476]),
            // Go before 1.8, and so Docker in its first years, wrote ustar's prefix under GNU's magic. Where the times that
            // GNU has there are no numbers, but text, it is such a prefix.
            Dialect::Gnu => {
                let prefix = text(&self.0[345..500]);
                let times = [&self.0[345..357], &self.0[357..369]];
                let is_prefix = times.into_iter().any(|time| number(time).is_none()) && prefix.is_ascii();
                if is_prefix { prefix } else { &[] }
            }
        };
        if prefix.is_empty() { Cow::Borrowed(name) } else { Cow::Owned([prefix, b"/", name].concat()) }
    }

    pub(crate) fn link(&self) -> &[u8] {
        text(&self.0[157..257])
    }

    pub(crate) fn mode(&self) -> Option<i64> {
        number(&self.0[100..108])
    }

    pub(crate) fn uid(&self) -> Option<i64> {
        number(&self.0[108..116])
    }

    pub(crate) fn gid(&self) -> Option<i64> {
        number(&self.0[116..124])
    }

    pub(crate) fn size(&self) -> Option<i64> {
        number(&self.0[124..136])
    }

    pub(crate) fn mtime(&self) -> Option<i64> {
        number(&self.0[136..148])
    }

    /// Whether it is in the one dialect that has a sparse map in headers.
    pub(crate) fn has_sparse_map(&self) -> bool {
        self.dialect() == Dialect::Gnu
    }

    /// The sparse map's first four entries.
    pub(crate) fn sparse_entries(&self) -> &[u8] {
        &self.0[386..482]
    }

    /// Whether a block with more of the sparse map follows.
    pub(crate) fn is_extended(&self) -> bool {
        self.0[482] != 0
    }

    /// A sparse file's length, with its holes.
    pub(crate) fn real_size(&self) -> Option<i64> {
        number(&self.0[483..495])
    }

    /// A device's major and minor numbers, which a V7 header does not have.
    pub(crate) fn device(&self) -> Option<(u32, u32)> {
        if self.dialect() == Dialect::V7 {
            return Some((0, 0));
        }
        let part = |field| number(field).and_then(|number| u32::try_from(number).ok());
        Some((part(&self.0[329..337])?, part(&self.0[337..345])?))
    }
}

/// A block that goes on with the sparse map of a [`Header`].
pub(crate) struct Extension<'a>(pub(crate) &'a [u8; BLOCK]);

impl Extension<'_> {
    /// Twenty-one more entries.
    pub(crate) fn sparse_entries(&self) -> &[u8] {
        &self.0[..504]
    }

    /// Whether another such block follows.
    pub(crate) fn is_extended(&self) -> bool {
        self.0[504] != 0
    }
}

/// A text field: everything before the first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A numeric field: octal digits between spaces and NULs, or, where the first bit is set, a big-endian number in two's
/// complement (GNU's base-256, also star's). An empty field is zero.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The first byte without its mark, its sign extended. No field is longer than 12 bytes.
        let first = i128::from(((first << 1) as i8) >> 1);
        let fold = |value: i128, &byte: &u8| value.checked_mul(256)?.checked_add(byte.into());
        return rest.iter().try_fold(first, fold).and_then(|value| i64::try_from(value).ok());
    }
    let start = field.iter().position(|&byte| byte != b' ' && byte != 0).unwrap_or(field.len());
    let digits = text(&field[start..]).trim_ascii_end();
    digits.iter().try_fold(0_i64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add((digit - b'0').into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_however_they_are_padded() {
        for field in [&b"0000644\0"[..], b" 644 \0  ", b"644     ", b"\0\x00644\0\0", b"00000000644 "] {
            assert_eq!(number(field), Some(0o644), "{}", field.escape_ascii());
        }
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"        "), Some(0));
        assert_eq!(number(b"77777777777\0"), Some(0o77_777_777_777));
    }

    #[test]
    fn numbers_may_be_binary_and_negative() {
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(2 << 32));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), Some(i64::MAX));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for field in [&b"0000648\0"[..], b"-1\0\0\0\0\0\0", b"6 4\0\0\0\0\0", b"0x1f\0\0\0\0"] {
            assert_eq!(number(field), None, "{}", field.escape_ascii());
        }
        assert_eq!(number(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), None, "more than 63 bits");
    }
}
