//! Labelling images in files, as the programs around us write them: what comes out is an image for them as before, with labels.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::engine::{self, NEEDS};
use crate::newer::{self, Kind, Shared};
use crate::plugin::Plugin;
use crate::registry::Registry;
use crate::tools::{NEWER_DEBIAN, at_exit, can_run, feed, run, skopeo_copy};

/// What the engine knows of an image: its config's labels, its layers, and its steps.
fn known(image: &str) -> (Value, Value, String) {
    let inspect = |field: &str| {
        let format = format!("{{{{json {field}}}}}");
        serde_json::from_slice(&run(Command::new("docker").args(["inspect", "--format", &format, image]))).unwrap()
    };
    let history = run(Command::new("docker").args(["history", "--no-trunc", "--format", "{{json .CreatedBy}}", image]));
    (inspect(".Config.Labels"), inspect(".RootFS.Layers"), String::from_utf8(history).unwrap())
}

/// A name for the engine's image that is this test's own.
fn name_of_our_own(test: &str) -> String {
    let tag = format!("docker-artifact-test-{test}:{}", std::process::id());
    run(Command::new("docker").args(["tag", &engine::built().tag, &tag]));
    at_exit(&format!("docker rmi --no-prune {tag}"));
    tag
}

#[track_caller]
fn label(plugin: &Plugin, arguments: &[&str]) {
    run(plugin.docker().args(["artifact", "label", "--quiet"]).args(arguments));
}

/// What `get` writes of the artifact `true`, which is `/bin/true`.
fn get_true(plugin: &Plugin, image: &str) -> Vec<u8> {
    run(plugin.get(image).args(["true", "--quiet", "-o", "-"]))
}

/// `/usr/bin/true` of the engine's image.
fn expected() -> Vec<u8> {
    run(Command::new("docker").args([
        "run",
        "--rm",
        "--network",
        "none",
        &engine::built().tag,
        "/usr/bin/cat",
        "/usr/bin/true",
    ]))
}

#[test]
fn a_saved_image_is_labelled_loaded_pushed_and_then_gets_its_index() {
    if !can_run("a_saved_image_is_labelled_loaded_pushed_and_then_gets_its_index", NEEDS) {
        return;
    }
    let plugin = Plugin::installed();
    let tag = name_of_our_own("label-saved");
    let before = known(&tag);
    let saved = run(Command::new("docker").args(["save", &tag]));
    let labelled = feed(plugin.docker().args(["artifact", "label", "-", "/bin/true", "-o", "-"]), &saved);
    assert!(labelled.status.success(), "{}", String::from_utf8_lossy(&labelled.stderr));
    let loaded = feed(plugin.docker().arg("load"), &labelled.stdout);
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));

    let after = known(&tag);
    assert_eq!((&after.1, &after.2), (&before.1, &before.2));
    assert!(after.0["org.docker-artifact.true"].is_string(), "{}", after.0);
    run(plugin.docker().args(["run", "--rm", "--network", "none", &tag, "/bin/true"]));

    let registry = Registry::open();
    let reference = engine::push(&tag, &registry, "label-saved:1");
    let listed = || String::from_utf8(run(plugin.docker().args(["artifact", "ls", &reference]))).unwrap();
    assert!(!listed().contains("range"), "{}", listed());
    label(&plugin, &[&reference]);
    assert!(listed().contains("range"), "{}", listed());
    assert!(get_true(&plugin, &reference) == expected());
}

#[test]
fn an_image_of_the_engine_is_labelled_there_pushed_and_then_gets_its_index() {
    if !can_run("an_image_of_the_engine_is_labelled_there_pushed_and_then_gets_its_index", NEEDS) {
        return;
    }
    let plugin = Plugin::installed();
    let tag = name_of_our_own("label-engine");
    let before = known(&tag);
    let image = format!("local://{tag}");
    label(&plugin, &[&image, "/bin/true"]);
    let after = known(&tag);
    assert_eq!((&after.1, &after.2), (&before.1, &before.2));
    assert!(after.0["org.docker-artifact.true"].is_string(), "{}", after.0);
    run(plugin.docker().args(["run", "--rm", "--network", "none", &tag, "/bin/true"]));
    assert!(get_true(&plugin, &image) == expected());
    // The same once more makes no other image.
    label(&plugin, &[&image]);
    let id = |name: &str| run(Command::new("docker").args(["inspect", "--format", "{{.Id}}", name]));
    let labelled = id(&tag);
    assert!(id(&engine::built().tag) != labelled, "the image before keeps its other name");

    let registry = Registry::open();
    let reference = engine::push(&tag, &registry, "label-engine:1");
    let listed = || String::from_utf8(run(plugin.docker().args(["artifact", "ls", &reference]))).unwrap();
    assert!(!listed().contains("range"), "{}", listed());
    label(&plugin, &[&reference]);
    assert!(listed().contains("range"), "{}", listed());
    assert!(get_true(&plugin, &reference) == expected());
}

#[test]
fn todays_engine_labels_and_loads_whichever_store_it_has() {
    let test = "todays_engine_labels_and_loads_whichever_store_it_has";
    if !can_run(test, &[NEEDS, &[NEWER_DEBIAN]].concat()) {
        return;
    }
    let plugin = Plugin::installed();
    let shared = Shared::new();
    let path = |name: &str| shared.here(name).display().to_string();
    for (kind, test) in [(Kind::Classic, "label-classic"), (Kind::Containerd, "label-containerd")] {
        let tag = shared.save(test);
        newer::load(kind, &shared.there("saved.tar"));
        let inspect = |field: &str| -> Value {
            let format = format!("{{{{json {field}}}}}");
            serde_json::from_slice(&run(newer::docker(kind).args(["inspect", "--format", &format, &tag]))).unwrap()
        };
        let layers = inspect(".RootFS.Layers");
        let label = |arguments: &[&str]| {
            let host = newer::engine(kind);
            run(plugin.docker().env("DOCKER_HOST", host).args(["artifact", "label", "--quiet"]).args(arguments));
        };
        label(&[&format!("local://{tag}"), "/bin/true"]);
        let labelled = inspect(".Config.Labels");
        assert!(labelled["org.docker-artifact.true"].is_string(), "{labelled}");
        assert_eq!(inspect(".RootFS.Layers"), layers);

        run(newer::docker(kind).args(["save", "--output", &shared.there("saved.tar"), &tag]));
        label(&[&path("saved.tar"), "kept=/srv/kept", "-o", &path("labelled.tar")]);
        newer::load(kind, &shared.there("labelled.tar"));
        assert!(inspect(".Config.Labels")["org.docker-artifact.kept"].is_string());
        assert_eq!(inspect(".RootFS.Layers"), layers);
        assert!(get_true(&plugin, &path("labelled.tar")) == expected());
        run(newer::docker(kind).args(["rmi", &tag]));
    }
}

#[test]
fn what_skopeo_wrote_is_labelled_and_read_by_skopeo() {
    if !can_run("what_skopeo_wrote_is_labelled_and_read_by_skopeo", &[NEEDS, &["skopeo"]].concat()) {
        return;
    }
    let (work, plugin) = (TempDir::new().unwrap(), Plugin::installed());
    let path = |name: &str| work.path().join(name).display().to_string();
    let from = format!("docker-daemon:{}", engine::built().tag);
    let none: &[&str] = &[];
    for (number, (options, scheme, name)) in [
        (none, "docker-archive", ":a/b:1"),
        (none, "oci-archive", ":1"),
        (none, "oci", ":1"),
        (&["--dest-compress-format", "zstd"], "oci", ":1"),
        (&["--dest-oci-accept-uncompressed-layers"], "oci-archive", ":1"),
    ]
    .into_iter()
    .enumerate()
    {
        let (file, labelled) = (path(&format!("{number}.tar")), path(&format!("{number}-labelled.tar")));
        skopeo_copy(options, &from, &format!("{scheme}:{file}{name}"));
        label(&plugin, &[&file, "/bin/true", "-o", &labelled]);
        assert!(get_true(&plugin, &labelled) == expected(), "{scheme}");
        let again = path(&format!("{number}-again"));
        skopeo_copy(none, &format!("{scheme}:{labelled}{name}"), &format!("oci:{again}:1"));
        assert!(get_true(&plugin, &again) == expected(), "{scheme}");
        let renamed = path(&format!("{number}-renamed.tar"));
        label(&plugin, &[&file, "/bin/true", "-o", &renamed, "--tag", "x/y:2"]);
        let new_name = if scheme == "docker-archive" { ":x/y:2" } else { ":2" };
        skopeo_copy(none, &format!("{scheme}:{renamed}{new_name}"), &format!("oci:{again}:2"));
        assert!(Path::new(&again).join("index.json").is_file());
    }
}
