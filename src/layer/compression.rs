//! From a blob's bytes to the tar's: finds out by the first bytes how the layer is compressed, whatever its media type says, and
//! decompresses it as it is read.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::Stream;
use super::checkpoint::Extent;
use super::error::LayerError;
use super::gzip::Gzip;
use super::zstd::Zstd;

/// Room for compressed bytes: at least what a source gives in one piece.
const INPUT: usize = 128 * 1024;
/// Room for decompressed bytes: large enough that a decoder's cost per call is lost in it, small enough for the second-level
/// cache.
const OUTPUT: usize = 256 * 1024;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        })
    }
}

/// How many of a blob's first bytes [`sniff`] looks at.
pub const MAGIC: usize = 10;

/// What a blob that begins with these bytes is, as Docker decides it, too.
pub fn sniff(start: &[u8]) -> Result<Compression, LayerError> {
    let refused = |name: &str| {
        Err(LayerError::Compression(format!(
            "it is {name}-compressed, and image layers may only be gzip, zstd or plain"
        )))
    };
    match start {
        [0x1f, 0x8b, 0x08, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        // A skippable frame (RFC 8878, section 3.1.2) in front.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => refused("xz"),
        // With the first block's mark, as "BZh" alone may begin a file's name.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] => refused("bzip2"),
        [0x04, 0x22, 0x4d, 0x18, ..] => refused("lz4"),
        _ => Ok(Compression::None),
    }
}

/// What one call of a decoder did.
pub(super) struct Step {
    /// Bytes taken from the input.
    pub(super) consumed: usize,
    /// Bytes written to the output.
    pub(super) produced: usize,
}

enum Decoder {
    Plain,
    Gzip(Gzip),
    Zstd(Zstd),
}

/// A buffer, and which part of it is filled and not yet consumed.
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(size: usize) -> Self {
        Buffer { bytes: vec![0; size].into_boxed_slice(), start: 0, end: 0 }
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start.saturating_add(amount));
    }

    /// Reads once into an empty buffer; false at the reader's end.
    fn fill(&mut self, reader: &mut impl Read) -> io::Result<bool> {
        self.end = 0;
        self.start = 0;
        self.end = read_once(reader, &mut self.bytes)?;
        Ok(self.end > 0)
    }
}

fn read_once(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A layer's tar, decompressed from a blob as it is read.
///
/// Errors of the blob's reader come through as they are. What is wrong with the compression itself is a [`LayerError`] inside
/// an [`io::Error`], which `LayerError::from` takes out again.
pub struct Decompressed<R> {
    blob: R,
    blob_ended: bool,
    blob_failed: bool,
    /// Bytes that have come from `blob`.
    received: u64,
    input: Buffer,
    output: Buffer,
    decoder: Decoder,
    damaged: bool,
}

impl<R: Read> Decompressed<R> {
    /// Looks at the blob's first bytes and makes ready to decompress it. An empty blob is an empty layer.
    pub fn new(mut blob: R) -> Result<Self, LayerError> {
        let mut input = Buffer::new(INPUT);
        let mut blob_ended = false;
        while input.end < MAGIC && !blob_ended {
            let read = read_once(&mut blob, &mut input.bytes[input.end..]).map_err(LayerError::Io)?;
            input.end += read;
            blob_ended = read == 0;
        }
        let start = input.unread();
        let decoder = match sniff(&start[..start.len().min(MAGIC)])? {
            Compression::None => Decoder::Plain,
            Compression::Gzip => Decoder::Gzip(Gzip::new()),
            Compression::Zstd => Decoder::Zstd(Zstd::new().map_err(LayerError::Compression)?),
        };
        let output = Buffer::new(if matches!(decoder, Decoder::Plain) { 0 } else { OUTPUT });
        Ok(Decompressed {
            blob,
            blob_ended,
            blob_failed: false,
            received: input.end as u64,
            input,
            output,
            decoder,
            damaged: false,
        })
    }

    /// How the layer is compressed.
    pub fn compression(&self) -> Compression {
        match self.decoder {
            Decoder::Plain => Compression::None,
            Decoder::Gzip(_) => Compression::Gzip,
            Decoder::Zstd(_) => Compression::Zstd,
        }
    }

    /// How many of the blob's bytes the decoder has taken. It may have taken more than what has been read so far needed.
    pub fn compressed_offset(&self) -> u64 {
        self.received - self.input.unread().len() as u64
    }

    /// Reads from the blob into the empty input buffer.
    fn receive(&mut self) -> io::Result<()> {
        if !self.blob_ended {
            let more = self.input.fill(&mut self.blob).inspect_err(|_| self.blob_failed = true)?;
            self.blob_ended = !more;
            self.received += self.input.unread().len() as u64;
        }
        Ok(())
    }

    /// Decompresses into `output`, which is not empty, or, without one, into the output buffer, which is. Zero is the end.
    fn decode(&mut self, mut output: Option<&mut [u8]>) -> io::Result<usize> {
        loop {
            if self.input.is_empty() {
                self.receive()?;
            }
            let input = self.input.unread();
            let into = match &mut output {
                Some(output) => &mut **output,
                None => &mut self.output.bytes,
            };
            let step = match &mut self.decoder {
                // Plain layers are read out of the input buffer.
                Decoder::Plain => Ok(Step { consumed: 0, produced: 0 }),
                Decoder::Gzip(gzip) => gzip.step(input, into),
                Decoder::Zstd(zstd) => zstd.step(input, into),
            };
            let step = step.map_err(|problem| self.damage(problem))?;
            self.input.consume(step.consumed);
            if step.produced > 0 {
                return Ok(step.produced);
            }
            if step.consumed == 0 {
                let may_end = match &self.decoder {
                    Decoder::Plain => true,
                    Decoder::Gzip(gzip) => gzip.may_end(),
                    Decoder::Zstd(zstd) => zstd.may_end(),
                };
                match (self.input.is_empty(), may_end) {
                    (true, true) => return Ok(0),
                    (true, false) => return Err(self.damage("it ends too early".to_owned())),
                    // A decoder with both input and room either takes or gives something.
                    (false, _) => return Err(self.damage("the decoder makes no progress".to_owned())),
                }
            }
        }
    }

    fn damage(&mut self, problem: String) -> io::Error {
        self.damaged = true;
        let format = match self.decoder {
            Decoder::Zstd(_) => "zstd",
            _ => "gzip",
        };
        let kind = if self.input.is_empty() && self.blob_ended {
            io::ErrorKind::UnexpectedEof
        } else {
            io::ErrorKind::InvalidData
        };
        io::Error::new(kind, LayerError::Damaged { format, offset: self.compressed_offset(), problem })
    }
}

impl<R: Read> Stream for Decompressed<R> {
    fn begin_entry(&mut self, _: u64, _: u64) {}

    fn extent(&self, _: u64) -> Option<Extent> {
        None
    }

    fn is_damaged(&self) -> bool {
        self.damaged
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

    fn drain_blob(&mut self) -> Result<(), LayerError> {
        while !self.blob_ended && !self.blob_failed {
            self.input.consume(usize::MAX);
            self.receive().map_err(LayerError::Io)?;
        }
        Ok(())
    }
}

impl<R: Read> BufRead for Decompressed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if matches!(self.decoder, Decoder::Plain) {
            if self.input.is_empty() {
                self.receive()?;
            }
            return Ok(self.input.unread());
        }
        if self.output.is_empty() {
            // Nothing is left in the buffer should decoding fail.
            self.output.start = 0;
            self.output.end = 0;
            self.output.end = self.decode(None)?;
        }
        Ok(self.output.unread())
    }

    fn consume(&mut self, amount: usize) {
        match self.decoder {
            Decoder::Plain => self.input.consume(amount),
            _ => self.output.consume(amount),
        }
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let buffered = match self.decoder {
            Decoder::Plain => &self.input,
            _ => &self.output,
        };
        // A large read goes past the buffer.
        if buffered.is_empty() && buffer.len() >= OUTPUT {
            if !matches!(self.decoder, Decoder::Plain) {
                return self.decode(Some(buffer));
            }
            if self.blob_ended {
                return Ok(0);
            }
            let read = read_once(&mut self.blob, buffer).inspect_err(|_| self.blob_failed = true)?;
            self.received += read as u64;
            self.blob_ended = read == 0;
            return Ok(read);
        }
        let ready = self.fill_buf()?;
        let amount = ready.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&ready[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}

#[cfg(test)]
mod tests;
