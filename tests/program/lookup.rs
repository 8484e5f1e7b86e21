//! Paths mean what they mean inside a container: links, whiteouts and types across layers.

use crate::support::*;

/// What `path` is in the image of these layers: the content that `get` writes, or its exit code.
fn content(layers: Vec<Vec<Entry>>, path: &str) -> Result<String, i32> {
    let registry = Registry::start();
    let image = layers.into_iter().fold(Image::new(), Image::layer);
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    let run = artifact(&["get", &reference, path, "-o", "-"]).run_in(&dir);
    if run.code == 0 { Ok(run.out()) } else { Err(run.code) }
}

fn found(text: &str) -> Result<String, i32> {
    Ok(text.to_owned())
}

const NOT_FOUND: Result<String, i32> = Err(3);

#[test]
fn a_directory_that_a_lower_layer_makes_a_link_is_followed() {
    // Debian since 12: /bin is a link in the base, and packages bring usr/bin.
    let layers = vec![vec![dir("usr/bin"), symlink("bin", "usr/bin")], vec![file("usr/bin/ls", "ls")]];
    assert_eq!(content(layers, "/bin/ls"), found("ls"));
}

#[test]
fn links_may_be_absolute_relative_and_in_any_component() {
    let base =
        || vec![file("a/b/file", "x"), symlink("rel", "a/b"), symlink("abs", "/a"), symlink("a/up", "../rel/..")];
    for path in ["/rel/file", "/abs/b/file", "/a/up/b/file", "/abs/up/../rel/file"] {
        assert_eq!(content(vec![base()], path), found("x"), "{path}");
    }
}

#[test]
fn dots_never_lead_above_the_root() {
    let layer = || vec![file("etc/hosts", "x"), symlink("etc/link", "../../../../etc/hosts")];
    assert_eq!(content(vec![layer()], "/etc/link"), found("x"));
    assert_eq!(content(vec![layer()], "/../../etc/hosts"), found("x"));
}

#[test]
fn a_link_whose_target_comes_in_an_upper_layer_gives_that_one() {
    let layers = || vec![vec![file("v1", "one"), symlink("current", "v1")], vec![file("v1", "changed")]];
    assert_eq!(content(layers(), "/current"), found("changed"));
    let mut layers = layers();
    layers.push(vec![file("v2", "two"), symlink("current", "v2")]);
    assert_eq!(content(layers, "/current"), found("two"));
}

#[test]
fn links_in_a_circle_end() {
    let layer = vec![symlink("a", "b"), symlink("b", "a"), symlink("self", "self")];
    for path in ["/a", "/self", "/a/x"] {
        assert_eq!(content(vec![layer.clone()], path), Err(1), "{path}");
    }
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let chain = |length: usize| {
        let mut entries = vec![file("link0", "end")];
        entries.extend((1..=length).map(|i| symlink(format!("link{i}"), format!("link{}", i - 1))));
        content(vec![entries], &format!("/link{length}"))
    };
    assert_eq!(chain(40), found("end"));
    assert!(chain(41).is_err());
}

#[test]
fn a_dangling_link_is_not_found() {
    assert_eq!(content(vec![vec![symlink("link", "nowhere")]], "/link"), NOT_FOUND);
}

#[test]
fn a_deleted_file_is_gone_until_it_is_made_again() {
    let mut layers = vec![vec![file("d/f", "old")], vec![whiteout("d/f")]];
    assert_eq!(content(layers.clone(), "/d/f"), NOT_FOUND);
    layers.push(vec![file("d/f", "new")]);
    assert_eq!(content(layers, "/d/f"), found("new"));
}

#[test]
fn what_was_in_a_deleted_directory_stays_gone_when_the_directory_returns() {
    let layers = vec![vec![file("d/f", "old")], vec![whiteout("d")], vec![dir("d"), file("d/g", "new")]];
    assert_eq!(content(layers.clone(), "/d/f"), NOT_FOUND);
    assert_eq!(content(layers, "/d/g"), found("new"));
}

#[test]
fn an_opaque_directory_hides_lower_layers_alone() {
    let layers = vec![vec![file("d/f", "low"), file("d/g", "low")], vec![file("d/g", "up"), opaque("d")]];
    assert_eq!(content(layers.clone(), "/d/f"), NOT_FOUND);
    assert_eq!(content(layers, "/d/g"), found("up"));
}

#[test]
fn a_whiteout_does_not_delete_what_its_own_layer_brings() {
    // image-spec, Whiteouts: they apply to lower layers only, whatever the order in the tar.
    for layer in [vec![whiteout("f"), file("f", "new")], vec![file("f", "new"), whiteout("f")]] {
        assert_eq!(content(vec![vec![file("f", "old")], layer], "/f"), found("new"));
    }
}

#[test]
fn a_file_may_become_a_directory_and_a_directory_a_file() {
    let layers = vec![vec![file("x", "file")], vec![dir("x"), file("x/y", "inside")], vec![file("x", "file again")]];
    assert_eq!(content(layers[..2].to_vec(), "/x/y"), found("inside"));
    assert_eq!(content(layers.clone(), "/x/y"), NOT_FOUND);
    assert_eq!(content(layers, "/x"), found("file again"));
}

#[test]
fn a_link_may_become_a_directory_of_its_own() {
    let layers = vec![vec![file("real/f", "real"), symlink("d", "real")], vec![dir("d"), file("d/f", "own")]];
    assert_eq!(content(layers.clone(), "/d/f"), found("own"));
    assert_eq!(content(layers, "/real/f"), found("real"));
}

#[test]
fn a_hard_link_to_a_lower_layers_file_keeps_its_content_when_that_is_deleted_later() {
    let layers = vec![vec![file("f", "content")], vec![hardlink("g", "f")], vec![whiteout("f")]];
    assert_eq!(content(layers.clone(), "/g"), found("content"));
    assert_eq!(content(layers, "/f"), NOT_FOUND);
}

#[test]
fn the_last_of_two_entries_of_one_name_counts() {
    assert_eq!(content(vec![vec![file("f", "first"), file("f", "second")]], "/f"), found("second"));
}

#[test]
fn an_entry_below_a_link_of_its_own_layer_lands_where_the_link_leads() {
    // What tar does when it unpacks: `lib` is a link by then, so lib/x is usr/lib/x.
    let layers = vec![vec![dir("usr"), dir("usr/lib"), symlink("lib", "usr/lib")], vec![file("usr/lib/x", "x")]];
    assert_eq!(content(layers, "/lib/x"), found("x"));
}

#[test]
fn a_glob_goes_through_links_in_the_components_before_it() {
    let layers = vec![vec![dir("usr/bin"), symlink("bin", "usr/bin")], vec![file("usr/bin/ls", "ls")]];
    assert_eq!(content(layers, "/bin/l*"), found("ls"));
}

#[test]
fn a_layer_is_read_once_whether_its_link_comes_before_or_behind_what_it_leads_to() {
    // Some images are packed in no order of names: usr/bin/ls comes first, and the link bin at the end.
    let target = || [dir("usr/bin"), file("usr/bin/ls", "ls"), file("usr/bin/other", "other")];
    let link = || [symlink("bin", "usr/bin")];
    for layer in [[&link()[..], &target()[..]].concat(), [&target()[..], &link()[..]].concat()] {
        let packed = Image::new().layer(layer).layer([file("etc/x", "x")]).pack();
        let registry = Registry::start();
        let reference = registry.push("team/app:1", &packed);
        assert_eq!(artifact(&["get", &reference, "/bin/ls", "-o", "-"]).run().exits(0).out(), "ls");
        assert_eq!(registry.count("GET", &packed.layers[0].digest()), 1);
    }
}
