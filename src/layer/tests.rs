//! Whole layers, scanned; and layers cut and damaged everywhere.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use super::fixture::{Block, END, file, pax, read_all};
use super::*;
use crate::support::random::Random;

/// A layer with every kind of header.
fn layer() -> Vec<u8> {
    let sparse_records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "sparse/new"),
        ("GNU.sparse.realsize", "9000"),
    ];
    let map = format!("2\n512\n600\n8000\n1000\n{}", "\0".repeat(492));
    let sparse_entries = "00000001000\x0000000001130\x0000000017500\x0000000001750\0";
    [
        Block::new("dir/", b'5', 0).with(""),
        file("dir/file", "0123456789".repeat(77)),
        pax(&[("path", "dir/pax"), ("mtime", "1.5"), ("SCHILY.xattr.user.x", "y")]),
        file("x", "pax data"),
        Block::new("@", b'L', 300).gnu().with("n".repeat(300)),
        Block::new("@", b'K', 600).gnu().with("t".repeat(600)),
        Block::new("n", b'2', 0).gnu().link("t").with(""),
        Block::new("hard", b'1', 0).link("dir/file").with(""),
        Block::new("old", b'S', 1600).gnu().set(386, sparse_entries).set(483, "00000021450\0").with("o".repeat(1600)),
        pax(&sparse_records),
        Block::new("x", b'0', 512 + 1600).with(map + &"s".repeat(1600)),
        Block::new("null", b'3', 0).set(329, "0000001\0").set(337, "0000003\0").with(""),
        file("last", "end"),
        END.to_vec(),
    ]
    .concat()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(data, 1).unwrap()
}

/// What an unreliable source ends with in place of a clean end.
#[derive(Clone, Copy)]
struct Blob<'a> {
    bytes: &'a [u8],
    mismatch: bool,
}

/// A reader of a [`Blob`] that counts what was read.
struct BlobReader<'a>(Blob<'a>, Rc<Cell<usize>>);

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = buffer.len().min(1000);
        let read = self.0.bytes.read(&mut buffer[..limit])?;
        self.1.set(self.1.get() + read);
        if read == 0 && self.0.mismatch { Err(io::Error::other("the digest is wrong")) } else { Ok(read) }
    }
}

/// Scans a blob, reads each file or not, and gives the names seen, how much of the blob was read, and the result.
fn scan_blob(blob: Blob<'_>, read: bool, stop_at: Option<&str>) -> (Vec<String>, usize, Result<(), LayerError>) {
    let mut names = Vec::new();
    let count = Rc::new(Cell::new(0));
    let result = read_layer(BlobReader(blob, Rc::clone(&count)), &mut |entry, data| {
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        if read {
            io::copy(data, &mut io::sink())?;
        }
        let stop = stop_at == Some(name.as_str());
        names.push(name);
        Ok::<_, LayerError>(if stop { Flow::Stop } else { Flow::Continue })
    });
    (names, count.get(), result)
}

/// Decompresses `blob` and scans it.
fn read_layer(
    blob: impl Read,
    visit: &mut dyn FnMut(&Entry, &mut dyn Content) -> Result<Flow, LayerError>,
) -> Result<(), LayerError> {
    scan(Decompressed::new(blob)?, visit)
}

#[test]
fn a_scan_visits_every_entry_and_reads_the_blob_to_its_end() {
    let tar = layer();
    // Zeros behind the archive's end, as tar's blocking factor makes them.
    let padded = [&tar[..], &[0; 100_000]].concat();
    for blob in [gzip(&padded), zstd(&padded), padded, [gzip(&tar), vec![0; 5000]].concat()] {
        for read in [false, true] {
            let (names, count, result) = scan_blob(Blob { bytes: &blob, mismatch: false }, read, None);
            result.unwrap();
            assert_eq!((names.len(), names.last().map(String::as_str)), (9, Some("last")));
            assert_eq!(count, blob.len());
        }
    }
}

#[test]
fn a_wrong_digest_is_found_at_the_end_of_the_blob() {
    let tar = layer();
    for blob in [gzip(&tar), zstd(&tar), tar] {
        let (names, _, result) = scan_blob(Blob { bytes: &blob, mismatch: true }, false, None);
        assert_eq!(names.len(), 9);
        assert_eq!(result.unwrap_err().to_string(), "the digest is wrong");
    }
}

#[test]
fn a_wrong_digest_explains_a_damaged_layer() {
    let tar = [layer(), file("big", vec![b'x'; 300_000])].concat();
    for good in [gzip(&tar), zstd(&tar), tar] {
        let mut random = Random::new(7);
        for _ in 0..50 {
            let mut blob = good.clone();
            let at = random.below(blob.len());
            blob[at] ^= 1 << random.below(8);
            for read in [false, true] {
                let (_, _, result) = scan_blob(Blob { bytes: &blob, mismatch: true }, read, None);
                let error = result.unwrap_err();
                assert!(matches!(error, LayerError::Io(_) | LayerError::Compression(_)), "{error}");
            }
        }
    }
}

#[test]
fn a_stopped_scan_reads_no_further() {
    let tar = [layer(), file("big", vec![b'x'; 1_000_000])].concat();
    let (names, count, result) = scan_blob(Blob { bytes: &tar, mismatch: true }, true, Some("dir/file"));
    result.unwrap();
    assert_eq!(names, ["dir", "dir/file"]);
    assert!(count < 10_000, "{count} bytes were read");
}

#[test]
fn an_error_of_the_visitor_ends_the_scan_at_once() {
    let tar = [layer(), vec![0; 1_000_000]].concat();
    let count = Rc::new(Cell::new(0));
    let blob = BlobReader(Blob { bytes: &tar, mismatch: true }, Rc::clone(&count));
    let result = read_layer(blob, &mut |_, _| Err(LayerError::Io(io::Error::other("the disk is full"))));
    assert_eq!(result.unwrap_err().to_string(), "the disk is full");
    assert!(count.get() < 10_000);
}

#[test]
fn an_empty_blob_is_an_empty_layer() {
    let (names, _, result) = scan_blob(Blob { bytes: &[], mismatch: false }, true, None);
    result.unwrap();
    assert!(names.is_empty());
}

#[test]
fn a_layer_cut_anywhere_is_never_taken_for_a_whole_one() {
    let tar = layer();
    let whole = read_all(&tar).unwrap();
    let mut random = Random::new(1);
    let cuts = (0..tar.len()).step_by(512).chain((0..2000).map(|_| random.below(tar.len()))).collect::<Vec<_>>();
    for cut in cuts {
        // A clean end is one between two entries: all before it whole, nothing of the next one there.
        if let Ok(entries) = read_all(&tar[..cut]) {
            assert_eq!(entries, whole[..entries.len()], "cut at {cut}");
            if let Some((next, _)) = whole.get(entries.len()) {
                assert!(next.header_offset >= cut as u64, "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_compressed_layer_cut_anywhere_is_an_error() {
    let tar = layer();
    for blob in [gzip(&tar), zstd(&tar)] {
        for end in 4..blob.len() {
            let (_, _, result) = scan_blob(Blob { bytes: &blob[..end], mismatch: false }, true, None);
            assert!(result.is_err(), "cut at {end}");
        }
    }
}

#[test]
fn damage_anywhere_is_survived() {
    let tar = layer();
    for (seed, good) in [tar.clone(), gzip(&tar), zstd(&tar)].into_iter().enumerate() {
        let mut random = Random::new(seed as u64);
        for _ in 0..3000 {
            let mut blob = good.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(blob.len());
                blob[at] = random.below(256) as u8;
            }
            let mut entries = 0;
            let result = read_layer(&blob[..], &mut |_, data| {
                entries += 1;
                // No more, as a hole may be of any size.
                io::copy(&mut data.take(5_000), &mut io::sink())?;
                Ok::<_, LayerError>(Flow::Continue)
            });
            assert!(entries <= 40, "{result:?}");
        }
    }
}

#[test]
fn damage_inside_headers_whose_checksum_was_mended_is_survived() {
    let tar = layer();
    let headers: Vec<_> = (0..tar.len()).step_by(512).filter(|at| tar[at + 257..].starts_with(b"ustar")).collect();
    let mut random = Random::new(99);
    for _ in 0..6000 {
        let mut damaged = tar.clone();
        let at = headers[random.below(headers.len())];
        let block = &mut damaged[at..at + 512];
        for _ in 0..=random.below(3) {
            block[random.below(512)] = [0, 0xff, 0x80, b'7', b'9', b'/', random.below(256) as u8][random.below(7)];
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        // Whatever comes of it: it ends, and each name is canonical.
        let mut tar = TarReader::new(&damaged[..]);
        while let Ok(Some(entry)) = tar.next() {
            let components = entry.path.split(|&byte| byte == b'/');
            let odd = components.clone().any(|part| matches!(part, b"." | b".." | b""));
            assert!(!odd || entry.path.is_empty(), "{}", entry.path.escape_ascii());
            let _ = io::copy(&mut tar.data().take(5_000), &mut io::sink());
        }
    }
}
