//! `docker artifact index`: tables beside an image, how they get there, and what they save.

use serde_json::{Value, json};

use crate::support::indexed::*;
use crate::support::labelled::*;
use crate::support::*;

/// A layer that several images have.
fn base() -> Layer {
    Layer::new([
        dir("srv"),
        file("srv/before", noise(1, 2_000_000)),
        file("srv/config", "deep = true\n").mode(0o600),
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/tool", noise(2, 200_000)).mode(0o755),
        symlink("bin", "usr/bin"),
        file("srv/after", noise(3, 2_000_000)),
    ])
}

/// One above it.
fn upper(seed: u64) -> Layer {
    Layer::new([
        dir("opt"),
        file("opt/own", noise(seed, 300_000)),
        whiteout("srv/before"),
        symlink("opt/link", "../usr/bin/tool"),
    ])
}

fn app() -> Image {
    Image::new().layer(base()).layer(upper(4)).layer([file("etc/short", "short")])
}

fn both_kinds() -> [Registry; 2] {
    [Registry::start(), Registry::options().referrers().start()]
}

/// Runs `index` on it.
#[track_caller]
fn indexed(reference: &str, flags: &[&str]) -> Run {
    artifact(&[&["index", reference], flags].concat()).run().exits(0)
}

/// The states of the layers that `index` tells.
#[track_caller]
fn states(reference: &str, flags: &[&str]) -> Vec<String> {
    let run = indexed(reference, &[&["--format", "{{.State}}"], flags].concat());
    run.out().lines().map(str::to_owned).collect()
}

/// The requests that `work` made, as methods and targets.
fn asked(registry: &Registry, work: impl FnOnce()) -> Vec<String> {
    let before = registry.log().len();
    work();
    registry.log()[before..].iter().map(|request| format!("{} {}", request.method, request.target)).collect()
}

/// How many bytes of the layers of `image` were sent in the requests from the one at `since` on.
fn sent(registry: &Registry, image: &Packed, since: usize) -> u64 {
    let layers: Vec<String> = image.layers.iter().map(|layer| layer.digest()).collect();
    let log = registry.log();
    let of_layers = log[since..].iter().filter(|request| layers.iter().any(|layer| request.target.contains(layer)));
    of_layers.filter(|request| request.method == "GET").map(|request| request.sent()).sum()
}

#[test]
fn a_file_of_an_indexed_image_costs_its_own_bytes_and_the_digest_stays() {
    for registry in both_kinds() {
        let image = app().pack();
        let reference = registry.push("team/app:1", &image);
        let run = indexed(&reference, &[]).says(" is indexed: 2 layers read, ");
        assert!(run.out().starts_with("INDEX "), "{}", run.out());
        assert_eq!(sha256(&fetch(&registry, "team/app/manifests/1")), image.digest());
        let (dir, before) = (WorkDir::new(), registry.log().len());
        let get = artifact(&["get", &reference, "/opt/link", "--format", "{{.Proof}} {{.Verified}}"]).run_in(&dir);
        assert_eq!(get.exits(0).says(", by a table attached to the image").out(), "attached true\n");
        assert!(dir.read("link") == noise(2, 200_000));
        assert_eq!(dir.mode("link") & 0o777, 0o755);
        let bytes = sent(&registry, &image, before);
        assert!(bytes < 1_400_000, "{bytes} bytes of layers");
        // What there is is told without a layer.
        let (before, list) = (registry.log().len(), |flags: &[&str]| {
            artifact(&[&["ls", "-a", &reference], flags].concat()).run().exits(0).out()
        });
        let listed = list(&[]);
        assert!(sent(&registry, &image, before) < 64 << 10);
        assert_eq!(listed, list(&["--no-index"]));
        let layers = artifact(&["ls", "--layers", "--format", "{{.Read}}", &reference]).run().exits(0).out();
        assert_eq!(layers, "indexed\nindexed\nplain\n");
    }
}

#[test]
fn an_image_that_is_indexed_already_is_left_as_it_is() {
    for registry in both_kinds() {
        let image = app().pack();
        let reference = registry.push("team/app:1", &image);
        assert_eq!(states(&reference, &[]), ["new", "new", "short"]);
        let requests = asked(&registry, || {
            assert_eq!(states(&reference, &[]), ["kept", "kept", "short"]);
        });
        assert!(
            requests.iter().all(|request| !request.starts_with('P') && !request.starts_with("DEL")),
            "{requests:?}"
        );
        let layers = image.layers.iter().map(|layer| layer.digest());
        for layer in layers {
            assert!(!requests.iter().any(|request| request.contains(&layer)), "{requests:?}");
        }
        indexed(&reference, &[]).says(" is indexed already: 2 layers");
    }
}

#[test]
fn a_dry_run_tells_the_same_and_sends_nothing() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &app());
    let requests = asked(&registry, || {
        assert_eq!(states(&reference, &["--dry-run"]), ["new", "new", "short"]);
        indexed(&reference, &["--dry-run"]).says(" would be indexed: 2 layers read, ").says(" of tables to send");
    });
    assert!(requests.iter().all(|request| request.starts_with("GET") || request.starts_with("HEAD")), "{requests:?}");
    let told = |flags: &[&str]| indexed(&reference, &[&["--format", "json"], flags].concat()).out();
    assert_eq!(told(&["--dry-run"]), told(&[]));
}

#[test]
fn a_layer_that_several_platforms_have_is_read_once() {
    for registry in both_kinds() {
        let index = Index::new()
            .image(&Image::new().layer(base()).layer(upper(5)).platform("linux/amd64"))
            .image(&Image::new().layer(base()).layer(upper(6)).platform("linux/arm64"));
        let image = index.pack();
        let reference = registry.push("team/app:1", &image);
        let shared = image.children[0].layers[0].digest();
        let run = indexed(&reference, &[]).says(" is indexed for 2 platforms: 3 layers read, ");
        assert!(run.out().starts_with("PLATFORM "), "{}", run.out());
        assert_eq!(registry.count("GET", &shared), 1);
        assert_eq!(sha256(&fetch(&registry, "team/app/manifests/1")), image.digest());
        for (platform, seed) in [("linux/amd64", 5), ("linux/arm64", 6)] {
            let dir = WorkDir::new();
            let get = artifact(&["get", "--platform", platform, &reference, "/opt/own"]).run_in(&dir);
            get.exits(0).says("by a table attached");
            assert!(dir.read("own") == noise(seed, 300_000));
        }
        // One platform alone.
        let reference = registry.push("team/other:1", &image);
        indexed(&reference, &["--platform", "linux/arm64"]).says(" is indexed: 2 layers read, ");
        assert_eq!(states(&reference, &["--platform", "linux/amd64"]), ["new", "new"]);
        artifact(&["index", &reference, "--platform", "windows/amd64"]).run().exits(3);
    }
}

#[test]
fn an_image_of_short_layers_needs_no_tables() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &tools());
    let requests = asked(&registry, || drop(indexed(&reference, &[]).says(" needs no tables: ")));
    assert!(requests.iter().all(|request| !request.starts_with('P')), "{requests:?}");
}

#[test]
fn a_table_that_is_gone_is_made_again_and_no_other() {
    let registry = Registry::start();
    let image = app().pack();
    let reference = registry.push("team/app:1", &image);
    indexed(&reference, &[]);
    let (before, index) = table_index(&registry);
    registry.lose(index["layers"][1]["digest"].as_str().unwrap());
    // Without it, the layer is read.
    let (dir, since) = (WorkDir::new(), registry.log().len());
    artifact(&["get", &reference, "/opt/own"]).run_in(&dir).exits(0);
    assert!(dir.read("own") == noise(4, 300_000));
    assert!(sent(&registry, &image, since) >= 300_000);
    assert_eq!(states(&reference, &[]), ["kept", "new", "short"]);
    // The same layer has the same table, so that nothing else changed.
    assert_eq!(table_index(&registry).0, before);
}

#[test]
fn what_is_attached_and_is_no_table_index_is_replaced() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &app());
    indexed(&reference, &[]);
    let (_, mut index) = table_index(&registry);
    index["layers"].as_array_mut().unwrap().remove(0);
    replace(&registry, &index);
    assert_eq!(states(&reference, &[]), ["new", "kept", "short"]);
    let (_, index) = table_index(&registry);
    assert_eq!(index["annotations"]["org.docker-artifact.revision"], "1");
    assert_eq!(index["layers"].as_array().unwrap().len(), 2);
    replace(&registry, &json!({"artifactType": TYPE, "subject": {"digest": subject_of(&registry)}}));
    assert_eq!(states(&reference, &[]), ["new", "new", "short"]);
    assert_eq!(states(&reference, &[]), ["kept", "kept", "short"]);
}

#[test]
fn a_pinned_image_is_read_by_what_is_attached_only_where_that_is_trusted() {
    let registry = Registry::start();
    let image = app().pack();
    let reference = registry.push("team/app:1", &image);
    indexed(&reference, &[]);
    let pinned = format!("{reference}@{}", image.digest());
    let get = |flags: &[&str]| {
        let (dir, since) = (WorkDir::new(), registry.log().len());
        let run = artifact(&[&["get", &pinned, "/usr/bin/tool"], flags].concat()).run_in(&dir).exits(0);
        assert!(dir.read("tool") == noise(2, 200_000));
        (run.stderr.contains("by a table attached"), sent(&registry, &image, since))
    };
    let ((by_table, without), (trusted, with)) = (get(&[]), get(&["--trust-attached"]));
    assert!(!by_table && trusted);
    assert!(without > 4_000_000 && with < 1_400_000, "{without} and {with}");
    // An image can be indexed by its digest, too.
    indexed(&pinned, &[]).says(" is indexed already");
}

#[test]
fn what_is_attached_goes_along_with_a_label() {
    for registry in both_kinds() {
        let image = app().pack();
        let reference = registry.push("team/app:1", &image);
        indexed(&reference, &[]);
        artifact(&["label", &reference, "/usr/bin/tool"]).run().exits(0).says(" -> ");
        assert_ne!(sha256(&fetch(&registry, "team/app/manifests/1")), image.digest());
        let dir = WorkDir::new();
        artifact(&["get", &reference, "/opt/own"]).run_in(&dir).exits(0).says("by a table attached");
        let other = format!("{}/team/other:2", registry.host());
        artifact(&["label", &reference, "-t", &other, "/opt/own"]).run().exits(0);
        let dir = WorkDir::new();
        artifact(&["get", &other, "/srv/config"]).run_in(&dir).exits(0).says("by a table attached");
        assert_eq!(dir.read("config"), b"deep = true\n");
    }
}

#[test]
fn tables_that_the_config_names_are_covered_by_the_digest() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &app());
        let run = artifact(&["label", "--all", &reference]).run().exits(0).says(" -> ");
        assert_eq!(run.out(), "");
        let digest = sha256(&fetch(&registry, "team/app/manifests/1"));
        let (_, config) = manifest_and_config(&registry, "team/app", "1");
        let label = config["config"]["Labels"]["com.docker-artifact.tables"].as_str().unwrap();
        let named: Value = serde_json::from_str(label).unwrap();
        assert_eq!(named["mediaType"], "application/vnd.docker-artifact.tablelist.v1+json");
        assert!(names(&reference).is_empty());
        let pinned = format!("{reference}@{digest}");
        let dir = WorkDir::new();
        let get = artifact(&["get", &pinned, "/usr/bin/tool", "--format", "{{.Proof}}"]).run_in(&dir).exits(0);
        assert_eq!(get.says("by the image's own table").out(), "table\n");
        assert!(dir.read("tool") == noise(2, 200_000));
        // Nothing changes where it is done again, or where something is named.
        artifact(&["label", "--all", &reference]).run().exits(0).says("nothing changed");
        let before = registry.log().len();
        artifact(&["label", &reference, "/usr/bin/tool"]).run().exits(0);
        let bytes = sent(&registry, &app().pack(), before);
        assert!(bytes < 1_400_000, "{bytes} bytes of layers");
        artifact(&["get", &reference, "/opt/own", "-o", "-"]).run().exits(0).says("by the image's own table");
    }
}

#[test]
fn an_image_built_from_one_whose_tables_are_named_has_those_of_the_layers_that_it_shares() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer(base()).layer(upper(4)));
    artifact(&["label", "--all", &reference]).run().exits(0);
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let label = config["config"]["Labels"]["com.docker-artifact.tables"].as_str().unwrap().to_owned();
    let named = |image: Image| {
        let image = image.label("com.docker-artifact.tables", &label);
        registry.push_by_digest("team/app", &image)
    };
    // With a layer above.
    let above = Layer::new([file("usr/bin/tool", noise(7, 100_000)).mode(0o755), file("srv/new", noise(8, 400_000))]);
    let derived = named(Image::new().layer(base()).layer(upper(4)).layer(above));
    let get = |reference: &str, path: &str| {
        let run = artifact(&["get", reference, path, "-o", "-"]).run().exits(0);
        (run.stdout.clone(), run.stderr.contains("by the image's own table"))
    };
    assert!(get(&derived, "/usr/bin/tool") == (noise(7, 100_000), false));
    let before = registry.log().len();
    assert!(get(&derived, "/srv/config").0 == b"deep = true\n");
    assert!(sent(&registry, &Image::new().layer(base()).pack(), before) < 1_400_000);
    // The same layers in another order, or another layer below: nobody spoke for these.
    let turned = named(Image::new().layer(upper(4)).layer(base()));
    assert!(get(&turned, "/opt/link") == (noise(2, 200_000), false));
    assert!(get(&turned, "/opt/own") == (noise(4, 300_000), false));
    let above_another = named(Image::new().layer(upper(9)).layer(upper(4)));
    assert!(get(&above_another, "/opt/own") == (noise(4, 300_000), false));
    // A copy that lacks the list is read as any image.
    let list: Value = serde_json::from_str(&label).unwrap();
    registry.lose(list["digest"].as_str().unwrap());
    let (content, by_table) = get(&derived, "/srv/config");
    assert!(content == b"deep = true\n" && !by_table);
}

#[test]
fn an_upload_that_breaks_off_is_begun_again() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &app());
    registry.requests_for("PUT /v2/team/app/blobs/uploads/").first(2).fail(Fault::NoAnswer);
    indexed(&reference, &[]).says("trying again in");
    artifact(&["get", &reference, "/opt/own", "-o", "-"]).run().exits(0).says("by a table attached");
    let uploads = registry.logged("PUT", "/blobs/uploads/");
    let mut targets: Vec<&str> = uploads.iter().map(|upload| upload.target.split('?').next().unwrap()).collect();
    let all = targets.len();
    targets.dedup();
    assert_eq!(targets.len(), all, "each with another upload");
}

#[test]
fn what_cannot_be_attached_is_an_error() {
    let registry = Registry::options().forgets_lists().start();
    let reference = registry.push("team/app:1", &app());
    artifact(&["index", &reference]).run().exits(1).says("nobody can find it");
    for image in ["local://app:1", "archive://app.tar", "oci-dir://layout"] {
        artifact(&["index", image]).run().exits(2).says("push");
    }
}

#[test]
fn a_path_in_many_indexed_layers_takes_few_requests_and_little_of_the_tables() {
    let registry = Registry::options().referrers().start();
    let layer = |number: u64| {
        let files =
            (0..3_000).map(move |file| self::file(format!("srv/{number}/file-{file}"), format!("{number} {file}")));
        Layer::new(
            [dir("srv"), dir(format!("srv/{number}")), file(format!("srv/{number}.bin"), noise(number, 300_000))]
                .into_iter()
                .chain(files),
        )
    };
    let image = (0..6).fold(Image::new(), |image, number| image.layer(layer(number)));
    let reference = registry.push("team/app:1", &image);
    indexed(&reference, &[]);
    let before = registry.log().len();
    let get = artifact(&["get", &reference, "/srv/0/file-1500", "-o", "-"]).run().exits(0);
    assert_eq!(get.out(), "0 1500");
    let log = registry.log();
    let requests: Vec<_> =
        log[before..].iter().map(|request| format!("{} {}", request.target, request.sent())).collect();
    assert!(requests.len() <= 6 + 2 * 6, "{requests:#?}");
    let layers: Vec<String> = image.pack().layers.iter().map(|layer| layer.digest()).collect();
    let beside = log[before..].iter().filter(|request| !layers.iter().any(|layer| request.target.contains(layer)));
    let bytes: u64 = beside.map(|request| request.sent()).sum();
    assert!(bytes <= 256 << 10, "{requests:#?}");
}

/// Every field of the index replaced by garbage: the file comes all the same, and nothing else is ever written.
#[test]
fn a_table_index_that_lies_only_costs_time() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &app());
    indexed(&reference, &[]);
    let (_, index) = table_index(&registry);
    let layers = index["layers"].as_array().unwrap();
    let top: Value =
        serde_json::from_str(layers[0]["annotations"]["org.docker-artifact.top"].as_str().unwrap()).unwrap();
    let zero = format!("sha256:{}", "0".repeat(64));
    let mutated = |at: &str, value: Value| {
        let mut mutated = index.clone();
        *mutated.pointer_mut(at).unwrap_or_else(|| panic!("{at} in {index}")) = value;
        mutated
    };
    let with_top = |change: &dyn Fn(&mut Value)| {
        let mut top = top.clone();
        change(&mut top);
        mutated("/layers/0/annotations/org.docker-artifact.top", top.to_string().into())
    };
    let mut lies = vec![
        mutated("/artifactType", "application/other".into()),
        mutated("/subject/digest", zero.clone().into()),
        mutated("/layers", json!([])),
        mutated("/layers", json!({})),
        mutated("/layers/0", json!(null)),
        mutated("/layers/0/mediaType", "application/other".into()),
        mutated("/layers/0/size", 1.into()),
        mutated("/layers/0/size", u64::MAX.into()),
        mutated("/layers/0/size", (-1).into()),
        mutated("/layers/0/digest", "sha256:x".into()),
        mutated("/layers/0/annotations/org.docker-artifact.layer", zero.clone().into()),
        mutated("/layers/0/annotations/org.docker-artifact.top", "{".into()),
        with_top(&|top| top["offset"] = 0.into()),
        with_top(&|top| top["offset"] = u64::MAX.into()),
        with_top(&|top| top["size"] = 1.into()),
        with_top(&|top| top["size"] = u64::MAX.into()),
        with_top(&|top| top["digest"] = zero.clone().into()),
        with_top(&|top| top["data"] = "AAAA".into()),
    ];
    // One layer's table for the other's layer, and the other's top node.
    let swap = |field: &str| {
        let mut swapped = index.clone();
        let (one, other) = (layers[0]["annotations"][field].clone(), layers[1]["annotations"][field].clone());
        swapped["layers"][0]["annotations"][field] = other;
        swapped["layers"][1]["annotations"][field] = one;
        swapped
    };
    lies.extend([swap("org.docker-artifact.layer"), swap("org.docker-artifact.top")]);
    let mut blobs = index.clone();
    blobs["layers"][0]["digest"] = layers[1]["digest"].clone();
    blobs["layers"][0]["size"] = layers[1]["size"].clone();
    lies.push(blobs);
    let mut gone = index.clone();
    gone["layers"][0]["digest"] = zero.into();
    lies.push(gone);
    for lie in lies {
        replace(&registry, &lie);
        for (path, name, expected) in
            [("/usr/bin/tool", "tool", noise(2, 200_000)), ("/opt/own", "own", noise(4, 300_000))]
        {
            let dir = WorkDir::new();
            artifact(&["get", &reference, path]).run_in(&dir).exits(0);
            assert!(dir.read(name) == expected, "{path} by {lie}");
        }
    }
}

/// A table with any byte changed, under digests that fit: its file, or the layer's own, or an error, and never a panic.
#[test]
fn a_table_with_a_wrong_byte_never_yields_a_wrong_file() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &app());
    indexed(&reference, &[]);
    let (_, index) = table_index(&registry);
    let digest = index["layers"][0]["digest"].as_str().unwrap().to_owned();
    let table = fetch(&registry, &format!("team/app/blobs/{digest}"));
    for step in 0..24 {
        let at = step * (table.len() - 1) / 23;
        let mut changed = table.clone();
        changed[at] ^= 0x55;
        // A registry that lies about its blobs.
        registry.store_blob("team/app", &digest, &changed);
        let dir = WorkDir::new();
        artifact(&["get", &reference, "/usr/bin/tool"]).run_in(&dir).exits(0);
        assert!(dir.read("tool") == noise(2, 200_000), "byte {at}");
    }
    registry.store_blob("team/app", &digest, &table[..table.len() / 2]);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/usr/bin/tool"]).run_in(&dir).exits(0);
    assert!(dir.read("tool") == noise(2, 200_000));
}
