//! `docker artifact label`: its options, and what it prints.

use crate::support::labelled::{content, names, tools};
use crate::support::*;
use serde_json::{Value, json};

fn registries() -> [Registry; 2] {
    [Registry::start(), Registry::options().referrers().start()]
}

/// What `label` says of one image, as JSON.
#[track_caller]
fn rows(arguments: &[&str]) -> Vec<Value> {
    let run = artifact(&["label", "--format", "json"]).args(arguments).run().exits(0);
    run.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The digest that `label -q` prints.
#[track_caller]
fn digest(arguments: &[&str]) -> String {
    let run = artifact(&["label", "-q"]).args(arguments).run().exits(0);
    assert_eq!(run.stderr, "");
    run.out().trim_end().to_owned()
}

#[test]
fn a_label_is_named_after_its_file_and_then_got_by_name() {
    for registry in registries() {
        let image = tools().pack();
        let reference = registry.push("team/app:1", &image);
        let run = artifact(&["label", &reference, "/bin/tool", "second=bin/other"]).run().exits(0);
        let lines: Vec<String> = run.out().lines().map(|line| line.split("   ").next().unwrap().to_owned()).collect();
        assert_eq!(lines, ["NAME", "second", "tool"], "{}", run.out());
        let closing = run.stderr.lines().last().unwrap();
        assert!(closing.starts_with(&format!("{reference}@{} -> {reference}@sha256:", image.digest())), "{closing}");
        assert_eq!((content(&reference, "tool"), content(&reference, "second")), ("hello".into(), "other".into()));
    }
}

#[test]
fn the_same_twice_changes_nothing_and_says_so() {
    for registry in registries() {
        let reference = registry.push("team/app:1", &tools());
        let first = digest(&[&reference, "/bin/tool"]);
        let pushed = registry.log().iter().filter(|request| request.method == "PUT").count();
        let run = artifact(&["label", &reference, "/bin/tool"]).run().exits(0);
        run.says(&format!("nothing changed: {reference}@{first}"));
        assert_eq!(registry.log().iter().filter(|request| request.method == "PUT").count(), pushed);
    }
}

#[test]
fn a_dry_run_says_what_would_become_and_sends_nothing() {
    let registry = Registry::start();
    let image = tools().pack();
    let reference = registry.push("team/app:1", &image);
    let run = artifact(&["label", "--dry-run", &reference, "/bin/tool"]).run().exits(0);
    assert!(run.out().contains("/bin/tool"));
    let run = run.says(&format!("{reference}@{} would become {reference}@", image.digest()));
    assert!(registry.log().iter().all(|request| request.method == "GET" || request.method == "HEAD"));
    let would = run.stderr.trim_end().rsplit('@').next().unwrap().to_owned();
    assert_eq!(digest(&[&reference, "/bin/tool"]), would);
}

#[test]
fn the_result_may_have_another_tag_repository_or_registry() {
    let (registry, other) = (Registry::start(), Registry::start());
    let reference = registry.push("team/app:1", &tools());
    let places = [
        format!("{}/team/app:labelled", registry.host()),
        format!("{}/team/copy:1", registry.host()),
        format!("{}/team/app:1", other.host()),
    ];
    for place in &places {
        artifact(&["label", "-t", place, &reference, "/bin/tool"]).run().exits(0).says(&format!(" -> {place}@"));
        assert_eq!(content(place, "tool"), "hello");
    }
    assert!(names(&reference).is_empty());
}

#[test]
fn what_cannot_be_uploaded_leaves_the_tag_as_it_was() {
    // Blobs and the range index go first.
    for path in ["/blobs/uploads/", "/manifests/sha256"] {
        let registry = Registry::start();
        let reference = registry.push("team/app:1", &tools());
        registry.requests_for(path).fail(Fault::Status(403));
        artifact(&["label", &reference, "/bin/tool"]).run().exits(4);
        assert_eq!(registry.count("PUT", "/manifests/1"), 0, "{path}");
    }
}

#[test]
fn a_removed_artifact_is_gone_and_an_unknown_one_is_not_found() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &tools());
    artifact(&["label", &reference, "/bin/tool", "/bin/other", "/etc/motd"]).run().exits(0);
    artifact(&["label", &reference, "--remove", "tool", "--remove", "motd"]).run().exits(0);
    assert_eq!(names(&reference), ["other"]);
    artifact(&["label", &reference, "--remove", "tool"]).run().exits(3).says("artifact tool");
}

#[test]
fn attached_records_leave_the_image_as_it_is() {
    for registry in registries() {
        let image = tools().pack();
        let reference = registry.push("team/app:1", &image);
        let run = artifact(&["label", "--attach", &reference, "/bin/tool"]).run().exits(0);
        run.says("stays as it is; its range index was attached");
        assert_eq!(content(&reference, "tool"), "hello");
        let pinned = format!("{reference}@{}", image.digest());
        let run = artifact(&["get", &pinned, "tool", "-o", "-"]).run().exits(1);
        run.says("only a record attached to").says("use its path (/bin/tool), or add --trust-attached");
        let run = artifact(&["get", "--trust-attached", &pinned, "tool", "-o", "-"]).run().exits(0);
        assert_eq!(run.out(), "hello");
    }
}

#[test]
fn buildx_metadata_names_the_image_and_guards_its_digest() {
    let registry = Registry::start();
    let image = tools().pack();
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    let write = |digest: &str| {
        let metadata = json!({"image.name": format!("{reference},other:2"), "containerimage.digest": digest});
        std::fs::write(dir.path("build.json"), metadata.to_string()).unwrap();
    };
    let label = || artifact(&["label", "--metadata-file", "build.json", "/bin/tool"]).run_in(&dir);
    write(&sha256(b"another build"));
    label().exits(1).says(&image.digest()).says(&sha256(b"another build"));
    assert!(names(&reference).is_empty());
    write(&image.digest());
    label().exits(0);
    assert_eq!(names(&reference), ["tool"]);
    std::fs::remove_file(dir.path("build.json")).unwrap();
    label().exits(2).says("build.json: ");
}

#[test]
fn printed_arguments_are_the_labels_that_the_registry_would_get() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &tools());
    let dir = WorkDir::new();
    let run = artifact(&["label", "--print-args", &reference, "/bin/tool", "/etc/motd"]).run_in(&dir).exits(0);
    assert_eq!(run.out().lines().count(), 1);
    assert!(registry.log().iter().all(|request| request.method == "GET" || request.method == "HEAD"));
    dir.script("arguments", &format!("#!/bin/sh\nprintf '%s\\n' {}", run.out()));
    let words = Program::new(dir.outside("bin/arguments")).run_in(&dir).exits(0).out();
    let words: Vec<&str> = words.lines().collect();
    let labels: Vec<String> = rows(&["--dry-run", &reference, "/bin/tool", "/etc/motd"])
        .iter()
        .flat_map(|row| {
            let (name, label) = (row["Name"].as_str().unwrap(), row["Label"].as_str().unwrap());
            ["--label".to_owned(), format!("org.docker-artifact.{name}={label}")]
        })
        .collect();
    assert_eq!(words, labels);
    // An image with exactly these labels needs no labelling but for its range index.
    let built = words.chunks(2).fold(tools(), |image, pair| {
        let (key, value) = pair[1].split_once('=').unwrap();
        image.label(key, value)
    });
    let built_digest = built.pack().digest();
    let reference = registry.push("team/app:built", &built);
    assert_eq!(digest(&[&reference]), built_digest);
}

#[test]
fn several_platforms_are_labelled_and_shown_side_by_side() {
    let registry = Registry::options().referrers().start();
    let arm = Image::new().platform("linux/arm64").layer([file("bin/tool", "for arm")]);
    let intel = Image::new().platform("linux/amd64").layer([file("bin/tool", "for intel")]);
    let reference = registry.push("team/app:1", &Index::new().image(&intel).image(&arm).attestation());
    let run = artifact(&["label", "--print-args", &reference, "/bin/tool"]).run().exits(2);
    assert_eq!(run.says("platforms").out(), "");
    let run = artifact(&["label", &reference, "/bin/tool"]).run().exits(0);
    assert!(run.out().starts_with("PLATFORM      NAME   PATH"), "{}", run.out());
    for (platform, expected) in [("linux/amd64", "for intel"), ("linux/arm64", "for arm")] {
        let run = artifact(&["get", "--platform", platform, &reference, "tool", "-o", "-"]).run().exits(0);
        assert_eq!(run.out(), expected);
    }
}

#[test]
fn the_format_option_prints_what_was_labelled() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &tools());
    let row = rows(&[&reference, "/bin/tool"]).remove(0);
    assert_eq!((&row["Name"], &row["Path"], &row["Size"]), (&json!("tool"), &json!("/bin/tool"), &json!(5)));
    assert_eq!(
        (&row["Type"], &row["Mode"], &row["Digest"]),
        (&json!("file"), &json!("0755"), &json!(sha256(b"hello")))
    );
    let run = artifact(&["label", "--format", "{{.Image}}", &reference]).run().exits(0);
    assert_eq!(run.out(), format!("{}\n", row["Image"].as_str().unwrap()));
}

#[test]
fn what_cannot_be_labelled_is_said_with_its_exit_code() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &tools());
    artifact(&["label", &reference]).run().exits(3).says("LABEL org.docker-artifact.NAME=/path");
    artifact(&["label", &reference, "/bin/tol"]).run().exits(3).says("/bin/tool");
    artifact(&["label", &reference, "/"]).run().exits(2).says("write NAME=PATH");
    artifact(&["label", &format!("{reference}9"), "/bin/tool"]).run().exits(3).says("team/app:19");
    artifact(&["label"]).run().exits(2).says("Usage:  docker-artifact label [OPTIONS] IMAGE [[NAME=]PATH...]");
    let pinned = format!("{}/team/app@{}", registry.host(), tools().pack().digest());
    artifact(&["label", &pinned, "/bin/tool"]).run().exits(2).says("--tag");
}

#[test]
fn an_image_that_cannot_be_labelled_is_a_failure_and_no_wrong_usage() {
    let registry = Registry::start();
    let unknown = tools().edit_config(|config| config["rootfs"]["diff_ids"] = json!([]));
    let reference = registry.push("team/app:1", &unknown);
    artifact(&["label", &reference, "/bin/tool"]).run().exits(1).says("lists no diff IDs");
    let nested = Index::new().unspecified(&Index::new().image(&tools()));
    let reference = registry.push("team/app:2", &nested);
    artifact(&["label", &reference, "/bin/tool"]).run().exits(1).says("is an index of indexes");
    let reference = registry.push("team/app:3", &Image::new().layer([file(b"bin/to\xffol".as_slice(), "x")]));
    artifact(&["label", &reference, "/bin"]).run().exits(1).says("is not named in UTF-8, and cannot be labelled");
    assert_eq!(registry.count("PUT", ""), 0);
}
