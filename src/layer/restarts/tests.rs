use std::io::{Read, Write};
use std::sync::Arc;

use super::super::observer::Observer;
use super::super::{Ahead, Decompressed};
use super::*;
use crate::support::random::Random;

/// What `blob` decodes to, and where it can be begun again.
fn decoded(blob: &[u8], ahead: bool) -> (Vec<u8>, Arc<Restarts>) {
    let (restarts, mut tar) = (Arc::<Restarts>::default(), Vec::new());
    let stream = Decompressed::new(std::io::Cursor::new(blob.to_vec()))
        .unwrap()
        .observed_by(vec![Arc::clone(&restarts) as Arc<dyn Observer>]);
    match ahead {
        true => Ahead::new(stream).read_to_end(&mut tar).unwrap(),
        false => { stream }.read_to_end(&mut tar).unwrap(),
    };
    (tar, restarts)
}

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads `wanted` of the tar out of the bytes of `blob` that the way back names alone, and says how many these are.
fn read_back(blob: &[u8], restarts: &Restarts, wanted: Range<u64>) -> (Vec<u8>, usize) {
    let way = restarts.way_back(&wanted).unwrap();
    let end = way.compressed.1.map_or(blob.len(), |end| end as usize);
    let part = &blob[way.compressed.0 as usize..end];
    let mut reader = Decompressed::resume(&restarts.checkpoint(&way).unwrap(), part).unwrap();
    std::io::copy(&mut (&mut reader).take(wanted.start - way.uncompressed), &mut std::io::sink()).unwrap();
    let mut found = Vec::new();
    reader.take(wanted.end - wanted.start).read_to_end(&mut found).unwrap();
    (found, part.len())
}

#[test]
fn any_stretch_is_read_again_from_the_checkpoint_before_it_however_a_layer_is_compressed() {
    let random = &mut Random::new(3);
    let tar = [random.compressible(1_200_000), random.bytes(700_000), vec![0; 500_000]].concat();
    let half = tar.len() / 2;
    let frames: Vec<u8> = tar.chunks(200_000).flat_map(|frame| zstd::encode_all(frame, 1).unwrap()).collect();
    let blobs = [
        gzip(&tar, 1),
        gzip(&tar, 9),
        gzip(&tar, 0),
        [gzip(&tar[..half], 6), gzip(&tar[half..], 6)].concat(),
        frames,
        zstd::encode_all(tar.as_slice(), 1).unwrap(),
        tar.clone(),
    ];
    for (nth, blob) in blobs.iter().enumerate() {
        for ahead in [false, true] {
            let (all, restarts) = decoded(blob, ahead);
            assert!(all == tar, "blob {nth} decodes to the same while it is noted");
            for _ in 0..6 {
                let start = random.below(tar.len());
                let end = start + random.below((tar.len() - start).min(300_000) + 1);
                let (found, read) = read_back(blob, &restarts, start as u64..end as u64);
                assert!(found == tar[start..end], "blob {nth}, {start} to {end}");
                // One zstd frame can only be begun at its start.
                if nth != 5 {
                    let distance = 2 * FIRST_DISTANCE as usize + 400_000;
                    assert!(read <= (end - start) + distance, "blob {nth}: {read} for {}", end - start);
                }
            }
        }
    }
}

#[test]
fn a_layer_of_any_length_keeps_no_more_than_so_many_checkpoints() {
    let restarts = Restarts::default();
    let mut due = 0;
    let blocks = 3 * MAX_CHECKPOINTS as u64 * FIRST_DISTANCE / 10_000;
    for position in (0..blocks).map(|block| block * 10_000) {
        if position >= due {
            let window = Checkpoint::DeflateBlock { skipped_bits: 0, window: vec![0; 32 << 10] };
            let restart =
                Restart { uncompressed: 3 * position, compressed: position, checkpoint: Arc::new(window), first: None };
            due = position + restarts.restart(&restart).distance;
        }
        restarts.reached(3 * position, position);
    }
    assert!((MAX_CHECKPOINTS / 2..=MAX_CHECKPOINTS).contains(&restarts.count()), "{}", restarts.count());
    assert!(restarts.places().reached.len() <= MAX_REACHED);
    assert_eq!(restarts.places().distance, 4 * FIRST_DISTANCE);
    let way = |restarts: &Restarts| restarts.way_back(&(90_000_000..90_300_000)).unwrap();
    let near = way(&restarts);
    assert!(near.compressed.0 <= 30_000_000 && near.compressed.0 + 5 * FIRST_DISTANCE >= 30_000_000, "{near:?}");
    assert!(near.compressed.1.is_some_and(|end| (30_100_000..30_200_000).contains(&end)), "{near:?}");
    restarts.thin();
    assert!(way(&restarts).compressed.0 <= near.compressed.0 && restarts.checkpoint(&way(&restarts)).is_some());
}
