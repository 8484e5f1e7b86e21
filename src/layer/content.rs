//! Where the content of a file is in its layer.

use std::io::{self, Read};

use super::error::LayerError;
use super::extent::Extent;
use super::stream::Content;
use crate::tar::sparse::Run;

/// Where a file's content begins in its layer: what makes two names hard links of one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataOffset(
    /// Bytes from the start of the uncompressed tar to the file's first data byte.
    pub u64,
);

/// The content of a file, as its layer holds it. Hard links share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileContent {
    /// Where it begins.
    pub data: DataOffset,
    /// Its length in bytes, holes included.
    pub size: u64,
    /// Whether the tar stores it without its holes, so that it is not one stretch of the tar.
    pub sparse: bool,
}

/// The content of a file that is one stretch of a tar, in a reader that stands at its first byte.
pub struct Section<R> {
    tar: R,
    /// Where the reader stands, in bytes of the uncompressed tar.
    offset: u64,
    left: u64,
}

impl<R: Read> Section<R> {
    /// What `content`, which is not sparse, has at the place where `tar` stands.
    pub fn new(tar: R, content: FileContent) -> Self {
        Section { tar, offset: content.data.0, left: content.size }
    }
}

impl<R: Read> Read for Section<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if length == 0 {
            return Ok(0);
        }
        let read = self.tar.read(&mut buffer[..length])?;
        if read == 0 {
            return Err(LayerError::Truncated { offset: self.offset, within: "a file's data" }.into());
        }
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Read> Content for Section<R> {
    fn next_run(&mut self) -> Option<Run> {
        (self.left > 0).then_some(Run::Data(self.left))
    }

    fn extent(&self) -> Option<Extent> {
        None
    }
}
