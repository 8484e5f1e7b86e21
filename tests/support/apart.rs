//! One of our own tables taken apart into all its fields, as `docs/formats.md` (*Layer tables*) has them, and put together again with right
//! digests whatever a field says: so that a reader has to see what is wrong, and not a digest.

use docker_artifact::table::own::{Part, Trailer};
use sha2::{Digest as _, Sha256};

/// A field of a block's content.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// What it is.
    pub name: &'static str,
    /// What it says.
    pub value: Value,
}

/// What a field says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number, signed ones as they are written.
    Number(u64),
    /// One byte.
    Byte(u8),
    /// Bytes whose length is told elsewhere.
    Bytes(Vec<u8>),
}

/// A block: its content, and its digests.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The content's fields.
    pub fields: Vec<Field>,
    /// The digests.
    pub digests: Vec<Vec<u8>>,
}

/// A table of one middle node.
#[derive(Clone, Debug)]
pub struct Apart {
    /// What is in front of the leaves.
    pub windows: Vec<u8>,
    /// The leaves, the middle node, and the top node.
    pub blocks: Vec<Block>,
    /// Where in the table the trail is, and the trail.
    pub trail: Vec<u8>,
    /// Fields that are not made right again: the number of a block, and that of a field.
    pub pinned: Option<(usize, usize)>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    fields: Vec<Field>,
}

impl Reader<'_> {
    fn number(&mut self, name: &'static str) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.bytes.split_first().unwrap();
            self.bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        self.fields.push(Field { name, value: Value::Number(number) });
        number
    }

    fn byte(&mut self, name: &'static str) -> u8 {
        let (byte, rest) = self.bytes.split_first().unwrap();
        self.bytes = rest;
        self.fields.push(Field { name, value: Value::Byte(*byte) });
        *byte
    }

    fn bytes(&mut self, name: &'static str, length: u64) {
        let (bytes, rest) = self.bytes.split_at(length as usize);
        self.bytes = rest;
        self.fields.push(Field { name, value: Value::Bytes(bytes.to_vec()) });
    }

    fn children(&mut self) -> u64 {
        let count = self.number("children");
        self.number("start");
        for _ in 0..count {
            self.number("shared");
            let length = self.number("length of key");
            self.bytes("key", length);
            self.number("length");
        }
        assert!(self.bytes.is_empty());
        count
    }

    fn top(&mut self) -> u64 {
        self.number("version");
        let length = self.number("length of digest");
        self.bytes("digest", length);
        self.number("size of blob");
        self.byte("compression");
        self.byte("is simple");
        self.number("rows");
        self.children()
    }

    fn leaf(&mut self, is_plain: bool) {
        let (repeated, own) = (self.number("repeated"), self.number("own"));
        for _ in 0..self.number("checkpoints") {
            self.number("compressed");
            self.number("uncompressed");
            if let 8..16 = self.byte("state") {
                self.number("start of window");
                self.number("length of window");
                self.bytes("digest of window", 32);
            }
        }
        for _ in 0..repeated + own {
            let (first, second) = (self.byte("first"), self.byte("second"));
            self.number("shared");
            let length = self.number("length of key");
            self.bytes("key", length);
            if first & 1 << 7 != 0 {
                for name in ["mode", "uid", "gid"] {
                    self.number(name);
                }
            }
            for (bit, name) in ["time", "nanoseconds", "header", "headers"].into_iter().enumerate() {
                if second & 1 << bit != 0 {
                    self.number(name);
                }
            }
            if let 0 | 4 | 5 | 7 = first & 7 {
                self.number("size");
            }
            for (is_there, of_length, name) in [
                (second & 1 << 7 != 0, "length of target", "target"),
                (first & 1 << 6 != 0, "length of attributes", "attributes"),
            ] {
                if is_there {
                    let length = self.number(of_length);
                    self.bytes(name, length);
                }
            }
            if second & 1 << 4 != 0 && !is_plain {
                if second & 1 << 5 != 0 {
                    self.number("checkpoint");
                }
                self.number("end");
            }
        }
        assert!(self.bytes.is_empty());
    }
}

/// The block in `bytes`, by what reads its content.
fn block(bytes: &[u8], read: impl FnOnce(&mut Reader<'_>)) -> Block {
    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let content = zstd::decode_all(&bytes[4..4 + length]).unwrap();
    let mut reader = Reader { bytes: &content, fields: Vec::new() };
    read(&mut reader);
    Block { fields: reader.fields, digests: bytes[4 + length..].chunks(32).map(<[u8]>::to_vec).collect() }
}

impl Block {
    fn number(&self, name: &str, which: usize) -> u64 {
        match self.fields.iter().filter(|field| field.name == name).nth(which).unwrap().value {
            Value::Number(number) => number,
            _ => panic!("{name} is no number"),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for field in &self.fields {
            match &field.value {
                Value::Number(number) => {
                    let mut rest = *number;
                    while rest >= 0x80 {
                        content.push(rest as u8 | 0x80);
                        rest >>= 7;
                    }
                    content.push(rest as u8);
                }
                Value::Byte(byte) => content.push(*byte),
                Value::Bytes(bytes) => content.extend_from_slice(bytes),
            }
        }
        let frame = zstd::bulk::compress(&content, 3).unwrap();
        let mut bytes = (frame.len() as u32).to_le_bytes().to_vec();
        bytes.extend(frame);
        bytes.extend(self.digests.concat());
        bytes
    }
}

impl Apart {
    /// Takes a table apart.
    pub fn of(table: &[u8]) -> Self {
        let Trailer { top, trail } = Trailer::read(table, table.len() as u64).unwrap();
        let part = |start: u64, length: u64| &table[start as usize..(start + length) as usize];
        let top = block(part(top.range.0, top.length()), |reader| assert_eq!(reader.top(), 1));
        let is_plain = top.fields.iter().any(|field| field.name == "compression" && field.value == Value::Byte(0));
        let mut count = 0;
        let middle = block(part(top.number("start", 0), top.number("length", 0)), |reader| count = reader.children());
        let mut start = middle.number("start", 0);
        let windows = table[..start as usize].to_vec();
        let mut blocks = Vec::new();
        for leaf in 0..count as usize {
            let length = middle.number("length", leaf);
            blocks.push(block(part(start, length), |reader| reader.leaf(is_plain)));
            start += length;
        }
        blocks.extend([middle, top]);
        let trail = table[trail.start as usize..trail.end as usize].to_vec();
        Apart { windows, blocks, trail, pinned: None }
    }

    /// All fields: the number of a block, and that of a field in it.
    pub fn fields(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let fields = |(at, block): (usize, &Block)| (0..block.fields.len()).map(move |field| (at, field));
        self.blocks.iter().enumerate().flat_map(fields)
    }

    /// The same, where a field says something else.
    pub fn with(&self, at: (usize, usize), value: Value) -> Self {
        let mut other = self.clone();
        other.blocks[at.0].fields[at.1].value = value;
        other.pinned = Some(at);
        other
    }

    /// The table, and its top node.
    pub fn together(&self) -> (Vec<u8>, Part) {
        let mut bytes = self.windows.clone();
        let (nodes, leaves) = (self.blocks.len() - 2, &self.blocks[..self.blocks.len() - 2]);
        let put = |bytes: &mut Vec<u8>, block: &Block| {
            let start = bytes.len() as u64;
            let block = block.to_bytes();
            bytes.extend_from_slice(&block);
            Part { range: (start, bytes.len() as u64), digest: Sha256::digest(&block).into() }
        };
        let mut parts: Vec<Part> = leaves.iter().map(|leaf| put(&mut bytes, leaf)).collect();
        for number in nodes..self.blocks.len() {
            let mut node = self.blocks[number].clone();
            let mut children = parts.iter();
            for (at, field) in node.fields.iter_mut().enumerate() {
                let right = match field.name {
                    "start" => parts.first().map(|part| part.range.0),
                    "length" => children.next().map(Part::length),
                    _ => None,
                };
                if let Some(right) = right.filter(|_| self.pinned != Some((number, at))) {
                    field.value = Value::Number(right);
                }
            }
            node.digests = parts.iter().map(|part| part.digest.to_vec()).collect();
            parts = vec![put(&mut bytes, &node)];
        }
        let top = parts.remove(0);
        let trail = bytes.len() as u64;
        bytes.extend_from_slice(&self.trail);
        for number in [top.range.0, top.length(), trail, self.trail.len() as u64] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(top.digest);
        bytes.extend(b"DATABLE1");
        (bytes, top)
    }
}
