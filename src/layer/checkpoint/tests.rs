//! Every stretch of a tar, read through its extent alone.

use std::io::Write;
use std::ops::Range;

use super::*;

/// Bytes that compress, with stretches that do not: seeded, so always the same.
fn content(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = state >> 24;
        match random % 5 {
            0 => bytes.extend_from_slice(&random.to_le_bytes()),
            1 => bytes.extend_from_slice(b"the quick brown fox jumps over the lazy dog "),
            2 => bytes.extend(std::iter::repeat_n(b'.', (random % 300) as usize)),
            _ => {
                let back = (random as usize % 30_000).min(bytes.len());
                let from = bytes.len() - back;
                let until = (from + (random as usize >> 8) % 200).min(bytes.len());
                bytes.extend_from_within(from..until);
            }
        }
    }
    bytes.truncate(length);
    bytes
}

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads the stretches `wanted` of `content` through their extents in `blob`, and compares.
fn check(name: &str, blob: &[u8], content: &[u8], wanted: &[Range<u64>]) {
    let mut tracked = Tracked::new(blob).unwrap();
    let mut read = 0_u64;
    for range in wanted {
        let mut skip = |to: u64, tracked: &mut Tracked<&[u8]>| {
            let skipped = io::copy(&mut tracked.by_ref().take(to - read), &mut io::sink()).unwrap();
            assert_eq!(skipped, to - read, "{name}");
            read = to;
        };
        skip(range.start, &mut tracked);
        // An entry's headers have been read when it begins.
        tracked.fill_buf().unwrap();
        tracked.begin_entry(range.start, range.end);
        skip(range.end, &mut tracked);
        let extent = tracked.extent(range.end).unwrap();
        let bytes = &blob[extent.compressed.start as usize..extent.compressed.end as usize];
        let mut reader = ExtentReader::new(&extent.checkpoint, bytes).unwrap();
        io::copy(&mut reader.by_ref().take(range.start - extent.uncompressed.start), &mut io::sink()).unwrap();
        let mut got = vec![0; (range.end - range.start) as usize];
        reader.read_exact(&mut got).unwrap_or_else(|error| panic!("{name} {range:?}: {error}"));
        assert!(got == content[range.start as usize..range.end as usize], "{name} {range:?}");
    }
    tracked.finish().unwrap();
}

const LENGTH: usize = 1_500_000;

fn stretches() -> Vec<Range<u64>> {
    let end = LENGTH as u64;
    vec![0..1, 1..513, 600..600, 1024..200_000, 200_001..200_002, 700_000..1_100_000, end - 1..end, end..end]
}

#[test]
fn every_stretch_is_read_through_its_extent_alone() {
    let content = content(LENGTH);
    for level in 0..=9 {
        check(&format!("gzip level {level}"), &gzip(&content, level), &content, &stretches());
    }
    let members: Vec<u8> = content.chunks(333_333).flat_map(|chunk| gzip(chunk, 6)).collect();
    check("several gzip members", &members, &content, &stretches());
    let frames: Vec<u8> = content.chunks(400_000).flat_map(|chunk| zstd::encode_all(chunk, 3).unwrap()).collect();
    check("several zstd frames", &frames, &content, &stretches());
    check("one zstd frame", &zstd::encode_all(&content[..], 3).unwrap(), &content, &stretches());
    check("no compression", &content, &content, &stretches());
}

#[test]
fn a_gzip_header_with_every_field_is_skipped() {
    let content = content(100_000);
    let mut blob = Vec::new();
    let mut encoder = flate2::GzBuilder::new()
        .extra(vec![7; 300])
        .filename("layer.tar")
        .comment("a comment")
        .write(&mut blob, flate2::Compression::default());
    encoder.write_all(&content).unwrap();
    encoder.finish().unwrap();
    check("all header fields", &blob, &content, std::slice::from_ref(&(70_000..90_000)));
}

#[test]
fn an_extent_is_little_more_than_the_bytes_it_holds() {
    let content = content(8 << 20);
    let blob = gzip(&content, 6);
    let wanted = 7_000_000..8_000_000;
    let mut tracked = Tracked::new(&blob[..]).unwrap();
    io::copy(&mut tracked.by_ref().take(wanted.start), &mut io::sink()).unwrap();
    tracked.begin_entry(wanted.start, wanted.end);
    io::copy(&mut tracked.by_ref().take(wanted.end - wanted.start), &mut io::sink()).unwrap();
    let extent = tracked.extent(wanted.end).unwrap();
    let alone = gzip(&content[7_000_000..8_000_000], 6).len() as u64;
    let spent = extent.compressed.end - extent.compressed.start;
    assert!(spent <= alone + 64 * 1024, "{spent} bytes for {alone}");
}

#[test]
fn a_damaged_or_short_blob_is_an_error_and_never_a_panic() {
    let content = content(100_000);
    let blob = gzip(&content, 6);
    for cut in (0..blob.len()).step_by(997).skip(1) {
        let mut tracked = Tracked::new(&blob[..cut]).unwrap();
        assert!(io::copy(&mut tracked, &mut io::sink()).is_err(), "cut at {cut}");
    }
    for at in (12..blob.len()).step_by(101) {
        let mut broken = blob.clone();
        broken[at] ^= 0x55;
        let mut tracked = Tracked::new(&broken[..]).unwrap();
        assert!(io::copy(&mut tracked, &mut io::sink()).is_err(), "changed at {at}");
    }
}
