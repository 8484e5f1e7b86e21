//! All entries of a layer, in their order, in as few bytes as they take: so an index can keep little, and be made anew where more of
//! the layer turns out to matter, without reading the layer again.

use super::refused::Refused;
use crate::layer::entry::{Entry, Kind, Special};

/// How many bytes of records are compressed at a time.
const BLOCK: usize = 128 * 1024;

/// The entries that an index was made from.
///
/// A record holds what an entry has other than the one before: of a name what it does not share with it, of owner, mode and time
/// nothing where they are the same. It takes some 15 bytes for usual names, 40 bytes more than its names at most, where the
/// tar took 512 and the names; compressed in blocks, as the layer itself is, it takes some four. Extended attributes are
/// bounded by what an index keeps of them, which has those of all entries but hard links.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Compressed. Each begins with an entry written out in full.
    blocks: Vec<Block>,
    /// The records since the last block.
    records: Vec<u8>,
    last: Last,
    keeps_xattrs: bool,
}

#[derive(Debug)]
struct Block {
    compressed: Box<[u8]>,
    /// How many bytes of records it has.
    length: usize,
}

/// What the record before told.
#[derive(Debug, Default)]
struct Last {
    path: Vec<u8>,
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: (i64, u32),
    data_offset: u64,
}

/// The flags beside the kind, which takes the three lowest bits.
const SAME_OWNER: u8 = 1 << 3;
const SAME_TIME: u8 = 1 << 4;
const HAS_XATTRS: u8 = 1 << 5;

impl Journal {
    /// A journal that keeps extended attributes, or drops them.
    pub(super) fn keeping_xattrs(keep: bool) -> Self {
        Journal { keeps_xattrs: keep, ..Journal::default() }
    }

    /// Takes in the next entry.
    pub(super) fn push(&mut self, entry: &Entry) {
        let (records, last) = (&mut self.records, &mut self.last);
        let same_owner = (entry.mode, entry.uid, entry.gid) == (last.mode, last.uid, last.gid);
        let same_time = entry.mtime == last.mtime;
        let xattrs = if self.keeps_xattrs { entry.own_xattrs() } else { &[] };
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = flag(same_owner, SAME_OWNER) | flag(same_time, SAME_TIME) | flag(!xattrs.is_empty(), HAS_XATTRS);
        records.push(kind_of(&entry.kind) | flags);
        let shared = entry.path.iter().zip(&last.path).take_while(|(one, other)| one == other).count();
        put(records, shared as u64);
        put_bytes(records, &entry.path[shared..]);
        put(records, entry.data_offset.wrapping_sub(last.data_offset));
        match &entry.kind {
            Kind::File { size, .. } => put(records, *size),
            Kind::Symlink(target) | Kind::HardLink(target) => put_bytes(records, target),
            Kind::Special(Special::CharDevice(major, minor) | Special::BlockDevice(major, minor)) => {
                put(records, (*major).into());
                put(records, (*minor).into());
            }
            Kind::Directory | Kind::Special(Special::Fifo) => {}
        }
        if !same_owner {
            put(records, entry.mode.into());
            put(records, entry.uid);
            put(records, entry.gid);
        }
        if !same_time {
            put(records, entry.mtime.0.wrapping_sub(last.mtime.0).cast_unsigned());
            put(records, entry.mtime.1.into());
        }
        if !xattrs.is_empty() {
            put(records, xattrs.len() as u64);
            for (name, value) in xattrs {
                put_bytes(records, name);
                put_bytes(records, value);
            }
        }
        last.path.truncate(shared);
        last.path.extend_from_slice(&entry.path[shared..]);
        (last.mode, last.uid, last.gid) = (entry.mode, entry.uid, entry.gid);
        (last.mtime, last.data_offset) = (entry.mtime, entry.data_offset);
        if self.records.len() >= BLOCK {
            self.compress();
        }
    }

    /// Gives all entries to `each`, in their order; they have no [`Entry::header_offset`].
    pub(super) fn replay(&self, mut each: impl FnMut(&Entry) -> Result<(), Refused>) -> Result<(), Refused> {
        for block in &self.blocks {
            let records = zstd::bulk::decompress(&block.compressed, block.length).map_err(|_| Refused::Lost)?;
            replay(&records, &mut each)?;
        }
        replay(&self.records, &mut each)
    }

    /// How many bytes it takes.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.blocks.iter().map(|block| block.compressed.len()).sum::<usize>() + self.records.len()
    }

    fn compress(&mut self) {
        // What cannot be compressed now, for want of memory, is with what comes next.
        if let Ok(compressed) = zstd::bulk::compress(&self.records, 1) {
            self.blocks.push(Block { compressed: compressed.into(), length: self.records.len() });
            self.records.clear();
            self.last = Last::default();
        }
    }
}

fn replay(records: &[u8], each: &mut impl FnMut(&Entry) -> Result<(), Refused>) -> Result<(), Refused> {
    let mut records = Records(records);
    let mut entry = Entry {
        path: Vec::new(),
        kind: Kind::Directory,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        xattrs: Vec::new(),
        header_offset: 0,
        data_offset: 0,
    };
    while !records.0.is_empty() {
        records.next(&mut entry).ok_or(Refused::Lost)?;
        each(&entry)?;
    }
    Ok(())
}

fn kind_of(kind: &Kind) -> u8 {
    match kind {
        Kind::File { sparse: false, .. } => 0,
        Kind::File { sparse: true, .. } => 1,
        Kind::Directory => 2,
        Kind::Symlink(_) => 3,
        Kind::HardLink(_) => 4,
        Kind::Special(Special::CharDevice(..)) => 5,
        Kind::Special(Special::BlockDevice(..)) => 6,
        Kind::Special(Special::Fifo) => 7,
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more come.
fn put(records: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        records.push(number as u8 | 0x80);
        number >>= 7;
    }
    records.push(number as u8);
}

fn put_bytes(records: &mut Vec<u8>, bytes: &[u8]) {
    put(records, bytes.len() as u64);
    records.extend_from_slice(bytes);
}

/// Records that are still to be read.
struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    /// Makes `entry`, which the record before told of, that of the next one.
    fn next(&mut self, entry: &mut Entry) -> Option<()> {
        let first = self.byte()?;
        let shared = self.length()?;
        entry.path.truncate(shared);
        entry.path.extend_from_slice(self.bytes()?);
        entry.data_offset = entry.data_offset.wrapping_add(self.number()?);
        entry.kind = match first & 7 {
            sparse @ (0 | 1) => Kind::File { size: self.number()?, sparse: sparse == 1 },
            2 => Kind::Directory,
            3 => Kind::Symlink(self.bytes()?.to_vec()),
            4 => Kind::HardLink(self.bytes()?.to_vec()),
            5 => Kind::Special(Special::CharDevice(self.small()?, self.small()?)),
            6 => Kind::Special(Special::BlockDevice(self.small()?, self.small()?)),
            _ => Kind::Special(Special::Fifo),
        };
        if first & SAME_OWNER == 0 {
            (entry.mode, entry.uid, entry.gid) = (self.small()?, self.number()?, self.number()?);
        }
        if first & SAME_TIME == 0 {
            let seconds = entry.mtime.0.wrapping_add(self.number()?.cast_signed());
            entry.mtime = (seconds, self.small()?);
        }
        entry.xattrs.clear();
        if first & HAS_XATTRS != 0 {
            for _ in 0..self.number()? {
                entry.xattrs.push((self.bytes()?.to_vec(), self.bytes()?.to_vec()));
            }
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn length(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{directory, entry, file, hard_link, symlink};
    use super::*;
    use crate::support::random::Random;

    fn replayed(journal: &Journal) -> Vec<Entry> {
        let mut entries = Vec::new();
        journal
            .replay(|entry| {
                entries.push(entry.clone());
                Ok(())
            })
            .unwrap();
        entries
    }

    #[test]
    fn entries_come_back_as_they_were_and_in_their_order() {
        let mut random = Random::new(7);
        let mut journal = Journal::keeping_xattrs(true);
        let mut pushed = Vec::new();
        for number in 0..40_000_u64 {
            let path = format!("d{}/f{number}", random.below(40));
            let mut entry = match random.below(8) {
                0 => directory(&path),
                1 => symlink(&path, "../x"),
                2 => hard_link(&path, "d1/f1"),
                3 => entry(&path, Kind::Special(Special::CharDevice(random.next() as u32, 0))),
                4 => entry(&path, Kind::Special(Special::BlockDevice(8, u32::MAX))),
                5 => entry(&path, Kind::Special(Special::Fifo)),
                6 => entry(&path, Kind::File { size: random.next(), sparse: true }),
                _ => file(&path),
            };
            entry.data_offset = if random.one_in(50) { random.next() } else { number * 1024 };
            if random.one_in(3) {
                (entry.mode, entry.uid, entry.gid) = (random.below(0o10000) as u32, random.next(), random.next());
            }
            if random.one_in(3) {
                entry.mtime = (random.next().cast_signed(), random.below(1_000_000_000) as u32);
            }
            if random.one_in(9) {
                entry.xattrs = vec![(b"user.x".to_vec(), random.bytes(9)), (b"user.y".to_vec(), Vec::new())];
            }
            journal.push(&entry);
            entry.xattrs = entry.own_xattrs().to_vec();
            pushed.push(entry);
        }
        assert!(journal.blocks.len() > 2, "several blocks");
        assert_eq!(replayed(&journal), pushed);
    }

    #[test]
    fn extended_attributes_that_nobody_keeps_are_dropped() {
        let mut journal = Journal::keeping_xattrs(false);
        journal.push(&Entry { xattrs: vec![(b"user.x".to_vec(), vec![0; 1 << 20])], ..file("a") });
        assert!(journal.size() < 100);
        assert_eq!(replayed(&journal), [file("a")]);
    }

    #[test]
    fn extended_attributes_of_hard_links_are_dropped_however_many_there_are() {
        let mut journal = Journal::keeping_xattrs(true);
        let value = Random::new(3).bytes(1 << 20);
        for number in 0..100 {
            let xattrs = vec![(b"user.x".to_vec(), value.clone())];
            journal.push(&Entry { xattrs, ..hard_link(&format!("l{number}"), "f") });
        }
        assert!(journal.size() < 10_000, "{} bytes", journal.size());
        assert_eq!(replayed(&journal).pop(), Some(hard_link("l99", "f")));
    }

    #[test]
    fn a_usual_entry_takes_a_few_bytes() {
        let mut journal = Journal::default();
        for number in 0..100_000_u64 {
            let path = format!("srv/data/d{:04}/file-{:04}.txt", number / 1000, number % 1000);
            journal.push(&Entry { data_offset: number * 512, ..file(&path) });
        }
        assert!(journal.size() < 100_000 * 8, "{} bytes", journal.size());
    }
}
