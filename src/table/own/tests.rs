//! Tables, written and read.

use std::io::{Read, Seek, SeekFrom};

use super::*;
use crate::image::digest::Digest;
use crate::layer::Compression;
use crate::layer::entry::{Entry, Kind};
use crate::rootfs::fixture::{directory, file};
use crate::table::Unusable;

fn blob(compression: Compression) -> Blob {
    Blob { digest: Digest::of(b"layer"), size: 1 << 40, compression }
}

fn writer(compression: Compression) -> Writer {
    Writer::new(tempfile::tempfile().unwrap(), Box::new(tempfile::tempfile), blob(compression))
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
    written: Written,
}

fn finish(writer: Writer) -> Bytes {
    let mut written = writer.finish().unwrap();
    let mut bytes = Vec::new();
    written.file.seek(SeekFrom::Start(0)).unwrap();
    written.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, written.length);
    Bytes { bytes, written }
}

fn table(entries: &[Entry]) -> Bytes {
    let mut writer = writer(Compression::None);
    entries.iter().for_each(|entry| writer.entry(entry, None).unwrap());
    finish(writer)
}

impl Bytes {
    fn part(&self, part: &Part) -> &[u8] {
        &self.bytes[part.range.0 as usize..part.range.1 as usize]
    }

    fn open(&self) -> OwnTable {
        let trailer = Trailer::read(&self.bytes, self.bytes.len() as u64).unwrap();
        assert_eq!(trailer.top, self.written.top);
        let blob = blob(Compression::None);
        OwnTable::of(self.part(&trailer.top), &trailer.top, (&blob.digest, blob.size)).unwrap()
    }

    fn rows(&self, wanted: Wanted) -> Result<Vec<Row>, Unusable> {
        let (mut rows, mut query) = (Vec::new(), self.open().query(wanted));
        while let Step::Read(parts) = query.step() {
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
        self.rows(Wanted { below: vec![Vec::new()], ..Wanted::default() }).unwrap()
    }
}

fn paths(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| String::from_utf8_lossy(&row.entry.path).into_owned()).collect()
}

#[test]
fn rows_come_back_in_the_order_of_their_paths_with_the_directories_that_are_implied() {
    let entries = numbered(vec![
        file("b/c/d"),
        directory("a"),
        file("a-b"),
        file("a/b"),
        file("b/.wh.x"),
        file("b/.wh..wh..opq"),
    ]);
    let table = table(&entries);
    let rows = table.all();
    assert_eq!(paths(&rows), ["a", "a/b", "a-b", "b", "b/.wh..wh..opq", "b/c", "b/c/d", "b/.wh.x"]);
    for row in rows.iter().filter(|row| !row.implied) {
        assert!(entries.contains(&row.entry), "{row:?}");
    }
    assert_eq!(rows.iter().filter(|row| row.implied).count(), 2);
    assert!(table.open().is_simple());
}
