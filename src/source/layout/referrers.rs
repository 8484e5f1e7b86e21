//! What refers to a manifest of a layout. There is no API for that in a folder: what refers to something is listed in the index
//! like an image (oras), or in an index of its own under the name that a registry without the API would give it (regctl).
//! Spec: OCI distribution-spec *Referrers Tag Schema*; the manifest's `subject` decides.

use serde::Deserialize;

use super::super::{MAX_MANIFESTS, SourceError};
use super::{Layout, REF_NAME};
use crate::image::digest::Digest;
use crate::image::index::IndexEntry;
use crate::image::manifest::{Descriptor, Manifest};

/// What a manifest says of itself, of which the `subject` counts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referring {
    artifact_type: Option<String>,
    /// Its media type is the artifact type of a manifest that says none (distribution-spec, *Listing Referrers*).
    config: Option<Descriptor>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

impl Layout {
    /// What refers to the manifest `subject` and is of this artifact type. Of all that may, the first [`MAX_MANIFESTS`] are
    /// looked at.
    pub(in crate::source) fn referrers(
        &self,
        subject: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<IndexEntry>, SourceError> {
        let may_be = |entry: &IndexEntry| match entry.artifact_type.as_deref() {
            None | Some("") => entry.digest != *subject,
            Some(kind) => kind == artifact_type,
        };
        let mut candidates = self.listed_by_tag(subject)?;
        candidates.extend(self.entries()?.into_iter().filter(|entry| !is_list(entry)));
        let mut found: Vec<IndexEntry> = Vec::new();
        for mut entry in candidates.into_iter().filter(may_be).take(MAX_MANIFESTS) {
            let raw = match self.manifest(&entry.digest) {
                Ok(raw) => raw,
                Err(SourceError::NotFound { .. } | SourceError::Protocol { .. }) => continue,
                Err(error) => return Err(error),
            };
            let Ok(manifest) = serde_json::from_slice::<Referring>(&raw.bytes) else { continue };
            let refers = manifest.subject.is_some_and(|of| of.digest == subject.as_str());
            let said = manifest.artifact_type.filter(|said| !said.is_empty());
            let kind = said.or_else(|| manifest.config.map(|config| config.media_type));
            if refers
                && kind.as_deref() == Some(artifact_type)
                && found.iter().all(|other| other.digest != entry.digest)
            {
                entry.artifact_type = kind;
                entry.annotations = manifest.annotations.unwrap_or_default();
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// What the list under the subject's tag has.
    fn listed_by_tag(&self, subject: &Digest) -> Result<Vec<IndexEntry>, SourceError> {
        let tag = subject.as_str().replacen(':', "-", 1);
        let is_of_subject = |entry: &IndexEntry| entry.annotations.get(REF_NAME) == Some(&tag);
        let Some(list) = self.entries()?.into_iter().find(is_of_subject) else { return Ok(Vec::new()) };
        let raw = match self.manifest(&list.digest) {
            Ok(raw) => raw,
            Err(SourceError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        match Manifest::parse(&raw.bytes, raw.media_type.as_deref()) {
            Ok(Manifest::Index(entries)) => Ok(entries),
            Ok(Manifest::Image(_)) | Err(_) => Ok(Vec::new()),
        }
    }
}

/// Whether an entry of a layout's index is no image but a list of what refers to one, or a signature that is found by its name
/// (cosign's `sha256-….sig`).
pub(super) fn is_list(entry: &IndexEntry) -> bool {
    let tag = entry.annotations.get(REF_NAME).and_then(|name| name.split_once('-'));
    tag.is_some_and(|(algorithm, rest)| {
        let encoded = rest.split('.').next().unwrap_or_default();
        format!("{algorithm}:{encoded}").parse::<Digest>().is_ok()
    })
}
