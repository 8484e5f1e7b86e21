//! Manifests of ours that refer to an image: which of several is the newest, and how one takes the place of others.
//!
//! A writer puts what earlier ones hold into its own, with a higher revision. Spec: `docs/formats.md`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::image::digest::Digest;
use crate::image::index::IndexEntry;
use crate::source::registry::Registry;
use crate::source::{Push, Referrer, SourceError, Store};

/// The annotation of a manifest that counts how many others it took the place of, one after the other.
pub const REVISION_ANNOTATION: &str = "org.docker-artifact.revision";

/// At most this many replaced manifests are deleted. If there are more, somebody wants to keep us busy.
pub const MAX_DELETED: usize = 16;

/// The empty descriptor's content (image-spec, *Guidance for an Empty Descriptor*).
const EMPTY: &[u8] = b"{}";

/// The empty descriptor.
pub fn empty() -> Value {
    json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": Digest::of(EMPTY),
        "size": EMPTY.len(),
        "data": STANDARD.encode(EMPTY),
    })
}

/// The revision that `annotations` tell; 0 where they tell none.
pub fn revision_of(annotations: Option<&BTreeMap<String, String>>) -> u64 {
    let revision = annotations.and_then(|annotations| annotations.get(REVISION_ANNOTATION));
    revision.and_then(|revision| revision.parse().ok()).unwrap_or_default()
}

/// What is `listed`, each once and the newest first as far as that is told, and whether the list tells revisions.
pub fn newest_first(mut listed: Vec<IndexEntry>) -> (Vec<IndexEntry>, bool) {
    // The latest comes last in a list kept by tag; of an API's list any may.
    listed.reverse();
    // One that is listed twice is one.
    let mut seen = HashSet::new();
    listed.retain(|entry| seen.insert(entry.digest.clone()));
    listed.sort_by_key(|entry| Reverse(revision_of(Some(&entry.annotations))));
    // A registry that copies annotations into its list tells all revisions by it.
    let tells = listed.iter().any(|entry| revision_of(Some(&entry.annotations)) > 0);
    (listed, tells)
}

/// What a manifest is, and what it refers to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    artifact_type: String,
    subject: Subject,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

/// Sends `manifest`, which is of `artifact_type`, refers to `subject` and has the empty config, in the place of those that it `replaces`.
pub async fn attach(
    to: &Registry,
    (subject, artifact_type): (&Digest, &str),
    replaces: &[Digest],
    manifest: String,
) -> Result<Referrer, SourceError> {
    to.push_blob(Bytes::from_static(EMPTY)).await?;
    let sent = to.push_referrer(subject, replaces, Bytes::from(manifest)).await?;
    if sent.is_listed {
        for replaced in replaces.iter().filter(|digest| **digest != sent.digest).take(MAX_DELETED) {
            // Many registries do not allow it, and by its revision the new one is told from those that stay.
            let _ = delete(to, (subject, artifact_type), replaced).await;
        }
    }
    Ok(sent)
}

/// Deletes the manifest `listed`, if it is of `artifact_type` and refers to `subject`. A list under a tag is whatever somebody has pushed
/// there, and may call an image one of ours.
pub async fn delete(
    to: &Registry,
    (subject, artifact_type): (&Digest, &str),
    listed: &Digest,
) -> Result<(), SourceError> {
    let manifest = match to.manifest(Some(listed)).await {
        Ok(manifest) => manifest,
        Err(SourceError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice::<Fields>(&manifest.bytes) {
        Ok(is) if is.artifact_type == artifact_type && is.subject.digest == *subject => {
            to.delete_manifest(listed).await
        }
        _ => Ok(()),
    }
}
