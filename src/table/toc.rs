//! The JSON that eStargz and zstd:chunked share, which both have from CRFS: a list of entries, where a file of several chunks is followed
//! by an entry for each further one. It is read as it comes, and no more of it is held than one file's entries.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Unusable, time};
use crate::image::digest::Digest;
use crate::layer::entry::Special;
use crate::layer::{AtRoot, Entry, Kind, MAX_NAME, canonical};

/// All zeros that a table tells of together are at most so many times the layer as it is stored. That is what zstd makes of zeros: a block
/// of 128 KiB takes four bytes (RFC 8878, section 3.1.1.2).
const MAX_ZEROS: u64 = 32 << 10;

/// There are at most so many chunks behind the first ones of their files, and one more for so many bytes of the table as it is stored. A
/// digest that is no other's takes 32 bytes however it is compressed, and a chunk is held with 150.
const FREE_CHUNKS: u64 = 4096;
const STORED_PER_CHUNK: u64 = 16;

/// An entry takes at most so many bytes of JSON, all of which may be one name or attribute and so be held. In a tar, the headers of an
/// entry have no more than a mebibyte each.
const MAX_WRITTEN: u64 = 4 << 20;

/// An entry, with what the table says of its content.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) entry: Entry,
    /// What its content is put together of, in order. None where it has none.
    pub(super) chunks: Vec<Chunk>,
    /// Where in the blob its content ends, where that is told.
    pub(super) end: Option<u64>,
    /// The digest of its content, where there is one.
    pub(super) digest: Option<Digest>,
}

/// A part of a file.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Where in the blob the frame or member begins that holds it.
    pub(super) start: u64,
    /// How many decoded bytes come before it there.
    pub(super) inner: u64,
    /// Bytes from the start of the file.
    offset: u64,
    /// Its length in bytes.
    pub(super) size: u64,
    pub(super) digest: Option<Digest>,
    pub(super) is_zeros: bool,
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    name: String,
    r#type: String,
    #[serde(default)]
    size: u64,
    modtime: Option<String>,
    #[serde(default)]
    link_name: String,
    #[serde(default)]
    mode: u64,
    #[serde(default)]
    uid: u64,
    #[serde(default)]
    gid: u64,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    end_offset: u64,
    #[serde(default)]
    inner_offset: u64,
    #[serde(default)]
    dev_major: u32,
    #[serde(default)]
    dev_minor: u32,
    xattrs: Option<BTreeMap<String, String>>,
    digest: Option<String>,
    #[serde(default)]
    chunk_offset: u64,
    #[serde(default)]
    chunk_size: u64,
    chunk_digest: Option<String>,
    chunk_type: Option<String>,
}

/// Puts entries together, and sees that they do not contradict one another.
pub(super) struct Assembling {
    /// Where in the blob all contents end.
    end: u64,
    /// How many zeros may still be told of.
    zeros: u64,
    /// How many chunks behind the first of its file there may still be.
    chunks: u64,
    /// How many entries there were.
    count: u64,
    /// The latest entry, which chunks may follow, with its name as it is written.
    latest: Option<(String, Listed)>,
}

/// Hands each entry in `json` to `each`.
pub(super) fn parse(
    json: &mut dyn Read,
    mut assembling: Assembling,
    each: &mut dyn FnMut(Listed) -> Result<(), Unusable>,
) -> Result<(), Unusable> {
    let mut refused = None;
    let left = Cell::new(MAX_WRITTEN);
    let mut visit = |written| {
        left.set(MAX_WRITTEN);
        assembling.take(written, each).map_err(|unusable| {
            refused = Some(unusable);
        })
    };
    let mut json = serde_json::Deserializer::from_reader(Metered { json: BufReader::new(json), left: &left });
    let parsed = Toc { visit: &mut visit }.deserialize(&mut json).and_then(|()| json.end());
    match (refused, parsed) {
        (Some(unusable), _) => Err(unusable),
        (None, Err(error)) => Err(Unusable::new(format!("it cannot be read: {error}"))),
        (None, Ok(())) => assembling.finish(each),
    }
}

/// What is read of one entry, as far as an entry goes.
struct Metered<'a, R> {
    json: R,
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::Error::other(format!("an entry has more than {MAX_WRITTEN} bytes")));
        }
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.json.read(&mut buffer[..most])?;
        self.left.set(left - read as u64);
        Ok(read)
    }
}

impl Assembling {
    /// For the table, of `stored` bytes, of a layer of `size` bytes, whose contents end at `end`: all as stored.
    pub(super) fn new(end: u64, size: u64, stored: u64) -> Self {
        let chunks = FREE_CHUNKS + stored / STORED_PER_CHUNK;
        Assembling { end, zeros: size.saturating_mul(MAX_ZEROS), chunks, count: 0, latest: None }
    }

    fn take(
        &mut self,
        mut written: Written,
        each: &mut dyn FnMut(Listed) -> Result<(), Unusable>,
    ) -> Result<(), Unusable> {
        if written.r#type == "chunk" {
            let Some((name, latest)) = &mut self.latest else {
                return Err(Unusable::new("it begins with a chunk of no file"));
            };
            if !matches!(latest.entry.kind, Kind::File { .. }) || !(written.name.is_empty() || written.name == *name) {
                return Err(contradiction(name, "is followed by a chunk of something else"));
            }
            let left = self.chunks.checked_sub(1);
            self.chunks = left.ok_or_else(|| contradiction(name, "has more chunks than a table so short can have"))?;
            latest.chunks.push(written.chunk(name)?);
            return Ok(());
        }
        self.hand_on(each)?;
        self.count += 1;
        let name = std::mem::take(&mut written.name);
        let entry = written.entry(&name, self.count)?;
        let (mut chunks, mut digest) = (Vec::new(), None);
        if let Kind::File { .. } = entry.kind {
            digest = digest_of(written.digest.take(), &name)?;
            chunks.push(written.chunk(&name)?);
        }
        let end = (written.end_offset > 0).then_some(written.end_offset);
        self.latest = Some((name, Listed { entry, chunks, end, digest }));
        Ok(())
    }

    fn finish(mut self, each: &mut dyn FnMut(Listed) -> Result<(), Unusable>) -> Result<(), Unusable> {
        self.hand_on(each)
    }

    /// Hands on the latest entry, which is complete.
    fn hand_on(&mut self, each: &mut dyn FnMut(Listed) -> Result<(), Unusable>) -> Result<(), Unusable> {
        let Some((name, mut listed)) = self.latest.take() else { return Ok(()) };
        if let Kind::File { size, .. } = listed.entry.kind {
            self.check(&mut listed, size).map_err(|problem| contradiction(&name, problem))?;
        }
        each(listed)
    }

    /// Sees that the chunks of a file of `size` bytes are all of it, lie in the blob, in their order, and can be verified.
    fn check(&mut self, listed: &mut Listed, size: u64) -> Result<(), &'static str> {
        let Listed { chunks, end, digest, .. } = listed;
        if size == 0 {
            let is_nothing = |digest: &Digest| digest.is_of_nothing();
            let is_empty = chunks.iter().all(|chunk| chunk.size == 0 && chunk.digest.as_ref().is_none_or(is_nothing));
            if chunks.len() > 1 || !is_empty || !digest.as_ref().is_none_or(is_nothing) {
                return Err("has no bytes, and content");
            }
            chunks.clear();
            return Ok(());
        }
        let (mut position, mut before) = (0_u64, None);
        let count = chunks.len();
        for (index, chunk) in chunks.iter_mut().enumerate() {
            let left = size.checked_sub(position).filter(|left| *left > 0).ok_or("has more chunks than bytes")?;
            if chunk.size == 0 && index + 1 == count {
                chunk.size = left;
            }
            if chunk.offset != position || chunk.size == 0 || chunk.size > left {
                return Err("has chunks that do not fit together");
            }
            position += chunk.size;
            if chunk.is_zeros {
                self.zeros = self.zeros.checked_sub(chunk.size).ok_or("has more zeros than the layer can have")?;
                continue;
            }
            if chunk.start == 0 || chunk.start >= self.end {
                return Err("has content outside of the layer's contents");
            }
            if before.is_some_and(|before| before >= (chunk.start, chunk.inner)) {
                return Err("has chunks that do not lie in their order");
            }
            before = Some((chunk.start, chunk.inner));
            if digest.is_none() && chunk.digest.is_none() {
                return Err("has no digest");
            }
        }
        if position != size {
            return Err("has fewer bytes in its chunks than in all");
        }
        let is_behind = |end: &u64| *end <= self.end && before.is_none_or(|(start, _)| start < *end);
        if !end.as_ref().is_none_or(is_behind) {
            return Err("has content that ends before it begins, or outside of the layer's contents");
        }
        Ok(())
    }
}

impl Written {
    /// The entry of this `name`, the `count`th.
    fn entry(&mut self, name: &str, count: u64) -> Result<Entry, Unusable> {
        // What is no UTF-8 in a tar, JSON cannot hold.
        if [name, &self.link_name].iter().any(|name| name.contains(char::REPLACEMENT_CHARACTER)) {
            return Err(contradiction(name, "has a name that JSON cannot hold"));
        }
        let mut attributes = self.xattrs.iter().flat_map(BTreeMap::keys);
        if [name, &self.link_name].iter().any(|name| name.contains('\0')) || attributes.any(|key| key.contains('\0')) {
            return Err(contradiction(name, "has a NUL in a name"));
        }
        let named = |name: &str, at_root| {
            canonical(name.as_bytes(), at_root).map_err(|_| contradiction(name, "is a name that no layer can have"))
        };
        let path = named(name, AtRoot::Stay)?;
        let kind = match self.r#type.as_str() {
            "reg" => Kind::File { size: self.size, sparse: false },
            "dir" => Kind::Directory,
            "symlink" if self.link_name.len() <= MAX_NAME => {
                Kind::Symlink(std::mem::take(&mut self.link_name).into_bytes())
            }
            "hardlink" => Kind::HardLink(named(&self.link_name, AtRoot::Refuse)?),
            "char" => Kind::Special(Special::CharDevice(self.dev_major, self.dev_minor)),
            "block" => Kind::Special(Special::BlockDevice(self.dev_major, self.dev_minor)),
            "fifo" => Kind::Special(Special::Fifo),
            _ => return Err(contradiction(name, "is of a type that is not known")),
        };
        if path.is_empty() && kind != Kind::Directory {
            return Err(contradiction(name, "has the root's name, and is no directory"));
        }
        let mtime = match self.modtime.as_deref() {
            None | Some("") => (0, 0),
            Some(text) => time::parse(text).ok_or_else(|| contradiction(name, "has a time that is none"))?,
        };
        let xattrs = std::mem::take(&mut self.xattrs).unwrap_or_default().into_iter().map(|(key, value)| {
            let value =
                STANDARD.decode(value).map_err(|_| contradiction(name, "has an attribute that is not base64"))?;
            Ok((key.into_bytes(), value))
        });
        Ok(Entry {
            path,
            kind,
            mode: (self.mode & 0o7777) as u32,
            uid: self.uid,
            gid: self.gid,
            mtime,
            xattrs: xattrs.collect::<Result<_, Unusable>>()?,
            header_offset: count,
            data_offset: count,
        })
    }

    /// What it says of one chunk.
    fn chunk(&mut self, name: &str) -> Result<Chunk, Unusable> {
        let is_zeros = match self.chunk_type.as_deref() {
            None | Some("") => false,
            Some("zeros") => true,
            Some(_) => return Err(contradiction(name, "has a chunk of a type that is not known")),
        };
        Ok(Chunk {
            start: self.offset,
            inner: self.inner_offset,
            offset: self.chunk_offset,
            size: self.chunk_size,
            digest: digest_of(self.chunk_digest.take(), name)?,
            is_zeros,
        })
    }
}

fn digest_of(written: Option<String>, name: &str) -> Result<Option<Digest>, Unusable> {
    let written = written.filter(|written| !written.is_empty()).map(|written| written.parse());
    written.transpose().map_err(|_| contradiction(name, "has a digest that cannot be verified"))
}

/// A table in which the entry of this `name`, as it is written, has a `problem`.
fn contradiction(name: &str, problem: &str) -> Unusable {
    let shown: String = name.chars().take(80).collect();
    Unusable::new(format!("\"{}\" {problem}", shown.escape_debug()))
}

type Visit<'a> = dyn FnMut(Written) -> Result<(), ()> + 'a;

/// The whole of the JSON.
struct Toc<'a> {
    visit: &'a mut Visit<'a>,
}

impl<'de> DeserializeSeed<'de> for Toc<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Toc<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut version, mut has_entries) = (None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => version = Some(map.next_value::<u64>()?),
                "entries" if has_entries => return Err(A::Error::custom("there are two lists of entries")),
                "entries" => {
                    has_entries = true;
                    map.next_value_seed(Entries(&mut *self.visit))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (version, has_entries) {
            (Some(1), true) => Ok(()),
            (Some(1), false) => Err(A::Error::custom("there is no list of entries")),
            _ => Err(A::Error::custom("its version is not 1")),
        }
    }
}

/// The list of entries; `null` where there is none.
struct Entries<'a, 'v>(&'a mut Visit<'v>);

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(written) = sequence.next_element()? {
            (self.0)(written).map_err(|()| A::Error::custom("an entry is refused"))?;
        }
        Ok(())
    }
}
