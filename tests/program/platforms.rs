//! Which image of several is meant, and what is said where there is none for the platform.

use crate::support::*;
use serde_json::{Value, json};

fn tool(content: &str) -> Image {
    Image::new().layer([dir("bin"), file("bin/tool", content)])
}

/// What go-containerregistry (crane, ko, apko) writes into an ordinary entry of an index.
fn typed_as_an_image_config(entry: &mut Value) {
    entry["artifactType"] = json!("application/vnd.oci.image.config.v1+json");
}

fn typed_as_dockers_image_config(entry: &mut Value) {
    entry["artifactType"] = json!("application/vnd.docker.container.image.v1+json");
}

fn typed_as_nothing(entry: &mut Value) {
    entry["artifactType"] = json!("");
}

fn typed_as_null(entry: &mut Value) {
    entry["artifactType"] = Value::Null;
}

const EDITS: [fn(&mut Value); 4] =
    [typed_as_an_image_config, typed_as_dockers_image_config, typed_as_nothing, typed_as_null];

#[test]
fn an_index_whose_entries_have_the_artifact_type_of_an_image_config_is_read_and_labelled() {
    let registry = Registry::start();
    for (number, edit) in EDITS.into_iter().enumerate() {
        let index = Index::new()
            .image(&tool("intel").platform("linux/amd64"))
            .edit_entry(edit)
            .image(&tool("arm").platform("linux/arm64"))
            .edit_entry(edit);
        let reference = registry.push(&format!("team/app:{number}"), &index);
        let get = |what: &str| {
            ["linux/amd64", "linux/arm64"].map(|platform| {
                artifact(&["get", "--platform", platform, &reference, what, "-o", "-"]).run().exits(0).out()
            })
        };
        assert_eq!(get("/bin/tool"), ["intel", "arm"]);
        artifact(&["label", &reference, "/bin/tool"]).run().exits(0).says(" -> ");
        assert_eq!(get("tool"), ["intel", "arm"]);
    }
}

#[test]
fn a_manifest_that_has_the_artifact_type_of_an_image_config_is_an_image() {
    let registry = Registry::start();
    for (number, edit) in EDITS.into_iter().enumerate() {
        let reference = registry.push(&format!("team/app:{number}"), &tool("content").edit_manifest(edit));
        artifact(&["label", &reference, "/bin/tool"]).run().exits(0);
        assert_eq!(artifact(&["get", &reference, "tool", "-o", "-"]).run().exits(0).out(), "content");
    }
}

#[test]
fn an_entry_of_another_artifact_type_is_no_image() {
    let registry = Registry::start();
    let other: fn(&mut Value) = |entry| entry["artifactType"] = json!("application/spdx+json");
    let index = Index::new().image(&tool("sbom")).edit_entry(other).image(&tool("image"));
    let reference = registry.push("team/app:1", &index);
    assert_eq!(artifact(&["get", &reference, "/bin/tool", "-o", "-"]).run().exits(0).out(), "image");
    let alone = registry.push("team/app:2", &Index::new().image(&tool("sbom")).edit_entry(other));
    artifact(&["get", &alone, "/bin/tool"]).run().exits(3).says("there is no image at all");
}

#[test]
fn a_platform_that_was_asked_for_is_that_one_or_an_error() {
    let registry = Registry::start();
    let image = tool("intel").platform("linux/amd64").label("org.docker-artifact.tool", "/bin/tool");
    let reference = registry.push("team/app:1", &image);
    let refused = |arguments: &[&str]| {
        let run = artifact(arguments).run().exits(3);
        run.says("no image for linux/s390x; there is linux/amd64").never_says("intel");
    };
    refused(&["get", "--platform", "linux/s390x", &reference, "/bin/tool", "-o", "-"]);
    refused(&["get", "--platform", "linux/s390x", &reference, "tool", "-o", "-"]);
    refused(&["ls", "--platform", "linux/s390x", &reference]);
    refused(&["ls", "--platform", "linux/s390x", "--layers", &reference]);
    refused(&["ls", "--platform", "linux/s390x", &reference, "/"]);
    let default = artifact(&["get", &reference, "/bin/tool", "-o", "-"]).env("DOCKER_DEFAULT_PLATFORM", "linux/s390x");
    default.run().exits(3).says("there is linux/amd64");
    let from = format!("--from={reference}");
    let dir = WorkDir::new();
    std::os::unix::fs::symlink(program::binary(), dir.outside("bin/copy_binary")).unwrap();
    let copy = Program::new(dir.outside("bin/copy_binary"));
    let copy = copy.args(&[&from, "--platform", "linux/s390x", "/bin/tool", "x"]);
    copy.run_in(&dir).exits(3).says("there is linux/amd64");
    assert!(dir.listing().is_empty());
    let run = artifact(&["get", "--platform", "linux/amd64", &reference, "/bin/tool", "-o", "-"]).run().exits(0);
    assert_eq!(run.never_says("is for linux/amd64").out(), "intel");
}

#[test]
fn an_image_for_another_platform_alone_is_taken_with_a_notice() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &tool("other").platform("plan9/mips"));
    let run = artifact(&["get", &reference, "/bin/tool", "-o", "-"]).run().exits(0);
    assert_eq!(run.out(), "other");
    assert_eq!(run.says("team/app:1 is for plan9/mips").stderr.matches("is for plan9/mips").count(), 1);
    let ours = registry.push("team/app:2", &tool("ours"));
    artifact(&["get", &ours, "/bin/tool", "-o", "-"]).run().exits(0).never_says("is for");
}

#[test]
fn a_config_that_names_no_platform_is_for_any() {
    let registry = Registry::start();
    let edits: [fn(&mut Value); 3] = [
        |config| config["os"] = Value::Null,
        |config| config["architecture"] = Value::Null,
        |config| drop(config.as_object_mut().expect("an object").remove("architecture")),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let reference = registry.push(&format!("team/app:{number}"), &tool("any").edit_config(edit));
        let get = artifact(&["get", "--platform", "linux/s390x", &reference, "/bin/tool", "-o", "-"]);
        assert_eq!(get.run().exits(0).out(), "any");
        artifact(&["label", &reference, "/bin/tool"]).run().exits(0);
    }
}

// Labelling several

fn mixed() -> Index {
    let linux = Image::new().platform("linux/amd64").layer([dir("app"), file("app/tool", "for linux")]);
    let arm = Image::new().platform("linux/arm64").layer([dir("app"), file("app/tool", "for arm")]);
    let windows = Image::new().platform("windows/amd64").layer([dir("Files"), file("Files/tool.exe", "for windows")]);
    Index::new().image(&linux).attestation().image(&arm).image(&windows)
}

#[test]
fn a_platform_that_lacks_a_path_is_named_and_the_others_can_be_labelled_without_it() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &mixed());
    let run = artifact(&["label", &reference, "/app/tool"]).run().exits(3);
    run.says("team/app:1 for windows/amd64 has no /app/tool").says("--platform");
    assert_eq!(registry.count("PUT", ""), 0);

    let before = crate::support::labelled::json_of(&registry, "team/app/manifests/1");
    let run = artifact(&["label", "--platform", "linux/amd64,linux/arm64", &reference, "/app/tool"]).run().exits(0);
    assert!(!run.out().contains("windows"), "{}", run.out());
    for (platform, expected) in [("linux/amd64", "for linux"), ("linux/arm64", "for arm")] {
        let run = artifact(&["get", "--platform", platform, &reference, "tool", "-o", "-"]).run().exits(0);
        assert_eq!(run.out(), expected);
    }
    let after = crate::support::labelled::json_of(&registry, "team/app/manifests/1");
    let entries = |index: &Value| index["manifests"].as_array().unwrap().clone();
    assert_eq!(entries(&before).last(), entries(&after).last(), "the image for Windows is what it was");
    assert_ne!(entries(&before)[0], entries(&after)[0]);
    let missing = format!("{reference} for windows/amd64 has no /app/tool");
    artifact(&["get", "--platform", "windows/amd64", &reference, "/app/tool"]).run().exits(3).says(&missing);
    artifact(&["ls", "--platform", "windows/amd64", &reference, "/app/tool"]).run().exits(3).says(&missing);
    artifact(&["label", "--platform", "windows/amd64", &reference, "/Files/tool.exe"]).run().exits(0);
    let run = artifact(&["get", "--platform", "windows/amd64", &reference, "tool.exe", "-o", "-"]).run().exits(0);
    assert_eq!(run.out(), "for windows");
}

#[test]
fn an_image_that_was_not_labelled_is_copied_with_the_others() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &mixed());
    let copy = format!("{}/team/copy:1", registry.host());
    artifact(&["label", "--platform", "linux/arm64", "-t", &copy, &reference, "/app/tool"]).run().exits(0);
    for (platform, path, expected) in [
        ("linux/amd64", "/app/tool", "for linux"),
        ("linux/arm64", "tool", "for arm"),
        ("windows/amd64", "/Files/tool.exe", "for windows"),
    ] {
        let run = artifact(&["get", "--platform", platform, &copy, path, "-o", "-"]).run().exits(0);
        assert_eq!(run.out(), expected);
    }
}

#[test]
fn a_platform_that_is_not_there_cannot_be_labelled() {
    let registry = Registry::start();
    let index = registry.push("team/app:1", &mixed());
    let label =
        |reference: &str, platform: &str| artifact(&["label", "--platform", platform, reference, "/app/tool"]).run();
    label(&index, "linux/arm64,linux/s390x")
        .exits(3)
        .says("no image for linux/s390x; there is linux/amd64, linux/arm64");
    let alone =
        registry.push("team/app:2", &Image::new().platform("linux/amd64").layer([dir("app"), file("app/tool", "")]));
    label(&alone, "linux/s390x").exits(3).says("no image for linux/s390x; there is linux/amd64");
    assert_eq!(registry.count("PUT", ""), 0);
    label(&alone, "linux/x86_64").exits(0);
}

#[test]
fn what_one_platform_declares_is_labelled_there() {
    let registry = Registry::start();
    let declares = Image::new().platform("linux/amd64").layer([dir("app"), file("app/tool", "")]);
    let declares = declares.label("org.docker-artifact.tool", "/app/tool");
    let silent = Image::new().platform("linux/arm64").layer([dir("app")]);
    let reference = registry.push("team/app:1", &Index::new().image(&declares).image(&silent));
    let run = artifact(&["label", "--format", "{{.Platform}}", &reference]).run().exits(0);
    assert_eq!(run.out(), "linux/amd64\n");
    artifact(&["label", "--remove", "tool", &reference]).run().exits(0);
    artifact(&["label", "--remove", "tool", &reference]).run().exits(3).says("artifact tool");
    artifact(&["label", &reference]).run().exits(3).says("no artifact that is declared");
}
