//! Archives of images in each form, for the tests of this folder and of the layout.

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Archive, Selected};
use crate::image::digest::Digest;
use crate::progress::Progress;
use crate::source::SourceError;
use crate::source::local::LocalImage;
use crate::support::block::{self, Block};

/// A tar in the making.
#[derive(Clone, Default)]
pub(in crate::source) struct Tar(pub(in crate::source) Vec<u8>);

impl Tar {
    /// Appends a header and its padded data.
    pub(in crate::source) fn member(self, header: Block, data: impl AsRef<[u8]>) -> Self {
        self.blocks(&header.with(data))
    }

    fn blocks(mut self, blocks: &[u8]) -> Self {
        self.0.extend_from_slice(blocks);
        self
    }

    pub(in crate::source) fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.blocks(&block::file(name, data))
    }

    pub(in crate::source) fn json(self, name: &str, value: &Value) -> Self {
        self.file(name, value.to_string())
    }

    pub(in crate::source) fn link(self, name: &str, kind: u8, target: &str) -> Self {
        self.member(Block::new(name, kind, 0).link(target), "")
    }

    /// A PAX header with these records.
    pub(in crate::source) fn pax(self, records: &[(&str, &str)]) -> Self {
        self.blocks(&block::pax(records))
    }

    /// The whole, with its end mark.
    pub(in crate::source) fn end(self) -> Vec<u8> {
        self.blocks(&block::END).0
    }
}

/// The two layers of every image here, bottom first. Nothing in this folder looks into a layer.
pub(in crate::source) const LAYERS: [&str; 2] = ["the base layer", "the upper layer, which is a little longer"];

/// A config of an image with [`LAYERS`].
pub(in crate::source) fn config(name: &str) -> Value {
    let diff_ids: Vec<String> = LAYERS.iter().map(|layer| Digest::of(layer.as_bytes()).to_string()).collect();
    json!({"architecture": "amd64", "os": "linux", "config": {"Labels": {"name": name}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": [{"created_by": "base"}, {"created_by": "upper"}]})
}

pub(in crate::source) fn hex(bytes: impl AsRef<[u8]>) -> String {
    Digest::of(bytes.as_ref()).as_str().trim_start_matches("sha256:").to_owned()
}

/// An ID from before Docker 1.10.
pub(in crate::source) fn id(letter: char) -> String {
    letter.to_string().repeat(64)
}

/// One image as Docker 1.10 to 24 saves it: each layer in a folder of its own, the manifest at the end.
pub(in crate::source) fn docker() -> Tar {
    let config = config("app").to_string();
    let config_name = format!("{}.json", hex(&config));
    let layers = ["a", "b"].map(|letter| format!("{}/layer.tar", letter.repeat(64)));
    let manifest = json!([{"Config": config_name, "RepoTags": ["app:1"], "Layers": layers}]);
    Tar::default()
        .file(format!("{}/VERSION", id('a')), "1.0")
        .file(&layers[0], LAYERS[0])
        .file(&layers[1], LAYERS[1])
        .file(&config_name, &config)
        .json("manifest.json", &manifest)
        .json("repositories", &json!({"app": {"1": id('b')}}))
}

/// The same image as Docker saved it before 1.10.
pub(in crate::source) fn legacy() -> Tar {
    let base = json!({"id": id('a'), "created": "2014-01-01T00:00:00Z", "os": "linux",
        "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) ADD base"]}});
    let upper = json!({"id": id('b'), "parent": id('a'), "os": "linux", "architecture": "amd64", "author": "someone",
        "container_config": {"Cmd": ["/bin/sh", "-c", "make"]}, "config": {"Labels": {"name": "app"}}});
    Tar::default()
        .file(format!("{}/VERSION", id('a')), "1.0")
        .json(&format!("{}/json", id('a')), &base)
        .file(format!("{}/layer.tar", id('a')), LAYERS[0])
        .file(format!("{}/VERSION", id('b')), "1.0\n")
        .json(&format!("{}/json", id('b')), &upper)
        .file(format!("{}/layer.tar", id('b')), LAYERS[1])
        .json("repositories", &json!({"app": {"1": id('b'), "latest": id('b')}}))
}

/// A blob with its descriptor.
pub(in crate::source) fn descriptor(media_type: &str, bytes: impl AsRef<[u8]>) -> Value {
    let bytes = bytes.as_ref();
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

/// The manifest of an image with this config and [`LAYERS`].
pub(in crate::source) fn manifest(config: &str) -> Value {
    let layer = |bytes| descriptor("application/vnd.oci.image.layer.v1.tar", bytes);
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config), "layers": LAYERS.map(layer)})
}

/// The files of an OCI layout with the image `name` for each of these names, and their configs' names the same.
pub(in crate::source) fn layout(names: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut blob = |bytes: &str| files.push((format!("blobs/sha256/{}", hex(bytes)), bytes.as_bytes().to_vec()));
    LAYERS.iter().for_each(|layer| blob(layer));
    let mut entries = Vec::new();
    for name in names {
        let config = config(name).to_string();
        let manifest = manifest(&config).to_string();
        blob(&config);
        blob(&manifest);
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        entries.push(entry);
    }
    files.push(("index.json".to_owned(), index(&entries).to_string().into_bytes()));
    files
}

pub(in crate::source) fn index(entries: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries})
}

/// A tar of these files.
pub(in crate::source) fn pack(files: &[(String, Vec<u8>)]) -> Tar {
    files.iter().fold(Tar::default(), |tar, (name, data)| tar.file(name, data))
}

/// As Docker saves an image since version 25: an OCI layout with a `manifest.json`.
pub(in crate::source) fn docker_layout() -> Tar {
    let config = config("app:1").to_string();
    let blob = |bytes: &str| format!("blobs/sha256/{}", hex(bytes));
    let sources: serde_json::Map<String, Value> = LAYERS
        .iter()
        .map(|layer| {
            (Digest::of(layer.as_bytes()).to_string(), descriptor("application/vnd.oci.image.layer.v1.tar", layer))
        })
        .collect();
    let manifest = json!([{"Config": blob(&config), "RepoTags": ["app:1"], "Layers": LAYERS.map(blob),
        "LayerSources": sources}]);
    pack(&layout(&["app:1"])).json("manifest.json", &manifest)
}

/// A temporary file of these bytes.
pub(in crate::source) fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// The uncompressed archive of these bytes.
pub(in crate::source) fn open(bytes: &[u8]) -> Result<Archive, SourceError> {
    Archive::from_plain(file(bytes), 0, "x.tar".to_owned(), "archive://x.tar".to_owned())
}

/// Everything that the image `wanted` of an archive holds: its names, the digests that are known, its config, its layers.
pub(in crate::source) fn everything(archive: &Archive, wanted: Option<&str>) -> Result<Vec<String>, SourceError> {
    let image = match archive.select(wanted)? {
        Selected::Image(image) => image,
        Selected::Manifest(manifest) => archive.layout().unwrap().image(manifest)?,
    };
    contents(&image)
}

/// See [`everything`].
pub(in crate::source) fn contents(image: &LocalImage) -> Result<Vec<String>, SourceError> {
    let mut all = image.names.clone();
    all.extend(image.manifest.as_ref().map(|manifest| manifest.digest.to_string()));
    all.extend(image.config.digest.as_ref().map(ToString::to_string));
    all.push(String::from_utf8(image.config.bytes.to_vec()).unwrap());
    for layer in &image.layers {
        all.push(format!("{:?} {:?} {} {:?}", layer.blob, layer.diff_id, layer.size, layer.media_type));
        let mut text = String::new();
        std::io::Read::read_to_string(&mut layer.open()?.reader(), &mut text).unwrap();
        all.push(text);
    }
    Ok(all)
}

/// The layers' bytes.
pub(in crate::source) fn layers(image: &LocalImage) -> Vec<String> {
    let read =
        |layer: &crate::source::local::LocalLayer| std::io::read_to_string(layer.open().unwrap().reader()).unwrap();
    image.layers.iter().map(read).collect()
}

/// Remembers what it is told.
#[derive(Default)]
pub(in crate::source) struct Told {
    pub(in crate::source) notices: Mutex<Vec<String>>,
    /// Tasks begun and not finished.
    pub(in crate::source) open: Mutex<i64>,
    pub(in crate::source) bytes: Mutex<u64>,
}

impl Progress for Told {
    fn start(&self, _: &str, _: &str, _: Option<u64>) {
        *self.open.lock().unwrap() += 1;
    }

    fn advance(&self, _: &str, bytes: u64) {
        *self.bytes.lock().unwrap() += bytes;
    }

    fn finish(&self, _: &str) {
        *self.open.lock().unwrap() -= 1;
    }

    fn notice(&self, line: &str) {
        self.notices.lock().unwrap().push(line.to_owned());
    }
}
