//! Tables of contents that an image carries, eStargz and zstd:chunked: any file costs its table and its own bytes, is the same as when the
//! layer is read, and is compared with the digests that the table has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::support::*;

/// What may come beside the tables and the pieces that are needed.
const BESIDE: u64 = 128 << 10;

/// A large layer of many kinds of things.
fn base() -> Layer {
    Layer::new([
        dir("etc"),
        file("etc/before", noise(1, 3_000_000)),
        file("etc/config", "deep = true\n").mode(0o600),
        file("etc/empty", ""),
        dir("usr/"),
        dir("usr/bin/"),
        file("usr/bin/tool", noise(2, 100_000)).mode(0o4755).owner(7, 8),
        hardlink("usr/bin/same", "usr/bin/tool"),
        symlink("bin", "usr/bin"),
        file("usr/holes", [noise(3, CHUNK), vec![0; 2 * CHUNK], noise(4, 1_000)].concat()),
        fifo("pipe"),
        char_device("null", 1, 3),
        file("usr/after", noise(5, 3_000_000)),
        file("ünï", "names"),
    ])
}

/// A layer above that hides some of it.
fn upper() -> Layer {
    Layer::new([
        file("opt/large", noise(6, 1_000_000)),
        whiteout("etc/empty"),
        symlink("tool", "bin/same"),
        file("etc/config", "deep = false\n"),
    ])
}

/// An image of both, in a registry.
fn served(format: TableFormat) -> (Registry, String, Packed) {
    Registry::serving(&Image::new().layer(base().with_table(format)).layer(upper().with_table(format)))
}

/// All that is below `root`: content, mode, time.
fn tree(root: &Path) -> BTreeMap<PathBuf, (Option<Vec<u8>>, u32, SystemTime)> {
    let (mut tree, mut pending) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = match () {
                () if metadata.is_file() => Some(fs::read(&path).unwrap()),
                () if metadata.is_symlink() => {
                    Some(fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes())
                }
                () => None,
            };
            if metadata.is_dir() {
                pending.push(path.clone());
            }
            tree.insert(
                path.strip_prefix(root).unwrap().to_owned(),
                (content, metadata.mode(), metadata.modified().unwrap()),
            );
        }
    }
    tree
}

/// How many bytes of this layer were sent, and in how many answers.
fn sent(registry: &Registry, image: &Packed, layer: usize) -> (u64, usize) {
    let requests = registry.logged("GET", &image.layers[layer].digest());
    (requests.iter().map(|request| request.sent()).sum(), requests.len())
}

#[test]
fn a_file_costs_the_tables_of_the_layers_down_to_it_and_its_own_bytes() {
    for format in TABLE_FORMATS {
        let (registry, reference, image) = served(format);
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "/usr/bin/tool", "--format", "{{.Proof}} {{.Verified}}"]).run_in(&dir);
        let run = run.exits(0).says(", by the image's own table");
        assert_eq!(run.out(), "table true\n");
        assert!(dir.read("tool") == noise(2, 100_000));
        assert_eq!(dir.mode("tool") & 0o777, 0o755);
        let tables = base().with_table(format).table_size() + upper().with_table(format).table_size();
        let ((upper, _), (base, requests)) = (sent(&registry, &image, 1), sent(&registry, &image, 0));
        assert!(upper + base <= tables + 100_000 + BESIDE, "{format:?}: {upper} and {base}");
        assert!(requests <= 3, "{format:?}: {requests}");
        // What the upper layer decides, no other is asked for.
        let (registry, reference, image) = served(format);
        artifact(&["get", &reference, "/etc/config", "-o", "-"]).run().exits(0).says("own table");
        assert_eq!(sent(&registry, &image, 0), (0, 0), "{format:?}");
    }
}

#[test]
fn a_lookup_comes_out_the_same_as_when_layers_are_read() {
    for format in TABLE_FORMATS {
        let (_registry, reference, _) = served(format);
        for paths in [
            &["/"][..],
            &["/tool"],
            &["/bin/same", "/usr/bin/tool"],
            &["/bin/"],
            &["/usr/holes"],
            &["/etc/*"],
            &["/usr/**/*o*"],
            &["/ünï", "/usr/after"],
            &["--no-dereference", "/tool"],
        ] {
            let trees = [&[][..], &["--no-index"]].map(|flags| {
                let dir = WorkDir::new();
                fs::create_dir(dir.path("out")).unwrap();
                let run =
                    artifact(&[&["get", &reference, "-o", "out/"][..], paths, flags].concat()).run_in(&dir).exits(0);
                assert_eq!(run.stderr.contains("own table"), flags.is_empty(), "{}", run.stderr);
                tree(&dir.path("out"))
            });
            assert!(trees[0] == trees[1] && !trees[0].is_empty(), "{format:?} {paths:?}");
        }
        for paths in [&["-a"][..], &["-a", "/etc"], &["/usr/bin"], &["-d", "/*"]] {
            let rows = [&[][..], &["--no-index"]].map(|flags| {
                let all =
                    "{{.Permissions}} {{.Owner}} {{.Size}} {{.Modified}} {{.Layer}} {{.Path}} {{.Target}} {{.Type}}";
                artifact(&[&["ls", &reference, "--format", all][..], paths, flags].concat()).run().exits(0).out()
            });
            assert_eq!(rows[0], rows[1], "{format:?} {paths:?}");
            assert!(!rows[0].contains("stargz.index.json"), "{rows:?}");
        }
        for (path, code, text) in [
            ("/etc/empty", 3, "was deleted"),
            ("/nothing", 3, "has no"),
            ("/pipe", 1, "FIFO"),
            ("/etc/confiq", 3, "config"),
        ] {
            let says = [&[][..], &["--no-index"]].map(|flags| {
                let run = artifact(&[&["get", &reference, path, "-o", "-"][..], flags].concat()).run();
                run.exits(code).says(text).stderr.lines().last().unwrap().to_owned()
            });
            assert_eq!(says[0], says[1], "{format:?} {path}");
        }
    }
}

#[test]
fn what_belongs_to_the_format_shows_nowhere_once_the_layer_was_read() {
    for format in TABLE_FORMATS {
        let (registry, reference, image) = served(format);
        let dir = WorkDir::new();
        let ls = |flags: &[&str]| artifact(&[&["ls", "-a", &reference], flags].concat()).run_in(&dir).exits(0).out();
        let read = ls(&["--no-index"]);
        let before = registry.log().len();
        assert_eq!(ls(&[]), read, "{format:?}");
        artifact(&["get", &reference, "/", "-o", "all/"]).run_in(&dir).exits(0).never_says("own table");
        assert!(!dir.path("all/stargz.index.json").exists() && dir.path("all/usr/bin/tool").exists(), "{format:?}");
        artifact(&["get", &reference, "/stargz.index.json"]).run_in(&dir).exits(3);
        let log = registry.log();
        let mut layers =
            log[before..].iter().filter(|one| image.layers.iter().any(|layer| one.target.contains(&layer.digest())));
        assert!(layers.all(|one| !one.header("range").is_empty()), "{format:?}: the layers are known");
    }
}

#[test]
fn ls_tells_what_each_layer_offers_and_costs_tables_alone() {
    for (format, name) in TABLE_FORMATS.into_iter().zip(["estargz", "zstd:chunked"]) {
        let image = Image::new().layer(base().with_table(format)).layer([file("plain", "")]);
        let (registry, reference, packed) = Registry::serving(&image);
        let run = artifact(&["ls", "--layers", &reference, "--format", "{{.Index}} {{.Read}}"]).run().exits(0);
        assert_eq!(run.out(), format!("1 {name}\n2 plain\n"));
        assert!(artifact(&["ls", "-a", &reference]).run().exits(0).out().contains("usr/bin/tool"));
        let (bytes, requests) = sent(&registry, &packed, 0);
        assert!(bytes <= base().with_table(format).table_size() + 8192 && requests <= 2, "{bytes} in {requests}");
    }
}

#[test]
fn to_verify_an_image_is_to_read_its_layers() {
    for format in TABLE_FORMATS {
        let (registry, reference, image) = served(format);
        let run = artifact(&["get", "--verify", &reference, "/usr/bin/tool", "-o", "-"]).run().exits(0);
        run.never_says("own table");
        assert_eq!(sent(&registry, &image, 0), (image.layers[0].bytes.len() as u64, 1), "{format:?}");
    }
}

#[test]
fn a_layout_is_read_by_its_tables_too() {
    for format in TABLE_FORMATS {
        let dir = WorkDir::new();
        let image = Image::new().layer(base().with_table(format)).layer(upper().with_table(format));
        write_layout(&image, &dir.path("layout"), "a.example/app:1");
        artifact(&["get", "oci-dir://layout", "/tool", "-o", "tool"]).run_in(&dir).exits(0).says("own table");
        assert!(dir.read("tool") == noise(2, 100_000));
    }
}

#[test]
fn a_pinned_image_is_told_by_its_tables_too() {
    for format in TABLE_FORMATS {
        let (registry, reference, image) = served(format);
        let pinned = format!("{}@{}", reference.rsplit_once(':').unwrap().0, image.digest());
        let dir = WorkDir::new();
        artifact(&["get", &pinned, "/usr/bin/tool"]).run_in(&dir).exits(0).says("own table");
        assert!(sent(&registry, &image, 0).0 < 300_000);
    }
}

#[test]
fn content_that_is_not_what_the_table_says_is_never_written() {
    for format in TABLE_FORMATS {
        let (registry, reference, image) = served(format);
        artifact(&["get", &reference, "/usr/bin/tool", "-o", "-"]).run().exits(0);
        let ranges = registry.logged("GET", &image.layers[0].digest());
        let range = ranges[1].header("range").strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let start: usize = range.0.parse().unwrap();
        for at in [0, 30, 5_000, 99_000] {
            // The first one is for the table.
            registry.requests_for(&image.layers[0].digest()).after(1).first(1).fail(Fault::Altered(start + at));
            let dir = WorkDir::new();
            artifact(&["get", &reference, "/usr/bin/tool"]).run_in(&dir).exits(5).says("does not match its digest");
            assert!(dir.listing().is_empty());
        }
    }
}

#[test]
fn a_place_that_gives_no_parts_gives_layers_and_that_is_said_once() {
    for format in TABLE_FORMATS {
        for fault in [Fault::RangeIgnored, Fault::Status(416), Fault::Status(403), Fault::Status(400)] {
            for after in [0, 1, 2] {
                let (registry, reference, image) = served(format);
                let requests = registry.requests_for(&image.layers[0].digest()).after(after);
                // The layer itself can be had.
                let requests = if matches!(fault, Fault::RangeIgnored) { requests } else { requests.first(1) };
                requests.fail(fault.clone());
                let dir = WorkDir::new();
                let run = artifact(&["get", &reference, "/usr/bin/tool"]).run_in(&dir).exits(0);
                assert!(dir.read("tool") == noise(2, 100_000), "{format:?} {fault:?} {after}");
                let count = run.stderr.matches("reading whole layers instead").count();
                assert_eq!(count, usize::from(after < 2), "{format:?} {fault:?} {after}: {}", run.stderr);
            }
        }
    }
}

/// All ways to change one thing in the table: what each comes to.
fn mutations(toc: &Value) -> Vec<Value> {
    let mut mutated = Vec::new();
    let entries = toc["entries"].as_array().unwrap();
    for (index, entry) in entries.iter().enumerate() {
        for (key, value) in entry.as_object().unwrap() {
            let others: Vec<Value> = match value {
                Value::Number(number) => {
                    let number = number.as_u64().unwrap();
                    let near = [0, 1, number + 1, number.saturating_sub(1), number * 2, 70_000, 1 << 40, u64::MAX];
                    near.iter()
                        .map(|other| json!(other))
                        .chain([json!(-1), json!("1"), json!(1.5), Value::Null])
                        .collect()
                }
                Value::String(text) => {
                    let digest = sha256(b"another");
                    let mut others =
                        vec![json!(""), json!("reg"), json!("dir"), json!("chunk"), json!("../x"), json!("zeros")];
                    others.extend([
                        json!("etc/config"),
                        json!(digest),
                        json!(7),
                        Value::Null,
                        json!(format!("{text}x")),
                    ]);
                    others
                }
                _ => vec![json!({}), Value::Null, json!({"user.x": "no base64!"}), json!([])],
            };
            for other in others {
                let mut toc = toc.clone();
                toc["entries"][index][key] = other;
                mutated.push(toc);
            }
            let mut toc = toc.clone();
            toc["entries"][index].as_object_mut().unwrap().remove(key);
            mutated.push(toc);
        }
        for change in [
            |entries: &mut Vec<Value>, index: usize| drop(entries.remove(index)),
            |entries: &mut Vec<Value>, index: usize| entries.insert(index, entries[index].clone()),
            |entries: &mut Vec<Value>, index: usize| entries.swap(0, index),
        ] {
            let mut toc = toc.clone();
            change(toc["entries"].as_array_mut().unwrap(), index);
            mutated.push(toc);
        }
    }
    for other in [
        json!({}),
        json!([]),
        json!({"version": 2, "entries": []}),
        json!({"version": 1}),
        json!({"version": 1, "entries": 7}),
    ] {
        mutated.push(other);
    }
    mutated
}

#[test]
fn whatever_a_table_says_no_content_comes_that_does_not_have_the_digest_it_says() {
    let layer = || {
        Layer::new([
            dir("etc"),
            file("etc/config", "deep = true\n").xattr("user.x", b"y"),
            file("etc/large", [noise(3, CHUNK), vec![0; CHUNK], noise(4, 1_000)].concat()),
            symlink("link", "etc/config"),
            hardlink("hard", "etc/config"),
            file("last", noise(5, 2_000)),
        ])
    };
    let known: Vec<String> = [
        b"deep = true\n".to_vec(),
        [noise(3, CHUNK), vec![0; CHUNK], noise(4, 1_000)].concat(),
        noise(5, 2_000),
        Vec::new(),
        b"etc/config".to_vec(),
    ]
    .iter()
    .map(|content| sha256(content))
    .collect();
    for format in TABLE_FORMATS {
        let seen = std::cell::RefCell::new(Value::Null);
        layer().with_edited_table(format, &|toc| *seen.borrow_mut() = toc.clone());
        let registry = Registry::start();
        let mut outcomes = [0; 3];
        for (number, mutated) in mutations(&seen.borrow()).into_iter().enumerate() {
            let image = Image::new().layer(layer().with_edited_table(format, &|toc| *toc = mutated.clone()));
            let reference = registry.push(&format!("lies/table:{number}"), &image);
            let out = library::directory_in_memory();
            let source = labelled::client(&reference);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let outcome = runtime.block_on(library::get_into(out.path(), source, "/", false));
            // A thread may still be about to remove what it staged.
            drop(runtime);
            match &outcome {
                Ok(_) => outcomes[0] += 1,
                Err(error) if error.exit_class() == docker_artifact::artifact::ExitClass::Mismatch => outcomes[1] += 1,
                Err(_) => outcomes[2] += 1,
            }
            for (path, (content, ..)) in tree(out.path()) {
                let is_known = out.path().join(&path).is_symlink()
                    || content.is_none_or(|content| known.contains(&sha256(&content)));
                assert!(is_known, "{format:?} {}: {mutated}", path.display());
            }
        }
        assert!(outcomes[0] > 0 && outcomes[1] > 0, "{format:?}: {outcomes:?}");
    }
}
