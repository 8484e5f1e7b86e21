//! Where contents are, and what lets a part of the blob be compared.

use std::io::Cursor;

use super::*;
use crate::image::digest::Hasher;
use crate::layer::checkpoint::Checkpoint;

/// Entries, checkpoints and how far the decoder was, as they come for a layer with files of random lengths.
struct Course {
    entries: Vec<Entry>,
    checkpoints: Vec<(u64, u64, Checkpoint)>,
    reached: Vec<(u64, u64)>,
}

fn course(random: &mut Random, compression: Compression) -> Course {
    let files = (0..300).map(|i| {
        let most = [1, 1000, 50_000][random.below(3)];
        let size = random.below(most) as u64;
        let sparse = random.one_in(20);
        entry(&format!("d{}/{i}", random.below(5)), Kind::File { size, sparse })
    });
    let entries = numbered(files.collect());
    let length = entries.last().map_or(0, |last| last.data_offset + 60_000);
    let (mut checkpoints, mut reached) = (Vec::new(), Vec::new());
    let (mut compressed, mut uncompressed) = (18, 0);
    while uncompressed < length {
        if random.one_in(5) || uncompressed == 0 {
            let checkpoint = match compression {
                Compression::Zstd => Checkpoint::ZstdFrame,
                _ if uncompressed == 0 => Checkpoint::DeflateBlock { skipped_bits: 0, window: Vec::new() },
                _ => {
                    let (skipped_bits, length) = (random.below(8) as u8, 1 + random.below(32 << 10));
                    Checkpoint::DeflateBlock { skipped_bits, window: random.compressible(length) }
                }
            };
            checkpoints.push((compressed, uncompressed, checkpoint));
        }
        compressed += random.below(16_000) as u64;
        uncompressed += random.below(60_000) as u64 + 1;
        reached.push((compressed, uncompressed));
    }
    Course { entries, checkpoints, reached }
}

#[test]
fn content_begins_at_the_last_checkpoint_before_it_and_ends_where_the_decoder_had_it() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let compression = if seed % 2 == 0 { Compression::Gzip } else { Compression::Zstd };
        let Course { entries, checkpoints, reached } = course(&mut random, compression);
        let mut writer = writer(compression, [SMALL, Sizes::default()][random.below(2)]);
        for (compressed, uncompressed, checkpoint) in &checkpoints {
            let taken = writer.checkpoint(*compressed, *uncompressed, checkpoint).unwrap();
            let has_window = matches!(checkpoint, Checkpoint::DeflateBlock { window, .. } if !window.is_empty());
            assert_eq!(taken > 0, has_window);
        }
        reached.iter().for_each(|(compressed, uncompressed)| writer.reached(*compressed, *uncompressed));
        for entry in &entries {
            writer.entry(entry, Some(Digest::of(&entry.path))).unwrap();
        }
        let table = finish(writer, compression);
        let rows = table.all();
        assert_eq!(rows.iter().filter(|row| !row.implied).count(), entries.len());
        for row in rows {
            let Kind::File { size: 1.., sparse: false } = row.entry.kind else {
                assert!(row.content.is_none());
                continue;
            };
            let Kind::File { size, .. } = row.entry.kind else { unreachable!() };
            let Located { start, end, digest } = row.content.unwrap();
            assert_eq!(digest, Some(Digest::of(&row.entry.path)));
            let expected = checkpoints.iter().rfind(|(_, at, _)| *at <= row.entry.data_offset).unwrap();
            let window = start.state.window().map_or(&b""[..], |window| table.part(window));
            assert_eq!((start.compressed, start.uncompressed), (expected.0, expected.1));
            assert_eq!(start.state.checkpoint(window).unwrap(), expected.2);
            let first = reached.iter().find(|(_, at)| *at >= row.entry.data_offset + size).unwrap();
            // Of two places with the same bytes of the blob the later one is kept.
            assert_eq!(end, first.0, "{seed}");
        }
    }
}

#[test]
fn a_plain_layer_begins_anywhere_and_what_has_no_checkpoint_in_front_is_nowhere() {
    let entries = numbered(vec![file("a"), entry("b", Kind::File { size: 5000, sparse: false })]);
    for row in table(&entries, Sizes::default()).all() {
        let Located { start, end, .. } = row.content.unwrap();
        assert_eq!(
            (start.compressed, start.uncompressed, &start.state),
            (end - if end > 2000 { 5000 } else { 1 }, row.entry.data_offset, &State::Plain)
        );
        assert_eq!(start.state.checkpoint(b"").unwrap(), Checkpoint::Plain);
    }
    let mut writer = writer(Compression::Zstd, Sizes::default());
    writer.entry(&entries[0], None).unwrap();
    writer.checkpoint(700, 1100, &Checkpoint::ZstdFrame).unwrap();
    writer.entry(&entries[1], None).unwrap();
    let rows = finish(writer, Compression::Zstd).all();
    assert!(rows[0].content.is_none());
    // Nobody said how far the decoder was.
    assert_eq!(rows[1].content.as_ref().unwrap().end, blob(Compression::Zstd).size);
}

#[test]
fn any_number_of_checkpoints_and_places_leaves_a_table_that_finds_everything() {
    let mut writer = writer(Compression::Zstd, Sizes::default());
    for i in 0..200_000_u64 {
        writer.checkpoint(i * 100, i * 1000, &Checkpoint::ZstdFrame).unwrap();
        writer.reached(i * 100 + 99, i * 1000 + 999);
    }
    let at = |i: u64| Entry { header_offset: i * 100_000 - 512, data_offset: i * 100_000, ..file(&format!("{i:05}")) };
    (1..1999).for_each(|i| writer.entry(&at(i), None).unwrap());
    for row in finish(writer, Compression::Zstd).all() {
        let Located { start, end, .. } = row.content.unwrap();
        let compressed = row.entry.data_offset / 10;
        assert!(start.uncompressed <= row.entry.data_offset && start.uncompressed == start.compressed * 10);
        assert!(end >= compressed && end - start.compressed < 4_000, "{start:?} {end} {compressed}");
    }
}

#[test]
fn a_part_of_a_blob_can_be_compared_with_what_came_first() {
    let bytes = Random::new(2).bytes(1_000_000);
    let digest = Digest::of(&bytes);
    let mut hasher = Hasher::default();
    let mut writer = Writer::new(
        tempfile::tempfile().unwrap(),
        Box::new(tempfile::tempfile),
        Blob { digest: digest.clone(), size: bytes.len() as u64, compression: Compression::None },
    );
    for (number, piece) in bytes.chunks(4096).enumerate() {
        writer.hashed(number as u64 * 4096, &hasher);
        writer.hashed(number as u64 * 4096 + 1, &hasher);
        hasher.update(piece);
    }
    let table = finish(writer, Compression::None);
    let trailer = Trailer::read(&table.bytes, table.bytes.len() as u64).unwrap();
    let around = |bytes: &[u8], range| {
        Trail::new(Cursor::new(bytes), &trailer.trail).unwrap().around(range, (&digest, 1_000_000)).unwrap()
    };
    let compared = |part: &Around, bytes: &[u8]| {
        let mut hasher = part.hasher.clone();
        hasher.update(&bytes[part.range.start as usize..part.range.end as usize]);
        hasher.finish() == part.expected
    };
    for range in [0..1, 0..1_000_000, 4096..4097, 8191..8192, 8191..8193, 100_000..200_000, 999_999..1_000_000, 7..7] {
        let part = around(&table.bytes, range.clone()).unwrap();
        assert!(part.range.start <= range.start && part.range.end >= range.end);
        assert!((part.range.end - part.range.start) - (range.end - range.start) <= 8192);
        assert!(compared(&part, &bytes));
        let mut other = bytes.clone();
        other[range.start as usize] ^= 1;
        assert!(!compared(&part, &other));
    }
    assert!(around(&table.bytes, 0..1_000_001).is_none());
    // Whatever is wrong in the trail, the part holds what is wanted, or there is none.
    let mut random = Random::new(3);
    for _ in 0..20_000 {
        let mut other = table.bytes.clone();
        let at = trailer.trail.start + random.below((trailer.trail.end - trailer.trail.start) as usize) as u64;
        other[at as usize] ^= 1 << random.below(8);
        let start = random.below(1_000_000) as u64;
        if let Some(part) = around(&other, start..start + random.below((1_000_000 - start) as usize) as u64) {
            assert!(part.range.start <= start && part.range.end <= 1_000_000);
        }
    }
}
