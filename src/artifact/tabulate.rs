//! The table of a layer that is to be used by others: with the digest of each file, so that it vouches for what is read by it.
//!
//! The same blob gives the same table, wherever and however it is read.

use std::fs::File;
use std::io;

use super::error::Error;
use super::filling::Filling;
use super::layers::{self, Noting, Verify};
use super::remember::Scratch;
use super::shown::describe;
use crate::image::Layer;
use crate::image::digest::{Digest, Hasher};
use crate::layer::{Content, Entry, Flow, Kind};
use crate::source::LayerBlob;
use crate::table::own::{NotWritten, Writer, Written};

/// How much of a file is hashed at a time: more than what a decoder hands on.
const PIECE: usize = 64 << 10;

/// Reads `layer`, one of `count`, from `blob` to its end, and writes its table into `file`, which is empty; files that `scratch` gives hold
/// what has to be sorted. Fails where the layer cannot be read, or has another digest; that no table can be written, of this layer or at all,
/// is told apart from that. To be called on a thread that may block.
pub fn tabulate(
    blob: LayerBlob,
    (layer, count): (&Layer, usize),
    file: File,
    scratch: Scratch,
) -> Result<Result<Written, NotWritten>, Error> {
    let name = describe(layer, count);
    let Some(digest) = layer.digest() else { return Err(Error::NoDigest { layer: name }) };
    let writer = |blob| Ok(Writer::new(file, scratch, blob));
    let (filling, written) = match Filling::begin((digest.clone(), layer.size()), None, writer, Ok) {
        Ok(begun) => begun,
        Err(error) => return Ok(Err(error.into())),
    };
    let noting = Noting { observers: vec![filling.observer()], ..Noting::default() };
    let mut buffer = vec![0; PIECE];
    layers::scan_noting(blob, &name, Verify::Always, noting, &mut |entry, data| {
        filling.content(entry);
        let digest = digest_of(entry, data, &mut buffer).map_err(|error| Error::in_layer(&name, error.into()))?;
        filling.entry_with(entry, digest);
        Ok(Flow::Continue)
    })?;
    filling.end();
    match written.join() {
        Ok(Ok(Some(written))) => Ok(Ok(written)),
        Ok(Ok(None)) => Err(Error::Bug(format!("the table of {name} was given up"))),
        Ok(Err(error)) => Ok(Err(error)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The SHA-256 of what is in `data`, where the table has it: not of an empty file, nor of one that is stored with holes.
fn digest_of(entry: &Entry, data: &mut dyn Content, buffer: &mut [u8]) -> io::Result<Option<Digest>> {
    let Kind::File { size: 1.., sparse: false } = entry.kind else { return Ok(None) };
    let mut hasher = Hasher::default();
    loop {
        match data.read(buffer)? {
            0 => return Ok(Some(hasher.finish())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
