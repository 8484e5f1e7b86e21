//! Writes tables of contents as SOCI has them: a FlatBuffer for a gzip layer, whose every field can be said, also wrongly.

use flate2::{Compress, Compression, Crc, FlushCompress};

/// All that a zTOC says.
#[derive(Clone)]
pub struct Ztoc {
    pub version: Vec<u8>,
    pub compressed_size: i64,
    pub uncompressed_size: i64,
    pub files: Vec<ZtocFile>,
    pub algorithm: Option<u8>,
    pub max_span_id: u32,
    pub digests: Vec<Vec<u8>>,
    pub checkpoints: Vec<u8>,
}

/// One entry of it.
#[derive(Clone, Default)]
pub struct ZtocFile {
    pub name: Vec<u8>,
    pub kind: Vec<u8>,
    pub offset: i64,
    pub size: i64,
    pub target: Vec<u8>,
    pub mode: i64,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Vec<u8>,
    pub device: (i64, i64),
    /// PAX records.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A place where decoding can begin.
#[derive(Clone, Copy)]
pub struct Begin {
    pub compressed: u64,
    pub uncompressed: u64,
}

/// `tar` as gzip, in which a block begins every `span` bytes of it, and where each of these does.
pub fn gzip_in_spans(tar: &[u8], span: usize) -> (Vec<u8>, Vec<Begin>) {
    let mut blob = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut deflate, mut begins) = (Compress::new(Compression::fast(), false), Vec::new());
    for (index, part) in tar.chunks(span).enumerate() {
        begins.push(Begin { compressed: blob.len() as u64, uncompressed: (index * span) as u64 });
        let is_last = (index + 1) * span >= tar.len();
        let flush = if is_last { FlushCompress::Finish } else { FlushCompress::Sync };
        let before = deflate.total_in();
        loop {
            blob.reserve(part.len() + 1024);
            let given = (deflate.total_in() - before) as usize;
            deflate.compress_vec(&part[given..], &mut blob, flush).expect("memory takes every byte");
            if (deflate.total_in() - before) as usize == part.len() && blob.len() < blob.capacity() {
                break;
            }
        }
    }
    let mut crc = Crc::new();
    crc.update(tar);
    blob.extend(crc.sum().to_le_bytes());
    blob.extend((tar.len() as u32).to_le_bytes());
    (blob, begins)
}

/// The list of checkpoints of a `tar`.
pub fn checkpoints(tar: &[u8], begins: &[Begin], span: usize) -> Vec<u8> {
    let mut list = (begins.len() as u32).to_le_bytes().to_vec();
    list.extend((span as u64).to_le_bytes());
    for Begin { compressed, uncompressed } in begins {
        list.extend(compressed.to_le_bytes());
        list.extend(uncompressed.to_le_bytes());
        list.push(0);
        let before = &tar[..*uncompressed as usize];
        let window = &before[before.len().saturating_sub(32 << 10)..];
        list.extend(vec![0; (32 << 10) - window.len()]);
        list.extend(window);
    }
    list
}

impl Ztoc {
    /// As it is stored.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Writer(vec![0; 4]);
        let root =
            out.table(&[Refers, Refers, Long(self.compressed_size), Long(self.uncompressed_size), Refers, Refers]);
        out.patch(0, root.at);
        out.string(root.refers[0], &self.version);
        out.string(root.refers[1], b"a test");
        let toc = out.table(&[Refers]);
        out.patch(root.refers[2], toc.at);
        let files = out.vector(toc.refers[0], self.files.len());
        for (place, file) in files.into_iter().zip(&self.files) {
            file.write(place, &mut out);
        }
        let algorithm = self.algorithm.map_or(Absent, Byte);
        let info = out.table(&[algorithm, Int(self.max_span_id), Refers, Refers]);
        out.patch(root.refers[3], info.at);
        let digests = out.vector(info.refers[0], self.digests.len());
        for (place, digest) in digests.into_iter().zip(&self.digests) {
            out.string(place, digest);
        }
        out.string(info.refers[1], &self.checkpoints);
        out.0
    }
}

impl ZtocFile {
    fn write(&self, place: usize, out: &mut Writer) {
        let ZtocFile { offset, size, mode, uid, gid, device, .. } = self;
        let fields = [
            Refers,
            Refers,
            Long(*offset),
            Long(*size),
            Refers,
            Long(*mode),
            Int(*uid),
            Int(*gid),
            Absent,
            Absent,
            Refers,
            Long(device.0),
            Long(device.1),
            Refers,
        ];
        let file = out.table(&fields);
        out.patch(place, file.at);
        for (place, text) in file.refers.iter().zip([&self.name, &self.kind, &self.target, &self.mtime]) {
            out.string(*place, text);
        }
        let records = out.vector(file.refers[4], self.records.len());
        for (place, (key, value)) in records.into_iter().zip(&self.records) {
            let record = out.table(&[Refers, Refers]);
            out.patch(place, record.at);
            out.string(record.refers[0], key);
            out.string(record.refers[1], value);
        }
    }
}

enum Field {
    Absent,
    Byte(u8),
    Int(u32),
    Long(i64),
    /// To what lies behind it.
    Refers,
}
use Field::{Absent, Byte, Int, Long, Refers};

struct Written {
    at: usize,
    /// Where the offsets are that are still to be said.
    refers: Vec<usize>,
}

/// Writes what refers to something before that.
struct Writer(Vec<u8>);

impl Writer {
    fn table(&mut self, fields: &[Field]) -> Written {
        let (mut places, mut body, mut refers) = (Vec::new(), Vec::new(), Vec::new());
        let length = 4 + 2 * fields.len();
        let at = self.0.len() + length;
        for field in fields {
            let place = match field {
                Absent => 0,
                _ => 4 + body.len() as u16,
            };
            places.extend(place.to_le_bytes());
            match field {
                Absent => {}
                Byte(byte) => body.push(*byte),
                Int(number) => body.extend(number.to_le_bytes()),
                Long(number) => body.extend(number.to_le_bytes()),
                Refers => {
                    refers.push(at + 4 + body.len());
                    body.extend([0; 4]);
                }
            }
        }
        self.0.extend((length as u16).to_le_bytes());
        self.0.extend((4 + body.len() as u16).to_le_bytes());
        self.0.extend(places);
        self.0.extend((length as i32).to_le_bytes());
        self.0.extend(body);
        Written { at, refers }
    }

    /// Says that the offset at `place` leads to `to`.
    fn patch(&mut self, place: usize, to: usize) {
        self.0[place..place + 4].copy_from_slice(&((to - place) as u32).to_le_bytes());
    }

    fn string(&mut self, place: usize, text: &[u8]) {
        self.patch(place, self.0.len());
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text);
        self.0.push(0);
    }

    /// Where the offsets of a vector's elements are.
    fn vector(&mut self, place: usize, count: usize) -> Vec<usize> {
        self.patch(place, self.0.len());
        self.0.extend((count as u32).to_le_bytes());
        let first = self.0.len();
        self.0.extend(vec![0; 4 * count]);
        (0..count).map(|index| first + 4 * index).collect()
    }
}
