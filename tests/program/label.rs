//! Labelled artifacts from end to end at the library's door: labelled once, got for the price of the file, and never wrong.

use crate::support::labelled::*;
use crate::support::*;
use docker_artifact::artifact::ExitClass;
use docker_artifact::artifact::label::Request;
use serde_json::Value;

/// The bytes of blobs and manifests that the registry sent, and the number of requests, since `from`.
fn cost(registry: &Registry, from: usize) -> (u64, usize) {
    let log = registry.log();
    let requests = &log[from..];
    (requests.iter().map(|request| request.sent()).sum(), requests.len())
}

fn both_kinds() -> [Registry; 2] {
    [Registry::start(), Registry::options().referrers().start()]
}

#[test]
fn a_labelled_file_costs_little_more_than_itself() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        let labelled = label_as(&reference, &[("tool", "/bin/tool")]);
        assert!(labelled.pushed && labelled.old != labelled.new);
        let (dir, before) = (WorkDir::new(), registry.log().len());
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), noise(2, 200_000));
        assert_eq!(dir.mode("tool"), 0o755);
        let modified = dir.metadata("tool").modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(modified.as_secs(), 1_600_000_000);
        let (bytes, requests) = cost(&registry, before);
        assert!(bytes < 200_000 + 2 * 64 * 1024, "{bytes} bytes");
        assert!(requests <= 6, "{requests} requests");
    }
}

#[test]
fn a_name_asks_once_for_what_refers_to_the_image_if_at_all() {
    for registry in both_kinds() {
        let reference = push_labelled(&registry);
        let asked = || (registry.count("GET", "/referrers/"), registry.count("GET", "/manifests/sha256-"));
        let (dir, (api, tag)) = (WorkDir::new(), asked());
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
        assert_eq!(asked(), (api, tag), "the manifest names what a name needs");
        lose_list(&registry);
        artifact(&["get", &reference, "tool"]).run_in(&WorkDir::new()).exits(0);
        // An API that has the index does not wait for the tag, which may or may not have been asked for by then.
        let (by_api, by_tag) = asked();
        assert_eq!(by_api, api + 1);
        assert!(by_tag <= tag + 1, "{by_tag}");
    }
}

#[test]
fn a_path_asks_once_for_what_refers_to_a_large_image_and_never_where_that_is_not_believed() {
    for registry in both_kinds() {
        let (large, small) = (push_labelled(&registry), registry.push("team/small:1", &tools()));
        let pinned = format!("{large}@{}", subject_of(&registry));
        let asked = || registry.count("GET", "/referrers/") + registry.count("GET", "/manifests/sha256-");
        let before = asked();
        for flags in [&[&small, "/bin/tool"][..], &[&pinned, "/etc/app/b.conf"], &["--no-index", &large, "/bin/tool"]] {
            artifact(&[&["get"], flags].concat()).run_in(&WorkDir::new()).exits(0);
        }
        assert_eq!(asked(), before);
        artifact(&["get", &large, "/etc/app/b.conf"]).run_in(&WorkDir::new()).exits(0);
        assert!(asked() <= before + 2);
    }
}

#[test]
fn a_path_that_happens_to_be_labelled_takes_the_cheap_way() {
    let registry = Registry::start();
    let reference = push_labelled(&registry);
    let (dir, before) = (WorkDir::new(), registry.log().len());
    artifact(&["get", &reference, "/usr/bin/tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
    assert!(cost(&registry, before).0 < 400_000);
}

#[test]
fn a_directory_is_an_artifact_too() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        label_as(&reference, &[("conf", "etc/app")]);
        let (by_path, by_label, before) = (WorkDir::new(), WorkDir::new(), registry.log().len());
        artifact(&["get", &reference, "conf"]).run_in(&by_label).exits(0);
        assert!(cost(&registry, before).0 < 300_000);
        artifact(&["get", "-o", "conf", &reference, "/etc/app/../app"]).run_in(&by_path).exits(0);
        assert_eq!(by_label.listing(), by_path.listing());
        assert_eq!(by_label.read("conf/b.conf"), noise(4, 50_000));
    }
}

#[test]
fn labelling_changes_the_labels_and_nothing_else() {
    let registry = Registry::start();
    let image = image().label("maintainer", "a <b> & c");
    let reference = registry.push("team/app:1", &image);
    let (before, config_before) = manifest_and_config(&registry, "team/app", "1");
    label_as(&reference, &[("tool", "/bin/tool")]);
    let (after, config_after) = manifest_and_config(&registry, "team/app", "1");
    assert_eq!(before["layers"], after["layers"]);
    let labels = config_after["config"]["Labels"].as_object().unwrap();
    assert_eq!(labels["maintainer"], "a <b> & c");
    let record: Value = serde_json::from_str(labels["org.docker-artifact.tool"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&record["path"], &record["real"], &record["size"], &record["mode"]),
        (&"/bin/tool".into(), &"/usr/bin/tool".into(), &200_000.into(), &"0755".into())
    );
    let mut without = config_after.clone();
    without["config"]["Labels"] = config_before["config"]["Labels"].clone();
    assert_eq!(without, config_before);
}

#[test]
fn no_layer_is_uploaded() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    let before = registry.log().len();
    label_as(&reference, &[("tool", "/bin/tool"), ("conf", "/etc/app")]);
    let log = registry.log();
    let layers = log[before..].iter().filter(|request| request.method == "GET" && request.target.contains("/blobs/"));
    // The config and each of the two layers, once.
    assert_eq!(layers.count(), 3);
    let uploads = log[before..].iter().filter(|request| request.method == "PUT" && request.target.contains("/blobs/"));
    // The config, two parts, the list of them, and the empty config of the index.
    assert_eq!(uploads.count(), 5);
}

#[test]
fn labelling_twice_changes_nothing() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        let first = label_as(&reference, &[("tool", "/bin/tool")]);
        let before = registry.log().len();
        let second = label_as(&reference, &[("tool", "bin/./tool")]);
        assert!(!second.pushed);
        assert_eq!((&second.old, &second.new), (&first.new, &first.new));
        assert!(registry.log()[before..].iter().all(|request| request.method == "GET"));
    }
}

#[test]
fn a_declared_label_is_resolved() {
    let registry = Registry::start();
    let image = image().label("org.docker-artifact.tool", "/bin/tool");
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
    assert!(try_label(&reference, Request::default()).unwrap().pushed);
    let before = registry.log().len();
    artifact(&["get", &reference, "tool", "-o", "again"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("again"), noise(2, 200_000));
    assert!(cost(&registry, before).0 < 400_000);
}

#[test]
fn what_is_not_there_cannot_be_labelled() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    let missing = try_label(&reference, add(&[("x", "/bin/nothing")])).unwrap_err();
    assert_eq!(missing.exit_class(), ExitClass::NotFound);
    let nothing = try_label(&reference, Request::default()).unwrap_err();
    assert_eq!(nothing.exit_class(), ExitClass::NotFound);
    assert!(registry.logged("PUT", "").is_empty());
}

#[test]
fn a_label_can_be_removed() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool"), ("conf", "/etc/app")]);
    let remove = Request { remove: vec!["tool".parse().unwrap()], ..Request::default() };
    try_label(&reference, remove).unwrap();
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let labels: Vec<&String> = config["config"]["Labels"].as_object().unwrap().keys().collect();
    assert_eq!(labels, ["org.docker-artifact.conf"]);
}

#[test]
fn the_index_of_the_digest_before_is_not_left_behind() {
    let registry = Registry::start();
    let reference = push_labelled(&registry);
    let old_list = format!("team/app/manifests/{}", subject_of(&registry).replace(':', "-"));
    assert_eq!(json_of(&registry, &old_list)["manifests"].as_array().unwrap().len(), 1);
    label_as(&reference, &[("conf", "/etc/app")]);
    let left = registry.logged("DELETE", "/manifests/").len();
    assert_eq!(left, 1);
    let (_, index) = index_of(&registry);
    assert_eq!(
        index["layers"].as_array().unwrap().len(),
        3,
        "two parts and their list: what was labelled before is there, too"
    );
}

#[test]
fn a_dry_run_sends_nothing() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    let request = Request { dry_run: true, ..add(&[("tool", "/bin/tool")]) };
    let labelled = try_label(&reference, request).unwrap();
    assert!(labelled.old != labelled.new && !labelled.pushed);
    assert!(registry.log().iter().all(|request| request.method == "GET"));
}

#[test]
fn every_platform_is_labelled_and_attestations_follow() {
    let registry = Registry::start();
    let index =
        Index::new().image(&image().platform("linux/amd64")).image(&image().platform("linux/arm64")).attestation();
    let reference = registry.push("team/app:1", &index);
    let labelled = label_as(&reference, &[("tool", "/bin/tool")]);
    assert_eq!(labelled.images.len(), 2);
    let index = json_of(&registry, "team/app/manifests/1");
    let entries = index["manifests"].as_array().unwrap();
    for platform in ["linux/amd64", "linux/arm64"] {
        let dir = WorkDir::new();
        artifact(&["get", "--platform", platform, &reference, "tool"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), noise(2, 200_000));
    }
    let attested = entries.iter().find_map(|entry| entry["annotations"]["vnd.docker.reference.digest"].as_str());
    assert!(entries.iter().any(|entry| entry["digest"].as_str() == attested), "{index}");
}

#[test]
fn an_attached_record_leaves_the_image_alone() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        let request = Request { attach: true, ..add(&[("tool", "/bin/tool")]) };
        let labelled = try_label(&reference, request).unwrap();
        assert!(labelled.pushed && labelled.old == labelled.new);
        let dir = WorkDir::new();
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), noise(2, 200_000));
        // The digest that a person gave does not cover what is attached.
        let pinned = format!("{}@{}", reference.rsplit_once(':').unwrap().0, labelled.new);
        artifact(&["get", &pinned, "tool", "-o", "pinned"]).run_in(&dir).exits(1).says("--trust-attached");
    }
}

#[test]
fn without_a_range_index_only_the_labelled_layer_is_read_and_no_further() {
    let registry = Registry::start();
    let reference = push_labelled(&registry);
    let (manifest, _) = manifest_and_config(&registry, "team/app", "1");
    registry.lose(&index_digest(&registry));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
    let upper = manifest["layers"][1]["digest"].as_str().unwrap();
    let since_label = registry.logged("GET", upper).len();
    assert_eq!(since_label, 1, "the layer above was read for labelling alone");
}

#[test]
fn a_registry_that_ignores_ranges_is_read_by_the_layer() {
    let registry = Registry::start();
    let reference = push_labelled(&registry);
    registry.requests_for("/blobs/").fail(Fault::RangeIgnored);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
}

#[test]
fn legacy_labels_are_read_and_searched_in_their_layer() {
    let registry = Registry::start();
    let bare = image();
    let layers = manifest_of(&registry, &bare);
    let blob = layers["layers"][0]["digest"].as_str().unwrap().to_owned();
    let reference = registry.push("team/app:legacy", &image().label("tool", &blob));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
}
