//! The manifests of range indexes: which are listed for an image, which of them are in force, and what parts they list.
//!
//! A writer puts what earlier indexes of the image hold into its own, with a higher revision, so that the highest one alone is
//! whole; two of the same revision come of two writers at the same time, and are used together. Spec: `docs/formats.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::range_index::{ARTIFACT_TYPE, NAME_ANNOTATION, RECORD_ANNOTATION};
use super::referrer::{newest_first, revision_of};
use crate::image::digest::Digest;
use crate::image::index::IndexEntry;
use crate::image::label::Record;
use crate::image::manifest::Descriptor;
use crate::progress::Progress;
use crate::source::{self, SourceError, Store};

/// How many manifests that are listed are looked at. Each costs a request, and at most what a manifest may have.
const MAX_LOOKED_AT: usize = 8;

/// How many range indexes of one image are used together.
const MAX_USED: usize = 4;

/// A part's descriptor, with the part itself where that is embedded.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(from = "PartFields")]
pub struct PartDescriptor {
    /// The descriptor.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// The part as stored, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// The same as it is read: what nobody knows is passed over, and not kept first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartFields {
    media_type: String,
    digest: String,
    size: i64,
    annotations: Option<BTreeMap<String, String>>,
    data: Option<String>,
}

impl From<PartFields> for PartDescriptor {
    fn from(fields: PartFields) -> Self {
        let PartFields { media_type, digest, size, annotations, data } = fields;
        PartDescriptor {
            descriptor: Descriptor { media_type, digest, size, annotations, ..Descriptor::default() },
            data,
        }
    }
}

impl PartDescriptor {
    /// The name of the artifact that the part is about.
    pub fn name(&self) -> Option<&str> {
        self.annotation(NAME_ANNOTATION)
    }

    /// The record of that artifact.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_str(self.annotation(RECORD_ANNOTATION)?).ok()
    }

    /// Whether it is as good as `other`: the same part, and embedded in both or in neither.
    pub fn is_same(&self, other: &Self) -> bool {
        let Descriptor { digest, size, .. } = &self.descriptor;
        (digest, *size, &self.data) == (&other.descriptor.digest, other.descriptor.size, &other.data)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.descriptor.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// The range indexes of one image manifest.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// The parts that those in force list, of those that name an artifact.
    pub parts: Vec<PartDescriptor>,
    /// The digests of what else they list, such as the list of parts that the image names.
    pub kept: BTreeSet<String>,
    /// The highest revision; 0 where there is none.
    pub revision: u64,
    /// The manifests that are listed, in force or not, and those that are listed and gone.
    pub listed: Vec<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexManifest {
    artifact_type: String,
    layers: Vec<PartDescriptor>,
    subject: Descriptor,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// The range indexes of the image manifest `subject`. One that is gone, or that cannot be read, is passed over with a notice.
pub async fn attached(source: &dyn Store, subject: &Digest, progress: &dyn Progress) -> Result<Attached, SourceError> {
    let (listed, tells) = newest_first(source.referrers(subject, ARTIFACT_TYPE).await?);
    let mut found = Attached::default();
    let mut used = 0;
    let mut looked_at = 0;
    for entry in listed {
        let is_typed = entry.artifact_type.as_deref() == Some(ARTIFACT_TYPE);
        let is_older = tells && revision_of(Some(&entry.annotations)) < found.revision;
        if is_older || looked_at == MAX_LOOKED_AT {
            found.listed.extend(is_typed.then_some(entry.digest));
            continue;
        }
        looked_at += 1;
        match read(source, &entry, subject).await {
            Ok(Some(manifest)) => {
                found.listed.push(entry.digest);
                let revision = revision_of(manifest.annotations.as_ref());
                if revision > found.revision {
                    (found.parts, found.kept, found.revision, used) = (Vec::new(), BTreeSet::new(), revision, 0);
                }
                if revision == found.revision && used < MAX_USED {
                    let (parts, others): (Vec<_>, Vec<_>) =
                        manifest.layers.into_iter().partition(|part| part.name().is_some());
                    found.parts.extend(parts);
                    found.kept.extend(others.into_iter().map(|other| other.descriptor.digest));
                    used += 1;
                }
            }
            // It is about something else, or of another type.
            Ok(None) => {}
            Err(
                error @ (SourceError::NotFound { .. } | SourceError::Protocol { .. } | SourceError::Mismatch { .. }),
            ) => {
                if is_typed {
                    progress.notice(&format!("skipping a range index that cannot be read: {error}"));
                    found.listed.push(entry.digest);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

async fn read(source: &dyn Store, entry: &IndexEntry, subject: &Digest) -> Result<Option<IndexManifest>, SourceError> {
    let raw = source::listed_manifest(source, entry).await?;
    let manifest = serde_json::from_slice::<IndexManifest>(&raw.bytes).ok();
    Ok(manifest
        .filter(|manifest| manifest.artifact_type == ARTIFACT_TYPE && manifest.subject.digest == subject.as_str()))
}
