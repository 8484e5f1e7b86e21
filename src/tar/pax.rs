//! PAX extended headers: the records that override a header's fields. POSIX `pax`, "pax Extended Header", and the sparse records
//! that GNU tar writes as `GNU.sparse.*`.

use std::collections::BTreeMap;

use super::decimal::decimal;
use super::shown::shown;
use super::sparse::{self, Segment};

/// What a PAX header says about the entry behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) sparse: Sparse,
}

/// The `GNU.sparse.*` records, of whichever version.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sparse {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    /// The file's length with its holes: `realsize` in version 1.0, `size` before.
    pub(crate) size: Option<u64>,
    /// The map, which version 1.0 has in the data instead.
    pub(crate) map: Option<Vec<Segment>>,
    /// An offset that waits for its length (version 0.0).
    offset: Option<u64>,
}

impl Sparse {
    /// Whether there are any, of whichever version, beside a name.
    pub(crate) fn is_there(&self) -> bool {
        self.major.is_some() || self.minor.is_some() || self.size.is_some() || self.map.is_some()
    }

    /// Whether they make a file sparse at all. Where not, none of them counts, as in Go.
    pub(crate) fn is_known(&self) -> bool {
        matches!(
            (self.major, self.minor, &self.map),
            (Some(0), Some(0 | 1), _) | (Some(1), Some(0), _) | (None, None, Some(_))
        )
    }
}

impl Overrides {
    /// Reads the body of a PAX header. Of two records with one key the last holds. Text is taken as raw bytes, so that
    /// `hdrcharset` changes nothing.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let mut overrides = Overrides::default();
        let mut rest = body;
        while !rest.is_empty() {
            let (key, value);
            (key, value, rest) = record(rest).ok_or("a PAX record is malformed")?;
            overrides.set(key, value).map_err(|problem| format!("the PAX record {} {problem}", shown(key)))?;
        }
        if overrides.sparse.offset.is_some() {
            return Err("its PAX sparse map has an offset without a length".to_owned());
        }
        Ok(overrides)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"path" => self.path = unless_empty(value, name)?,
            b"linkpath" => self.link = unless_empty(value, name)?,
            b"size" => self.size = unless_empty(value, decimal)?,
            b"uid" => self.uid = unless_empty(value, decimal)?,
            b"gid" => self.gid = unless_empty(value, decimal)?,
            b"mtime" => self.mtime = unless_empty(value, time)?,
            b"GNU.sparse.major" => self.sparse.major = unless_empty(value, decimal)?,
            b"GNU.sparse.minor" => self.sparse.minor = unless_empty(value, decimal)?,
            b"GNU.sparse.name" => self.sparse.name = unless_empty(value, name)?,
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.size = unless_empty(value, decimal)?,
            b"GNU.sparse.map" => self.sparse.map = Some(map(value)?),
            b"GNU.sparse.offset" => {
                if self.sparse.offset.replace(decimal(value)?).is_some() {
                    return Err("comes twice without a length");
                }
            }
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.offset.take().ok_or("comes without an offset")?;
                let map = self.sparse.map.get_or_insert_default();
                sparse::push(map, Segment { offset, length: decimal(value)? })?;
            }
            _ => {
                if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    // An attribute may well be there and empty.
                    self.xattrs.insert(attribute.to_vec(), value.to_vec());
                }
            }
        }
        Ok(())
    }
}

/// Splits `"LENGTH KEY=VALUE\n"`, whose length counts all of it, off the front.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space]).ok()?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (!key.is_empty() && !key.contains(&0)).then_some((key, value, rest))
}

/// A value that, where it is empty, leaves the header's own field as it is.
fn unless_empty<T>(
    value: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, &'static str>,
) -> Result<Option<T>, &'static str> {
    if value.is_empty() { Ok(None) } else { read(value).map(Some) }
}

fn name(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.contains(&0) { Err("has a NUL in a name") } else { Ok(value.to_vec()) }
}

/// Seconds since the epoch with an optional fraction. Digits beyond nanoseconds are cut off.
fn time(value: &[u8]) -> Result<(i64, u32), &'static str> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(value) => (true, value),
        None => (false, value),
    };
    let (seconds, fraction) = match value.iter().position(|&byte| byte == b'.') {
        Some(point) => (&value[..point], &value[point + 1..]),
        None => (value, &[][..]),
    };
    // No more than 63 bits, so that the sign always fits.
    let seconds = decimal(seconds)?.cast_signed();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err("is no number");
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    match (negative, nanoseconds) {
        (false, _) => Ok((seconds, nanoseconds)),
        (true, 0) => Ok((-seconds, 0)),
        // Nanoseconds count forwards from the second before.
        (true, _) => Ok((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}

/// The map of version 0.1: `OFFSET,LENGTH,OFFSET,LENGTH…`.
fn map(value: &[u8]) -> Result<Vec<Segment>, &'static str> {
    let mut map = Vec::new();
    let mut numbers = value.split(|&byte| byte == b',');
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or("has an offset without a length")?;
        sparse::push(&mut map, Segment { offset: decimal(offset)?, length: decimal(length)? })?;
    }
    Ok(map)
}
