//! `docker artifact index`: tables of an image's layers, made and attached to the image, in the place of what was attached before. The
//! image stays as it is.

use std::sync::Arc;

use super::attached::attached;
use super::list::LayerTable;
use super::make::{Made, Workshop, fitting, is_worthwhile};
use super::named;
use super::send::{Subject, attach_tables, bytes_of_new, send};
use crate::artifact::candidate::media_type_of;
use crate::artifact::error::Error;
use crate::artifact::found::{Found, Reach};
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::image::platform::Platform;
use crate::image::{Image, Layer};
use crate::progress::Progress;
use crate::source::Store;
use crate::source::registry::Registry;
use crate::table::own::OwnTable;

/// What to index.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The platforms whose images are indexed; all, where none is named.
    pub platforms: Vec<Platform>,
    /// Find out what would be attached, and attach nothing.
    pub dry_run: bool,
}

/// What was indexed.
#[derive(Debug)]
pub struct Indexed {
    /// The digest of what the reference names.
    pub digest: Digest,
    /// The images, one for each platform.
    pub images: Vec<IndexedImage>,
    /// How many bytes of tables were sent, or would be.
    pub bytes: u64,
}

/// One image that was indexed.
#[derive(Debug)]
pub struct IndexedImage {
    /// The platform, as the config names it.
    pub platform: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its layers, from the bottom.
    pub layers: Vec<IndexedLayer>,
    /// Whether all that is attached now was attached before.
    pub was_indexed: bool,
}

/// One layer of an image that was indexed.
#[derive(Debug)]
pub struct IndexedLayer {
    /// The layer.
    pub layer: Layer,
    /// What became of it.
    pub table: Table,
}

/// The table of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// It was made.
    New(Told),
    /// It was there.
    There(Told),
    /// There is none: the layer is so short that it is read.
    Short,
    /// There is none, as no table tells such a layer.
    Untold,
}

/// What is told of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// How many entries it has, where that is known.
    pub entries: Option<u64>,
}

impl Told {
    fn of(table: &LayerTable, layer: &Layer) -> Self {
        let top = table.embedded.as_ref().zip(layer.digest());
        let top = top.and_then(|(top, digest)| OwnTable::of(top, &table.top, (digest, layer.size())).ok());
        Told { digest: table.digest.clone(), size: table.size, entries: top.map(|table| table.rows()) }
    }
}

/// Attaches tables of the layers to the images in `from`, as `request` says. Layers are read only where there is no table of them yet.
pub async fn index(from: Arc<Registry>, request: Request, progress: Arc<dyn Progress>) -> Result<Indexed, Error> {
    let root = from.manifest(None).await?;
    let digest = root.digest.clone();
    let found = Found::of(&*from, root, &request.platforms, Reach::default()).await?;
    let (mut workshop, mut indexed) = (Workshop::default(), Indexed { digest, images: Vec::new(), bytes: 0 });
    for candidate in &found.images {
        let Some(own) = &candidate.manifest else {
            return Err(Error::Bug(format!("{} has no manifest", candidate.name)));
        };
        let image = &candidate.image;
        let earlier = attached(&*from, &own.raw.digest, &*progress).await?;
        let known = fitting(&earlier.tables, image);
        workshop.make(&from, (image, &candidate.name), &known, &progress).await?;
        let tables = workshop.tables(image);
        // Where no layer is worth a table, nothing need be attached.
        let is_there = earlier.newest.is_some() || tables.is_empty();
        let was_indexed = is_there && tables.is_same(&earlier.tables);
        if request.dry_run {
            indexed.bytes += bytes_of_new(&tables, &workshop);
        } else if !was_indexed {
            indexed.bytes += send(&from, &from, &tables, &workshop).await?;
            let subject = Subject { media_type: media_type_of(&own.raw), document: &own.raw.bytes };
            let list = named_there(&from, image).await?;
            attach_tables(&from, &subject, &tables, list.as_ref(), &earlier).await?;
        }
        let layers =
            image.layers.iter().map(|layer| IndexedLayer { layer: layer.clone(), table: told(layer, &workshop) });
        indexed.images.push(IndexedImage {
            platform: image.platform().to_string(),
            digest: own.raw.digest.clone(),
            layers: layers.collect(),
            was_indexed,
        });
    }
    Ok(indexed)
}

/// The list that `image` names, where that is in the repository: one that the image has from another, which it was built from, need
/// not be.
async fn named_there(from: &Registry, image: &Image) -> Result<Option<Descriptor>, Error> {
    match named::named_by(image) {
        Some(list) if from.has(&list).await? => Ok(Some(list)),
        _ => Ok(None),
    }
}

fn told(layer: &Layer, workshop: &Workshop) -> Table {
    match layer.digest().and_then(|digest| workshop.get(digest)) {
        _ if !is_worthwhile(layer) => Table::Short,
        Some(Made::New(table, _, rows)) => Table::New(Told { entries: Some(*rows), ..Told::of(table, layer) }),
        Some(Made::There(table)) => Table::There(Told::of(table, layer)),
        Some(Made::Untold(_)) | None => Table::Untold,
    }
}
