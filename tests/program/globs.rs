//! Globs: what they match, what becomes of what cannot be fetched, and how much is read for them.

use crate::support::*;

/// An image of these layers in a registry.
fn served(layers: Vec<Vec<Entry>>) -> (Registry, String, Packed) {
    Registry::serving(&layers.into_iter().fold(Image::new(), Image::layer))
}

/// How often each layer of `image` was asked for, the base first.
fn readings(registry: &Registry, image: &Packed) -> Vec<usize> {
    image.layers.iter().map(|layer| registry.count("GET", &layer.digest())).collect()
}

#[test]
fn a_dangling_link_among_the_matches_is_kept_as_a_link_with_a_notice() {
    let layer = vec![file("etc/hosts", "h"), symlink("etc/mtab", "../proc/mounts"), symlink("etc/self", "self")];
    let (_registry, reference, _) = served(vec![layer]);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/etc/*"])
        .run_in(&dir)
        .exits(0)
        .says("/etc/mtab is a symlink to ../proc/mounts, which the image does not have; the link itself is kept")
        .says("/etc/self is a symlink to self, which leads in a circle; the link itself is kept");
    assert_eq!(dir.listing(), [r#"hosts 644 "h""#, "mtab -> ../proc/mounts", "self -> self"]);
}

#[test]
fn a_dangling_link_named_by_its_path_says_where_it_leads_and_how_to_get_it() {
    let layer = vec![
        symlink("etc/mtab", "../proc/mounts"),
        symlink("etc/chain", "mtab"),
        symlink("bin", "usr/bin"),
        symlink("old", "was"),
    ];
    let (_registry, reference, _) = served(vec![vec![file("was", "x")], layer, vec![whiteout("was")]]);
    let says = |path: &str, text: &str| artifact(&["get", &reference, path]).run().exits(3).says(text);
    let mtab = "is a symlink to ../proc/mounts, which the image does not have; --no-dereference gets the link";
    says("/etc/mtab", mtab).says("/etc/mtab in ").never_says("did you mean");
    says("etc/mtab", mtab);
    says("/etc/chain", "is a symlink to mtab, which leads to /proc, which the image does not have; --no-deref");
    says("/bin/ls", "/bin in ").says("is a symlink to usr/bin, which").says("on the way to /bin/ls");
    says("/bin/ls", "which").never_says("--no-dereference");
    says("/old", "is a symlink to was, which the image does not have; /was was deleted by layer 3 of 3");
    let dir = WorkDir::new();
    artifact(&["get", "--no-dereference", &reference, "/etc/mtab"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), ["mtab -> ../proc/mounts"]);
}

#[test]
fn a_device_node_among_the_matches_is_left_out_with_a_notice() {
    let layer = vec![char_device("dev/null", 1, 3), file("dev/notes", "n"), fifo("run/pipe")];
    let (_registry, reference, _) = served(vec![layer]);
    let run = artifact(&["get", "-o", "-", &reference, "/dev/*"]).run().exits(0).says("skipped /dev/null");
    assert_eq!(run.out(), "n");
    artifact(&["get", &reference, "/run/*"]).run().exits(1).says("/run/pipe").says("is a device node or a FIFO");
}

#[test]
fn what_ls_lists_of_a_glob_keeps_every_link_and_device() {
    let layer = vec![symlink("etc/mtab", "/gone"), char_device("etc/null", 1, 3), hardlink("etc/hard", "gone")];
    let (_registry, reference, _) = served(vec![layer]);
    let run = artifact(&["ls", "-q", &reference, "/etc/*"]).run().exits(0);
    assert_eq!(run.out(), "/etc/mtab\n/etc/null\n");
}

#[test]
fn a_directory_and_what_is_inside_it_are_written_once() {
    let layer = vec![file("opt/a/b/x", "1"), file("opt/a/y", "2"), file("opt/z", "3")];
    let (_registry, reference, _) = served(vec![layer]);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/opt/**"]).run_in(&dir).exits(0);
    let files: Vec<String> = dir.listing().into_iter().filter(|line| line.contains('"')).collect();
    assert_eq!(files, [r#"opt/a/b/x 644 "1""#, r#"opt/a/y 644 "2""#, r#"opt/z 644 "3""#]);
    let run = artifact(&["get", "--format", "{{.Path}}", &reference, "/opt/**"]).run().exits(0);
    assert_eq!(run.out(), "/opt\n");
}

#[test]
fn many_stars_on_a_deep_path_are_no_work() {
    let deep = vec!["d"; 400].join("/");
    let (_registry, reference, _) = served(vec![vec![file(format!("{deep}/end"), "e")]]);
    let pattern = |last: &str| format!("/{}/{last}", vec!["**/d"; 16].join("/"));
    assert_eq!(artifact(&["get", "-o", "-", &reference, &pattern("**/end")]).run().exits(0).out(), "e");
    artifact(&["get", &reference, &pattern("**/none")]).run().exits(3).says("nothing matches");
}

#[test]
fn links_to_directories_that_multiply_the_image_are_refused() {
    let mut layer: Vec<Entry> = (0..600).map(|i| symlink(format!("l{i}"), ".")).collect();
    layer.extend((0..400).map(|i| file(format!("f{i}"), "")));
    let (_registry, reference, _) = served(vec![layer]);
    artifact(&["get", &reference, "/l*"]).run().exits(1).says("too many links to the same directories");
}

#[test]
fn a_link_to_what_comes_later_in_the_layer_reads_the_layer_once() {
    let layer = vec![
        symlink("bin", "usr/bin"),
        symlink("etc/os-release", "../usr/lib/os-release"),
        symlink("etc/lsb-release", "/usr/share/lsb"),
        file("usr/bin/base64", "b"),
        file("usr/lib/os-release", "os"),
        file("usr/share/lsb", "lsb"),
    ];
    let (registry, reference, image) = served(vec![layer]);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/etc/*-release", "/bin/base64"]).run_in(&dir).exits(0);
    let expected = [r#"base64 644 "b""#, r#"lsb-release 644 "lsb""#, r#"os-release 644 "os""#];
    assert_eq!(dir.listing(), expected);
    assert_eq!(readings(&registry, &image), [1]);
}

#[test]
fn a_link_to_another_path_of_the_same_request_reads_the_layer_once() {
    let layer = vec![file("opt/tool-1.2", "t"), symlink("usr/bin/tool", "/opt/tool-1.2")];
    let (registry, reference, image) = served(vec![layer]);
    artifact(&["get", &reference, "/usr/bin/t*", "/opt/*"]).run().exits(0);
    artifact(&["get", &reference, "/usr/bin/tool", "/opt/tool-1.2"]).run().exits(0);
    assert_eq!(readings(&registry, &image), [2], "once each time");
}

#[test]
fn a_link_to_a_lower_layer_reads_each_layer_once() {
    let base = vec![file("opt/v1/tool", vec![1; 100]), file("data/file", "hard"), file("data/gone", "kept")];
    let middle = vec![
        symlink("usr/bin/tool", "/opt/v1/tool"),
        symlink("current", "opt/v1"),
        dir("dir"),
        hardlink("dir/hard", "data/file"),
        hardlink("dir/gone", "data/gone"),
    ];
    let (registry, reference, image) = served(vec![base, middle, vec![whiteout("data/gone")]]);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/usr/bin/*", "/dir"]).run_in(&dir).exits(0);
    assert_eq!(readings(&registry, &image), [1, 1, 1]);
    assert_eq!((dir.read("dir/hard"), dir.read("dir/gone")), (b"hard".to_vec(), b"kept".to_vec()));
    artifact(&["get", "-o", "-", &reference, "/cur*/tool"]).run().exits(0);
    artifact(&["get", &reference, "/dir"]).run().exits(0);
    assert_eq!(readings(&registry, &image), [3, 3, 3], "once each time");
}

#[test]
fn a_tree_as_deep_as_any_that_is_read_is_an_error_and_no_crash() {
    let deep = vec!["d"; 1000].join("/");
    let (_registry, reference, _) = served(vec![vec![file(format!("{deep}/end"), "e")]]);
    assert_eq!(artifact(&["get", "-o", "-", &reference, "/**/end"]).run().exits(0).out(), "e");
    artifact(&["get", &reference, "/d*"]).run().exits(1).says("nested deeper");
    artifact(&["get", "--parents", &reference, "/**/end"]).run().exits(1).says("nested deeper");
}

#[test]
fn a_name_with_special_characters_typed_as_it_is_says_how_to_escape_them() {
    let registry = Registry::start();
    let reference =
        registry.push("team/app:1", &Image::new().layer([file("pages/[id].js", "page"), file("a\\b*", "x")]));
    for (typed, escaped) in [("/pages/[id].js", r"/pages/\[id\].js"), (r"a\b*", r"a\\b\*")] {
        for command in ["get", "ls"] {
            artifact(&[command, &reference, typed]).run().exits(3).says(&format!("escape them: '{escaped}'"));
        }
        artifact(&["get", "-o", "-", &reference, escaped]).run().exits(0);
    }
    let other = artifact(&["get", &reference, "/pages/[xy].js"]).run().exits(3);
    assert!(!other.stderr.contains("escape"), "{}", other.stderr);
}
