//! From header to header through an archive: one read for each, what the members hold is stepped over.
//!
//! An archive that is cut short is refused, wherever the cut is: a tar ends with a mark (POSIX `pax`, "ustar Interchange Format"), and
//! most of what is read here has no digest that would tell.

use tar::Header;

use super::super::SourceError;
use super::super::files::Stored;
use super::super::local::malformed;

/// The size of a tar's blocks.
pub(super) const BLOCK: usize = 512;

/// Where a header says what kind of member it is. (The crate takes V7's 0 for POSIX's '0', and so a V7 folder for a file.)
const KIND: usize = 156;

/// The most that a PAX header or a GNU long name may hold, as in Go.
const MAX_SPECIAL: u64 = 1 << 20;

/// A member, as its headers describe it.
pub(super) struct Found {
    /// As it is written.
    pub(super) name: Vec<u8>,
    pub(super) what: What,
}

/// What a member is.
pub(super) enum What {
    /// A file of so many bytes from an offset on, in bytes from the archive's start.
    Data { start: u64, length: u64 },
    /// A file with holes, whose bytes are not in one piece.
    Sparse,
    /// A symbolic link to this name.
    Symlink(Vec<u8>),
    /// A hard link to this name.
    HardLink(Vec<u8>),
    /// A folder, a device, or something else without content.
    Other,
}

/// What the headers in front of a member say about it.
#[derive(Default)]
struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Pax,
}

/// The records of a PAX header that matter here.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    sparse_name: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

/// Goes from header to header.
pub(super) struct Walk<'a> {
    archive: &'a Stored,
    /// The archive, as messages name it.
    place: &'a str,
    /// Where the next header begins, in bytes from the archive's start.
    offset: u64,
}

impl<'a> Walk<'a> {
    /// Starts at the front of an archive.
    pub(super) fn new(archive: &'a Stored, place: &'a str) -> Self {
        Walk { archive, place, offset: 0 }
    }

    /// The next member, or none at the archive's end mark. Fails where the archive ends in front of one.
    pub(super) fn next_member(&mut self) -> Result<Option<Found>, SourceError> {
        let mut pending = Pending::default();
        loop {
            let at = self.offset;
            let Some(block) = self.block()? else { return Err(self.truncated("it has no end mark")) };
            if block == [0; BLOCK] {
                return self.end(at).map(|()| None);
            }
            if !is_header(&block) {
                return Err(self.malformed(at, "there is no tar header"));
            }
            let header = Header::from_byte_slice(&block);
            let size = header.entry_size().map_err(|_| self.malformed(at, "its header has no size"))?;
            match block[KIND] {
                // 'X' is what Solaris called it before POSIX did.
                b'x' | b'X' => pending.pax = self.pax(size, at)?,
                b'L' => pending.long_name = Some(until_nul(self.special(size, at)?)),
                b'K' => pending.long_link = Some(until_nul(self.special(size, at)?)),
                // Global PAX headers, which no container engine honours, and volume labels.
                b'g' | b'V' => self.skip(size, at, b"a header")?,
                kind => return self.member(header, kind, size, at, pending).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        header: &Header,
        kind: u8,
        size: u64,
        at: u64,
        pending: Pending,
    ) -> Result<Found, SourceError> {
        let Pending { long_name, long_link, pax } = pending;
        let size = pax.size.unwrap_or(size);
        let name = long_name.or(pax.sparse_name).or(pax.path);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = long_link.or(pax.link);
        let link = || link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        // A link, a folder or a device has no content, whatever its size says, as for Go.
        let what = match kind {
            b'1' => What::HardLink(link()),
            b'2' => What::Symlink(link()),
            b'3'..=b'6' => What::Other,
            b'S' => {
                self.skip_sparse_maps(header, at)?;
                self.skip(size, at, &name)?;
                What::Sparse
            }
            kind => {
                let start = self.offset;
                self.skip(size, at, &name)?;
                match kind {
                    0 if name.ends_with(b"/") => What::Other,
                    0 | b'0' | b'7' if pax.is_sparse => What::Sparse,
                    0 | b'0' | b'7' => What::Data { start, length: size },
                    _ => What::Other,
                }
            }
        };
        Ok(Found { name, what })
    }

    /// Checks that the block of zeros at `at` is followed by another one, or by nothing.
    fn end(&mut self, at: u64) -> Result<(), SourceError> {
        match self.block()? {
            Some(block) if block != [0; BLOCK] => {
                Err(self.malformed(at, "a block of zeros is followed by something else"))
            }
            _ => Ok(()),
        }
    }

    /// Steps over the extensions of an old GNU sparse header.
    fn skip_sparse_maps(&mut self, header: &Header, at: u64) -> Result<(), SourceError> {
        let gnu = header.as_gnu().ok_or_else(|| self.malformed(at, "it is sparse as only GNU's headers can say"))?;
        let mut is_extended = gnu.is_extended();
        while is_extended {
            let Some(block) = self.block()? else { return Err(self.truncated("it ends in a sparse map")) };
            is_extended = block[504] != 0;
        }
        Ok(())
    }

    /// Reads the PAX header of `size` bytes whose own header began at `at`.
    fn pax(&mut self, size: u64, at: u64) -> Result<Pax, SourceError> {
        let mut pax = Pax::default();
        let body = self.special(size, at)?;
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            let (key, value);
            (key, value, rest) = record(rest).ok_or_else(|| self.malformed(at, "a PAX record is malformed"))?;
            match key {
                b"path" if !value.is_empty() => pax.path = Some(value.to_vec()),
                b"linkpath" if !value.is_empty() => pax.link = Some(value.to_vec()),
                b"GNU.sparse.name" if !value.is_empty() => pax.sparse_name = Some(value.to_vec()),
                b"size" if !value.is_empty() => {
                    let size = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok());
                    pax.size = Some(size.ok_or_else(|| self.malformed(at, "a PAX size is no number"))?);
                }
                key => pax.is_sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(pax)
    }

    /// The body of a header that says something about the next one.
    fn special(&mut self, size: u64, at: u64) -> Result<Vec<u8>, SourceError> {
        if size > MAX_SPECIAL {
            let problem = format!("a header of {size} bytes is larger than any name or list of records");
            return Err(self.malformed(at, problem));
        }
        let start = self.offset;
        self.skip(size, at, b"a header")?;
        // At most MAX_SPECIAL, and within the archive.
        let mut body = vec![0; size as usize];
        self.archive.read_at(&mut body, start).map_err(|error| self.failed(error))?;
        Ok(body)
    }

    /// Steps over the `size` bytes of `name`, whose header began at `at`, and its padding.
    fn skip(&mut self, size: u64, at: u64, name: &[u8]) -> Result<(), SourceError> {
        let end = self.offset.checked_add(size).ok_or_else(|| self.malformed(at, "its size cannot be one"))?;
        if end > self.archive.length() {
            let shown = &name[..name.len().min(100)];
            return Err(self.truncated(&format!("it ends in {}", shown.escape_ascii())));
        }
        self.offset = end.checked_next_multiple_of(BLOCK as u64).unwrap_or(end);
        Ok(())
    }

    /// The next block, or `None` where the archive ends in front of it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, SourceError> {
        let mut block = [0; BLOCK];
        match self.archive.read_at(&mut block, self.offset).map_err(|error| self.failed(error))? {
            BLOCK => {
                self.offset += BLOCK as u64;
                Ok(Some(block))
            }
            0 => Ok(None),
            length if self.offset == 0 => Err(malformed(self.place, short(length))),
            _ => Err(self.truncated("it ends in the middle of a header")),
        }
    }

    fn failed(&self, error: std::io::Error) -> SourceError {
        SourceError::Io { what: format!("reading {}", self.place), error }
    }

    fn truncated(&self, how: &str) -> SourceError {
        let length = self.archive.length();
        malformed(self.place, format!("the archive is truncated: {how}, after {length} bytes; save or copy it again"))
    }

    fn malformed(&self, at: u64, problem: impl std::fmt::Display) -> SourceError {
        match at {
            0 => malformed(self.place, "it is not an archive: it does not begin with a tar header"),
            at => malformed(self.place, format!("the archive is damaged at byte {at}: {problem}")),
        }
    }
}

/// Whether a block is a header: whether its checksum is right. Some old writers summed signed bytes.
pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
    let sums = block.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { b' ' } else { byte });
    let (unsigned, signed) = sums.fold((0_i64, 0_i64), |(unsigned, signed), byte| {
        (unsigned + i64::from(byte), signed + i64::from(byte.cast_signed()))
    });
    Header::from_byte_slice(block).cksum().is_ok_and(|sum| [unsigned, signed].contains(&i64::from(sum)))
}

/// What is wrong with an archive of so few bytes.
pub(super) fn short(length: usize) -> String {
    format!("it is not an archive, or a truncated one: it has only {length} bytes")
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    text.truncate(text.iter().position(|&byte| byte == 0).unwrap_or(text.len()));
    text
}

/// Splits `"LENGTH KEY=VALUE\n"`, whose length counts all of it, off the front. (The crate's own iterator splits at line breaks, which
/// values may hold.)
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}
