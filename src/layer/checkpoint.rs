//! Reading one part of a compressed layer without what lies before it.
//!
//! A [`Tracked`] stream decompresses a whole blob and remembers where decoding could begin; [`Stream::extent`] then gives the
//! least part of the blob that holds some bytes of the tar. An [`ExtentReader`] decompresses that part alone.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::{Arc, OnceLock};

use super::compression::Compression;
use super::decoded::Boundary;
use super::decompressed::{Decompressed, read_buffered};
use super::error::LayerError;
pub use super::extent::{Checkpoint, Extent};
use super::inflate::WINDOW;
use super::observer::Observer;
use super::stream::Stream;

/// How many compressed bytes are decoded at a time where entries may end: how exactly an extent's end is known.
const STEP: u64 = 4 * 1024;

/// How many marks are remembered. An entry's headers seldom reach over two blocks; where they reach over more than this, its
/// extent may begin earlier than it must.
const MAX_MARKS: usize = 16;

/// A place where decoding could begin: up to 32 KiB, once the window is no longer in the stream's own buffer.
struct Mark {
    compressed: u64,
    uncompressed: u64,
    boundary: Boundary,
    window: OnceLock<Vec<u8>>,
}

/// Decompresses a layer's blob and remembers checkpoints.
pub struct Tracked<R> {
    stream: Decompressed<R>,
    /// Uncompressed bytes decoded, whether or not they have been read yet.
    uncompressed: u64,
    /// The last mark at or before `keep_from`, and later ones: [`MAX_MARKS`] in all.
    marks: VecDeque<Arc<Mark>>,
    /// Where the current entry begins, and the last mark at or before it.
    entry: (u64, Option<Arc<Mark>>),
    /// Where the decoder was when it had given something, the last two times: uncompressed, compressed.
    latest: [(u64, u64); 2],
    keep_from: u64,
}

impl<R: Read> Tracked<R> {
    /// Looks at the blob's first bytes and makes ready to decompress it.
    pub fn new(blob: R) -> Result<Self, LayerError> {
        let mut tracked = Tracked {
            stream: Decompressed::new(blob)?,
            uncompressed: 0,
            marks: VecDeque::new(),
            entry: (0, None),
            latest: [(0, 0); 2],
            keep_from: 0,
        };
        // That a gzip member's first block begins is said when its header has been read.
        if tracked.stream.compression() == Compression::Zstd {
            tracked.mark(0, Boundary::ZstdFrame);
        }
        Ok(tracked)
    }

    /// The same, of which nothing has been read; these are told of places in it.
    pub fn observed_by(self, observers: Vec<Arc<dyn Observer>>) -> Self {
        Tracked { stream: self.stream.observed_by(observers), ..self }
    }

    /// Decodes until there is something to read, or the end.
    fn decode(&mut self) -> io::Result<()> {
        // Nearly full: only what marks may still refer to stays.
        if self.stream.room() < WINDOW {
            for mark in self.marks.iter().chain(&self.entry.1) {
                mark.window.get_or_init(|| self.recent_window(mark).to_vec());
            }
            self.stream.make_room(WINDOW);
        }
        loop {
            // Behind the current entry there may be short ones. No extent ends inside it, and its own need not end behind it.
            let (inside, most_out) = match self.keep_from.saturating_sub(self.uncompressed) {
                0 => (false, WINDOW),
                left => (true, usize::try_from(left).unwrap_or(usize::MAX)),
            };
            let most_in = match self.stream.compression() {
                Compression::Gzip if inside => usize::MAX,
                // Even when there is no more room, zstd may take another block. The remainder is smaller than the step.
                _ => (STEP - self.stream.compressed_offset() % STEP) as usize,
            };
            let step = self.stream.step_on(most_in, most_out)?;
            let compressed = self.stream.compressed_offset();
            self.uncompressed += step.produced as u64;
            if let Some(boundary) = step.boundary {
                self.mark(compressed, boundary);
            }
            if step.produced > 0 {
                self.latest = [self.latest[1], (self.uncompressed, self.stream.needed_offset())];
                return Ok(());
            }
            if step.consumed == 0 {
                return Ok(());
            }
        }
    }

    /// Remembers the boundary at which the decoder is, `compressed` bytes into the blob.
    fn mark(&mut self, compressed: u64, boundary: Boundary) {
        let compressed = boundary.begins_at(compressed);
        // Of two marks at one place, as an empty block leaves them, the later one makes the smaller extent.
        if self.marks.back().is_some_and(|last| last.uncompressed == self.uncompressed) {
            self.marks.pop_back();
        }
        let mark = Mark { compressed, uncompressed: self.uncompressed, boundary, window: OnceLock::new() };
        self.marks.push_back(Arc::new(mark));
        self.forget();
        if self.marks.len() > MAX_MARKS {
            // The first is good for any entry, and the next one most likely begins near the last.
            self.marks.remove(1);
        }
    }

    /// Drops marks that no extent from `keep_from` on needs.
    fn forget(&mut self) {
        while self.marks.get(1).is_some_and(|next| next.uncompressed <= self.keep_from) {
            self.marks.pop_front();
        }
    }

    /// The window of a mark that was made since there was room made, so that it is still in the stream's buffer.
    fn recent_window(&self, mark: &Mark) -> &[u8] {
        let Boundary::DeflateBlock { history, .. } = mark.boundary else { return &[] };
        let recent = self.stream.recent();
        let end = recent.len() - (self.uncompressed - mark.uncompressed) as usize;
        &recent[end - history..end]
    }

    fn checkpoint(&self, mark: &Mark) -> Checkpoint {
        match mark.boundary {
            Boundary::ZstdFrame => Checkpoint::ZstdFrame,
            Boundary::DeflateBlock { unused_bits, .. } => Checkpoint::DeflateBlock {
                skipped_bits: (8 - unused_bits) % 8,
                window: mark.window.get().map_or_else(|| self.recent_window(mark), Vec::as_slice).to_vec(),
            },
        }
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
        if self.stream.is_plain() {
            return Some(Extent { compressed: *start..end, uncompressed: *start..end, checkpoint: Checkpoint::Plain });
        }
        let mark = mark.as_ref()?;
        let (uncompressed, compressed) = *self.latest.iter().find(|reached| reached.0 >= end)?;
        Some(Extent {
            // Only where there is nothing between the two is the mark the later one.
            compressed: mark.compressed..compressed.max(mark.compressed),
            uncompressed: mark.uncompressed..uncompressed,
            checkpoint: self.checkpoint(mark),
        })
    }

    fn finish(&mut self) -> Result<(), LayerError> {
        // No extent is asked for any more, and so there is nothing to track.
        self.entry.1 = None;
        self.marks.clear();
        self.stream.finish()
    }

    fn is_damaged(&self) -> bool {
        self.stream.is_damaged()
    }

    fn drain_blob(&mut self) -> Result<(), LayerError> {
        self.stream.drain_blob()
    }
}

impl<R: Read> BufRead for Tracked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.stream.is_plain() {
            return self.stream.fill_buf();
        }
        if self.stream.unread().is_empty() {
            self.decode()?;
        }
        Ok(self.stream.unread())
    }

    fn consume(&mut self, amount: usize) {
        self.stream.consume(amount);
    }
}

impl<R: Read> Read for Tracked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

/// Decompresses one extent: reads the blob's bytes `extent.compressed` and gives the tar's from `extent.uncompressed.start` on.
/// What it gives is only as true as the extent is: whoever reads must check a digest.
pub struct ExtentReader<R>(Decompressed<R>);

impl<R: Read> ExtentReader<R> {
    /// Makes ready to decode `bytes`, the compressed bytes of `extent`.
    pub fn new(checkpoint: &Checkpoint, bytes: R) -> Result<Self, LayerError> {
        Decompressed::resume(checkpoint, bytes).map(ExtentReader)
    }

    /// Makes ready to decode `bytes`, which begin where a frame, a member or a plain tar does, and may end anywhere.
    pub fn fresh(compression: Compression, bytes: R) -> Result<Self, LayerError> {
        Decompressed::part(compression, bytes).map(ExtentReader)
    }
}

impl<R: Read> BufRead for ExtentReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl<R: Read> Read for ExtentReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

#[cfg(test)]
mod tests;
