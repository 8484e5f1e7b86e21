//! Writes layers that carry a table of their contents: eStargz and zstd:chunked, from any tar of plain entries. What the table says can be
//! changed before its digest is taken.

use std::io::{Cursor, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use super::entry::{file, tar_of};
use super::image::sha256;

/// Files are stored in chunks of this many bytes.
pub const CHUNK: usize = 40_000;

/// A layer of less than 64 KiB is read, whatever table it has. So much is put in front of every one here, twice, where no tar is.
const PADDING: usize = 40_000;

/// A kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    Estargz,
    ZstdChunked,
}

/// Both kinds.
pub const TABLE_FORMATS: [TableFormat; 2] = [TableFormat::Estargz, TableFormat::ZstdChunked];

/// A layer with a table.
#[derive(Clone)]
pub struct Tabled {
    /// What it is when it is decompressed.
    pub tar: Vec<u8>,
    /// As it is stored.
    pub bytes: Vec<u8>,
    /// Of its descriptor.
    pub annotations: Value,
    /// How many bytes the table has, as stored.
    pub table: usize,
}

/// One member of a tar.
struct Member {
    /// What the table says of it.
    entry: Map<String, Value>,
    /// Where its content begins, and how much it is.
    start: usize,
    size: usize,
}

/// The layer that this `tar` is, whose table is changed by `edit`.
pub fn tabled(tar: &[u8], format: TableFormat, edit: &dyn Fn(&mut Value)) -> Tabled {
    let mut writer = Writer { format, out: Vec::new(), pending: Vec::new() };
    let mut entries = Vec::new();
    let mut copied = 0;
    writer.pad();
    for Member { mut entry, start, size } in members(tar) {
        writer.pending.extend_from_slice(&tar[copied..start]);
        copied = start + size;
        if size == 0 {
            entries.push(Value::Object(entry));
            continue;
        }
        let content = &tar[start..copied];
        entry.insert("digest".to_owned(), json!(sha256(content)));
        let count = content.len().div_ceil(CHUNK);
        let name = entry["name"].clone();
        let mut chunks = vec![entry];
        chunks.extend(
            (1..count)
                .map(|_| Map::from_iter([("type".to_owned(), json!("chunk")), ("name".to_owned(), name.clone())])),
        );
        for (index, chunk) in content.chunks(CHUNK).enumerate() {
            let at = writer.begin();
            writer.pending.extend_from_slice(chunk);
            let entry = &mut chunks[index];
            entry.insert("offset".to_owned(), json!(at));
            if index > 0 {
                entry.insert("chunkOffset".to_owned(), json!(index * CHUNK));
            }
            if count > 1 {
                entry.insert("chunkSize".to_owned(), json!(chunk.len()));
            }
            if count > 1 || format == TableFormat::Estargz {
                entry.insert("chunkDigest".to_owned(), json!(sha256(chunk)));
            }
            if format == TableFormat::ZstdChunked && count > 1 && chunk.iter().all(|byte| *byte == 0) {
                entry.insert("chunkType".to_owned(), json!("zeros"));
            }
        }
        if format == TableFormat::ZstdChunked {
            let end = writer.begin();
            chunks[0].insert("endOffset".to_owned(), json!(end));
        }
        entries.extend(chunks.into_iter().map(Value::Object));
    }
    let mut toc = json!({"version": 1, "entries": entries});
    edit(&mut toc);
    match format {
        TableFormat::Estargz => writer.finish_estargz(tar, copied, &toc),
        TableFormat::ZstdChunked => writer.finish_zstd_chunked(tar, copied, &toc),
    }
}

struct Writer {
    format: TableFormat,
    out: Vec<u8>,
    /// What is not compressed yet.
    pending: Vec<u8>,
}

impl Writer {
    /// Makes the blob longer by what is nothing when it is decompressed.
    fn pad(&mut self) {
        for seed in [77, 78] {
            self.pad_with(super::random::noise(seed, PADDING));
        }
    }

    fn pad_with(&mut self, noise: Vec<u8>) {
        match self.format {
            TableFormat::ZstdChunked => self.out.extend(skippable(&noise)),
            TableFormat::Estargz => {
                // An extra field of RFC 1952, with one subfield.
                let mut extra = b"XX".to_vec();
                extra.extend((PADDING as u16).to_le_bytes());
                extra.extend(noise);
                let member = flate2::GzBuilder::new().extra(extra).write(Vec::new(), Compression::default());
                self.out.extend(member.finish().expect("memory takes every byte"));
            }
        }
    }

    /// Ends the frame or member, and says where the next one begins.
    fn begin(&mut self) -> usize {
        if !self.pending.is_empty() {
            self.out.extend(match self.format {
                TableFormat::Estargz => gzip(&self.pending),
                TableFormat::ZstdChunked => zstd(&self.pending),
            });
            self.pending.clear();
        }
        self.out.len()
    }

    fn finish_estargz(mut self, tar: &[u8], copied: usize, toc: &Value) -> Tabled {
        // The table takes the place of the end's two blocks of zeros, and brings its own.
        let content = tar.len() - tar.iter().rev().take_while(|byte| **byte == 0).count();
        let end = content.max(copied).next_multiple_of(512);
        self.pending.extend_from_slice(&tar[copied..end]);
        let at = self.begin();
        let json = serde_json::to_vec_pretty(toc).expect("JSON");
        let annotations = json!({"containerd.io/snapshot/stargz/toc.digest": sha256(&json)});
        let member = tar_of([file("stargz.index.json", &json)]);
        let stored = gzip(&member);
        let mut bytes = self.out;
        bytes.extend(&stored);
        bytes.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0]);
        bytes.extend([b"SG".as_slice(), &[22, 0], format!("{at:016x}STARGZ").as_bytes()].concat());
        bytes.extend([1, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
        Tabled { tar: [&tar[..end], &member].concat(), bytes, annotations, table: stored.len() + 51 }
    }

    fn finish_zstd_chunked(mut self, tar: &[u8], copied: usize, toc: &Value) -> Tabled {
        self.pending.extend_from_slice(&tar[copied..]);
        let at = self.begin() + 8;
        let json = serde_json::to_vec(toc).expect("JSON");
        let stored = zstd(&json);
        let annotations = json!({
            "io.github.containers.zstd-chunked.manifest-position": format!("{at}:{}:{}:1", stored.len(), json.len()),
            "io.github.containers.zstd-chunked.manifest-checksum": sha256(&stored),
        });
        let mut footer: Vec<u8> =
            [at, stored.len(), json.len(), 1, 0, 0, 0].iter().flat_map(|n| (*n as u64).to_le_bytes()).collect();
        footer.extend(b"GNUlInUx");
        let bytes = [self.out, skippable(&stored), skippable(b"tar-split"), skippable(&footer)].concat();
        Tabled { tar: tar.to_vec(), bytes, annotations, table: stored.len() }
    }
}

fn members(tar: &[u8]) -> Vec<Member> {
    let mut archive = tar::Archive::new(Cursor::new(tar));
    let mut members = Vec::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("a member");
        let header = entry.header().clone();
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("a name that JSON can hold");
        let kind = match header.entry_type() {
            tar::EntryType::Regular => "reg",
            tar::EntryType::Directory => "dir",
            tar::EntryType::Symlink => "symlink",
            tar::EntryType::Link => "hardlink",
            tar::EntryType::Char => "char",
            tar::EntryType::Block => "block",
            tar::EntryType::Fifo => "fifo",
            other => panic!("{name}: {other:?}"),
        };
        let mut json = json!({"type": kind, "name": name, "mode": header.mode().expect("a mode")});
        let number = |number: u64| json!(number);
        for (key, value) in [
            ("uid", header.uid().expect("a user")),
            ("gid", header.gid().expect("a group")),
            ("devMajor", header.device_major().ok().flatten().unwrap_or(0).into()),
            ("devMinor", header.device_minor().ok().flatten().unwrap_or(0).into()),
            ("size", if kind == "reg" { entry.size() } else { 0 }),
        ] {
            if value != 0 {
                json[key] = number(value);
            }
        }
        if let Some(target) = entry.link_name_bytes() {
            json["linkName"] = json!(String::from_utf8(target.into_owned()).expect("a name that JSON can hold"));
        }
        json["modtime"] = json!(rfc3339(header.mtime().expect("a time")));
        let mut xattrs = Map::new();
        if let Some(records) = entry.pax_extensions().expect("PAX records") {
            for record in records {
                let record = record.expect("a PAX record");
                if let Some(name) = record.key().expect("a key").strip_prefix("SCHILY.xattr.") {
                    xattrs.insert(name.to_owned(), json!(STANDARD.encode(record.value_bytes())));
                }
            }
        }
        if !xattrs.is_empty() {
            json["xattrs"] = Value::Object(xattrs);
        }
        let (start, size) = (entry.raw_file_position() as usize, if kind == "reg" { entry.size() as usize } else { 0 });
        std::io::copy(&mut entry.by_ref(), &mut std::io::sink()).expect("content");
        let Value::Object(entry) = json else { panic!("an object") };
        members.push(Member { entry, start, size });
    }
    members
}

/// A moment as the formats write it.
pub fn rfc3339(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", month + 1, days + 1, second % 60)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory takes every byte")
}

/// A skippable frame (RFC 8878, section 3.1.2).
fn skippable(bytes: &[u8]) -> Vec<u8> {
    [&[0x50, 0x2a, 0x4d, 0x18][..], &(bytes.len() as u32).to_le_bytes(), bytes].concat()
}
