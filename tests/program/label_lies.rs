//! Labels and range indexes that lie: every field replaced by garbage, and never a wrong file.

use crate::support::labelled::*;
use crate::support::*;
use serde_json::Value;

/// Every field of a label replaced by garbage: never a wrong file, whatever the exit code.
#[test]
fn a_label_that_lies_never_yields_a_wrong_file() {
    let registry = Registry::start();
    push_labelled(&registry);
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let record = config["config"]["Labels"]["org.docker-artifact.tool"].as_str().unwrap().to_owned();
    let parsed: Value = serde_json::from_str(&record).unwrap();
    let other_digest = format!("sha256:{}", "0".repeat(64));
    const SLOWLY: (i32, &str) = (0, "cannot get tool by its label alone; looking up /bin/tool");
    const AS_IT_IS: (i32, &str) = (0, "(200.00 kB) from ");
    const UNREADABLE: (i32, &str) = (1, "tool in HOST/team/app:lie has a label that cannot be read: ");
    let lies: Vec<(&str, Value, (i32, &str))> = vec![
        ("size", 199_999.into(), SLOWLY),
        ("size", u64::MAX.into(), SLOWLY),
        ("size", 0.into(), SLOWLY),
        ("offset", 0.into(), SLOWLY),
        ("offset", 512.into(), SLOWLY),
        ("offset", u64::MAX.into(), SLOWLY),
        ("digest", other_digest.clone().into(), (5, "the labelled file in layer 1 of 2 ")),
        ("layer", other_digest.clone().into(), SLOWLY),
        ("layer", "sha256:short".into(), UNREADABLE),
        // The content is what the label has the digest of, whatever path it says.
        ("path", "/etc/app/a.conf".into(), AS_IT_IS),
        ("path", "/../../etc/passwd".into(), AS_IT_IS),
        ("path", "/nothing".into(), AS_IT_IS),
        ("path", 7.into(), UNREADABLE),
        ("type", "directory".into(), UNREADABLE),
        ("type", "device".into(), UNREADABLE),
        ("mode", "7777777".into(), UNREADABLE),
        ("mode", "-1".into(), UNREADABLE),
    ];
    for (field, lie, (code, words)) in lies {
        let mut record = parsed.clone();
        record[field] = lie.clone();
        let lying = image().label("org.docker-artifact.tool", &record.to_string());
        let reference = registry.push("team/app:lie", &lying);
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "tool"]).run_in(&dir).exits(code);
        run.says(&words.replace("HOST", &registry.host()));
        match code {
            0 => assert_eq!(dir.read("tool"), noise(2, 200_000), "{field} {lie}"),
            _ => assert!(dir.listing().is_empty(), "{field} {lie}: {:?}", dir.listing()),
        }
    }
}

/// Every field of a range index replaced by garbage: the file comes all the same, by a dearer way.
#[test]
fn an_index_that_lies_only_costs_time() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool"), ("conf", "/etc/app")]);
    let subject = subject_of(&registry);
    let (_, index) = index_of(&registry);
    let layer = &index["layers"].as_array().unwrap()[1];
    let part = unpack(layer["data"].as_str().unwrap());
    assert_eq!(part["name"], "tool");
    let mutate = |at: &str, value: Value| {
        let mut mutated = part.clone();
        *mutated.pointer_mut(at).unwrap_or_else(|| panic!("{at} in {part}")) = value;
        mutated
    };
    let zeros = "A".repeat(43_692);
    let lies = vec![
        mutate("/extents/0/compressed_offset", 0.into()),
        mutate("/extents/0/compressed_offset", u64::MAX.into()),
        mutate("/extents/0/compressed_size", 1.into()),
        mutate("/extents/0/compressed_size", u64::MAX.into()),
        mutate("/extents/0/compressed_size", 0.into()),
        mutate("/extents/0/uncompressed_offset", 0.into()),
        mutate("/extents/0/uncompressed_offset", u64::MAX.into()),
        mutate("/extents/0/uncompressed_size", u64::MAX.into()),
        mutate("/extents/0/uncompressed_size", 0.into()),
        mutate("/extents/0/blob", format!("sha256:{}", "1".repeat(64)).into()),
        mutate("/extents/0/layer", format!("sha256:{}", "1".repeat(64)).into()),
        mutate("/extents/0/checkpoint/skipped_bits", 255.into()),
        mutate("/extents/0/checkpoint/skipped_bits", 3.into()),
        mutate("/extents/0/checkpoint/window", zeros.into()),
        mutate("/extents/0/checkpoint/window", "A".repeat(1_000_000).into()),
        mutate("/extents/0/checkpoint/window", "!".into()),
        mutate("/extents/0/checkpoint", serde_json::json!({"compression": "zstd"})),
        mutate("/extents/0/checkpoint", serde_json::json!({"compression": "none"})),
        mutate("/extents", serde_json::json!([])),
        mutate("/entries", serde_json::json!([])),
        mutate("/record/offset", 0.into()),
        mutate("/record/digest", format!("sha256:{}", "1".repeat(64)).into()),
        Value::Null,
        Value::String("garbage".to_owned()),
    ];
    for lie in lies {
        replace_index(&registry, &subject, &index, &lie);
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "tool"]).run_in(&dir);
        assert_eq!(run.code, 0, "{lie}: {run:?}");
        assert_eq!(dir.read("tool"), noise(2, 200_000), "{lie}");
        assert_eq!(dir.listing().len(), 1, "{lie}: {:?}", dir.listing());
    }
}

/// Two files of one size, and an index in which the place of one is that of the other.
#[test]
fn an_index_that_swaps_two_files_of_one_size_gives_each_its_own_content() {
    let registry = Registry::start();
    let image = Image::new().layer([dir("s"), file("s/a", noise(1, 5000)), file("s/b", noise(2, 5000))]);
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("other", "/s/a"), ("pair", "/s")]);
    let (_, index) = index_of(&registry);
    let honest = unpack(index["layers"][1]["data"].as_str().unwrap());
    let (a, b) = (honest["entries"][1]["place"].clone(), honest["entries"][2]["place"].clone());
    for (first, second) in [(&b, &b), (&a, &a), (&b, &a)] {
        let mut lie = honest.clone();
        lie["entries"][1]["place"] = first.clone();
        lie["entries"][2]["place"] = second.clone();
        replace_index(&registry, &subject_of(&registry), &index, &lie);
        let dir = WorkDir::new();
        artifact(&["get", &reference, "pair"]).run_in(&dir).exits(0).says("reading its layers instead");
        assert_eq!((dir.read("pair/a"), dir.read("pair/b")), (noise(1, 5000), noise(2, 5000)));
    }
}

/// Two names of one content are hard links of one another only where the image has them so.
#[test]
fn an_index_that_joins_two_files_of_one_content_leaves_each_its_own_mode() {
    let registry = Registry::start();
    let image = Image::new().layer([
        dir("s"),
        file("s/open", noise(1, 5000)).mode(0o644),
        file("s/secret", noise(1, 5000)).mode(0o600),
        file("s/second", noise(1, 5000)).mode(0o644),
        hardlink("s/third", "s/second"),
    ]);
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("other", "/s/open"), ("pair", "/s")]);
    let modes_and_links = |dir: &WorkDir| {
        use std::os::unix::fs::MetadataExt;
        ["open", "secret", "second", "third"].map(|name| {
            let name = format!("pair/{name}");
            (dir.mode(&name), dir.metadata(&name).nlink())
        })
    };
    let dir = WorkDir::new();
    artifact(&["get", &reference, "pair"]).run_in(&dir).exits(0).never_says("instead");
    assert_eq!(modes_and_links(&dir), [(0o644, 1), (0o600, 1), (0o644, 2), (0o644, 2)]);
    let (_, index) = index_of(&registry);
    let mut lie = unpack(index["layers"][1]["data"].as_str().unwrap());
    let entry = |lie: &Value, name: &str| {
        lie["entries"].as_array().unwrap().iter().position(|entry| entry["path"] == name).unwrap()
    };
    let (open, secret) = (entry(&lie, "open"), entry(&lie, "secret"));
    lie["entries"][secret]["place"] = lie["entries"][open]["place"].clone();
    replace_index(&registry, &subject_of(&registry), &index, &lie);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "pair"]).run_in(&dir).exits(0);
    assert_eq!(modes_and_links(&dir), [(0o644, 1), (0o600, 1), (0o644, 2), (0o644, 2)]);
}

/// An index may name any ranges; together they are not longer than the layer that they spare.
#[test]
fn an_index_never_makes_anyone_fetch_more_than_the_layer_is_long() {
    let registry = Registry::start();
    let files = (0..40).map(|number| file(format!("s/{number:02}"), noise(number, 20_000)));
    let image = Image::new().layer(Layer::new([dir("s")].into_iter().chain(files)).plain());
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("other", "/s/01"), ("pair", "/s")]);
    let (_, index) = index_of(&registry);
    let mut lie = unpack(index["layers"][1]["data"].as_str().unwrap());
    let tar = image.pack().layers[0].bytes.len() as u64;
    let places = lie["entries"].as_array().unwrap().iter().filter(|entry| entry["type"] == "file");
    let extents: Vec<Value> = places
        .map(|entry| {
            // From the beginning of the layer up to this file alone.
            let end = entry["place"]["offset"].as_u64().unwrap() + 20_000;
            let mut extent = lie["extents"][0].clone();
            for (field, value) in [("compressed_offset", 0), ("uncompressed_offset", 0)] {
                extent[field] = value.into();
            }
            extent["compressed_size"] = tar.into();
            extent["uncompressed_size"] = end.into();
            extent
        })
        .collect();
    lie["extents"] = extents.into();
    replace_index(&registry, &subject_of(&registry), &index, &lie);
    let (dir, before) = (WorkDir::new(), registry.log().len());
    artifact(&["get", &reference, "pair"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing().len(), 41);
    let sent: u64 = registry.log()[before..].iter().map(|request| request.sent()).sum();
    assert!(sent < 2 * tar + 200_000, "{sent} bytes for a layer of {tar}");
}

/// A label whose digest is right, of a listing that is not valid.
#[test]
fn a_label_of_an_empty_file_with_another_digest_is_a_mismatch() {
    let registry = Registry::start();
    let image = Image::new().layer([file("empty", ""), file("full", "x")]);
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("empty", "/empty"), ("full", "/full")]);
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let label = |name: &str| config["config"]["Labels"][format!("org.docker-artifact.{name}")].as_str().unwrap();
    let (empty, full): (Value, Value) =
        (serde_json::from_str(label("empty")).unwrap(), serde_json::from_str(label("full")).unwrap());
    let (_, index) = index_of(&registry);
    let mut lie = empty.clone();
    lie["digest"] = full["digest"].clone();
    // The index agrees with the label, as whoever writes both can have it.
    let lying = image.label("org.docker-artifact.empty", &lie.to_string());
    let reference = registry.push("team/app:1", &lying);
    let mut index = index.clone();
    let mut part = unpack(index["layers"][0]["data"].as_str().unwrap());
    part["record"] = lie.clone();
    part["entries"][0]["digest"] = full["digest"].clone();
    let subject = fetch(&registry, "team/app/manifests/1");
    index["subject"]["digest"] = sha256(&subject).into();
    index["subject"]["size"] = subject.len().into();
    index["layers"][0]["annotations"]["org.docker-artifact.record"] = lie.to_string().into();
    let (first, second) = (index["layers"][0].clone(), index["layers"][1].clone());
    index["layers"] = vec![second, first].into();
    replace_index(&registry, &sha256(&subject), &index, &part);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "empty"]).run_in(&dir).exits(5);
    assert!(dir.listing().is_empty());
}

/// What a label promises as a file is that file, and never what else stands at its path.
#[test]
fn a_label_of_a_file_never_gives_a_directory() {
    let registry = Registry::start();
    let image = Image::new().layer([dir("etc"), file("etc/a", "a"), symlink("link", "a")]);
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("a", "/etc/a")]);
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let label = config["config"]["Labels"]["org.docker-artifact.a"].as_str().unwrap();
    // The link leads nowhere, so with it followed there is nothing to compare.
    for (path, followed) in [("/etc", 5), ("/", 5), ("/link", 3)] {
        let mut lie: Value = serde_json::from_str(label).unwrap();
        lie["path"] = path.into();
        lie["offset"] = 1.into();
        let reference = registry.push("team/app:2", &image.clone().label("org.docker-artifact.a", &lie.to_string()));
        for (flags, code) in [(&[][..], followed), (&["--no-dereference"], 5), (&["--no-verify"], followed)] {
            let dir = WorkDir::new();
            artifact(&["get"]).args(flags).args(&[&reference, "a"]).run_in(&dir).exits(code);
            assert!(dir.listing().is_empty(), "{path}: {:?}", dir.listing());
        }
    }
}

/// Sizes are redundant beside digests, and wrong ones are no less wrong.
#[test]
fn a_wrong_size_in_an_index_is_a_mismatch() {
    let registry = Registry::start();
    let image = Image::new().layer([file("tool", "tool")]);
    let index = Index::new().image(&image);
    let mut packed = index.pack();
    let right = packed.children[0].manifest.bytes.len();
    for (size, code) in [(right, 0), (right + 1, 5), (1, 5)] {
        let mut document: Value = serde_json::from_slice(&index.pack().manifest.bytes).unwrap();
        document["manifests"][0]["size"] = size.into();
        packed.manifest.bytes = document.to_string().into_bytes().into();
        let reference = registry.push("team/app:index", &packed);
        artifact(&["get", "-o", "-", &reference, "/tool"]).run().exits(code);
    }
}

/// Nor is a part of a range index, or the index itself, used that has another size than is given.
#[test]
fn a_wrong_size_in_a_range_index_leaves_it_unused() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("conf", "/etc/app"), ("tool", "/bin/tool")]);
    let subject = subject_of(&registry);
    let (digest, mut index) = index_of(&registry);
    lose_list(&registry);
    let list = format!("team/app/manifests/{}", subject.replace(':', "-"));
    let mut referrers = json_of(&registry, &list);
    let cost = || {
        let (dir, before) = (WorkDir::new(), registry.log().len());
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), noise(2, 200_000));
        registry.log()[before..].iter().map(|request| request.sent()).sum::<u64>()
    };
    assert!(cost() < 400_000);
    let list_type = "application/vnd.oci.image.index.v1+json";
    referrers["manifests"][0]["size"] = 7.into();
    send(&registry, "PUT", &list, list_type, referrers.to_string().into_bytes());
    assert!(cost() > 3_000_000);
    // A part that does not have its size is asked for, as if it were not embedded, and then not taken either.
    index["layers"][1]["size"] = 7.into();
    let body = index.to_string().into_bytes();
    referrers["manifests"][0]["size"] = body.len().into();
    referrers["manifests"][0]["digest"] = sha256(&body).into();
    assert_ne!(sha256(&body), digest);
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    send(&registry, "PUT", &format!("team/app/manifests/{}", sha256(&body)), manifest_type, body);
    send(&registry, "PUT", &list, list_type, referrers.to_string().into_bytes());
    assert!(cost() > 3_000_000);
}
