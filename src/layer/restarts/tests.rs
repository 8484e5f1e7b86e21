use std::io::{Read, Write};
use std::sync::Arc;

use super::super::{Ahead, Decompressed};
use super::*;
use crate::support::random::Random;

/// What `blob` decodes to, and where it can be begun again.
fn decoded(blob: &[u8], ahead: bool) -> (Vec<u8>, Arc<Restarts>) {
    let (restarts, mut tar) = (Arc::<Restarts>::default(), Vec::new());
    let stream = Decompressed::new(std::io::Cursor::new(blob.to_vec())).unwrap().noting(Arc::clone(&restarts));
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
    let tar = [random.compressible(6_000_000), random.bytes(1_500_000), vec![0; 3_000_000]].concat();
    let half = tar.len() / 2;
    let frames: Vec<u8> = tar.chunks(700_000).flat_map(|frame| zstd::encode_all(frame, 1).unwrap()).collect();
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
            for _ in 0..30 {
                let start = random.below(tar.len());
                let end = start + random.below((tar.len() - start).min(300_000) + 1);
                let (found, read) = read_back(blob, &restarts, start as u64..end as u64);
                assert!(found == tar[start..end], "blob {nth}, {start} to {end}");
                // One zstd frame can only be begun at its start.
                if nth != 5 {
                    let distance = 2 * FIRST_DISTANCE as usize + 200_000;
                    assert!(read <= (end - start) + distance, "blob {nth}: {read} for {}", end - start);
                }
            }
        }
    }
}

#[test]
fn a_layer_of_any_length_keeps_no_more_than_so_many_checkpoints() {
    let blob = gzip(&Random::new(5).bytes(3 * MAX_CHECKPOINTS * FIRST_DISTANCE as usize), 0);
    let (tar, restarts) = decoded(&blob, true);
    assert!((MAX_CHECKPOINTS / 2..=MAX_CHECKPOINTS).contains(&restarts.count()), "{}", restarts.count());
    let places = restarts.places();
    assert!(places.reached.len() <= MAX_REACHED && places.distance == 4 * FIRST_DISTANCE);
    let kept = places.restarts.iter().map(|restart| match &restart.checkpoint {
        Checkpoint::DeflateBlock { window, .. } => window.capacity(),
        _ => 0,
    });
    assert!(kept.sum::<usize>() <= 2 << 20, "windows take 2 MiB");
    drop(places);
    restarts.thin();
    let last = tar.len() as u64;
    assert!(read_back(&blob, &restarts, last - 1000..last).0 == tar[tar.len() - 1000..]);
}
