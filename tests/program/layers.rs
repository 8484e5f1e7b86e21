//! What one layer says about those below it, in the ways that real tools write it: whiteouts, opaque whiteouts, hard links.

use crate::support::*;

/// Pushes an image of these layers, the lowest first.
fn push(registry: &Registry, layers: Vec<Vec<Entry>>) -> String {
    registry.push("app:1", &layers.into_iter().fold(Image::new(), Image::layer))
}

/// What `get / -o out` leaves of an image of these layers.
#[track_caller]
fn rootfs(layers: Vec<Vec<Entry>>) -> Vec<String> {
    let registry = Registry::start();
    let dir = WorkDir::new();
    artifact(&["get", &push(&registry, layers), "/", "-o", "out"]).run_in(&dir).exits(0);
    listing(&dir.path("out"))
}

#[test]
fn a_file_that_takes_the_place_of_a_full_directory_stays_a_file() {
    // As `umoci repack` writes it: the file, and then whiteouts for what was in the directory.
    let base = vec![dir("v"), file("v/f", "x"), dir("v/d"), file("v/d/g", "x")];
    let layer = vec![file("v", "new"), whiteout("v/f"), whiteout("v/d"), whiteout("v/d/g"), opaque("v/d")];
    assert_eq!(rootfs(vec![base, layer]), [r#"v 644 "new""#]);
}

#[test]
fn a_link_that_takes_the_place_of_a_file_below_a_whiteout_stays_a_link() {
    let layer = vec![file("real", "x"), hardlink("v", "real"), whiteout("v/f"), fifo("p"), whiteout("p/f")];
    let base = vec![dir("v"), file("v/f", "x")];
    assert_eq!(rootfs(vec![base, layer]), [r#"real 644 "x""#, r#"v 644 "x""#]);
}

#[test]
fn an_emptied_directory_keeps_its_mode_though_the_layer_has_no_entry_for_it() {
    let base = vec![dir("o").mode(0o700), file("o/old", "x"), dir("o/sub").mode(0o710), file("o/sub/old", "x")];
    let layer = vec![opaque("o"), file("o/sub/new", "y")];
    assert_eq!(rootfs(vec![base, layer]), ["o/ 700", "o/sub/ 710", r#"o/sub/new 644 "y""#]);
}

#[test]
fn an_emptied_directory_got_alone_keeps_its_mode_and_time() {
    let registry = Registry::start();
    let base = vec![dir("o").mode(0o700).mtime(1_000_000_000), file("o/old", "x")];
    let reference = push(&registry, vec![base, vec![opaque("o"), file("o/new", "y")]]);
    let work = WorkDir::new();
    artifact(&["get", &reference, "/o"]).run_in(&work).exits(0);
    assert_eq!(work.listing(), ["o/ 700", r#"o/new 644 "y""#]);
    assert_eq!(std::os::unix::fs::MetadataExt::mtime(&work.metadata("o")), 1_000_000_000);
}

#[test]
fn a_directory_that_was_deleted_and_is_only_implied_again_keeps_nothing_of_the_old() {
    let base = vec![dir("d").mode(0o700), file("d/old", "x")];
    assert_eq!(rootfs(vec![base, vec![whiteout("d"), file("d/new", "y")]]), ["d/ 755", r#"d/new 644 "y""#]);
}

#[test]
fn a_hard_link_to_a_file_of_a_lower_layer_is_that_file() {
    let links = vec![hardlink("b", "a"), file("kept", "")];
    assert_eq!(rootfs(vec![vec![file("a", "x")], links]), [r#"a 644 "x""#, r#"b 644 "x""#, r#"kept 644 """#]);
}

#[test]
fn a_hard_link_to_nothing_is_an_error_that_says_so() {
    let registry = Registry::start();
    let layer = vec![
        hardlink("later", "target"),
        file("target", "x"),
        hardlink("self", "self"),
        dir("d"),
        hardlink("dir", "d"),
    ];
    let reference = push(&registry, vec![vec![file("old", "x")], layer]);
    for (path, target) in [("/later", "/target"), ("/self", "/self"), ("/dir", "/d")] {
        let run = artifact(&["get", &reference, path]).run().exits(1);
        run.says(&format!("{path} in ")).says(&format!("is a hard link to {target}, which "));
    }
    artifact(&["get", &reference, "/target"]).run().exits(0);
    artifact(&["get", &reference, "/self/x"]).run().exits(3).says("/self is not a directory");
}

#[test]
fn a_hard_link_to_nothing_in_a_directory_is_left_out_with_a_notice() {
    let registry = Registry::start();
    let layer = vec![hardlink("d/later", "d/x"), file("d/x", "x"), hardlink("d/self", "d/self")];
    let reference = push(&registry, vec![layer]);
    for arguments in [&["get", &reference, "/d"][..], &["get", &reference, "/d/*"], &["ls", "-a", &reference]] {
        let run = artifact(arguments).run().exits(0);
        run.says("/d/later is left out: it is a hard link to /d/x, which ").says("/d/self is left out: ");
    }
    let work = WorkDir::new();
    artifact(&["get", &reference, "/d"]).run_in(&work).exits(0);
    assert_eq!(work.listing(), ["d/ 755", r#"d/x 644 "x""#]);
    artifact(&["get", &reference, "/d/l*"]).run().exits(3).says("is a hard link to a missing file");
}

#[test]
fn a_hard_link_to_a_later_entry_is_the_file_that_the_layers_below_have_there() {
    // As an extraction over them, `umoci unpack`, has it.
    let layers = vec![vec![file("a", "old")], vec![hardlink("b", "a"), file("a", "new")]];
    assert_eq!(rootfs(layers), [r#"a 644 "new""#, r#"b 644 "old""#]);
}

#[test]
fn a_chain_of_hard_links_through_four_hundred_layers_is_followed_to_its_end() {
    let base = Image::new().layer([file("a", "x"), file("b", "y")]);
    let image = (0..400).fold(base, |image, layer| {
        let (this, other) = if layer % 2 == 0 { ("a", "b") } else { ("b", "a") };
        image.layer([hardlink(this, other)])
    });
    let registry = Registry::start();
    let work = WorkDir::new();
    artifact(&["get", &registry.push("app:1", &image), "/a"]).run_in(&work).exits(0);
    assert_eq!(work.listing(), [r#"a 644 "y""#]);
}

#[test]
fn without_verification_the_first_of_two_entries_of_one_name_is_given() {
    // As docs/trust.md says. The second counts, and is seen where the layer is read to its end.
    let registry = Registry::start();
    let reference = push(&registry, vec![vec![file("f", "first"), file("f", "second")]]);
    let work = WorkDir::new();
    artifact(&["get", &reference, "/f", "-o", "verified"]).run_in(&work).exits(0);
    artifact(&["get", "--no-verify", &reference, "/f", "-o", "unverified"]).run_in(&work).exits(0).says("not verified");
    assert_eq!(work.listing(), [r#"unverified 644 "first""#, r#"verified 644 "second""#]);
}
