//! Tables that are made to cost more than they are long: parts that lie over one another, and rows that are there again and again.

use super::super::block::Packer;
use super::super::node::{Child, Head, NodeWriter};
use super::super::numbers::{put, put_string};
use super::*;

/// Bits of a row's first byte: a directory, one that a later row supersedes, and marks.
const FILE: u8 = 0;
const DIRECTORY: u8 = 1;
const SUPERSEDED: u8 = 1 << 5;
const WHITEOUT: u8 = 1 << 3;

/// Puts a table together out of any parts.
struct Parts {
    bytes: Vec<u8>,
    packer: Packer,
}

impl Parts {
    fn new() -> Self {
        Parts { bytes: Vec::new(), packer: Packer::new().unwrap() }
    }

    fn block(&mut self, (content, digests): (Vec<u8>, Vec<u8>)) -> Part {
        let block = self.packer.pack(&content, &digests).unwrap();
        let part = Part::new(self.bytes.len() as u64, &block);
        self.bytes.extend_from_slice(&block);
        part
    }

    /// A leaf of rows of these keys, each with its first byte.
    fn leaf(&mut self, rows: &[(&[u8], u8)]) -> Part {
        let mut content = Vec::new();
        [0, rows.len() as u64, 0].iter().for_each(|number| put(&mut content, *number));
        let mut before: &[u8] = b"";
        for (key, first) in rows {
            let shared = super::super::numbers::shared(before, key);
            content.extend([*first, 0]);
            put(&mut content, shared as u64);
            put_string(&mut content, &key[shared..]);
            if first & 7 == FILE {
                put(&mut content, 0);
            }
            before = key;
        }
        self.block((content, Vec::new()))
    }

    /// A node of these parts, each with another least key, whatever is in it.
    fn node(&mut self, parts: &[Part], head: Vec<u8>) -> Part {
        let mut node = NodeWriter::default();
        for (number, part) in (0_u16..).zip(parts) {
            let key = if number == 0 { Vec::new() } else { number.to_be_bytes().to_vec() };
            node.push(&Child { key, part: part.clone() });
        }
        self.block(node.finish(head))
    }

    fn table(mut self, middles: &[Part], is_simple: bool) -> Bytes {
        let compression = Compression::None;
        let head = Head { blob: blob(compression), rows: u64::MAX, is_simple };
        let top = self.node(middles, head.write());
        let end = self.bytes.len() as u64;
        self.bytes.extend(Trailer { top, trail: end..end }.write());
        Bytes { bytes: self.bytes, compression }
    }
}

/// A table with these leaves, one behind the other.
fn of_leaves(leaves: &[&[(&[u8], u8)]], is_simple: bool) -> Bytes {
    let mut parts = Parts::new();
    let leaves: Vec<Part> = leaves.iter().map(|rows| parts.leaf(rows)).collect();
    let middle = parts.node(&leaves, Vec::new());
    parts.table(&[middle], is_simple)
}

fn refused(table: &Bytes) -> String {
    table.rows(everything()).unwrap_err().to_string()
}

#[test]
fn a_leaf_that_many_nodes_name_is_read_once() {
    let mut parts = Parts::new();
    let rows: Vec<(&[u8], u8)> = vec![(b"a", DIRECTORY | SUPERSEDED); 8192];
    let leaf = parts.leaf(&rows);
    let middles: Vec<Part> = (0..1000).map(|_| parts.node(std::slice::from_ref(&leaf), Vec::new())).collect();
    let table = parts.table(&middles, true);
    assert_eq!(refused(&table), "parts of the table lie over one another");
}

#[test]
fn what_a_simple_layer_has_twice_is_refused() {
    for rows in [&[FILE, FILE][..], &[DIRECTORY, DIRECTORY], &[DIRECTORY, FILE], &[WHITEOUT, FILE, WHITEOUT]] {
        let rows: Vec<(&[u8], u8)> = rows.iter().map(|first| (&b"a\0b"[..], *first)).collect();
        let (one, other) = rows.split_at(rows.len() / 2);
        for leaves in [&[rows.as_slice()][..], &[one, other]] {
            assert_eq!(refused(&of_leaves(leaves, true)), "a path is there twice in the table of a simple layer");
            assert_eq!(of_leaves(leaves, false).all().len(), rows.len());
        }
    }
    let superseded: Vec<(&[u8], u8)> = vec![(b"a", DIRECTORY | SUPERSEDED), (b"a", DIRECTORY), (b"a", WHITEOUT)];
    assert_eq!(of_leaves(&[&superseded], true).all().len(), 2);
    assert_eq!(of_leaves(&[&superseded[..1], &superseded[1..]], true).all().len(), 2);
}

#[test]
fn leaves_that_are_not_in_their_order_are_refused() {
    for is_simple in [true, false] {
        let table = of_leaves(&[&[(b"a\0b", DIRECTORY)], &[(b"a\0a", DIRECTORY)]], is_simple);
        assert_eq!(refused(&table), "the rows of the table are not in their order");
    }
}

#[test]
fn no_more_rows_are_held_than_a_writer_would_write() {
    let rows: Vec<(&[u8], u8)> = vec![(b"same", FILE); 8192];
    assert_eq!(of_leaves(&[rows.as_slice(); 24], false).all().len(), 24 * 8192);
    let refused = refused(&of_leaves(&[rows.as_slice(); 25], false));
    assert_eq!(refused, "the table has too many rows for one of a layer that is not simple");
}

#[test]
fn long_names_in_few_bytes_are_refused() {
    let key = |leaf: u8, number: u8| [&[leaf][..], &[b'n'; 60_000], &[number]].concat();
    let keys: Vec<Vec<u8>> = (1..6).flat_map(|leaf| (128..192).map(move |number| key(leaf, number))).collect();
    let rows: Vec<(&[u8], u8)> = keys.iter().map(|key| (key.as_slice(), DIRECTORY)).collect();
    let leaves: Vec<&[(&[u8], u8)]> = rows.chunks(64).collect();
    for is_simple in [true, false] {
        assert_eq!(of_leaves(&leaves[..4], is_simple).all().len(), 256);
        let refused = refused(&of_leaves(&leaves, is_simple));
        assert_eq!(refused, "the table has longer names than so short a one can have");
    }
}
