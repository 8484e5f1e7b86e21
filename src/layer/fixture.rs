//! Tars in memory, and what is read of them, for the tests of this folder.

use std::io::{self, Read, Seek, SeekFrom};

use super::Stream;
use super::checkpoint::Extent;
use super::entry::Entry;
use super::error::LayerError;
use super::tar::TarReader;
pub(super) use crate::support::block::{Block, END, file, pax};

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
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar: Vec<u8> = files.iter().flat_map(|(name, data)| file(name, data)).collect();
    tar.extend(END);
    tar
}

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
