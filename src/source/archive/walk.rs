//! From header to header through an archive: one read for each, what the members hold is stepped over.
//!
//! An archive that is cut short is refused, wherever the cut is: a tar ends with a mark (POSIX `pax`, "ustar Interchange Format"), and
//! most of what is read here has no digest that would tell.

use super::super::SourceError;
use super::super::files::Stored;
use super::super::local::malformed;
use crate::tar::header::{BLOCK, Extension, Header};
use crate::tar::preceding::{Preceding, Role};

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

    /// Where the next member's headers begin, or the end mark, in bytes from the archive's start.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next member, or none at the archive's end mark. Fails where the archive ends in front of one.
    pub(super) fn next_member(&mut self) -> Result<Option<Found>, SourceError> {
        let mut preceding = Preceding::default();
        loop {
            let at = self.offset;
            let Some(block) = self.block()? else { return Err(self.truncated("it has no end mark")) };
            let header = Header(&block);
            if header.is_zero() {
                return self.end(at).map(|()| None);
            }
            header.check().map_err(|problem| self.malformed(at, problem))?;
            match Role::of(header.kind()) {
                Role::Preceding => {
                    let size = Preceding::body_size(&header).map_err(|problem| self.malformed(at, problem))?;
                    let body = self.body(size, at)?;
                    preceding.take(header.kind(), &body).map_err(|problem| self.malformed(at, problem))?;
                }
                Role::Skipped => {
                    let size = Preceding::default().size(&header).map_err(|problem| self.malformed(at, problem))?;
                    self.skip(size, at, b"a header")?;
                }
                Role::Member => return self.member(&header, preceding, at).map(Some),
            }
        }
    }

    fn member(&mut self, header: &Header<'_>, mut preceding: Preceding, at: u64) -> Result<Found, SourceError> {
        let name = preceding.name(header).into_owned();
        // A link, a folder or a device has no content, whatever its size says, as for Go.
        let what = match header.kind() {
            b'1' => What::HardLink(preceding.link(header)),
            b'2' => What::Symlink(preceding.link(header)),
            b'3'..=b'6' => What::Other,
            kind => {
                if kind == b'S' {
                    self.skip_sparse_maps(header, at)?;
                }
                let start = self.offset;
                let length = preceding.size(header).map_err(|problem| self.malformed(at, problem))?;
                self.skip(length, at, &name)?;
                match kind {
                    0 if name.ends_with(b"/") => What::Other,
                    b'S' => What::Sparse,
                    0 | b'0' | b'7' if preceding.pax.sparse.is_there() => What::Sparse,
                    0 | b'0' | b'7' => What::Data { start, length },
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
    fn skip_sparse_maps(&mut self, header: &Header<'_>, at: u64) -> Result<(), SourceError> {
        if !header.has_sparse_map() {
            return Err(self.malformed(at, "it is sparse as only GNU's headers can say"));
        }
        let mut is_extended = header.is_extended();
        while is_extended {
            let Some(block) = self.block()? else { return Err(self.truncated("it ends in a sparse map")) };
            is_extended = Extension(&block).is_extended();
        }
        Ok(())
    }

    /// The `size` bytes that follow a header which began at `at`, and not more of them than [`Preceding::body_size`] allows.
    fn body(&mut self, size: u64, at: u64) -> Result<Vec<u8>, SourceError> {
        let start = self.offset;
        self.skip(size, at, b"a header")?;
        // Within the archive.
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

/// What is wrong with an archive of so few bytes.
pub(super) fn short(length: usize) -> String {
    format!("it is not an archive, or a truncated one: it has only {length} bytes")
}
