//! Labelling what changes under one's hands, what is there already, and what is not there any more.

use crate::support::labelled::*;
use crate::support::*;
use docker_artifact::artifact::ExitClass;
use docker_artifact::artifact::label::Request;
use serde_json::Value;

// Tags that move

#[test]
fn a_tag_that_names_another_image_than_the_digest_is_left_alone() {
    let registry = Registry::start();
    let old = tools().pack();
    registry.push("team/app:1", &old);
    let new = tools().label("build", "2").pack();
    let reference = registry.push("team/app:1", &new);
    let run = artifact(&["label", &format!("{reference}@{}", old.digest()), "/bin/tool"]).run().exits(1);
    run.says(&old.digest()).says(&new.digest()).says("--tag");
    assert_eq!(registry.count("PUT", ""), 0);
    assert_eq!(sha256(&fetch(&registry, "team/app/manifests/1")), new.digest());
    // Under another name the old image can be labelled, and where the tag does name the digest, that moves.
    let other = format!("{}/team/app:old", registry.host());
    artifact(&["label", "-t", &other, &format!("{reference}@{}", old.digest()), "/bin/tool"]).run().exits(0);
    assert_eq!(content(&other, "tool"), "hello");
    artifact(&["label", &format!("{reference}@{}", new.digest()), "/bin/tool"]).run().exits(0);
    assert_eq!(content(&reference, "tool"), "hello");
    artifact(&["label", &format!("{reference}9@{}", new.digest()), "/bin/tool"]).run().exits(3).says("no tag 19");
}

#[test]
fn a_tag_that_moves_meanwhile_is_left_alone() {
    for pinned in [false, true] {
        let registry = Registry::start();
        registry.push("team/app:2", &tools().label("build", "2"));
        let image = tools().pack();
        let reference = registry.push("team/app:1", &image);
        let asked = if pinned { format!("{reference}@{}", image.digest()) } else { reference };
        // What the tag names is asked for when the work begins, and again before it is moved.
        registry.requests_for("/manifests/1").nth(2).fail(Fault::Redirect("/v2/team/app/manifests/2".to_owned()));
        let run = artifact(&["label", &asked, "/bin/tool"]).run().exits(1);
        run.says(&format!("tag 1 names {}", sha256(&fetch(&registry, "team/app/manifests/2"))));
        assert_eq!(registry.count("PUT", "/manifests/1"), 0);
    }
}

// What is there already

#[test]
fn what_is_labelled_and_indexed_is_not_read_again() {
    for registry in [Registry::start(), Registry::options().referrers().start()] {
        let image = image().pack();
        let reference = registry.push("team/app:1", &image);
        label_as(&reference, &[("tool", "/usr/bin/tool"), ("conf", "/etc/app"), ("empty", "/etc/app/empty")]);
        let before = registry.log().len();
        assert!(!try_label(&reference, Request::default()).unwrap().pushed);
        assert!(!label_as(&reference, &[("tool", "usr/bin/./tool")]).pushed);
        assert_eq!(layers_read(&registry, &image, before), 0);
        let remove = Request { remove: vec!["empty".parse().unwrap()], ..Request::default() };
        let removed = try_label(&reference, remove).unwrap();
        assert!(removed.pushed && removed.old != removed.new);
        assert_eq!(layers_read(&registry, &image, before), 0);
        // The new digest has the index of what is left.
        let (dir, before) = (WorkDir::new(), registry.log().len());
        artifact(&["get", &reference, "tool", "conf"]).run_in(&dir).exits(0).never_says("reading its layer");
        assert_eq!(dir.read("tool"), noise(2, 200_000));
        assert_eq!(dir.read("conf/b.conf"), noise(4, 50_000));
        let sent: u64 = registry.log()[before..].iter().map(|request| request.sent()).sum();
        assert!(sent < 600_000, "{sent} bytes");
    }
}

#[test]
fn a_label_without_its_part_of_the_index_is_measured_again() {
    let registry = Registry::start();
    let image = image().pack();
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("tool", "/usr/bin/tool")]);
    let (index, _) = index_of(&registry);
    registry.lose(&index);
    let before = registry.log().len();
    assert!(try_label(&reference, Request::default()).unwrap().pushed);
    assert!(layers_read(&registry, &image, before) > 0);
    assert_eq!(index_of(&registry).1["layers"].as_array().unwrap().len(), 2, "the part, and the list");
    // A part that is no use for this image is as good as none.
    let (_, index) = index_of(&registry);
    let mut lying = unpack(index["layers"][0]["data"].as_str().unwrap());
    lying["extents"] = serde_json::json!([]);
    let mut two = index.clone();
    let second = two["layers"][0].clone();
    two["layers"]
        .as_array_mut()
        .unwrap()
        .insert(0, serde_json::json!({"mediaType": "x", "digest": sha256(b"x"), "size": 1}));
    assert_eq!(second["annotations"]["org.docker-artifact.name"], "tool");
    replace_index(&registry, &subject_of(&registry), &two, &lying);
    let before = registry.log().len();
    assert!(try_label(&reference, Request::default()).unwrap().pushed);
    assert!(layers_read(&registry, &image, before) > 0);
}

// What is not there any more

#[test]
fn a_declared_path_that_is_missing_is_named_and_does_not_block_the_others() {
    let registry = Registry::start();
    let image = tools().label("org.docker-artifact.gone", "/opt/gone").label("org.docker-artifact.tool", "/bin/tool");
    let reference = registry.push("team/app:1", &image);
    let run = artifact(&["label", &reference]).run().exits(0).says("has no /opt/gone (artifact gone)");
    assert!(run.out().contains("/bin/tool") && !run.out().contains("gone"), "{}", run.out());
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    assert_eq!(config["config"]["Labels"]["org.docker-artifact.gone"], "/opt/gone");
    // A path that was typed has to be there.
    artifact(&["label", &reference, "gone=/opt/gone"]).run().exits(3).says("has no /opt/gone");
    artifact(&["label", &reference, "/bin/other"]).run().exits(0).says("(artifact gone)");
    artifact(&["label", &reference, "--remove", "gone"]).run().exits(0).never_says("(artifact gone)");
}

#[test]
fn forgetting_a_name_reads_no_layer_whatever_else_is_declared() {
    let registry = Registry::start();
    let image = tools().label("org.docker-artifact.gone", "/not/there").pack();
    let reference = registry.push("team/app:1", &image);
    artifact(&["label", &reference, "name=/bin/tool"]).run().exits(0);
    artifact(&["label", "--attach", &reference, "other=/bin/tool"]).run().exits(0);
    let before = registry.log().len();
    artifact(&["label", "--attach", "--remove", "other", &reference]).run().exits(0);
    artifact(&["label", "--remove", "name", &reference]).run().exits(0);
    assert_eq!(layers_read(&registry, &image, before), 0);
    let run = artifact(&["ls", "-q", &reference]).run().exits(0);
    assert_eq!(run.out(), "gone\n");
}

#[test]
fn where_nothing_that_is_declared_is_there_it_is_an_error_that_names_it() {
    let registry = Registry::start();
    let image = tools().label("org.docker-artifact.gone", "/opt/gone");
    let reference = registry.push("team/app:1", &image);
    artifact(&["label", &reference]).run().exits(3).says("has no /opt/gone (artifact gone)");
    assert_eq!(registry.count("PUT", ""), 0);
}

#[test]
fn a_declared_link_to_nothing_is_named_and_does_not_block_the_others() {
    let registry = Registry::start();
    let image = tools().layer([symlink("loose", "gone")]);
    let image = image.label("org.docker-artifact.loose", "/loose").label("org.docker-artifact.tool", "/bin/tool");
    let reference = registry.push("team/app:1", &image);
    let run = artifact(&["label", &reference]).run().exits(0).says("/loose (artifact loose) in");
    run.never_says("--no-dereference");
    assert_eq!(content(&reference, "tool"), "hello");
    artifact(&["label", &reference, "/loose"]).run().exits(3).never_says("--no-dereference");
}

#[test]
fn a_declared_device_is_named_and_does_not_block_the_others() {
    let registry = Registry::start();
    let image = tools().layer([fifo("pipe")]);
    let image = image.label("org.docker-artifact.pipe", "/pipe").label("org.docker-artifact.tool", "/bin/tool");
    let reference = registry.push("team/app:1", &image);
    artifact(&["label", &reference]).run().exits(0).says("(artifact pipe)");
    assert_eq!(content(&reference, "tool"), "hello");
}

#[test]
fn a_tree_that_no_reader_would_make_is_not_labelled() {
    let registry = Registry::start();
    let tree = |depth: usize| {
        let paths = (1..=depth).map(|depth| vec!["d"; depth].join("/"));
        Image::new().layer(paths.map(|path| dir(&path)).collect::<Vec<_>>())
    };
    let deepest = registry.push("team/app:1", &tree(512));
    artifact(&["label", &deepest, "/d"]).run().exits(0);
    artifact(&["get", &deepest, "d"]).run().exits(0);
    let deeper = registry.push("team/app:2", &tree(513));
    artifact(&["label", &deeper, "/d"]).run().exits(1).says("/d has directories nested deeper than 512 levels");
    assert_eq!(registry.count("PUT", "manifests/2"), 0);
}

// Configs as they are

#[test]
fn a_config_without_execution_parameters_gets_its_labels() {
    let registry = Registry::start();
    let edits: [fn(&mut Value); 3] = [
        |config| drop(config.as_object_mut().expect("an object").remove("config")),
        |config| config["config"] = Value::Null,
        |config| config["config"]["Labels"] = Value::Null,
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let reference = registry.push(&format!("team/app:{number}"), &tools().edit_config(edit));
        artifact(&["label", &reference, "/bin/tool"]).run().exits(0);
        assert_eq!(content(&reference, "tool"), "hello");
        artifact(&["label", &reference, "--remove", "tool"]).run().exits(0);
    }
    let nulls: fn(&mut Value) = |config| config["config"]["Labels"] = serde_json::json!({"a": null, "b": "c"});
    let reference = registry.push("team/app:nulls", &tools().edit_config(nulls));
    artifact(&["label", &reference, "/bin/tool"]).run().exits(0);
    let (_, config) = manifest_and_config(&registry, "team/app", "nulls");
    assert_eq!((&config["config"]["Labels"]["a"], &config["config"]["Labels"]["b"]), (&Value::Null, &"c".into()));
}

#[test]
fn a_config_that_the_manifest_embeds_is_embedded_anew() {
    let registry = Registry::start();
    // Whoever reads the embedded one must not read the labels from before.
    let embed: fn(&mut Value) = |manifest| manifest["config"]["data"] = "e30=".into();
    let reference = registry.push("team/app:1", &tools().edit_manifest(embed));
    artifact(&["label", &reference, "/bin/tool"]).run().exits(0);
    let (manifest, config) = manifest_and_config(&registry, "team/app", "1");
    let path = format!("team/app/blobs/{}", manifest["config"]["digest"].as_str().unwrap());
    use base64::Engine;
    let embedded =
        base64::engine::general_purpose::STANDARD.decode(manifest["config"]["data"].as_str().unwrap()).unwrap();
    assert_eq!(embedded, fetch(&registry, &path));
    assert!(config["config"]["Labels"]["org.docker-artifact.tool"].is_string());
}

#[test]
fn an_index_without_an_image_has_nothing_to_label() {
    let registry = Registry::start();
    let reference = registry.push(
        "team/app:1",
        &Index::new().image(&tools()).edit_entry(|entry| {
            entry["artifactType"] = "application/spdx+json".into();
        }),
    );
    let error = try_label(&reference, add(&[("tool", "/bin/tool")])).unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::NotFound);
    assert!(error.to_string().contains("lists no image"), "{error}");
}
