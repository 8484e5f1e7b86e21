//! The entries of an image index: which of them are images, and which are worth following for a platform.
//!
//! Spec: OCI image-spec *Image Index*; Docker's *Manifest List*.

use std::collections::BTreeMap;

use oci_distribution::manifest::{IMAGE_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_CONFIG_MEDIA_TYPE};
use serde::Deserialize;

use super::config::{null_is_default, null_strings_are_empty};
use super::digest::Digest;
use super::platform::Platform;

/// One entry of an image index or manifest list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexEntry {
    /// The media type of what `digest` names.
    #[serde(default, deserialize_with = "null_is_default")]
    pub media_type: String,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The manifest's length in bytes; 0 where the index does not say.
    #[serde(default, deserialize_with = "null_is_default")]
    pub size: u64,
    /// The platform the image runs on; absent on artifacts and on some single-platform indexes.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// The type of artifact; some tools write an image config's media type here, on entries that are images.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// The entry's annotations.
    #[serde(default, deserialize_with = "null_strings_are_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl IndexEntry {
    /// Whether this entry is BuildKit's attestation manifest, which sits beside images but is not one.
    pub fn is_attestation(&self) -> bool {
        self.annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest")
            || self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }

    /// Whether this entry is an image, or an index of images: neither an attestation nor an artifact of another type.
    pub fn is_image(&self) -> bool {
        !self.is_attestation() && other_artifact(self.artifact_type.as_deref()).is_none()
    }
}

/// The artifact type of something that is no image. An image has none, or an empty one, or its config's media type: for an image
/// manifest without an `artifactType` that is its type (distribution-spec, *Listing Referrers*), and go-containerregistry (crane,
/// ko, apko) writes it into index entries, too.
pub(super) fn other_artifact(artifact_type: Option<&str>) -> Option<&str> {
    artifact_type.filter(|kind| !kind.is_empty() && !is_image_config(kind))
}

/// Whether this is the media type of an image config, OCI's or Docker's.
pub(super) fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, IMAGE_CONFIG_MEDIA_TYPE | IMAGE_DOCKER_CONFIG_MEDIA_TYPE)
}

/// The entries of an image index worth following for `wanted`, best first: images for it (an exact variant before older
/// ones, the index's order among equals), then entries that name no platform, such as nested indexes.
pub fn candidates<'a>(entries: &'a [IndexEntry], wanted: &Platform) -> Vec<&'a IndexEntry> {
    let images = entries.iter().filter(|entry| entry.is_image());
    let mut ranked: Vec<(u32, &IndexEntry)> = images
        .filter_map(|entry| match &entry.platform {
            Some(platform) if platform.is_known() => Some((platform.distance(wanted)?, entry)),
            _ => Some((u32::MAX, entry)),
        })
        .collect();
    ranked.sort_by_key(|(distance, _)| *distance);
    ranked.into_iter().map(|(_, entry)| entry).collect()
}

/// The platforms that an image index offers, in its order, without those of what is no image.
pub fn available(entries: &[IndexEntry]) -> Vec<Platform> {
    let platforms = entries.iter().filter(|entry| entry.is_image()).filter_map(|entry| entry.platform.clone());
    platforms.filter(Platform::is_known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Vec<IndexEntry> {
        let entry = |(i, text): (usize, &&str)| {
            let mut parts = text.split('/').map(str::to_owned);
            IndexEntry {
                media_type: String::new(),
                digest: format!("sha256:{i:064x}").parse().unwrap(),
                size: 0,
                platform: Some(Platform {
                    os: parts.next().unwrap(),
                    architecture: parts.next().unwrap(),
                    variant: parts.next(),
                }),
                artifact_type: None,
                annotations: Default::default(),
            }
        };
        platforms.iter().enumerate().map(entry).collect()
    }

    fn chosen(platforms: &[&str], wanted: &str) -> Option<String> {
        let entries = index(platforms);
        candidates(&entries, &wanted.parse().unwrap()).first().map(|e| e.platform.clone().unwrap().to_string())
    }

    #[test]
    fn the_exact_variant_wins_then_the_newest_that_still_runs() {
        let arms = ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"];
        assert_eq!(chosen(&arms, "linux/arm/v7").unwrap(), "linux/arm/v7");
        assert_eq!(chosen(&arms[..2], "linux/arm/v7").unwrap(), "linux/arm/v6");
        assert_eq!(chosen(&arms[1..], "linux/arm/v5"), None);
        assert_eq!(chosen(&arms, "linux/arm64").unwrap(), "linux/arm64/v8");
        assert_eq!(chosen(&["linux/amd64/v3", "linux/amd64"], "linux/amd64").unwrap(), "linux/amd64");
    }

    #[test]
    fn attestations_are_no_platform() {
        let entries = index(&["linux/amd64", "unknown/unknown"]);
        assert_eq!(available(&entries).len(), 1);
        assert_eq!(chosen(&["unknown/unknown"], "linux/amd64"), None);
    }
}
