use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::archive::fixture::{
    LAYERS, config, contents, descriptor, hex, index, layers, layout, manifest, open as open_archive, pack,
};
use super::*;

/// A folder with these files.
fn folder(files: &[(String, Vec<u8>)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, data) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

fn open(files: &[(String, Vec<u8>)]) -> (tempfile::TempDir, Layout) {
    let (folder, path) = folder(files);
    (folder, Layout::open(&path).unwrap())
}

fn image(layout: &Layout, wanted: Option<&str>) -> Result<LocalImage, SourceError> {
    layout.image(layout.select(wanted)?)
}

/// The layout of [`layout`] with another index.
fn with_index(names: &[&str], entries: &[Value]) -> Vec<(String, Vec<u8>)> {
    let mut files = layout(names);
    files.last_mut().unwrap().1 = index(entries).to_string().into_bytes();
    files
}

fn entry(name: &str) -> Value {
    descriptor("application/vnd.oci.image.manifest.v1+json", manifest(&config(name).to_string()).to_string())
}

#[test]
fn a_folder_and_an_archive_give_the_same_image() {
    let files = layout(&["app:1"]);
    let (_folder, in_folder) = open(&files);
    let archive = open_archive(&pack(&files).end()).unwrap();
    let found = image(&in_folder, None).unwrap();
    assert_eq!(contents(&found).unwrap(), contents(&image(archive.layout().unwrap(), None).unwrap()).unwrap());
    assert_eq!(
        (found.names.as_slice(), layers(&found).as_slice()),
        (&["app:1".to_owned()][..], &LAYERS.map(String::from)[..])
    );
    let raw = found.manifest.unwrap();
    assert_eq!(
        (&raw.digest, raw.media_type.as_deref()),
        (&Digest::of(&raw.bytes), Some("application/vnd.oci.image.manifest.v1+json"))
    );
    let blobs: Vec<_> = found.layers.iter().map(|layer| layer.blob.clone().unwrap()).collect();
    assert_eq!(blobs, LAYERS.map(|layer| Digest::of(layer.as_bytes())));
    assert_eq!(in_folder.blob(&blobs[0], LAYERS[0].len() as u64).unwrap().length(), LAYERS[0].len() as u64);
    assert!(in_folder.bytes_read() > 0);
}

#[test]
fn tags_and_whole_references_are_names() {
    let mut containerd = entry("c");
    containerd["annotations"] =
        json!({"io.containerd.image.name": "docker.io/library/tool:2", "org.opencontainers.image.ref.name": "2"});
    let mut again = entry("c");
    again["annotations"] = json!({"io.containerd.image.name": "docker.io/library/tool:3"});
    let mut tag = entry("a");
    tag["annotations"] = json!({"org.opencontainers.image.ref.name": "1.0"});
    let mut attestation = entry("d");
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let mut chart = entry("d");
    chart["artifactType"] = json!("application/vnd.cncf.helm.config.v1+json");
    // go-containerregistry writes the config's media type here.
    tag["artifactType"] = json!("application/vnd.oci.image.config.v1+json");
    let (_folder, layout) = open(&with_index(&["a", "c", "d"], &[containerd, tag, again, attestation, chart]));
    let names: Vec<_> = layout.images().iter().map(|image| image.names.join(" ")).collect();
    assert_eq!(names, ["docker.io/library/tool:2 2 docker.io/library/tool:3", "1.0"]);
    for (wanted, label) in [("tool:2", "c"), ("docker.io/library/tool:3", "c"), ("tool", "c"), ("2", "c"), ("1.0", "a")]
    {
        let found = image(&layout, Some(wanted)).unwrap();
        assert!(found.config.bytes.ends_with(config(label).to_string().as_bytes()), "{wanted}");
    }
    let error = layout.select(None).unwrap_err().to_string();
    assert!(
        error.contains("has 2 images that match (docker.io/library/tool:2, 1.0); name one, as in oci-dir://"),
        "{error}"
    );
    let error = layout.select(Some("tool:4")).unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
}

#[test]
fn an_image_is_found_by_the_digest_of_its_manifest_or_its_config() {
    let nested = index(&[entry("b")]).to_string();
    let outer = descriptor("application/vnd.oci.image.index.v1+json", &nested);
    let mut files = with_index(&["a", "b"], &[entry("a"), outer]);
    files.push((format!("blobs/sha256/{}", hex(&nested)), nested.clone().into_bytes()));
    let (_folder, layout) = open(&files);
    for name in ["a", "b"] {
        let config = config(name).to_string();
        let manifest = Digest::of(manifest(&config).to_string().as_bytes());
        for wanted in [manifest.to_string(), Digest::of(config.as_bytes()).to_string(), format!("app:1@{manifest}")] {
            assert_eq!(layout.select(Some(&wanted)).unwrap().digest, manifest, "{name} {wanted}");
        }
    }
    assert_eq!(layout.select(Some(Digest::of(nested.as_bytes()).as_str())).unwrap().bytes, nested);
    for other in [Digest::of(b"other"), Digest::of(LAYERS[0].as_bytes())] {
        let error = layout.select(Some(other.as_str())).unwrap_err();
        assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
    }
}

#[test]
fn images_without_names_that_differ_in_platform_are_one() {
    let on = |name: &str, architecture: &str| {
        let mut entry = entry(name);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let (_folder, layout) = open(&with_index(&["a", "b"], &[on("a", "amd64"), on("b", "arm64")]));
    let raw = layout.select(None).unwrap();
    assert!(matches!(Manifest::parse(&raw.bytes, None), Ok(Manifest::Index(entries)) if entries.len() == 2));
    assert_eq!(layout.manifest(&raw.digest).unwrap().bytes, raw.bytes);
    assert!(layout.image(raw).is_err(), "an index is not one image");
    let (_folder, layout) = open(&with_index(&["a", "b"], &[on("a", "amd64"), on("b", "amd64")]));
    assert!(matches!(layout.select(None), Err(SourceError::Ambiguous { .. })));
}

#[test]
fn a_blob_that_is_not_there_is_missed_only_when_it_is_wanted() {
    let mut files = with_index(&["a"], &[entry("a"), entry("elsewhere")]);
    let lost = format!("blobs/sha256/{}", hex(LAYERS[1]));
    files.retain(|(name, _)| *name != lost);
    let (_folder, layout) = open(&files);
    assert_eq!(layout.images().len(), 2);
    let digest = entry("a")["digest"].as_str().unwrap().to_owned();
    let found = image(&layout, Some(&digest)).unwrap();
    assert_eq!(found.layers[0].open().unwrap().length(), LAYERS[0].len() as u64);
    for error in [
        found.layers[1].open().unwrap_err(),
        layout.manifest(&entry("elsewhere")["digest"].as_str().unwrap().parse().unwrap()).unwrap_err(),
    ] {
        assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
        assert!(error.to_string().contains("was it saved for another platform?"), "{error}");
    }
}

#[test]
fn manifests_and_configs_are_checked_and_sizes_compared() {
    let replaced = |bytes: &str, by: &str| {
        let mut files = layout(&["a"]);
        let name = format!("blobs/sha256/{}", hex(bytes));
        files.iter_mut().find(|(file, _)| *file == name).unwrap().1 = by.as_bytes().to_vec();
        let (_folder, layout) = open(&files);
        image(&layout, None).and_then(|image| contents(&image))
    };
    let config = config("a").to_string();
    let manifest = manifest(&config).to_string();
    for (bytes, by) in [
        (manifest.as_str(), manifest.replace("amd64", "arm64").replace(":2", ":3")),
        (&manifest, format!("{manifest} ")),
        (&config, config.replace("amd64", "arm64")),
        (&config, config[1..].to_owned()),
        (LAYERS[0], "short".to_owned()),
    ] {
        let error = replaced(bytes, &by).unwrap_err();
        assert!(matches!(error, SourceError::Mismatch { .. }), "{error}");
    }
}

#[test]
fn what_is_no_layout_is_refused() {
    let problem = |files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(name, data)| ((*name).to_owned(), data.as_bytes().to_vec())).collect();
        let (_folder, path) = folder(&files);
        Layout::open(&path).err().unwrap().to_string()
    };
    let marker = (MARKER, r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert!(problem(&[]).contains("it is not an OCI layout: it has no index.json"));
    assert!(problem(&[marker]).contains("it has no index.json"));
    assert!(problem(&[(MARKER, r#"{"imageLayoutVersion":"2.0.0"}"#)]).contains("of version 2.0.0, not 1.0.0"));
    assert!(problem(&[(MARKER, "{}")]).contains("oci-layout cannot be read"));
    assert!(problem(&[marker, (INDEX, "{")]).contains("index.json cannot be read"));
    assert!(problem(&[marker, (INDEX, "{}")]).contains("index.json cannot be read"));
    assert!(problem(&[marker, (INDEX, &manifest("{}").to_string())]).contains("index.json is not an image index"));
    let climbing = index(&[json!({"mediaType": "", "digest": "sha256:../../../etc/passwd", "size": 1})]).to_string();
    assert!(problem(&[marker, (INDEX, &climbing)]).contains("is not a digest"));
}

#[test]
fn a_blob_may_not_be_a_link_out_of_the_folder() {
    let (folder, layout) = open(&layout(&["a"]));
    let blob = folder.path().join(format!("blobs/sha256/{}", hex(LAYERS[0])));
    fs::remove_file(&blob).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &blob).unwrap();
    let error = image(&layout, None).unwrap().layers[0].open().unwrap_err().to_string();
    assert!(error.contains("leads out of the folder"), "{error}");
}

#[test]
fn a_config_that_does_not_fit_its_layers_is_refused() {
    let mut wrong = config("a");
    wrong["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
    let wrong = wrong.to_string();
    let manifest = manifest(&wrong).to_string();
    let mut files = with_index(&["a"], &[descriptor("application/vnd.oci.image.manifest.v1+json", &manifest)]);
    for blob in [wrong, manifest] {
        files.push((format!("blobs/sha256/{}", hex(&blob)), blob.into_bytes()));
    }
    let (_folder, layout) = open(&files);
    let error = image(&layout, None).err().unwrap().to_string();
    assert!(error.contains("it lists 2 layers, and its config 1 diff IDs"), "{error}");
}
