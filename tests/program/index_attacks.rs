//! Table indexes of somebody who can write to the repository, and what `index` and `label` make of them.

use serde_json::json;

use crate::support::indexed::*;
use crate::support::labelled::*;
use crate::support::own_table::lying_table;
use crate::support::*;

const RANGE_INDEX: &str = "application/vnd.docker-artifact.index.v1+json";

fn app() -> Image {
    Image::new().layer(Layer::new([
        file("good", noise(1, 500_000)),
        file("evil", noise(2, 500_000)),
        file("usr/other", noise(3, 200_000)),
    ]))
}

/// Attaches to `team/app:1` a table that is right in itself, and by which `/good` is what `/evil` is.
fn attach_lie(registry: &Registry, image: &Packed) {
    let layer = &image.layers[0];
    let (table, top) = lying_table(&layer.bytes, true, &|entry| {
        entry.path = match entry.path.as_slice() {
            b"good" => b"evil".to_vec(),
            b"evil" => b"good".to_vec(),
            other => other.to_vec(),
        };
    });
    replace(registry, &index_with(registry, &layer.digest(), &table, &top));
}

#[test]
fn what_somebody_has_attached_is_not_what_a_label_vouches_for() {
    let registry = Registry::start();
    let image = app().pack();
    let reference = registry.push("team/app:1", &image);
    attach_lie(&registry, &image);
    let get = |reference: &str| artifact(&["get", reference, "/good", "-o", "-", "-q"]).run().exits(0).stdout;
    assert!(get(&reference) == noise(2, 500_000), "who can attach a table can choose, as the manual says");
    artifact(&["label", "--all", &reference]).run().exits(0);
    let digest = sha256(&fetch(&registry, "team/app/manifests/1"));
    let pinned = format!("{reference}@{digest}");
    assert!(get(&pinned) == noise(1, 500_000));
    artifact(&["get", &pinned, "/good", "-o", "-"]).run().exits(0).says("by the image's own table");
    // The image vouches for the table now, and it is not made again.
    let before = registry.count("GET", &image.layers[0].digest());
    artifact(&["label", "--all", &reference]).run().exits(0).says("nothing changed");
    assert_eq!(registry.count("GET", &image.layers[0].digest()), before);
}

/// A list under a tag is written by whoever can push: it may call any manifest one of ours.
#[test]
fn what_a_list_only_claims_to_be_attached_is_not_deleted() {
    let words: [(&[&str], &str); 3] =
        [(&["index"], TYPE), (&["label", "--attach"], RANGE_INDEX), (&["label"], RANGE_INDEX)];
    for (words, artifact_type) in words {
        let registry = Registry::start();
        let reference = registry.push("team/app:1", &app());
        let other = registry.push("team/app:2", &Image::new().layer([file("etc/motd", "hello")]));
        let of_other = sha256(&fetch(&registry, "team/app/manifests/2"));
        list_as(&registry, &[(&of_other, artifact_type), (&subject_of(&registry), artifact_type)]);
        let path: &[&str] = if words[0] == "label" { &["/good"] } else { &[] };
        artifact(&[words, &[&reference], path].concat()).run().exits(0);
        for reference in [&reference, &other] {
            artifact(&["ls", "--layers", reference]).run().exits(0);
        }
        assert_eq!(registry.count("DELETE", &of_other), 0, "{words:?}");
    }
}

/// A list that is as long as lists may be costs as many requests as a short one.
#[test]
fn a_list_of_thousands_costs_a_few_requests() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &app());
    let entry = |number: u32| {
        let digest = sha256(&number.to_le_bytes());
        json!({"mediaType": MANIFEST, "digest": digest, "size": 1, "artifactType": TYPE})
    };
    let list = json!({"schemaVersion": 2, "manifests": (0..20_000).map(entry).collect::<Vec<_>>()});
    put_list(&registry, &list);
    let before = registry.log().len();
    artifact(&["index", "-q", &reference]).run().exits(0);
    let requests = registry.log().len() - before;
    assert!(requests < 60, "{requests}");
    artifact(&["get", &reference, "/good", "-o", "-"]).run().exits(0).says("by a table attached");
}

#[test]
fn what_a_registry_refuses_half_way_leaves_the_image_as_it_was() {
    let image = Image::new()
        .layer(Layer::new([file("good", noise(1, 600_000))]))
        .layer(Layer::new([file("other", noise(2, 600_000))]));
    for (part, nth) in [
        ("POST /v2/team/app/blobs/uploads/", 1),
        ("PUT /v2/team/app/blobs/uploads/", 2),
        ("PUT /v2/team/app/manifests/sha256:", 1),
        ("PUT /v2/team/app/manifests/sha256-", 1),
    ] {
        let registry = Registry::start();
        let reference = registry.push("team/app:1", &image);
        registry.requests_for(part).nth(nth).fail(Fault::Status(403));
        artifact(&["index", &reference]).run().exits(4);
        let subject = sha256(&fetch(&registry, "team/app/manifests/1"));
        assert_eq!(subject, image.pack().digest());
        assert!(artifact(&["get", &reference, "/good", "-o", "-"]).run().exits(0).stdout == noise(1, 600_000));
        artifact(&["index", &reference]).run().exits(0);
        artifact(&["get", &reference, "/good", "-o", "-"]).run().exits(0).says("by a table attached");
    }
}

#[test]
fn an_index_that_is_interrupted_has_attached_nothing() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &app());
    registry.requests_for("/blobs/sha256:").after(1).fail(Fault::StallAfter(1000));
    let dir = WorkDir::new();
    let running = artifact(&["index", &reference]).heeding_signals().start_in(&dir);
    registry.wait_for_stall();
    running.signal(rustix::process::Signal::INT);
    running.wait().exits(130);
    assert!(listing(&dir.tmp()).is_empty(), "{:?}", listing(&dir.tmp()));
    assert_eq!(registry.count("PUT", ""), 0);
}

#[test]
fn an_image_without_layers_needs_no_tables_and_one_that_lacks_something_is_an_error() {
    let registry = Registry::start();
    let none = registry.push("team/none:1", &Image::new());
    artifact(&["index", &none]).run().exits(0).says(" needs no tables");
    let other = Image::new().layer(Layer::new([file("other", noise(4, 100_000))]));
    let index = Index::new().image(&app().platform("linux/amd64")).image(&other.platform("linux/arm64")).pack();
    let missing = &index.children[1];
    for lost in [missing.layers[0].digest(), missing.config.as_ref().unwrap().digest(), missing.digest()] {
        let reference = registry.push("team/app:1", &index);
        registry.lose(&lost);
        artifact(&["index", &reference, "--dry-run"]).run().exits(3).says(&lost);
        artifact(&["index", &reference]).run().exits(3).says(&lost);
        artifact(&["index", "--platform", "linux/amd64", &reference]).run().exits(0);
    }
}

/// Six files far apart, each of which the table says to be somewhere else: whoever vouches for the table is told so, and otherwise the layer is
/// read.
#[test]
fn content_that_is_not_where_a_table_says_is_never_written() {
    let files = |from: u64| (from..from + 6).map(|number| file(format!("{number}"), noise(number, 200_000)));
    let layer = Layer::new(files(0)).plain();
    let packed = Image::new().layer(layer.clone()).pack();
    let (table, top) = lying_table(&packed.layers[0].bytes, true, &|entry| entry.data_offset += 512);
    let registry = Registry::start();
    registry.push("team/app:1", &packed);
    let index = index_with(&registry, &packed.layers[0].digest(), &table, &top);
    replace(&registry, &index);
    let reference = format!("{}/team/app:1", registry.host());
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/", "-o", "out/"]).run_in(&dir).exits(0).says("reading the layer instead");
    assert!((0..6).all(|number| dir.read(&format!("out/{number}")) == noise(number, 200_000)));

    let list = json!({"layers": [{"digest": packed.layers[0].digest(), "table": index["layers"][0]}]}).to_string();
    let digest = sha256(list.as_bytes());
    registry.store_blob("team/app", &digest, list.as_bytes());
    let media_type = "application/vnd.docker-artifact.tablelist.v1+json";
    let named = json!({"mediaType": media_type, "digest": digest, "size": list.len()}).to_string();
    let image = Image::new().layer(layer).label("com.docker-artifact.tables", &named);
    for reference in [registry.push("team/app:2", &image), registry.push_by_digest("team/app", &image)] {
        let dir = WorkDir::new();
        for path in ["/", "/3"] {
            let run = artifact(&["get", &reference, path, "-o", "out/"]).run_in(&dir).exits(5);
            run.says("does not match its digest").says("--no-index");
            assert!(dir.listing().is_empty() && listing(&dir.tmp()).is_empty(), "{:?}", dir.listing());
        }
        artifact(&["get", "--no-index", &reference, "/", "-o", "out/"]).run_in(&dir).exits(0);
    }
}
