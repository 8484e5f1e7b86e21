//! Tables, written and read.

mod amounts;
mod example;
mod hostile;
mod layers;
mod places;
mod size;

use std::io::{Read, Seek, SeekFrom};

use super::shelf::Sizes;
use super::*;
use crate::image::digest::Digest;
use crate::layer::Compression;
use crate::layer::entry::{Entry, Kind};
use crate::rootfs::fixture::{directory, entry, file, hard_link, symlink};
use crate::support::random::Random;
use crate::table::Unusable;

/// Parts so small that a few rows make a table of many.
const SMALL: Sizes = Sizes { leaf: 1 << 20, rows: 2, most_rows: 5, middle: 2, run: 200, links: 60 };

fn blob(compression: Compression) -> Blob {
    Blob { digest: Digest::of(b"layer"), size: 1 << 40, compression }
}

fn writer(compression: Compression, sizes: Sizes) -> Writer {
    Writer::with(tempfile::tempfile().unwrap(), Box::new(tempfile::tempfile), blob(compression), sizes)
}

/// The same entries, each where it would be in a tar.
fn numbered(entries: Vec<Entry>) -> Vec<Entry> {
    let mut at = 0;
    let place = |entry: Entry| {
        let header_offset = at;
        let data_offset = at + 512;
        let size = if let Kind::File { size, .. } = entry.kind { size } else { 0 };
        at = data_offset + size.next_multiple_of(512);
        Entry { header_offset, data_offset, ..entry }
    };
    entries.into_iter().map(place).collect()
}

/// A table as bytes.
struct Bytes {
    bytes: Vec<u8>,
    compression: Compression,
}

fn finish(writer: Writer, compression: Compression) -> Bytes {
    let mut written = writer.finish().unwrap();
    let mut bytes = Vec::new();
    written.file.seek(SeekFrom::Start(0)).unwrap();
    written.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, written.length);
    let trailer = Trailer::read(&bytes, written.length).unwrap();
    assert_eq!(trailer.top, written.top);
    Bytes { bytes, compression }
}

fn table(entries: &[Entry], sizes: Sizes) -> Bytes {
    let mut writer = writer(Compression::None, sizes);
    entries.iter().for_each(|entry| writer.entry(entry, None).unwrap());
    finish(writer, Compression::None)
}

impl Bytes {
    fn part(&self, part: &Part) -> &[u8] {
        &self.bytes[part.range.0 as usize..part.range.1 as usize]
    }

    fn open(&self) -> Result<OwnTable, Unusable> {
        let trailer = Trailer::read(&self.bytes, self.bytes.len() as u64)?;
        let blob = blob(self.compression);
        OwnTable::of(self.part(&trailer.top), &trailer.top, (&blob.digest, blob.size))
    }

    fn rows(&self, wanted: Wanted) -> Result<Vec<Row>, Unusable> {
        let (mut rows, mut query) = (Vec::new(), self.open()?.query(wanted));
        while let Step::Read(parts) = query.step() {
            assert!(parts.iter().map(Part::length).sum::<u64>() <= 4 << 20 && parts.len() <= 64);
            for part in parts {
                query.give(&part, self.part(&part), &mut |row| {
                    rows.push(row);
                    Ok(())
                })?;
            }
        }
        Ok(rows)
    }

    fn all(&self) -> Vec<Row> {
        self.rows(everything()).unwrap()
    }
}

fn everything() -> Wanted {
    Wanted { below: vec![Vec::new()], ..Wanted::default() }
}

fn paths(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| String::from_utf8_lossy(&row.entry.path).into_owned()).collect()
}

#[test]
fn rows_come_back_in_the_order_of_their_paths_with_the_directories_that_are_implied() {
    let entries = [file("b/c/d"), directory("a"), file("a-b"), file("a/b"), file("b/.wh.x"), file("b/.wh..wh..opq")];
    let entries = numbered(entries.into());
    for sizes in [Sizes::default(), SMALL] {
        let table = table(&entries, sizes);
        let rows = table.all();
        assert_eq!(paths(&rows), ["a", "a/b", "a-b", "b", "b/.wh..wh..opq", "b/c", "b/c/d", "b/.wh.x"]);
        for row in rows.iter().filter(|row| !row.implied) {
            assert!(entries.contains(&row.entry), "{row:?}");
        }
        let implied = rows.iter().filter(|row| row.implied);
        assert_eq!(implied.map(|row| row.entry.header_offset).collect::<Vec<_>>(), [0, 0]);
        assert!(table.open().unwrap().is_simple());
    }
}

#[test]
fn every_field_of_an_entry_comes_back() {
    let mut random = Random::new(4);
    let number = |random: &mut Random| random.next() >> random.below(64);
    for _ in 0..20 {
        let mut entries = Vec::new();
        for i in 0..40 {
            use crate::layer::entry::Special;
            let device = (random.next() as u32, random.next() as u32);
            let kind = match random.below(9) {
                0 => Kind::Directory,
                1 => Kind::Symlink(random.bytes(3)),
                2 => Kind::Symlink(Vec::new()),
                3 => Kind::HardLink(b"x/y".to_vec()),
                4 => Kind::Special(Special::CharDevice(device.0, device.1)),
                5 => Kind::Special(Special::BlockDevice(device.0, device.1)),
                6 => Kind::Special(Special::Fifo),
                7 => Kind::File { size: number(&mut random) >> 2, sparse: true },
                _ => Kind::File { size: random.below(2000) as u64, sparse: false },
            };
            let xattrs = (0..random.below(20).saturating_sub(17)).map(|_| (random.bytes(5), random.bytes(9))).collect();
            entries.push(Entry {
                mode: random.next() as u32 & 0o7777,
                uid: number(&mut random),
                gid: number(&mut random),
                mtime: (number(&mut random).cast_signed(), random.next() as u32 % 1_000_000_000),
                xattrs,
                header_offset: number(&mut random) >> 1,
                ..entry(&format!("{i:02}\u{e9}"), kind)
            });
            let headers = [512, 1024, 1536, 0, number(&mut random) >> 2][random.below(5)];
            let last = entries.last_mut().unwrap();
            last.data_offset = last.header_offset + headers;
        }
        for sizes in [Sizes::default(), SMALL] {
            let rows = table(&entries, sizes).all();
            assert_eq!(rows.into_iter().map(|row| row.entry).collect::<Vec<_>>(), entries);
        }
    }
}

#[test]
fn the_same_entries_make_the_same_bytes_and_nothing_makes_a_table_too() {
    let entries = numbered((0..300).map(|i| file(&format!("d{}/f{i}", i % 7))).collect());
    assert!(table(&entries, SMALL).bytes == table(&entries, SMALL).bytes);
    let empty = table(&[], Sizes::default());
    assert!(empty.all().is_empty() && empty.open().unwrap().is_simple() && empty.open().unwrap().rows() == 0);
}

#[test]
fn one_path_of_many_takes_three_reads_and_a_hard_link_elsewhere_two_more_at_most() {
    let mut entries: Vec<Entry> =
        (0..20_000).map(|i| file(&format!("srv/d{:03}/file-{:02}.txt", i / 100, i % 100))).collect();
    entries.push(hard_link("opt/link", "srv/d150/file-07.txt"));
    let table = table(&numbered(entries), Sizes::default());
    for (path, most) in [("srv/d123/file-45.txt", 2), ("srv/d123", 2), ("srv/d123/none", 2), ("opt/link", 4)] {
        let mut query = table.open().unwrap().query(Wanted { paths: vec![path.into()], ..Wanted::default() });
        let (mut rows, mut reads, mut length) = (Vec::new(), 0, 0);
        while let Step::Read(parts) = query.step() {
            reads += 1;
            for part in parts {
                length += part.length();
                let each = &mut |row| {
                    rows.push(row);
                    Ok(())
                };
                query.give(&part, table.part(&part), each).unwrap();
            }
        }
        assert!(reads <= most && length < 40_000, "{path}: {reads} reads of {length} bytes");
        let found = paths(&rows);
        assert_eq!(found.iter().any(|found| found == path), path != "srv/d123/none", "{path}: {found:?}");
        assert!(found.contains(&"srv/d123".to_owned()) || path == "opt/link");
        assert_eq!(found.contains(&"srv/d150/file-07.txt".to_owned()), path == "opt/link");
    }
}

#[test]
fn what_would_cost_too_much_has_no_table() {
    let refused = |entries: &mut dyn Iterator<Item = Entry>| {
        let mut writer = writer(Compression::None, Sizes::default());
        let entered = entries.enumerate().try_for_each(|(i, entry)| {
            writer.entry(&Entry { header_offset: i as u64 * 512, data_offset: i as u64 * 512 + 512, ..entry }, None)
        });
        entered.and_then(|()| writer.finish().map(drop)).is_err_and(|error| matches!(error, NotWritten::Untold(_)))
    };
    let one_of = |entry: Entry| refused(&mut std::iter::once(entry));
    assert!(!one_of(file(&"n".repeat(60_000))));
    assert!(one_of(file(&"d/".repeat(1100))));
    assert!(one_of(file("a\0b")));
    let with = |length| Entry { xattrs: vec![(b"user.x".to_vec(), vec![7; length])], ..file("f") };
    assert!(!one_of(with(200_000)) && one_of(with(300_000)));
    // Directories in one another, all of which each leaf would have to repeat.
    let chain = |i: usize| Entry {
        kind: Kind::Directory,
        path: "d/".repeat(i + 1).trim_end_matches('/').into(),
        ..with(20_000)
    };
    assert!(!refused(&mut (0..10).map(chain)) && refused(&mut (0..20).map(chain)));
    // Entries of one path: up to 200,000 are told.
    let twice = |count: usize| (0..count).map(|i| file(&(i / 2).to_string()));
    assert!(!refused(&mut twice(200_000)) && refused(&mut twice(200_001)));
    // Long names that differ in little.
    let long = |count: usize| (0..count).map(|i| file(&format!("{}{i:05}", "n".repeat(60_000))));
    assert!(!refused(&mut long(270)) && refused(&mut long(350)));
    // A hundred directories implied for each entry.
    let deep = |i: usize| file(&format!("{i}/{}f", "d/".repeat(100)));
    assert!(!refused(&mut (0..100).map(deep)) && refused(&mut (0..1000).map(deep)));
}

#[test]
fn every_way_to_depend_on_the_order_of_the_tar_is_seen() {
    let simple = |entries: Vec<Entry>| {
        [SMALL, Sizes::default()].map(|sizes| table(&numbered(entries.clone()), sizes).open().unwrap().is_simple())
    };
    let (yes, no) = ([true; 2], [false; 2]);
    assert_eq!(simple(vec![directory("d"), file("d/f"), directory("d"), file("d/.wh.f"), file("d/.wh.f")]), yes);
    assert_eq!(simple(vec![file("f"), hard_link("a", "f"), hard_link("z", "f"), symlink("s", "f")]), yes);
    assert_eq!(simple(vec![file("f"), file(".wh.f"), symlink("d", "f"), file(".wh.d"), file("x/.wh..wh.aufs")]), yes);
    assert_eq!(simple(vec![directory(""), file(".wh..wh..opq"), directory("")]), yes);
    for entries in [
        vec![file("f"), file("f")],
        vec![file("f"), directory("f")],
        vec![symlink("s", "d"), directory("d"), file("s/f")],
        vec![file("d/f"), file("d")],
        vec![file("d"), file("d/.wh.f")],
        vec![file("d"), file("d/.wh..wh..opq")],
        vec![hard_link("a", "f"), file("f")],
        vec![file("f"), hard_link("a", "f"), hard_link("b", "a")],
        vec![hard_link("a", "below")],
        vec![hard_link("a", "zzz")],
        vec![file("d/f"), hard_link("a", "d")],
        vec![file(".wh.f"), hard_link("a", "f")],
        vec![symlink("s", "f"), hard_link("a", "s")],
    ] {
        assert_eq!(simple(entries.clone()), no, "{entries:?}");
    }
}
