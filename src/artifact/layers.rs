//! The ways to know a layer: read from its start to its end, or, where it lies uncompressed in a file, stepped through; and what
//! vouches for what it holds then.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use super::error::Error;
use crate::image::digest::DiffId;
use crate::layer::content::{DataOffset, FileContent, Section};
use crate::layer::observer::Observer;
use crate::layer::{
    self, Ahead, Compression, Content, Decompressed, Entry, Flow, Hashed, Kind, LayerError, MAGIC, Stepped, Stream,
    Tracked, sniff,
};
use crate::source::{BlobReader, LayerBlob, Promise, Source, StoredLayer};

/// What vouches for the content of something that was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its own digest, which a label has: a file's, or that of a directory's listing.
    File,
    /// The digests of the layers that it was read from.
    Layer,
    /// The digests in a table of contents that the image carries, and its own digest covers: what the layer's tar says was not looked at.
    Table,
    /// The digests in a table of contents that is only attached to the image: who may attach something to it vouches for that.
    Attached,
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
    /// The digest of its table, and those that the table has.
    ByTable,
    /// The digests that a table has which is only attached to the image.
    ByAttached,
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
    scan_noting(blob, name, verify, Noting { extents: tracked, ..Noting::default() }, visit)
}

/// What is noted of a layer as it is read.
#[derive(Clone, Default)]
pub struct Noting {
    /// Whether it is noted where in the blob each entry is, for [`Content::extent`].
    pub extents: bool,
    /// Who is told where it can be begun again. Nobody is where it is stepped through.
    pub observers: Vec<Arc<dyn Observer>>,
}

/// As [`scan`], with what is `noting` noted.
pub fn scan_noting(
    blob: LayerBlob,
    name: &str,
    verify: Verify,
    noting: Noting,
    visit: &mut Visit<'_>,
) -> Result<Vouched, Error> {
    let scanned = match blob {
        LayerBlob::Stream(blob, _) => {
            let outcome = if verify == Verify::Never { Vouched::NotCompared } else { Vouched::ByDigest };
            read(blob, None, noting, visit).map(|()| outcome)
        }
        LayerBlob::Stored(blob) => scan_stored(blob, name, verify, noting, visit),
    };
    scanned.map_err(|error| match error {
        Error::Layer { error, .. } => Error::Layer { layer: name.to_owned(), error },
        error => error,
    })
}

/// Whether [`contents`] of the layer can be read by themselves, for no more than what they are long.
pub fn can_return(blob: &LayerBlob, verify: Verify) -> Result<bool, LayerError> {
    match blob {
        LayerBlob::Stream(..) => Ok(false),
        LayerBlob::Stored(blob) => is_stepped(blob, verify),
    }
}

/// Hands the contents `wanted` of a layer that has been scanned to `each`, in the order in which they lie there. Where the layer can be
/// stepped through, nothing else of it is read; otherwise all of it is, and checked as by [`scan`].
pub fn contents(
    blob: LayerBlob,
    name: &str,
    verify: Verify,
    tracked: bool,
    mut wanted: Vec<FileContent>,
    each: &mut dyn FnMut(FileContent, &mut dyn Content) -> Result<(), Error>,
) -> Result<(), Error> {
    let reading = |error| Error::in_layer(name, error);
    wanted.sort_by_key(|content| content.data);
    if let LayerBlob::Stored(stored) = &blob
        && is_stepped(stored, verify).map_err(reading)?
        && wanted.iter().all(|content| !content.sparse)
    {
        let mut tar = stored.reader();
        for content in wanted {
            tar.seek(SeekFrom::Start(content.data.0)).map_err(|error| reading(error.into()))?;
            each(content, &mut Section::new(&mut tar, content))?;
        }
        return Ok(());
    }
    let mut left: BTreeMap<DataOffset, FileContent> =
        wanted.into_iter().map(|content| (content.data, content)).collect();
    scan(blob, name, verify, tracked, &mut |entry, data| {
        if let Kind::File { .. } = entry.kind
            && let Some(content) = left.remove(&DataOffset(entry.data_offset))
        {
            each(content, data)?;
        }
        Ok(if left.is_empty() && verify == Verify::Never { Flow::Stop } else { Flow::Continue })
    })?;
    Ok(())
}

/// What is done with each entry.
type Visit<'a> = dyn FnMut(&Entry, &mut dyn Content) -> Result<Flow, Error> + 'a;

/// Whether a layer is stepped through: it is plain, and need not all be read.
fn is_stepped(blob: &StoredLayer, verify: Verify) -> Result<bool, LayerError> {
    let mut start = [0; MAGIC];
    let length = blob.start(&mut start)?;
    Ok(sniff(&start[..length])? == Compression::None && verify != Verify::Always)
}

fn scan_stored(
    blob: StoredLayer,
    name: &str,
    verify: Verify,
    noting: Noting,
    visit: &mut Visit<'_>,
) -> Result<Vouched, Error> {
    let reading = |error| Error::in_layer(name, LayerError::Io(error));
    let promise = blob.promise().cloned();
    if verify == Verify::Always && promise.is_none() {
        return Err(Error::NoDigest { layer: name.to_owned() });
    }
    let is_stepped = is_stepped(&blob, verify).map_err(|error| Error::in_layer(name, error))?;
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
        read(blob.whole(), diff_id, noting, visit)?;
    }
    Ok(vouched)
}

/// Reads a blob from its start; where a diff ID is given, that of its tar has to be the same.
fn read(blob: BlobReader, diff_id: Option<DiffId>, noting: Noting, visit: &mut Visit<'_>) -> Result<(), Error> {
    fn scan<S: Stream>(stream: S, diff_id: Option<DiffId>, visit: &mut Visit<'_>) -> Result<(), InLayer> {
        let visit = &mut |entry: &Entry, data: &mut dyn Content| visit(entry, data).map_err(InLayer);
        match diff_id {
            Some(diff_id) => layer::scan(Hashed::new(stream, diff_id), visit),
            None => layer::scan(stream, visit),
        }
    }
    let scanned = match noting.extents {
        false => Decompressed::new(blob)
            .map_err(InLayer::from)
            .and_then(|stream| scan(Ahead::new(stream.observed_by(noting.observers)), diff_id, visit)),
        true => Tracked::new(blob)
            .map_err(InLayer::from)
            .and_then(|stream| scan(stream.observed_by(noting.observers), diff_id, visit)),
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::fixture::{file, gzip, tar};
    use super::*;
    use crate::image::digest::Digest;

    fn members() -> Vec<u8> {
        let big = "#".repeat(200_000);
        tar(&[file("a", &big), file("wanted", "here"), file("b", &big)])
    }

    fn scanned(blob: LayerBlob, verify: Verify) -> Result<Vouched, Error> {
        scan(blob, "layer 1 of 1", verify, false, &mut |_, _| Ok(Flow::Continue))
    }

    #[test]
    fn what_vouches_for_a_layer_is_what_was_compared() {
        use Verify::{Always, Never, WhereRead};
        use Vouched::{ByDigest, NoDigest, NotCompared};
        let tar = members();
        for (verify, stream, plain, compressed, unpromised) in [
            (Always, ByDigest, ByDigest, ByDigest, None),
            (WhereRead, ByDigest, NotCompared, ByDigest, Some(NoDigest)),
            (Never, NotCompared, NotCompared, NotCompared, Some(NoDigest)),
        ] {
            for (bytes, stored) in [(tar.clone(), plain), (gzip(&tar), compressed)] {
                // Of what comes once, the source compares the digest.
                let blob = LayerBlob::Stream(Box::new(Cursor::new(bytes.clone())), Arc::default());
                assert_eq!(scanned(blob, verify).unwrap(), stream, "{verify:?}");
                for promise in [Promise::Blob(Digest::of(&bytes)), Promise::Tar(DiffId(Digest::of(&tar)))] {
                    let blob = LayerBlob::Stored(StoredLayer::of(&bytes, Some(promise.clone())));
                    assert_eq!(scanned(blob, verify).unwrap(), stored, "{verify:?} {promise:?}");
                }
                match (scanned(LayerBlob::Stored(StoredLayer::of(&bytes, None)), verify), unpromised) {
                    (Ok(vouched), Some(expected)) => assert_eq!(vouched, expected, "{verify:?}"),
                    (Err(Error::NoDigest { .. }), None) => {}
                    (outcome, _) => panic!("{verify:?}: {outcome:?}"),
                }
            }
        }
    }

    #[test]
    fn a_stored_layer_of_another_digest_is_found_out_where_it_is_compared() {
        let (tar, other) = (members(), Digest::of(b"other"));
        for promise in [Promise::Blob(other.clone()), Promise::Tar(DiffId(other))] {
            let blob = |bytes: &[u8]| LayerBlob::Stored(StoredLayer::of(bytes, Some(promise.clone())));
            assert!(scanned(blob(&tar), Verify::Always).is_err(), "{promise:?}");
            assert!(scanned(blob(&gzip(&tar)), Verify::WhereRead).is_err(), "{promise:?}");
            assert_eq!(scanned(blob(&tar), Verify::WhereRead).unwrap(), Vouched::NotCompared);
        }
    }

    #[test]
    fn content_of_a_plain_stored_layer_is_read_by_itself_and_no_header_with_it() {
        let tar = members();
        let mut wanted = Vec::new();
        let promise = Some(Promise::Blob(Digest::of(&tar)));
        let stored = StoredLayer::of(&tar, promise.clone());
        scan(LayerBlob::Stored(stored.again()), "", Verify::WhereRead, false, &mut |entry, _| {
            if let Kind::File { size, sparse } = entry.kind {
                wanted.push(FileContent { data: DataOffset(entry.data_offset), size, sparse });
            }
            Ok(Flow::Continue)
        })
        .unwrap();
        let read = |blob: LayerBlob, wanted: &[FileContent]| {
            let mut found = Vec::new();
            contents(blob, "", Verify::WhereRead, false, wanted.to_vec(), &mut |content, data| {
                let mut text = String::new();
                data.read_to_string(&mut text).map_err(|error| Error::in_layer("", error.into()))?;
                assert_eq!(text.len() as u64, content.size);
                found.push(text);
                Ok(())
            })
            .map(|()| found)
        };
        let before = stored.bytes_read();
        assert_eq!(read(LayerBlob::Stored(stored.again()), &wanted[1..2]).unwrap(), ["here"]);
        assert_eq!(stored.bytes_read() - before, 4 + MAGIC as u64);
        wanted.reverse();
        let in_order = read(LayerBlob::Stored(stored.again()), &wanted).unwrap();
        assert_eq!(
            in_order,
            read(LayerBlob::Stream(Box::new(Cursor::new(gzip(&tar))), Arc::default()), &wanted).unwrap()
        );
        assert_eq!(in_order[1], "here");
        let cut = StoredLayer::of(&tar[..tar.len() - 150_000], promise);
        assert!(matches!(
            read(LayerBlob::Stored(cut), &wanted),
            Err(Error::Layer { error: LayerError::Truncated { .. }, .. })
        ));
    }
}
