//! Tables that are damaged, and tables that are made to do harm: they give other rows or none, and nothing else.

use super::super::block::{DIGEST, Packer, unpack};
use super::super::node::{self, Child, NodeWriter};
use super::super::numbers::put;
use super::*;
use crate::layer::checkpoint::Checkpoint;

/// A table with everything that one can have.
fn full(compression: Compression) -> Bytes {
    let mut writer = writer(compression, SMALL);
    let xattrs = vec![(b"user.x".to_vec(), b"y".to_vec())];
    let entries = numbered(vec![
        directory("d"),
        Entry { xattrs, ..file("d/f") },
        hard_link("d/h", "d/f"),
        symlink("l", "d/f"),
        file("d/.wh.x"),
        file("e/.wh..wh..opq"),
        file("e/f/g"),
        directory("d"),
        entry("p", Kind::Special(crate::layer::entry::Special::CharDevice(1, 3))),
        entry("s", Kind::File { size: 7, sparse: true }),
        entry("z", Kind::File { size: 70_000, sparse: false }),
    ]);
    let checkpoint = match compression {
        Compression::Zstd => Checkpoint::ZstdFrame,
        _ => Checkpoint::DeflateBlock { skipped_bits: 3, window: b"window".to_vec() },
    };
    writer.checkpoint(0, 0, &checkpoint).unwrap();
    writer.checkpoint(1500, 3000, &checkpoint).unwrap();
    (0..100).for_each(|i| writer.reached(i * 500, i * 1000));
    for entry in &entries {
        writer.entry(entry, Some(Digest::of(b"x"))).unwrap();
    }
    let table = finish(writer, compression);
    assert!(table.open().unwrap().is_simple());
    table
}

/// Reads all of it, and some of it; whatever comes is what a tar could have.
fn survives(table: &Bytes) -> Result<Vec<Row>, Unusable> {
    let wanted = Wanted { paths: vec![b"d/h".to_vec(), b"e/f".to_vec(), b"none".to_vec()], below: vec![b"d".to_vec()] };
    for wanted in [wanted, everything()] {
        for row in table.rows(wanted)? {
            let canonical = crate::layer::canonical(&row.entry.path, crate::layer::AtRoot::Refuse);
            assert_eq!(canonical.as_ref(), Ok(&row.entry.path));
            assert!(row.entry.mode <= 0o7777 && row.entry.mtime.1 < 1_000_000_000);
            if let Some(Located { start, end, .. }) = row.content {
                assert!(start.compressed <= end && start.uncompressed <= row.entry.data_offset && end <= 1 << 40);
                assert!(start.state.window().is_none_or(|window| window.range.1 <= table.bytes.len() as u64));
            }
        }
    }
    table.rows(everything())
}

#[test]
fn a_damaged_table_gives_its_rows_or_none() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let table = full(compression);
        let rows = table.all();
        let (mut noticed, mut random) = (0, Random::new(5));
        let mut tried = |bytes: Vec<u8>| match survives(&Bytes { bytes, compression }) {
            Ok(other) => assert_eq!(other, rows),
            Err(_) => noticed += 1,
        };
        for at in 0..table.bytes.len() {
            let mut other = table.bytes.clone();
            other[at] ^= 1 << random.below(8);
            tried(other);
            tried(table.bytes[..at].to_vec());
            let mut other = table.bytes.clone();
            other.insert(at, random.next() as u8);
            tried(other);
        }
        assert!(noticed > table.bytes.len() * 2, "{noticed} of {}", table.bytes.len());
    }
}

/// The content of a block and its digests.
type Content = (Vec<u8>, Vec<u8>);

/// A table taken apart: what is in its blocks.
struct Apart {
    windows: Vec<u8>,
    leaves: Vec<Content>,
    /// Keys of leaves, by middle node.
    keys: Vec<Vec<Vec<u8>>>,
    firsts: Vec<Vec<u8>>,
    head: Vec<u8>,
    compression: Compression,
}

fn content(block: &[u8]) -> Content {
    let (content, digests) = unpack(block, 4 << 20).unwrap();
    (content, digests.rest().to_vec())
}

fn apart(table: &Bytes) -> Apart {
    let trailer = Trailer::read(&table.bytes, table.bytes.len() as u64).unwrap();
    let (head, middles) = node::top(table.part(&trailer.top), trailer.top.range.0).unwrap();
    let (mut leaves, mut keys, mut start) = (Vec::new(), Vec::new(), u64::MAX);
    for middle in &middles {
        let children = node::middle(table.part(&middle.part), trailer.top.range.0, u64::MAX).unwrap();
        leaves.extend(children.iter().map(|child| content(table.part(&child.part))));
        start = children.iter().map(|child| child.part.range.0).fold(start, u64::min);
        keys.push(children.into_iter().map(|child| child.key).collect());
    }
    Apart {
        windows: table.bytes[..start as usize].to_vec(),
        leaves,
        keys,
        firsts: middles.into_iter().map(|middle| middle.key).collect(),
        head: head.write(),
        compression: table.compression,
    }
}

impl Apart {
    /// How many blocks there are.
    fn blocks(&self) -> usize {
        self.leaves.len() + self.keys.len() + 1
    }

    /// Puts it together again, with right digests; `change` is done to the content of one block.
    fn together(&self, at: usize, change: &mut dyn FnMut(&mut Content)) -> Bytes {
        let (mut bytes, mut number, mut packer) = (self.windows.clone(), 0, Packer::new().unwrap());
        let mut block = |bytes: &mut Vec<u8>, mut content: Content| {
            if number == at {
                change(&mut content);
            }
            number += 1;
            let block = packer.pack(&content.0, &content.1).unwrap();
            let part = Part::new(bytes.len() as u64, &block);
            bytes.extend_from_slice(&block);
            part
        };
        let parts: Vec<Part> = self.leaves.iter().map(|leaf| block(&mut bytes, leaf.clone())).collect();
        let (mut parts, mut top) = (parts.into_iter(), NodeWriter::default());
        for (keys, first) in self.keys.iter().zip(&self.firsts) {
            let mut middle = NodeWriter::default();
            for key in keys {
                middle.push(&Child { key: key.clone(), part: parts.next().unwrap() });
            }
            let part = block(&mut bytes, middle.finish(Vec::new()));
            top.push(&Child { key: first.clone(), part });
        }
        let top = block(&mut bytes, top.finish(self.head.clone()));
        let trail = bytes.len() as u64..bytes.len() as u64;
        bytes.extend(Trailer { top, trail }.write());
        Bytes { bytes, compression: self.compression }
    }
}

#[test]
fn a_table_that_is_made_to_do_harm_gives_rows_that_a_tar_could_have_or_none() {
    let (mut refused, mut rows) = (0, 0);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let table = full(compression);
        let apart = apart(&table);
        assert!(apart.together(usize::MAX, &mut |_| {}).all() == table.all());
        let mut random = Random::new(6);
        for at in 0..apart.blocks() {
            let mut length = 0;
            apart.together(at, &mut |content| length = content.0.len() + content.1.len());
            for place in 0..length {
                for _ in 0..2 {
                    let (way, number) = (random.below(6), random.next());
                    let other = apart.together(at, &mut |(content, digests)| {
                        let (bytes, place) = match place.checked_sub(content.len()) {
                            None => (content, place),
                            Some(place) => (digests, place),
                        };
                        match way {
                            0 => bytes[place] ^= 1 << (number % 8),
                            1 => bytes[place] = number as u8,
                            2 => bytes.truncate(place),
                            3 => bytes.insert(place, number as u8),
                            4 => drop(bytes.remove(place)),
                            _ => {
                                let mut long = Vec::new();
                                put(&mut long, number >> (number % 64));
                                bytes.splice(place..=place, long);
                            }
                        }
                    });
                    match survives(&other) {
                        Ok(found) => rows += usize::from(!found.is_empty()),
                        Err(_) => refused += 1,
                    }
                }
            }
        }
    }
    assert!(refused > 1500 && rows > 300, "{refused} {rows}");
}

#[test]
fn a_block_that_decodes_to_too_much_or_too_little_is_refused() {
    let frame = |content: &[u8], level| zstd::bulk::compress(content, level).unwrap();
    let block = |frame: &[u8]| [&(frame.len() as u32).to_le_bytes()[..], frame].concat();
    assert!(unpack(&block(&frame(&vec![0; 1 << 20], 3)), 1 << 20).is_ok());
    assert!(unpack(&block(&frame(&vec![0; (1 << 20) + 1], 3)), 1 << 20).is_err());
    // Two frames, and one that does not say how long it is.
    assert!(unpack(&block(&[frame(b"a", 3), frame(b"b", 3)].concat()), 1 << 20).is_err());
    assert!(unpack(&block(&zstd::stream::encode_all(&b"a"[..], 3).unwrap()), 1 << 20).is_err());
    for length in 0..4 {
        assert!(unpack(&vec![0xff; length], 1 << 20).is_err());
    }
}

#[test]
fn many_rows_in_few_bytes_are_no_more_than_the_table_says() {
    let mut leaf = Vec::new();
    for number in [0, 8192, 0] {
        put(&mut leaf, number);
    }
    // A directory whose name has one byte more than the one before.
    let mut rows = leaf.clone();
    for at in 0..8192 {
        rows.extend([1, 0]);
        put(&mut rows, at);
        rows.extend([1, b'a']);
    }
    let mut apart = apart(&full(Compression::None));
    apart.leaves[0] = (rows, Vec::new());
    assert!(apart.together(usize::MAX, &mut |_| {}).rows(everything()).is_err());
    // Rows of one name, of which the next ones supersede those before.
    let mut rows = leaf;
    rows.extend([33, 0, 0, 1, b'a']);
    (1..8192).for_each(|_| rows.extend([33, 0, 1, 0]));
    apart.leaves[0] = (rows, Vec::new());
    let refused = apart.together(usize::MAX, &mut |_| {}).rows(everything()).unwrap_err();
    assert!(refused.to_string().contains("more rows than it says"), "{refused}");
}

#[test]
fn only_what_was_asked_for_is_taken() {
    let table = full(Compression::None);
    let mut query = table.open().unwrap().query(everything());
    let Step::Read(parts) = query.step() else { panic!("there is something to read") };
    let other = Part { range: (0, 1), digest: [0; DIGEST] };
    assert!(query.give(&other, b"x", &mut |_| Ok(())).is_err());
    assert!(query.give(&parts[0], b"x", &mut |_| Ok(())).is_err());
    query.give(&parts[0], table.part(&parts[0]), &mut |_| Ok(())).unwrap();
    assert!(query.give(&parts[0], table.part(&parts[0]), &mut |_| Ok(())).is_err());
    let trailer = Trailer::read(&table.bytes, table.bytes.len() as u64).unwrap();
    let top = table.part(&trailer.top);
    let of_another = OwnTable::of(top, &trailer.top, (&Digest::of(b"other"), 1 << 40));
    assert_eq!(of_another.unwrap_err().to_string(), "the table is of another layer");
    assert!(OwnTable::of(top, &trailer.top, (&Digest::of(b"layer"), 1)).is_err());
}
