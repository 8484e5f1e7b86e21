//! Tars written byte by byte, for the tests of this folder: what no writer makes, or no longer makes.

use std::io::{self, Read, Seek, SeekFrom};

use super::Stream;
use super::checkpoint::Extent;
use super::entry::Entry;
use super::error::LayerError;
use super::tar::TarReader;
use crate::tar::header::BLOCK;

/// An uncompressed tar in memory.
impl Stream for &[u8] {
    fn begin_entry(&mut self, _: u64, _: u64) {}

    fn extent(&self, _: u64) -> Option<Extent> {
        None
    }

    fn finish(&mut self) -> Result<(), LayerError> {
        Ok(())
    }

    fn is_damaged(&self) -> bool {
        false
    }

    fn drain_blob(&mut self) -> Result<(), LayerError> {
        Ok(())
    }
}

/// Counts the bytes that are read.
pub(super) struct Counted<R> {
    inner: R,
    pub(super) bytes: u64,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R) -> Self {
        Counted { inner, bytes: 0 }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// A whole tar of files with these names and contents.
pub(super) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar: Vec<u8> = files.iter().flat_map(|(name, data)| file(name, data)).collect();
    tar.extend(END);
    tar
}

/// A header block in the making.
#[derive(Clone)]
pub(super) struct Block([u8; BLOCK]);

impl Block {
    /// A ustar header.
    pub(super) fn new(name: impl AsRef<[u8]>, kind: u8, size: u64) -> Self {
        Block([0; BLOCK])
            .set(0, name)
            .set(100, "0000644\0")
            .set(108, "0001750\0")
            .set(116, "0001751\0")
            .set(124, format!("{size:011o}\0"))
            .set(136, "00000000007\0")
            .set(156, [kind])
            .set(257, "ustar\x0000")
    }

    /// The same with GNU's magic.
    pub(super) fn gnu(self) -> Self {
        self.set(257, "ustar  \0")
    }

    /// The same with no magic.
    pub(super) fn v7(self) -> Self {
        self.set(257, [0; 8])
    }

    pub(super) fn link(self, target: impl AsRef<[u8]>) -> Self {
        self.set(157, target)
    }

    pub(super) fn set(mut self, at: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.0[at..at + bytes.as_ref().len()].copy_from_slice(bytes.as_ref());
        self
    }

    /// The block with its checksum, and `data` padded behind it.
    pub(super) fn with(self, data: impl AsRef<[u8]>) -> Vec<u8> {
        let block = self.set(148, "        ");
        let sum: u32 = block.0.iter().map(|&byte| u32::from(byte)).sum();
        let mut member = block.set(148, format!("{sum:06o}\0 ")).0.to_vec();
        member.extend_from_slice(data.as_ref());
        member.resize(member.len().next_multiple_of(BLOCK), 0);
        member
    }
}

/// A regular file.
pub(super) fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Vec<u8> {
    Block::new(name, b'0', data.as_ref().len() as u64).with(data)
}

/// A PAX header with these records.
pub(super) fn pax<V: AsRef<[u8]>>(records: &[(&str, V)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let length = key.len() + value.as_ref().len() + 3;
        let digits = (1..).find(|digits| (length + digits).to_string().len() == *digits).unwrap();
        body.extend_from_slice(format!("{} {key}=", length + digits).as_bytes());
        body.extend_from_slice(value.as_ref());
        body.push(b'\n');
    }
    Block::new("PaxHeaders/x", b'x', body.len() as u64).with(body)
}

/// The two blocks of zeros behind the last member.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// How much of one entry's content [`read_all`] reads, as a hostile one may claim exabytes.
const MOST: u64 = 1 << 20;

/// All entries of a tar with their content.
pub(super) fn read_all(tar: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, LayerError> {
    let mut tar = TarReader::new(tar);
    let mut entries = Vec::new();
    while let Some(entry) = tar.next()? {
        let mut content = Vec::new();
        tar.data().take(MOST).read_to_end(&mut content)?;
        entries.push((entry, content));
    }
    Ok(entries)
}

/// The only entry of a tar.
pub(super) fn read_one(tar: &[u8]) -> (Entry, Vec<u8>) {
    let mut entries = read_all(tar).unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0)
}

/// What is wrong with a tar.
pub(super) fn problem(tar: &[u8]) -> LayerError {
    match read_all(tar) {
        Ok(entries) => panic!("this was read without an error: {entries:?}"),
        Err(error) => error,
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % limit
    }
}
