//! Extents and checkpoints: reading one part of a compressed layer without what lies before it.
//!
//! A [`Tracked`] stream decompresses a whole blob and remembers where decoding could begin; [`Stream::extent`] then gives the
//! least part of the blob that holds some bytes of the tar. An [`ExtentReader`] decompresses that part alone.
//! Offsets are *compressed* (bytes from the start of the blob as stored) or *uncompressed* (bytes from the start of the tar).

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::sync::Arc;

use super::blocks::{Blocks, WINDOW};
use super::compression::{Compression, MAGIC, sniff};
use super::zstd::Zstd;
use super::{LayerError, Stream};

/// How many compressed bytes are decoded at a time while tracking: how exactly an extent's end is known.
const STEP: usize = 4 * 1024;

/// One compressed byte range with what is needed to decode it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The bytes of the blob.
    pub compressed: Range<u64>,
    /// What they decode to, as bytes of the tar.
    pub uncompressed: Range<u64>,
    /// The decoder's state at the start.
    pub checkpoint: Checkpoint,
}

/// The state of a decoder at the start of an [`Extent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// An uncompressed tar: there is no state.
    Plain,
    /// A zstd frame begins (RFC 8878, section 3.1).
    ZstdFrame,
    /// A deflate block begins (RFC 1951, section 3.2.3).
    DeflateBlock {
        /// How many of the first byte's lowest bits (0 to 7) belong to the block before.
        skipped_bits: u8,
        /// What the block may refer back to: the last bytes decoded before it, 32 KiB at most.
        window: Vec<u8>,
    },
}

/// A place where decoding could begin.
struct Mark {
    compressed: u64,
    uncompressed: u64,
    checkpoint: Checkpoint,
}

enum Decoder {
    Plain,
    Gzip(Box<Blocks>),
    Zstd(Box<Zstd>),
}

impl Decoder {
    /// Decodes some of `input` into the empty `output`: how many bytes were taken, and, where a checkpoint could be taken
    /// behind them, how many bytes before that it begins, and what it is.
    fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(usize, Option<(u64, Checkpoint)>), String> {
        match self {
            Decoder::Plain => {
                output.extend_from_slice(input);
                Ok((input.len(), None))
            }
            Decoder::Gzip(blocks) => {
                let step = blocks.step(input)?;
                output.extend_from_slice(&blocks.output()[step.produced]);
                let mark = step.boundary.map(|bits| {
                    let skipped_bits = (8 - bits) % 8;
                    (u64::from(bits > 0), Checkpoint::DeflateBlock { skipped_bits, window: blocks.window() })
                });
                Ok((step.consumed, mark))
            }
            Decoder::Zstd(zstd) => {
                output.resize(WINDOW, 0);
                let step = zstd.step(input, output)?;
                output.truncate(step.produced);
                Ok((step.consumed, zstd.may_end().then_some((0, Checkpoint::ZstdFrame))))
            }
        }
    }

    /// Whether the decoder may have more to give although it has taken all its input.
    fn has_more(&self, output: usize) -> bool {
        matches!(self, Decoder::Zstd(zstd) if !zstd.may_end()) && output == WINDOW
    }

    fn may_end(&self) -> bool {
        match self {
            Decoder::Plain => true,
            Decoder::Gzip(blocks) => blocks.may_end(),
            Decoder::Zstd(zstd) => zstd.may_end(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Decoder::Plain => "tar",
            Decoder::Gzip(_) => "gzip",
            Decoder::Zstd(_) => "zstd",
        }
    }
}

/// Decompresses a layer's blob and remembers checkpoints.
pub struct Tracked<R> {
    blob: R,
    input: Vec<u8>,
    taken: usize,
    decoder: Decoder,
    output: Vec<u8>,
    given: usize,
    /// Compressed bytes decoded.
    compressed: u64,
    /// Uncompressed bytes decoded; those in `output` from `given` on have not been read yet.
    uncompressed: u64,
    /// The last mark at or before `keep_from`, and all later ones.
    marks: VecDeque<Arc<Mark>>,
    /// Where the current entry begins, and the last mark at or before it.
    entry: (u64, Option<Arc<Mark>>),
    /// Where the decoder was after its latest steps: uncompressed, compressed.
    ends: VecDeque<(u64, u64)>,
    keep_from: u64,
    damaged: bool,
}

impl<R: Read> Tracked<R> {
    /// Looks at the blob's first bytes and makes ready to decompress it.
    pub fn new(mut blob: R) -> Result<Self, LayerError> {
        let mut input = Vec::new();
        (&mut blob).take(STEP as u64).read_to_end(&mut input).map_err(LayerError::Io)?;
        let decoder = match sniff(&input[..input.len().min(MAGIC)])? {
            Compression::None => Decoder::Plain,
            Compression::Gzip => Decoder::Gzip(Box::new(Blocks::new())),
            Compression::Zstd => Decoder::Zstd(Box::new(Zstd::new().map_err(LayerError::Compression)?)),
        };
        // A gzip member's first block is reported by the decoder itself.
        let first = Mark { compressed: 0, uncompressed: 0, checkpoint: Checkpoint::ZstdFrame };
        let marks = matches!(decoder, Decoder::Zstd(_)).then(|| Arc::new(first)).into_iter().collect();
        Ok(Tracked {
            blob,
            input,
            taken: 0,
            decoder,
            output: Vec::new(),
            given: 0,
            compressed: 0,
            uncompressed: 0,
            marks,
            entry: (0, None),
            ends: VecDeque::new(),
            keep_from: 0,
            damaged: false,
        })
    }

    /// Drops marks and ends that no extent from `keep_from` on can need.
    fn forget(&mut self) {
        while self.marks.get(1).is_some_and(|next| next.uncompressed <= self.keep_from) {
            self.marks.pop_front();
        }
        // An extent ends where the stream has been read to, which is never before what the latest step gave.
        while self.ends.len() > 2 {
            self.ends.pop_front();
        }
    }

    /// Decodes one step into the empty output. Leaves it empty only at the end.
    fn decode(&mut self) -> io::Result<()> {
        let mut has_more = self.decoder.has_more(self.output.len());
        self.output.clear();
        self.given = 0;
        while self.output.is_empty() {
            if self.taken == self.input.len() && !has_more {
                self.input.clear();
                self.taken = 0;
                (&mut self.blob).take(STEP as u64).read_to_end(&mut self.input)?;
                if self.input.is_empty() {
                    return if self.decoder.may_end() { Ok(()) } else { Err(self.damaged("it ends too early")) };
                }
            }
            has_more = false;
            let step = self.decoder.step(&self.input[self.taken..], &mut self.output);
            let (consumed, mark) = step.map_err(|problem| self.damaged(&problem))?;
            self.taken += consumed;
            self.compressed += consumed as u64;
            self.uncompressed += self.output.len() as u64;
            if let Some((back, checkpoint)) = mark {
                let (compressed, uncompressed) = (self.compressed - back, self.uncompressed);
                self.marks.push_back(Arc::new(Mark { compressed, uncompressed, checkpoint }));
            }
            self.ends.push_back((self.uncompressed, self.compressed));
            self.forget();
        }
        Ok(())
    }

    fn damaged(&mut self, problem: &str) -> io::Error {
        self.damaged = true;
        let (format, problem) = (self.decoder.name(), problem.to_owned());
        LayerError::Damaged { format, offset: self.compressed, problem }.into()
    }
}

impl<R: Read> Stream for Tracked<R> {
    fn begin_entry(&mut self, header: u64, next: u64) {
        let after = self.marks.partition_point(|mark| mark.uncompressed <= header);
        self.entry = (header, after.checked_sub(1).and_then(|at| self.marks.get(at)).cloned());
        self.keep_from = next;
        self.forget();
    }

    fn extent(&self, end: u64) -> Option<Extent> {
        let (start, mark) = &self.entry;
        if let Decoder::Plain = self.decoder {
            return Some(Extent { compressed: *start..end, uncompressed: *start..end, checkpoint: Checkpoint::Plain });
        }
        let mark = mark.as_ref()?;
        let (uncompressed, compressed) = *self.ends.iter().find(|reached| reached.0 >= end)?;
        Some(Extent {
            compressed: mark.compressed..compressed,
            uncompressed: mark.uncompressed..uncompressed,
            checkpoint: mark.checkpoint.clone(),
        })
    }

    fn finish(&mut self) -> Result<(), LayerError> {
        loop {
            let ready = self.fill_buf()?.len();
            if ready == 0 {
                return Ok(());
            }
            self.consume(ready);
        }
    }

    fn is_damaged(&self) -> bool {
        self.damaged
    }

    fn drain_blob(&mut self) -> Result<(), LayerError> {
        io::copy(&mut self.blob, &mut io::sink()).map(drop).map_err(LayerError::Io)
    }
}

impl<R: Read> BufRead for Tracked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.given == self.output.len() {
            self.decode()?;
        }
        Ok(&self.output[self.given..])
    }

    fn consume(&mut self, amount: usize) {
        self.given = (self.given + amount).min(self.output.len());
    }
}

impl<R: Read> Read for Tracked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

/// Decompresses one extent: reads the blob's bytes `extent.compressed` and gives the tar's from `extent.uncompressed.start` on.
/// What it gives is only as true as the extent is: whoever reads must check a digest.
pub struct ExtentReader<R> {
    bytes: R,
    input: Vec<u8>,
    taken: usize,
    decoder: Decoder,
    output: Vec<u8>,
    given: usize,
    /// Compressed bytes decoded, from the extent's start.
    consumed: u64,
}

impl<R: Read> ExtentReader<R> {
    /// Makes ready to decode `bytes`, the compressed bytes of `extent`.
    pub fn new(checkpoint: &Checkpoint, mut bytes: R) -> Result<Self, LayerError> {
        let decoder = match checkpoint {
            Checkpoint::Plain => Decoder::Plain,
            Checkpoint::ZstdFrame => Decoder::Zstd(Box::new(Zstd::new().map_err(LayerError::Compression)?)),
            Checkpoint::DeflateBlock { skipped_bits: 0, window } => {
                Decoder::Gzip(Box::new(Blocks::resume(0, 0, window)))
            }
            Checkpoint::DeflateBlock { skipped_bits, window } => {
                let mut first = [0];
                bytes.read_exact(&mut first).map_err(LayerError::Io)?;
                Decoder::Gzip(Box::new(Blocks::resume(skipped_bits % 8, first[0], window)))
            }
        };
        Ok(ExtentReader { bytes, input: Vec::new(), taken: 0, decoder, output: Vec::new(), given: 0, consumed: 0 })
    }
}

impl<R: Read> BufRead for ExtentReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.given < self.output.len() {
            return Ok(&self.output[self.given..]);
        }
        let mut has_more = self.decoder.has_more(self.output.len());
        self.output.clear();
        self.given = 0;
        while self.output.is_empty() {
            if self.taken == self.input.len() && !has_more {
                self.input.clear();
                self.taken = 0;
                (&mut self.bytes).take(WINDOW as u64).read_to_end(&mut self.input)?;
                if self.input.is_empty() {
                    break;
                }
            }
            has_more = false;
            let (consumed, _) = self.decoder.step(&self.input[self.taken..], &mut self.output).map_err(|problem| {
                let format = self.decoder.name();
                io::Error::from(LayerError::Damaged { format, offset: self.consumed, problem })
            })?;
            self.taken += consumed;
            self.consumed += consumed as u64;
        }
        Ok(&self.output[self.given..])
    }

    fn consume(&mut self, amount: usize) {
        self.given = (self.given + amount).min(self.output.len());
    }
}

impl<R: Read> Read for ExtentReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

fn read_buffered(reader: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let ready = reader.fill_buf()?;
    let length = ready.len().min(buffer.len());
    buffer[..length].copy_from_slice(&ready[..length]);
    reader.consume(length);
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
}
