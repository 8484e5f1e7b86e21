//! Images with SOCI indexes: layers as they are, and tables of their contents beside them.

use std::io::{Cursor, Read};

use serde_json::{Value, json};

use super::entry::{Entry, tar_of};
use super::image::{Content, Image, Layer, OtherManifest, Pack, Packed, sha256};
use super::registry::Registry;
use super::tabled::rfc3339;
use super::ztoc::{Ztoc, ZtocFile, checkpoints, gzip_in_spans};

/// How an image is told apart from its index: by an annotation of its manifest, or by nothing but what refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SociVersion {
    V1,
    V2,
}

/// A layer, as it is stored, and what its table says.
#[derive(Clone)]
pub struct SociLayer {
    pub tar: Vec<u8>,
    pub blob: Vec<u8>,
    pub ztoc: Ztoc,
}

/// An image with an index.
pub struct SociImage {
    pub image: Packed,
    pub index: Packed,
}

impl SociLayer {
    /// A layer with these entries, in spans of so many bytes of its tar.
    pub fn new(entries: impl IntoIterator<Item = Entry>, span: usize) -> Self {
        let tar = tar_of(entries);
        let (blob, begins) = gzip_in_spans(&tar, span);
        let ends = begins.iter().skip(1).map(|begin| begin.compressed as usize).chain([blob.len()]);
        let digests = begins.iter().zip(ends).map(|(begin, end)| sha256(&blob[begin.compressed as usize..end]));
        let ztoc = Ztoc {
            version: b"0.9".to_vec(),
            compressed_size: blob.len() as i64,
            uncompressed_size: tar.len() as i64,
            files: files(&tar),
            algorithm: Some(1),
            max_span_id: begins.len() as u32 - 1,
            digests: digests.map(String::into_bytes).collect(),
            checkpoints: checkpoints(&tar, &begins, span),
        };
        SociLayer { tar, blob, ztoc }
    }
}

/// An image of these layers, lowest first, and its index.
pub fn soci_image(layers: &[SociLayer], version: SociVersion) -> SociImage {
    let image = layers.iter().fold(Image::new(), |image, layer| image.layer(Layer::stored_as(&layer.tar, &layer.blob)));
    let mut image = image.pack();
    let content = |media_type: &str, bytes: Vec<u8>| Content { media_type: media_type.to_owned(), bytes: bytes.into() };
    let kind = match version {
        SociVersion::V1 => "application/vnd.amazon.soci.index.v1+json",
        SociVersion::V2 => "application/vnd.amazon.soci.index.v2+json",
    };
    let config = content(kind, b"{}".to_vec());
    let ztocs: Vec<Content> =
        layers.iter().map(|layer| content("application/octet-stream", layer.ztoc.bytes())).collect();
    let described = image.layers.iter().zip(&ztocs).map(|(layer, ztoc)| {
        let mut descriptor = ztoc.descriptor();
        descriptor["annotations"] = json!({
            "com.amazon.soci.image-layer-mediaType": layer.media_type,
            "com.amazon.soci.image-layer-digest": layer.digest(),
            "com.amazon.soci.span-size": "4194304",
        });
        descriptor
    });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let mut index = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config.descriptor(), "layers": described.collect::<Vec<_>>(),
        "annotations": {"com.amazon.soci.build-tool-identifier": "AWS SOCI CLI v0.2"},
    });
    if version == SociVersion::V1 {
        index["subject"] = image.manifest.descriptor();
    }
    let index = content(media_type, index.to_string().into_bytes());
    if version == SociVersion::V2 {
        let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).expect("a manifest");
        manifest["annotations"] = json!({"com.amazon.soci.index-digest": index.digest()});
        image.manifest = content(media_type, manifest.to_string().into_bytes());
    }
    let index = Packed { manifest: index, config: Some(config), layers: ztocs, children: Vec::new() };
    SociImage { image, index }
}

impl SociImage {
    /// Stores both as `NAME:TAG`, and gives its whole reference. In a registry without a referrers API the index is listed by a tag.
    pub fn push(&self, registry: &Registry, name_and_tag: &str, lists_by_tag: bool) -> String {
        let (name, _) = name_and_tag.rsplit_once(':').expect("a name and a tag");
        registry.push_by_digest(name, &self.index);
        if lists_by_tag {
            let media_type = "application/vnd.oci.image.index.v1+json";
            let mut entry = self.index.manifest.descriptor();
            entry["artifactType"] = json!(self.index.config.as_ref().expect("a config").media_type);
            let list = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}).to_string();
            let tag = format!("{name}:{}", self.image.digest().replace(':', "-"));
            registry.push(&tag, &OtherManifest(media_type, &list));
        }
        registry.push(name_and_tag, &self.image)
    }
}

/// What a table says of the members of `tar`.
fn files(tar: &[u8]) -> Vec<ZtocFile> {
    let mut archive = tar::Archive::new(Cursor::new(tar));
    let mut files = Vec::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("a member");
        let header = entry.header().clone();
        let kind = match header.entry_type() {
            tar::EntryType::Regular => "reg",
            tar::EntryType::Directory => "dir",
            tar::EntryType::Symlink => "symlink",
            tar::EntryType::Link => "hardlink",
            tar::EntryType::Char => "char",
            tar::EntryType::Block => "block",
            tar::EntryType::Fifo => "fifo",
            other => panic!("{other:?}"),
        };
        let device = |number: std::io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0).into();
        let mut records = Vec::new();
        if let Some(pax) = entry.pax_extensions().expect("PAX records") {
            let pax = pax.map(|record| record.expect("a PAX record"));
            records.extend(pax.map(|record| (record.key_bytes().to_vec(), record.value_bytes().to_vec())));
        }
        let file = ZtocFile {
            name: entry.path_bytes().into_owned(),
            kind: kind.into(),
            offset: entry.raw_file_position() as i64,
            size: if kind == "reg" { entry.size() as i64 } else { 0 },
            target: entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default(),
            mode: header.mode().expect("a mode").into(),
            uid: header.uid().expect("a user") as u32,
            gid: header.gid().expect("a group") as u32,
            mtime: rfc3339(header.mtime().expect("a time")).into_bytes(),
            device: (device(header.device_major()), device(header.device_minor())),
            records,
        };
        std::io::copy(&mut entry.by_ref(), &mut std::io::sink()).expect("content");
        files.push(file);
    }
    files
}
