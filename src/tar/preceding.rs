//! The headers in front of a member's own: PAX headers and GNU's long names. Where dialects leave room, they count as for Go's
//! `archive/tar`, by which every container engine reads.

use std::borrow::Cow;

use super::header::{Header, text};
use super::pax::Overrides;

/// The most that a PAX header or a GNU long name may hold, as in Go.
const MAX_BODY: u64 = 1 << 20;

/// Far above what can exist, and far enough below 2^64 that no offset overflows.
const MAX_SIZE: u64 = 1 << 62;

/// What a header is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What follows it says something about the next member, and is for [`Preceding::take`].
    Preceding,
    /// What follows it says nothing.
    Skipped,
    /// It is a member's own.
    Member,
}

impl Role {
    /// The role of a header of this kind.
    pub(crate) fn of(kind: u8) -> Self {
        match kind {
            // 'X' is what Solaris called it before POSIX did.
            b'x' | b'X' | b'L' | b'K' => Role::Preceding,
            // Go leaves global PAX headers to its caller, and no container engine honours them. Neither has a volume's label any
            // content.
            b'g' | b'V' => Role::Skipped,
            _ => Role::Member,
        }
    }
}

/// What the headers in front of a member say about it.
#[derive(Default)]
pub(crate) struct Preceding {
    pub(crate) pax: Overrides,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Preceding {
    /// How long what follows a header with [`Role::Preceding`] is, in bytes.
    pub(crate) fn body_size(header: &Header<'_>) -> Result<u64, String> {
        match Preceding::default().size(header)? {
            size if size <= MAX_BODY => Ok(size),
            size => Err(format!("a header of {size} bytes is larger than any name or list of records")),
        }
    }

    /// Takes in what follows a header of this kind.
    pub(crate) fn take(&mut self, kind: u8, body: &[u8]) -> Result<(), String> {
        match kind {
            b'L' => self.long_name = Some(text(body).to_vec()),
            b'K' => self.long_link = Some(text(body).to_vec()),
            _ => self.pax = Overrides::parse(body)?,
        }
        Ok(())
    }

    /// The name of the member with this header, as it is written.
    pub(crate) fn name<'h>(&mut self, header: &'h Header<'_>) -> Cow<'h, [u8]> {
        let sparse_name = self.pax.sparse.name.take().filter(|_| self.pax.sparse.is_known() && header.kind() != b'S');
        let name = sparse_name.or(self.long_name.take()).or(self.pax.path.take());
        name.map_or_else(|| header.name(), Cow::Owned)
    }

    /// What the member with this header, a link, leads to, as it is written.
    pub(crate) fn link(&mut self, header: &Header<'_>) -> Vec<u8> {
        self.long_link.take().or(self.pax.link.take()).unwrap_or_else(|| header.link().to_vec())
    }

    /// How many bytes follow the member's header.
    pub(crate) fn size(&self, header: &Header<'_>) -> Result<u64, String> {
        let in_header = || header.size().and_then(|size| u64::try_from(size).ok());
        match self.pax.size.or_else(in_header) {
            Some(size) if size < MAX_SIZE => Ok(size),
            _ => Err("its size cannot be one".to_owned()),
        }
    }
}
