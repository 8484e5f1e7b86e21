//! Writes a table while the layer passes by, in memory that does not depend on the layer's length.

use std::fs::File;
use std::io;

use super::layout::Layout;
use super::not_written::{NotWritten, TOO_DEEP, TOO_LONG};
use super::output::Output;
use super::record::{Record, WHITEOUT, meant};
use super::row::{Blob, Part, State};
use super::shelf::{Shelf, Sizes};
use super::sorted::{Scratch, Sorter};
use super::spool::Spool;
use super::trail;
use super::trailer::Trailer;
use crate::image::digest::{Digest, Hasher};
use crate::layer::checkpoint::Checkpoint;
use crate::layer::entry::{Entry, Kind};

/// The longest record in bytes: some are held in memory.
const MAX_RECORD: usize = 256 << 10;

/// The deepest path, in components: deeper ones are not read of a layer either.
const MAX_DEPTH: usize = 1024;

/// Writes a table, while the layer passes by.
pub struct Writer {
    shelf: Shelf,
    rows: Sorter,
    links: Sorter,
    entries: u64,
    trail: Spool,
    hashed: Option<u64>,
    /// What went wrong where it could not be said.
    failed: Option<io::Error>,
    key: Vec<u8>,
    target: Vec<u8>,
    xattrs: Vec<u8>,
}

/// A table that has been written.
#[derive(Debug)]
pub struct Written {
    /// The file, which is at its end.
    pub file: File,
    /// Its length in bytes.
    pub length: u64,
    /// Its top node.
    pub top: Part,
    /// How many rows it has.
    pub rows: u64,
}

impl Writer {
    /// A table of the layer in `blob` that is to be written into `table`, which is empty. Files that `scratch` gives hold rows until
    /// they are sorted; a layer of a few ten thousand entries needs none.
    pub fn new(table: File, scratch: Scratch, blob: Blob) -> Self {
        Writer::with(table, scratch, blob, Sizes::default())
    }

    /// The same, whose parts have these sizes.
    pub(super) fn with(table: File, scratch: Scratch, blob: Blob, sizes: Sizes) -> Self {
        Writer {
            shelf: Shelf::new(Output::new(table), blob, scratch, sizes),
            rows: Sorter::new(sizes.run),
            links: Sorter::new(sizes.links),
            entries: 0,
            trail: Spool::default(),
            hashed: None,
            failed: None,
            key: Vec::new(),
            target: Vec::new(),
            xattrs: Vec::new(),
        }
    }

    /// Takes note that a decoder can begin at these offsets, which are greater than those before; says how many bytes of the table that
    /// takes. A checkpoint in front of the first entry is needed for any content to be found, except in a plain layer, which needs none.
    pub fn checkpoint(
        &mut self,
        compressed: u64,
        uncompressed: u64,
        checkpoint: &Checkpoint,
    ) -> Result<u64, NotWritten> {
        let before = self.shelf.output.position();
        if !self.shelf.checkpoints.takes(compressed, uncompressed) {
            return Ok(0);
        }
        let state = match checkpoint {
            // It begins anywhere.
            Checkpoint::Plain => return Ok(0),
            Checkpoint::ZstdFrame => State::ZstdFrame,
            Checkpoint::DeflateBlock { skipped_bits, window } => {
                let window = match window.as_slice() {
                    [] => None,
                    window => Some(self.shelf.output.frame(window)?),
                };
                State::DeflateBlock { skipped_bits: *skipped_bits, window }
            }
        };
        self.shelf.checkpoints.push(compressed, uncompressed, state);
        Ok(self.shelf.output.position() - before)
    }

    /// Takes note of how far a decoder is: with the first `compressed` bytes of the blob it has come to `uncompressed` bytes of the tar.
    pub fn reached(&mut self, compressed: u64, uncompressed: u64) {
        self.shelf.reached.push(compressed, uncompressed);
    }

    /// Takes note of what the hash of the blob's bytes up to `position` is, a multiple of 64; others are left out, and so are all where the
    /// blob's digest is no SHA-256. Such a table is for this machine alone.
    pub fn hashed(&mut self, position: u64, hasher: &Hasher) {
        if self.failed.is_none()
            && self.hashed.is_none_or(|hashed| hashed < position)
            && let Some(record) = trail::record(position, hasher)
        {
            self.hashed = Some(position);
            self.failed = self.trail.push(&record, &self.shelf.scratch).err();
        }
    }

    /// Takes in the next entry of the tar, with the SHA-256 of its content where it is known.
    pub fn entry(&mut self, entry: &Entry, digest: Option<Digest>) -> Result<(), NotWritten> {
        let Some((mark, directory, name)) = meant(&entry.path) else { return Ok(()) };
        set_key(&mut self.key, directory)?;
        if mark == WHITEOUT {
            if !directory.is_empty() {
                self.key.push(0);
            }
            self.key.extend_from_slice(name);
        }
        if self.key.iter().filter(|byte| **byte == 0).count() >= MAX_DEPTH {
            return Err(NotWritten::Untold(TOO_DEEP));
        }
        let record = Record::of(entry, mark, &mut self.xattrs, digest.as_ref());
        if self.key.len() + record.target.len() + record.xattrs.len() > MAX_RECORD {
            return Err(NotWritten::Untold(TOO_LONG));
        }
        self.rows.push(&self.key, |out| record.write(out), &self.shelf.scratch)?;
        if let (Kind::HardLink(target), 0) = (&entry.kind, mark) {
            set_key(&mut self.target, target)?;
            let header = entry.header_offset.to_le_bytes();
            self.links.push(&self.target, |out| out.extend_from_slice(&header), &self.shelf.scratch)?;
        }
        self.entries += 1;
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(self) -> Result<Written, NotWritten> {
        if let Some(failed) = self.failed {
            return Err(failed.into());
        }
        let mut rows = self.rows.merge(&self.shelf.scratch)?;
        let links = self.links.merge(&self.shelf.scratch)?;
        let mut layout = Layout::new(self.shelf, links, self.entries)?;
        while rows.next()? {
            let (key, record) = rows.record();
            layout.push(key, record)?;
        }
        let (shelf, rows, is_simple) = layout.finish()?;
        let (mut output, top) = shelf.finish(rows, is_simple)?;
        let start = output.position();
        let trail = start..start + self.trail.length();
        output.copy(&mut self.trail.read()?)?;
        output.write(&Trailer { top: top.clone(), trail }.write())?;
        let length = output.position();
        Ok(Written { file: output.finish()?, length, top, rows })
    }
}

/// Makes `key` that of the canonical `path`.
fn set_key(key: &mut Vec<u8>, path: &[u8]) -> Result<(), NotWritten> {
    key.clear();
    if path.contains(&0) {
        return Err(NotWritten::Untold("a name in it has a byte that separates names in a table"));
    }
    key.extend(path.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }));
    Ok(())
}
