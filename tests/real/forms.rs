//! One image in every form in which today's tools keep one in a file or folder: each is the same tree, path by path, as what `docker cp`
//! shows of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::{self, NEEDS, without_special_files};
use crate::newer::{self, Kind, Shared};
use crate::plugin::Plugin;
use crate::tools::{NEWER_DEBIAN, can_run, json_lines, run, skopeo_copy};
use crate::tree::{Metadata, Tree};
use crate::whole_image::assert_get_shows;

/// Compares every path of `image` with what the engine shows, got with and without its layers' digests being checked, got out of a pipe where
/// it is a file, and listed.
fn assert_is_the_built_image(image: &str) {
    let expected = without_special_files(&engine::built().tree);
    for options in [&[][..], &["--verify"]] {
        assert_get_shows(image, options, &expected, Metadata::Permissions, image);
    }
    let plugin = Plugin::installed();
    if Path::new(image).is_file() {
        let out = TempDir::new().unwrap();
        let mut shell = Command::new("sh");
        shell.env("DOCKER_CONFIG", plugin.config()).args([
            "-c",
            "cat \"$0\" | docker artifact get - / -q -o \"$1\"/",
            image,
        ]);
        run(shell.arg(out.path()));
        Tree::from_directory(out.path()).assert_same(
            &expected,
            Metadata::Permissions,
            &format!("{image} through a pipe"),
        );
    }
    let listed = run(plugin.docker().args(["artifact", "ls", "-a", "--format", "json", image]));
    assert_eq!(json_lines(&listed), engine::built().tree.0.len(), "ls -a {image}");
}

#[test]
fn what_todays_engine_saves_is_the_same_tree_from_either_of_its_stores() {
    let test = "what_todays_engine_saves_is_the_same_tree_from_either_of_its_stores";
    if !can_run(test, &[NEEDS, &[NEWER_DEBIAN]].concat()) {
        return;
    }
    let shared = Shared::new();
    let tag = &shared.save("stores");
    for (store, name) in [(Kind::Classic, "classic.tar"), (Kind::Containerd, "containerd.tar")] {
        newer::load(store, &shared.there("saved.tar"));
        run(newer::docker(store).args(["save", "--output", &shared.there(name), tag]));
        run(newer::docker(store).args(["rmi", tag]));
        let file = shared.here(name);
        let members = run(Command::new("tar").arg("-tf").arg(&file));
        let members = String::from_utf8(members).unwrap();
        assert!(members.contains("oci-layout") && members.contains("manifest.json"), "{members}");
        assert_is_the_built_image(&file.display().to_string());
    }
}

#[test]
fn what_buildx_exports_is_the_same_tree() {
    if !can_run("what_buildx_exports_is_the_same_tree", &[NEEDS, &[NEWER_DEBIAN]].concat()) {
        return;
    }
    let shared = Shared::new();
    let tag = &shared.save("buildx");
    newer::load(Kind::Containerd, &shared.there("saved.tar"));
    fs::create_dir(shared.here("context")).unwrap();
    fs::write(shared.here("context/Dockerfile"), format!("FROM {tag}\nLABEL built=again\n")).unwrap();
    for kind in ["oci", "docker"] {
        let name = format!("{kind}.tar");
        let output = format!("type={kind},dest={},name=a.example/b:1", shared.there(&name));
        let build = ["buildx", "build", "--quiet", "--provenance=false", "--output", &output, &shared.there("context")];
        run(newer::docker(Kind::Containerd).args(build));
        assert_is_the_built_image(&shared.here(&name).display().to_string());
    }
    run(newer::docker(Kind::Containerd).args(["rmi", tag]));
}

#[test]
fn what_podman_and_buildah_write_is_the_same_tree() {
    if !can_run("what_podman_and_buildah_write_is_the_same_tree", &[NEEDS, &[NEWER_DEBIAN]].concat()) {
        return;
    }
    let shared = Shared::new();
    let tag = &shared.save("podman");
    run(newer::with_store("podman").args(["load", "--quiet", "--input", &shared.there("saved.tar")]));
    for (format, name) in
        [("docker-archive", "podman.tar"), ("oci-archive", "podman-oci.tar"), ("oci-dir", "podman-dir")]
    {
        run(newer::with_store("podman").args([
            "save",
            "--quiet",
            "--format",
            format,
            "--output",
            &shared.there(name),
            tag,
        ]));
        assert_is_the_built_image(&shared.here(name).display().to_string());
    }
    for (transport, name) in
        [("oci-archive", "buildah.tar"), ("docker-archive", "buildah-docker.tar"), ("oci", "buildah")]
    {
        let place = format!("{transport}:{}:a.example/b:1", shared.there(name));
        run(newer::with_store("buildah").args(["push", "--quiet", tag, &place]));
        assert_is_the_built_image(&shared.here(name).display().to_string());
    }
    run(newer::with_store("podman").args(["rmi", "--force", tag]));
}

#[test]
fn what_a_newer_skopeo_writes_is_the_same_tree() {
    if !can_run("what_a_newer_skopeo_writes_is_the_same_tree", &[NEEDS, &[NEWER_DEBIAN]].concat()) {
        return;
    }
    let shared = Shared::new();
    shared.save("skopeo");
    let from = format!("docker-archive:{}", shared.there("saved.tar"));
    for (options, to, name) in [
        (&["--dest-compress-format", "zstd:chunked"][..], "oci", "chunked"),
        (&["--dest-compress-format", "zstd"], "oci-archive", "zstd.tar"),
        (&[], "docker-archive", "docker.tar"),
    ] {
        let to = format!("{to}:{}:a.example/b:1", shared.there(name));
        let mut skopeo = newer::command("skopeo");
        run(skopeo.args(["--insecure-policy", "copy", "--quiet"]).args(options).args([&from, &to]));
        assert_is_the_built_image(&shared.here(name).display().to_string());
    }
}

#[test]
fn what_umoci_wrote_is_what_it_unpacks() {
    if !can_run("what_umoci_wrote_is_what_it_unpacks", &[NEEDS, &["skopeo", "umoci"]].concat()) {
        return;
    }
    let work = TempDir::new().unwrap();
    let path = |name: &str| work.path().join(name).display().to_string();
    skopeo_copy::<&str>(&[], &format!("docker-daemon:{}", engine::built().tag), &format!("oci:{}:1", path("layout")));
    let image = format!("{}:1", path("layout"));
    let umoci = |arguments: &[&str]| drop(run(Command::new("umoci").args(arguments)));
    umoci(&["unpack", "--image", &image, &path("bundle")]);
    // A layer of umoci's own: something new, something gone, something replaced.
    let rootfs = work.path().join("bundle/rootfs/srv");
    fs::write(rootfs.join("new"), "by umoci").unwrap();
    fs::remove_dir_all(rootfs.join("merged")).unwrap();
    fs::remove_file(rootfs.join("kept/chmod")).unwrap();
    fs::create_dir(rootfs.join("kept/chmod")).unwrap();
    umoci(&["repack", "--image", &format!("{}:2", path("layout")), &path("bundle")]);
    umoci(&["unpack", "--image", &format!("{}:2", path("layout")), &path("again")]);

    let expected = Tree::from_directory(&work.path().join("again/rootfs"));
    assert!(expected.0.contains_key(b"srv/new".as_slice()) && !expected.0.contains_key(b"srv/merged".as_slice()));
    let image = format!("oci-dir://{}:2", path("layout"));
    let expected = without_special_files(&expected);
    assert_get_shows(&image, &[], &expected, Metadata::Permissions, "what umoci repacked");
}

/// Docker before 1.10 had no digests: a folder for each layer, with the `json` of the image that ends there, which names its
/// parent, and `repositories`, which names the uppermost (docker-image-spec v1).
#[test]
fn the_form_from_before_docker_1_10_is_the_same_tree() {
    if !can_run("the_form_from_before_docker_1_10_is_the_same_tree", NEEDS) {
        return;
    }
    let work = TempDir::new().unwrap();
    let (today, before) = (work.path().join("today"), work.path().join("before"));
    fs::create_dir(&today).unwrap();
    fs::create_dir(&before).unwrap();
    let saved = work.path().join("saved.tar");
    run(Command::new("docker").arg("save").arg("--output").arg(&saved).arg(&engine::built().tag));
    run(Command::new("tar").arg("-xf").arg(&saved).arg("-C").arg(&today));
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let manifest = read(&today.join("manifest.json"));
    let config = read(&today.join(manifest[0]["Config"].as_str().unwrap()));

    let mut parent: Option<String> = None;
    let layers = manifest[0]["Layers"].as_array().unwrap();
    for (number, layer) in layers.iter().enumerate() {
        let id = format!("{:064x}", number + 1);
        let folder = before.join(&id);
        fs::create_dir(&folder).unwrap();
        fs::copy(today.join(layer.as_str().unwrap()), folder.join("layer.tar")).unwrap();
        fs::write(folder.join("VERSION"), "1.0").unwrap();
        let mut image = json!({ "id": id, "created": "2015-01-01T00:00:00Z", "os": "linux", "architecture": "amd64" });
        if let Some(parent) = parent {
            image["parent"] = json!(parent);
        }
        if number + 1 == layers.len() {
            image["config"] = config["config"].clone();
        }
        fs::write(folder.join("json"), image.to_string()).unwrap();
        parent = Some(id);
    }
    let top = BTreeMap::from([("1", parent.unwrap())]);
    fs::write(before.join("repositories"), json!({ "team/app": top }).to_string()).unwrap();
    let file = work.path().join("before.tar");
    run(Command::new("tar").arg("-cf").arg(&file).arg("-C").arg(&before).arg("."));

    let expected = without_special_files(&engine::built().tree);
    assert_get_shows(&file.display().to_string(), &[], &expected, Metadata::Permissions, "the form before 1.10");
}
