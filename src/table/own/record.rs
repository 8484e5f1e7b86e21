//! An entry between the tar and its leaf: its key, and all else that its row is made of.

use super::block::DIGEST;
use super::numbers::{Bytes, put, put_signed, put_string};
use crate::image::digest::Digest;
use crate::layer::entry::{Entry, Kind, Special};
use crate::table::Unusable;

/// What a row is, as its lowest three bits say it.
pub(super) const FILE: u8 = 0;
pub(super) const DIRECTORY: u8 = 1;
pub(super) const SYMLINK: u8 = 2;
pub(super) const HARD_LINK: u8 = 3;
pub(super) const CHAR_DEVICE: u8 = 4;
pub(super) const BLOCK_DEVICE: u8 = 5;
pub(super) const FIFO: u8 = 6;
/// A regular file that is stored without its holes.
pub(super) const SPARSE: u8 = 7;
pub(super) const KIND: u8 = 7;

/// What a row stands for, as the next two bits say it.
pub(super) const MARK: u8 = 3 << 3;
/// A whiteout of its path.
pub(super) const WHITEOUT: u8 = 1 << 3;
/// The mark that its path is opaque.
pub(super) const OPAQUE: u8 = 2 << 3;
/// A directory that the tar only implies.
pub(super) const IMPLIED: u8 = 3 << 3;

/// A directory or a mark of which a later entry says the same.
pub(super) const SUPERSEDED: u8 = 1 << 5;

/// The base name of an opaque mark, and what the base name of a whiteout begins with.
pub(super) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
pub(super) const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// All of an entry but its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Kind and mark.
    pub(super) what: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
    pub(super) header_offset: u64,
    pub(super) data_offset: u64,
    /// A file's size; of a device its major number, and its minor number in the lower 32 bits.
    pub(super) size: u64,
    /// A link's target.
    pub(super) target: &'a [u8],
    /// Names and values by turns, each a string.
    pub(super) xattrs: &'a [u8],
    pub(super) digest: Option<[u8; DIGEST]>,
}

/// The kind of an entry and its number.
fn kind(kind: &Kind) -> (u8, u64, &[u8]) {
    let device = |major: u32, minor: u32| u64::from(major) << 32 | u64::from(minor);
    match kind {
        Kind::File { size, sparse: false } => (FILE, *size, b""),
        Kind::File { size, sparse: true } => (SPARSE, *size, b""),
        Kind::Directory => (DIRECTORY, 0, b""),
        Kind::Symlink(target) => (SYMLINK, 0, target),
        Kind::HardLink(target) => (HARD_LINK, 0, target),
        Kind::Special(Special::CharDevice(major, minor)) => (CHAR_DEVICE, device(*major, *minor), b""),
        Kind::Special(Special::BlockDevice(major, minor)) => (BLOCK_DEVICE, device(*major, *minor), b""),
        Kind::Special(Special::Fifo) => (FIFO, 0, b""),
    }
}

/// Splits a canonical path into that of which the entry speaks and what it says of it; `None` for the names of AUFS' own bookkeeping.
pub(super) fn meant(path: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (directory, base) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b""[..], path),
    };
    match base.strip_prefix(WHITEOUT_PREFIX) {
        None => Some((0, path, b"")),
        _ if base == OPAQUE_NAME => Some((OPAQUE, directory, b"")),
        Some(name) if name.is_empty() || name.starts_with(WHITEOUT_PREFIX) => None,
        Some(name) => Some((WHITEOUT, directory, name)),
    }
}

impl<'a> Record<'a> {
    /// What `entry` says; `xattrs` is where its extended attributes are put. `mark` is what it stands for.
    pub(super) fn of(entry: &'a Entry, mark: u8, xattrs: &'a mut Vec<u8>, digest: Option<&Digest>) -> Self {
        xattrs.clear();
        for (name, value) in &entry.xattrs {
            put_string(xattrs, name);
            put_string(xattrs, value);
        }
        let (kind, size, target) = kind(&entry.kind);
        Record {
            what: kind | mark,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            seconds: entry.mtime.0,
            nanoseconds: entry.mtime.1,
            header_offset: entry.header_offset,
            data_offset: entry.data_offset,
            size,
            target,
            xattrs,
            digest: digest.and_then(Digest::sha256),
        }
    }

    /// Whether it is a regular file with content that is one stretch of the tar.
    pub(super) fn has_content(&self) -> bool {
        self.what & (KIND | MARK) == FILE && self.size > 0
    }

    /// How many bytes it has of what is of no fixed length, with its `key`.
    pub(super) fn text(&self, key: &[u8]) -> u64 {
        (key.len() + self.target.len() + self.xattrs.len()) as u64
    }

    pub(super) fn kind(&self) -> u8 {
        self.what & KIND
    }

    pub(super) fn mark(&self) -> u8 {
        self.what & MARK
    }

    /// Appends it to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.what);
        out.push(u8::from(self.digest.is_some()));
        let headers = self.data_offset.wrapping_sub(self.header_offset);
        for number in [self.header_offset, headers, self.mode.into(), self.uid, self.gid, self.nanoseconds.into()] {
            put(out, number);
        }
        put_signed(out, self.seconds);
        put(out, self.size);
        put_string(out, self.target);
        put_string(out, self.xattrs);
        out.extend_from_slice(self.digest.as_ref().map_or(&[], |digest| digest));
    }

    /// What the record in `bytes` is, and where its header is.
    pub(super) fn peek(bytes: &[u8]) -> Result<(u8, u64), Unusable> {
        let mut bytes = Bytes(bytes);
        let (what, _) = (bytes.byte()?, bytes.byte()?);
        Ok((what, bytes.number()?))
    }

    /// The record in `bytes`, which [`Record::write`] wrote.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Unusable> {
        let mut bytes = Bytes(bytes);
        let (what, has_digest) = (bytes.byte()?, bytes.byte()? == 1);
        let header_offset = bytes.number()?;
        let data_offset = header_offset.wrapping_add(bytes.number()?);
        let (mode, uid, gid) = (bytes.number32()?, bytes.number()?, bytes.number()?);
        let (nanoseconds, seconds, size) = (bytes.number32()?, bytes.signed()?, bytes.number()?);
        let (target, xattrs) = (bytes.string(usize::MAX)?, bytes.string(usize::MAX)?);
        let digest = if has_digest { Some(bytes.array()?) } else { None };
        Ok(Record {
            what,
            mode,
            uid,
            gid,
            seconds,
            nanoseconds,
            header_offset,
            data_offset,
            size,
            target,
            xattrs,
            digest,
        })
    }
}
