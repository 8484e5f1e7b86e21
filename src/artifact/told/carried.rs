//! The table that an image's manifest promises for a layer, fetched.

use std::sync::Arc;

use super::asking::{NotTold, read};
use crate::artifact::blocking::blocking;
use crate::artifact::collect::NamedLayer;
use crate::artifact::error::Error;
use crate::source::Source;
use crate::table::{Next, Offer, WholeTable};

/// The table of `layer`, for which the manifest promises one, in a place that may give parts of blobs.
pub(in crate::artifact) async fn carried(
    source: &dyn Source,
    layer: &NamedLayer,
) -> Result<Arc<dyn WholeTable>, NotTold> {
    let missing = || NotTold::Failed(Error::Bug(format!("{} has no table", layer.name)));
    let (store, descriptor) = source.store().zip(layer.layer.blob.descriptor.as_ref()).ok_or_else(missing)?;
    let offer = Offer::of(&layer.layer).ok_or_else(missing)?.map_err(NotTold::Unusable)?;
    let (mut range, mut behind) = (offer.first(), Vec::new());
    loop {
        let part = store.blob_range(descriptor, range.clone()).await;
        let part = part.map_err(|error| NotTold::because(error.into()))?;
        let bytes = blocking(move || read(part, &behind)).await.map_err(NotTold::because)?;
        match offer.next(range.start, bytes).map_err(NotTold::Unusable)? {
            Next::Table(table) => return Ok(Arc::new(table)),
            Next::Read(before, bytes) => (range, behind) = (before, bytes),
        }
    }
}
