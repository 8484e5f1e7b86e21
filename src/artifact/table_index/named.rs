//! The list of tables that the image's own config names, in a label, so that the image's digest covers it.

use serde::Deserialize;
use serde_json::json;

pub use super::list::LABEL;
use super::list::{LIST_MEDIA_TYPE, Tables, list, of_list};
use crate::image::Image;
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::source::{self, SourceError, Store};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    media_type: String,
    digest: Digest,
    size: u32,
}

/// The list of `tables` of `image`, as it is stored.
pub fn list_of(image: &Image, tables: &Tables) -> String {
    let layers: Vec<Digest> = image.layers.iter().filter_map(|layer| layer.digest().cloned()).collect();
    list(&layers, tables)
}

/// The descriptor of a `list` as it is stored.
pub fn descriptor(list: &str) -> Descriptor {
    Descriptor {
        media_type: LIST_MEDIA_TYPE.to_owned(),
        digest: Digest::of(list.as_bytes()).to_string(),
        size: i64::try_from(list.len()).unwrap_or(i64::MAX),
        ..Descriptor::default()
    }
}

/// What the label that names a list says.
pub fn label(list: &Descriptor) -> String {
    json!({ "mediaType": list.media_type, "digest": list.digest, "size": list.size }).to_string()
}

/// What the config of `image` says of its list, or of that of an image which it was built from.
pub fn named_by(image: &Image) -> Option<Descriptor> {
    let Named { media_type, digest, size } = serde_json::from_str(image.config.config.labels.get(LABEL)?).ok()?;
    let descriptor = Descriptor { media_type, digest: digest.to_string(), size: size.into(), ..Descriptor::default() };
    Some(descriptor).filter(|descriptor| descriptor.media_type == LIST_MEDIA_TYPE)
}

/// The tables in the list that the config of `image` names, of the layers that it has from the image which was labelled; `None` where
/// it names none.
pub async fn read(source: &dyn Store, image: &Image) -> Result<Option<Tables>, SourceError> {
    let Some(list) = named_by(image) else { return Ok(None) };
    let bytes = source::read_small(source, &list).await?;
    let layers: Vec<Option<&Digest>> = image.layers.iter().map(|layer| layer.digest()).collect();
    Ok(of_list(&bytes, &layers))
}
