//! Contents as they come by range: neighbours in one request, each piece decoded alone, and compared with its digest before the last
//! byte of it is handed on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::artifact::error::Error;
use crate::image::digest::{Digest, Hasher};
use crate::layer::checkpoint::{Checkpoint, Extent, ExtentReader};
use crate::layer::content::DataOffset;
use crate::layer::{Compression, Content, LayerError, Run};
use crate::source::{BlobReader, Part, SourceError};
use crate::table::{Piece, Pieces};

/// Contents that lie no more than so many bytes apart come in one request.
const JOINED: u64 = 64 << 10;

/// What is done with each content, of which the length is given.
pub(super) type Each<'a> = dyn FnMut(DataOffset, u64, &mut dyn Content) -> Result<(), Error> + 'a;

/// Contents that come in one request.
#[derive(Debug)]
pub(super) struct Stretch {
    range: Option<Range<u64>>,
    /// In the order in which they lie in the blob.
    contents: Vec<Within>,
    /// The part of the blob that is compared with what was read before; `None` where all contents have digests.
    compared: Option<Part>,
}

/// A content of a stretch.
#[derive(Debug)]
pub(super) struct Within {
    pub(super) data: DataOffset,
    pub(super) pieces: Pieces,
    /// Where in the blob it is, where somebody wants to know that.
    pub(super) place: Option<Place>,
}

/// Where in the blob a content is: an [`Extent`] whose checkpoint it shares with others.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) compressed: Range<u64>,
    pub(super) uncompressed: Range<u64>,
    pub(super) checkpoint: Arc<Checkpoint>,
}

/// The requests that it takes to get these contents. Where the pieces of two overlap, each has a request of its own, except in one frame
/// or member that holds both, one behind the other.
pub(super) fn stretches(located: HashMap<DataOffset, Pieces>) -> Vec<Stretch> {
    let mut located: Vec<_> = located.into_iter().map(|(data, pieces)| (pieces.stored(), data, pieces)).collect();
    located.sort_by_key(|(range, data, pieces)| {
        let skip = pieces.pieces.iter().find(|piece| piece.stored.is_some()).map_or(0, |piece| piece.skip);
        (range.as_ref().map_or((0, 0), |range| (range.start, skip)), *data)
    });
    let mut stretches: Vec<Stretch> = Vec::new();
    for (range, data, pieces) in located {
        match stretches.last_mut() {
            Some(last) if last.takes(range.as_ref(), &pieces) => {
                if let (Some(joined), Some(range)) = (&mut last.range, range) {
                    joined.end = joined.end.max(range.end);
                }
                last.contents.push(Within { data, pieces, place: None });
            }
            _ => stretches.push(Stretch::new(range, vec![Within { data, pieces, place: None }], None)),
        }
    }
    stretches
}

impl Stretch {
    /// Contents that lie in these bytes of the blob, where they are not zeros, in the order in which they lie there.
    pub(super) fn new(range: Option<Range<u64>>, contents: Vec<Within>, compared: Option<Part>) -> Self {
        Stretch { range, contents, compared }
    }

    /// The bytes of the blob that are to be asked for; `None` where there are only zeros.
    pub(super) fn range(&self) -> Option<Range<u64>> {
        self.compared.as_ref().map(|part| &part.range).or(self.range.as_ref()).cloned()
    }

    /// Whether the content in `range` can be read behind those that the stretch has.
    fn takes(&self, range: Option<&Range<u64>>, pieces: &Pieces) -> bool {
        let stored = |pieces: &Pieces| -> Vec<Piece> {
            pieces.pieces.iter().filter(|piece| piece.stored.is_some()).cloned().collect()
        };
        let (Some(own), Some(range)) = (&self.range, range) else { return self.range.is_none() && range.is_none() };
        if range.start >= own.end {
            return range.start - own.end <= JOINED;
        }
        let last = self.contents.last().and_then(|last| stored(&last.pieces).pop());
        let first = stored(pieces).into_iter().next();
        last.zip(first).is_some_and(|(last, first)| {
            last.stored == first.stored && last.skip.saturating_add(last.size) <= first.skip
        })
    }

    /// Hands each content, with its length, to `each`, out of the bytes that were asked for, which are of the layer that messages call
    /// `name`. What is handed on is good only where reading it to its end does not fail.
    pub(super) fn read(
        self,
        compression: Compression,
        bytes: BlobReader,
        name: &str,
        each: &mut Each<'_>,
    ) -> Result<(), Error> {
        let position = self.range().map_or(0, |range| range.start);
        let is_compared = self.compared.is_some();
        let bytes = match self.compared {
            Some(part) => part.compared(bytes, format!("{name}, read again from byte {position}")),
            None => bytes,
        };
        let mut decoding = Decoding {
            blob: Rc::new(RefCell::new(Blob { bytes, position })),
            compression,
            what: format!("a file in {name}, told by its table of contents,"),
            decoder: None,
        };
        for Within { data, pieces: Pieces { pieces, digest }, place } in self.contents {
            let size = pieces.iter().fold(0, |sum: u64, piece| sum.saturating_add(piece.size));
            let whole =
                digest.filter(|digest| !matches!(pieces.as_slice(), [piece] if piece.digest.as_ref() == Some(digest)));
            let whole = whole.map(|digest| (digest.hasher(), digest));
            let mut content =
                Joined { decoding: &mut decoding, pieces: pieces.into_iter(), piece: None, whole, left: size, place };
            each(data, size, &mut content)?;
            // As a rule there is nothing left.
            io::copy(&mut content, &mut io::sink()).map_err(|error| Error::in_layer(name, error.into()))?;
        }
        if is_compared {
            let mut rest = Bounded { blob: decoding.blob, end: u64::MAX };
            io::copy(&mut rest, &mut io::sink()).map_err(|error| Error::in_layer(name, error.into()))?;
        }
        Ok(())
    }
}

/// Bytes of a blob, and where they are.
struct Blob<R> {
    bytes: R,
    position: u64,
}

/// The bytes of a blob as far as to the end of a piece.
struct Bounded<R> {
    blob: Rc<RefCell<Blob<R>>>,
    end: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut blob = self.blob.borrow_mut();
        let left = self.end.saturating_sub(blob.position);
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = blob.bytes.read(&mut buffer[..length])?;
        blob.position += read as u64;
        Ok(read)
    }
}

/// Decodes one piece after the other.
struct Decoding<R> {
    blob: Rc<RefCell<Blob<R>>>,
    compression: Compression,
    /// What is read, as messages call it.
    what: String,
    decoder: Option<Decoder<R>>,
}

struct Decoder<R> {
    stored: Range<u64>,
    /// How much it has given.
    position: u64,
    bytes: ExtentReader<Bounded<R>>,
}

impl<R: Read> Decoding<R> {
    /// Goes to where `piece` begins.
    fn begin(&mut self, piece: &Piece) -> io::Result<()> {
        let Some(stored) = &piece.stored else { return Ok(()) };
        if self.decoder.as_ref().is_none_or(|decoder| decoder.stored != *stored || decoder.position > piece.skip) {
            self.decoder = None;
            let mut before = Bounded { blob: Rc::clone(&self.blob), end: stored.start };
            io::copy(&mut before, &mut io::sink())?;
            let bounded = Bounded { blob: Rc::clone(&self.blob), end: stored.end };
            let bytes = match &piece.checkpoint {
                Some(checkpoint) => ExtentReader::new(checkpoint, bounded)?,
                None => ExtentReader::fresh(self.compression, bounded)?,
            };
            self.decoder = Some(Decoder { stored: stored.clone(), position: 0, bytes });
        }
        if let Some(decoder) = &mut self.decoder {
            let before = piece.skip - decoder.position;
            decoder.position += io::copy(&mut (&mut decoder.bytes).take(before), &mut io::sink())?;
        }
        Ok(())
    }

    /// Reads some of `piece`, at which it is.
    fn read(&mut self, piece: &Piece, buffer: &mut [u8]) -> io::Result<usize> {
        match (&piece.stored, &mut self.decoder) {
            (Some(_), Some(decoder)) => {
                let read = decoder.bytes.read(buffer)?;
                decoder.position += read as u64;
                Ok(read)
            }
            (Some(_), None) => Ok(0),
            (None, _) => {
                buffer.fill(0);
                Ok(buffer.len())
            }
        }
    }
}

/// A content, joined together of its pieces.
struct Joined<'a, R> {
    decoding: &'a mut Decoding<R>,
    pieces: std::vec::IntoIter<Piece>,
    /// The piece at hand, how much of it is left, and its hash so far.
    piece: Option<(Piece, u64, Option<Hasher>)>,
    /// The hash of all that was read, and what it is to be.
    whole: Option<(Hasher, Digest)>,
    /// How many bytes are left in all.
    left: u64,
    /// Where in the blob it is, where that was asked for.
    place: Option<Place>,
}

impl<R: Read> Joined<'_, R> {
    /// What is wrong where a content is not what its table tells.
    fn mismatch(&self, expected: Option<&Digest>, actual: String) -> io::Error {
        let expected = expected.or(self.whole.as_ref().map(|(_, digest)| digest));
        let expected = expected.map_or_else(|| "as many bytes as it says".to_owned(), Digest::to_string);
        SourceError::Mismatch { what: self.decoding.what.clone(), expected, actual }.into()
    }

    /// `error`, where it is not of the blob's source: then what came is not what the table tells.
    fn explained(&self, expected: Option<&Digest>, error: io::Error) -> io::Error {
        match LayerError::from(error) {
            LayerError::Io(error) => error,
            error => self.mismatch(expected, format!("what cannot be decoded ({error})")),
        }
    }
}

impl<R: Read> Read for Joined<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        if self.piece.is_none() {
            let Some(piece) = self.pieces.next() else { return Err(self.mismatch(None, "fewer".to_owned())) };
            let begun = self.decoding.begin(&piece);
            begun.map_err(|error| self.explained(piece.digest.as_ref(), error))?;
            let (size, hasher) = (piece.size, piece.digest.as_ref().map(Digest::hasher));
            self.piece = Some((piece, size, hasher));
        }
        let Some((piece, left, hasher)) = &mut self.piece else { return Ok(0) };
        let length = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = match self.decoding.read(piece, &mut buffer[..length]) {
            Ok(read) => read,
            Err(error) => {
                let expected = piece.digest.clone();
                return Err(self.explained(expected.as_ref(), error));
            }
        };
        if read == 0 {
            let (expected, missing) = (piece.digest.clone(), *left);
            return Err(self.mismatch(expected.as_ref(), format!("{missing} bytes fewer")));
        }
        *left -= read as u64;
        self.left -= read as u64;
        hasher.iter_mut().for_each(|hasher| hasher.update(&buffer[..read]));
        self.whole.iter_mut().for_each(|(hasher, _)| hasher.update(&buffer[..read]));
        if *left == 0
            && let Some((piece, _, hasher)) = self.piece.take()
            && let Some((actual, expected)) = hasher.map(Hasher::finish).zip(piece.digest)
            && actual != expected
        {
            return Err(self.mismatch(Some(&expected), actual.to_string()));
        }
        if self.left == 0
            && let Some((hasher, expected)) = self.whole.take()
        {
            let actual = hasher.finish();
            if actual != expected {
                return Err(self.mismatch(Some(&expected), actual.to_string()));
            }
        }
        Ok(read)
    }
}

impl<R: Read> Content for Joined<'_, R> {
    fn next_run(&mut self) -> Option<Run> {
        (self.left > 0).then_some(Run::Data(self.left))
    }

    fn extent(&self) -> Option<Extent> {
        let Place { compressed, uncompressed, checkpoint } = self.place.as_ref()?;
        let (compressed, uncompressed) = (compressed.clone(), uncompressed.clone());
        Some(Extent { compressed, uncompressed, checkpoint: Checkpoint::clone(checkpoint) })
    }
}

#[cfg(test)]
mod tests;
