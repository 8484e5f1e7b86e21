//! How each leaf and each node is packed: what compresses as one zstd frame, and behind it digests, which do not.
//!
//! Four bytes, little-endian, say how long the frame is. The frame says how much it decodes to.

use std::io;

use sha2::{Digest as _, Sha256};
use zstd::zstd_safe::get_frame_content_size;

use super::row::Part;
use crate::table::Unusable;

/// The length of a SHA-256 in bytes.
pub(super) const DIGEST: usize = 32;

/// Blocks are small, and so is what a higher level would save.
const LEVEL: i32 = 3;

/// Packs blocks.
pub(super) struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.include_contentsize(true)?;
        Ok(Packer(compressor))
    }

    /// A frame of `content`.
    pub(super) fn frame(&mut self, content: &[u8]) -> io::Result<Vec<u8>> {
        self.0.compress(content)
    }

    /// A block of `content` and `digests`.
    pub(super) fn pack(&mut self, content: &[u8], digests: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = vec![0; 4 + zstd::zstd_safe::compress_bound(content.len())];
        let length = self.0.compress_to_buffer(content, &mut packed[4..])?;
        packed[..4].copy_from_slice(&(length as u32).to_le_bytes());
        packed.truncate(4 + length);
        packed.extend_from_slice(digests);
        Ok(packed)
    }
}

/// What is in a frame, which decodes to `most` bytes at most.
pub(super) fn decode(frame: &[u8], most: usize) -> Result<Vec<u8>, Unusable> {
    let length = get_frame_content_size(frame).ok().flatten().and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|length| *length <= most);
    let length =
        length.ok_or_else(|| Unusable::new("a part of the table does not say how long it is, or is too long"))?;
    let decoded = zstd::bulk::decompress(frame, length).ok().filter(|decoded| decoded.len() == length);
    decoded.ok_or_else(|| Unusable::new("a part of the table cannot be decompressed"))
}

/// What is in a block: its content, of `most` bytes at most, and its digests.
pub(super) fn unpack(block: &[u8], most: usize) -> Result<(Vec<u8>, Digests<'_>), Unusable> {
    let short = || Unusable::new("a part of the table is too short");
    let (length, rest) = block.split_first_chunk().ok_or_else(short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short())?;
    let (frame, digests) = rest.split_at_checked(length).ok_or_else(short)?;
    Ok((decode(frame, most)?, Digests(digests)))
}

/// The digests of a block, taken one by one.
#[derive(Debug)]
pub(super) struct Digests<'a>(&'a [u8]);

impl<'a> Digests<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Digests(bytes)
    }

    /// Those that have not been taken.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn next(&mut self) -> Result<[u8; DIGEST], Unusable> {
        let (digest, rest) =
            self.0.split_first_chunk().ok_or_else(|| Unusable::new("a digest in the table is missing"))?;
        self.0 = rest;
        Ok(*digest)
    }

    /// That there are no more.
    pub(super) fn end(&self) -> Result<(), Unusable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unusable::new("a part of the table has more digests than rows")) }
    }
}

impl Part {
    /// What `bytes`, which begin at `start` in the table, are.
    pub(super) fn new(start: u64, bytes: &[u8]) -> Self {
        Part { range: (start, start + bytes.len() as u64), digest: Sha256::digest(bytes).into() }
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.range.1.saturating_sub(self.range.0)
    }

    /// That `bytes` are those that are meant.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Unusable> {
        let digest: [u8; DIGEST] = Sha256::digest(bytes).into();
        if self.length() == bytes.len() as u64 && self.digest == digest {
            return Ok(());
        }
        Err(Unusable::new(format!(
            "bytes {} to {} of the table are not the ones that it names",
            self.range.0, self.range.1
        )))
    }
}
