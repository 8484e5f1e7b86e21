//! From a blob's bytes to the tar's: decompresses a layer as it is read, through one buffer in front of the decoder and one
//! behind it.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::compression::{Compression, MAGIC, sniff};
use super::decode::Decoder;
use super::decoded::Decoded;
use super::error::LayerError;
use super::extent::{Checkpoint, Extent};
use super::observer::{Observed, Observer};
use super::stream::Stream;

/// Room for compressed bytes: at least what a source gives in one piece.
const INPUT: usize = 128 * 1024;
/// Room for decompressed bytes: large enough that a decoder's cost per call is lost in it, small enough for the second-level
/// cache.
const OUTPUT: usize = 256 * 1024;

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

    /// Makes room in a buffer all of which has been consumed, of whose last bytes `kept` stay.
    fn slide(&mut self, kept: usize) {
        let kept = kept.min(self.end);
        self.bytes.copy_within(self.end - kept..self.end, 0);
        (self.start, self.end) = (kept, kept);
    }

    /// Reads once into an empty buffer; false at the reader's end.
    fn fill(&mut self, reader: &mut impl Read) -> io::Result<bool> {
        self.slide(0);
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
    /// Whether the blob is a part of one, which may end anywhere.
    is_part: bool,
    damaged: bool,
    observed: Option<Observed>,
    /// What is wrong behind the bytes that were decoded last.
    failure: Option<io::Error>,
}

impl<R: Read> Decompressed<R> {
    /// Looks at the blob's first bytes and makes ready to decompress it. An empty blob is an empty layer.
    pub fn new(blob: R) -> Result<Self, LayerError> {
        let mut stream = Self::with(Decoder::Plain, blob, false);
        while stream.input.end < MAGIC && !stream.blob_ended {
            let room = &mut stream.input.bytes[stream.input.end..];
            let read = read_once(&mut stream.blob, room).map_err(LayerError::Io)?;
            stream.input.end += read;
            stream.received += read as u64;
            stream.blob_ended = read == 0;
        }
        let start = stream.input.unread();
        stream.decode_with(Decoder::new(sniff(&start[..start.len().min(MAGIC)])?)?);
        Ok(stream)
    }

    /// The same, of which nothing has been read; these are told of places in it. Where there is nobody, it is left as it is.
    pub fn observed_by(mut self, observers: Vec<Arc<dyn Observer>>) -> Self {
        if !observers.is_empty() {
            self.observed = Some(Observed::new(observers, self.compression()));
        }
        self
    }

    /// Makes ready to decompress `part`, which begins at a checkpoint of a blob.
    pub(super) fn resume(checkpoint: &Checkpoint, part: R) -> Result<Self, LayerError> {
        Ok(Self::with(Decoder::resume(checkpoint)?, part, true))
    }

    /// Makes ready to decompress `part`, which begins as a blob of this compression does.
    pub(super) fn part(compression: Compression, part: R) -> Result<Self, LayerError> {
        Ok(Self::with(Decoder::new(compression)?, part, true))
    }

    fn with(decoder: Decoder, blob: R, is_part: bool) -> Self {
        let mut stream = Decompressed {
            blob,
            blob_ended: false,
            blob_failed: false,
            received: 0,
            input: Buffer::new(INPUT),
            output: Buffer::new(0),
            decoder: Decoder::Plain,
            is_part,
            damaged: false,
            observed: None,
            failure: None,
        };
        stream.decode_with(decoder);
        stream
    }

    fn decode_with(&mut self, decoder: Decoder) {
        self.decoder = decoder;
        if !self.is_plain() {
            self.output = Buffer::new(OUTPUT);
        }
    }

    /// How the layer is compressed.
    pub fn compression(&self) -> Compression {
        self.decoder.compression()
    }

    /// How many of the blob's bytes the decoder has taken. It may have taken more than what has been read so far needed.
    pub fn compressed_offset(&self) -> u64 {
        self.received - self.input.unread().len() as u64
    }

    /// How many of the blob's bytes it takes to give what was given so far. As long as the last output of a frame waits, libzstd does not
    /// say that it has taken the frame's last byte, without which it gives none of it.
    pub(super) fn needed_offset(&self) -> u64 {
        let holds_back = matches!(self.decoder, Decoder::Zstd(_)) && !self.input.is_empty();
        self.compressed_offset() + u64::from(holds_back)
    }

    /// Whether there is nothing to decode. Plain layers are read out of the input buffer.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.decoder, Decoder::Plain)
    }

    /// What is ready to be read.
    pub(super) fn unread(&self) -> &[u8] {
        if self.is_plain() { self.input.unread() } else { self.output.unread() }
    }

    /// What was decoded last and is still in memory, up to the last byte that is ready to be read.
    pub(super) fn recent(&self) -> &[u8] {
        &self.output.bytes[..self.output.end]
    }

    /// How many bytes [`step_on`](Self::step_on) can give.
    pub(super) fn room(&self) -> usize {
        self.output.bytes.len() - self.output.end
    }

    /// Makes all the room there is when everything has been read, of whose last bytes [`recent`](Self::recent) keeps `kept`.
    pub(super) fn make_room(&mut self, kept: usize) {
        self.output.slide(kept);
    }

    /// Decodes more of a compressed layer behind what is ready to be read, no further than to a boundary, from at most `most_in`
    /// bytes and to at most `most_out`, for which there must be [`room`](Self::room). Nothing consumed and nothing produced is
    /// the end.
    pub(super) fn step_on(&mut self, most_in: usize, most_out: usize) -> io::Result<Decoded> {
        self.step(None, most_in, most_out, true)
    }

    /// Counts bytes that have come from the blob.
    fn count(&mut self, bytes: usize) {
        self.received += bytes as u64;
        if let (Decoder::Plain, Some(observed)) = (&self.decoder, &mut self.observed) {
            observed.plain(self.received);
        }
    }

    /// Reads from the blob into the empty input buffer.
    fn receive(&mut self) -> io::Result<()> {
        if !self.blob_ended {
            let more = self.input.fill(&mut self.blob).inspect_err(|_| self.blob_failed = true)?;
            self.blob_ended = !more;
            self.count(self.input.unread().len());
        }
        Ok(())
    }

    /// One step of the decoder into `output`, or, without one, behind what the output buffer holds; there must be room. Nothing
    /// consumed and nothing produced is the end.
    fn step(
        &mut self,
        mut output: Option<&mut [u8]>,
        most_in: usize,
        most_out: usize,
        stops: bool,
    ) -> io::Result<Decoded> {
        let taken = self.compressed_offset();
        if self.observed.as_ref().is_some_and(|observed| observed.must_empty(taken)) {
            let step = self.decode_step(output.as_deref_mut(), 0, most_out, stops)?;
            if step.produced > 0 {
                return Ok(step);
            }
        }
        if self.input.is_empty() {
            self.receive()?;
        }
        let most_in = self.observed.as_ref().map_or(most_in, |observed| most_in.min(observed.most_in(taken)));
        let step = self.decode_step(output, most_in, most_out, stops)?;
        if step.consumed == 0 && step.produced == 0 {
            // A decoder with both input and room either takes or gives something.
            if !self.input.is_empty() {
                return Err(self.damage("the decoder makes no progress".to_owned()));
            }
            if !self.decoder.may_end() && !self.is_part {
                return Err(self.damage("it ends too early".to_owned()));
            }
        }
        Ok(step)
    }

    /// One call of the decoder, of which those are told who want to know.
    fn decode_step(
        &mut self,
        output: Option<&mut [u8]>,
        most_in: usize,
        most_out: usize,
        stops: bool,
    ) -> io::Result<Decoded> {
        let taken = self.compressed_offset();
        let stops = stops || self.observed.as_ref().is_some_and(|observed| observed.stops(taken));
        let input = self.input.unread();
        let buffered = output.is_none();
        let into = output.unwrap_or(&mut self.output.bytes[self.output.end..]);
        let (most_in, most_out) = (most_in.min(input.len()), most_out.min(into.len()));
        let step = self.decoder.step(&input[..most_in], &mut into[..most_out], stops);
        let step = step.map_err(|problem| self.damage(problem))?;
        if let Some(observed) = &mut self.observed {
            observed.took(taken, &self.input.unread()[..step.consumed]);
        }
        self.input.consume(step.consumed);
        if buffered {
            self.output.end += step.produced;
        }
        if let Some(observed) = &mut self.observed
            && let Some(boundary) = observed.step(taken, &step, step.produced == most_out)
        {
            let checkpoint = self.decoder.checkpoint(boundary).map_err(LayerError::Compression)?;
            let taken = taken + step.consumed as u64;
            observed.restart(taken, boundary.begins_at(taken), checkpoint);
        }
        Ok(step)
    }

    /// Decompresses into `output`, which is not empty, or, without one, into the output buffer, which is. Zero is the end.
    fn decode(&mut self, mut output: Option<&mut [u8]>) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut produced = 0;
        loop {
            let (room, into) = match &mut output {
                Some(output) => (output.len() - produced, Some(&mut output[produced..])),
                None => (self.room(), None),
            };
            // Steps end where somebody is told, and with little in them if that is often. Nothing is waited for to go on.
            if produced > 0 && (self.observed.is_none() || room == 0 || self.input.is_empty()) {
                return Ok(produced);
            }
            match self.step(into, usize::MAX, usize::MAX, false) {
                Ok(step) if step.produced == 0 && step.consumed == 0 => return Ok(produced),
                Ok(step) => produced += step.produced,
                Err(error) if produced > 0 => {
                    self.failure = Some(error);
                    return Ok(produced);
                }
                Err(error) => return Err(error),
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
        if self.unread().is_empty() {
            if self.is_plain() {
                self.receive()?;
            } else {
                self.output.slide(0);
                self.decode(None)?;
            }
        }
        Ok(self.unread())
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
        // A large read goes past the buffer.
        if self.unread().is_empty() && buffer.len() >= OUTPUT {
            if !self.is_plain() {
                return self.decode(Some(buffer));
            }
            if self.blob_ended {
                return Ok(0);
            }
            let read = read_once(&mut self.blob, buffer).inspect_err(|_| self.blob_failed = true)?;
            self.count(read);
            self.blob_ended = read == 0;
            return Ok(read);
        }
        read_buffered(self, buffer)
    }
}

/// [`Read::read`] of what reads through a buffer.
pub(super) fn read_buffered(reader: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let ready = reader.fill_buf()?;
    let amount = ready.len().min(buffer.len());
    buffer[..amount].copy_from_slice(&ready[..amount]);
    reader.consume(amount);
    Ok(amount)
}

#[cfg(test)]
mod tests;
