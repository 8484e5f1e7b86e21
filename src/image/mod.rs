//! What an image is: digests, manifests, platforms, the config and its history. Nothing here does any input or output.

pub mod config;
pub mod digest;
pub mod edit;
pub mod index;
pub mod label;
pub mod manifest;
pub mod platform;

use config::ImageConfig;
use digest::{ChainId, DiffId, Digest};
use manifest::{Descriptor, ManifestError, OciImageManifest};
use platform::Platform;

/// One image for one platform, with everything but its layers' bytes.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of the image manifest.
    pub digest: Digest,
    /// The image manifest.
    pub manifest: OciImageManifest,
    /// The image config.
    pub config: ImageConfig,
    /// The layers, bottom first.
    pub layers: Vec<Layer>,
}

/// One layer as the manifest and the config describe it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The layer's position from the bottom; the base is 0.
    pub index: usize,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's length in bytes, as stored.
    pub size: u64,
    /// The descriptor, as the manifest has it.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed tar; `None` where the config lists none.
    pub diff_id: Option<DiffId>,
    /// The build step that made the layer, where the history says.
    pub created_by: Option<String>,
}

impl Image {
    /// Puts together what the manifest (of digest `digest`) and the config say. Fails where the two disagree on how
    /// many layers there are.
    pub fn new(digest: Digest, manifest: OciImageManifest, config: ImageConfig) -> Result<Self, ManifestError> {
        let diff_ids = &config.rootfs.diff_ids;
        if !diff_ids.is_empty() && diff_ids.len() != manifest.layers.len() {
            let problem =
                format!("it lists {} layers, and its config {} diff IDs", manifest.layers.len(), diff_ids.len());
            return Err(ManifestError::Inconsistent(problem));
        }
        let steps = config.build_steps(manifest.layers.len());
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for (index, (descriptor, created_by)) in manifest.layers.iter().zip(steps).enumerate() {
            let size = u64::try_from(descriptor.size)
                .map_err(|_| ManifestError::Inconsistent(format!("{} has a negative size", descriptor.digest)))?;
            layers.push(Layer {
                index,
                digest: descriptor.digest.parse()?,
                size,
                descriptor: descriptor.clone(),
                diff_id: diff_ids.get(index).cloned(),
                created_by,
            });
        }
        Ok(Image { digest, manifest, config, layers })
    }

    /// The platform that the config names.
    pub fn platform(&self) -> Platform {
        let ImageConfig { os, architecture, variant, .. } = &self.config;
        Platform { os: os.clone(), architecture: architecture.clone(), variant: variant.clone() }
    }

    /// How many layers lie above the uppermost one with this blob digest.
    pub fn layers_above(&self, blob: &Digest) -> usize {
        self.layers.iter().rev().take_while(|layer| layer.digest != *blob).count()
    }

    /// The ChainID of all its layers; `None` where the config lists no diff IDs.
    pub fn chain_id(&self) -> Option<ChainId> {
        ChainId::of(&self.config.rootfs.diff_ids)
    }

    /// The layer with this diff ID.
    pub fn layer_of(&self, diff_id: &DiffId) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.diff_id.as_ref() == Some(diff_id))
    }

    /// The length of all layers and the config together in bytes, as stored.
    pub fn size(&self) -> u64 {
        let config = u64::try_from(self.manifest.config.size).unwrap_or_default();
        self.layers.iter().map(|layer| layer.size).fold(config, u64::saturating_add)
    }
}
