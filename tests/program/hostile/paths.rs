//! Names, links and whiteouts that lead out of the image, or to nothing.

use std::fs;
use std::os::unix::fs::symlink as plant;

use super::{Fetched, LEADS_OUT, are_refused, come_out_as, comes_out_as, fetch, is_refused};
use crate::support::*;

// Names

#[test]
fn a_name_with_dots_that_climb_out() {
    for name in ["../canary", "../../canary", "a/../../canary", "./../canary", "a/b/../../../canary", ".."] {
        is_refused([file(name, "dead")], &format!("names \"{name}\" at uncompressed byte 0, {LEADS_OUT}"));
        is_refused([file("kept", "x"), symlink(name, "x")], LEADS_OUT);
    }
    is_refused([dir("..")], LEADS_OUT);
}

#[test]
fn an_absolute_name() {
    comes_out_as(
        [file("/canary", "harmless"), file("//tmp/evil", "harmless")],
        &[r#"canary 644 "harmless""#, "tmp/ 755", r#"tmp/evil 644 "harmless""#],
    );
}

#[test]
fn a_name_that_climbs_out_in_a_pax_record_behind_a_harmless_one() {
    is_refused([file("harmless", "dead").pax("path", "../canary")], LEADS_OUT);
    // Above the root is the root, where a name begins there.
    comes_out_as([file("x", "kept in").pax("path", "/../../canary")], &[r#"canary 644 "kept in""#]);
}

#[test]
fn a_name_that_climbs_out_in_a_gnu_long_name() {
    let name = format!("{}canary", "../".repeat(60));
    is_refused([file(&name, "dead").gnu_names()], LEADS_OUT);
}

#[test]
fn a_name_that_climbs_out_by_the_ustar_prefix() {
    is_refused([file("../canary", "dead").ustar_prefix()], LEADS_OUT);
}

#[test]
fn a_sparse_name_that_climbs_out() {
    is_refused([sparse_file("../canary", SparseFormat::Pax10, 1024, &[(0, &[1; 512])])], LEADS_OUT);
}

#[test]
fn names_that_are_empty_dots_or_slashes() {
    for entry in [file("", "1"), file(".", "2"), file("/", "4"), file("./", "5"), symlink(".", "/")] {
        is_refused([entry], "an entry that is no directory has the root's name, or none");
    }
    comes_out_as([dir("."), dir("/"), dir("./"), file("kept", "x")], &[r#"kept 644 "x""#]);
}

#[test]
fn a_name_with_a_nul_byte_in_a_pax_record() {
    for name in ["../canary\0harmless", "a\0b"] {
        is_refused([file("a", "1").pax("path", name)], r#"the PAX record "path" has a NUL in a name"#);
    }
}

// Links

#[test]
fn a_link_planted_first_and_written_through() {
    comes_out_as([symlink("way", "../.."), file("way/canary", "dead")], &[r#"canary 644 "dead""#, "way -> ../.."]);
}

#[test]
fn an_absolute_link_planted_first_and_written_through() {
    comes_out_as(
        [symlink("way", "/tmp"), file("way/evil-from-a-tar", "dead")],
        &["tmp/ 755", r#"tmp/evil-from-a-tar 644 "dead""#, "way -> /tmp"],
    );
    assert!(!std::path::Path::new("/tmp/evil-from-a-tar").exists());
}

#[test]
fn a_link_planted_by_a_lower_layer_and_written_through_by_an_upper_one() {
    come_out_as(
        vec![Layer::new([symlink("way", "../..")]), Layer::new([file("way/canary", "dead")])],
        &["way/ 755", r#"way/canary 644 "dead""#],
    );
}

#[test]
fn a_directory_swapped_for_a_link_and_back() {
    comes_out_as(
        [dir("d"), file("d/a", "1"), symlink("d", "../.."), file("d/canary", "dead"), dir("d"), file("d/b", "2")],
        &[r#"canary 644 "dead""#, "d/ 755", r#"d/b 644 "2""#],
    );
}

#[test]
fn a_file_written_onto_a_link() {
    comes_out_as([symlink("canary", "../canary"), file("canary", "in its place")], &[r#"canary 644 "in its place""#]);
}

#[test]
fn a_hard_link_to_a_file_of_the_host() {
    comes_out_as([hardlink("passwd", "/etc/passwd"), file("kept", "x")], &[r#"kept 644 "x""#])
        .says("/passwd is left out: it is a hard link to /etc/passwd, which is missing: it is neither earlier");
    for target in ["../canary", "../../../../etc/passwd"] {
        is_refused([hardlink("link", target)], LEADS_OUT);
    }
}

#[test]
fn a_hard_link_through_a_link_that_leads_out() {
    comes_out_as(
        [symlink("way", ".."), hardlink("stolen", "way/canary"), file("stolen", "dead")],
        &[r#"stolen 644 "dead""#, "way -> .."],
    );
    comes_out_as([symlink("way", ".."), hardlink("stolen", "way/canary")], &["way -> .."])
        .says("/stolen is left out: it is a hard link to /canary, which is missing: it is neither earlier");
}

#[test]
fn hard_links_in_a_circle_and_to_themselves() {
    let run = comes_out_as(
        [hardlink("self", "self"), hardlink("a", "b"), hardlink("b", "a"), file("kept", "x")],
        &[r#"kept 644 "x""#],
    );
    for name in ["self", "a", "b"] {
        assert!(run.stderr.contains(&format!("/{name} is left out: it is a hard link to ")), "{}", run.stderr);
    }
}

#[test]
fn a_hard_link_to_a_directory_or_a_device() {
    comes_out_as(
        [dir("d"), hardlink("to-dir", "d"), char_device("null", 1, 3), hardlink("to-device", "null")],
        &["d/ 755"],
    )
    .says("/to-dir is left out: it is a hard link to /d")
    .says("skipped out/null: device nodes")
    .says("skipped out/to-device: device nodes");
}

#[test]
fn a_link_with_an_empty_target_and_one_with_a_very_long_one() {
    is_refused([symlink("empty", "")], "has a symbolic link empty with an empty target");
    // As long a one as no file system holds, though a tar does.
    let Fetched { files, stream, names, .. } = fetch(vec![Layer::new([symlink("long", "x/".repeat(5000))])]);
    files.exits(1).says("cannot write out/long: File name too long");
    stream.exits(0);
    assert_eq!(names, ["long"]);
}

#[test]
fn a_link_that_was_on_the_disk_before_is_not_written_through() {
    let registry = Registry::start();
    let reference =
        registry.push("app:1", &Image::new().layer([dir("d"), file("d/canary", "new"), file("tool", "new")]));
    let work = WorkDir::new();
    fs::write(work.outside("canary"), "alive").unwrap();
    plant("..", work.path("d")).unwrap();
    plant("../canary", work.path("tool")).unwrap();
    artifact(&["get", &reference, "/d"]).run_in(&work).exits(1).says("directories are never written through one");
    artifact(&["get", &reference, "/tool"]).run_in(&work).exits(0);
    assert_eq!(fs::read_to_string(work.outside("canary")).unwrap(), "alive");
    assert_eq!(work.listing(), ["d -> ..", r#"tool 644 "new""#]);
}

// Whiteouts

#[test]
fn whiteouts_that_climb_out_or_name_nothing() {
    let over = |entry: Entry| vec![Layer::new([file("kept", "x"), file("d/kept", "y")]), Layer::new([entry])];
    are_refused(over(file("../.wh.canary", "")), LEADS_OUT);
    let kept = ["d/ 755", r#"d/kept 644 "y""#, r#"kept 644 "x""#];
    for name in [".wh...", ".wh..", ".wh.", "d/.wh.", ".wh..wh."] {
        come_out_as(over(file(name, "")), &kept);
    }
    come_out_as(over(dir(".wh.dir")), &kept);
    // Only an entry's own name makes a whiteout of it.
    let below = ["e/ 755", "e/.wh..wh..opq/ 755", r#"e/.wh..wh..opq/x 644 """#];
    come_out_as(over(file("e/.wh..wh..opq/x", "")), &[&kept[..2], &below, &kept[2..]].concat());
}

#[test]
fn a_whiteout_that_is_a_link() {
    come_out_as(vec![Layer::new([file("f", "x")]), Layer::new([symlink(".wh.f", "/etc/passwd")])], &[]);
}
