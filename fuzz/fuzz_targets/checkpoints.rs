//! Any bytes as a layer's blob: what is read through each extent alone is what a whole decode gives, or both say that it is damaged.
//! Run it with `cargo +nightly fuzz run checkpoints` (cargo-fuzz); start it off with layers in `fuzz/corpus/checkpoints`.

#![no_main]

use std::io::{self, BufRead, Read};

use docker_artifact::layer::checkpoint::ExtentReader;
use docker_artifact::layer::{Decompressed, Stream, Tracked};
use libfuzzer_sys::fuzz_target;

/// What is decoded of a blob, so that no input takes long.
const MOST: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    // The first byte says how long the entries are, the rest is the blob.
    let Some((length, blob)) = input.split_first() else { return };
    let length = 1 + u64::from(*length).pow(2);
    let mut whole = Vec::new();
    let Ok(stream) = Decompressed::new(blob) else { return };
    let result = stream.take(MOST).read_to_end(&mut whole);
    let Ok(mut tracked) = Tracked::new(blob) else { panic!("tracking changes what may be read") };
    let end = whole.len() as u64;
    let mut at = 0;
    while at < end {
        let next = end.min(at + length);
        // What comes before damage need not come out, and need not be the same either way.
        let Ok(_) = tracked.fill_buf() else { return assert!(result.is_err() || end == MOST) };
        tracked.begin_entry(at, next);
        let Ok(read) = io::copy(&mut tracked.by_ref().take(next - at), &mut io::sink()) else {
            return assert!(result.is_err() || end == MOST);
        };
        assert_eq!(read, next - at);
        let extent = tracked.extent(next).expect("an extent of what has been read");
        let bytes = &blob[extent.compressed.start as usize..extent.compressed.end as usize];
        let mut reader = ExtentReader::new(&extent.checkpoint, bytes).expect("memory");
        let before = at - extent.uncompressed.start;
        assert_eq!(io::copy(&mut reader.by_ref().take(before), &mut io::sink()).expect("the same as before"), before);
        let mut got = vec![0; (next - at) as usize];
        reader.read_exact(&mut got).expect("the same as before");
        assert!(got == whole[at as usize..next as usize]);
        at = next;
    }
});
