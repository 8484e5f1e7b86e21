//! Puts rows, which come in the order of their keys, into leaves, and the leaves below nodes.

use std::io::{self, Read};

use super::block::DIGEST;
use super::leaf::{self, LeafWriter, Place};
use super::node::{self, Child, Head, NodeWriter};
use super::not_written::{NotWritten, TOO_LONG};
use super::numbers::{put, put_string, shared};
use super::output::Output;
use super::places::{Checkpoints, Reached};
use super::record::Record;
use super::row::{Blob, Part};
use super::sorted::Scratch;
use super::spool::Spool;
use crate::layer::Compression;

/// How large parts of a table become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// A leaf is full when it takes about this many bytes, or has this many rows.
    pub(super) leaf: usize,
    pub(super) rows: u64,
    /// Rows of one path are divided only where a leaf has so many rows.
    pub(super) most_rows: u64,
    /// How many children a middle node has at least, where there are others.
    pub(super) middle: u64,
    /// How many bytes of rows are sorted at a time, and how many of hard links' targets.
    pub(super) run: usize,
    pub(super) links: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { leaf: 8 << 10, rows: 512, most_rows: 4096, middle: 32, run: 4 << 20, links: 1 << 20 }
    }
}

/// A leaf with so many bytes, decoded, takes no more rows.
const FULLEST: usize = 512 << 10;

/// How many bytes of rows may be repeated beyond those that are not.
const FREE_REPEATED: u64 = 1 << 20;

/// How many bytes of keys, targets and extended attributes the rows of all leaves have at most, and how many more for each byte of the leaves
/// as they are stored: a leaf can repeat a long name for next to nothing, and whoever reads the table holds it each time.
const FREE_TEXT: u64 = 16 << 20;
const MAX_TEXT: u64 = 64;

/// How many children the top node has, about.
const TOP: u64 = 24;
/// A middle node is full with so many bytes.
const FULL_NODE: usize = 2 << 20;

/// The leaves.
pub(super) struct Shelf {
    pub(super) output: Output,
    pub(super) blob: Blob,
    pub(super) checkpoints: Checkpoints,
    pub(super) reached: Reached,
    pub(super) scratch: Scratch,
    sizes: Sizes,
    leaf: LeafWriter,
    /// What separates the leaf that is being filled from the one before.
    separator: Vec<u8>,
    /// The leaves that are done: how many, and where the first begins.
    children: Spool,
    count: u64,
    start: u64,
    /// Bytes of rows that are repeated, and of those that are not.
    repeated: u64,
    own: u64,
    /// Bytes of keys, targets and attributes of rows, and of leaves as stored.
    text: u64,
    stored: u64,
}

/// Whether leaves that have so many bytes, as `stored`, may have so many of `text`.
pub(super) fn may_have(text: u64, stored: u64) -> bool {
    text <= FREE_TEXT.saturating_add(stored.saturating_mul(MAX_TEXT))
}

impl Shelf {
    pub(super) fn new(output: Output, blob: Blob, scratch: Scratch, sizes: Sizes) -> Self {
        Shelf {
            output,
            blob,
            checkpoints: Checkpoints::default(),
            reached: Reached::default(),
            scratch,
            sizes,
            leaf: LeafWriter::default(),
            separator: Vec::new(),
            children: Spool::default(),
            count: 0,
            start: 0,
            repeated: 0,
            own: 0,
            text: 0,
            stored: 0,
        }
    }

    /// Makes room for some rows of `key`, which are to stay together and have about `more` bytes. Where they come into a leaf of their own,
    /// `above` are the rows of the directories on the way there.
    pub(super) fn make_room<'a>(
        &mut self,
        key: &[u8],
        more: usize,
        above: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), NotWritten> {
        if self.leaf.is_empty() {
            return Ok(());
        }
        let (length, keys) = self.leaf.length();
        let rows = self.leaf.rows();
        let is_fullest = rows >= self.sizes.most_rows || length >= FULLEST || keys >= leaf::MAX_KEYS / 2;
        let is_full = rows >= self.sizes.rows || self.leaf.weight() >= self.sizes.leaf || length + more >= FULLEST;
        if !is_fullest && (!is_full || self.leaf.key() == key) {
            return Ok(());
        }
        let length = shared(self.leaf.key(), key) + 1;
        let separator = key[..length.min(key.len())].to_vec();
        self.close()?;
        self.separator = separator;
        for (key, record) in above {
            self.leaf.push(key, &read(record)?, None, true);
        }
        self.repeated += self.leaf.length().0 as u64;
        if self.repeated > self.own + FREE_REPEATED {
            return Err(NotWritten::Untold(TOO_LONG));
        }
        Ok(())
    }

    /// Takes in a row.
    pub(super) fn push(&mut self, key: &[u8], record: &Record<'_>) {
        self.text += record.text(key);
        let before = self.leaf.length().0;
        let place = self.place(record);
        self.leaf.push(key, record, place, false);
        self.own += (self.leaf.length().0 - before) as u64;
    }

    /// Where the content of `record` is.
    fn place(&self, record: &Record<'_>) -> Option<Place> {
        if !record.has_content() {
            return None;
        }
        let end = record.data_offset.checked_add(record.size)?;
        if self.blob.compression == Compression::None {
            return (end <= self.blob.size).then_some(Place { start: None, end });
        }
        let start = self.checkpoints.before(record.data_offset)?;
        let from = self.checkpoints.get(start)?;
        let end = self.reached.end(end, self.blob.size).max(from.compressed);
        (end <= self.blob.size).then_some(Place { start: Some(start), end })
    }

    fn close(&mut self) -> Result<(), NotWritten> {
        if self.leaf.is_empty() {
            return Ok(());
        }
        let (_, keys) = self.leaf.length();
        let (content, digests) = self.leaf.finish(&self.checkpoints);
        if content.len() > leaf::MAX_DECODED || keys > leaf::MAX_KEYS {
            return Err(NotWritten::Untold(TOO_LONG));
        }
        let part = self.output.block(&content, &digests)?;
        self.stored += part.length();
        if self.count == 0 {
            self.start = part.range.0;
        }
        let mut child = Vec::with_capacity(self.separator.len() + 48);
        put_string(&mut child, &self.separator);
        put(&mut child, part.length());
        child.extend_from_slice(&part.digest);
        self.children.push(&(child.len() as u32).to_le_bytes(), &self.scratch)?;
        self.children.push(&child, &self.scratch)?;
        self.count += 1;
        Ok(())
    }

    /// Writes the nodes; gives the file and the top node.
    pub(super) fn finish(mut self, rows: u64, is_simple: bool) -> Result<(Output, Part), NotWritten> {
        self.close()?;
        if !may_have(self.text, self.stored) {
            return Err(NotWritten::Untold(TOO_LONG));
        }
        let mut start = self.start;
        let per = self.count.div_ceil(TOP).max(self.sizes.middle);
        let mut children = std::mem::take(&mut self.children).read()?;
        let (mut top, mut middle) = (NodeWriter::default(), NodeWriter::default());
        let mut first = Vec::new();
        let mut bytes = Vec::new();
        for number in 0..self.count {
            let child = next_child(&mut children, &mut bytes, &mut start)?;
            if middle.is_empty() {
                first.clone_from(&child.key);
            }
            middle.push(&child);
            if middle.count() == per.min(node::MAX_CHILDREN) || middle.length() >= FULL_NODE || number + 1 == self.count
            {
                let (content, digests) = std::mem::take(&mut middle).finish(Vec::new());
                let part = self.output.block(&content, &digests)?;
                top.push(&Child { key: std::mem::take(&mut first), part });
            }
        }
        if top.length() > node::MAX_DECODED {
            return Err(NotWritten::Untold(TOO_LONG));
        }
        let head = Head { blob: self.blob, rows, is_simple };
        let (content, digests) = top.finish(head.write());
        let part = self.output.block(&content, &digests)?;
        if part.length() > node::MAX_TOP || content.len() > node::MAX_DECODED {
            return Err(NotWritten::Untold(TOO_LONG));
        }
        Ok((self.output, part))
    }
}

/// The next child of those that were put away.
fn next_child(children: &mut impl Read, bytes: &mut Vec<u8>, start: &mut u64) -> Result<Child, NotWritten> {
    let mut length = [0; 4];
    children.read_exact(&mut length)?;
    bytes.resize(u32::from_le_bytes(length) as usize, 0);
    children.read_exact(bytes)?;
    let lost = |_| lost();
    let mut rest = super::numbers::Bytes(bytes);
    let key = rest.string(usize::MAX).map_err(lost)?.to_vec();
    let length = rest.number().map_err(lost)?;
    let digest = rest.array::<DIGEST>().map_err(lost)?;
    let range = (*start, *start + length);
    *start = range.1;
    Ok(Child { key, part: Part { range, digest } })
}

/// The record that was written so.
pub(super) fn read(record: &[u8]) -> Result<Record<'_>, NotWritten> {
    Record::read(record).map_err(|_| lost())
}

/// What the record that was written so is, and where its header is.
pub(super) fn peek(record: &[u8]) -> Result<(u8, u64), NotWritten> {
    Record::peek(record).map_err(|_| lost())
}

/// What was put away has not come back.
fn lost() -> NotWritten {
    io::Error::from(io::ErrorKind::InvalidData).into()
}
