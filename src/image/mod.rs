//! What an image is: digests, manifests, platforms, the config and its history. Nothing here does any input or output.

pub mod config;
pub mod digest;
pub mod edit;
pub mod index;
pub mod label;
pub mod manifest;
pub mod mend;
pub mod platform;

use std::collections::BTreeMap;

use config::ImageConfig;
use digest::{ChainId, DiffId, Digest};
use manifest::{Descriptor, ManifestError, OciImageManifest};
use platform::Platform;

/// One image for one platform, with everything but its layers' bytes. What the place that it is in does not know is absent.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of the image manifest; `docker save` wrote no manifest before Docker 25.
    pub digest: Option<Digest>,
    /// The annotations of the image manifest.
    pub annotations: BTreeMap<String, String>,
    /// The image config.
    pub config: ImageConfig,
    /// The config's length in bytes.
    pub config_size: u64,
    /// The layers, bottom first.
    pub layers: Vec<Layer>,
}

/// A layer's position from the bottom, as manifests and histories count: the base is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerPosition(pub usize);

/// One layer as the manifest and the config describe it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The layer's position from the bottom; the base is 0.
    pub index: usize,
    /// The layer as it is stored.
    pub blob: Blob,
    /// The digest of the uncompressed tar; `None` where the config lists none.
    pub diff_id: Option<DiffId>,
    /// The build step that made the layer, where the history says.
    pub created_by: Option<String>,
}

/// A layer as it is stored.
#[derive(Clone, Debug, Default)]
pub struct Blob {
    /// Its digest, where a manifest promises one.
    pub digest: Option<Digest>,
    /// Its length in bytes.
    pub size: u64,
    /// Its media type, where one is said.
    pub media_type: Option<String>,
    /// The manifest's descriptor of it, where there is a manifest.
    pub descriptor: Option<Descriptor>,
}

impl Layer {
    /// The layer's position from the bottom.
    pub fn position(&self) -> LayerPosition {
        LayerPosition(self.index)
    }

    /// The blob's digest, where a manifest promises one.
    pub fn digest(&self) -> Option<&Digest> {
        self.blob.digest.as_ref()
    }

    /// The blob's length in bytes, as stored.
    pub fn size(&self) -> u64 {
        self.blob.size
    }

    /// What news of reading it is about: its digest, or whatever else tells it from the image's other layers.
    pub fn task(&self) -> String {
        match self.digest().or(self.diff_id.as_ref().map(|DiffId(digest)| digest)) {
            Some(digest) => digest.to_string(),
            None => format!("layer {}", self.index),
        }
    }
}

impl Image {
    /// Puts together what the manifest (of digest `digest`) and the config say. Fails where the two disagree on how
    /// many layers there are.
    pub fn new(digest: Digest, manifest: OciImageManifest, config: ImageConfig) -> Result<Self, ManifestError> {
        let blob = |descriptor: Descriptor| {
            let size = u64::try_from(descriptor.size)
                .map_err(|_| ManifestError::Inconsistent(format!("{} has a negative size", descriptor.digest)))?;
            let (digest, media_type) = (descriptor.digest.parse()?, descriptor.media_type.clone());
            Ok(Blob { digest: Some(digest), size, media_type: Some(media_type), descriptor: Some(descriptor) })
        };
        let blobs = manifest.layers.into_iter().map(blob).collect::<Result<_, ManifestError>>()?;
        let config_size = u64::try_from(manifest.config.size).unwrap_or_default();
        let image = Image::of_blobs(Some(digest), config, config_size, blobs)?;
        Ok(Image { annotations: manifest.annotations.unwrap_or_default(), ..image })
    }

    /// The image that has this config, of so many bytes, and these layers, bottom first. Fails where the two disagree on how many
    /// layers there are.
    pub fn of_blobs(
        digest: Option<Digest>,
        config: ImageConfig,
        config_size: u64,
        blobs: Vec<Blob>,
    ) -> Result<Self, ManifestError> {
        let diff_ids = &config.rootfs.diff_ids;
        if !diff_ids.is_empty() && diff_ids.len() != blobs.len() {
            let problem = format!("it lists {} layers, and its config {} diff IDs", blobs.len(), diff_ids.len());
            return Err(ManifestError::Inconsistent(problem));
        }
        let steps = config.build_steps(blobs.len());
        let layer = |(index, (blob, created_by))| {
            let diff_id = diff_ids.get(index).cloned();
            Layer { index, blob, diff_id, created_by }
        };
        let layers = blobs.into_iter().zip(steps).enumerate().map(layer).collect();
        Ok(Image { digest, annotations: BTreeMap::new(), config, config_size, layers })
    }

    /// The platform that the config names.
    pub fn platform(&self) -> Platform {
        let ImageConfig { os, architecture, variant, .. } = &self.config;
        Platform { os: os.clone(), architecture: architecture.clone(), variant: variant.clone() }
    }

    /// How many layers lie above the uppermost one with this blob digest.
    pub fn layers_above(&self, blob: &Digest) -> usize {
        self.layers.iter().rev().take_while(|layer| layer.digest() != Some(blob)).count()
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
        self.layers.iter().map(Layer::size).fold(self.config_size, u64::saturating_add)
    }
}
