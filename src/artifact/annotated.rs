//! The list of parts that the image's own manifest names, in an annotation: the range index without a search for referrers.
//!
//! It holds the same descriptors as the range index's manifest, for the artifacts that labels name, and depends on nothing that the
//! image's digest depends on, which therefore covers it. It says no more than any range index: nothing in it is trusted, and where
//! it is not there or does not fit the labels, the referrers are asked. Spec: `docs/formats.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::index_manifest::PartDescriptor;
use crate::image::Image;
use crate::image::digest::Digest;
use crate::image::edit::{EditError, Step, set_strings};
use crate::image::manifest::{Descriptor, Manifest, described};
use crate::source::{self, SourceError, Store};

/// The annotation of an image manifest that holds the list's descriptor.
pub const INDEX_ANNOTATION: &str = "org.docker-artifact.index";

/// The media type of the list.
pub const LIST_MEDIA_TYPE: &str = "application/vnd.docker-artifact.parts.v1+json";

/// The list as it is stored: as many parts as the image has artifacts, each less than a hundred kilobytes; the whole is never
/// longer than a manifest may be.
#[derive(Deserialize, Serialize)]
struct List {
    parts: Vec<PartDescriptor>,
}

/// The list of these `parts`, as it is stored.
pub fn list(parts: Vec<PartDescriptor>) -> Vec<u8> {
    // Only strings and numbers, which always serialise.
    serde_json::to_vec(&List { parts }).unwrap_or_default()
}

/// The descriptor of a `list` as it is stored.
pub fn descriptor(list: &[u8]) -> Descriptor {
    Descriptor {
        media_type: LIST_MEDIA_TYPE.to_owned(),
        digest: Digest::of(list).to_string(),
        size: i64::try_from(list.len()).unwrap_or(i64::MAX),
        ..Descriptor::default()
    }
}

/// What `manifest` says of its list, where it says something that can be read.
pub fn named_in(manifest: &str) -> Option<Descriptor> {
    let Manifest::Image(manifest) = Manifest::parse_any(manifest.as_bytes()).ok()? else { return None };
    named_by(manifest.annotations.as_ref())
}

/// What the `annotations` of a manifest say of its list.
pub fn named_by(annotations: Option<&BTreeMap<String, String>>) -> Option<Descriptor> {
    described(annotations, INDEX_ANNOTATION).filter(is_list)
}

/// `manifest` with the annotation that names `list`, or without one.
pub fn annotate(manifest: &str, list: Option<&[u8]>) -> Result<String, EditError> {
    let value = list.map(|list| {
        let Descriptor { media_type, digest, size, .. } = descriptor(list);
        json!({ "mediaType": media_type, "digest": digest, "size": size }).to_string()
    });
    set_strings(manifest, &[Step::Key("annotations")], &[(INDEX_ANNOTATION.to_owned(), value)])
}

/// The parts that the manifest of `image` names; `None` where it names none.
pub async fn read(source: &dyn Store, image: &Image) -> Result<Option<Vec<PartDescriptor>>, SourceError> {
    let Some(descriptor) = named_by(Some(&image.annotations)) else { return Ok(None) };
    let bytes = match source.take_expected(&descriptor).await {
        Some(read) => read?,
        None => source::read_small(source, &descriptor).await?,
    };
    Ok(serde_json::from_slice::<List>(&bytes).ok().map(|list| list.parts))
}

fn is_list(descriptor: &Descriptor) -> bool {
    descriptor.media_type == LIST_MEDIA_TYPE
}
