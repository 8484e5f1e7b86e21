//! Rows in the order of their keys, made into groups of one path each; whether the layer is simple comes out on the way.
//!
//! A layer is *simple* where its rows mean the same in the order of their keys as in the order of the tar: no path has two entries (a later
//! entry of a directory supersedes an earlier one), nothing is below what is no directory in the same layer, and each hard link leads to
//! a regular file of an earlier entry.

use super::not_written::{NotWritten, TOO_DEEP, TOO_LONG, TOO_MANY};
use super::numbers::shared;
use super::record::*;
use super::shelf::{Shelf, peek, read};
use super::sorted::Merge;

/// A layer that is not simple has no table if it has more entries than this: all of its rows are read whenever one is wanted.
pub(super) const MAX_NOT_SIMPLE: u64 = 200_000;

/// How many directories the tar may imply for each entry, and how many more, before that costs more than the layer is worth.
const MAX_IMPLIED: u64 = 4;
const FREE_IMPLIED: u64 = 10_000;

/// How many bytes the rows of all directories on the way to a path have at most, as leaves repeat them.
const MAX_ABOVE: usize = 256 << 10;

/// A row that is held back.
#[derive(Debug, Default)]
struct Held {
    is_there: bool,
    /// The written record.
    record: Vec<u8>,
    /// What it is, and where its header is.
    what: u8,
    header_offset: u64,
}

impl Held {
    fn hold(&mut self, written: &[u8], (what, header_offset): (u8, u64)) {
        self.is_there = true;
        self.record.clear();
        self.record.extend_from_slice(written);
        (self.what, self.header_offset) = (what, header_offset);
    }

    fn kind(&self) -> u8 {
        self.what & KIND
    }
}

/// Which row of a path is held where.
const ENTRY: usize = 0;
const HELD_WHITEOUT: usize = 1;
const HELD_OPAQUE: usize = 2;

/// A directory on the way to the current path.
#[derive(Debug)]
struct Above {
    /// The length of its key.
    key: usize,
    /// Its rows.
    rows: Vec<Vec<u8>>,
    /// How many bytes these have, with those of all directories above.
    length: usize,
}

/// Makes groups of rows.
pub(super) struct Layout {
    pub(super) shelf: Shelf,
    /// The current path, whether there is one, and the last rows of it.
    key: Vec<u8>,
    is_there: bool,
    held: [Held; 3],
    above: Vec<Above>,
    links: Links,
    is_simple: bool,
    rows: u64,
    implied: u64,
    entries: u64,
}

impl Layout {
    /// Takes in rows of `entries` entries; `links` are the targets of hard links, each with where the header of a link is.
    pub(super) fn new(shelf: Shelf, links: Merge, entries: u64) -> std::io::Result<Self> {
        Ok(Layout {
            shelf,
            key: Vec::new(),
            is_there: false,
            held: Default::default(),
            above: Vec::new(),
            links: Links::new(links)?,
            is_simple: true,
            rows: 0,
            implied: 0,
            entries,
        })
    }

    /// Takes in the next row.
    pub(super) fn push(&mut self, key: &[u8], written: &[u8]) -> Result<(), NotWritten> {
        let (what, header_offset) = peek(written)?;
        if !self.is_there || self.key != key {
            self.close(Some((key, header_offset)))?;
            self.open(key, header_offset)?;
        }
        let at = match what & MARK {
            WHITEOUT => HELD_WHITEOUT,
            OPAQUE => HELD_OPAQUE,
            _ => ENTRY,
        };
        let held = &mut self.held[at];
        if held.is_there {
            let are_directories = held.kind() == DIRECTORY && what & KIND == DIRECTORY;
            if at == ENTRY && !are_directories {
                self.is_simple = false;
            } else if let Some(held) = held.record.first_mut() {
                *held |= SUPERSEDED;
            }
            self.make_room()?;
            self.shelve(at)?;
        }
        self.held[at].hold(written, (what, header_offset));
        Ok(())
    }

    /// All rows have come: whether they are simple, and how many there are.
    pub(super) fn finish(mut self) -> Result<(Shelf, u64, bool), NotWritten> {
        self.close(None)?;
        let is_simple = self.is_simple && self.links.are_done();
        self.check(is_simple)?;
        Ok((self.shelf, self.rows, is_simple))
    }

    /// Goes on to `key`, an entry of which has its header at `header_offset`.
    fn open(&mut self, key: &[u8], header_offset: u64) -> Result<(), NotWritten> {
        let shared = shared(&self.key, key);
        while self.above.last().is_some_and(|last| last.key > shared || (last.key > 0 && key.get(last.key) != Some(&0)))
        {
            self.above.pop();
        }
        let there = self.above.last().map_or(0, |last| last.key);
        let implied = key.iter().enumerate().filter(|(at, byte)| **byte == 0 && *at > there).map(|(at, _)| at);
        for length in implied {
            let (record, above) = (self.imply(header_offset)?, key[..length].to_vec());
            self.key.clone_from(&above);
            self.make_room()?;
            self.shelf.push(&above, &read(&record)?);
            self.rows += 1;
            self.go_down(length, vec![record])?;
        }
        self.key.clear();
        self.key.extend_from_slice(key);
        self.is_there = true;
        Ok(())
    }

    /// Is done with the current path; `next` is the one behind it, with where an entry of it has its header.
    fn close(&mut self, next: Option<(&[u8], u64)>) -> Result<(), NotWritten> {
        if !std::mem::take(&mut self.is_there) {
            return Ok(());
        }
        let below = next.filter(|(next, _)| is_below(next, &self.key));
        let is_opaque = self.held[HELD_OPAQUE].is_there;
        let entry = &self.held[ENTRY];
        if entry.is_there && entry.kind() != DIRECTORY && (below.is_some() || is_opaque) {
            self.is_simple = false;
        }
        if self.is_simple {
            let file = (entry.is_there && matches!(entry.kind(), FILE | SPARSE)).then_some(entry.header_offset);
            self.is_simple = self.links.are_met(&self.key, file)?;
        }
        if !entry.is_there && !self.key.is_empty() && (below.is_some() || is_opaque) {
            let header_offset = below.map_or(self.held[HELD_OPAQUE].header_offset, |(_, header_offset)| header_offset);
            let record = self.imply(header_offset)?;
            self.held[ENTRY].hold(&record, (DIRECTORY | IMPLIED, header_offset));
        }
        self.make_room()?;
        let rows = self.held.iter().filter(|held| held.is_there && below.is_some());
        let rows: Vec<Vec<u8>> = rows.map(|held| held.record.clone()).collect();
        for at in [ENTRY, HELD_WHITEOUT, HELD_OPAQUE] {
            if self.held[at].is_there {
                self.shelve(at)?;
            }
        }
        if below.is_some() {
            self.go_down(self.key.len(), rows)?;
        }
        self.check(self.is_simple)
    }

    /// Takes note of a directory in which there is something.
    fn go_down(&mut self, key: usize, rows: Vec<Vec<u8>>) -> Result<(), NotWritten> {
        let length = self.above.last().map_or(0, |above| above.length) + rows.iter().map(Vec::len).sum::<usize>();
        self.above.push(Above { key, rows, length });
        if length <= MAX_ABOVE { Ok(()) } else { Err(NotWritten::Untold(TOO_LONG)) }
    }

    fn shelve(&mut self, at: usize) -> Result<(), NotWritten> {
        let held = &mut self.held[at];
        held.is_there = false;
        self.shelf.push(&self.key, &read(&held.record)?);
        self.rows += 1;
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), NotWritten> {
        let key = &self.key;
        let more = self.held.iter().filter(|held| held.is_there).map(|held| held.record.len()).sum();
        // Where a layer is not simple all rows are read, and none need be repeated.
        let above = if self.is_simple { self.above.as_slice() } else { &[] };
        let rows = above.iter().flat_map(|above| above.rows.iter().map(|row| (&key[..above.key], row.as_slice())));
        self.shelf.make_room(key, more, rows)
    }

    /// The row of a directory that the tar only implies.
    fn imply(&mut self, header_offset: u64) -> Result<Vec<u8>, NotWritten> {
        self.implied += 1;
        if self.implied > self.entries.saturating_mul(MAX_IMPLIED).saturating_add(FREE_IMPLIED) {
            return Err(NotWritten::Untold(TOO_DEEP));
        }
        let (what, mode, data_offset) = (DIRECTORY | IMPLIED, 0o755, header_offset);
        let mut written = Vec::new();
        Record { what, mode, header_offset, data_offset, ..Record::default() }.write(&mut written);
        Ok(written)
    }

    fn check(&self, is_simple: bool) -> Result<(), NotWritten> {
        match is_simple || self.entries <= MAX_NOT_SIMPLE {
            true => Ok(()),
            false => Err(NotWritten::Untold(TOO_MANY)),
        }
    }
}

/// Whether the key `below` is one of something in the directory with the key `above`.
fn is_below(below: &[u8], above: &[u8]) -> bool {
    match below.strip_prefix(above) {
        Some(rest) if above.is_empty() => !rest.is_empty(),
        Some(rest) => rest.first() == Some(&0),
        None => false,
    }
}

/// The targets of hard links, in the order of their keys.
struct Links {
    merge: Merge,
    is_there: bool,
}

impl Links {
    fn new(mut merge: Merge) -> std::io::Result<Self> {
        let is_there = merge.next()?;
        Ok(Links { merge, is_there })
    }

    /// Whether there is none left that no path before the last one was the target of.
    fn are_done(&self) -> bool {
        !self.is_there
    }

    /// Whether all that lead to `key` and what is before it lead to a file of an earlier entry; `file` is where the header of the one
    /// at `key` is, if it is one.
    fn are_met(&mut self, key: &[u8], file: Option<u64>) -> std::io::Result<bool> {
        while self.is_there {
            let (target, link) = self.merge.record();
            match target.cmp(key) {
                std::cmp::Ordering::Greater => return Ok(true),
                std::cmp::Ordering::Less => return Ok(false),
                std::cmp::Ordering::Equal => {}
            }
            let link = link.try_into().map_or(0, u64::from_le_bytes);
            if file.is_none_or(|file| file >= link) {
                return Ok(false);
            }
            self.is_there = self.merge.next()?;
        }
        Ok(true)
    }
}
