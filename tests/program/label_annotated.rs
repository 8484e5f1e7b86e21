//! The list of parts that an image's own manifest names: what it saves, and that nothing depends on it.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::label_places::write;
use crate::support::labelled::*;
use crate::support::*;
use docker_artifact::artifact::label::Request;
use rustix::process::Signal;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "org.docker-artifact.index";

fn both_kinds() -> [Registry; 2] {
    [Registry::start(), Registry::options().referrers().start()]
}

/// What `work` asked the registry for.
fn asked(registry: &Registry, work: impl FnOnce()) -> Vec<String> {
    let before = registry.log().len();
    work();
    registry.log()[before..].iter().map(|request| format!("{} {}", request.method, request.target)).collect()
}

fn referrers(asked: &[String]) -> usize {
    asked.iter().filter(|request| request.contains("/referrers/") || request.contains("/manifests/sha256")).count()
}

/// Gets the labelled tool, which must be right, and gives what was asked for.
#[track_caller]
fn get_tool(registry: &Registry, reference: &str) -> Vec<String> {
    let dir = WorkDir::new();
    let asked = asked(registry, || drop(artifact(&["get", reference, "tool"]).run_in(&dir).exits(0)));
    assert!(dir.read("tool") == noise(2, 200_000));
    asked
}

/// Pushes the labelled image again, its annotation saying `value`, as `team/app:1`.
fn annotate(registry: &Registry, value: Option<&str>) {
    let mut manifest = json_of(registry, "team/app/manifests/1");
    manifest["annotations"] = value.map_or(json!({}), |value| json!({ INDEX: value }));
    send(registry, "PUT", "team/app/manifests/1", MANIFEST, manifest.to_string().into_bytes());
}

/// The list of parts that the labelled image names.
fn parts_of(registry: &Registry) -> Value {
    json_of(registry, &format!("team/app/blobs/{}", list_of(registry)["digest"].as_str().unwrap()))
}

fn store(registry: &Registry, bytes: &[u8]) -> Value {
    registry.store_blob("team/app", &sha256(bytes), bytes);
    json!({ "mediaType": list_of(registry)["mediaType"], "digest": sha256(bytes), "size": bytes.len() })
}

#[test]
fn a_labelled_file_takes_the_manifest_the_config_the_list_and_its_range() {
    for registry in both_kinds() {
        let reference = push_labelled(&registry);
        let asked = get_tool(&registry, &reference);
        assert_eq!(asked.len(), 4, "{asked:?}");
        assert_eq!(referrers(&asked), 0);
        assert!(asked.contains(&format!("GET /v2/team/app/blobs/{}", list_of(&registry)["digest"].as_str().unwrap())));
    }
}

#[test]
fn a_name_in_ls_needs_no_referrers_and_all_names_do() {
    let registry = Registry::options().referrers().start();
    let reference = push_labelled(&registry);
    let ls = |words: &[&str]| {
        let arguments = [&["ls", "--format", "{{.Name}} {{.Read}}", &reference], words].concat();
        asked(&registry, || assert!(artifact(&arguments).run().exits(0).out().starts_with("tool range")))
    };
    assert_eq!(referrers(&ls(&["tool"])), 0);
    assert!(referrers(&ls(&[])) > 0, "more may be attached");
}

#[test]
fn a_list_that_is_gone_or_lies_costs_requests_and_nothing_else() {
    let registry = Registry::options().referrers().start();
    let reference = push_labelled(&registry);
    let honest = list_of(&registry);
    let mut list = parts_of(&registry);
    let wrong_size = json!({ "mediaType": honest["mediaType"], "digest": honest["digest"], "size": 7 });
    let gone = json!({ "mediaType": honest["mediaType"], "digest": sha256(b"gone"), "size": 4 });
    let huge = json!({ "mediaType": honest["mediaType"], "digest": honest["digest"], "size": 1_u64 << 40 });
    let other_type = json!({ "mediaType": "text/plain", "digest": honest["digest"], "size": honest["size"] });
    let no_json = store(&registry, b"no JSON");
    let no_parts = store(&registry, br#"{"parts":[]}"#);
    list["parts"][0]["annotations"]["org.docker-artifact.record"] = "{}".into();
    let other_record = store(&registry, list.to_string().as_bytes());
    let values = [wrong_size, gone, huge, other_type, no_json, no_parts, other_record].map(|value| value.to_string());
    // The annotated image is another one, so its index is pushed for it as well.
    for value in values.iter().map(String::as_str).chain(["", "{}", "[1]", r#"{"digest":"x"}"#]) {
        annotate(&registry, Some(value));
        // Without referrers, the layer is read.
        let asked = get_tool(&registry, &reference);
        assert!(referrers(&asked) > 0, "{value}: {asked:?}");
        let attach = Request { attach: true, ..add(&[("tool", "/bin/tool")]) };
        try_label(&reference, attach).unwrap();
        let dir = WorkDir::new();
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0).says("fetched 2").never_says("instead");
    }
}

#[test]
fn a_list_whose_parts_lie_never_yields_a_wrong_file() {
    let registry = Registry::start();
    let reference = push_labelled(&registry);
    let honest = parts_of(&registry);
    for (field, value) in [("digest", json!(sha256(b"x"))), ("size", json!(3)), ("data", json!("AAAA"))] {
        let mut list = honest.clone();
        list["parts"][0][field] = value;
        let descriptor = store(&registry, list.to_string().as_bytes());
        annotate(&registry, Some(&descriptor.to_string()));
        get_tool(&registry, &reference);
    }
}

#[test]
fn a_list_that_the_registry_does_not_give_out_costs_requests_and_nothing_else() {
    for fault in [
        Fault::Status(401),
        Fault::Status(403),
        Fault::Status(400),
        Fault::StatusWith(429, "Retry-After", "86400"),
        Fault::Redirect("http://127.0.0.1:1/".to_owned()),
        Fault::Redirect("file:///etc/passwd".to_owned()),
        Fault::Altered(10),
    ] {
        let registry = Registry::options().referrers().start();
        let reference = registry.push("team/app:1", &image());
        label_as(&reference, &[("tool", "/bin/tool")]);
        let list = list_of(&registry)["digest"].as_str().unwrap().to_owned();
        registry.requests_for(&format!("blobs/{list}")).fail(fault.clone());
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
        run.says("fetched 2").never_says("instead");
        assert!(dir.read("tool") == noise(2, 200_000), "{fault:?}");
    }
}

#[test]
fn a_list_that_stalls_holds_up_nobody_who_does_not_need_it() {
    let registry = Registry::options().referrers().start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    let manifest = json_of(&registry, "team/app/manifests/1");
    let list = list_of(&registry)["digest"].as_str().unwrap().to_owned();
    registry.requests_for(&format!("blobs/{list}")).fail(Fault::StallAfter(100));
    let begin = Instant::now();
    artifact(&["get", &reference, "other"]).run().exits(3).says("it has tool");
    registry.lose(manifest["config"]["digest"].as_str().unwrap());
    artifact(&["get", &reference, "tool"]).run().exits(3).says("push the image again");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn whoever_stops_waiting_for_a_list_that_stalls_is_let_go_at_once() {
    let (dir, registry) = (WorkDir::new(), Registry::start());
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    registry.requests_for(list_of(&registry)["digest"].as_str().unwrap()).fail(Fault::StallAfter(100));
    let running = artifact(&["get", &reference, "tool"]).heeding_signals().start_in(&dir);
    registry.wait_for_stall();
    running.signal(Signal::INT);
    running.wait().exits(130);
    assert!(dir.listing().is_empty(), "{:?}", dir.listing());
}

#[test]
fn a_list_of_another_media_type_is_not_asked_for() {
    let registry = Registry::options().referrers().start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    let layer = json_of(&registry, "team/app/manifests/1")["layers"][1].clone();
    annotate(&registry, Some(&layer.to_string()));
    let asked = get_tool(&registry, &reference);
    assert!(!asked.iter().any(|request| request.contains(layer["digest"].as_str().unwrap())), "{asked:?}");
}

#[test]
fn an_image_whose_layers_were_compressed_anew_is_read_by_the_index_of_these_layers() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        label_as(&reference, &[("tool", "/bin/tool")]);
        let mut manifest = json_of(&registry, "team/app/manifests/1");
        for layer in manifest["layers"].as_array_mut().unwrap() {
            let blob = fetch(&registry, &format!("team/app/blobs/{}", layer["digest"].as_str().unwrap()));
            let mut tar = Vec::new();
            flate2::read::MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
            registry.store_blob("team/app", &sha256(&tar), &tar);
            *layer = json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(&tar), "size": tar.len() });
        }
        send(&registry, "PUT", "team/app/manifests/1", MANIFEST, manifest.to_string().into_bytes());
        get_tool(&registry, &reference);
        assert!(label_as(&reference, &[("tool", "/bin/tool")]).pushed);
        let dir = WorkDir::new();
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0).says("fetched 2").never_says("instead");
        assert!(dir.read("tool") == noise(2, 200_000));
    }
}

#[test]
fn labelling_again_brings_a_lost_list_back() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        label_as(&reference, &[("tool", "/bin/tool")]);
        let manifest = fetch(&registry, "team/app/manifests/1");
        // A copy has neither the list nor the index; what is attached then makes an index that does not list it.
        let copy = registry.push("team/copy:1", &image());
        let digest = json_of(&registry, "team/app/manifests/1")["config"]["digest"].as_str().unwrap().to_owned();
        let config = fetch(&registry, &format!("team/app/blobs/{digest}"));
        registry.store_blob("team/copy", &digest, &config);
        send(&registry, "PUT", "team/copy/manifests/1", MANIFEST, manifest);
        let again = add(&[("tool", "/bin/tool")]);
        try_label(&copy, Request { attach: true, ..again.clone() }).unwrap();
        assert!(referrers(&get_tool(&registry, &copy)) > 0);
        assert!(try_label(&copy, again.clone()).unwrap().pushed);
        assert_eq!(referrers(&get_tool(&registry, &copy)), 0);
        assert!(!try_label(&copy, again).unwrap().pushed, "it is there");
    }
}

#[test]
fn labelling_again_names_the_new_list_and_removing_everything_names_none() {
    let registry = Registry::options().referrers().start();
    let reference = push_labelled(&registry);
    let first = list_of(&registry);
    label_as(&reference, &[("conf", "/etc/app")]);
    assert_ne!(list_of(&registry), first);
    assert_eq!(referrers(&get_tool(&registry, &reference)), 0);
    let unchanged = list_of(&registry);
    assert!(!label_as(&reference, &[("conf", "/etc/app")]).pushed);
    assert_eq!(list_of(&registry), unchanged);
    artifact(&["label", &reference, "--remove", "conf", "--remove", "tool"]).run().exits(0);
    assert!(json_of(&registry, "team/app/manifests/1")["annotations"][INDEX].is_null());
}

#[test]
fn what_is_attached_beside_labels_is_found_and_keeps_their_list() {
    let registry = Registry::start();
    let reference = push_labelled(&registry);
    let list = list_of(&registry);
    try_label(&reference, Request { attach: true, ..add(&[("more", "/etc/app/a.conf")]) }).unwrap();
    assert_eq!(list_of(&registry), list, "the image stays as it is");
    assert_eq!(content(&reference, "more"), "a");
    assert_eq!(referrers(&get_tool(&registry, &reference)), 0);
    let (_, index) = index_of(&registry);
    let kept = index["layers"].as_array().unwrap().iter().any(|layer| layer["digest"] == list["digest"]);
    assert!(kept, "a registry would collect the list: {index}");
}

#[test]
fn something_can_be_attached_where_the_list_is_gone() {
    let registry = Registry::start();
    let reference = push_labelled(&registry);
    lose_list(&registry);
    try_label(&reference, Request { attach: true, ..add(&[("more", "/etc/app/a.conf")]) }).unwrap();
    assert_eq!(content(&reference, "more"), "a");
    get_tool(&registry, &reference);
}

#[test]
fn an_image_in_another_repository_brings_its_list() {
    let registry = Registry::options().referrers().start();
    let reference = registry.push("team/app:1", &image());
    let other = format!("{}/team/other:2", registry.host());
    label_as(&reference, &[("tool", "/bin/tool")]);
    artifact(&["label", &reference, "--tag", &other]).run().exits(0);
    let asked = get_tool(&registry, &other);
    assert_eq!((asked.len(), referrers(&asked)), (4, 0), "{asked:?}");
}

#[test]
fn a_labelled_copy_of_an_archive_names_no_list() {
    let dir = WorkDir::new();
    let archive = write(&dir, &image(), Form::Oci);
    artifact(&["label", &archive, "tool=/bin/tool", "-o", "labelled.tar"]).run_in(&dir).exits(0);
    assert!(!dir.read("labelled.tar").windows(INDEX.len()).any(|window| window == INDEX.as_bytes()));
}
