//! Writes tar members, well formed and otherwise. An [`Entry`] is described in one line and becomes exactly the bytes that
//! some real archiver (or attacker) would have written; nothing is normalised or refused.

use tar::{EntryType, Header};

use super::block::{Block, END, pax_record, put};
use super::sparse::{self, SparseFormat};

/// The modification time of every entry that names none: the same in every run, so that digests are too.
pub const DEFAULT_MTIME: u64 = 1_700_000_000;

/// One tar member.
#[derive(Clone)]
pub struct Entry {
    name: Vec<u8>,
    kind: EntryType,
    target: Vec<u8>,
    content: Vec<u8>,
    mode: u32,
    mtime: u64,
    owner: (u64, u64),
    device: (u32, u32),
    records: Vec<(Vec<u8>, Vec<u8>)>,
    names: Names,
    sparse: Option<(SparseFormat, sparse::Map)>,
    tamper: Option<fn(&mut Header)>,
    tamper_checked: Option<fn(&mut Header)>,
    raw: bool,
}

/// How names that do not fit a plain header are written. A name of up to 100 bytes stays in the header unless asked.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    PaxWhereTooLong,
    Pax,
    Gnu,
    UstarPrefix,
}

/// A regular file.
pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    Entry { content: content.as_ref().to_vec(), ..Entry::new(name, EntryType::Regular, 0o644) }
}

/// A directory. Its name gets a trailing slash, as every archiver writes it.
pub fn dir(name: impl AsRef<[u8]>) -> Entry {
    let mut name = name.as_ref().to_vec();
    if !name.ends_with(b"/") {
        name.push(b'/');
    }
    Entry::new(name, EntryType::Directory, 0o755)
}

/// A symbolic link.
pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    Entry { target: target.as_ref().to_vec(), ..Entry::new(name, EntryType::Symlink, 0o777) }
}

/// A hard link to the entry named `target`.
pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    Entry { target: target.as_ref().to_vec(), ..Entry::new(name, EntryType::Link, 0o644) }
}

/// The whiteout that deletes `path` (image-spec, *Whiteouts*).
pub fn whiteout(path: &str) -> Entry {
    match path.rsplit_once('/') {
        Some((parent, name)) => file(format!("{parent}/.wh.{name}"), ""),
        None => file(format!(".wh.{path}"), ""),
    }
}

/// The whiteout that empties the directory `path` of what lower layers put there (image-spec, *Opaque Whiteout*).
pub fn opaque(path: &str) -> Entry {
    file(format!("{path}/.wh..wh..opq"), "")
}

/// A character device node.
pub fn char_device(name: &str, major: u32, minor: u32) -> Entry {
    Entry { device: (major, minor), ..Entry::new(name, EntryType::Char, 0o600) }
}

/// A block device node.
pub fn block_device(name: &str, major: u32, minor: u32) -> Entry {
    Entry { device: (major, minor), ..Entry::new(name, EntryType::Block, 0o600) }
}

/// A named pipe.
pub fn fifo(name: &str) -> Entry {
    Entry::new(name, EntryType::Fifo, 0o644)
}

/// A file of `size` bytes that is all hole but for `data`, pieces of content with the offsets they start at.
pub fn sparse_file(name: &str, format: SparseFormat, size: u64, data: &[(u64, &[u8])]) -> Entry {
    let map = sparse::Map::new(size, data);
    let content = data.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    Entry { content, sparse: Some((format, map)), ..Entry::new(name, EntryType::Regular, 0o644) }
}

/// A PAX header for all entries that follow (`g`), with these records.
pub fn global_pax(records: &[(&str, &str)]) -> Entry {
    let content = records.iter().flat_map(|(key, value)| pax_record(key.as_bytes(), value.as_bytes())).collect();
    Entry { content, ..Entry::new("pax_global_header", EntryType::XGlobalHeader, 0o644) }
}

/// An entry of any type, by the byte in its header.
pub fn typed(name: &str, type_flag: u8, content: impl AsRef<[u8]>) -> Entry {
    Entry { content: content.as_ref().to_vec(), ..Entry::new(name, EntryType::new(type_flag), 0o644) }
}

/// These bytes between two entries, as they are.
pub fn raw(bytes: impl AsRef<[u8]>) -> Entry {
    Entry { content: bytes.as_ref().to_vec(), raw: true, ..Entry::new("", EntryType::Regular, 0) }
}

/// A tar of these members, with its end mark.
pub fn tar_of(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let mut tar = Vec::new();
    entries.into_iter().for_each(|entry| entry.write(&mut tar));
    tar.extend(END);
    tar
}

impl Entry {
    fn new(name: impl AsRef<[u8]>, kind: EntryType, mode: u32) -> Self {
        Entry {
            name: name.as_ref().to_vec(),
            kind,
            target: Vec::new(),
            content: Vec::new(),
            mode,
            mtime: DEFAULT_MTIME,
            owner: (0, 0),
            device: (0, 0),
            records: Vec::new(),
            names: Names::PaxWhereTooLong,
            sparse: None,
            tamper: None,
            tamper_checked: None,
            raw: false,
        }
    }

    /// The permission bits, setuid and its kin included.
    pub fn mode(self, mode: u32) -> Self {
        Entry { mode, ..self }
    }

    /// The modification time, in seconds since 1970.
    pub fn mtime(self, mtime: u64) -> Self {
        Entry { mtime, ..self }
    }

    /// The owner's user ID and group ID.
    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Entry { owner: (uid, gid), ..self }
    }

    /// An extended attribute, as a `SCHILY.xattr` record.
    pub fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax_bytes(format!("SCHILY.xattr.{name}").as_bytes(), value)
    }

    /// A PAX record of this entry.
    pub fn pax(self, key: &str, value: &str) -> Self {
        self.pax_bytes(key.as_bytes(), value.as_bytes())
    }

    fn pax_bytes(mut self, key: &[u8], value: &[u8]) -> Self {
        self.records.push((key.to_vec(), value.to_vec()));
        self
    }

    /// Writes the name (and link target) as PAX records, however short.
    pub fn pax_names(self) -> Self {
        Entry { names: Names::Pax, ..self }
    }

    /// Writes the name (and link target) as GNU `@LongLink` entries, however short.
    pub fn gnu_names(self) -> Self {
        Entry { names: Names::Gnu, ..self }
    }

    /// Writes the name's directories into the ustar header's `prefix` field.
    pub fn ustar_prefix(self) -> Self {
        Entry { names: Names::UstarPrefix, ..self }
    }

    /// Changes the finished header before its checksum is computed.
    pub fn tamper(self, change: fn(&mut Header)) -> Self {
        Entry { tamper: Some(change), ..self }
    }

    /// Changes the finished header after its checksum was computed, which makes it wrong.
    pub fn corrupt(self, change: fn(&mut Header)) -> Self {
        Entry { tamper_checked: Some(change), ..self }
    }

    /// Appends the entry to the tar `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.raw {
            out.extend_from_slice(&self.content);
            return;
        }
        let mut records = self.records.clone();
        let mut header = Header::new_ustar();
        let mut name = self.name.clone();
        let mut stored = self.content.len() as u64;
        let mut inline_map = Vec::new();
        let mut map_blocks = Vec::new();
        header.set_entry_type(self.kind);
        if let Some((format, map)) = &self.sparse {
            match format {
                SparseFormat::Gnu => {
                    header = Header::new_gnu();
                    header.set_entry_type(EntryType::GNUSparse);
                    map_blocks = map.write_gnu(&mut header);
                }
                _ => {
                    records.extend(map.pax_records(*format, &self.name));
                    inline_map = map.inline(*format);
                    name = sparse::placeholder_name(*format, &self.name);
                    stored += inline_map.len() as u64;
                }
            }
        }
        let too_long = name.len() > 100 || self.target.len() > 100;
        let prefix = if self.names == Names::UstarPrefix { take_prefix(&mut name) } else { Vec::new() };
        match self.names {
            Names::Gnu => {
                write_gnu_name(out, b'L', &name);
                if !self.target.is_empty() {
                    write_gnu_name(out, b'K', &self.target);
                }
            }
            Names::Pax => records.extend(self.name_records(&name)),
            Names::PaxWhereTooLong if too_long => records.extend(self.name_records(&name)),
            Names::PaxWhereTooLong | Names::UstarPrefix => {}
        }
        if !records.is_empty() {
            let content: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            out.extend(Block::new("PaxHeaders/entry", b'x', content.len() as u64).with(content));
        }
        header.set_mode(self.mode);
        header.set_mtime(self.mtime);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_size(stored);
        if self.kind.is_character_special() || self.kind.is_block_special() {
            header.set_device_major(self.device.0).expect("a device number field");
            header.set_device_minor(self.device.1).expect("a device number field");
        }
        put(&mut header.as_old_mut().name, &name);
        put(&mut header.as_old_mut().linkname, &self.target);
        if let Some(ustar) = header.as_ustar_mut() {
            put(&mut ustar.prefix, &prefix);
        }
        if let Some(change) = self.tamper {
            change(&mut header);
        }
        let data = [&map_blocks[..], &inline_map, &self.content].concat();
        out.extend(Block::of(header).corrupted(self.tamper_checked, data));
    }

    fn name_records(&self, name: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut records = vec![(b"path".to_vec(), name.to_vec())];
        if !self.target.is_empty() {
            records.push((b"linkpath".to_vec(), self.target.clone()));
        }
        records
    }
}

/// Splits the directories off `name`, as far as the header's `prefix` field goes, and returns them.
fn take_prefix(name: &mut Vec<u8>) -> Vec<u8> {
    let body = name.strip_suffix(b"/").unwrap_or(name);
    let Some(slash) = body.iter().rposition(|byte| *byte == b'/') else { return Vec::new() };
    let prefix = name[..slash].to_vec();
    name.drain(..=slash);
    prefix
}

fn write_gnu_name(out: &mut Vec<u8>, kind: u8, name: &[u8]) {
    let content = [name, b"\0"].concat();
    out.extend(Block::new("././@LongLink", kind, content.len() as u64).gnu().with(content));
}
