//! Builds images, for real: layers, config, manifest and index, with their digests. The same calls give the same bytes.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::entry::{Entry, tar_of};
use super::tabled::{TableFormat, Tabled, tabled};

/// A blob or a manifest with its media type.
#[derive(Clone)]
pub struct Content {
    /// What it is.
    pub media_type: String,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

impl Content {
    fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Content { media_type: media_type.to_owned(), bytes: bytes.into() }
    }

    fn json(media_type: &str, value: &Value) -> Self {
        Content::new(media_type, value.to_string().into_bytes())
    }

    /// The SHA-256 of the bytes.
    pub fn digest(&self) -> String {
        sha256(&self.bytes)
    }

    /// How others refer to it (image-spec, *Content Descriptors*).
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len()})
    }
}

/// `sha256:…` of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A manifest with everything it refers to: what a registry stores.
#[derive(Clone)]
pub struct Packed {
    /// The manifest or index.
    pub manifest: Content,
    /// The config.
    pub config: Option<Content>,
    /// The layers, lowest first.
    pub layers: Vec<Content>,
    /// The manifests that an index lists.
    pub children: Vec<Packed>,
}

impl Packed {
    /// The digest of the manifest.
    pub fn digest(&self) -> String {
        self.manifest.digest()
    }

    /// How many bytes the image has: manifest, config and layers.
    pub fn size(&self) -> u64 {
        let blobs = self.layers.iter().chain(&self.config).chain([&self.manifest]);
        blobs.map(|content| content.bytes.len() as u64).sum()
    }
}

/// Something that a registry can hold.
pub trait Pack {
    /// Its manifest and all that belongs to it.
    fn pack(&self) -> Packed;
}

impl Pack for Packed {
    fn pack(&self) -> Packed {
        self.clone()
    }
}

/// How a layer's tar is compressed.
#[derive(Clone)]
enum Compression {
    Gzip { members: usize },
    Zstd { frames: usize },
    None,
    Table(Arc<Tabled>, TableFormat),
    Gzipped(Arc<[u8]>),
}

/// One layer: a tar, how it is stored, and the build step that made it.
#[derive(Clone)]
pub struct Layer {
    tar: Vec<u8>,
    compression: Compression,
    media_type: Option<String>,
    urls: Vec<String>,
    step: Option<String>,
}

impl<const N: usize> From<[Entry; N]> for Layer {
    fn from(entries: [Entry; N]) -> Self {
        Layer::new(entries)
    }
}

impl From<Vec<Entry>> for Layer {
    fn from(entries: Vec<Entry>) -> Self {
        Layer::new(entries)
    }
}

impl Layer {
    /// A gzip layer with these entries.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Layer::of_tar(tar_of(entries))
    }

    /// A gzip layer whose "tar" is these bytes, whatever they are.
    pub fn of_tar(tar: Vec<u8>) -> Self {
        Layer { tar, compression: Compression::Gzip { members: 1 }, media_type: None, urls: Vec::new(), step: None }
    }

    /// Stored as several gzip members one after the other (RFC 1952 section 2.2), as `pigz` and eStargz write them.
    pub fn gzip_members(self, members: usize) -> Self {
        Layer { compression: Compression::Gzip { members }, ..self }
    }

    /// Stored as one zstd frame.
    pub fn zstd(self) -> Self {
        self.zstd_frames(1)
    }

    /// Stored as several zstd frames, as `zstd:chunked` writes them, with something to be skipped between them.
    pub fn zstd_frames(self, frames: usize) -> Self {
        Layer { compression: Compression::Zstd { frames }, ..self }
    }

    /// Stored as a plain tar.
    pub fn plain(self) -> Self {
        Layer { compression: Compression::None, ..self }
    }

    /// A layer that is this tar, and this gzip as it is stored.
    pub fn stored_as(tar: &[u8], gzip: &[u8]) -> Self {
        Layer { compression: Compression::Gzipped(gzip.into()), ..Layer::of_tar(tar.to_vec()) }
    }

    /// Stored with a table of its contents.
    pub fn with_table(self, format: TableFormat) -> Self {
        self.with_edited_table(format, &|_| {})
    }

    /// The same with a table that is changed by `edit`, and of which the manifest has the digest then.
    pub fn with_edited_table(self, format: TableFormat, edit: &dyn Fn(&mut Value)) -> Self {
        let tabled = tabled(&self.tar, format, edit);
        Layer { tar: tabled.tar.clone(), compression: Compression::Table(Arc::new(tabled), format), ..self }
    }

    /// How many bytes its table has, as stored.
    pub fn table_size(&self) -> u64 {
        match &self.compression {
            Compression::Table(tabled, _) => tabled.table as u64,
            _ => 0,
        }
    }

    /// What its descriptor says beside the usual.
    fn annotations(&self) -> Option<Value> {
        match &self.compression {
            Compression::Table(tabled, _) => Some(tabled.annotations.clone()),
            _ => None,
        }
    }

    /// Declared as this media type, whatever the bytes are.
    pub fn media_type(self, media_type: &str) -> Self {
        Layer { media_type: Some(media_type.to_owned()), ..self }
    }

    /// A foreign layer, to be had from `url`.
    pub fn foreign(self, url: &str) -> Self {
        Layer { urls: vec![url.to_owned()], ..self }
    }

    /// The build step that made the layer, as `docker history` shows it.
    pub fn created_by(self, step: &str) -> Self {
        Layer { step: Some(step.to_owned()), ..self }
    }

    /// The layer as it is stored.
    fn blob(&self, docker: bool) -> Content {
        let parts = |count: usize| self.tar.chunks(self.tar.len().div_ceil(count).max(1));
        let (bytes, oci_suffix, docker_suffix) = match &self.compression {
            Compression::Gzip { members } => (parts(*members).flat_map(gzip).collect(), "+gzip", ".gzip"),
            Compression::Zstd { frames } => {
                let frames: Vec<Vec<u8>> = parts(*frames).map(zstd).collect();
                (frames.join(&SKIPPED[..]), "+zstd", ".zstd")
            }
            Compression::None => (self.tar.clone(), "", ""),
            Compression::Gzipped(bytes) => (bytes.to_vec(), "+gzip", ".gzip"),
            Compression::Table(tabled, TableFormat::Estargz) => (tabled.bytes.clone(), "+gzip", ".gzip"),
            Compression::Table(tabled, TableFormat::ZstdChunked) => (tabled.bytes.clone(), "+zstd", ".zstd"),
        };
        let usual = match (docker, self.urls.is_empty()) {
            (false, true) => format!("application/vnd.oci.image.layer.v1.tar{oci_suffix}"),
            (false, false) => format!("application/vnd.oci.image.layer.nondistributable.v1.tar{oci_suffix}"),
            (true, true) => format!("application/vnd.docker.image.rootfs.diff.tar{docker_suffix}"),
            (true, false) => format!("application/vnd.docker.image.rootfs.foreign.diff.tar{docker_suffix}"),
        };
        Content::new(self.media_type.as_ref().unwrap_or(&usual), bytes)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

/// A skippable frame (RFC 8878, section 3.1.2).
const SKIPPED: [u8; 11] = [0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'n', b'o', b'w'];

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory takes every byte")
}

/// A step of the build: one with a layer, or one that only changed the config.
#[derive(Clone)]
enum Step {
    Layer(Layer),
    Empty(String),
}

/// An image for one platform.
#[derive(Clone)]
pub struct Image {
    steps: Vec<Step>,
    labels: BTreeMap<String, String>,
    platform: String,
    docker: bool,
    config_media_type: Option<String>,
    edit_config: Option<fn(&mut Value)>,
    edit_manifest: Option<fn(&mut Value)>,
}

impl Default for Image {
    fn default() -> Self {
        Image {
            steps: Vec::new(),
            labels: BTreeMap::new(),
            platform: host_platform(),
            docker: false,
            config_media_type: None,
            edit_config: None,
            edit_manifest: None,
        }
    }
}

/// The platform that images get here when nobody says another: this machine's.
fn host_platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}

impl Image {
    /// An OCI image without layers, for this machine's platform.
    pub fn new() -> Self {
        Image::default()
    }

    /// Puts a layer on top.
    pub fn layer(mut self, layer: impl Into<Layer>) -> Self {
        self.steps.push(Step::Layer(layer.into()));
        self
    }

    /// A build step that made no layer, such as `ENV A=b`.
    pub fn empty_step(mut self, step: &str) -> Self {
        self.steps.push(Step::Empty(step.to_owned()));
        self
    }

    /// A label of the config.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Made for `os/arch[/variant]`.
    pub fn platform(self, platform: &str) -> Self {
        Image { platform: platform.to_owned(), ..self }
    }

    /// In Docker's media types (schema 2) in place of OCI's.
    pub fn docker(self) -> Self {
        Image { docker: true, ..self }
    }

    /// With a config of this media type, which makes it something else than an image.
    pub fn config_media_type(self, media_type: &str) -> Self {
        Image { config_media_type: Some(media_type.to_owned()), ..self }
    }

    /// With a config that is changed by `edit`, such as one that another builder would write.
    pub fn edit_config(self, edit: fn(&mut Value)) -> Self {
        Image { edit_config: Some(edit), ..self }
    }

    /// With a manifest that is changed by `edit`.
    pub fn edit_manifest(self, edit: fn(&mut Value)) -> Self {
        Image { edit_manifest: Some(edit), ..self }
    }

    fn config(&self) -> Value {
        let mut diff_ids = Vec::new();
        let mut history = Vec::new();
        for (i, step) in self.steps.iter().enumerate() {
            match step {
                Step::Layer(layer) => {
                    diff_ids.push(sha256(&layer.tar));
                    let created_by = layer.step.clone().unwrap_or(format!("COPY part{i} / # buildkit"));
                    history.push(json!({"created": "2023-11-14T22:13:20Z", "created_by": created_by}));
                }
                Step::Empty(created_by) => {
                    history.push(
                        json!({"created": "2023-11-14T22:13:20Z", "created_by": created_by, "empty_layer": true}),
                    );
                }
            }
        }
        let mut config = platform_json(&self.platform);
        config["created"] = json!("2023-11-14T22:13:20Z");
        config["config"] = json!({"Labels": self.labels});
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        config["history"] = json!(history);
        if let Some(edit) = self.edit_config {
            edit(&mut config);
        }
        config
    }
}

fn platform_json(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let mut value = json!({"architecture": "", "os": parts.next()});
    value["architecture"] = json!(parts.next());
    if let Some(variant) = parts.next() {
        value["variant"] = json!(variant);
    }
    value
}

impl Pack for Image {
    fn pack(&self) -> Packed {
        let (manifest_type, config_type) = if self.docker {
            ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.container.image.v1+json")
        } else {
            ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json")
        };
        let config = Content::json(self.config_media_type.as_deref().unwrap_or(config_type), &self.config());
        let mut layers = Vec::new();
        let mut descriptors = Vec::new();
        for step in &self.steps {
            let Step::Layer(layer) = step else { continue };
            let blob = layer.blob(self.docker);
            let mut descriptor = blob.descriptor();
            if !layer.urls.is_empty() {
                descriptor["urls"] = json!(layer.urls);
            }
            if let Some(annotations) = layer.annotations() {
                descriptor["annotations"] = annotations;
            }
            descriptors.push(descriptor);
            layers.push(blob);
        }
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": config.descriptor(), "layers": descriptors,
        });
        if let Some(edit) = self.edit_manifest {
            edit(&mut manifest);
        }
        let manifest = Content::json(manifest_type, &manifest);
        Packed { manifest, config: Some(config), layers, children: Vec::new() }
    }
}

/// An image index, or Docker's manifest list.
#[derive(Clone, Default)]
pub struct Index {
    entries: Vec<(Value, Packed)>,
    docker: bool,
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Index::default()
    }

    /// As Docker's manifest list in place of an OCI index.
    pub fn docker(self) -> Self {
        Index { docker: true, ..self }
    }

    /// Lists an image, with its platform.
    pub fn image(mut self, image: &Image) -> Self {
        let packed = image.pack();
        let mut descriptor = packed.manifest.descriptor();
        descriptor["platform"] = platform_json(&image.platform);
        self.entries.push((descriptor, packed));
        self
    }

    /// Lists something without a platform: another index, an image that does not say.
    pub fn unspecified(mut self, item: &dyn Pack) -> Self {
        let packed = item.pack();
        self.entries.push((packed.manifest.descriptor(), packed));
        self
    }

    /// Changes the entry listed last, as another tool would have written it.
    pub fn edit_entry(mut self, edit: fn(&mut Value)) -> Self {
        let (descriptor, _) = self.entries.last_mut().expect("an entry to change");
        edit(descriptor);
        self
    }

    /// Lists BuildKit's attestation of the image listed last.
    pub fn attestation(mut self) -> Self {
        let subject = self.entries.last().map(|(descriptor, _)| descriptor["digest"].clone()).unwrap_or_default();
        let statement = Content::new("application/vnd.in-toto+json", b"{\"_type\":\"statement\"}".to_vec());
        let packed = Image::new().platform("unknown/unknown").pack();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": packed.manifest.media_type,
            "config": packed.config.as_ref().map(Content::descriptor), "layers": [statement.descriptor()],
        });
        let manifest = Content::json(&packed.manifest.media_type, &manifest);
        let packed = Packed { manifest, layers: vec![statement], ..packed };
        let mut descriptor = packed.manifest.descriptor();
        descriptor["platform"] = platform_json("unknown/unknown");
        descriptor["annotations"] =
            json!({"vnd.docker.reference.digest": subject, "vnd.docker.reference.type": "attestation-manifest"});
        self.entries.push((descriptor, packed));
        self
    }
}

impl Pack for Index {
    fn pack(&self) -> Packed {
        let media_type = if self.docker {
            "application/vnd.docker.distribution.manifest.list.v2+json"
        } else {
            "application/vnd.oci.image.index.v1+json"
        };
        let (descriptors, children): (Vec<Value>, Vec<Packed>) = self.entries.iter().cloned().unzip();
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": descriptors});
        Packed { manifest: Content::json(media_type, &manifest), config: None, layers: Vec::new(), children }
    }
}

/// A manifest of any media type, with nothing behind it.
pub struct OtherManifest<'a>(pub &'a str, pub &'a str);

impl Pack for OtherManifest<'_> {
    fn pack(&self) -> Packed {
        let manifest = Content::new(self.0, self.1.as_bytes().to_vec());
        Packed { manifest, config: None, layers: Vec::new(), children: Vec::new() }
    }
}
