//! What lies beside an image: records that are attached, the range index, and the lists in which registries keep them.

use crate::support::labelled::*;
use crate::support::*;
use docker_artifact::artifact::label::Request;
use serde_json::{Value, json};

const NAMES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// Every way in which registries keep what refers to an image.
fn all_kinds() -> Vec<Registry> {
    let options = || Registry::options();
    vec![
        options().start(),
        options().keeps_manifests().start(),
        options().digest_tags().start(),
        options().referrers().start(),
        options().referrers().keeps_manifests().start(),
        options().referrers_in_pages().start(),
        options().referrers_in_pages().keeps_manifests().start(),
        options().untyped_referrers().start(),
        options().untyped_referrers().keeps_manifests().start(),
    ]
}

fn six_files() -> Image {
    let files = NAMES.map(|name| file(format!("opt/{name}"), format!("content of {name}")));
    Image::new().layer([dir("opt")]).layer(Vec::from(files))
}

#[test]
fn what_is_attached_later_leaves_what_was_attached_before() {
    for (number, registry) in all_kinds().into_iter().enumerate() {
        let reference = registry.push("team/app:1", &six_files());
        let attach = |name: &str, path: &str| {
            try_label(&reference, Request { attach: true, ..add(&[(name, path)]) }).unwrap();
        };
        NAMES.iter().for_each(|name| attach(name, &format!("/opt/{name}")));
        // The same name again is about something else now.
        attach("one", "/opt/two");
        let mut sorted = NAMES;
        sorted.sort();
        let before = registry.log().len();
        assert_eq!(names(&reference), sorted, "registry {number}");
        let indexes =
            registry.log()[before..].iter().filter(|request| request.target.contains("manifests/sha256:")).count();
        assert!(indexes <= 8, "registry {number}: {indexes} requests");
        for (name, expected) in [("one", "content of two"), ("four", "content of four")] {
            assert_eq!(content(&reference, name), expected, "registry {number}");
        }
    }
}

#[test]
fn what_is_attached_can_be_taken_away() {
    for (number, registry) in all_kinds().into_iter().enumerate() {
        let image = six_files().pack();
        let reference = registry.push("team/app:1", &image);
        let attach = |words: &[&str]| artifact(&[&["label", "--attach", &reference], words].concat()).run();
        attach(&["/opt/one", "/opt/two"]).exits(0);
        let before = registry.log().len();
        attach(&["--remove", "one"]).exits(0);
        assert_eq!(names(&reference), ["two"], "registry {number}");
        attach(&["--remove", "one"]).exits(3).says("artifact one");
        attach(&["--remove", "two"]).exits(0);
        assert!(names(&reference).is_empty(), "registry {number}");
        assert_eq!(layers_read(&registry, &image, before), 0);
        attach(&["/opt/three"]).exits(0);
        assert_eq!(names(&reference), ["three"], "registry {number}");
        assert_eq!(sha256(&fetch(&registry, "team/app/manifests/1")), image.digest());
    }
}

#[test]
fn a_label_is_not_taken_away_from_beside_the_image() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &six_files());
    artifact(&["label", &reference, "/opt/one"]).run().exits(0);
    // It has a part in the range index, and so it can be; the label stays, and is read by its layer.
    artifact(&["label", "--attach", "--remove", "one", &reference]).run().exits(0);
    assert_eq!(content(&reference, "one"), "content of one");
    artifact(&["label", "--attach", "--remove", "one", &reference]).run().exits(3).says("is a label of the image");
}

#[test]
fn what_is_attached_is_carried_over_when_something_else_is_labelled() {
    for (number, registry) in all_kinds().into_iter().enumerate() {
        let image = six_files().pack();
        let reference = registry.push("team/app:1", &image);
        artifact(&["label", "--attach", &reference, "/opt/one"]).run().exits(0);
        artifact(&["label", &reference, "/opt/two"]).run().exits(0);
        assert_eq!(names(&reference), ["one", "two"], "registry {number}");
        // Whoever has the digest from before still finds it there.
        let before = format!("{reference}@{}", image.digest());
        let get = artifact(&["get", "--trust-attached", &before, "one", "-o", "-"]).run();
        assert_eq!(get.exits(0).out(), "content of one", "registry {number}");
    }
}

#[test]
fn what_is_attached_to_a_pinned_image_does_not_become_a_label() {
    let registry = Registry::start();
    let image = six_files().pack();
    let reference = registry.push("team/app:1", &image);
    artifact(&["label", "--attach", &reference, "/opt/one"]).run().exits(0);
    let pinned = format!("{reference}@{}", image.digest());
    let other = format!("{}/team/app:2", registry.host());
    artifact(&["label", "-t", &other, &pinned, "/opt/two"]).run().exits(0).says("one is only attached to");
    assert_eq!(names(&other), ["two"]);
}

#[test]
fn a_declared_artifact_that_was_attached_is_got_for_its_own_bytes() {
    for registry in [Registry::start(), Registry::options().referrers().start()] {
        let image = image().label("org.docker-artifact.tool", "/usr/bin/tool").pack();
        let reference = registry.push("team/app:1", &image);
        artifact(&["label", "--attach", &reference]).run().exits(0);
        let listed = artifact(&["ls", "--format", "{{.Name}} {{.Read}}", &reference]).run().exits(0).out();
        assert_eq!(listed, "tool attached\n");
        let (dir, before) = (WorkDir::new(), registry.log().len());
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), noise(2, 200_000));
        let sent: u64 = registry.log()[before..].iter().map(|request| request.sent()).sum();
        assert!(sent < 400_000, "{sent} bytes");
        // The digest that a person gave covers the declared path, and not what is attached.
        let pinned = format!("{reference}@{}", image.digest());
        let listed = artifact(&["ls", "--format", "{{.Read}}", &pinned]).run().exits(0).out();
        assert_eq!(listed, "declared\n");
        for (flags, costs_a_layer) in [(&[][..], true), (&["--trust-attached"], false)] {
            let (dir, before) = (WorkDir::new(), registry.log().len());
            artifact(&[&["get"], flags, &[&pinned, "tool"]].concat()).run_in(&dir).exits(0);
            assert_eq!(dir.read("tool"), noise(2, 200_000));
            let sent: u64 = registry.log()[before..].iter().map(|request| request.sent()).sum();
            assert_eq!(sent > 4_000_000, costs_a_layer, "{sent} bytes with {flags:?}");
        }
        // Labelling it needs the layers, as what is attached is nobody's word.
        let (before, digest) = (registry.log().len(), image.digest());
        artifact(&["label", "--attach", &reference])
            .run()
            .exits(0)
            .says(&format!("nothing changed: {reference}@{digest}"));
        assert_eq!(layers_read(&registry, &image, before), 0);
    }
}

#[test]
fn a_record_for_another_path_does_not_speak_for_a_declared_one() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &six_files());
    artifact(&["label", "--attach", &reference, "tool=/opt/one"]).run().exits(0);
    let declared = six_files().label("org.docker-artifact.tool", "/opt/two");
    let reference = registry.push("team/app:2", &declared);
    artifact(&["label", "--attach", &reference, "tool=/opt/one"]).run().exits(0);
    assert_eq!(content(&reference, "tool"), "content of two");
}

#[test]
fn where_the_tag_of_a_list_is_the_image_itself_the_index_is_kept_all_the_same() {
    let registry = Registry::options().digest_tags().start();
    let reference = registry.push("team/app:1", &image());
    artifact(&["label", &reference, "tool=/bin/tool"]).run().exits(0).never_says("does not list");
    let listed = artifact(&["ls", "--format", "{{.Read}}", &reference]).run().exits(0).out();
    assert_eq!(listed, "range\n");
    let list = json_of(&registry, &format!("team/app/manifests/{}", subject_of(&registry).replace(':', "-")));
    assert_eq!(list["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert!(list.get("layers").is_none() && list["manifests"].as_array().unwrap().len() == 1, "{list}");
}

#[test]
fn a_registry_that_lists_nothing_is_told_of() {
    let registry = Registry::options().forgets_lists().start();
    let reference = registry.push("team/app:1", &image());
    let run = artifact(&["label", "--attach", &reference, "tool=/bin/tool"]).run().exits(1);
    run.says("does not list what was attached");
    artifact(&["label", &reference, "tool=/bin/tool"])
        .run()
        .exits(0)
        .says("getting its artifacts will read whole layers");
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
}

#[test]
fn what_was_attached_before_stays_where_the_registry_drops_what_is_sent() {
    for registry in all_kinds() {
        let reference = registry.push("team/app:1", &six_files());
        artifact(&["label", "--attach", &reference, "/opt/one"]).run().exits(0);
        registry.requests_for("PUT /v2/team/app/manifests/sha256:").fail(Fault::Dropped);
        let run = artifact(&["label", "--attach", &reference, "/opt/two"]).run().exits(1);
        run.says("does not list what was attached");
        assert_eq!(names(&reference), ["one"]);
    }
}

#[test]
fn what_the_api_claims_to_list_and_does_not_is_listed_under_the_tag() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &six_files());
    registry.requests_for("PUT /v2/team/app/manifests/sha256:").fail(Fault::Header("OCI-Subject", "sha256:any"));
    for name in ["one", "two"] {
        artifact(&["label", "--attach", &reference, &format!("/opt/{name}")]).run().exits(0);
    }
    assert_eq!(names(&reference), ["one", "two"]);
}

#[test]
fn an_entry_of_another_tool_that_cannot_be_read_stays_in_the_list_and_hides_nothing() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &six_files());
    artifact(&["label", "--attach", &reference, "/opt/one"]).run().exits(0);
    let tag = format!("team/app/manifests/{}", subject_of(&registry).replace(':', "-"));
    let strange = json!({"digest": "blake3:0", "size": 1.5, "artifactType": "application/vnd.other"});
    let mut list = json_of(&registry, &tag);
    list["manifests"].as_array_mut().unwrap().insert(0, strange.clone());
    send(&registry, "PUT", &tag, "application/vnd.oci.image.index.v1+json", list.to_string().into_bytes());
    assert_eq!(names(&reference), ["one"]);
    artifact(&["label", "--attach", &reference, "/opt/two"]).run().exits(0);
    assert_eq!(names(&reference), ["one", "two"]);
    assert_eq!(json_of(&registry, &tag)["manifests"][0], strange);
    // The image is labelled, so that nothing of ours is left beside the digest before.
    artifact(&["label", &reference, "/opt/three"]).run().exits(0);
    let left = json_of(&registry, &tag)["manifests"].as_array().unwrap().clone();
    assert!(left.contains(&strange), "{left:?}");
}

#[test]
fn a_list_of_thousands_costs_few_requests() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &six_files());
    artifact(&["label", "--attach", &reference, "/opt/one"]).run().exits(0);
    let tag = format!("team/app/manifests/{}", subject_of(&registry).replace(':', "-"));
    let mut list = json_of(&registry, &tag);
    let own = list["manifests"][0].clone();
    let made_up = (0..2_000).map(|number| {
        json!({"digest": sha256(&[number as u8, (number >> 8) as u8]), "size": 9,
        "mediaType": own["mediaType"], "artifactType": own["artifactType"]})
    });
    list["manifests"] = made_up.chain([own.clone(), own.clone()]).collect();
    send(&registry, "PUT", &tag, "application/vnd.oci.image.index.v1+json", list.to_string().into_bytes());
    let before = registry.log().len();
    assert_eq!(names(&reference), ["one"]);
    artifact(&["label", "--attach", &reference, "/opt/two"]).run().exits(0);
    let requests = registry.log().len() - before;
    assert!(requests < 60, "{requests} requests");
    assert_eq!(names(&reference), ["one", "two"]);
}

#[test]
fn an_index_that_is_gone_or_too_large_does_not_hide_the_others() {
    for registry in [Registry::start(), Registry::options().referrers().start()] {
        let reference = registry.push("team/app:1", &six_files());
        artifact(&["label", "--attach", &reference, "/opt/one"]).run().exits(0);
        let (digest, size) = (subject_of(&registry), fetch(&registry, "team/app/manifests/1").len());
        let index = |padding: usize| {
            json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/vnd.docker-artifact.index.v1+json",
                "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2},
                "layers": [],
                "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size},
                "padding": "x".repeat(padding),
            })
        };
        let mut listed = Vec::new();
        for padding in [9 << 20, 1] {
            let body = index(padding).to_string().into_bytes();
            let manifest = "application/vnd.oci.image.manifest.v1+json";
            send(&registry, "PUT", &format!("team/app/manifests/{}", sha256(&body)), manifest, body.clone());
            listed.push(json!({
                "mediaType": manifest, "digest": sha256(&body), "size": body.len(),
                "artifactType": "application/vnd.docker-artifact.index.v1+json",
            }));
        }
        let tag = format!("team/app/manifests/{}", digest.replace(':', "-"));
        if registry.count("PUT", "manifests/sha256-") > 0 {
            let mut list = json_of(&registry, &tag);
            list["manifests"].as_array_mut().unwrap().extend(listed.clone());
            let index = "application/vnd.oci.image.index.v1+json";
            send(&registry, "PUT", &tag, index, list.to_string().into_bytes());
        }
        let gone = listed[1]["digest"].as_str().unwrap();
        registry.requests_for(&format!("manifests/{gone}")).fail(Fault::Status(404));
        let run = artifact(&["get", &reference, "one", "-o", "-"]).run().exits(0);
        assert_eq!(run.out(), "content of one");
        let passed_over = run.stderr.matches("skipping a range index that cannot be read").count();
        assert_eq!(passed_over, 2, "{}", run.stderr);
        // The next one that is attached takes the place of all of them.
        artifact(&["label", "--attach", &reference, "/opt/two"]).run().exits(0);
        assert_eq!(names(&reference), ["one", "two"]);
    }
}

#[test]
fn two_who_attach_at_the_same_time_both_do() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &six_files());
    artifact(&["label", "--attach", &reference, "/opt/one"]).run().exits(0);
    let tag = format!("team/app/manifests/{}", subject_of(&registry).replace(':', "-"));
    let list = json_of(&registry, &tag);
    artifact(&["label", "--attach", "--remove", "one", &reference]).run().exits(0);
    artifact(&["label", "--attach", &reference, "/opt/two"]).run().exits(0);
    // As it would be if the second had begun before the first was done: neither knew of the other.
    let mut both: Value = json_of(&registry, &tag);
    both["manifests"].as_array_mut().unwrap().extend(list["manifests"].as_array().unwrap().clone());
    let index = list["manifests"][0]["digest"].as_str().unwrap();
    let media_type = "application/vnd.oci.image.index.v1+json";
    send(&registry, "PUT", &tag, media_type, both.to_string().into_bytes());
    let request = Request { attach: true, ..add(&[("one", "/opt/one")]) };
    let other = registry.push("team/other:1", &six_files());
    try_label(&other, request).unwrap();
    let copy = fetch(&registry, &format!("team/other/manifests/{index}"));
    send(&registry, "PUT", &format!("team/app/manifests/{index}"), "application/vnd.oci.image.manifest.v1+json", copy);
    assert_eq!(names(&reference), ["one", "two"]);
    artifact(&["label", "--attach", &reference, "/opt/three"]).run().exits(0);
    assert_eq!(names(&reference), ["one", "three", "two"]);
}

#[test]
fn an_inherited_artifact_that_was_attached_is_got_for_its_own_bytes() {
    let registry = Registry::start();
    let base = registry.push("team/base:1", &six_files());
    label_as(&base, &[("one", "/opt/one")]);
    let (_, config) = manifest_and_config(&registry, "team/base", "1");
    let label = config["config"]["Labels"]["org.docker-artifact.one"].as_str().unwrap();
    let child = six_files().layer([file("opt/one", "changed")]).label("org.docker-artifact.one", label);
    let reference = registry.push("team/app:1", &child);
    let read = || artifact(&["ls", "--format", "{{.Read}}", &reference]).run().exits(0).out();
    assert_eq!(read(), "inherited\n");
    artifact(&["label", "--attach", &reference]).run().exits(0);
    assert_eq!(read(), "attached\n");
    assert_eq!(content(&reference, "one"), "changed");
}
