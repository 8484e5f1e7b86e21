//! `docker artifact label` of an OCI layout: a new folder with the labels, and what refers to an image in a layout.

use std::fs;
use std::path::Path;

use docker_artifact::artifact::label::Request;
use docker_artifact::artifact::range_index::ARTIFACT_TYPE;
use serde_json::{Value, json};

use crate::label_places::{TAG, config_in, members, mixed, names_in, tar_of_folder, write};
use crate::support::archive::{Form, files, write_layout};
use crate::support::labelled::*;
use crate::support::*;

#[test]
fn a_saved_image_that_was_unpacked_is_a_layout_whose_other_list_changes_too() {
    let dir = WorkDir::new();
    for (name, bytes) in files(&mixed().pack(), Form::Docker25, TAG) {
        let path = dir.path("saved").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    artifact(&["label", "./saved", "/bin/tool", "-o", "new"]).run_in(&dir).exits(0);
    fs::write(dir.path("y.tar"), tar_of_folder(&dir.path("new"))).unwrap();
    let config = config_in(&members(&dir.read("y.tar")));
    assert!(config["config"]["Labels"]["org.docker-artifact.tool"].is_string());
}

#[test]
fn a_layout_is_copied_into_a_new_folder() {
    let dir = WorkDir::new();
    write_layout(&mixed(), &dir.path("layout"), TAG);
    fs::write(dir.path("layout/notes"), "not the layout's").unwrap();
    fs::write(dir.path("file"), "").unwrap();
    std::os::unix::fs::symlink("layout", dir.path("link")).unwrap();
    let before = listing(&dir.path("layout"));
    for output in ["new", "slash///", "empty"] {
        if output == "empty" {
            fs::create_dir(dir.path("empty")).unwrap();
        }
        let run = artifact(&["label", "./layout", "/bin/tool", "-o", output]).run_in(&dir).exits(0);
        run.says(&format!(" -> oci-dir://{output}@sha256:"));
        let folder = format!("./{}", output.trim_end_matches('/'));
        assert_eq!(names_in(&dir, &folder), ["tool"]);
        let got = artifact(&["get", &format!("{folder}:1"), "tool", "-o", "-"]).run_in(&dir).exits(0);
        assert_eq!(got.out(), "hello");
        let after = listing(&dir.path(&folder));
        assert_eq!(before.len() - 1, after.len(), "{after:?}");
        let layers = mixed().pack().layers;
        for layer in &layers {
            let name = format!("{folder}/{}", blob_name(&layer.digest()));
            assert!(*dir.read(&name) == *layer.bytes);
        }
    }
    for (output, problem) in [
        ("layout", "is a folder that is not empty"),
        ("new", "is a folder that is not empty"),
        ("file", "is a file; a copy of a layout is a folder"),
        ("layout/new", "is inside the layout that is read"),
        ("link/blobs/new/", "is inside the layout that is read"),
        ("-", "a layout is a folder, and cannot be written to standard output"),
    ] {
        artifact(&["label", "./layout", "/bin/tool", "-o", output]).run_in(&dir).exits(2).says(problem);
    }
    assert_eq!(listing(&dir.path("layout")), before);
}

#[test]
fn every_platform_that_is_there_is_labelled_and_one_that_is_not_stays_as_it_is() {
    let index =
        Index::new().image(&mixed().platform("linux/amd64")).image(&mixed().platform("linux/arm64")).attestation();
    let dir = WorkDir::new();
    let packed = index.pack();
    let image = write(&dir, &packed, Form::Oci);
    artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(0).says("signatures");
    for platform in ["linux/amd64", "linux/arm64"] {
        let got = artifact(&["get", "y.tar", "tool", "-o", "-", "--platform", platform]).run_in(&dir).exits(0);
        assert_eq!(got.out(), "hello");
    }
    let one = artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar", "--platform", "linux/arm64"]);
    one.run_in(&dir).exits(0);
    let listed = |platform| artifact(&["ls", "-q", "y.tar", "--platform", platform]).run_in(&dir).exits(0).out();
    assert_eq!((listed("linux/amd64").as_str(), listed("linux/arm64").as_str()), ("", "tool\n"));

    // As an engine saves an image of which it holds one platform: some of the others' manifests, and none of their layers.
    for lost in [&packed.children[1].manifest.digest(), &packed.children[1].layers[1].digest()] {
        let all = files(&packed, Form::Oci, TAG);
        let kept = all.iter().filter(|(name, _)| *name != blob_name(lost));
        fs::write(&image, tar_of(kept.map(|(name, bytes)| file(name, bytes)))).unwrap();
        let shared = packed.children[0].layers.iter().any(|layer| layer.digest() == *lost);
        let run = artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar", "--no-cache"]).run_in(&dir);
        if shared {
            run.exits(3);
            continue;
        }
        run.exits(0).says("for linux/arm64 is listed, but its content is not there; it stays as it is");
        assert_eq!(listed("linux/amd64"), "tool\n");
        let asked = artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar", "--platform", "linux/arm64"]);
        asked.run_in(&dir).exits(3).says("does not have it");
    }
}

#[test]
fn an_image_that_is_named_by_its_digest_within_an_index_is_labelled_there() {
    let dir = WorkDir::new();
    let index = Index::new().image(&mixed().platform("linux/amd64")).image(&mixed().platform("linux/arm64"));
    let packed = index.pack();
    write(&dir, &packed, Form::Oci);
    let inner = packed.children[1].digest();
    artifact(&["label", &format!("x.tar#{inner}"), "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(0);
    let listed = |platform| artifact(&["ls", "-q", "y.tar", "--platform", platform]).run_in(&dir).exits(0).out();
    assert_eq!((listed("linux/amd64").as_str(), listed("linux/arm64").as_str()), ("", "tool\n"));
}

/// How the descriptor of a range index is listed: entries of `index.json`, and of a list under the subject's tag.
type List = fn(&Value, &str) -> (Vec<Value>, Vec<Value>);

/// Copies what the registry has of `team/app:1`, and of the range index beside it, into a layout; `list` says how that is listed.
fn layout_of(registry: &Registry, image: &Packed, directory: &Path, list: List) {
    let put = |digest: &str, bytes: &[u8]| {
        let path = directory.join(blob_name(digest));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let manifest = fetch(registry, "team/app/manifests/1");
    let document: Value = serde_json::from_slice(&manifest).unwrap();
    let (digest, index) = index_of(registry);
    let index_bytes = fetch(registry, &format!("team/app/manifests/{digest}"));
    let descriptors = [&document["config"], &index["config"]].into_iter();
    let parts = index["layers"].as_array().unwrap().iter();
    for descriptor in descriptors.chain(parts) {
        let digest = descriptor["digest"].as_str().unwrap();
        put(digest, &fetch(registry, &format!("team/app/blobs/{digest}")));
    }
    image.layers.iter().for_each(|layer| put(&layer.digest(), &layer.bytes));
    put(&sha256(&manifest), &manifest);
    put(&digest, &index_bytes);
    let entry =
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": index_bytes.len()});
    let (mut listed, by_tag) = list(&entry, &sha256(&manifest));
    if !by_tag.is_empty() {
        let bytes = json!({"schemaVersion": 2, "manifests": by_tag}).to_string().into_bytes();
        put(&sha256(&bytes), &bytes);
        listed.push(json!({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": sha256(&bytes), "size": bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": sha256(&manifest).replace(':', "-")}}));
    }
    listed.push(json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256(&manifest),
        "size": manifest.len(), "annotations": {"org.opencontainers.image.ref.name": "1"}}));
    let index = json!({"schemaVersion": 2, "manifests": listed});
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn a_range_index_that_came_along_into_a_layout_is_used_there() {
    let registry = Registry::start();
    let packed = image().pack();
    let reference = registry.push("team/app:1", &packed);
    label_as(&reference, &[("tool", "/bin/tool")]);
    // As oras lists it, with the type and without; as regctl does; and both at once.
    let lists: [List; 4] = [
        |entry, _| {
            (
                vec![
                    json!({"mediaType": entry["mediaType"], "digest": entry["digest"], "size": entry["size"], "artifactType": ARTIFACT_TYPE}),
                ],
                vec![],
            )
        },
        |entry, _| (vec![entry.clone()], vec![]),
        |entry, _| (vec![], vec![entry.clone()]),
        |entry, _| (vec![entry.clone()], vec![entry.clone()]),
    ];
    for (number, list) in lists.into_iter().enumerate() {
        let dir = WorkDir::new();
        layout_of(&registry, &packed, &dir.path("layout"), list);
        let read = artifact(&["ls", "./layout", "--format", "{{.Read}}"]).run_in(&dir).exits(0);
        assert!(read.out().starts_with("range"), "{number}: {}", read.out());
        let run = artifact(&["get", "./layout", "tool"]).run_in(&dir).exits(0);
        assert!(dir.read("tool") == noise(2, 200_000));
        // The layer has 8 MB.
        let fetched = run.stderr.split_once("fetched ").unwrap().1.to_owned();
        assert!(fetched.contains("kB") && fetched.find("kB") < fetched.find(" of "), "{fetched}");
        let bytes = tar_of_folder(&dir.path("layout"));
        fs::write(dir.path("x.tar"), bytes).unwrap();
        let read = artifact(&["ls", "x.tar", "--format", "{{.Read}}"]).run_in(&dir).exits(0);
        assert!(read.out().starts_with("range"), "{number}: {}", read.out());
    }
}

#[test]
fn an_index_of_another_image_in_the_layout_is_none_of_this_one() {
    let registry = Registry::start();
    let packed = image().pack();
    let reference = registry.push("team/app:1", &packed);
    label_as(&reference, &[("tool", "/bin/tool")]);
    let dir = WorkDir::new();
    layout_of(&registry, &packed, &dir.path("layout"), |entry, _| (vec![entry.clone()], vec![]));
    artifact(&["label", "./layout", "conf=/etc/app", "-o", "new"]).run_in(&dir).exits(0);
    assert_eq!(names_in(&dir, "./new:1"), ["conf", "tool"]);
    let read = artifact(&["ls", "./new:1", "--format", "{{.Read}}"]).run_in(&dir).exits(0);
    assert!(!read.out().contains("range"), "{}", read.out());
    // The image before, with its index, is there for whoever has its digest.
    let before = format!("oci-dir://new@{}", subject_of(&registry));
    let read = artifact(&["ls", &before, "--format", "{{.Read}}"]).run_in(&dir).exits(0);
    assert!(read.out().starts_with("range"), "{}", read.out());
}

#[test]
fn what_is_attached_to_an_image_in_a_layout_has_a_name_there_and_becomes_a_label() {
    let registry = Registry::start();
    let packed = image().pack();
    let reference = registry.push("team/app:1", &packed);
    try_label(&reference, Request { attach: true, ..add(&[("tool", "/bin/tool")]) }).unwrap();
    let dir = WorkDir::new();
    layout_of(&registry, &packed, &dir.path("layout"), |entry, _| (vec![], vec![entry.clone()]));
    assert_eq!(names_in(&dir, "./layout"), ["tool"]);
    artifact(&["label", "./layout", "conf=/etc/app", "-o", "new"]).run_in(&dir).exits(0);
    assert_eq!(names_in(&dir, "./new:1"), ["conf", "tool"]);
}
