//! Docker's form of an archive since version 1.10: `manifest.json` lists the images, each with the names of its config's and its
//! layers' members. skopeo and podman (`docker-archive`), bazel and others write it too.
//!
//! Spec: moby's *Docker Image Specification v1.2*, "Combined Image JSON + Filesystem Changeset Format".

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::super::SourceError;
use super::super::files::{Files, read_small, shown};
use super::super::layout::blob_digest;
use super::super::local::{LocalConfig, LocalImage, LocalLayer, check_digest, check_length, malformed};
use super::super::select::{self, Candidate};
use super::members::Members;
use crate::image::config::ImageConfig;
use crate::image::digest::Digest;

/// The member that lists the images.
pub(super) const MANIFEST: &str = "manifest.json";

/// The images of an archive.
pub(super) struct DockerImages {
    files: Arc<Members>,
    entries: Vec<Entry>,
}

/// One image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
    layer_sources: Option<BTreeMap<String, LayerSource>>,
}

/// What `LayerSources` says of a layer, by its diff ID. Before Docker 25 it describes a blob elsewhere, not the member.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayerSource {
    media_type: Option<String>,
    digest: Option<String>,
    size: Option<u64>,
}

impl DockerImages {
    /// Reads `manifest.json`, and nothing else.
    pub(super) fn read(files: Arc<Members>) -> Result<Self, SourceError> {
        let place = files.place();
        let bytes = read_small(&*files, MANIFEST)?;
        let bytes = bytes.ok_or_else(|| malformed(place, format!("its {MANIFEST} is a link to nothing")))?;
        let listed: Vec<Entry> = serde_json::from_slice(&bytes)
            .map_err(|error| malformed(place, format!("its {MANIFEST} cannot be read: {error}")))?;
        // Some writers list an image once for each of its names.
        let mut entries: Vec<Entry> = Vec::new();
        let mut places = HashMap::new();
        for mut entry in listed {
            let names = entry.repo_tags.take().unwrap_or_default();
            let place = *places.entry((entry.config.clone(), entry.layers.clone())).or_insert_with(|| {
                entries.push(entry);
                entries.len() - 1
            });
            entries[place].repo_tags.get_or_insert_default().extend(names);
        }
        Ok(DockerImages { files, entries })
    }

    /// The image that `wanted` names, or the only one; its config is read and checked, its layers' members are found.
    pub(super) fn select(&self, wanted: Option<&str>) -> Result<LocalImage, SourceError> {
        let candidate = |entry: &Entry| {
            let digest = promised_digest(&entry.config);
            Candidate {
                names: entry.repo_tags.clone().unwrap_or_default(),
                ids: digest.iter().map(Digest::to_string).collect(),
            }
        };
        let candidates: Vec<Candidate> = self.entries.iter().map(candidate).collect();
        self.image(&self.entries[select::select(&*self.files, &candidates, wanted)?])
    }

    fn image(&self, entry: &Entry) -> Result<LocalImage, SourceError> {
        let place = self.files.place();
        let config_name = shown(&entry.config);
        let missing = |name: &str| {
            let problem = format!("its {MANIFEST} names {}, which it does not hold", shown(name));
            malformed(place, problem)
        };
        let bytes = read_small(&*self.files, &entry.config)?.ok_or_else(|| missing(&entry.config))?;
        let digest = promised_digest(&entry.config);
        if let Some(digest) = &digest {
            check_digest(&*self.files, &entry.config, digest, &bytes)?;
        }
        let config: ImageConfig = serde_json::from_slice(&bytes)
            .map_err(|error| malformed(place, format!("the config {config_name} cannot be read: {error}")))?;
        let names = entry.layers.as_deref().unwrap_or_default();
        let diff_ids = &config.rootfs.diff_ids;
        if names.len() != diff_ids.len() {
            let problem = format!(
                "its {MANIFEST} lists {} layers, and the config {config_name} {} diff IDs",
                names.len(),
                diff_ids.len()
            );
            return Err(malformed(place, problem));
        }
        let layers = names.iter().zip(diff_ids).map(|(name, diff_id)| {
            let size = self.files.find(name)?.ok_or_else(|| missing(name))?.length();
            let blob = blob_digest(name);
            let source = entry.layer_sources.as_ref().and_then(|sources| sources.get(diff_id.0.as_str()));
            let source =
                source.filter(|source| blob.is_some() && source.digest.as_deref() == blob.as_ref().map(Digest::as_str));
            if let Some(expected) = source.and_then(|source| source.size) {
                check_length(&*self.files, &shown(name), expected, size)?;
            }
            Ok(LocalLayer {
                blob,
                diff_id: Some(diff_id.clone()),
                size,
                media_type: source.and_then(|source| source.media_type.clone()),
                name: name.clone(),
                files: self.files.clone(),
            })
        });
        Ok(LocalImage {
            names: entry.repo_tags.clone().unwrap_or_default(),
            manifest: None,
            layers: layers.collect::<Result<_, SourceError>>()?,
            config: LocalConfig { bytes, digest, file: Some(entry.config.clone()) },
        })
    }
}

/// The digest that a config's name promises: `<sha256>.json` (Docker), `blobs/sha256/<hex>` (Docker since 25), `sha256:<hex>`
/// (go-containerregistry).
pub(super) fn promised_digest(name: &str) -> Option<Digest> {
    let digest = |hex: &str| format!("sha256:{hex}").parse().ok();
    blob_digest(name).or_else(|| name.parse().ok()).or_else(|| digest(name.strip_suffix(".json")?))
}

#[cfg(test)]
mod tests;
