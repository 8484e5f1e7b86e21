//! What a registry holds: repositories with their blobs, manifests, tags and uploads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::image::{Content, Packed, sha256};

/// One repository.
#[derive(Default)]
pub struct Repository {
    /// Blobs by digest.
    pub blobs: HashMap<String, Arc<[u8]>>,
    /// Manifests by digest, in the order of the digests.
    pub manifests: BTreeMap<String, Content>,
    /// Tags, with the digests they name.
    pub tags: BTreeMap<String, String>,
}

/// All repositories, by name.
#[derive(Default)]
pub struct Store {
    /// The repositories.
    pub repositories: HashMap<String, Repository>,
    /// Uploads under way, by their number.
    pub uploads: HashMap<String, Vec<u8>>,
    started: usize,
}

impl Store {
    /// The repository `name`, which comes to be if there is none.
    pub fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// A blob of any repository.
    pub fn any_blob(&self, digest: &str) -> Option<Arc<[u8]>> {
        self.repositories.values().find_map(|repository| repository.blobs.get(digest).cloned())
    }

    /// Takes in a manifest and all that belongs to it.
    pub fn put(&mut self, name: &str, packed: &Packed) {
        for child in &packed.children {
            self.put(name, child);
        }
        let repository = self.repository(name);
        for content in packed.layers.iter().chain(&packed.config) {
            repository.blobs.insert(content.digest(), content.bytes.clone());
        }
        repository.manifests.insert(packed.digest(), packed.manifest.clone());
    }

    /// Starts an upload, and gives its name.
    pub fn start_upload(&mut self) -> String {
        self.started += 1;
        let id = format!("upload-{}", self.started);
        self.uploads.insert(id.clone(), Vec::new());
        id
    }
}

impl Repository {
    /// The manifest that a tag or digest names.
    pub fn manifest(&self, reference: &str) -> Option<&Content> {
        self.manifests.get(self.tags.get(reference).map_or(reference, String::as_str))
    }

    /// Takes in a blob that must have this digest.
    pub fn put_blob(&mut self, digest: &str, bytes: &[u8]) -> bool {
        let matches = sha256(bytes) == digest;
        if matches {
            self.blobs.insert(digest.to_owned(), bytes.into());
        }
        matches
    }

    /// The index of all manifests whose `subject` is `digest` (distribution-spec, *Listing Referrers*), by their artifact type, or,
    /// where `untyped`, by the media type of their config alone.
    pub fn referrers(&self, digest: &str, artifact_type: Option<&str>, untyped: bool) -> Value {
        let mut found = Vec::new();
        for content in self.manifests.values() {
            let Ok(manifest) = serde_json::from_slice::<Value>(&content.bytes) else { continue };
            let declared = [&manifest["artifactType"], &manifest["config"]["mediaType"]];
            let kind = declared.iter().skip(usize::from(untyped)).find_map(|value| value.as_str()).unwrap_or_default();
            if manifest["subject"]["digest"] == digest && artifact_type.is_none_or(|wanted| wanted == kind) {
                let mut descriptor = content.descriptor();
                descriptor["artifactType"] = json!(kind);
                if !untyped && !manifest["annotations"].is_null() {
                    descriptor["annotations"] = manifest["annotations"].clone();
                }
                found.push(descriptor);
            }
        }
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": found})
    }
}
