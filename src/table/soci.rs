//! SOCI: layers as they are, with a table of contents (a *zTOC*) beside each, in a blob of its own. It has the layer's entries as the tar has
//! them, and cuts the layer as it is stored into *spans*: each has a digest, and a state with which a decoder can begin there.
//! Written by `soci` (soci-snapshotter); a FlatBuffer of the schema `ztoc/fbs/ztoc.fbs` there, of version 0.9.

mod flat;
mod spans;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

use self::flat::{Damaged, Fields};
use self::spans::Spans;
pub use self::spans::Stretch;
use super::{Contents, Unusable, WholeTable, time};
use crate::layer::content::DataOffset;
use crate::layer::entry::Special;
use crate::layer::{AtRoot, Compression, Entry, Kind, MAX_NAME, canonical};

/// The numbers of fields, as the schema has them in order.
mod ztoc {
    pub(super) const VERSION: usize = 0;
    pub(super) const COMPRESSED_ARCHIVE_SIZE: usize = 2;
    pub(super) const UNCOMPRESSED_ARCHIVE_SIZE: usize = 3;
    pub(super) const TOC: usize = 4;
    pub(super) const COMPRESSION_INFO: usize = 5;
}
mod toc {
    pub(super) const METADATA: usize = 0;
}
mod file {
    pub(super) const NAME: usize = 0;
    pub(super) const TYPE: usize = 1;
    pub(super) const UNCOMPRESSED_OFFSET: usize = 2;
    pub(super) const UNCOMPRESSED_SIZE: usize = 3;
    pub(super) const LINKNAME: usize = 4;
    pub(super) const MODE: usize = 5;
    pub(super) const UID: usize = 6;
    pub(super) const GID: usize = 7;
    pub(super) const MOD_TIME: usize = 10;
    pub(super) const DEVMAJOR: usize = 11;
    pub(super) const DEVMINOR: usize = 12;
    pub(super) const XATTRS: usize = 13;
}
mod xattr {
    pub(super) const KEY: usize = 0;
    pub(super) const VALUE: usize = 1;
}

/// The only version there is.
const KNOWN_VERSION: &[u8] = b"0.9";

/// A tar's blocks are so many bytes long. Each entry begins with one at least, its header.
const BLOCK: u64 = 512;

/// A zTOC. Its bytes are held as they are stored, and read anew for each question.
#[derive(Clone, PartialEq, Eq)]
pub struct Ztoc {
    stored: Vec<u8>,
    /// The length of the layer's tar in bytes, as far as it is one.
    uncompressed: u64,
    spans: Spans,
}

impl fmt::Debug for Ztoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ztoc of {} bytes, {:?}", self.stored.len(), self.spans)
    }
}

impl From<Damaged> for Unusable {
    fn from(_: Damaged) -> Self {
        Unusable::new("it is not laid out as a zTOC is")
    }
}

impl Ztoc {
    /// The zTOC that is `stored` so, of a layer of `size` bytes as stored.
    pub fn new(stored: Vec<u8>, size: u64) -> Result<Self, Unusable> {
        let root = Fields::root(&stored)?;
        let version = root.bytes(ztoc::VERSION)?;
        if version != KNOWN_VERSION {
            return Err(Unusable::new(format!("it is of version {}, which is not known", shown(version))));
        }
        let told = root.long(ztoc::COMPRESSED_ARCHIVE_SIZE)?;
        if u64::try_from(told).ok() != Some(size) {
            return Err(Unusable::new(format!("it is of a layer of {told} bytes, and the layer has {size}")));
        }
        let uncompressed = root.long(ztoc::UNCOMPRESSED_ARCHIVE_SIZE)?;
        let uncompressed = u64::try_from(uncompressed)
            .map_err(|_| Unusable::new(format!("it is of a tar of {uncompressed} bytes")))?;
        let info = root.fields(ztoc::COMPRESSION_INFO)?.ok_or(Damaged)?;
        let spans = Spans::new(&stored, &info, size)?;
        Ok(Ztoc { uncompressed, spans, stored })
    }
}

impl WholeTable for Ztoc {
    fn compression(&self) -> Compression {
        self.spans.compression()
    }

    /// [`Entry::data_offset`] is where the tar has it.
    fn entries(&self, visit: &mut dyn FnMut(&Entry) -> Result<(), Unusable>) -> Result<(), Unusable> {
        let Some(toc) = Fields::root(&self.stored)?.fields(ztoc::TOC)? else { return Ok(()) };
        let files = toc.elements(toc::METADATA)?;
        // Each string is written once. Were they shared, a short table could take long to read.
        let mut cost = self.stored.len();
        let mut position = 0;
        for index in 0..files.count() {
            let entry = entry(&files.fields(index)?, position, &mut cost)?;
            let size = match entry.kind {
                Kind::File { size, .. } => size,
                _ => 0,
            };
            let end = entry.data_offset.checked_add(size).filter(|end| *end <= self.uncompressed);
            let next = end.and_then(|end| end.checked_next_multiple_of(BLOCK));
            position = next.ok_or_else(|| contradiction(&entry.path, "reaches over the end of the layer's tar"))?;
            visit(&entry)?;
        }
        Ok(())
    }

    /// No two stretches have a span in common.
    fn contents(&self, wanted: &HashSet<DataOffset>) -> Result<Contents, Unusable> {
        let (mut stretches, mut empty): (Vec<Neighbours>, Vec<_>) = Default::default();
        self.entries(&mut |entry| {
            let (Kind::File { size, .. }, data) = (&entry.kind, DataOffset(entry.data_offset)) else { return Ok(()) };
            if !wanted.contains(&data) {
                return Ok(());
            }
            if *size == 0 {
                empty.push((data, 0));
                return Ok(());
            }
            let spans = self.spans.holding(&self.stored, data.0..data.0 + size);
            match stretches.last_mut() {
                Some((last, contents)) if spans.start <= last.end => {
                    last.end = last.end.max(spans.end);
                    contents.push((data, *size));
                }
                _ => stretches.push((spans, vec![(data, *size)])),
            }
            Ok(())
        })?;
        let info = Fields::root(&self.stored)?.fields(ztoc::COMPRESSION_INFO)?.ok_or(Damaged)?;
        let stretch = |(spans, contents)| self.spans.stretch(&self.stored, &info, spans, contents);
        let stretches =
            stretches.into_iter().map(stretch).chain((!empty.is_empty()).then(|| Ok(Stretch::of_nothing(empty))));
        stretches.collect::<Result<_, _>>().map(Contents::Spans)
    }
}

/// Spans that lie side by side, and what is wanted of them: where it is in the tar, and its length in bytes.
type Neighbours = (Range<usize>, Vec<(DataOffset, u64)>);

/// The entry that these `fields` tell, which does not begin before `position` in the tar. What it takes to read it comes off `cost`.
fn entry(fields: &Fields<'_>, position: u64, cost: &mut usize) -> Result<Entry, Unusable> {
    let (name, target) = (fields.bytes(file::NAME)?, fields.bytes(file::LINKNAME)?);
    let mut pay = |length: usize| {
        *cost = cost.checked_sub(length).ok_or_else(|| Unusable::new("it has more text than bytes"))?;
        Ok::<_, Unusable>(())
    };
    pay(name.len() + target.len())?;
    let number = |field| -> Result<u64, Unusable> {
        u64::try_from(fields.long(field)?).map_err(|_| contradiction(name, "has a number below zero"))
    };
    let device = |field| -> Result<u32, Unusable> {
        u32::try_from(number(field)?).map_err(|_| contradiction(name, "is a device that cannot be"))
    };
    let named =
        |raw, at_root| canonical(raw, at_root).map_err(|_| contradiction(raw, "is a name that no layer can have"));
    if name.contains(&0) || target.contains(&0) {
        return Err(contradiction(name, "is a name that no layer can have"));
    }
    let path = named(name, AtRoot::Stay)?;
    let kind = match fields.bytes(file::TYPE)? {
        b"reg" => Kind::File { size: number(file::UNCOMPRESSED_SIZE)?, sparse: false },
        b"dir" => Kind::Directory,
        b"symlink" if target.len() <= MAX_NAME => Kind::Symlink(target.to_vec()),
        b"hardlink" => Kind::HardLink(named(target, AtRoot::Refuse)?),
        b"char" => Kind::Special(Special::CharDevice(device(file::DEVMAJOR)?, device(file::DEVMINOR)?)),
        b"block" => Kind::Special(Special::BlockDevice(device(file::DEVMAJOR)?, device(file::DEVMINOR)?)),
        b"fifo" => Kind::Special(Special::Fifo),
        _ => return Err(contradiction(name, "is of a type that is not known")),
    };
    if path.is_empty() && kind != Kind::Directory {
        return Err(contradiction(name, "has the root's name, and is no directory"));
    }
    let data_offset = number(file::UNCOMPRESSED_OFFSET)?;
    let is_behind = position.checked_add(BLOCK).is_some_and(|least| least <= data_offset);
    if !is_behind || data_offset % BLOCK != 0 {
        return Err(contradiction(name, "does not lie behind the entry before it"));
    }
    let mtime = fields.bytes(file::MOD_TIME)?;
    pay(mtime.len())?;
    let mtime = std::str::from_utf8(mtime).ok().and_then(time::parse);
    let mtime = mtime.ok_or_else(|| contradiction(name, "has a time that is none"))?;
    let mut xattrs = BTreeMap::new();
    let records = fields.elements(file::XATTRS)?;
    pay(records.count().saturating_mul(4))?;
    for index in 0..records.count() {
        let record = records.fields(index)?;
        let (key, value) = (record.bytes(xattr::KEY)?, record.bytes(xattr::VALUE)?);
        pay(key.len() + value.len())?;
        // These are all PAX records of the entry, whatever the schema calls them. Where the content is that is stored with holes they do
        // not tell.
        if key.starts_with(b"GNU.sparse.") {
            return Err(contradiction(name, "is stored with holes, of which it does not tell"));
        }
        if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
            if attribute.contains(&0) {
                return Err(contradiction(name, "has an attribute that no file can have"));
            }
            xattrs.insert(attribute.to_vec(), value.to_vec());
        }
    }
    Ok(Entry {
        path,
        kind,
        mode: (fields.long(file::MODE)? & 0o7777) as u32,
        uid: fields.unsigned(file::UID)?.into(),
        gid: fields.unsigned(file::GID)?.into(),
        mtime,
        xattrs: xattrs.into_iter().collect(),
        header_offset: position,
        data_offset,
    })
}

/// A zTOC in which the entry of this `name` has a `problem`.
fn contradiction(name: &[u8], problem: &str) -> Unusable {
    Unusable::new(format!("\"{}\" {problem}", shown(name)))
}

fn shown(text: &[u8]) -> String {
    let shown: String = String::from_utf8_lossy(&text[..text.len().min(320)]).chars().take(80).collect();
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests;
