//! The table's file, as it is written from its start to its end.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use super::block::Packer;
use super::row::Part;

/// The file.
pub(super) struct Output {
    file: BufWriter<File>,
    position: u64,
    packer: Option<Packer>,
}

impl Output {
    pub(super) fn new(file: File) -> Self {
        Output { file: BufWriter::with_capacity(64 << 10, file), position: 0, packer: None }
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Writes all that `bytes` gives.
    pub(super) fn copy(&mut self, bytes: &mut dyn Read) -> io::Result<()> {
        self.position += io::copy(bytes, &mut self.file)?;
        Ok(())
    }

    /// Writes `bytes`, compressed.
    pub(super) fn frame(&mut self, bytes: &[u8]) -> io::Result<Part> {
        let frame = self.packer()?.frame(bytes)?;
        self.part(&frame)
    }

    /// Writes a block.
    pub(super) fn block(&mut self, content: &[u8], digests: &[u8]) -> io::Result<Part> {
        let block = self.packer()?.pack(content, digests)?;
        self.part(&block)
    }

    fn packer(&mut self) -> io::Result<&mut Packer> {
        let packer = match self.packer.take() {
            Some(packer) => packer,
            None => Packer::new()?,
        };
        Ok(self.packer.insert(packer))
    }

    fn part(&mut self, bytes: &[u8]) -> io::Result<Part> {
        let part = Part::new(self.position, bytes);
        self.write(bytes)?;
        Ok(part)
    }

    /// The file, with all that was written.
    pub(super) fn finish(self) -> io::Result<File> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}
