//! What one build step wrote, whatever later steps did to it: `--created-by` and `--layer`.

use std::fs;

use serde_json::{Value, json};

use crate::support::*;

const TAG: &str = "team/app:1";

/// A build whose third step wrote a trace that the fourth one deleted.
fn image() -> Image {
    Image::new()
        .layer(
            Layer::new([
                dir("usr/bin"),
                symlink("bin", "usr/bin"),
                file("usr/bin/cc", "cc"),
                dir("app"),
                file("app/big", vec![1; 2 << 20]),
            ])
            .created_by("ADD base / # buildkit"),
        )
        .empty_step("ENV TRACE=-o trace.log")
        .layer(
            Layer::new([file("usr/bin/tool", "first"), file("app/conf", "first")])
                .plain()
                .created_by("RUN /bin/sh -c make # buildkit"),
        )
        .layer(
            Layer::new([
                dir("app"),
                file("app/trace.log", "traced"),
                file("app/conf", "second"),
                file("usr/bin/tool", "second"),
                file("tmp/noise.log", "n"),
                symlink("app/link", "/usr/bin/cc"),
                hardlink("app/cc", "usr/bin/cc"),
            ])
            .plain()
            .created_by("RUN /bin/sh -c make -o trace.log # buildkit"),
        )
        .layer(
            Layer::new([whiteout("app/trace.log"), whiteout("usr/bin/tool"), file("app/conf", "third")])
                .created_by("RUN /bin/sh -c rm app/trace.log # buildkit"),
        )
}

/// Runs `check` on the image in a registry and in archives of every form.
fn everywhere(image: &dyn Pack, check: impl Fn(&str)) {
    let registry = Registry::start();
    check(&registry.push(TAG, image));
    let dir = WorkDir::new();
    for form in FORMS {
        let path = dir.path(&format!("{form:?}.tar"));
        fs::write(&path, archive(image, form, TAG)).unwrap();
        check(path.to_str().unwrap());
    }
}

#[test]
fn what_a_step_wrote_is_got_by_the_step_and_its_base_name() {
    everywhere(&image(), |image| {
        let dir = WorkDir::new();
        artifact(&["get", image, "trace.log", "--created-by", "-o trace.log"]).run_in(&dir).exits(0);
        assert_eq!(dir.listing(), [r#"trace.log 644 "traced""#], "{image}");
        artifact(&["get", image, "/app/trace.log"]).run_in(&dir).exits(3).says("deleted by layer 4");
    });
}

#[test]
fn a_layer_gives_its_own_copy_of_a_path_through_the_links_below_it() {
    everywhere(&image(), |image| {
        let get =
            |layer: &str, path: &str| artifact(&["get", image, path, "--layer", layer, "-o", "-"]).run().exits(0).out();
        assert_eq!(get("2", "/bin/tool"), "first", "{image}");
        assert_eq!(get("3", "/bin/tool"), "second", "{image}");
        assert_eq!(get("2", "app/conf"), "first", "{image}");
        assert_eq!(get("4", "conf"), "third", "{image}");
        assert_eq!(get("3", "/app/link"), "cc", "{image}");
        assert_eq!(get("3", "/app/cc"), "cc", "{image}");
        let dir = WorkDir::new();
        artifact(&["get", image, "/app", "/tmp/*", "--layer", "2", "-o", "out/"]).run_in(&dir).exits(3).says("/tmp/*");
        artifact(&["get", image, "/app", "--layer", "2", "-o", "out/"]).run_in(&dir).exits(0);
        let files: Vec<String> = dir.listing().into_iter().filter(|line| line.contains('"')).collect();
        assert_eq!(files, [r#"out/app/conf 644 "first""#], "only what the layer itself has: {image}");
        artifact(&["get", image, "/bin/", "--layer", "2", "-o", "bin"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("bin/tool"), b"first");
        assert!(!dir.path("bin/cc").exists());
    });
}

#[test]
fn what_the_layer_itself_has_not_is_not_found() {
    everywhere(&image(), |image| {
        for (layer, path) in [("2", "/usr/bin/cc"), ("4", "/app/trace.log"), ("4", "trace.log"), ("1", "/nope")] {
            let run = artifact(&["get", image, path, "--layer", layer]).run().exits(3);
            run.says(&format!("layer {layer} of 4")).says(path);
        }
        artifact(&["get", image, "/x", "--layer", "5"]).run().exits(3).says("it has 4");
        artifact(&["get", image, "/x", "--layer", "nope"]).run().exits(2).says("neither a layer's number nor");
        artifact(&["get", image, "/x", "--created-by", "TRACE"])
            .run()
            .exits(3)
            .says("only a step that made no layer has this text");
        artifact(&["get", image, "/x", "--created-by", "a", "--layer", "1"]).run().exits(2).says("use one of them");
    });
}

#[test]
fn several_hits_are_listed() {
    everywhere(&image(), |image| {
        let run = artifact(&["get", image, "/app/conf", "--created-by", "make"]).run().exits(2);
        run.says("/app/conf in layer 3 of 4").says("/app/conf in layer 2 of 4").says("--layer");
        // One of the steps alone has it.
        artifact(&["get", image, "trace.log", "--created-by", "make", "-o", "-"]).run().exits(0);
    });
    let twice = Image::new().layer([file("a/x.log", "1"), file("b/x.log", "2"), file("c", "3")]);
    everywhere(&twice, |image| {
        artifact(&["get", image, "x.log", "--layer", "1"])
            .run()
            .exits(2)
            .says("/a/x.log in layer 1")
            .says("/b/x.log in");
        let dir = WorkDir::new();
        artifact(&["get", image, "/b/x.log", "--layer", "1"]).run_in(&dir).exits(0);
        assert_eq!(dir.listing(), [r#"x.log 644 "2""#]);
    });
}

#[test]
fn a_layer_is_named_by_its_digest_too() {
    let packed = image().pack();
    let registry = Registry::start();
    let reference = registry.push(TAG, &packed);
    let digest = packed.layers[1].digest();
    for name in [&digest[..], &digest[7..19]] {
        let run = artifact(&["get", &reference, "/app/conf", "--layer", name, "-o", "-"]).run().exits(0);
        assert_eq!(run.out(), "first");
    }
    // Nothing of the other layers is needed.
    assert_eq!(registry.count("GET", &packed.layers[3].digest()), 0);
    assert_eq!(registry.count("GET", &packed.layers[0].digest()), 0);
}

#[test]
fn a_history_that_does_not_add_up_is_said() {
    let image = image().edit_config(|config| {
        config["history"].as_array_mut().unwrap().remove(0);
    });
    let registry = Registry::start();
    let reference = registry.push(TAG, &image);
    artifact(&["get", &reference, "x", "--created-by", "make"])
        .run()
        .exits(1)
        .says("3 steps that made a layer, but the image has 4 layers");
    artifact(&["get", &reference, "trace.log", "--layer", "3", "-o", "-"]).run().exits(0);
}

#[test]
fn each_listed_file_has_the_step_that_wrote_it() {
    everywhere(&image(), |image| {
        let run = artifact(&["ls", image, "/app/*", "--format", "{{json .}}"]).run().exits(0);
        let rows: Vec<Value> = run.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let step = |path: &str| rows.iter().find(|row| row["Path"] == path).unwrap()["Step"].clone();
        assert_eq!(step("/app/big"), json!("ADD base / # buildkit"));
        assert_eq!(step("/app/conf"), json!("RUN /bin/sh -c rm app/trace.log # buildkit"));
    });
}
