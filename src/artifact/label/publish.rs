//! Keeping the range index of an image beside it: one manifest that holds all that is known, in the place of earlier ones.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};

use super::relabel::{Relabelled, embed};
use super::request::Request;
use crate::artifact::annotated;
use crate::artifact::candidate::{OwnManifest, media_type_of};
use crate::artifact::error::Error;
use crate::artifact::index_manifest::{Attached, PartDescriptor, attached};
use crate::artifact::range_index::ARTIFACT_TYPE;
use crate::artifact::referrer::{MAX_DELETED, REVISION_ANNOTATION, attach, delete, empty};
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::progress::Progress;
use crate::source::registry::Registry;
use crate::source::{self, Push, Source, SourceError, Store};

/// Pushes the range index of `image`, unless all that it would hold is there already: its own parts, and those of earlier indexes
/// of the same image that are about something else; and the list that the image names. Whether anything was sent.
pub async fn publish(
    from: &Registry,
    to: &Registry,
    image: &Relabelled,
    request: &Request,
    elsewhere: bool,
    progress: &dyn Progress,
) -> Result<bool, Error> {
    let (Some(own), Some(document)) = (&image.before.manifest, &image.manifest) else {
        return Err(Error::Bug(format!("an image of {} has no manifest", from.name())));
    };
    let subject = Digest::of(document.as_bytes());
    let earlier = match subject == own.raw.digest && !elsewhere {
        true => image.attached.clone(),
        false if image.parts.is_empty() => return Ok(false),
        false => attached(to, &subject, progress).await?,
    };
    let mut parts: Vec<PartDescriptor> = image.parts.iter().filter_map(|part| part.listed.clone()).collect();
    let mut named: BTreeSet<String> = image.parts.iter().map(|part| part.name.to_string()).collect();
    named.extend(image.removed.iter().map(ToString::to_string));
    let others = earlier.parts.iter().filter(|part| part.name().is_some_and(|name| !named.contains(name)));
    parts.extend(others.cloned());
    parts.sort_by(|one, other| one.name().cmp(&other.name()));
    // A list that none of them keeps may be gone.
    let keeps_list = image.list.as_ref().is_none_or(|list| earlier.kept.contains(Digest::of(list).as_str()));
    if is_same(&parts, &earlier.parts) && keeps_list {
        return Ok(false);
    }
    if parts.is_empty() && withdraw(to, &subject, &earlier).await? {
        return Ok(true);
    }
    for part in &image.parts {
        match (&part.content, &part.listed) {
            (Some(content), _) => drop(to.push_blob(content.clone()).await?),
            (None, Some(listed)) if elsewhere => to.take_blob(from, &listed.descriptor).await?,
            (None, _) => {}
        }
    }
    embed(&mut parts, &image.parts);
    let list = send_list(from, to, image, document).await?;
    let manifest = manifest(&parts, list, (own, document), &subject, &earlier);
    let sent = attach(to, (&subject, ARTIFACT_TYPE), &earlier.listed, manifest.to_string()).await?;
    if !sent.is_listed {
        let problem = "the registry does not list what was attached to the image, so nobody can find it".to_owned();
        if request.attach {
            return Err(Error::Source(SourceError::Protocol { what: to.name(), problem }));
        }
        progress.notice(&format!("{}: {problem}; getting its artifacts will read whole layers", to.name()));
    }
    Ok(true)
}

/// Whether two lists of parts say the same, embedded or not.
fn is_same(one: &[PartDescriptor], other: &[PartDescriptor]) -> bool {
    let key = |part: &PartDescriptor| {
        (part.name().map(str::to_owned), part.descriptor.digest.clone(), part.record().map(|record| record.to_label()))
    };
    let keys = |parts: &[PartDescriptor]| parts.iter().map(key).collect::<BTreeSet<_>>();
    keys(one) == keys(other)
}

/// Takes away all `earlier` indexes of `subject`. Whether none is left.
async fn withdraw(to: &Registry, subject: &Digest, earlier: &Attached) -> Result<bool, Error> {
    to.unlist_referrers(subject, ARTIFACT_TYPE).await?;
    let mut is_left = earlier.listed.len() > MAX_DELETED;
    for digest in earlier.listed.iter().take(MAX_DELETED) {
        is_left |= delete(to, (subject, ARTIFACT_TYPE), digest).await.is_err();
    }
    // What could not be deleted may be off the list all the same.
    Ok(!is_left || to.referrers(subject, ARTIFACT_TYPE).await?.is_empty())
}

/// Sends the list of parts that `manifest`, which is that of `image`, names, and gives its descriptor. Where the manifest stays as it
/// is, the list may be gone, or may be another program's: then there is none.
async fn send_list(
    from: &Registry,
    to: &Registry,
    image: &Relabelled,
    manifest: &str,
) -> Result<Option<Descriptor>, Error> {
    let Some(named) = annotated::named_in(manifest) else { return Ok(None) };
    let list = match &image.list {
        Some(list) => list.clone(),
        None => match source::read_small(from, &named).await.map_err(Error::from) {
            Ok(list) => Bytes::from(list),
            Err(error) if error.is_local() => return Err(error),
            Err(_) => return Ok(None),
        },
    };
    to.push_blob(list).await?;
    Ok(Some(named))
}

fn manifest(
    parts: &[PartDescriptor],
    list: Option<Descriptor>,
    (own, document): (&OwnManifest, &str),
    subject: &Digest,
    earlier: &Attached,
) -> Value {
    let empty = empty();
    // Registries collect what no manifest lists, such as what an annotation names.
    let list = list.map(|list| PartDescriptor { descriptor: list, data: None });
    let listed: Vec<&PartDescriptor> = parts.iter().chain(&list).collect();
    let layers = match listed.as_slice() {
        // A manifest has at least one layer (image-spec, *Image Manifest Property Descriptions*).
        [] => json!([empty]),
        listed => json!(listed),
    };
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": empty,
        "layers": layers,
        "subject": { "mediaType": media_type_of(&own.raw), "digest": subject, "size": document.len() },
    });
    if !earlier.listed.is_empty() {
        manifest["annotations"] = json!({ REVISION_ANNOTATION: earlier.revision.saturating_add(1).to_string() });
    }
    manifest
}
