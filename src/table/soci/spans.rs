//! The spans of a zTOC: which bytes of the layer each is, and how decoding begins there.
//!
//! For gzip their places and states are one list, as zlib's *zran* example has them: where the first whole byte of a block is, where in the
//! tar that is, how many bits of the byte before belong to it, and the last 32 KiB before it. A plain tar is cut every so many bytes.

use std::fmt;
use std::ops::Range;

use super::flat::{Damaged, Fields};
use crate::image::digest::Digest;
use crate::layer::Compression;
use crate::layer::checkpoint::Checkpoint;
use crate::layer::content::DataOffset;
use crate::table::Unusable;

/// The numbers of fields of what tells of the compression.
const ALGORITHM: usize = 0;
const MAX_SPAN_ID: usize = 1;
const SPAN_DIGESTS: usize = 2;
const CHECKPOINTS: usize = 3;

/// The algorithms.
const GZIP: u8 = 1;
const UNCOMPRESSED: u8 = 2;

/// The numbers of fields of the "checkpoints" of a plain tar, which are a FlatBuffer of their own.
const SPAN_SIZE: usize = 1;
const TAR_SIZE: usize = 2;

/// In front of the list: the number of checkpoints (4 bytes) and the length of a span as it was wished (8 bytes).
const LIST_HEADER: usize = 12;

/// Two offsets, bits, and what was decoded before.
const WINDOW: usize = 32 << 10;
const CHECKPOINT: usize = 8 + 8 + 1 + WINDOW;

/// Where the first checkpoint is that older writers left out: behind a gzip header without a name.
const IMPLIED: u64 = 10;

/// The spans of a layer.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Spans {
    /// How many there are.
    count: usize,
    /// The layer's length in bytes, as stored.
    size: u64,
    form: Form,
}

#[derive(Clone, PartialEq, Eq)]
enum Form {
    /// The checkpoints are these bytes of the zTOC, or all but the first.
    Gzip { list: Range<usize>, is_first_implied: bool },
    /// Each but the last has so many bytes.
    Plain { length: u64 },
}

/// Neighbouring spans, which come in one request, and what is wanted of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Which bytes of the blob they are; none where nothing is wanted that has any.
    pub compressed: Range<u64>,
    /// Where in the tar the first begins.
    pub uncompressed: u64,
    /// The decoder's state there. Whatever follows, up to the last span's end, is one stream.
    pub checkpoint: Checkpoint,
    /// The bytes of the blob that each span is, in their order, with their digest. A byte that two of them share a part of is in both.
    pub spans: Vec<(Range<u64>, Digest)>,
    /// What is wanted, in the order in which it lies there, with its length in bytes.
    pub contents: Vec<(DataOffset, u64)>,
}

/// Where a decoder can begin.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Begin {
    /// The first whole byte.
    whole: u64,
    /// Where in the tar.
    uncompressed: u64,
    /// How many bits of the byte before belong to it.
    bits: u8,
}

impl Stretch {
    /// What has no bytes, and needs no span.
    pub(super) fn of_nothing(contents: Vec<(DataOffset, u64)>) -> Self {
        Stretch { compressed: 0..0, uncompressed: 0, checkpoint: Checkpoint::Plain, spans: Vec::new(), contents }
    }
}

impl Begin {
    /// The first byte of which it has a part.
    fn compressed(self) -> u64 {
        self.whole - u64::from(self.bits > 0)
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans of {} bytes", self.count, self.size)
    }
}

impl Spans {
    /// The spans that `info`, which is part of the zTOC `stored`, tells of a layer of `size` bytes as stored.
    pub(super) fn new(stored: &[u8], info: &Fields<'_>, size: u64) -> Result<Self, Unusable> {
        let place = info.range(CHECKPOINTS)?.unwrap_or_default();
        let checkpoints = stored.get(place.clone()).ok_or(Damaged)?;
        let (count, form) = match info.byte(ALGORITHM)?.unwrap_or(GZIP) {
            GZIP => {
                let count = checkpoints.first_chunk().copied().map(u32::from_le_bytes).ok_or(Damaged)?;
                let count = usize::try_from(count).map_err(|_| Damaged)?;
                let list = checkpoints.get(LIST_HEADER..).ok_or(Damaged)?;
                let is_first_implied = count.checked_sub(1).is_some_and(|count| is_list(list, count));
                if count == 0 || !(is_first_implied || is_list(list, count)) {
                    return Err(Unusable::new("it has not the checkpoints that it says"));
                }
                (count, Form::Gzip { list: place.start + LIST_HEADER..place.end, is_first_implied })
            }
            UNCOMPRESSED => {
                let plain = Fields::root(checkpoints)?;
                let length = u64::try_from(plain.long(SPAN_SIZE)?).ok().filter(|length| *length > 0);
                let length = length.ok_or_else(|| Unusable::new("it has spans without any bytes"))?;
                if u64::try_from(plain.long(TAR_SIZE)?) != Ok(size) {
                    return Err(Unusable::new("it is of a tar of another length"));
                }
                (usize::try_from(size.div_ceil(length)).map_err(|_| Damaged)?, Form::Plain { length })
            }
            other => return Err(Unusable::new(format!("it is of a compression that is not known ({other})"))),
        };
        let digests = info.elements(SPAN_DIGESTS)?;
        let is_counted = info.unsigned(MAX_SPAN_ID)?.checked_add(1).is_some_and(|told| u64::from(told) == count as u64);
        if digests.count() != count || !is_counted {
            return Err(Unusable::new("it has not one digest for each span"));
        }
        let spans = Spans { count, size, form };
        spans.check(stored)?;
        for index in 0..count {
            digest(info, index)?;
        }
        Ok(spans)
    }

    /// Sees that the spans follow one another, inside the layer.
    fn check(&self, stored: &[u8]) -> Result<(), Unusable> {
        let Form::Gzip { .. } = self.form else { return Ok(()) };
        let mut before: Option<Begin> = None;
        for index in 0..self.count {
            let begin = self.begin(stored, index);
            let follows = match before {
                None => begin.uncompressed == 0,
                Some(before) => before.whole < begin.whole && before.uncompressed <= begin.uncompressed,
            };
            if !follows || begin.whole == 0 || begin.whole >= self.size || begin.bits > 7 {
                return Err(Unusable::new("it has spans that do not lie in their order in the layer"));
            }
            before = Some(begin);
        }
        Ok(())
    }

    /// How the layer is compressed.
    pub(super) fn compression(&self) -> Compression {
        match self.form {
            Form::Gzip { .. } => Compression::Gzip,
            Form::Plain { .. } => Compression::None,
        }
    }

    /// The spans that hold these bytes of the tar. There is at least one.
    pub(super) fn holding(&self, stored: &[u8], uncompressed: Range<u64>) -> Range<usize> {
        let first = self.partition(|index| self.begin(stored, index).uncompressed <= uncompressed.start);
        let first = first.saturating_sub(1);
        let end = self.partition(|index| self.begin(stored, index).uncompressed < uncompressed.end);
        first..end.max(first + 1)
    }

    /// How many of the first spans are as `is_before` says: no other is.
    fn partition(&self, is_before: impl Fn(usize) -> bool) -> usize {
        let (mut least, mut most) = (0, self.count);
        while least < most {
            let middle = least + (most - least) / 2;
            if is_before(middle) {
                least = middle + 1;
            } else {
                most = middle;
            }
        }
        least
    }

    /// These spans, of which `contents` is wanted; `info` is what the zTOC tells of the compression.
    pub(super) fn stretch(
        &self,
        stored: &[u8],
        info: &Fields<'_>,
        spans: Range<usize>,
        contents: Vec<(DataOffset, u64)>,
    ) -> Result<Stretch, Unusable> {
        let first = self.begin(stored, spans.start);
        let checkpoint = match self.form {
            Form::Plain { .. } => Checkpoint::Plain,
            Form::Gzip { .. } => Checkpoint::DeflateBlock {
                skipped_bits: (8 - first.bits) % 8,
                window: self.window(stored, spans.start).to_vec(),
            },
        };
        let span = |index| Ok((self.begin(stored, index).compressed()..self.end(stored, index), digest(info, index)?));
        let end = self.end(stored, spans.end - 1);
        Ok(Stretch {
            compressed: first.compressed()..end,
            uncompressed: first.uncompressed,
            checkpoint,
            spans: spans.map(span).collect::<Result<_, Unusable>>()?,
            contents,
        })
    }

    /// Where the bytes end that this span has a part of.
    fn end(&self, stored: &[u8], index: usize) -> u64 {
        if index + 1 == self.count { self.size } else { self.begin(stored, index + 1).whole }
    }

    /// Where this span begins.
    fn begin(&self, stored: &[u8], index: usize) -> Begin {
        match self.form {
            Form::Plain { length } => {
                let at = length.saturating_mul(index as u64);
                Begin { whole: at, uncompressed: at, bits: 0 }
            }
            Form::Gzip { .. } => match self.listed(stored, index) {
                Some(listed) => {
                    let number = |at: usize| listed[at..].first_chunk().copied().map_or(0, u64::from_le_bytes);
                    Begin { whole: number(0), uncompressed: number(8), bits: listed[16] }
                }
                None => Begin { whole: IMPLIED, uncompressed: 0, bits: 0 },
            },
        }
    }

    /// What a decoder that begins with this span may refer back to.
    fn window<'a>(&self, stored: &'a [u8], index: usize) -> &'a [u8] {
        self.listed(stored, index).map_or(&[], |listed| &listed[CHECKPOINT - WINDOW..])
    }

    /// The checkpoint of this span, where it is in the list.
    fn listed<'a>(&self, stored: &'a [u8], index: usize) -> Option<&'a [u8]> {
        let Form::Gzip { list, is_first_implied } = &self.form else { return None };
        let index = index.checked_sub(usize::from(*is_first_implied))?;
        stored.get(list.clone())?.chunks_exact(CHECKPOINT).nth(index)
    }
}

/// Whether `list` has so many checkpoints.
fn is_list(list: &[u8], count: usize) -> bool {
    count.checked_mul(CHECKPOINT) == Some(list.len())
}

/// The digest of this span, as it is stored.
fn digest(info: &Fields<'_>, index: usize) -> Result<Digest, Unusable> {
    let written = std::str::from_utf8(info.elements(SPAN_DIGESTS)?.bytes(index)?).ok();
    let digest = written.and_then(|written| written.parse().ok());
    digest.ok_or_else(|| Unusable::new("it has a span whose digest cannot be verified"))
}
