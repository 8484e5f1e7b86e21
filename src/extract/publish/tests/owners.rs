//! Owners and setuid bits: what only root may keep, and what anybody else gets all the same.

use super::*;
use crate::extract::Metadata;

#[test]
fn setuid_is_dropped_unless_it_is_to_be_preserved() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let mut item = file(&staging, b"x");
    item.metadata.mode = 0o6755;
    publish_as(staging, "tool", item).unwrap();
    assert_eq!(mode(&scratch.path().join("tool")), 0o755);
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_is_not_root_keeps_the_special_bits_on_request_and_can_remove_what_they_shut() {
    let scratch = scratch();
    as_nobody(|| {
        let staging = staging_for(scratch.path());
        let mut tool = file(&staging, b"x");
        tool.metadata.mode = 0o6755;
        let tree = directory(0o3777, [("shut", directory(0o500, [("tool", tool)]))]);
        let options = PublishOptions { special_bits: true, ..PLAIN };
        let published = publish(staging, named([("tree", tree)]), &options).unwrap();
        assert!(published.warnings.is_empty(), "{published:?}");
        let tree = scratch.path().join("tree");
        assert_eq!((mode(&tree), mode(&tree.join("shut/tool"))), (0o3777, 0o6755));
        remove(&tree).unwrap();
        assert!(names(scratch.path()).is_empty());
        let error = remove(&tree).unwrap_err();
        assert!(matches!(error, ExtractError::Write { .. }) && names(scratch.path()).is_empty(), "{error}");
    });
}

#[test]
fn root_can_preserve_everything() {
    if skipped_without_root("root_can_preserve_everything") {
        return;
    }
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let owned = |mode, node| Item {
        metadata: Metadata {
            uid: 1234,
            gid: 4321,
            xattrs: vec![(b"user.origin".to_vec(), b"image".to_vec())],
            ..metadata(mode)
        },
        node,
    };
    let tool = owned(0o4755, Node::File(staged(&staging, b"x")));
    let link = owned(0o777, Node::Symlink(b"tool".to_vec()));
    let tree = owned(0o3775, Node::Directory(BTreeMap::from([(b"tool".to_vec(), tool), (b"link".to_vec(), link)])));
    let published = publish(staging, named([("tree", tree)]), &PublishOptions { preserve: true, ..PLAIN }).unwrap();
    let tree = scratch.path().join("tree");
    assert_eq!((mode(&tree), mode(&tree.join("tool"))), (0o3775, 0o4755));
    for path in ["", "tool", "link"] {
        let metadata = fs::symlink_metadata(tree.join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 4321), "{path}");
    }
    let mut value = [0; 16];
    // A file system without attributes makes it a warning.
    match rustix::fs::getxattr(tree.join("tool"), "user.origin", &mut value) {
        Ok(length) => assert_eq!(&value[..length], b"image"),
        Err(_) => assert!(published.warnings.iter().any(|line| line.contains("user.origin")), "{published:?}"),
    }
    assert!(published.warnings.iter().any(|line| line.contains("attributes of a symbolic link")), "{published:?}");
}

#[test]
fn an_owner_that_no_system_has_is_refused() {
    if skipped_without_root("an_owner_that_no_system_has_is_refused") {
        return;
    }
    let scratch = scratch();
    for uid in [u64::from(u32::MAX), u64::MAX] {
        let staging = staging_for(scratch.path());
        let mut item = file(&staging, b"x");
        item.metadata.uid = uid;
        let error = publish(staging, named([("tool", item)]), &PublishOptions { preserve: true, ..PLAIN }).unwrap_err();
        assert!(matches!(error, ExtractError::Owner { .. }), "{error}");
    }
    assert!(names(scratch.path()).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_is_not_root_gets_read_only_directories_filled() {
    let scratch = scratch();
    as_nobody(|| {
        let tree = |staging: &Staging| {
            directory(0o555, [("inner", directory(0o500, [("file", file(staging, b"x"))])), ("shut", directory(0, []))])
        };
        let staging = staging_for(scratch.path());
        let item = tree(&staging);
        publish_as(staging, "tree", item).unwrap();
        let path = scratch.path().join("tree");
        assert_eq!((mode(&path), mode(&path.join("inner")), mode(&path.join("shut"))), (0o555, 0o500, 0));
        assert_eq!(fs::read(path.join("inner/file")).unwrap(), b"x");
        assert_eq!((mtime(&path), mtime(&path.join("inner"))), (MTIME, MTIME));

        // And what was built but cannot be published is removed all the same.
        let staging = staging_for(scratch.path());
        let items = named([("another", tree(&staging)), ("tree", file(&staging, b"x"))]);
        publish(staging, items, &PLAIN).unwrap_err();
        assert_eq!(names(scratch.path()), ["tree"]);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn only_root_is_let_in_with_preserve() {
    let scratch = scratch();
    let options = PublishOptions { preserve: true, ..PLAIN };
    as_nobody(|| {
        let destination = Destination::Directory(scratch.path().to_owned());
        let error = options.check(&destination).unwrap_err();
        assert!(matches!(error, ExtractError::PreserveNeedsRoot) && error.is_usage(), "{error}");
        options.check(&Destination::Stdout).unwrap();
        let error = publish(staging_for(scratch.path()), vec![], &options).unwrap_err();
        assert!(matches!(error, ExtractError::PreserveNeedsRoot), "{error}");
    });
}
