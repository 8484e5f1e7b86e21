//! How parts of blobs are asked for, and why what is told by a table may not be told.

use std::io::{Seek, SeekFrom};
use std::ops::Range;

use crate::artifact::error::Error;
use crate::artifact::second_look::gives_no_parts;
use crate::image::Layer;
use crate::source::{BlobReader, LayerBlob, Source, SourceError};
use crate::table::Unusable;

/// How many parts are asked for at a time. It is waiting for the answer that takes long.
pub(super) const SIDE_BY_SIDE: usize = 4;

/// Why a layer is not told by a table.
#[derive(Debug)]
pub(in crate::artifact) enum NotTold {
    /// Its table is of no use.
    Unusable(Unusable),
    /// It says what there is, and not where the content of all of it is: that of files with holes, as a rule.
    Silent,
    /// The place gives no parts of blobs, and so no table of any layer, nor what a table tells of.
    NoParts(Error),
    /// What went wrong goes wrong for the layer, too.
    Failed(Error),
}

impl NotTold {
    /// That something of the layer, or of its table, did not come.
    pub(in crate::artifact) fn because(error: Error) -> Self {
        if gives_no_parts(&error) { NotTold::NoParts(error) } else { NotTold::Failed(error) }
    }
}

/// What `part` has, and `behind` it.
pub(super) fn read(mut part: BlobReader, behind: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    part.read_to_end(&mut bytes).map_err(SourceError::from)?;
    bytes.extend_from_slice(behind);
    Ok(bytes)
}

/// The bytes `range` of the blob of `layer`, wherever `source` has it. They are compared with nothing.
pub(super) async fn part_of(source: &dyn Source, layer: &Layer, range: Range<u64>) -> Result<BlobReader, Error> {
    if let Some((store, descriptor)) = source.store().zip(layer.blob.descriptor.as_ref()) {
        return Ok(store.blob_range(descriptor, range).await?);
    }
    match source.layer(layer).await? {
        LayerBlob::Stored(stored) => {
            let mut reader = stored.reader();
            reader.seek(SeekFrom::Start(range.start)).map_err(SourceError::from)?;
            Ok(Box::new(std::io::Read::take(reader, range.end.saturating_sub(range.start))))
        }
        LayerBlob::Stream(..) => {
            let digest = layer.digest().cloned();
            let digest = digest.ok_or_else(|| Error::Bug("a table is of a layer without a digest".to_owned()))?;
            Err(SourceError::RangeIgnored { digest }.into())
        }
    }
}
