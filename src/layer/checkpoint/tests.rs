//! Every stretch of a tar, read through its extent alone, and whatever follows each checkpoint.

use std::io::Write;
use std::ops::Range;

use super::super::odd_deflate::Odd;
use super::*;
use crate::support::random::Random;

/// Bytes that compress, with stretches that do not.
fn content(length: usize) -> Vec<u8> {
    Random::new(0).compressible(length)
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
fn the_last_block_of_a_frame_is_needed_to_its_last_byte() {
    // Several outputs come of it, and the frame does not say how long it is.
    let content: Vec<u8> = [vec![b'x'; 5000], Random::new(1).bytes(70_000), vec![0; 1500]].concat();
    let blob = zstd::stream::encode_all(content.as_slice(), 3).unwrap();
    check("one frame", &blob, &content, &[0..1, 100..2100, 5000..5001, 70_000..75_000, 76_499..76_500]);
    check("two frames", &[&blob[..], &blob].concat(), &content, &[0..1, 100..2100, 5000..70_000, 75_000..76_500]);
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
fn the_extent_of_a_long_entry_ends_with_it() {
    let content = content(LENGTH);
    let (begin, end) = (100_000, 1_048_576);
    let zstd = zstd::encode_all(&content[..], 3).unwrap();
    for (name, blob, most) in [("gzip", gzip(&content, 6), 16), ("zstd", zstd, STEP as usize)] {
        let mut tracked = Tracked::new(&blob[..]).unwrap();
        io::copy(&mut tracked.by_ref().take(begin), &mut io::sink()).unwrap();
        tracked.begin_entry(begin, end);
        io::copy(&mut tracked.by_ref().take(end - begin), &mut io::sink()).unwrap();
        let extent = tracked.extent(end).unwrap();
        let bytes = &blob[extent.compressed.start as usize..extent.compressed.end as usize];
        let length = |bytes| {
            let reader = ExtentReader::new(&extent.checkpoint, bytes).unwrap();
            extent.uncompressed.start + io::copy(&mut reader.take(end), &mut io::sink()).unwrap()
        };
        assert!(length(bytes) >= end, "{name}");
        assert!(length(&bytes[..bytes.len() - most]) < end, "{name}: more than {most} bytes are not needed");
    }
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

/// A place where decoding could begin, as the decoder tells it: in compressed bytes, uncompressed bytes, and what is there.
type Place = (u64, u64, Boundary);

/// All places in `blob` where decoding could begin, and what it decompresses to.
fn places(blob: &[u8]) -> (Vec<Place>, Vec<u8>) {
    let mut stream = Decompressed::new(blob).unwrap();
    let (mut places, mut content) = (Vec::new(), Vec::new());
    loop {
        let step = stream.step_on(1000, 5000).unwrap();
        content.extend_from_slice(stream.unread());
        stream.consume(usize::MAX);
        stream.make_room(0);
        if let Some(boundary) = step.boundary {
            places.push((stream.compressed_offset(), content.len() as u64, boundary));
        }
        if step.consumed == 0 && step.produced == 0 {
            return (places, content);
        }
    }
}

/// Begins at each place in `blob` and compares what comes with a decode of the whole: all of it, or the first `most` bytes.
fn check_places(name: &str, blob: &[u8], most: usize) -> Vec<Place> {
    let (places, content) = places(blob);
    let mut whole = Vec::new();
    Decompressed::new(blob).unwrap().read_to_end(&mut whole).unwrap();
    assert!(content == whole, "{name}");
    for &(compressed, uncompressed, boundary) in &places {
        let rest = &content[uncompressed as usize..];
        let (begin, checkpoint) = match boundary {
            Boundary::ZstdFrame => (compressed, Checkpoint::ZstdFrame),
            Boundary::DeflateBlock { unused_bits, history } => {
                let window = content[uncompressed as usize - history..uncompressed as usize].to_vec();
                let skipped_bits = (8 - unused_bits) % 8;
                (compressed - u64::from(unused_bits > 0), Checkpoint::DeflateBlock { skipped_bits, window })
            }
        };
        let reader = ExtentReader::new(&checkpoint, &blob[begin as usize..]).unwrap();
        let mut got = Vec::new();
        reader.take(most as u64).read_to_end(&mut got).unwrap_or_else(|error| panic!("{name} at {begin}: {error}"));
        assert!(got == rest[..rest.len().min(most)], "{name} at {begin}");
    }
    places
}

#[test]
fn from_every_checkpoint_comes_what_comes_there_in_a_whole_decode() {
    use flate2::FlushCompress;
    let content = content(LENGTH);
    let blocks = (0..=9).map(|level| check_places(&format!("level {level}"), &gzip(&content, level), usize::MAX).len());
    assert!(blocks.sum::<usize>() > 50);
    let content = &content[..400_000];
    let members: Vec<u8> = content.chunks(50_001).flat_map(|chunk| gzip(chunk, 6)).collect();
    assert!(check_places("several members, then zeros", &[members, vec![0; 700]].concat(), usize::MAX).len() >= 8);
    let frames: Vec<u8> = content.chunks(50_001).flat_map(|chunk| zstd::encode_all(chunk, 3).unwrap()).collect();
    assert_eq!(check_places("several frames", &frames, usize::MAX).len(), 8);

    // Compressors that are told to flush, as Go's are by layers' writers and pigz's threads by themselves.
    for seed in 0..30 {
        let random = &mut Random::new(seed);
        let mut blob = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
        let mut compress = flate2::Compress::new(flate2::Compression::new(random.below(10) as u32), false);
        let mut rest = &content[..100_000];
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(rest.len().min(1 + random.below(9000)));
            rest = behind;
            let flush = match random.below(3) {
                _ if rest.is_empty() => FlushCompress::Finish,
                0 => FlushCompress::Partial,
                1 => FlushCompress::Sync,
                _ => FlushCompress::Full,
            };
            blob.reserve(20_000);
            compress.compress_vec(chunk, &mut blob, flush).unwrap();
        }
        let mut check = flate2::Crc::new();
        check.update(&content[..100_000]);
        blob.extend([check.sum().to_le_bytes(), check.amount().to_le_bytes()].concat());
        assert!(check_places(&format!("flushes {seed}"), &blob, 40_000).len() > 10);
    }
}

#[test]
fn every_block_of_an_odd_stream_is_found_at_its_bit_and_decoding_begins_there() {
    let mut seen = [false; 8];
    for seed in 0..150 {
        let odd = Odd::new(seed, 30);
        let name = format!("seed {seed}");
        let found: Vec<_> = check_places(&name, &odd.blob, 70_000)
            .into_iter()
            .map(|(compressed, uncompressed, boundary)| {
                let Boundary::DeflateBlock { unused_bits, history } = boundary else { panic!("{name}") };
                seen[usize::from(unused_bits)] = true;
                (compressed * 8 - u64::from(unused_bits), uncompressed as usize, history)
            })
            .collect();
        let made: Vec<_> = odd
            .starts
            .iter()
            .map(|start| (start.bit, start.content, WINDOW.min(start.content - start.member)))
            .collect();
        assert_eq!(found, made, "{name}");
        // Entries that begin where a block does need no byte before it; of blocks without data the last one is enough.
        let mut begins: Vec<u64> = odd.starts.iter().map(|start| start.content as u64).collect();
        begins.dedup();
        let ends = begins.iter().skip(1).copied().chain([odd.content.len() as u64]);
        let entries: Vec<_> = begins.iter().zip(ends).map(|(begin, end)| *begin..end).collect();
        check(&name, &odd.blob, &odd.content, &entries);
    }
    assert_eq!(seen, [true; 8]);
}

#[test]
fn an_extent_begins_at_the_block_that_its_entry_begins_with() {
    let mut odd = Odd::default();
    odd.begin_member();
    odd.dynamic(false, b"before");
    odd.empty(false);
    odd.empty(false);
    odd.dynamic(false, b"an entry");
    odd.empty(true);
    odd.end_member();
    let mut tracked = Tracked::new(&odd.blob[..]).unwrap();
    tracked.begin_entry(0, 6);
    io::copy(&mut tracked.by_ref().take(6), &mut io::sink()).unwrap();
    tracked.fill_buf().unwrap();
    tracked.begin_entry(6, 14);
    io::copy(&mut tracked.by_ref().take(8), &mut io::sink()).unwrap();
    let extent = tracked.extent(14).unwrap();
    assert_eq!((extent.compressed.start, extent.uncompressed), (odd.starts[3].bit / 8, 6..14));
    let Checkpoint::DeflateBlock { skipped_bits, window } = extent.checkpoint else { panic!("no block") };
    assert_eq!((u64::from(skipped_bits), &window[..]), (odd.starts[3].bit % 8, &b"before"[..]));
}

#[test]
fn blocks_cost_no_more_memory_however_many_there_are() {
    let random = &mut Random::new(1);
    let mut odd = Odd::default();
    odd.begin_member();
    odd.stored(false, &random.bytes(40_000));
    for _ in 0..20_000 {
        odd.empty(false);
        odd.stored(false, b"x");
    }
    odd.empty(true);
    odd.end_member();
    let mut tracked = Tracked::new(&odd.blob[..]).unwrap();
    let mut most = 0;
    while let length @ 1.. = tracked.fill_buf().unwrap().len() {
        tracked.consume(length);
        most = most.max(tracked.marks.len());
    }
    assert_eq!(most, MAX_MARKS);
    let windows: usize = tracked.marks.iter().filter_map(|mark| mark.window.get()).map(Vec::len).sum();
    assert!(windows <= MAX_MARKS * WINDOW, "{windows}");
}

#[test]
fn a_blob_changed_anywhere_is_damaged_or_the_same() {
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let odd = Odd::new(seed % 50, 10);
        let mut blob = odd.blob;
        // The first bytes tell that it is gzip.
        let at = 3 + random.below(blob.len() - 3);
        blob[at] ^= 1 << random.below(8);
        blob.truncate(blob.len() - random.below(2) * random.below(20).min(blob.len() - 3));
        let read = |mut reader: Box<dyn Read + '_>| {
            let mut got = Vec::new();
            match reader.read_to_end(&mut got).map_err(LayerError::from) {
                Ok(_) => Ok(got),
                Err(LayerError::Damaged { problem, .. }) => Err(problem),
                Err(error) => panic!("seed {seed}: {error}"),
            }
        };
        let tracked = read(Box::new(Tracked::new(&blob[..]).unwrap()));
        let plain = read(Box::new(Decompressed::new(&blob[..]).unwrap()));
        match (tracked, plain) {
            (Ok(tracked), Ok(plain)) => assert!(tracked == odd.content && plain == odd.content, "seed {seed}"),
            (tracked, plain) => assert!(tracked.is_err() && plain.is_err(), "seed {seed}: {tracked:?} {plain:?}"),
        }
    }
}

#[test]
fn a_checkpoint_that_lies_gives_garbage_or_an_error() {
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let odd = Odd::new(seed % 50, 10);
        let begin = random.below(odd.blob.len());
        let window = random.below(2 * WINDOW);
        let window = random.bytes(window);
        let checkpoint = Checkpoint::DeflateBlock { skipped_bits: random.below(256) as u8, window };
        let mut got = Vec::new();
        let reader = ExtentReader::new(&checkpoint, &odd.blob[begin..]).unwrap();
        if let Err(error) = reader.take(100_000).read_to_end(&mut got) {
            assert!(matches!(LayerError::from(error), LayerError::Damaged { format: "gzip", .. }));
        }
    }
}
