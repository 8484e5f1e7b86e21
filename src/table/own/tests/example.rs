//! The example of docs/formats.md.

use super::*;
use crate::layer::checkpoint::Checkpoint;

const PAGE: &str = include_str!("../../../../docs/formats.md");

/// What stands between these two lines of the page, in hexadecimal digits.
fn bytes(after: &str, before: &str) -> Vec<u8> {
    let (_, rest) = PAGE.split_once(after).unwrap();
    let (block, _) = rest.split_once(before).unwrap();
    let digits = block.lines().filter_map(|line| line.strip_prefix("    ")?.split_once("  ")).map(|(_, digits)| digits);
    let bytes = digits.flat_map(str::split_whitespace).map(|byte| u8::from_str_radix(byte, 16).unwrap());
    bytes.collect()
}

/// The layer of the example.
fn example() -> (Vec<Entry>, Blob) {
    let entries = vec![
        Entry { mtime: (1_700_000_000, 0), header_offset: 0, data_offset: 512, ..directory("etc") },
        Entry {
            mode: 0o644,
            mtime: (1_700_000_000, 0),
            header_offset: 512,
            data_offset: 1024,
            ..entry("etc/motd", Kind::File { size: 6, sparse: false })
        },
        Entry { mode: 0o644, mtime: (1_700_000_000, 0), header_offset: 1536, data_offset: 2048, ..file("srv/.wh.old") },
    ];
    (entries, Blob { digest: Digest::of(b"layer"), size: 200, compression: Compression::Gzip })
}

fn written() -> Vec<u8> {
    let (entries, blob) = example();
    let mut writer = Writer::with(tempfile::tempfile().unwrap(), Box::new(tempfile::tempfile), blob, Sizes::default());
    writer.checkpoint(10, 0, &Checkpoint::DeflateBlock { skipped_bits: 0, window: Vec::new() }).unwrap();
    writer.reached(200, 10_240);
    for entry in &entries {
        writer.entry(entry, Some(Digest::of(b"hello\n"))).unwrap();
    }
    finish(writer, Compression::Gzip).bytes
}

/// The table in `bytes`, and all of its rows.
fn read(bytes: &[u8]) -> (OwnTable, Vec<Row>) {
    let (_, blob) = example();
    let trailer = Trailer::read(bytes, bytes.len() as u64).unwrap();
    let part = |part: &Part| &bytes[part.range.0 as usize..part.range.1 as usize];
    let table = OwnTable::of(part(&trailer.top), &trailer.top, (&blob.digest, blob.size)).unwrap();
    let (mut rows, mut query) = (Vec::new(), table.query(everything()));
    while let Step::Read(parts) = query.step() {
        for asked in parts {
            let each = &mut |row| {
                rows.push(row);
                Ok(())
            };
            query.give(&asked, part(&asked), each).unwrap();
        }
    }
    (table, rows)
}

#[test]
fn the_example_of_the_formats_page_is_a_table_of_its_layer() {
    let (table, rows) = read(&bytes("The whole table:\n", "The leaf begins"));
    assert!(table.is_simple() && table.rows() == 4 && table.compression() == Compression::Gzip);
    let found: Vec<&Entry> = rows.iter().filter(|row| !row.implied).map(|row| &row.entry).collect();
    assert_eq!(found, example().0.iter().collect::<Vec<_>>());
    assert_eq!(paths(&rows), ["etc", "etc/motd", "srv", "srv/.wh.old"]);
    let state = State::DeflateBlock { skipped_bits: 0, window: None };
    let start = Start { compressed: 10, uncompressed: 0, state };
    assert_eq!(rows[1].content, Some(Located { start, end: 200, digest: Some(Digest::of(b"hello\n")) }));
    assert_eq!(read(&written()).1, rows);
}
