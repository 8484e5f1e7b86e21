//! Contents as they come by spans of a layer: all of a span is compared with its digest, and what came out of it counts only then.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;

use super::pieces::Each;
use crate::artifact::error::Error;
use crate::image::digest::{Digest, Hasher};
use crate::layer::checkpoint::{Checkpoint, ExtentReader};
use crate::layer::content::{DataOffset, FileContent, Section};
use crate::source::SourceError;
use crate::table::soci::Stretch;

/// Hands each content that is wanted of `stretch` to `each`, with its length, out of the `bytes` that are its spans, which are of the
/// layer that messages call `name`. What was handed on is good only where this does not fail.
pub(super) fn read(stretch: Stretch, bytes: impl Read, name: &str, each: &mut Each<'_>) -> Result<(), Error> {
    let Stretch { compressed, uncompressed, checkpoint, spans, contents } = stretch;
    let what = format!("a part of {name} that its SOCI index tells of");
    let mut spans = Spans::new(bytes, compressed.start, spans, &what);
    let decoded = decode(&checkpoint, &mut spans, uncompressed, contents, name, each);
    match decoded {
        Ok(()) => spans.finish().map_err(|error| Error::in_layer(name, error.into())),
        // That the bytes are others is the better explanation for what cannot be decoded.
        Err(error @ Error::Layer { .. }) if !error.is_local() => {
            spans.finish().map_err(|error| Error::in_layer(name, error.into()))?;
            let (expected, actual) = ("what the index says".to_owned(), format!("what cannot be read so ({error})"));
            Err(SourceError::Mismatch { what, expected, actual }.into())
        }
        Err(error) => Err(error),
    }
}

fn decode(
    checkpoint: &Checkpoint,
    spans: &mut Spans<impl Read>,
    mut position: u64,
    contents: Vec<(DataOffset, u64)>,
    name: &str,
    each: &mut Each<'_>,
) -> Result<(), Error> {
    let mut tar = ExtentReader::new(checkpoint, spans).map_err(|error| Error::in_layer(name, error))?;
    for (data, size) in contents {
        let before = data.0.saturating_sub(position);
        // Where there is less, the content has no beginning, which it says itself.
        let skipped = io::copy(&mut (&mut tar).take(before), &mut io::sink());
        skipped.map_err(|error| Error::in_layer(name, error.into()))?;
        let mut content = Section::new(&mut tar, FileContent { data, size, sparse: false });
        each(data, size, &mut content)?;
        io::copy(&mut content, &mut io::sink()).map_err(|error| Error::in_layer(name, error.into()))?;
        position = data.0 + size;
    }
    Ok(())
}

/// Bytes of a blob that compares its spans as they pass by.
struct Spans<R> {
    bytes: R,
    /// Where in the blob it is.
    position: u64,
    /// Those that have not ended, in their order. Two neighbours may share a byte.
    left: VecDeque<Span>,
    /// What is read, as messages call it.
    what: String,
}

struct Span {
    range: Range<u64>,
    digest: Digest,
    hasher: Hasher,
}

impl<R: Read> Spans<R> {
    fn new(bytes: R, position: u64, spans: Vec<(Range<u64>, Digest)>, what: &str) -> Self {
        let span = |(range, digest): (Range<u64>, Digest)| Span { range, hasher: digest.hasher(), digest };
        Spans { bytes, position, left: spans.into_iter().map(span).collect(), what: what.to_owned() }
    }

    /// Reads what is left, and fails where a span is not what it is to be.
    fn finish(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink())?;
        match self.left.pop_front() {
            None => Ok(()),
            Some(span) => Err(self.mismatch(&span.digest, "fewer bytes".to_owned())),
        }
    }

    /// Takes note of `passed`, which begins at `position`.
    fn pass(&mut self, passed: &[u8]) -> io::Result<()> {
        let end = self.position + passed.len() as u64;
        for span in self.left.iter_mut().take_while(|span| span.range.start < end) {
            let from = span.range.start.max(self.position).min(end) - self.position;
            let to = span.range.end.max(self.position).min(end) - self.position;
            span.hasher.update(&passed[from as usize..to as usize]);
        }
        self.position = end;
        while self.left.front().is_some_and(|span| span.range.end <= end) {
            let Some(span) = self.left.pop_front() else { break };
            let actual = span.hasher.finish();
            if actual != span.digest {
                return Err(self.mismatch(&span.digest, actual.to_string()));
            }
        }
        Ok(())
    }

    fn mismatch(&self, expected: &Digest, actual: String) -> io::Error {
        SourceError::Mismatch { what: self.what.clone(), expected: expected.to_string(), actual }.into()
    }
}

impl<R: Read> Read for Spans<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.pass(&buffer[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::ExitClass;

    const BLOB: &[u8] = b"one span two spans three spans";

    /// Bytes of a plain blob from its third on, in spans that share a byte each.
    fn stretch(contents: &[(u64, u64)]) -> Stretch {
        let span = |range: Range<u64>| (range.clone(), Digest::of(&BLOB[range.start as usize..range.end as usize]));
        Stretch {
            compressed: 3..27,
            uncompressed: 3,
            checkpoint: Checkpoint::Plain,
            spans: vec![span(3..10), span(9..20), span(19..27)],
            contents: contents.iter().map(|(at, size)| (DataOffset(*at), *size)).collect(),
        }
    }

    fn contents(stretch: Stretch, bytes: &[u8]) -> Result<Vec<String>, Error> {
        let mut contents = Vec::new();
        read(stretch, bytes, "a layer", &mut |_, size, content| {
            let mut text = String::new();
            content.read_to_string(&mut text).map_err(|error| Error::in_layer("a layer", error.into()))?;
            assert_eq!(text.len() as u64, size);
            contents.push(text);
            Ok(())
        })?;
        Ok(contents)
    }

    #[test]
    fn contents_lie_anywhere_in_the_spans() {
        for (wanted, expected) in [
            (&[][..], &[][..]),
            (&[(4, 4)], &["span"]),
            (&[(9, 3), (13, 5)], &["two", "spans"]),
            (&[(3, 24)], &[" span two spans three sp"]),
        ] {
            assert_eq!(contents(stretch(wanted), &BLOB[3..27]).unwrap(), expected);
        }
    }

    #[test]
    fn every_byte_of_a_span_counts_whatever_is_wanted_of_it() {
        for at in 3..27 {
            let mut blob = BLOB.to_vec();
            blob[at] ^= 1;
            let error = contents(stretch(&[(4, 4)]), &blob[3..27]).unwrap_err();
            assert_eq!(error.exit_class(), ExitClass::Mismatch, "{at}");
        }
        let mut shorter = stretch(&[(4, 4)]);
        shorter.spans[1].0.end = 19;
        for (stretch, bytes) in [
            (stretch(&[(4, 4)]), &BLOB[3..26]),
            (stretch(&[(20, 20)]), &BLOB[3..27]),
            (stretch(&[(40, 1)]), &BLOB[3..27]),
            (shorter, &BLOB[3..27]),
        ] {
            assert_eq!(contents(stretch, bytes).unwrap_err().exit_class(), ExitClass::Mismatch);
        }
    }
}
