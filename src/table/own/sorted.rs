//! Keys with their values, put in order in bounded memory: runs of some MiB are sorted and, where there are several, kept in a scratch
//! file until they are merged. What comes in order is not sorted, and what goes on where the run before ended belongs to it.
//!
//! A record of a run is what its key shares with the key before and the rest of the key, then its value, with the length of each.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::numbers::{put, put_string, shared};

/// Gives files that hold what there is no room for.
pub(super) type Scratch = Box<dyn Fn() -> io::Result<File> + Send>;

/// How many bytes of a run are read or written at a time.
const BUFFER: usize = 64 << 10;

/// How many runs are merged at a time.
const MAX_MERGED: usize = 24;

/// Puts records in the order of their keys; those of one key stay as they came.
#[derive(Default)]
pub(super) struct Sorter {
    /// Keys and values of the run that is being gathered.
    arena: Vec<u8>,
    slots: Vec<Slot>,
    is_sorted: bool,
    /// How many bytes a run has at most, about.
    limit: usize,
    runs: Option<Runs>,
}

#[derive(Clone, Copy)]
pub(super) struct Slot {
    key: u32,
    value: u32,
    end: u32,
}

impl Slot {
    fn key(self, arena: &[u8]) -> &[u8] {
        &arena[self.key as usize..self.value as usize]
    }

    fn value(self, arena: &[u8]) -> &[u8] {
        &arena[self.value as usize..self.end as usize]
    }
}

impl Sorter {
    /// One whose runs have about `limit` bytes, which is less than 2 GiB.
    pub(super) fn new(limit: usize) -> Self {
        Sorter { limit, is_sorted: true, ..Sorter::default() }
    }

    /// Takes in a record, whose value `write` appends.
    pub(super) fn push(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>), scratch: &Scratch) -> io::Result<()> {
        let start = self.arena.len();
        if let Some(last) = self.slots.last() {
            self.is_sorted &= last.key(&self.arena) <= key;
        }
        self.arena.extend_from_slice(key);
        write(&mut self.arena);
        let number = |length: usize| u32::try_from(length).map_err(io::Error::other);
        self.slots.push(Slot {
            key: number(start)?,
            value: number(start + key.len())?,
            end: number(self.arena.len())?,
        });
        if self.arena.len() + self.slots.len() * size_of::<Slot>() >= self.limit {
            self.spill(scratch)?;
        }
        Ok(())
    }

    /// All records in order.
    pub(super) fn merge(mut self, scratch: &Scratch) -> io::Result<Merge> {
        if self.runs.is_some() {
            self.spill(scratch)?;
        }
        self.sort();
        match self.runs {
            None => Ok(Merge::InMemory { arena: self.arena, slots: self.slots, next: 0 }),
            Some(mut runs) => {
                runs.merge_some(MAX_MERGED)?;
                let runs = runs.finish()?;
                Ok(Merge::Files(Heads::new(&runs.0, &runs.1)?))
            }
        }
    }

    fn sort(&mut self) {
        if !self.is_sorted {
            let arena = &self.arena;
            self.slots.sort_by(|one, other| one.key(arena).cmp(other.key(arena)));
        }
        self.is_sorted = true;
    }

    fn spill(&mut self, scratch: &Scratch) -> io::Result<()> {
        self.sort();
        let runs = match &mut self.runs {
            Some(runs) => runs,
            None => self.runs.insert(Runs::new(scratch()?)),
        };
        if let Some(first) = self.slots.first() {
            runs.begin(first.key(&self.arena));
        }
        for slot in &self.slots {
            runs.push(slot.key(&self.arena), slot.value(&self.arena))?;
        }
        self.arena.clear();
        self.slots.clear();
        Ok(())
    }
}

/// Runs in a file.
struct Runs {
    file: Arc<File>,
    /// What is not in the file yet.
    buffer: Vec<u8>,
    /// How many bytes are.
    length: u64,
    /// Where each run begins and ends.
    runs: Stretches,
    /// The last key of the last run.
    last: Vec<u8>,
}

/// Where runs are in their file, each from a byte to another.
type Stretches = Vec<(u64, u64)>;

impl Runs {
    fn new(file: File) -> Self {
        Runs {
            file: Arc::new(file),
            buffer: Vec::with_capacity(2 * BUFFER),
            length: 0,
            runs: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Begins a run whose first key is `key`, or goes on with the last one.
    fn begin(&mut self, key: &[u8]) {
        if self.runs.is_empty() || self.last.as_slice() > key {
            let start = self.length + self.buffer.len() as u64;
            self.runs.push((start, start));
            self.last.clear();
        }
    }

    fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let shared = shared(&self.last, key);
        put(&mut self.buffer, shared as u64);
        put_string(&mut self.buffer, &key[shared..]);
        put_string(&mut self.buffer, value);
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
        if let Some(run) = self.runs.last_mut() {
            run.1 = self.length + self.buffer.len() as u64;
        }
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.file).write_all(&self.buffer)?;
        self.length += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Merges the first runs with one another until there are `most` at most. That what comes of them stands behind the others means
    /// nothing for the order of equal keys only where the runs that are merged follow one another, and so all of them are, in turns.
    fn merge_some(&mut self, most: usize) -> io::Result<()> {
        while self.runs.len() > most {
            let runs = std::mem::take(&mut self.runs);
            for group in runs.chunks(most) {
                self.flush()?;
                let mut heads = Heads::new(&self.file, group)?;
                let mut is_first = true;
                while heads.next()? {
                    if std::mem::take(&mut is_first) {
                        self.begin(&heads.key);
                    }
                    self.push(&heads.key, &heads.value)?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<(Arc<File>, Stretches)> {
        self.flush()?;
        Ok((self.file, self.runs))
    }
}

/// Records in the order of their keys.
pub(super) enum Merge {
    InMemory { arena: Vec<u8>, slots: Vec<Slot>, next: usize },
    Files(Heads),
}

impl Merge {
    /// Goes to the next record; false where there is none.
    pub(super) fn next(&mut self) -> io::Result<bool> {
        match self {
            Merge::InMemory { slots, next, .. } => {
                *next += 1;
                Ok(*next <= slots.len())
            }
            Merge::Files(heads) => heads.next(),
        }
    }

    /// The key and the value of the record; empty where there is none.
    pub(super) fn record(&self) -> (&[u8], &[u8]) {
        match self {
            Merge::InMemory { arena, slots, next } => match next.checked_sub(1).and_then(|at| slots.get(at)) {
                Some(slot) => (slot.key(arena), slot.value(arena)),
                None => (b"", b""),
            },
            Merge::Files(heads) => (&heads.key, &heads.value),
        }
    }
}

/// The first records of several runs that have not been taken yet.
pub(super) struct Heads {
    heads: BinaryHeap<Head>,
    key: Vec<u8>,
    value: Vec<u8>,
}

struct Head {
    key: Vec<u8>,
    value: Vec<u8>,
    /// Which run it is, for the order of records with the same key.
    number: usize,
    run: RunReader,
}

impl Ord for Head {
    /// The heap has its greatest on top.
    fn cmp(&self, other: &Self) -> Ordering {
        (&other.key, other.number).cmp(&(&self.key, self.number))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

impl Heads {
    fn new(file: &Arc<File>, runs: &[(u64, u64)]) -> io::Result<Self> {
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for (number, (start, end)) in runs.iter().enumerate() {
            let run = RunReader { file: Arc::clone(file), next: *start, end: *end, buffer: Vec::new(), at: 0 };
            let mut head = Head { key: Vec::new(), value: Vec::new(), number, run };
            if head.run.next(&mut head.key, &mut head.value)? {
                heads.push(head);
            }
        }
        Ok(Heads { heads, key: Vec::new(), value: Vec::new() })
    }

    fn next(&mut self) -> io::Result<bool> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(false) };
        self.key.clone_from(&head.key);
        std::mem::swap(&mut self.value, &mut head.value);
        let Head { key, value, run, .. } = &mut *head;
        if !run.next(key, value)? {
            PeekMut::pop(head);
        }
        Ok(true)
    }
}

/// Reads one run.
struct RunReader {
    file: Arc<File>,
    /// Where in the file the next bytes are, and where the run ends.
    next: u64,
    end: u64,
    buffer: Vec<u8>,
    /// What of the buffer has been taken.
    at: usize,
}

impl RunReader {
    /// Reads a record; `key` is the one before.
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> io::Result<bool> {
        if self.at == self.buffer.len() && self.next == self.end {
            return Ok(false);
        }
        let shared = self.number()?;
        key.truncate(shared);
        let length = self.number()?;
        self.append(length, key)?;
        value.clear();
        let length = self.number()?;
        self.append(length, value)?;
        Ok(true)
    }

    fn number(&mut self) -> io::Result<usize> {
        let (mut number, mut shift) = (0_usize, 0);
        loop {
            self.fill()?;
            let byte = self.buffer[self.at];
            self.at += 1;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
            if shift > 35 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    fn append(&mut self, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            self.fill()?;
            let taken = left.min(self.buffer.len() - self.at);
            out.extend_from_slice(&self.buffer[self.at..self.at + taken]);
            self.at += taken;
            left -= taken;
        }
        Ok(())
    }

    /// Sees to it that there is a byte in the buffer.
    fn fill(&mut self) -> io::Result<()> {
        if self.at < self.buffer.len() {
            return Ok(());
        }
        let length = (self.end - self.next).min(BUFFER as u64);
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.resize(length as usize, 0);
        self.file.read_exact_at(&mut self.buffer, self.next)?;
        self.next += length;
        self.at = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::random::Random;

    #[test]
    fn records_come_in_the_order_of_their_keys_and_those_of_one_key_as_they_came() {
        let scratch: Scratch = Box::new(tempfile::tempfile);
        let mut random = Random::new(1);
        for (count, limit) in [(0, 100), (1, 100), (2_000, 1 << 20), (3_000, 100), (3_000, 1000), (30_000, 5_000)] {
            for disorder in [0, 3, 100_000] {
                let mut sorter = Sorter::new(limit);
                let mut expected = Vec::new();
                for i in 0..count {
                    let key = format!("{:05}", i + random.below(disorder + 1)).into_bytes();
                    let value = vec![i as u8; random.below(9)];
                    sorter.push(&key, |out| out.extend_from_slice(&value), &scratch).unwrap();
                    expected.push((key, value));
                }
                expected.sort_by(|one, other| one.0.cmp(&other.0));
                let (mut merge, mut found) = (sorter.merge(&scratch).unwrap(), Vec::new());
                while merge.next().unwrap() {
                    let (key, value) = merge.record();
                    found.push((key.to_vec(), value.to_vec()));
                }
                assert!(found == expected, "{count} {limit} {disorder}");
            }
        }
    }
}
