use serde_json::{Value, json};

use super::super::fixture::{LAYERS, Tar, config, docker, everything, hex, id, layers, open};
use super::super::{Archive, Selected};
use super::*;
use crate::support::block::Block;

fn image(bytes: &[u8], wanted: Option<&str>) -> Result<LocalImage, SourceError> {
    match open(bytes)?.select(wanted)? {
        Selected::Image(image) => Ok(image),
        Selected::Manifest(_) => panic!("Docker's form has no manifest"),
    }
}

fn problem(tar: Tar) -> String {
    image(&tar.end(), None).err().unwrap().to_string()
}

/// An archive with this `manifest.json`, the layers `a` and `b`, and `config.json`.
fn archive(manifest: &Value) -> Tar {
    Tar::default()
        .json("manifest.json", manifest)
        .json("config.json", &config("app"))
        .file("a", LAYERS[0])
        .file("b", LAYERS[1])
}

#[test]
fn an_image_has_its_config_and_its_layers_bottom_first() {
    let image = image(&docker().end(), None).unwrap();
    assert_eq!(image.names, ["app:1"]);
    assert!(image.manifest.is_none(), "there is none to invent");
    assert_eq!(image.config.digest, Some(Digest::of(config("app").to_string().as_bytes())));
    assert_eq!(image.config.digest, Some(Digest::of(&image.config.bytes)));
    assert_eq!(layers(&image), LAYERS);
    for (layer, content) in image.layers.iter().zip(LAYERS) {
        assert_eq!((layer.blob.as_ref(), layer.size), (None, content.len() as u64));
        assert_eq!(layer.diff_id.as_ref().unwrap().0, Digest::of(content.as_bytes()));
    }
    assert_eq!(image.layers[0].name(), format!("{}/layer.tar", id('a')));
}

#[test]
fn nothing_is_read_but_headers_and_what_is_needed() {
    let tar = docker().end();
    let archive = open(&tar).unwrap();
    archive.select(None).unwrap();
    let manifest = json!([{"Config": format!("{}.json", hex(config("app").to_string())), "RepoTags": ["app:1"],
        "Layers": [format!("{}/layer.tar", id('a')), format!("{}/layer.tar", id('b'))]}]);
    let json = manifest.to_string().len() + config("app").to_string().len();
    assert_eq!(archive.bytes_read(), (6 + 2) * 512 + json as u64);
}

#[test]
fn members_may_come_in_any_order_and_layers_may_be_links() {
    let names = [format!("{}/layer.tar", id('a')), format!("{}/layer.tar", id('b'))];
    let manifest = json!([{"Config": "config.json", "Layers": names}]);
    let tar = Tar::default()
        .link(&names[0], b'2', "../later.tar")
        .json("manifest.json", &manifest)
        .file("later.tar", LAYERS[0])
        .file("other", LAYERS[1])
        .link(&names[1], b'1', "other")
        .json("config.json", &config("app"));
    assert_eq!(layers(&image(&tar.end(), None).unwrap()), LAYERS);
}

#[test]
fn one_of_several_images_is_named() {
    let manifest = json!([
        {"Config": "config.json", "RepoTags": ["app:1", "app:latest"], "Layers": ["a", "b"]},
        {"Config": "other.json", "RepoTags": ["registry.test/app:1"], "Layers": ["a", "b"]},
        {"Config": "other.json", "RepoTags": ["registry.test/app:2"], "Layers": ["a", "b"]},
        {"Config": "nameless.json", "RepoTags": null, "Layers": ["a", "b"]},
    ]);
    let tar = archive(&manifest).json("other.json", &config("other")).end();
    let names = |wanted| image(&tar, Some(wanted)).map(|image| image.names);
    for wanted in ["app", "app:1", "docker.io/library/app:latest"] {
        assert_eq!(names(wanted).unwrap(), ["app:1", "app:latest"], "{wanted}");
    }
    assert_eq!(names("registry.test/app:2").unwrap(), ["registry.test/app:1", "registry.test/app:2"]);
    assert!(matches!(names("app:2"), Err(SourceError::NotFound { .. })));
    let error = image(&tar, None).err().unwrap();
    assert!(matches!(error, SourceError::Ambiguous { .. }));
    assert_eq!(
        error.to_string(),
        "x.tar has 3 images that match (app:1, registry.test/app:1, one without a name); \
         name one, as in archive://x.tar#app:1"
    );
}

#[test]
fn an_image_is_found_by_its_config_digest() {
    let tar = docker().end();
    let digest = Digest::of(config("app").to_string().as_bytes());
    assert_eq!(image(&tar, Some(digest.as_str())).unwrap().names, ["app:1"]);
    assert!(image(&tar, Some(Digest::of(b"other").as_str())).is_err());
}

#[test]
fn a_name_that_promises_a_digest_is_checked() {
    let other = hex("other");
    for name in [format!("{other}.json"), format!("sha256:{other}"), format!("blobs/sha256/{other}")] {
        let manifest = json!([{"Config": name, "Layers": ["a", "b"]}]);
        let tar = archive(&manifest).json(&name, &config("app")).end();
        let error = image(&tar, None).err().unwrap();
        assert!(matches!(error, SourceError::Mismatch { .. }), "{name}: {error}");
    }
    let plain = image(&archive(&json!([{"Config": "config.json", "Layers": ["a", "b"]}])).end(), None).unwrap();
    assert_eq!(plain.config.digest, None, "nothing vouches for it");
}

#[test]
fn a_blobs_name_is_its_digest_and_a_source_that_agrees_describes_it() {
    let blobs = LAYERS.map(|layer| format!("blobs/sha256/{}", hex(layer)));
    let diff_ids = LAYERS.map(|layer| Digest::of(layer.as_bytes()).to_string());
    let tar = |size: usize| {
        let sources = json!({
            &diff_ids[0]: {"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": size, "digest": diff_ids[0]},
            // A foreign layer's: of a blob that is elsewhere.
            &diff_ids[1]: {"mediaType": "foreign", "size": 5, "digest": Digest::of(b"elsewhere").to_string()},
        });
        let manifest = json!([{"Config": "config.json", "Layers": blobs, "LayerSources": sources}]);
        archive(&manifest).file(&blobs[0], LAYERS[0]).file(&blobs[1], LAYERS[1]).end()
    };
    let image_of = |size| image(&tar(size), None);
    let whole = image_of(LAYERS[0].len()).unwrap();
    let described = whole.layers.iter().map(|layer| (layer.blob.clone(), layer.media_type.as_deref()));
    let expected = [Some("application/vnd.oci.image.layer.v1.tar"), None];
    assert!(described.eq(LAYERS.iter().zip(expected).map(|(layer, kind)| (Some(Digest::of(layer.as_bytes())), kind))));
    assert!(matches!(image_of(1), Err(SourceError::Mismatch { .. })));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let error = problem(archive(&json!([{"Config": "config.json", "Layers": ["a"]}])));
    assert!(error.contains("lists 1 layers, and the config config.json 2 diff IDs"), "{error}");
    let error = problem(archive(&json!([{"Config": "config.json", "Layers": null}])));
    assert!(error.contains("lists 0 layers"), "{error}");
    let error = problem(archive(&json!([{"Config": "config.json", "Layers": ["a", "../../etc/passwd"]}])));
    assert!(error.contains("names ../../etc/passwd, which it does not hold"), "{error}");
    let error = problem(archive(&json!([{"Config": "none.json", "Layers": []}])));
    assert!(error.contains("names none.json, which it does not hold"), "{error}");
    let error = problem(archive(&json!([{"Config": "a", "Layers": []}])));
    assert!(error.contains("the config a cannot be read"), "{error}");
    for manifest in [json!({}), json!([{"Layers": []}]), json!([1]), json!("x")] {
        let error = problem(archive(&manifest));
        assert!(error.contains("manifest.json cannot be read"), "{error}");
    }
    let deep = Tar::default().file("manifest.json", "[".repeat(100_000));
    assert!(problem(deep).contains("manifest.json cannot be read"));
    let large = Tar::default().member(Block::new("manifest.json", b'0', 9 << 20), vec![b' '; 9 << 20]);
    assert!(problem(large).contains("more than any manifest or config may have"));
    assert!(problem(archive(&json!([]))).contains("it holds none"));
}

#[test]
fn an_image_without_layers_is_one() {
    let empty = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": null}});
    let tar = Tar::default().json("manifest.json", &json!([{"Config": "c", "RepoTags": null, "Layers": null}]));
    assert!(image(&tar.json("c", &empty).end(), None).unwrap().layers.is_empty());
}

#[test]
fn layers_are_read_side_by_side() {
    let tar = docker().end();
    let archive: Archive = open(&tar).unwrap();
    let whole = everything(&archive, None).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(everything(&archive, None).unwrap(), whole));
        }
    });
}
