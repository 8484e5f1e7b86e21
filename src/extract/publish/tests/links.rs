//! Links and names that lead elsewhere: below the destination nothing is written through one, whoever put it there, and
//! whenever.

use std::os::unix::fs::symlink as plant;

use super::*;

#[test]
fn a_symlink_in_a_files_place_is_replaced_itself() {
    let scratch = scratch();
    let outside = scratch.path().join("outside");
    fs::write(&outside, "precious").unwrap();
    plant(&outside, scratch.path().join("tool")).unwrap();
    let staging = staging_for(scratch.path());
    let item = file(&staging, b"new");
    publish_as(staging, "tool", item).unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"precious");
    assert!(fs::symlink_metadata(scratch.path().join("tool")).unwrap().is_file());
}

#[test]
fn a_planted_symlink_is_never_written_through() {
    let scratch = scratch();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("tree")).unwrap();
    plant(outside.path(), scratch.path().join("tree/sub")).unwrap();
    let staging = staging_for(scratch.path());
    let sub = directory(0o755, [("file", file(&staging, b"x"))]);
    let item = directory(0o755, [("before", file(&staging, b"y")), ("sub", sub)]);
    let error = publish_as(staging, "tree", item).unwrap_err();
    assert!(matches!(&error, ExtractError::SymlinkInTheWay { path } if path.ends_with("tree/sub")), "{error}");
    assert!(names(outside.path()).is_empty());
    assert_eq!(names(&scratch.path().join("tree")), ["sub"], "nothing at all is written");

    let staging = staging_for(scratch.path());
    let item = directory(0o755, [("file", file(&staging, b"x"))]);
    plant(outside.path(), scratch.path().join("top")).unwrap();
    let error = publish_as(staging, "top", item).unwrap_err();
    assert!(matches!(error, ExtractError::SymlinkInTheWay { .. }), "{error}");
    assert!(names(outside.path()).is_empty());
}

#[test]
fn a_link_that_the_image_itself_brings_is_never_written_through() {
    // The same name as a link and as a directory cannot be in one map, but a file system may take two for the same.
    let scratch = scratch();
    let outside = tempfile::tempdir().unwrap();
    let staging = staging_for(scratch.path());
    let link = symlink(outside.path().to_str().unwrap());
    let tree = directory(0o755, [("file", file(&staging, b"x"))]);
    let one = file(&staging, b"y");
    let mut publication = Publication::new(&staging, &[], PLAIN).unwrap();
    let mut build = |item| publication.builder.build(staging.directory(), b"sub", item, Path::new("sub"), 0);
    build(&link).unwrap();
    for item in [&tree, &one, &link] {
        let error = build(item).unwrap_err();
        assert!(matches!(error, ExtractError::SameName { .. }), "{error}");
    }
    assert!(names(outside.path()).is_empty());
}

#[test]
fn a_directory_swapped_for_a_link_meanwhile_is_not_written_through() {
    let scratch = scratch();
    let outside = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let staging = staging_for(scratch.path());
    let item = directory(0o755, [("file", file(&staging, b"x"))]);
    let mut publication = Publication::new(&staging, &[], PLAIN).unwrap();
    let step = publication.prepare(&mut Descent::new(staging.target()), b"tree", &item, &tree).unwrap();
    fs::remove_dir(&tree).unwrap();
    plant(outside.path(), &tree).unwrap();
    let error = publication.carry_out(step, &mut Descent::new(staging.target()), b"tree", &tree).unwrap_err();
    assert!(matches!(error, ExtractError::SymlinkInTheWay { .. }), "{error}");
    assert!(names(outside.path()).is_empty());
}

#[test]
fn a_new_directory_does_not_follow_a_link_planted_meanwhile() {
    let scratch = scratch();
    let outside = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    let staging = staging_for(scratch.path());
    let item = directory(0o755, [("file", file(&staging, b"x"))]);
    let mut publication = Publication::new(&staging, &[], PLAIN).unwrap();
    let step = publication.prepare(&mut Descent::new(staging.target()), b"tree", &item, &tree).unwrap();
    plant(outside.path(), &tree).unwrap();
    publication.carry_out(step, &mut Descent::new(staging.target()), b"tree", &tree).unwrap_err();
    assert!(names(outside.path()).is_empty());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let scratch = scratch();
    for name in ["", ".", "..", "/", "/etc/passwd", "../x", "a/b", "a\0b"] {
        let staging = staging_for(scratch.path());
        let items = [(name, file(&staging, b"x"))];
        let error = publish(staging, named(items), &PLAIN).unwrap_err();
        assert!(matches!(error, ExtractError::UnsafeName { .. }), "{name:?}: {error}");
        let staging = staging_for(scratch.path());
        let item = directory(0o755, [("inner", directory(0o755, [(name, file(&staging, b"x"))]))]);
        let error = publish_as(staging, "tree", item).unwrap_err();
        assert!(matches!(error, ExtractError::UnsafeName { .. }), "{name:?}: {error}");
    }
    for target in ["", "a\0b"] {
        let error = publish_as(staging_for(scratch.path()), "link", symlink(target)).unwrap_err();
        assert!(matches!(error, ExtractError::UnsafeLink { .. }), "{target:?}: {error}");
    }
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn the_destination_itself_may_be_a_link_that_the_person_chose() {
    let scratch = scratch();
    fs::create_dir(scratch.path().join("real")).unwrap();
    plant("real", scratch.path().join("alias")).unwrap();
    let staging = staging_for(&scratch.path().join("alias"));
    let item = file(&staging, b"x");
    publish_as(staging, "tool", item).unwrap();
    assert_eq!(names(&scratch.path().join("real")), ["tool"]);
}
