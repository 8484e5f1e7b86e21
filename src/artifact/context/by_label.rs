//! The cheap way to what a build copies: labelled files alone, each by its extent.
//!
//! A label tells neither owner nor extended attributes, which decide whether a folder serves: what the tar says of the file, in
//! front of its content, has to tell. Where that is not known, or is not of the labelled file, the layers are read instead.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::asked::Asked;
use crate::artifact::error::Error;
use crate::artifact::labelled::{ByLabel, RangeIndex};
use crate::artifact::place::clean;
use crate::extract::{Item, Metadata, Staging};
use crate::image::Image;
use crate::image::label::{Artifact, Label, Record, artifacts};
use crate::progress::Progress;
use crate::source::Source;

/// A labelled file.
pub struct Found {
    /// The canonical path that it is asked for by.
    pub place: Vec<u8>,
    /// Its own canonical path.
    pub real_path: Vec<u8>,
    /// The file, with all that the tar says of it.
    pub item: Item,
    /// Its length in bytes.
    pub size: u64,
}

/// What is at all the paths that were `asked` for, in their order; `None` where the layers have to tell of any of them.
pub async fn find(
    source: &Arc<dyn Source>,
    image: &Image,
    asked: &[Asked],
    staging: &Arc<Staging>,
    progress: &dyn Progress,
) -> Result<Option<Vec<Found>>, Error> {
    let labels = artifacts(image);
    let wanted: Option<Vec<_>> = asked.iter().map(|asked| labelled(asked, &labels)).collect();
    let Some(wanted) = wanted else { return Ok(None) };
    let records: Vec<&Record> = wanted.iter().map(|(_, record)| *record).collect();
    let index = RangeIndex::fetch_of(&**source, image, &records, progress).await?;
    let by_label = ByLabel { source, image, index: &index, attached: OnceCell::new(), staging, progress };
    let mut all = Vec::with_capacity(wanted.len());
    for (place, record) in wanted {
        let Some(got) = by_label.get(record).await? else { return Ok(None) };
        let real_path = clean(record.real_path().as_bytes());
        let told = got.entry.filter(|entry| entry.path == real_path && entry.mode == got.item.metadata.mode);
        let Some(entry) = told else { return Ok(None) };
        let metadata =
            Metadata { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: entry.xattrs };
        let item = Item { metadata, node: got.item.node };
        all.push(Found { place, real_path, item, size: record.size() });
    }
    Ok(Some(all))
}

/// The path, and the record of the file that a label promises there.
fn labelled<'a>(asked: &Asked, labels: &'a [Artifact]) -> Option<(Vec<u8>, &'a Record)> {
    let place = asked.literal().filter(|_| !asked.with_parents)?;
    let path = [b"/", place.as_slice()].concat();
    let mut records = labels.iter().filter_map(|artifact| match &artifact.label {
        Label::Resolved(record @ Record::File { .. }) => Some(record),
        _ => None,
    });
    let is_there = |record: &&Record| [record.real_path(), record.path()].into_iter().any(|at| at.as_bytes() == path);
    Some((place, records.find(is_there)?))
}
