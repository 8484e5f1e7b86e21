//! What a build copies, as an image of one layer: an OCI image layout, for builders that take `oci-layout://FOLDER@DIGEST`. Unlike a
//! folder, it keeps owners, extended attributes and all modes.
//!
//! The same files give the same bytes: nothing in it is of today, or of this machine.
//! Spec: OCI image-spec *Image Layout*, *Image Manifest*, *Image Configuration*.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use oci_distribution::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
use serde_json::{Value, json};

use crate::extract::{self, ExtractError, Item, Node, PublishOptions, Staged, Staging};
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::rootfs::UNDESCRIBED;

/// A layout, ready to be written.
pub struct Layout {
    /// The folder.
    pub item: Item,
    /// The digest of the manifest in it.
    pub digest: Digest,
    /// What could not be put into it as it is. One line each.
    pub warnings: Vec<String>,
}

impl Layout {
    /// The layout of an image for `platform` that holds `items` and nothing else, with its parts in `staging`.
    pub fn of(items: BTreeMap<Vec<u8>, Item>, platform: &Platform, staging: &Staging) -> Result<Self, ExtractError> {
        let items: Vec<(Vec<u8>, Item)> = items.into_iter().collect();
        let options = PublishOptions { preserve: true, ..PublishOptions::default() };
        let (layer, warnings) = staging.stage_written(|out| extract::write_tar(&items, &options, out))?;
        let mut blobs = BTreeMap::new();
        let layer = add(&mut blobs, IMAGE_LAYER_MEDIA_TYPE, layer);
        let mut config = json!({
            "architecture": platform.architecture,
            "os": platform.os,
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
        });
        if let Some(variant) = &platform.variant {
            config["variant"] = json!(variant);
        }
        let config = add(&mut blobs, IMAGE_CONFIG_MEDIA_TYPE, stage(staging, &config)?);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE_MEDIA_TYPE,
            "config": config,
            "layers": [layer],
        });
        let manifest = stage(staging, &manifest)?;
        let digest = digest_of(&manifest);
        let manifest = add(&mut blobs, OCI_IMAGE_MEDIA_TYPE, manifest);
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE, "manifests": [manifest] });
        let marker = stage(staging, &json!({ "imageLayoutVersion": "1.0.0" }))?;
        let item = directory([
            ("blobs", directory([("sha256", Item { metadata: UNDESCRIBED, node: Node::Directory(blobs) })])),
            ("index.json", file(stage(staging, &index)?)),
            ("oci-layout", file(marker)),
        ]);
        Ok(Layout { item, digest, warnings })
    }
}

/// Puts a blob among the `blobs`, by the name that its digest gives it, and gives its descriptor.
fn add(blobs: &mut BTreeMap<Vec<u8>, Item>, media_type: &str, blob: Arc<Staged>) -> Value {
    let (digest, size) = (digest_of(&blob), blob.size);
    let name = digest.as_str().as_bytes()[Digest::ALGORITHM..].to_vec();
    blobs.insert(name, file(blob));
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

fn stage(staging: &Staging, value: &Value) -> Result<Arc<Staged>, ExtractError> {
    let text = value.to_string();
    let write = |out: &mut dyn Write| out.write_all(text.as_bytes()).map_err(ExtractError::Output);
    Ok(staging.stage_written(write)?.0)
}

/// The digest of what was written, which has one.
fn digest_of(blob: &Staged) -> Digest {
    blob.digest.clone().unwrap_or_else(|| Digest::of(b""))
}

fn file(blob: Arc<Staged>) -> Item {
    let metadata = extract::Metadata { mode: 0o644, ..UNDESCRIBED };
    Item { metadata, node: Node::File(blob) }
}

fn directory<const N: usize>(children: [(&str, Item); N]) -> Item {
    let children = children.into_iter().map(|(name, item)| (name.as_bytes().to_vec(), item));
    Item { metadata: UNDESCRIBED, node: Node::Directory(children.collect()) }
}
