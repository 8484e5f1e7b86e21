//! SOCI indexes: any file of a layer costs its table and the spans that hold it, is the same as when the layer is read, and comes out of
//! bytes that are compared with the digests of their spans.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::support::*;

/// So many bytes of the tar are a span here.
const SPAN: usize = 1_000_000;

/// What may come beside the index, the tables and the spans that are needed.
const BESIDE: u64 = 16 << 10;

/// A large layer of many kinds of things, most of it behind one file.
fn base() -> SociLayer {
    let entries = [
        dir("etc"),
        file("etc/before", noise(1, 10_500_000)),
        file("etc/config", "deep = true\n").mode(0o600),
        file("etc/empty", ""),
        dir("usr/"),
        dir("usr/bin/"),
        file("usr/bin/tool", noise(2, 100_000)).mode(0o4755).owner(7, 8),
        hardlink("usr/bin/same", "usr/bin/tool"),
        symlink("bin", "usr/bin"),
        file("usr/long", noise(3, 2_300_000)).xattr("user.x", b"y"),
        fifo("pipe"),
        char_device("null", 1, 3),
        file("usr/after", noise(5, 3_000_000)),
        file("ünï", "names"),
    ];
    SociLayer::new(entries, SPAN)
}

/// A layer above that hides some of it.
fn upper() -> SociLayer {
    let entries = [
        file("opt/large", noise(6, 11_000_000)),
        whiteout("etc/empty"),
        symlink("tool", "bin/same"),
        file("etc/config", "deep = false\n"),
    ];
    SociLayer::new(entries, SPAN)
}

/// Each way in which an index is found, in a registry of its own.
fn served() -> Vec<(&'static str, Registry, String, SociImage)> {
    let layers = [base(), upper()];
    let ways = [
        ("annotated", SociVersion::V2, Registry::start(), false),
        ("referring", SociVersion::V1, Registry::options().referrers().start(), false),
        ("listed by a tag", SociVersion::V1, Registry::start(), true),
    ];
    let serve = |(way, version, registry, lists_by_tag): (_, _, Registry, _)| {
        let image = soci_image(&layers, version);
        let reference = image.push(&registry, "team/app:1", lists_by_tag);
        (way, registry, reference, image)
    };
    ways.into_iter().map(serve).collect()
}

/// How many bytes of this blob were sent.
fn sent(registry: &Registry, blob: &str) -> u64 {
    registry.logged("GET", blob).iter().map(|request| request.sent()).sum()
}

/// All that is below `root`: content, mode.
fn tree(root: &Path) -> BTreeMap<PathBuf, (Option<Vec<u8>>, u32, i64)> {
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
            tree.insert(path.strip_prefix(root).unwrap().to_owned(), (content, metadata.mode(), metadata.mtime()));
        }
    }
    tree
}

#[test]
fn a_file_costs_the_tables_of_the_layers_down_to_it_and_the_spans_that_hold_it() {
    for (way, registry, reference, SociImage { image, index }) in served() {
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "/usr/bin/tool", "--format", "{{.Proof}} {{.Verified}}"]).run_in(&dir);
        let (proof, says) = match way {
            "annotated" => ("table", ", by the image's own table"),
            _ => ("attached", ", by a table attached to the image"),
        };
        assert_eq!(run.exits(0).says(says).out(), format!("{proof} true\n"), "{way}");
        assert!(dir.read("tool") == noise(2, 100_000), "{way}");
        assert_eq!(dir.mode("tool") & 0o777, 0o755, "{way}");
        // The file may lie in two spans.
        let spans = sent(&registry, &image.layers[0].digest());
        assert!(spans <= 2 * SPAN as u64 + BESIDE, "{way}: {spans}");
        assert_eq!(sent(&registry, &image.layers[1].digest()), 0, "{way}");
        for ztoc in &index.layers {
            assert_eq!(registry.count("GET", &ztoc.digest()), 1, "{way}");
        }
        assert_eq!(registry.count("GET", &index.digest()), 1, "{way}");
    }
}

#[test]
fn a_lookup_comes_out_the_same_as_when_layers_are_read() {
    for (way, _registry, reference, _) in served() {
        for paths in [
            &["/"][..],
            &["/tool", "/ünï"],
            &["/bin/same", "/usr/bin/tool"],
            &["/etc/*", "/usr/long"],
            &["/usr/**/*o*"],
        ] {
            let trees = [&[][..], &["--no-index"]].map(|flags| {
                let dir = WorkDir::new();
                fs::create_dir(dir.path("out")).unwrap();
                let run =
                    artifact(&[&["get", &reference, "-o", "out/"][..], paths, flags].concat()).run_in(&dir).exits(0);
                assert_eq!(run.stderr.contains(", by "), flags.is_empty(), "{}", run.stderr);
                tree(&dir.path("out"))
            });
            assert!(trees[0] == trees[1] && !trees[0].is_empty(), "{way} {paths:?}");
        }
        let rows = [&[][..], &["--no-index"]].map(|flags| {
            let all = "{{.Permissions}} {{.Owner}} {{.Size}} {{.Modified}} {{.Layer}} {{.Path}} {{.Target}} {{.Type}}";
            artifact(&[&["ls", &reference, "-a", "--format", all][..], flags].concat()).run().exits(0).out()
        });
        assert_eq!(rows[0], rows[1], "{way}");
        artifact(&["get", &reference, "/etc/empty", "-o", "-"]).run().exits(3).says("was deleted");
    }
}

#[test]
fn ls_says_which_layers_a_soci_index_tells_of() {
    for (way, registry, reference, SociImage { image, .. }) in served() {
        let run = artifact(&["ls", "--layers", &reference, "--format", "{{.Index}} {{.Read}}"]).run().exits(0);
        assert_eq!(run.out(), "1 soci\n2 soci\n", "{way}");
        assert!(artifact(&["ls", "-a", &reference]).run().exits(0).out().contains("usr/bin/tool"));
        assert_eq!(sent(&registry, &image.layers[0].digest()), 0, "{way}");
    }
}

#[test]
fn what_is_only_attached_speaks_for_no_pinned_image_unless_it_is_trusted() {
    for (way, registry, reference, SociImage { image, index }) in served() {
        let pinned = format!("{}@{}", reference.rsplit_once(':').unwrap().0, image.digest());
        let dir = WorkDir::new();
        let run = artifact(&["get", &pinned, "/usr/bin/tool"]).run_in(&dir).exits(0);
        assert!(dir.read("tool") == noise(2, 100_000), "{way}");
        assert_eq!(run.stderr.contains("own table"), way == "annotated", "{}", run.stderr);
        assert_eq!(registry.count("GET", &index.digest()), usize::from(way == "annotated"), "{way}");
        let dir = WorkDir::new();
        artifact(&["get", "--trust-attached", &pinned, "/usr/bin/tool"]).run_in(&dir).exits(0).says(", by ");
        assert!(dir.read("tool") == noise(2, 100_000), "{way}");
    }
}

#[test]
fn bytes_that_are_not_what_their_span_is_to_be_are_never_written() {
    for (way, registry, reference, SociImage { image, .. }) in served() {
        artifact(&["get", &reference, "/usr/bin/tool", "-o", "-"]).run().exits(0);
        let layer = image.layers[0].digest();
        let range = registry.logged("GET", &layer)[0].header("range").strip_prefix("bytes=").unwrap().to_owned();
        let (start, end) = range.split_once('-').map(|(start, end)| (start.parse::<usize>().unwrap(), end)).unwrap();
        let end: usize = end.parse().unwrap();
        // The span's first byte, one in the middle, and its last, which belongs to nothing that was asked for.
        for at in [start, start + 300_000, end] {
            registry.requests_for(&layer).first(1).fail(Fault::Altered(at));
            let dir = WorkDir::new();
            let run = artifact(&["get", &reference, "/usr/bin/tool"]).run_in(&dir);
            if way == "annotated" {
                run.exits(5).says("does not match its digest");
                assert!(dir.listing().is_empty());
            } else {
                run.exits(0).says("reading the layer instead");
                assert!(dir.read("tool") == noise(2, 100_000), "{way} {at}");
            }
        }
    }
}

#[test]
fn an_index_that_cannot_be_read_makes_nothing_worse() {
    for lost in ["index", "ztoc", "both are other bytes"] {
        for (way, registry, reference, SociImage { index, .. }) in served() {
            match lost {
                "index" => registry.lose(&index.digest()),
                "ztoc" => registry.lose(&index.layers[1].digest()),
                _ => {
                    for ztoc in &index.layers {
                        registry.store_blob("team/app", &ztoc.digest(), b"another");
                    }
                }
            }
            let dir = WorkDir::new();
            let run = artifact(&["get", &reference, "/etc/config"]).run_in(&dir).exits(0);
            assert_eq!(dir.read("config"), b"deep = false\n", "{way} {lost}");
            if way == "annotated" || lost != "index" {
                run.says("instead");
            }
        }
    }
}

#[test]
fn a_table_that_is_long_for_its_layer_is_not_asked_for() {
    let registry = Registry::start();
    let layer = SociLayer::new([file("one", noise(1, 300_000)), file("two", "content")], 50_000);
    let image = soci_image(&[layer], SociVersion::V2);
    let reference = image.push(&registry, "team/app:1", false);
    artifact(&["get", &reference, "/two", "-o", "-"]).run().exits(0).never_says("own table");
    assert_eq!(registry.count("GET", &image.index.layers[0].digest()), 0);
}

#[test]
fn an_image_without_an_index_costs_no_more_than_the_question() {
    let registry = Registry::options().referrers().start();
    let reference = registry.push("team/app:1", &Image::new().layer([file("large", noise(1, 10_600_000))]));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/large"]).run_in(&dir).exits(0).never_says(", by a table").never_says("SOCI");
    assert!(registry.count("GET", "/referrers/") <= 1);
    let small = registry.push("team/small:1", &Image::new().layer([file("small", noise(1, 600_000))]));
    artifact(&["get", &small, "/small"]).run_in(&dir).exits(0);
    assert_eq!(registry.count("GET", "/team/small/referrers/"), 0);
}

/// All ways to change one thing in a table.
fn mutations(good: &Ztoc) -> Vec<Ztoc> {
    let mut mutated = Vec::new();
    let mut change = |change: &dyn Fn(&mut Ztoc)| {
        let mut ztoc = good.clone();
        change(&mut ztoc);
        mutated.push(ztoc);
    };
    let numbers = |number: i64| [0, -1, number + 1, number - 512, number + 512, i64::MAX];
    let texts = |text: &[u8]| {
        [
            b"".to_vec(),
            b"reg".to_vec(),
            b"dir".to_vec(),
            b"../x".to_vec(),
            b"etc/config".to_vec(),
            [text, b"x"].concat(),
        ]
    };
    for (index, file) in good.files.iter().enumerate() {
        for number in numbers(file.offset) {
            change(&|ztoc| ztoc.files[index].offset = number);
        }
        for number in numbers(file.size) {
            change(&|ztoc| ztoc.files[index].size = number);
        }
        for number in [0, -1, i64::MAX] {
            change(&|ztoc| ztoc.files[index].mode = number);
            change(&|ztoc| ztoc.files[index].device = (number, number));
            change(&|ztoc| (ztoc.files[index].uid, ztoc.files[index].gid) = (number as u32, number as u32));
        }
        for text in texts(&file.name) {
            change(&|ztoc| ztoc.files[index].name = text.clone());
        }
        for text in texts(&file.kind).into_iter().chain([b"symlink".to_vec(), b"hardlink".to_vec(), b"char".to_vec()]) {
            change(&|ztoc| ztoc.files[index].kind = text.clone());
        }
        for text in texts(&file.target) {
            change(&|ztoc| ztoc.files[index].target = text.clone());
            change(&|ztoc| ztoc.files[index].mtime = text.clone());
            change(&|ztoc| ztoc.files[index].records = vec![(text.clone(), b"y".to_vec())]);
        }
        change(&|ztoc| drop(ztoc.files.remove(index)));
        change(&|ztoc| ztoc.files.insert(index, file.clone()));
        change(&|ztoc| ztoc.files.swap(0, index));
    }
    for number in numbers(good.compressed_size) {
        change(&|ztoc| ztoc.compressed_size = number);
        change(&|ztoc| ztoc.uncompressed_size = number);
        change(&|ztoc| ztoc.max_span_id = number as u32);
    }
    for algorithm in [None, Some(0), Some(2), Some(255)] {
        change(&|ztoc| ztoc.algorithm = algorithm);
    }
    for index in 0..good.digests.len() {
        for digest in [sha256(b"another").into_bytes(), b"md5:x".to_vec(), Vec::new()] {
            change(&|ztoc| ztoc.digests[index] = digest.clone());
        }
        // Where the span begins in the layer, and in the tar.
        for at in [0, 8] {
            let at = 12 + index * (17 + (32 << 10)) + at;
            let number = i64::from_le_bytes(good.checkpoints[at..at + 8].try_into().unwrap());
            for number in numbers(number) {
                change(&|ztoc| ztoc.checkpoints[at..at + 8].copy_from_slice(&number.to_le_bytes()));
            }
        }
    }
    for length in [0, 11, 12, good.checkpoints.len() - 1] {
        change(&|ztoc| ztoc.checkpoints.truncate(length));
    }
    mutated
}

#[test]
fn whatever_a_table_says_nothing_comes_that_is_not_in_the_layer() {
    let layer = SociLayer::new(
        [
            dir("etc"),
            file("etc/config", "deep = true\n"),
            file("etc/large", noise(3, 350_000)),
            symlink("link", "etc/config"),
            hardlink("hard", "etc/config"),
            file("last", noise(5, 60_000)),
        ],
        250_000,
    );
    let registry = Registry::start();
    let mut outcomes = [0; 3];
    for (number, ztoc) in mutations(&layer.ztoc).into_iter().enumerate() {
        let changed = soci_image(&[SociLayer { ztoc, ..layer.clone() }], SociVersion::V2);
        let reference = changed.push(&registry, &format!("lies/soci{number}:1"), false);
        let out = library::directory_in_memory();
        let source = labelled::client(&reference);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(library::get_into(out.path(), source, "/", false));
        match &outcome {
            Ok(_) => outcomes[0] += 1,
            Err(error) if error.exit_class() == docker_artifact::artifact::ExitClass::Mismatch => outcomes[1] += 1,
            Err(_) => outcomes[2] += 1,
        }
        for (path, (content, ..)) in tree(out.path()) {
            let content = content.filter(|_| !out.path().join(&path).is_symlink()).unwrap_or_default();
            let is_known = content.is_empty() || layer.tar.windows(content.len()).any(|part| part == content);
            assert!(is_known, "{number}: {}", path.display());
        }
        registry.lose(&changed.image.layers[0].digest());
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}
