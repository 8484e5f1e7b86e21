//! Leaves: rows in the order of their keys. Each holds what it does not share with the row before it.
//!
//! `docs/formats.md` has the layout of a row.

use super::block::{self, Digests};
use super::numbers::{Bytes, put, put_signed, put_string, shared};
use super::places::Checkpoints;
use super::record::*;
use super::row::{Located, Part, Row, Start, State};
use crate::image::digest::Digest;
use crate::layer::entry::{Entry, Kind, Special};
use crate::layer::{Compression, MAX_NAME};
use crate::table::Unusable;

/// The longest leaf, decoded, in bytes.
pub(super) const MAX_DECODED: usize = 1 << 20;
/// The longest leaf as it is stored, in bytes.
pub(super) const MAX_STORED: u64 = 2 << 20;
/// How many rows a leaf has at most, repeated ones included.
pub(super) const MAX_ROWS: u64 = 8192;
/// How many bytes the keys of a leaf have at most in all, each written out.
pub(super) const MAX_KEYS: usize = 4 << 20;

/// Bits of a row's first byte, above those of [`record`](super::record).
const HAS_XATTRS: u8 = 1 << 6;
const OTHER_OWNER: u8 = 1 << 7;
/// Bits of its second byte.
const OTHER_TIME: u8 = 1;
const HAS_NANOSECONDS: u8 = 1 << 1;
const NOT_NEXT: u8 = 1 << 2;
const OTHER_HEADERS: u8 = 1 << 3;
const LOCATED: u8 = 1 << 4;
const OTHER_START: u8 = 1 << 5;
const HAS_DIGEST: u8 = 1 << 6;
const HAS_TARGET: u8 = 1 << 7;

/// What a checkpoint's first byte says.
const ZSTD_FRAME: u8 = 0x10;
const HAS_WINDOW: u8 = 0x08;

/// The length of a tar's block in bytes: headers are most often one, and entries begin at one.
const TAR_BLOCK: u64 = 512;

/// What the next row is compared with.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    mode: u32,
    uid: u64,
    gid: u64,
    seconds: i64,
    /// Where the next entry's header would be.
    next: u64,
    /// Which checkpoint of the leaf, and how far content reached.
    start: usize,
    end: u64,
}

impl Before {
    fn follow(&mut self, record: &Record<'_>) {
        let Record { mode, uid, gid, seconds, data_offset, size, .. } = *record;
        let stored = if record.kind() == FILE { size } else { 0 };
        let next = data_offset.checked_add(stored).and_then(|end| end.checked_next_multiple_of(TAR_BLOCK)).unwrap_or(0);
        *self = Before { mode, uid, gid, seconds, next, ..*self };
    }
}

/// Where the content of a row is, for the writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Which of all checkpoints; `None` where the layer is plain, and begins anywhere.
    pub(super) start: Option<usize>,
    pub(super) end: u64,
}

/// Puts a leaf together.
#[derive(Debug, Default)]
pub(super) struct LeafWriter {
    rows: Vec<u8>,
    digests: Vec<u8>,
    checkpoints: Vec<usize>,
    repeated: u64,
    own: u64,
    key: Vec<u8>,
    keys: usize,
    before: Before,
}

impl LeafWriter {
    pub(super) fn is_empty(&self) -> bool {
        self.own == 0
    }

    /// How many rows it has, repeated ones included.
    pub(super) fn rows(&self) -> u64 {
        self.own + self.repeated
    }

    /// How many bytes it has, decoded, without its checkpoints; and of keys, written out.
    pub(super) fn length(&self) -> (usize, usize) {
        (self.rows.len() + self.digests.len(), self.keys)
    }

    /// About how many bytes it will take.
    pub(super) fn weight(&self) -> usize {
        self.rows.len() / 2 + self.digests.len()
    }

    /// The key of its last row.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Takes in a row. Those that are repeated come first.
    pub(super) fn push(&mut self, key: &[u8], record: &Record<'_>, place: Option<Place>, is_repeated: bool) {
        let before = self.before;
        let start = place.and_then(|place| place.start).map(|start| self.checkpoint(start));
        let headers = record.data_offset.wrapping_sub(record.header_offset);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let first = record.what
            | flag(!record.xattrs.is_empty(), HAS_XATTRS)
            | flag((before.mode, before.uid, before.gid) != (record.mode, record.uid, record.gid), OTHER_OWNER);
        let second = flag(before.seconds != record.seconds, OTHER_TIME)
            | flag(record.nanoseconds != 0, HAS_NANOSECONDS)
            | flag(before.next != record.header_offset, NOT_NEXT)
            | flag(headers != TAR_BLOCK, OTHER_HEADERS)
            | flag(place.is_some(), LOCATED)
            | flag(start.is_some_and(|start| start != before.start), OTHER_START)
            | flag(record.digest.is_some() && place.is_some(), HAS_DIGEST)
            | flag(!record.target.is_empty(), HAS_TARGET);
        let rows = &mut self.rows;
        rows.extend_from_slice(&[first, second]);
        let shared = shared(&self.key, key);
        put(rows, shared as u64);
        put_string(rows, &key[shared..]);
        self.key.truncate(shared);
        self.key.extend_from_slice(&key[shared..]);
        self.keys += key.len();
        if first & OTHER_OWNER != 0 {
            for number in [record.mode.into(), record.uid, record.gid] {
                put(rows, number);
            }
        }
        if second & OTHER_TIME != 0 {
            put_signed(rows, record.seconds.wrapping_sub(before.seconds));
        }
        if second & HAS_NANOSECONDS != 0 {
            put(rows, record.nanoseconds.into());
        }
        if second & NOT_NEXT != 0 {
            put_signed(rows, record.header_offset.wrapping_sub(before.next).cast_signed());
        }
        if second & OTHER_HEADERS != 0 {
            put(rows, headers);
        }
        if has_size(record.kind()) {
            put(rows, record.size);
        }
        if second & HAS_TARGET != 0 {
            put_string(rows, record.target);
        }
        if first & HAS_XATTRS != 0 {
            put_string(rows, record.xattrs);
        }
        self.before.follow(record);
        if let (Some(start), Some(place)) = (start, place) {
            if second & OTHER_START != 0 {
                put(rows, start as u64);
            }
            put_signed(rows, place.end.wrapping_sub(before.end).cast_signed());
            (self.before.start, self.before.end) = (start, place.end);
        }
        if second & HAS_DIGEST != 0
            && let Some(digest) = &record.digest
        {
            self.digests.extend_from_slice(digest);
        }
        *(if is_repeated { &mut self.repeated } else { &mut self.own }) += 1;
    }

    /// Which of this leaf's checkpoints this one is.
    fn checkpoint(&mut self, checkpoint: usize) -> usize {
        match self.checkpoints.iter().rposition(|other| *other == checkpoint) {
            Some(at) => at,
            None => {
                self.checkpoints.push(checkpoint);
                self.checkpoints.len() - 1
            }
        }
    }

    /// The content of the block and its digests; the leaf is empty then.
    pub(super) fn finish(&mut self, checkpoints: &Checkpoints) -> (Vec<u8>, Vec<u8>) {
        let mut content = Vec::with_capacity(self.rows.len() + 64 * self.checkpoints.len() + 16);
        for number in [self.repeated, self.own, self.checkpoints.len() as u64] {
            put(&mut content, number);
        }
        let (mut compressed, mut uncompressed) = (0_u64, 0_u64);
        for start in self.checkpoints.iter().filter_map(|at| checkpoints.get(*at)) {
            put_signed(&mut content, start.compressed.wrapping_sub(compressed).cast_signed());
            put_signed(&mut content, start.uncompressed.wrapping_sub(uncompressed).cast_signed());
            (compressed, uncompressed) = (start.compressed, start.uncompressed);
            match &start.state {
                State::Plain | State::ZstdFrame => content.push(ZSTD_FRAME),
                State::DeflateBlock { skipped_bits, window: None } => content.push(*skipped_bits),
                State::DeflateBlock { skipped_bits, window: Some(window) } => {
                    content.push(*skipped_bits | HAS_WINDOW);
                    put(&mut content, window.range.0);
                    put(&mut content, window.length());
                    content.extend_from_slice(&window.digest);
                }
            }
        }
        content.append(&mut self.rows);
        let digests = std::mem::take(&mut self.digests);
        let rows = std::mem::take(&mut self.rows);
        *self = LeafWriter { rows, ..LeafWriter::default() };
        (content, digests)
    }
}

fn has_size(kind: u8) -> bool {
    matches!(kind, FILE | SPARSE | CHAR_DEVICE | BLOCK_DEVICE)
}

/// What a leaf is told of its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) compression: Compression,
    /// The length of the layer's blob in bytes, as stored.
    pub(super) size: u64,
    /// Where in the table all that leaves name ends.
    pub(super) end: u64,
}

/// A decoded leaf.
#[derive(Debug)]
pub(super) struct Leaf<'a> {
    content: Vec<u8>,
    digests: &'a [u8],
    context: Context,
}

impl<'a> Leaf<'a> {
    /// The leaf in `bytes`.
    pub(super) fn of(bytes: &'a [u8], context: Context) -> Result<Self, Unusable> {
        let (content, digests) = block::unpack(bytes, MAX_DECODED)?;
        Ok(Leaf { content, digests: digests.rest(), context })
    }

    /// Its rows, from the first.
    pub(super) fn rows(&self) -> Result<Rows<'_>, Unusable> {
        let mut bytes = Bytes(&self.content);
        let (repeated, own, count) = (bytes.number()?, bytes.number()?, bytes.number()?);
        if repeated.saturating_add(own) > MAX_ROWS || count > own {
            return Err(Unusable::new("a leaf of the table has too many rows"));
        }
        let (mut starts, mut compressed, mut uncompressed) = (Vec::new(), 0_u64, 0_u64);
        for _ in 0..count {
            compressed = compressed.wrapping_add_signed(bytes.signed()?);
            uncompressed = uncompressed.wrapping_add_signed(bytes.signed()?);
            let state = self.state(&mut bytes)?;
            starts.push(Start { compressed, uncompressed, state });
        }
        Ok(Rows {
            bytes,
            digests: Digests::new(self.digests),
            starts,
            repeated,
            own,
            key: Vec::new(),
            keys: 0,
            before: Before::default(),
            context: self.context,
        })
    }

    fn state(&self, bytes: &mut Bytes<'_>) -> Result<State, Unusable> {
        let wrong = || Unusable::new("a checkpoint of the table is none of its layer's compression");
        Ok(match (self.context.compression, bytes.byte()?) {
            (Compression::Zstd, ZSTD_FRAME) => State::ZstdFrame,
            (Compression::Gzip, skipped_bits @ 0..=7) => State::DeflateBlock { skipped_bits, window: None },
            (Compression::Gzip, state @ HAS_WINDOW..ZSTD_FRAME) => {
                let (start, length) = (bytes.number()?, bytes.number()?);
                let end = start.checked_add(length).filter(|end| *end <= self.context.end && length <= MAX_WINDOW);
                let end = end.ok_or_else(|| Unusable::new("a window is not where the table has any"))?;
                let window = Part { range: (start, end), digest: bytes.array()? };
                State::DeflateBlock { skipped_bits: state & 7, window: Some(window) }
            }
            _ => return Err(wrong()),
        })
    }
}

/// How many bytes a window takes at most, as it is stored.
const MAX_WINDOW: u64 = 33 << 10;

/// Reads a leaf's rows.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    bytes: Bytes<'a>,
    digests: Digests<'a>,
    starts: Vec<Start>,
    /// How many are left.
    repeated: u64,
    own: u64,
    key: Vec<u8>,
    keys: usize,
    before: Before,
    context: Context,
}

/// A row as it is read.
#[derive(Debug)]
pub(super) struct Read<'a> {
    /// Whether it is an ancestor of the leaf's first own row.
    pub(super) is_repeated: bool,
    /// Whether it has the key of the row before it in the leaf.
    pub(super) is_same: bool,
    pub(super) record: Record<'a>,
    place: Option<Place>,
}

impl<'a> Rows<'a> {
    /// The key of the row that was read last.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Reads the next row.
    pub(super) fn next(&mut self) -> Result<Option<Read<'a>>, Unusable> {
        let is_repeated = self.repeated > 0;
        match (&mut self.repeated, &mut self.own) {
            (0, 0) => {
                self.digests.end()?;
                return match self.bytes.is_empty() {
                    true => Ok(None),
                    false => Err(Unusable::new("there is something behind the last row of a leaf")),
                };
            }
            (0, left) | (left, _) => *left -= 1,
        }
        let (first, second) = (self.bytes.byte()?, self.bytes.byte()?);
        let is_same = self.read_key()?;
        let (bytes, before) = (&mut self.bytes, self.before);
        let (mode, uid, gid) = match first & OTHER_OWNER {
            0 => (before.mode, before.uid, before.gid),
            _ => (bytes.number32()?, bytes.number()?, bytes.number()?),
        };
        let seconds = match second & OTHER_TIME {
            0 => before.seconds,
            _ => before.seconds.wrapping_add(bytes.signed()?),
        };
        let nanoseconds = if second & HAS_NANOSECONDS == 0 { 0 } else { bytes.number32()? };
        let header_offset = match second & NOT_NEXT {
            0 => before.next,
            _ => before.next.wrapping_add_signed(bytes.signed()?),
        };
        let headers = if second & OTHER_HEADERS == 0 { TAR_BLOCK } else { bytes.number()? };
        let kind = first & KIND;
        let size = if has_size(kind) { bytes.number()? } else { 0 };
        let target = if second & HAS_TARGET == 0 { &[][..] } else { bytes.string(MAX_NAME)? };
        let xattrs = if first & HAS_XATTRS == 0 { &[][..] } else { bytes.string(MAX_DECODED)? };
        let data_offset = header_offset.checked_add(headers);
        let data_offset = data_offset.filter(|start| kind > FILE || start.checked_add(size).is_some());
        let data_offset = data_offset.ok_or_else(|| Unusable::new("an offset in the table is too great"))?;
        if mode > 0o7777 || nanoseconds >= 1_000_000_000 {
            return Err(Unusable::new("a row of the table has a mode or a time that is none"));
        }
        let mut record = Record {
            what: first & (KIND | MARK | SUPERSEDED),
            mode,
            uid,
            gid,
            seconds,
            nanoseconds,
            header_offset,
            data_offset,
            size,
            target,
            xattrs,
            digest: None,
        };
        self.before.follow(&record);
        let place = if second & LOCATED == 0 { None } else { Some(self.place(&record, second)?) };
        if second & HAS_DIGEST != 0 {
            if !record.has_content() {
                return Err(Unusable::new("a row of the table has a digest and no content"));
            }
            record.digest = Some(self.digests.next()?);
        }
        Ok(Some(Read { is_repeated, is_same, record, place }))
    }

    /// Reads the key of the next row; says whether that is the one of the row before.
    fn read_key(&mut self) -> Result<bool, Unusable> {
        let shared = usize::try_from(self.bytes.number()?).ok().filter(|shared| *shared <= self.key.len());
        let shared = shared.ok_or_else(|| Unusable::new("a name in the table shares more than there is"))?;
        let rest = self.bytes.string(MAX_NAME)?;
        if rest < &self.key[shared..] {
            return Err(Unusable::new("the rows of the table are not in their order"));
        }
        let is_same = shared == self.key.len() && rest.is_empty();
        self.key.truncate(shared);
        self.key.extend_from_slice(rest);
        self.keys += self.key.len();
        if self.key.len() > MAX_NAME || self.keys > MAX_KEYS {
            return Err(Unusable::new("the names in the table are too long"));
        }
        Ok(is_same)
    }

    fn place(&mut self, record: &Record<'_>, second: u8) -> Result<Place, Unusable> {
        let wrong = || Unusable::new("the content of a row is not where its layer can have any");
        if !record.has_content() {
            return Err(wrong());
        }
        let end_of_data = record.data_offset + record.size;
        if self.context.compression == Compression::None {
            return match end_of_data <= self.context.size {
                true => Ok(Place { start: None, end: end_of_data }),
                false => Err(wrong()),
            };
        }
        let number = if second & OTHER_START == 0 { self.before.start as u64 } else { self.bytes.number()? };
        let start = usize::try_from(number).map_err(|_| wrong())?;
        let end = self.before.end.wrapping_add_signed(self.bytes.signed()?);
        let from = self.starts.get(start).ok_or_else(wrong)?;
        if from.uncompressed > record.data_offset || end < from.compressed || end > self.context.size {
            return Err(wrong());
        }
        (self.before.start, self.before.end) = (start, end);
        Ok(Place { start: Some(start), end })
    }

    /// The row that was read last.
    pub(super) fn row(&self, read: &Read<'_>) -> Result<Row, Unusable> {
        let record = &read.record;
        let start = match read.place {
            None => None,
            Some(Place { start: Some(at), .. }) => self.starts.get(at).cloned(),
            Some(Place { start: None, .. }) => {
                let at = record.data_offset;
                Some(Start { compressed: at, uncompressed: at, state: State::Plain })
            }
        };
        let digest = record.digest.map(Digest::of_sha256);
        let content = read.place.zip(start).map(|(Place { end, .. }, start)| Located { start, end, digest });
        Ok(Row { entry: self.entry(record)?, implied: record.mark() == IMPLIED, content })
    }

    fn entry(&self, record: &Record<'_>) -> Result<Entry, Unusable> {
        let (major, minor) = ((record.size >> 32) as u32, record.size as u32);
        let kind = match record.kind() {
            FILE => Kind::File { size: record.size, sparse: false },
            SPARSE => Kind::File { size: record.size, sparse: true },
            DIRECTORY => Kind::Directory,
            SYMLINK => Kind::Symlink(record.target.to_vec()),
            HARD_LINK => Kind::HardLink(record.target.to_vec()),
            CHAR_DEVICE => Kind::Special(Special::CharDevice(major, minor)),
            BLOCK_DEVICE => Kind::Special(Special::BlockDevice(major, minor)),
            _ => Kind::Special(Special::Fifo),
        };
        let path = self.path(record.mark())?;
        let is_wrong = match &kind {
            Kind::Directory => false,
            Kind::HardLink(target) => path.is_empty() || !is_canonical(target),
            _ => path.is_empty(),
        };
        if is_wrong || (record.mark() == IMPLIED && kind != Kind::Directory) {
            return Err(Unusable::new("a row of the table is nothing that a tar can have"));
        }
        let (mut xattrs, mut rest) = (Vec::new(), Bytes(record.xattrs));
        while !rest.is_empty() {
            xattrs.push((rest.string(MAX_DECODED)?.to_vec(), rest.string(MAX_DECODED)?.to_vec()));
        }
        Ok(Entry {
            path,
            kind,
            mode: record.mode,
            uid: record.uid,
            gid: record.gid,
            mtime: (record.seconds, record.nanoseconds),
            xattrs,
            header_offset: record.header_offset,
            data_offset: record.data_offset,
        })
    }

    /// The path as the tar has it.
    fn path(&self, mark: u8) -> Result<Vec<u8>, Unusable> {
        let key = self.key.as_slice();
        let mut path = Vec::with_capacity(key.len() + 1 + OPAQUE_NAME.len());
        let behind = match (mark, key.iter().rposition(|byte| *byte == 0)) {
            (WHITEOUT, Some(slash)) => {
                path.extend_from_slice(&key[..=slash]);
                path.extend_from_slice(WHITEOUT_PREFIX);
                &key[slash + 1..]
            }
            (WHITEOUT, None) if key.is_empty() => return Err(Unusable::new("the root has a whiteout in the table")),
            (WHITEOUT, None) => {
                path.extend_from_slice(WHITEOUT_PREFIX);
                key
            }
            _ => key,
        };
        path.extend_from_slice(behind);
        if mark == OPAQUE {
            if !path.is_empty() {
                path.push(0);
            }
            path.extend_from_slice(OPAQUE_NAME);
        }
        if path.contains(&b'/') {
            return Err(Unusable::new("a name in the table has a slash in it"));
        }
        for byte in path.iter_mut().filter(|byte| **byte == 0) {
            *byte = b'/';
        }
        match is_canonical(&path) && meant(&path).is_some_and(|(meant, ..)| meant == mark % IMPLIED) {
            true => Ok(path),
            false => Err(Unusable::new("a name in the table is none that a table can have")),
        }
    }
}

/// Whether `path` is one that could be an [`Entry`]'s.
fn is_canonical(path: &[u8]) -> bool {
    path.is_empty() || path.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
}
