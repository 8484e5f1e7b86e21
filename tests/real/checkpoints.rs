//! Checkpoints in what real compressors write: every stretch of the data, read through its extent alone, is what a whole decode gives.

use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::process::Command;

use docker_artifact::layer::checkpoint::{ExtentReader, Tracked};
use docker_artifact::layer::{Decompressed, Stream};

use crate::support::random::Random;
use crate::tools::{can_run, run};

/// Bytes that compress as programs do, with repeats from far back.
fn content(length: usize) -> Vec<u8> {
    Random::new(7).compressible(length)
}

fn check(name: &str, blob: &[u8], wanted: &[Range<u64>]) {
    let mut whole = Vec::new();
    Decompressed::new(blob).unwrap().read_to_end(&mut whole).unwrap();
    let mut tracked = Tracked::new(blob).unwrap();
    let mut at = 0;
    for range in wanted {
        io::copy(&mut tracked.by_ref().take(range.start - at), &mut io::sink()).unwrap();
        tracked.fill_buf().unwrap();
        tracked.begin_entry(range.start, range.end);
        io::copy(&mut tracked.by_ref().take(range.end - range.start), &mut io::sink()).unwrap();
        at = range.end;
        let extent = tracked.extent(range.end).unwrap();
        let bytes = &blob[extent.compressed.start as usize..extent.compressed.end as usize];
        let mut reader = ExtentReader::new(&extent.checkpoint, bytes).unwrap();
        io::copy(&mut reader.by_ref().take(range.start - extent.uncompressed.start), &mut io::sink()).unwrap();
        let mut got = vec![0; (range.end - range.start) as usize];
        reader.read_exact(&mut got).unwrap_or_else(|error| panic!("{name} {range:?}: {error}"));
        assert!(got == whole[range.start as usize..range.end as usize], "{name} {range:?}");
    }
}

#[test]
fn extents_of_gzip_pigz_and_zstd_give_what_was_compressed() {
    if !can_run("extents_of_gzip_pigz_and_zstd_give_what_was_compressed", &["gzip", "pigz", "zstd"]) {
        return;
    }
    let content = content(3_000_000);
    let end = content.len() as u64;
    let plain = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(plain.path(), &content).unwrap();
    let mut wanted = vec![0..1, 512..40_000, 40_000..40_000, 1_000_000..1_000_001];
    wanted.extend((1_000_001..2_500_000).step_by(9999).map(|at| at..at + 9999));
    wanted.push(end - 1..end);
    let levels = ["-1", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9"];
    let gzip = levels.iter().map(|level| ("gzip", vec![*level]));
    let pigz = levels.iter().chain(&["-0"]).map(|level| ("pigz", vec![*level]));
    // Short blocks of pigz, with and without a dictionary between them, and of zopfli, which is in it.
    let odd = [vec!["-b32"], vec!["-b32", "-i"], vec!["-11", "-I1"]].map(|arguments| ("pigz", arguments));
    let zstd = ["-3", "-19"].map(|level| ("zstd", vec![level]));
    for (tool, arguments) in gzip.chain(pigz).chain(odd).chain(zstd) {
        let compressed = run(Command::new(tool).args(&arguments).arg("-c").arg(plain.path()));
        check(&format!("{tool} {arguments:?}"), &compressed, &wanted);
    }
}
