use std::io::{Read, Write};
use std::sync::Arc;

use super::*;
use crate::artifact::error::Error;
use crate::artifact::layers::{Noting, Verify, scan_noting};
use crate::image::digest::Hasher;
use crate::layer::checkpoint::ExtentReader;
use crate::layer::fixture::tar_of;
use crate::layer::{Flow, Kind};
use crate::source::LayerBlob;
use crate::support::random::Random;

const MIB: u64 = 1 << 20;

/// What a table was told.
#[derive(Default)]
struct Recorder {
    restarts: Vec<Restart>,
    windows: u64,
    reached: Vec<(u64, u64)>,
    entries: Vec<Entry>,
    /// Whether the disk is full after so many entries.
    room: Option<usize>,
}

impl Sink for Recorder {
    fn checkpoint(&mut self, restart: &Restart) -> Result<u64, NotWritten> {
        let packed = match &*restart.checkpoint {
            Checkpoint::DeflateBlock { window, .. } if !window.is_empty() => zstd::encode_all(&window[..], 3)?.len(),
            _ => 0,
        };
        self.windows += packed as u64;
        self.restarts.push(restart.clone());
        Ok(packed as u64)
    }

    fn reached(&mut self, uncompressed: u64, compressed: u64) {
        self.reached.push((uncompressed, compressed));
    }

    fn entry(&mut self, entry: &Entry, _: Option<Digest>) -> Result<(), NotWritten> {
        if self.room == Some(self.entries.len()) {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        self.entries.push(entry.clone());
        Ok(())
    }

    fn hashed(&mut self, _: u64, _: &Hasher) {}
}

/// Gives its bytes in pieces of any length.
struct Pieces(io::Cursor<Vec<u8>>, Random);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = (1 + self.1.below(90_000)).min(buffer.len());
        self.0.read(&mut buffer[..most])
    }
}

/// How a layer is read.
#[derive(Clone, Copy)]
struct Way {
    seed: u64,
    /// Whether contents are wanted, which are then decoded on a thread.
    wanted: bool,
    tracked: bool,
}

/// Reads `blob`, and tells it to a recorder with so much `room`.
fn told(blob: &[u8], way: Way, room: Option<usize>) -> Result<Option<Recorder>, NotWritten> {
    let size = blob.len() as u64;
    let begin = move |compression| {
        let blob = Blob { digest: Digest::of(b""), size, compression };
        Ok(Choosing::new(Recorder { room, ..Recorder::default() }, &blob))
    };
    let (filling, written) = Filling::begin_with(None, begin, Choosing::finish).unwrap();
    read(&filling, blob, way);
    filling.end();
    written.join().unwrap()
}

/// Reads `blob` to its end, and tells `filling` of it.
fn read(filling: &Filling, blob: &[u8], way: Way) {
    let pieces = Pieces(io::Cursor::new(blob.to_vec()), Random::new(way.seed));
    let layer = LayerBlob::Stream(Box::new(pieces), Arc::default());
    let noting = Noting { extents: way.tracked, observers: vec![filling.observer()] };
    scan_noting(layer, "layer 1 of 1", Verify::Always, noting, &mut |entry, data| {
        filling.entry(entry);
        if way.wanted {
            io::copy(data, &mut io::sink()).map_err(|error| Error::in_layer("", error.into()))?;
        }
        Ok(Flow::Continue)
    })
    .unwrap();
}

const WAYS: [Way; 4] = [
    Way { seed: 1, wanted: false, tracked: false },
    Way { seed: 2, wanted: true, tracked: false },
    Way { seed: 3, wanted: true, tracked: false },
    Way { seed: 4, wanted: false, tracked: true },
];

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Gzip whose blocks are not longer than what `length` bytes take.
fn flushed(bytes: &[u8], level: u32, length: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    for part in bytes.chunks(length) {
        encoder.write_all(part).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

fn members(tar: &[u8], length: usize) -> Vec<u8> {
    tar.chunks(length).flat_map(|member| gzip(member, 6)).collect()
}

fn frames(tar: &[u8], length: usize) -> Vec<u8> {
    tar.chunks(length).flat_map(|frame| zstd::encode_all(frame, 1).unwrap()).collect()
}

/// A tar of files of many lengths, of which some compress.
fn layer(random: &mut Random, files: usize, longest: usize) -> Vec<u8> {
    let files: Vec<(String, Vec<u8>)> = (0..files)
        .map(|nth| {
            let length = if random.below(4) == 0 { random.below(longest) } else { random.below(9_000) };
            let content = if random.below(3) == 0 { random.bytes(length) } else { random.compressible(length) };
            (format!("d/{nth}"), content)
        })
        .collect();
    tar_of(&files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect::<Vec<_>>())
}

/// The part of the blob that a table with this in it names for `entry`: where that begins, and where it ends.
fn part(recorder: &Recorder, content: Content, size: u64) -> (Restart, u64) {
    let restart = recorder.restarts.iter().rfind(|restart| restart.uncompressed <= content.start);
    let end = recorder.reached.iter().find(|(uncompressed, _)| *uncompressed >= content.end);
    (restart.expect("the first place is always kept").clone(), end.map_or(size, |(_, compressed)| *compressed))
}

#[test]
fn the_content_of_each_file_is_in_the_part_of_the_blob_that_its_table_names() {
    let random = &mut Random::new(7);
    let tar = layer(random, 120, 400_000);
    let blobs = [
        gzip(&tar, 1),
        gzip(&tar, 9),
        gzip(&tar, 0),
        members(&tar, 1_000_000),
        members(&tar, 5_000),
        frames(&tar, 300_000),
        frames(&tar, 7_000),
        zstd::encode_all(tar.as_slice(), 1).unwrap(),
    ];
    for (nth, blob) in blobs.iter().enumerate() {
        let recorder = told(blob, WAYS[nth % WAYS.len()], None).unwrap().unwrap();
        assert_eq!(recorder.entries.len(), 120);
        let size = blob.len() as u64;
        for content in recorder.entries.iter().filter_map(Content::of) {
            let (restart, end) = part(&recorder, content, size);
            let stored = &blob[restart.compressed as usize..end as usize];
            let mut reader = ExtentReader::new(&restart.checkpoint, stored).unwrap();
            io::copy(&mut (&mut reader).take(content.start - restart.uncompressed), &mut io::sink()).unwrap();
            let mut found = Vec::new();
            reader.take(content.end - content.start).read_to_end(&mut found).unwrap();
            assert!(found == tar[content.start as usize..content.end as usize], "blob {nth}, {content:?}");
        }
    }
}

#[test]
fn a_plain_layer_has_all_its_entries_and_no_places() {
    let tar = layer(&mut Random::new(8), 500, 40_000);
    let recorder = told(&tar, WAYS[1], None).unwrap().unwrap();
    assert_eq!((recorder.entries.len(), recorder.restarts.len(), recorder.reached.len()), (500, 0, 0));
}

#[test]
fn a_table_is_the_same_however_the_layer_came_and_was_read() {
    let random = &mut Random::new(9);
    let tar = layer(random, 400, 90_000);
    let repeated = layer_of(&repeating(random, 4 << 20));
    let blobs = [
        gzip(&tar, 6),
        gzip(&repeated, 6),
        members(&tar, 60_000),
        members(&repeated, 1_500_000),
        frames(&tar, 30_000),
        zstd::encode_all(&tar[..], 3).unwrap(),
    ];
    for blob in blobs {
        let places = |recorder: &Recorder| {
            let restarts = recorder.restarts.iter();
            let place = |restart: &Restart| (restart.uncompressed, restart.compressed, restart.checkpoint.clone());
            restarts.map(place).collect::<Vec<_>>()
        };
        let first = told(&blob, WAYS[0], None).unwrap().unwrap();
        for way in &WAYS[1..] {
            let other = told(&blob, *way, None).unwrap().unwrap();
            assert!(places(&first) == places(&other));
            assert_eq!(first.reached, other.reached);
            assert_eq!(first.entries, other.entries);
        }
    }
}

#[test]
fn no_file_begins_more_than_a_mebibyte_of_stored_bytes_behind_its_place_and_windows_take_little() {
    let random = &mut Random::new(10);
    let noise = layer_of(&random.bytes(5 << 20));
    let repeating = layer_of(&repeating(random, 8 << 20));
    let text = layer_of(&mixed(random, 12 << 20));
    let tar = layer(random, 900, 120_000);
    let blobs = [
        gzip(&noise, 0),
        gzip(&noise, 6),
        gzip(&noise, 9),
        flushed(&noise, 1, 70_000),
        members(&noise, 1_700_000),
        gzip(&repeating, 6),
        gzip(&repeating, 9),
        gzip(&text, 6),
        members(&tar, 200_000),
        frames(&tar, 200_000),
    ];
    for (nth, blob) in blobs.iter().enumerate() {
        let size = blob.len() as u64;
        assert!(size > 3 * MIB, "{size}");
        let recorder = told(blob, WAYS[nth % WAYS.len()], None).unwrap().unwrap();
        for content in recorder.entries.iter().filter_map(Content::of) {
            let (restart, end) = part(&recorder, content, size);
            let begun = recorder.reached.iter().rfind(|(uncompressed, _)| *uncompressed <= content.start);
            let begun = begun.map_or(0, |(_, compressed)| *compressed);
            assert!(begun <= restart.compressed + MIB, "{nth}: {} bytes", begun - restart.compressed);
            assert!(end - restart.compressed <= MIB + (content.end - content.start), "{nth}: {content:?}");
        }
        assert!(recorder.windows <= size * 13 / 1000, "{nth}: {} of {size}", recorder.windows);
    }
}

#[test]
fn the_table_of_a_layer_that_does_not_compress_is_short() {
    let random = &mut Random::new(15);
    for tar in [layer_of(&random.bytes(4 << 20)), layer_of(&repeating(random, 6 << 20))] {
        let blob = gzip(&tar, 6);
        let writer = |blob| Ok(Writer::new(tempfile::tempfile()?, Box::new(tempfile::tempfile), blob));
        let digest = (Digest::of(&blob), blob.len() as u64);
        let (filling, written) = Filling::begin(digest, None, writer, Ok).unwrap();
        read(&filling, &blob, WAYS[1]);
        filling.end();
        let table = written.join().unwrap().unwrap().unwrap();
        let most = blob.len() as u64 * 15 / 1000 + 64 * table.rows;
        assert!(table.rows > 200 && table.length <= most, "{} bytes, {most} at most", table.length);
    }
}

#[test]
fn all_that_follows_a_place_is_decoded_from_there() {
    let random = &mut Random::new(16);
    let kinds = [random.bytes(3 << 20), repeating(random, 4 << 20), random.compressible(8 << 20), {
        let parts = [repeating(random, 1 << 20), random.bytes(1 << 20), vec![0; 3 << 20], mixed(random, 3 << 20)];
        [parts.concat(), random.bytes(1 << 20)].concat()
    }];
    let mut places = 0;
    for (nth, kind) in kinds.iter().enumerate() {
        let tar = layer_of(kind);
        let blobs = [
            gzip(&tar, 0),
            flushed(&tar, 1, 70_000),
            gzip(&tar, 6),
            gzip(&tar, 9),
            members(&tar, 1_000_000),
            members(&tar, 15_000),
        ];
        for (way, blob) in blobs.iter().enumerate() {
            let recorder = told(blob, WAYS[way % WAYS.len()], None).unwrap().unwrap();
            // Of short members, each of which can be begun, a few will do.
            let step = recorder.restarts.len().div_ceil(10);
            for restart in recorder.restarts.iter().step_by(step) {
                let stored = &blob[restart.compressed as usize..];
                let mut found = Vec::new();
                ExtentReader::new(&restart.checkpoint, stored).unwrap().read_to_end(&mut found).unwrap();
                assert!(found == tar[restart.uncompressed as usize..], "{nth}, {way}: {}", restart.compressed);
                places += 1;
            }
        }
    }
    assert!(places > 100, "{places}");
}

#[test]
fn a_place_just_before_the_end_of_a_layer_or_of_a_member_is_as_good_as_any() {
    let noise = Random::new(17).bytes(1_100_000);
    for length in (950_000..1_050_000).step_by(9_000) {
        let tar = tar_of(&[("first", b"1"), ("noise", &noise[..length]), ("last", &noise[length..length + 700])]);
        let cut = tar.len() - 2_000;
        for blob in [gzip(&tar, 6), [gzip(&tar[..cut], 6), gzip(&tar[cut..], 6)].concat()] {
            let recorder = told(&blob, WAYS[0], None).unwrap().unwrap();
            let restart = &recorder.restarts[1];
            assert!(restart.compressed + (100 << 10) > blob.len() as u64 && recorder.windows < 2_000, "{length}");
            let mut found = Vec::new();
            let stored = &blob[restart.compressed as usize..];
            ExtentReader::new(&restart.checkpoint, stored).unwrap().read_to_end(&mut found).unwrap();
            assert!(found == tar[restart.uncompressed as usize..], "{length}");
        }
    }
}

#[test]
fn places_that_no_content_can_need_any_more_are_let_go() {
    let blob = Blob { digest: Digest::of(b""), size: 1 << 40, compression: Compression::Gzip };
    let mut choosing = Choosing::new(Recorder::default(), &blob);
    let (mut held, mut most) = (Vec::new(), 0);
    for nth in 0..1000 {
        let checkpoint = Arc::new(Checkpoint::DeflateBlock { skipped_bits: 0, window: vec![1; 32 << 10] });
        held.push(Arc::downgrade(&checkpoint));
        let (uncompressed, compressed) = (nth * 200_000, nth * 70_000);
        choosing.restart(Restart { uncompressed, compressed, checkpoint, first: None });
        choosing.reached(uncompressed, compressed).unwrap();
        most = most.max(held.iter().filter(|checkpoint| checkpoint.strong_count() > 0).count());
    }
    assert!(most < 40, "{most}");
}

/// Bytes that hardly compress, though much of them was there before, up to 32 KiB back.
fn repeating(random: &mut Random, length: usize) -> Vec<u8> {
    let mut bytes = random.bytes(33_000);
    while bytes.len() < length {
        let (from, some) = (bytes.len() - 300 - random.below(32_000), 4 + random.below(100));
        bytes.extend_from_within(from..from + some.min(300));
        let fresh = random.below(200);
        bytes.extend(random.bytes(fresh));
    }
    bytes
}

/// Bytes that compress to about a third, as what programs are made of does.
fn mixed(random: &mut Random, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 1000);
    while bytes.len() < length {
        bytes.extend(random.bytes(250));
        bytes.extend(random.compressible(750));
    }
    bytes
}

/// A tar of short files that have this content together.
fn layer_of(content: &[u8]) -> Vec<u8> {
    let files: Vec<(String, &[u8])> =
        content.chunks(20_000).enumerate().map(|(nth, content)| (format!("t/{nth}"), content)).collect();
    tar_of(&files.iter().map(|(name, content)| (name.as_str(), *content)).collect::<Vec<_>>())
}

#[test]
fn a_long_file_leaves_no_places_inside_it() {
    let random = &mut Random::new(12);
    let long = mixed(random, 12 << 20);
    let blob = gzip(&tar_of(&[("a", b"1"), ("long", &long), ("z", b"2")]), 6);
    let recorder = told(&blob, WAYS[1], None).unwrap().unwrap();
    assert_eq!(recorder.restarts.len(), 2, "at the start, and in front of the last file");
}

#[test]
fn a_full_disk_gives_up_the_table_and_not_the_reading() {
    let tar = layer(&mut Random::new(13), 900, 30_000);
    for blob in [gzip(&tar, 6), frames(&tar, 9_000), tar] {
        for room in [0, 1, 500] {
            let refused = told(&blob, WAYS[1], Some(room)).map(|recorder| recorder.is_some());
            assert!(matches!(&refused, Err(NotWritten::Io(error)) if error.kind() == io::ErrorKind::StorageFull));
        }
    }
}

#[test]
fn a_reading_that_does_not_come_to_its_end_leaves_no_table() {
    let blob = gzip(&layer(&mut Random::new(14), 900, 30_000), 6);
    let begin = |compression| {
        let blob = Blob { digest: Digest::of(b""), size: 1 << 20, compression };
        Ok(Choosing::new(Recorder::default(), &blob))
    };
    for stopped in [0, 1, 400] {
        let (filling, written) = Filling::begin_with(None, begin, Choosing::finish).unwrap();
        let (mut left, layer) = (stopped, LayerBlob::Stream(Box::new(io::Cursor::new(blob.clone())), Arc::default()));
        let noting = Noting { extents: false, observers: vec![filling.observer()] };
        scan_noting(layer, "", Verify::Always, noting, &mut |entry, _| {
            assert!(matches!(entry.kind, Kind::File { .. }));
            filling.entry(entry);
            left -= i32::from(left > 0);
            Ok(if left == 0 { Flow::Stop } else { Flow::Continue })
        })
        .unwrap();
        drop(filling);
        assert!(written.join().unwrap().unwrap().is_none());
    }
}
