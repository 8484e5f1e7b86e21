//! The four ways in which tars store a file without its holes: GNU tar's old `S` header and its PAX formats 0.0, 0.1 and 1.0
//! (GNU tar manual, *Storing Sparse Files*).

use tar::Header;

/// A way to store a file without its holes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SparseFormat {
    /// Type `S`: the map is in the header and the blocks behind it.
    Gnu,
    /// The map is a pair of PAX records for each piece.
    Pax00,
    /// The map is one PAX record.
    Pax01,
    /// The map is text before the content.
    Pax10,
}

/// Where a file's pieces lie.
#[derive(Clone)]
pub struct Map {
    size: u64,
    pieces: Vec<(u64, u64)>,
}

impl Map {
    /// The map of a file of `size` bytes with these pieces, each of whole blocks of 512 bytes (only the file's end may cut
    /// the last one short): GNU tar makes no others, and readers rely on it. One that ends in a hole gets an empty piece at its end, as
    /// GNU tar writes it.
    pub fn new(size: u64, data: &[(u64, &[u8])]) -> Self {
        let mut pieces: Vec<(u64, u64)> = data.iter().map(|(offset, bytes)| (*offset, bytes.len() as u64)).collect();
        let is_whole =
            |(offset, length): &(u64, u64)| offset % 512 == 0 && (length % 512 == 0 || offset + length == size);
        assert!(pieces.iter().all(is_whole), "the pieces of a sparse file are whole blocks");
        if pieces.last().is_none_or(|(offset, length)| offset + length < size) {
            pieces.push((size, 0));
        }
        Map { size, pieces }
    }

    /// Puts the first four pieces into `header`, and returns the blocks with the rest.
    pub fn write_gnu(&self, header: &mut Header) -> Vec<u8> {
        let piece = |(offset, length): &(u64, u64)| format!("{offset:011o}\0{length:011o}\0").into_bytes();
        let mut groups = vec![self.pieces.get(..4).unwrap_or(&self.pieces)];
        groups.extend(self.pieces.get(4..).unwrap_or_default().chunks(21));
        let mut blocks = Vec::new();
        for (i, group) in groups.iter().enumerate() {
            let encoded: Vec<u8> = group.iter().flat_map(piece).collect();
            let more = u8::from(i + 1 < groups.len());
            if i == 0 {
                let bytes = header.as_mut_bytes();
                bytes[386..386 + encoded.len()].copy_from_slice(&encoded);
                bytes[482] = more;
                bytes[483..495].copy_from_slice(format!("{:011o}\0", self.size).as_bytes());
            } else {
                let mut block = encoded;
                block.resize(504, 0);
                block.push(more);
                block.resize(512, 0);
                blocks.extend(block);
            }
        }
        blocks
    }

    /// The PAX records of the file named `name`.
    pub fn pax_records(&self, format: SparseFormat, name: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let record = |key: &str, value: String| (format!("GNU.sparse.{key}").into_bytes(), value.into_bytes());
        let mut records = Vec::new();
        if format == SparseFormat::Pax10 {
            records.extend([record("major", "1".to_owned()), record("minor", "0".to_owned())]);
            records.push(record("realsize", self.size.to_string()));
        } else {
            records.push(record("size", self.size.to_string()));
            records.push(record("numblocks", self.pieces.len().to_string()));
        }
        for (offset, length) in self.pieces.iter().filter(|_| format == SparseFormat::Pax00) {
            records.push(record("offset", offset.to_string()));
            records.push(record("numbytes", length.to_string()));
        }
        if format == SparseFormat::Pax01 {
            let map: Vec<String> = self.pieces.iter().map(|(offset, length)| format!("{offset},{length}")).collect();
            records.push(record("map", map.join(",")));
        }
        if format != SparseFormat::Pax00 {
            records.push((b"GNU.sparse.name".to_vec(), name.to_vec()));
        }
        records
    }

    /// The part of the map that comes before the content.
    pub fn inline(&self, format: SparseFormat) -> Vec<u8> {
        if format != SparseFormat::Pax10 {
            return Vec::new();
        }
        let numbers = self.pieces.iter().map(|(offset, length)| format!("{offset}\n{length}\n"));
        let mut map = format!("{}\n{}", self.pieces.len(), numbers.collect::<String>()).into_bytes();
        map.resize(map.len().next_multiple_of(512), 0);
        map
    }
}

/// The name in the header of a file whose real name is in a PAX record.
pub fn placeholder_name(format: SparseFormat, name: &[u8]) -> Vec<u8> {
    if format == SparseFormat::Pax00 { name.to_vec() } else { [b"GNUSparseFile.0/", name].concat() }
}
