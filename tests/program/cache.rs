//! The cache of this machine: what it saves, that nothing depends on it, and that nothing wrong comes out of it.

use std::fs;
use std::path::PathBuf;

use crate::support::labelled::*;
use crate::support::*;

fn image() -> Image {
    Image::new().layer(Layer::new([file("bin/tool", noise(2, 1_000)), file("etc/motd", "hello")]))
}

/// What `work` asked the registry for, without the part of each that is the same.
fn asked(registry: &Registry, work: impl FnOnce()) -> Vec<String> {
    let before = registry.log().len();
    work();
    let short = |target: &str| target.trim_start_matches("/v2/team/app/").to_owned();
    registry.log()[before..].iter().map(|request| format!("{} {}", request.method, short(&request.target))).collect()
}

/// Lists the layers, for which an image's manifest and its config are needed and nothing else.
fn ls<'a>(dir: &'a WorkDir, reference: &'a str) -> impl FnOnce() + 'a {
    move || drop(artifact(&["ls", "--layers", reference]).run_in(dir).exits(0))
}

/// All files of the cache in the home directory.
fn files(dir: &WorkDir) -> Vec<PathBuf> {
    let root = dir.home(".cache/docker-artifact");
    let all = listing(&root).into_iter().filter(|line| !line.contains("/ "));
    all.map(|line| root.join(line.split(' ').next().unwrap())).collect()
}

fn files_of(dir: &WorkDir, kind: &str) -> Vec<PathBuf> {
    let folder = dir.home(".cache/docker-artifact").join(kind).join("sha256");
    files(dir).into_iter().filter(|file| file.starts_with(&folder)).collect()
}

#[test]
fn an_image_that_was_seen_costs_one_request_that_is_no_pull() {
    let (registry, reference, _) = Registry::serving(&image());
    let dir = WorkDir::new();
    assert_eq!(asked(&registry, ls(&dir, &reference)).len(), 2);
    assert_eq!(asked(&registry, ls(&dir, &reference)), ["HEAD manifests/1"]);
}

#[test]
fn an_image_of_several_platforms_costs_no_more() {
    let registry = Registry::start();
    let index = Index::new().image(&image()).image(&image().layer(Layer::new([])).platform("linux/s390x"));
    let reference = registry.push("team/app:1", &index);
    let dir = WorkDir::new();
    assert_eq!(asked(&registry, ls(&dir, &reference)).len(), 3);
    assert_eq!(asked(&registry, ls(&dir, &reference)), ["HEAD manifests/1"]);
}

#[test]
fn a_digest_that_was_seen_costs_nothing() {
    let registry = Registry::start();
    let reference = registry.push_by_digest("team/app", &image());
    let dir = WorkDir::new();
    assert_eq!(asked(&registry, ls(&dir, &reference)).len(), 2);
    assert_eq!(asked(&registry, ls(&dir, &reference)).len(), 0);
}

#[test]
fn a_digest_that_another_repository_has_is_asked_for() {
    let registry = Registry::start();
    let dir = WorkDir::new();
    let reference = registry.push_by_digest("team/app", &image());
    ls(&dir, &reference)();
    artifact(&["ls", "--layers", &reference.replace("team/app", "team/other")]).run_in(&dir).exits(3).says("not found");
}

#[test]
fn a_labelled_file_costs_its_range_the_second_time_and_a_head() {
    for registry in [Registry::start(), Registry::options().referrers().start()] {
        let reference = push_labelled(&registry);
        let dir = WorkDir::new();
        let get = || drop(artifact(&["get", "-o", "tool", &reference, "tool"]).run_in(&dir).exits(0));
        assert_eq!(asked(&registry, get).len(), 4);
        let second = asked(&registry, get);
        assert_eq!(second.len(), 2, "{second:?}");
        assert!(second[0] == "HEAD manifests/1" && second[1].starts_with("GET blobs/"), "{second:?}");
        assert!(dir.read("tool") == noise(2, 200_000));
    }
}

#[test]
fn a_tag_that_was_pushed_again_gives_the_new_image() {
    let (registry, reference, _) = Registry::serving(&image());
    let dir = WorkDir::new();
    let get = || artifact(&["get", "-o", "-", &reference, "/etc/motd"]).run_in(&dir).exits(0).out();
    assert_eq!(get(), "hello");
    let newer = image().layer(Layer::new([file("etc/motd", "good bye")]));
    registry.push("team/app:1", &newer);
    assert_eq!(get(), "good bye");
    registry.push("team/app:1", &image());
    assert_eq!(get(), "hello");
}

#[test]
fn a_registry_that_tells_no_digest_is_asked_as_ever() {
    for fault in [Fault::Status(404), Fault::Status(405), Fault::Without("Docker-Content-Digest"), Fault::NoAnswer] {
        let (registry, reference, _) = Registry::serving(&image());
        registry.requests_for("HEAD /v2/team/app/manifests").fail(fault.clone());
        let dir = WorkDir::new();
        ls(&dir, &reference)();
        let second = asked(&registry, || {
            let run = artifact(&["ls", "--layers", &reference]).run_in(&dir).exits(0);
            assert_eq!(run.stderr, "", "{fault:?}");
        });
        assert_eq!(second.last().map(String::as_str), Some("GET manifests/1"), "{fault:?}: {second:?}");
    }
}

#[test]
fn what_was_changed_on_the_disk_is_asked_for_again_and_never_believed() {
    let (registry, reference, _) = Registry::serving(&image());
    let (_, other, _) = Registry::serving(&Image::new());
    for change in ["", "{", "\n{}"] {
        let dir = WorkDir::new();
        artifact(&["ls", "--layers", &other]).run_in(&dir);
        ls(&dir, &reference)();
        let before = artifact(&["ls", "--layers", &reference, "--no-cache"]).run_in(&dir).exits(0).out();
        for kind in ["manifests", "blobs", "names"] {
            for file in files_of(&dir, kind) {
                fs::write(&file, change).unwrap();
            }
            assert_eq!(artifact(&["ls", "--layers", &reference]).run_in(&dir).exits(0).out(), before, "{kind}");
        }
        assert_eq!(asked(&registry, ls(&dir, &reference)), ["HEAD manifests/1"], "all is whole again");
    }
}

#[test]
fn files_that_are_swapped_are_told_apart() {
    let registry = Registry::start();
    let references = [registry.push("team/app:1", &image()), registry.push("team/app:2", &Image::new())];
    let dir = WorkDir::new();
    let all = || references.each_ref().map(|it| artifact(&["ls", "--layers", it]).run_in(&dir).exits(0).out());
    let before = all();
    for kind in ["manifests", "blobs"] {
        let files = files_of(&dir, kind);
        assert_eq!(files.len(), 2, "{kind}");
        let contents = files.iter().map(|file| fs::read(file).unwrap()).rev();
        files.iter().zip(contents.collect::<Vec<_>>()).for_each(|(file, other)| fs::write(file, other).unwrap());
        assert_eq!(all(), before, "{kind}");
    }
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be() {
    let (registry, reference, _) = Registry::serving(&image());
    let dir = WorkDir::new();
    for _ in 0..2 {
        for flags in [&["ls", "--no-cache", "--layers"][..], &["get", "--no-cache", "-o", "-"]] {
            let path = if flags[0] == "get" { Some("/etc/motd") } else { None };
            let words: Vec<&str> = flags.iter().copied().chain([reference.as_str()]).chain(path).collect();
            let asked = asked(&registry, || drop(artifact(&words).run_in(&dir).exits(0)));
            assert!(asked[0] == "GET manifests/1", "{asked:?}");
        }
        let off = || drop(artifact(&["ls", "--layers", &reference]).env("DOCKER_ARTIFACT_CACHE", "off").run_in(&dir));
        assert_eq!(asked(&registry, off).len(), 2);
    }
    assert!(!dir.home(".cache").exists());
}

#[test]
fn what_is_copied_into_an_image_leaves_no_cache_in_it() {
    let (registry, reference, _) = Registry::serving(&image());
    let dir = WorkDir::new();
    let cache = dir.path("cache");
    std::os::unix::fs::symlink(program::binary(), dir.path("copy_binary")).unwrap();
    for _ in 0..2 {
        let copy = || {
            let program = Program::new(dir.path("copy_binary")).args(&["--from", &reference, "/etc/motd", "motd"]);
            drop(program.env("DOCKER_ARTIFACT_CACHE", &cache).run_in(&dir).exits(0));
        };
        assert_eq!(asked(&registry, copy)[0], "GET manifests/1");
    }
    assert!(!dir.home(".cache").exists() && !cache.exists());
}

#[test]
fn a_named_place_that_cannot_be_used_is_said_and_one_that_nobody_named_is_not() {
    let (_registry, reference, _) = Registry::serving(&image());
    let dir = WorkDir::new();
    fs::write(dir.path("file"), "").unwrap();
    let ls = || artifact(&["ls", "--layers", &reference]);
    ls().env("DOCKER_ARTIFACT_CACHE", dir.path("file/cache"))
        .run_in(&dir)
        .exits(0)
        .says("DOCKER_ARTIFACT_CACHE: ")
        .says("cannot be used, so nothing is kept");
    let run = ls().env("HOME", dir.path("file")).run_in(&dir).exits(0);
    assert_eq!(run.stderr, "");
}

#[test]
fn a_disk_that_takes_nothing_more_changes_nothing_but_what_is_kept() {
    let (registry, reference, _) = Registry::serving(&image());
    let dir = WorkDir::new();
    // Files of no byte at all can be written.
    let full = ["/bin/sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"];
    for _ in 0..2 {
        let full = artifact(&["-D", "ls", "--layers", &reference]).under(&full);
        let run = full.run_in(&dir).exits(0);
        assert_eq!(run.stderr.matches("nothing can be kept there").count(), 1, "{}", run.stderr);
    }
    assert_eq!(registry.count("HEAD", ""), 0);
    let kept: Vec<PathBuf> = files(&dir).into_iter().filter(|file| !file.ends_with("tables/pruned")).collect();
    assert_eq!(kept, Vec::<PathBuf>::new(), "nothing that is half-written stays");
}

#[test]
fn ten_at_once_share_a_cache_and_leave_it_whole() {
    let registry = Registry::start();
    let references: Vec<String> = (0..5)
        .map(|number: usize| {
            let layer = Layer::new([file("etc/motd", format!("hello {number}"))]);
            registry.push(&format!("team/app:{number}"), &image().layer(layer))
        })
        .collect();
    let dir = WorkDir::new();
    let get = |at: usize| artifact(&["get", "-o", "-", &references[at % 5], "/etc/motd"]);
    let running: Vec<_> = (0..10).map(|at| (at, get(at).start_in(&dir))).collect();
    for (at, running) in running {
        assert_eq!(running.wait().exits(0).out(), format!("hello {}", at % 5));
    }
    for reference in &references {
        let second = asked(&registry, ls(&dir, reference));
        assert!(second.len() == 1 && second[0].starts_with("HEAD "), "{second:?}");
    }
    assert!(!files(&dir).iter().any(|file| file.to_string_lossy().contains(".new-")));
}

#[test]
fn how_much_more_the_registry_answers_is_told_to_who_wants_to_know_all() {
    let (registry, reference, _) = Registry::serving(&image());
    registry.requests_for("/manifests/").fail(Fault::Header("ratelimit-remaining", "97;w=21600"));
    let get = |flags: &[&str]| artifact(&[flags, &["get", &reference, "/etc/motd"]].concat()).run().exits(0);
    let said = get(&["-D"]).stderr;
    assert!(said.lines().last().unwrap().ends_with("team/app:1: ratelimit-remaining 97 in 6 h"), "{said}");
    get(&[]).never_says("ratelimit");
}

#[test]
fn the_cache_is_listed_forgotten_and_emptied() {
    let (registry, reference, image) = Registry::serving(&image());
    let dir = WorkDir::new();
    let cache = |words: &[&str]| artifact(&[&["cache"], words].concat()).run_in(&dir);
    assert_eq!(cache(&["ls", "-q"]).exits(0).out(), "");
    ls(&dir, &reference)();
    let tables = dir.home(".cache/docker-artifact/tables/sha256");
    fs::create_dir_all(&tables).unwrap();
    let digest = image.layers[0].digest();
    let other = format!("sha256:{}", "f".repeat(64));
    for table in [&digest, &other] {
        fs::write(tables.join(table.trim_start_matches("sha256:")), noise(1, 10_000)).unwrap();
    }
    let listed = cache(&["ls", "--format", "{{.Type}} {{.Digest}}"]).exits(0).out();
    assert!(listed.contains(&format!("layer {digest}\n")) && listed.contains(&format!("layer {other}\n")), "{listed}");
    assert!(listed.ends_with("manifests \n"), "{listed}");
    assert_eq!(cache(&["ls", "-q"]).exits(0).out().lines().count(), 2);
    assert!(cache(&["ls"]).exits(0).out().starts_with("TYPE "));
    cache(&["rm", "0000000000"]).exits(3).says("nothing with this digest is kept");
    assert_eq!(cache(&["rm", "ffff", &other]).exits(0).out(), format!("Deleted: {other}\n"));
    cache(&["rm", &other]).exits(3);
    assert_eq!(cache(&["ls", "-q"]).exits(0).out(), format!("{digest}\n"));
    cache(&["prune", "--all"]).exits(1).says("Are you sure").says("add --force");
    assert_eq!(cache(&["prune", "-f"]).exits(0).out(), "Total reclaimed space: 0 B\n");
    let run = artifact(&["cache", "prune", "-a"]).stdin_pipe(b"y\n".to_vec()).run_in(&dir).exits(0);
    assert!(run.out().starts_with("Total reclaimed space: ") && !run.out().ends_with(" 0 B\n"), "{}", run.out());
    assert_eq!(cache(&["ls", "--format", "json"]).exits(0).out(), "");
    assert_eq!(asked(&registry, ls(&dir, &reference)).len(), 2);
}

#[test]
fn a_beginning_that_several_digests_have_names_none() {
    let dir = WorkDir::new();
    let tables = dir.home(".cache/docker-artifact/tables/sha256");
    fs::create_dir_all(&tables).unwrap();
    for digit in ["0", "1"] {
        fs::write(tables.join(format!("ab{}", digit.repeat(62))), "table").unwrap();
    }
    artifact(&["cache", "rm", "ab"]).run_in(&dir).exits(2).says("several digests begin with ab");
    assert_eq!(artifact(&["cache", "rm", "ab0", "ab1"]).run_in(&dir).exits(0).out().lines().count(), 2);
}

/// A layer of several files, compressed in each way.
fn stored() -> [Layer; 4] {
    let layer = || {
        let files = (0..40).map(|number: usize| file(format!("usr/lib/{number}"), noise(number as u64, 50_000)));
        Layer::new(files.chain([file("etc/motd", "hello"), symlink("bin/first", "../usr/lib/0")]))
    };
    [layer(), layer().zstd(), layer().zstd_frames(20), layer().plain()]
}

#[test]
fn any_file_of_a_layer_that_was_read_costs_a_head_and_its_range() {
    for layer in stored() {
        let (registry, reference, packed) = Registry::serving(&Image::new().layer(layer));
        let dir = WorkDir::new();
        artifact(&["get", "-o", "-", &reference, "/etc/motd"]).run_in(&dir).exits(0);
        for (path, content) in [("/usr/lib/7", noise(7, 50_000)), ("/bin/first", noise(0, 50_000))] {
            let get = || {
                let run = artifact(&["get", "-o", "file", &reference, path]).run_in(&dir).exits(0);
                assert!(dir.read("file") == content, "{path}: {}", run.stderr);
            };
            let asked = asked(&registry, get);
            assert_eq!(asked, ["HEAD manifests/1".to_owned(), format!("GET blobs/{}", packed.layers[0].digest())]);
        }
    }
}

#[test]
fn all_files_of_an_image_that_was_seen_are_listed_for_a_head() {
    for layer in stored() {
        let (registry, reference, _) = Registry::serving(&Image::new().layer(layer));
        let dir = WorkDir::new();
        let ls = |flags: &[&str]| artifact(&[&["ls", "-a", &reference], flags].concat()).run_in(&dir).exits(0).out();
        let before = ls(&["--no-cache"]);
        assert_eq!(ls(&[]), before);
        assert_eq!(asked(&registry, || assert_eq!(ls(&[]), before)), ["HEAD manifests/1"]);
    }
}

#[test]
fn a_table_that_was_damaged_costs_the_layer_and_nothing_else() {
    let [layer, ..] = stored();
    let (_registry, reference, _) = Registry::serving(&Image::new().layer(layer));
    let dir = WorkDir::new();
    let get = || artifact(&["get", "-o", "file", &reference, "/usr/lib/7"]).run_in(&dir).exits(0);
    get();
    let [table] = &files_of(&dir, "tables")[..] else { panic!("one table") };
    let whole = fs::read(table).unwrap();
    let altered = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let end = whole.len();
    let damaged = [Vec::new(), whole[..end / 2].to_vec(), altered(end - 10), altered(end - 100), altered(end / 2)];
    for (number, damaged) in damaged.into_iter().chain([altered(10)]).enumerate() {
        fs::write(table, damaged).unwrap();
        get();
        assert!(dir.read("file") == noise(7, 50_000), "{number}");
    }
}

#[test]
fn ten_that_read_one_layer_at_once_leave_one_whole_table() {
    let [layer, ..] = stored();
    let (registry, reference, _) = Registry::serving(&Image::new().layer(layer));
    let dir = WorkDir::new();
    let get = |number: usize| artifact(&["get", "-o", "-", &reference, &format!("/usr/lib/{number}")]);
    let running: Vec<_> = (0..10).map(|number| (number, get(number).start_in(&dir))).collect();
    for (number, running) in running {
        assert!(running.wait().exits(0).stdout == noise(number as u64, 50_000));
    }
    assert_eq!(files_of(&dir, "tables").len(), 1);
    let second = asked(&registry, || assert!(get(20).run_in(&dir).exits(0).stdout == noise(20, 50_000)));
    assert_eq!(second.len(), 2, "{second:?}");
    let listed = artifact(&["cache", "ls", "--format", "{{.Type}} {{.Entries}}"]).run_in(&dir).exits(0).out();
    assert!(listed.starts_with("layer 4"), "{listed}");
    assert!(!files(&dir).iter().any(|file| file.to_string_lossy().contains(".new-")));
}

/// Files of 100 kB that do not compress, except that each ends with what it begins with.
fn incompressible() -> Layer {
    let mut files = vec![dir("srv")];
    files.extend((0..50).map(|number| {
        let fresh = noise(100 + number, 90_000);
        file(format!("srv/{number:02}"), [&fresh[..], &fresh[70_000..80_000]].concat())
    }));
    Layer::new(files)
}

#[test]
fn any_file_of_a_layer_that_does_not_compress_costs_a_mebibyte_at_most_beside_its_own_bytes() {
    let (registry, reference, image) = Registry::serving(&Image::new().layer(incompressible()));
    let layer = &image.layers[0];
    let cached = WorkDir::new();
    artifact(&["get", "-o", "-", &reference, "/srv/49"]).run_in(&cached).exits(0);
    artifact(&["index", &reference]).run().exits(0);
    let [table] = &files_of(&cached, "tables")[..] else { panic!("one table") };
    let most = layer.bytes.len() as u64 * 15 / 1000 + 64 * 51;
    assert!(fs::metadata(table).unwrap().len() <= most, "{} of {most}", fs::metadata(table).unwrap().len());
    for number in (0..50).step_by(3) {
        // By the table that this machine keeps, and by the one that is attached.
        for flags in [&[][..], &["--no-cache"]] {
            let before = registry.log().len();
            let get = artifact(&[&["get", "-o", "-", &reference, &format!("/srv/{number:02}")], flags].concat());
            let run = get.run_in(&cached).exits(0);
            assert!(run.stdout.starts_with(&noise(100 + number, 90_000)) && run.stdout.len() == 100_000);
            let log = registry.log();
            let of_layer = log[before..].iter().filter(|request| request.target.contains(&layer.digest()));
            let sent: u64 = of_layer.map(|request| request.sent()).sum();
            assert!(sent <= 100_000 + (1 << 20), "{number} {flags:?}: {sent}");
        }
    }
}

#[test]
fn tables_that_are_swapped_are_told_apart() {
    let layer = |from: u64| Layer::new((from..from + 4).map(|number| file(format!("{number}"), noise(number, 50_000))));
    let (_registry, reference, _) = Registry::serving(&Image::new().layer(layer(0)).layer(layer(10)));
    let dir = WorkDir::new();
    let get = || artifact(&["get", "-o", "out/", &reference, "/"]).run_in(&dir).exits(0);
    get();
    let [one, other] = &files_of(&dir, "tables")[..] else { panic!("two tables") };
    let aside = dir.path("aside");
    for (from, to) in [(one, &aside), (other, one), (&aside, other)] {
        fs::rename(from, to).unwrap();
    }
    get().says("cannot use its cached table of contents (the table is of another layer); reading the layer instead");
    for number in (0..4).chain(10..14) {
        assert!(dir.read(&format!("out/{number}")) == noise(number, 50_000), "{number}");
    }
    get().never_says("cannot use its");
}

#[test]
fn many_at_once_share_a_cache_that_holds_next_to_nothing_while_it_is_emptied() {
    let [layer, ..] = stored();
    let (_registry, reference, _) = Registry::serving(&Image::new().layer(layer));
    let dir = WorkDir::new();
    let running: Vec<_> = (0..12)
        .map(|number| {
            let get = artifact(&["get", "-o", "-", &reference, &format!("/usr/lib/{number}")]);
            let get = get.env("DOCKER_ARTIFACT_CACHE_SIZE", if number % 2 == 0 { "1k" } else { "0" });
            let prune = artifact(&["cache", "prune", "--all", "--force"]);
            (number, get.start_in(&dir), prune.start_in(&dir))
        })
        .collect();
    for (number, get, prune) in running {
        assert!(get.wait().exits(0).stdout == noise(number, 50_000));
        prune.wait().exits(0);
    }
    assert!(!files(&dir).iter().any(|file| file.to_string_lossy().contains(".new-")));
}
