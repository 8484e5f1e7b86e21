//! Packs images as the programs do that keep them in files: `docker save` of every age, and OCI layouts.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use super::entry::{file, tar_of};
use super::image::{Content, Pack, Packed, sha256};

/// What an archive of images looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `docker save` writes it since version 25: an OCI layout with a `manifest.json`.
    Docker25,
    /// As `docker save` wrote it from version 1.10 to 24: layers uncompressed, in folders, and no manifests.
    Docker110,
    /// As `docker save` wrote it before version 1.10: images with parents, and no digests.
    Legacy,
    /// An OCI layout.
    Oci,
}

/// All of them.
pub const FORMS: [Form; 4] = [Form::Docker25, Form::Docker110, Form::Legacy, Form::Oci];

/// An archive of this form with the image under the name `tag`.
pub fn archive(image: &dyn Pack, form: Form, tag: &str) -> Vec<u8> {
    tar_of(files(&image.pack(), form, tag).iter().map(|(name, bytes)| file(name, bytes)))
}

/// Writes an OCI layout of the image into the folder `directory`.
pub fn write_layout(image: &dyn Pack, directory: &Path, tag: &str) {
    for (name, bytes) in files(&image.pack(), Form::Oci, tag) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a path in a folder")).expect("a folder of our own");
        fs::write(path, bytes).expect("a file of our own");
    }
}

/// The files of an archive, by name.
pub fn files(packed: &Packed, form: Form, tag: &str) -> Vec<(String, Vec<u8>)> {
    match form {
        Form::Oci => layout(packed, tag),
        Form::Docker25 => {
            let mut files = layout(packed, tag);
            if let Some(config) = &packed.config {
                let layers: Vec<String> = packed.layers.iter().map(|layer| blob_name(&layer.digest())).collect();
                let diff_ids = json_of(config)["rootfs"]["diff_ids"].clone();
                let ids = diff_ids.as_array().into_iter().flatten().filter_map(Value::as_str);
                let sources: serde_json::Map<String, Value> =
                    ids.zip(&packed.layers).map(|(id, layer)| (id.to_owned(), layer.descriptor())).collect();
                let manifest = json!([{"Config": blob_name(&config.digest()), "RepoTags": [tag], "Layers": layers,
                    "LayerSources": sources}]);
                files.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
            }
            files
        }
        Form::Docker110 => docker_110(packed, tag),
        Form::Legacy => legacy(packed, tag),
    }
}

/// The name of the file that holds a blob.
pub fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn json_of(content: &Content) -> Value {
    serde_json::from_slice(&content.bytes).expect("a config is JSON")
}

fn layout(packed: &Packed, tag: &str) -> Vec<(String, Vec<u8>)> {
    let mut entry = packed.manifest.descriptor();
    let (_, short) = tag.rsplit_once(':').unwrap_or(("", tag));
    entry["annotations"] = json!({"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": short});
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]});
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.to_string().into_bytes()),
    ];
    blobs(packed, &mut files);
    files
}

fn blobs(packed: &Packed, files: &mut Vec<(String, Vec<u8>)>) {
    for content in packed.layers.iter().chain(&packed.config).chain([&packed.manifest]) {
        files.push((blob_name(&content.digest()), content.bytes.to_vec()));
    }
    packed.children.iter().for_each(|child| blobs(child, files));
}

fn docker_110(packed: &Packed, tag: &str) -> Vec<(String, Vec<u8>)> {
    let config = packed.config.as_ref().expect("an image has a config");
    let config_name = format!("{}.json", hex(&config.digest()));
    let mut files = Vec::new();
    let mut names = Vec::new();
    for (number, layer) in packed.layers.iter().enumerate() {
        let id = hex(&sha256(format!("layer {number} {}", layer.digest()).as_bytes()));
        files.push((format!("{id}/VERSION"), b"1.0".to_vec()));
        names.push(format!("{id}/layer.tar"));
        files.push((format!("{id}/layer.tar"), uncompressed(&layer.bytes)));
    }
    let manifest = json!([{"Config": config_name, "RepoTags": [tag], "Layers": names}]);
    files.push((config_name, config.bytes.to_vec()));
    files.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
    files
}

fn legacy(packed: &Packed, tag: &str) -> Vec<(String, Vec<u8>)> {
    let config = json_of(packed.config.as_ref().expect("an image has a config"));
    let (mut files, mut parent) = (Vec::new(), None::<String>);
    let mut layers = packed.layers.iter();
    let steps = config["history"].as_array().cloned().unwrap_or_default();
    for (number, step) in steps.iter().enumerate() {
        let id = hex(&sha256(format!("image {number}").as_bytes()));
        let mut image = json!({"id": id, "os": config["os"], "architecture": config["architecture"],
            "config": config["config"], "container_config": {"Cmd": [step["created_by"]]}});
        if let Some(parent) = &parent {
            image["parent"] = json!(parent);
        }
        match step["empty_layer"] == true {
            true => image["throwaway"] = json!(true),
            false => {
                let layer = layers.next().expect("as many steps as layers");
                files.push((format!("{id}/layer.tar"), uncompressed(&layer.bytes)));
            }
        }
        files.push((format!("{id}/VERSION"), b"1.0".to_vec()));
        files.push((format!("{id}/json"), image.to_string().into_bytes()));
        parent = Some(id);
    }
    let (name, version) = tag.rsplit_once(':').expect("a name and a tag");
    let repositories = json!({name: {version: parent}});
    files.push(("repositories".to_owned(), repositories.to_string().into_bytes()));
    files
}

fn hex(digest: &str) -> String {
    digest.trim_start_matches("sha256:").to_owned()
}

/// A layer's tar, however it is stored.
pub fn uncompressed(blob: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    match blob {
        [0x1f, 0x8b, ..] => drop(flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut tar).expect("gzip")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => tar = zstd::decode_all(blob).expect("zstd"),
        plain => tar = plain.to_vec(),
    }
    tar
}
