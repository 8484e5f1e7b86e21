//! Sending tables to a repository, and attaching them to an image there.

use bytes::Bytes;
use serde_json::json;

use super::attached::Attached;
use super::list::{ARTIFACT_TYPE, LayerTable, Tables, manifest};
use super::make::{Made, Workshop};
use super::named;
use crate::artifact::error::Error;
use crate::artifact::referrer::attach;
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::source::registry::Registry;
use crate::source::{Push, Source, SourceError};

/// The manifest of an image that tables are attached to.
pub struct Subject<'a> {
    /// Its media type.
    pub media_type: String,
    /// The manifest, as stored.
    pub document: &'a [u8],
}

impl Subject<'_> {
    /// Its digest.
    pub fn digest(&self) -> Digest {
        Digest::of(self.document)
    }
}

/// Sees that `tables` are in the repository of `to`: those that were made are sent there, and the others are in that of `from`. How
/// many bytes were sent.
pub async fn send(from: &Registry, to: &Registry, tables: &Tables, workshop: &Workshop) -> Result<u64, SourceError> {
    let mut bytes = 0;
    for table in &tables.told {
        let descriptor = table.descriptor();
        match workshop.get(&table.layer) {
            Some(Made::New(_, file, _)) => {
                let was_sent = to.push_file(&descriptor, file).await?;
                bytes += if was_sent { table.size } else { 0 };
            }
            _ if !from.shares_repository(to) => to.take_blob(from, &descriptor).await?,
            _ => {}
        }
    }
    Ok(bytes)
}

/// Sends the `list` of tables that an image's config names, and gives its descriptor.
pub async fn send_list(to: &Registry, list: String) -> Result<Descriptor, SourceError> {
    let descriptor = named::descriptor(&list);
    to.push_blob(Bytes::from(list)).await?;
    Ok(descriptor)
}

/// Attaches `tables`, which are there, to the image with the manifest `subject`, in the place of what `earlier` was attached to it. The
/// `list` that the image names is kept with them.
pub async fn attach_tables(
    to: &Registry,
    subject: &Subject<'_>,
    tables: &Tables,
    list: Option<&Descriptor>,
    earlier: &Attached,
) -> Result<(), Error> {
    let digest = subject.digest();
    let of = json!({ "mediaType": subject.media_type, "digest": digest, "size": subject.document.len() });
    let revision = match &earlier.newest {
        Some((_, revision)) => revision.saturating_add(1),
        None => u64::from(!earlier.listed.is_empty()),
    };
    let sent = attach(to, (&digest, ARTIFACT_TYPE), &earlier.listed, manifest(tables, list, &of, revision)).await?;
    if sent.is_listed {
        return Ok(());
    }
    let problem = "the registry does not list what was attached to the image, so nobody can find it".to_owned();
    Err(Error::Source(SourceError::Protocol { what: to.name(), problem }))
}

/// How many bytes the tables that were made have.
pub fn bytes_of_new(tables: &Tables, workshop: &Workshop) -> u64 {
    let is_new = |table: &&LayerTable| matches!(workshop.get(&table.layer), Some(Made::New(..)));
    tables.told.iter().filter(is_new).map(|table| table.size).sum()
}
