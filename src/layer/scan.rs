//! A whole layer, entry by entry, and its end.

use super::entry::Entry;
use super::error::LayerError;
use super::stream::{Content, Stream};
use super::tar::TarReader;

/// Whether to go on after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next one, and behind the last one to the blob's end.
    Continue,
    /// Not at all: what is left of the blob is not read, and so its digest not checked.
    Stop,
}

/// Hands each entry of the layer `stream` to `visit`, with its content, which may be left unread. Unless `visit` stops it, the blob is read
/// to its end, so that its reader can check its digest; where the layer turns out to be damaged, this comes first, as a blob
/// that is not the one asked for is the better explanation.
pub fn scan<S: Stream, E: From<LayerError>>(
    stream: S,
    visit: &mut dyn FnMut(&Entry, &mut dyn Content) -> Result<Flow, E>,
) -> Result<(), E> {
    let mut tar = TarReader::new(stream);
    let result = visit_all(&mut tar, visit);
    let failed = tar.has_failed();
    let mut stream = tar.into_inner();
    let result = match result {
        Ok(Flow::Stop) => return Ok(()),
        Ok(Flow::Continue) => stream.finish().map_err(E::from),
        Err(error) => Err(error),
    };
    if result.is_err() && (failed || stream.is_damaged()) {
        stream.drain_blob()?;
    }
    result
}

fn visit_all<S: Stream, E: From<LayerError>>(
    tar: &mut TarReader<S>,
    visit: &mut dyn FnMut(&Entry, &mut dyn Content) -> Result<Flow, E>,
) -> Result<Flow, E> {
    while let Some(entry) = tar.next()? {
        tar.begin_entry(&entry);
        if visit(&entry, &mut tar.data())? == Flow::Stop {
            return Ok(Flow::Stop);
        }
    }
    Ok(Flow::Continue)
}
