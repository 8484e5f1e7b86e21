//! What refers to a manifest: the referrers API, and the tag schema of registries that lack it.
//! Spec: OCI distribution-spec *Listing Referrers* and *Referrers Tag Schema*.

use oci_distribution::RegistryOperation;
use oci_distribution::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};

use super::Registry;
use super::transport::{Asked, Request, Target};
use crate::image::digest::Digest;
use crate::image::manifest::{IndexEntry, MAX_MANIFEST_BYTES, Manifest};
use crate::source::{RawManifest, SourceError};

/// The tag under which a registry without a referrers API lists what refers to `subject`.
pub(super) fn tag_of(subject: &Digest) -> String {
    subject.as_str().replacen(':', "-", 1)
}

impl Registry {
    /// What refers to the manifest `subject` and is of this artifact type, by whichever way the registry has.
    pub(super) async fn list_referrers(
        &self,
        subject: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<IndexEntry>, SourceError> {
        let listed = match self.referrers_by_api(subject, artifact_type).await? {
            Some(entries) => entries,
            None => self.referrers_by_tag(subject).await?.map(|(_, entries)| entries).unwrap_or_default(),
        };
        // The API may ignore the filter, and the tag schema has none.
        let is_wanted = |entry: &IndexEntry| entry.artifact_type.as_deref() == Some(artifact_type);
        Ok(listed.into_iter().filter(is_wanted).collect())
    }

    /// The referrers API's answer; `None` where the registry has no such API.
    pub(super) async fn referrers_by_api(
        &self,
        subject: &Digest,
        artifact_type: &str,
    ) -> Result<Option<Vec<IndexEntry>>, SourceError> {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_static(OCI_IMAGE_INDEX_MEDIA_TYPE));
        // Of an artifact type's characters only `+` means something else in a query.
        let filter = artifact_type.replace('+', "%2B");
        let request = Request {
            method: Method::GET,
            target: Target::Registry(format!("referrers/{subject}?artifactType={filter}")),
            headers,
            body: None,
            operation: RegistryOperation::Pull,
            asked: Asked::Referrers(subject.clone()),
        };
        match self.transport.fetch(&request, MAX_MANIFEST_BYTES).await {
            Ok((_, bytes)) => Ok(entries(&bytes)),
            Err(SourceError::NotFound { .. } | SourceError::Protocol { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The list under the subject's tag, and its entries; `None` where there is none.
    pub(super) async fn referrers_by_tag(
        &self,
        subject: &Digest,
    ) -> Result<Option<(RawManifest, Vec<IndexEntry>)>, SourceError> {
        match self.fetch_manifest_named(&tag_of(subject), None).await {
            Ok(raw) => {
                let entries = entries(&raw.bytes).unwrap_or_default();
                Ok(Some((raw, entries)))
            }
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn entries(index: &[u8]) -> Option<Vec<IndexEntry>> {
    match Manifest::parse(index, Some(OCI_IMAGE_INDEX_MEDIA_TYPE)) {
        Ok(Manifest::Index(entries)) => Some(entries),
        _ => None,
    }
}
