//! The ways to know a layer: read from its start to its end, or, where it lies uncompressed in a file, stepped through; and what
//! vouches for what it holds then.

use super::error::Error;
use crate::image::digest::DiffId;
use crate::layer::{
    self, Ahead, Compression, Content, Decompressed, Entry, Flow, Hashed, LayerError, MAGIC, Stepped, Stream, Tracked,
    sniff,
};
use crate::source::{BlobReader, LayerBlob, Promise, Source, StoredLayer};

/// What vouches for the content of something that was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its own digest, which a label has: a file's, or that of a directory's listing.
    File,
    /// The digests of the layers that it was read from.
    Layer,
    /// Its place alone: layers were not read to their end, or nothing promises what they hold.
    Place,
    /// The engine's word: it showed what the layers come to, and no layer was read.
    Engine,
}

/// How much is read for the sake of a layer's digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// All of every layer that is looked at.
    Always,
    /// All of a layer that has to be read from its start anyway. One that can be stepped through is.
    #[default]
    WhereRead,
    /// Nothing: reading stops where all that was asked for has come.
    Never,
}

impl Verify {
    /// The same for an image in `source`: who names a digest wants it compared.
    pub fn of(self, source: &dyn Source) -> Self {
        match self {
            Verify::WhereRead if source.is_pinned() => Verify::Always,
            verify => verify,
        }
    }
}

/// What vouches for what was read of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vouched {
    /// The digest of its blob, or its diff ID.
    ByDigest,
    /// Nothing, as it was not all read.
    NotCompared,
    /// Nothing, as no digest is known.
    NoDigest,
}

/// Hands each entry of the layer in `blob`, which messages call `name`, to `visit`, and says what vouches for it when `visit` did not
/// stop. With `tracked`, [`Content::extent`] tells where in the blob an entry is, which is slower. Fails where nothing vouches and
/// something has to.
pub fn scan(
    blob: LayerBlob,
    name: &str,
    verify: Verify,
    tracked: bool,
    visit: &mut Visit<'_>,
) -> Result<Vouched, Error> {
    let scanned = match blob {
        LayerBlob::Stream(blob) => {
            let outcome = if verify == Verify::Never { Vouched::NotCompared } else { Vouched::ByDigest };
            read(blob, None, tracked, visit).map(|()| outcome)
        }
        LayerBlob::Stored(blob) => scan_stored(blob, name, verify, tracked, visit),
    };
    scanned.map_err(|error| match error {
        Error::Layer { error, .. } => Error::Layer { layer: name.to_owned(), error },
        error => error,
    })
}

/// What is done with each entry.
type Visit<'a> = dyn FnMut(&Entry, &mut dyn Content) -> Result<Flow, Error> + 'a;

fn scan_stored(
    blob: StoredLayer,
    name: &str,
    verify: Verify,
    tracked: bool,
    visit: &mut Visit<'_>,
) -> Result<Vouched, Error> {
    let reading = |error| Error::in_layer(name, LayerError::Io(error));
    let promise = blob.promise().cloned();
    if verify == Verify::Always && promise.is_none() {
        return Err(Error::NoDigest { layer: name.to_owned() });
    }
    let mut start = [0; MAGIC];
    let length = blob.start(&mut start).map_err(reading)?;
    let is_plain = sniff(&start[..length]).map_err(|error| Error::in_layer(name, error))? == Compression::None;
    let is_stepped = is_plain && verify != Verify::Always;
    let vouched = match promise {
        None => Vouched::NoDigest,
        Some(_) if is_stepped || verify == Verify::Never => Vouched::NotCompared,
        Some(_) => Vouched::ByDigest,
    };
    if is_stepped {
        let stream = Stepped::new(blob.reader()).map_err(reading)?;
        layer::scan(stream, &mut |entry, data| visit(entry, data).map_err(InLayer)).map_err(|InLayer(error)| error)?;
    } else {
        let diff_id = match promise {
            Some(Promise::Tar(diff_id)) if vouched == Vouched::ByDigest => Some(diff_id),
            _ => None,
        };
        read(blob.whole(), diff_id, tracked, visit)?;
    }
    Ok(vouched)
}

/// Reads a blob from its start; where a diff ID is given, that of its tar has to be the same.
fn read(blob: BlobReader, diff_id: Option<DiffId>, tracked: bool, visit: &mut Visit<'_>) -> Result<(), Error> {
    fn scan<S: Stream>(stream: S, diff_id: Option<DiffId>, visit: &mut Visit<'_>) -> Result<(), InLayer> {
        let visit = &mut |entry: &Entry, data: &mut dyn Content| visit(entry, data).map_err(InLayer);
        match diff_id {
            Some(diff_id) => layer::scan(Hashed::new(stream, diff_id), visit),
            None => layer::scan(stream, visit),
        }
    }
    let scanned = match tracked {
        true => Tracked::new(blob).map_err(InLayer::from).and_then(|stream| scan(stream, diff_id, visit)),
        false => {
            Decompressed::new(blob).map_err(InLayer::from).and_then(|stream| scan(Ahead::new(stream), diff_id, visit))
        }
    };
    scanned.map_err(|InLayer(error)| error)
}

/// An [`Error`] on its way through [`layer::scan`], whose own errors do not know which layer they are of.
struct InLayer(Error);

impl From<LayerError> for InLayer {
    fn from(error: LayerError) -> Self {
        InLayer(Error::in_layer("", error))
    }
}
