//! What a destination looks like after publishing, and what it never looks like.

mod links;
mod owners;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

use super::super::sample::*;
use super::super::{ExtractError, Hashing, MAX_DEPTH, Stamp, live};
use super::*;

const PLAIN: PublishOptions = PublishOptions { preserve: false, special_bits: false };

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn mtime(path: &Path) -> (i64, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.mtime(), metadata.mtime_nsec() as u32)
}

#[test]
fn a_file_gets_its_name_mode_and_time_and_nothing_else_is_left() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let item = file(&staging, b"hello");
    let published = publish_as(staging, "tool", item).unwrap();
    let path = scratch.path().join("tool");
    assert_eq!(published.written, std::slice::from_ref(&path));
    assert!(published.warnings.is_empty(), "{:?}", published.warnings);
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(mode(&path), 0o666, "the umask does not matter");
    assert_eq!(mtime(&path), MTIME);
    assert_eq!(names(scratch.path()), ["tool"]);
}

#[test]
fn what_somebody_else_is_still_staging_keeps_nothing_back() {
    let scratch = scratch();
    let staging = Arc::new(staging_for(scratch.path()));
    let item = file(&staging, b"hello");
    let other = Arc::clone(&staging);
    let (begun, is_begun) = std::sync::mpsc::channel();
    let (publish_first, published) = std::sync::mpsc::channel::<()>();
    /// Content that comes when somebody says so.
    struct Late(std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>);
    impl std::io::Read for Late {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            self.0.send(()).unwrap();
            let _ = self.1.recv();
            Ok(0)
        }
    }
    let late = std::thread::spawn(move || other.stage(&mut Late(begun, published), 5).map(drop));
    is_begun.recv().unwrap();
    publish(staging, named([("tool", item)]), &PLAIN).unwrap();
    assert_eq!(fs::read(scratch.path().join("tool")).unwrap(), b"hello");
    drop(publish_first);
    assert!(late.join().unwrap().is_err());
    assert_eq!(names(scratch.path()), ["tool"]);
}

#[test]
fn an_existing_file_is_replaced_and_not_written_into() {
    let scratch = scratch();
    let path = scratch.path().join("tool");
    fs::write(&path, "old").unwrap();
    fs::hard_link(&path, scratch.path().join("other-name")).unwrap();
    let staging = staging_for(scratch.path());
    let item = file(&staging, b"new");
    publish_as(staging, "tool", item).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read(scratch.path().join("other-name")).unwrap(), b"old");
}

#[test]
fn a_file_and_a_directory_never_replace_one_another() {
    let scratch = scratch();
    fs::create_dir(scratch.path().join("directory")).unwrap();
    fs::write(scratch.path().join("file"), "old").unwrap();
    let staging = staging_for(scratch.path());
    let item = file(&staging, b"new");
    let error = publish_as(staging, "directory", item).unwrap_err();
    assert!(matches!(&error, ExtractError::DirectoryInTheWay { path } if path.ends_with("directory")), "{error}");
    let error = publish_as(staging_for(scratch.path()), "directory", symlink("x")).unwrap_err();
    assert!(matches!(error, ExtractError::DirectoryInTheWay { .. }), "{error}");
    let error = publish_as(staging_for(scratch.path()), "file", directory(0o755, [])).unwrap_err();
    assert!(matches!(&error, ExtractError::FileInTheWay { path } if path.ends_with("file")), "{error}");
    assert_eq!(names(scratch.path()), ["directory", "file"]);
    assert_eq!(fs::read(scratch.path().join("file")).unwrap(), b"old");
}

#[test]
fn a_pipe_in_a_files_place_is_not_replaced() {
    let scratch = scratch();
    let pipe = scratch.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let staging = staging_for(scratch.path());
    let item = file(&staging, b"new");
    let error = publish_as(staging, "pipe", item).unwrap_err();
    assert!(matches!(error, ExtractError::SpecialInTheWay { .. }), "{error}");
}

#[test]
fn a_new_directory_is_written_with_all_that_is_in_it() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let inner = directory(0o555, [("read-only", file(&staging, b"x"))]);
    let item = directory(0o750, [("empty", directory(0o700, [])), ("inner", inner), ("link", symlink("../../etc"))]);
    publish_as(staging, "tree", item).unwrap();
    let tree = scratch.path().join("tree");
    assert_eq!(names(scratch.path()), ["tree"]);
    assert_eq!(names(&tree), ["empty", "inner", "link"]);
    assert_eq!((mode(&tree), mode(&tree.join("inner"))), (0o750, 0o555));
    assert_eq!(fs::read(tree.join("inner/read-only")).unwrap(), b"x");
    assert_eq!(fs::read_link(tree.join("link")).unwrap(), Path::new("../../etc"));
    for path in ["", "empty", "inner", "inner/read-only", "link"] {
        assert_eq!(mtime(&tree.join(path)), MTIME, "{path}");
    }
}

#[test]
fn an_existing_directory_is_merged_into() {
    let scratch = scratch();
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::set_permissions(&tree, Permissions::from_mode(0o700)).unwrap();
    fs::write(tree.join("extra"), "mine").unwrap();
    fs::write(tree.join("sub/replaced"), "old").unwrap();
    let staging = staging_for(scratch.path());
    let sub = directory(0o755, [("new", file(&staging, b"1")), ("replaced", file(&staging, b"2"))]);
    let item = directory(0o755, [("fresh", directory(0o711, [("f", file(&staging, b"3"))])), ("sub", sub)]);
    publish_as(staging, "tree", item).unwrap();
    assert_eq!(names(&tree), ["extra", "fresh", "sub"]);
    assert_eq!(names(&tree.join("sub")), ["new", "replaced"]);
    assert_eq!(fs::read(tree.join("extra")).unwrap(), b"mine");
    assert_eq!(fs::read(tree.join("sub/replaced")).unwrap(), b"2");
    assert_eq!(fs::read(tree.join("fresh/f")).unwrap(), b"3");
    assert_eq!((mode(&tree), mode(&tree.join("fresh"))), (0o700, 0o711));
}

#[test]
fn names_that_are_not_utf8_are_kept_byte_for_byte() {
    if cfg!(target_os = "macos") {
        return;
    }
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let name = b"-\xff \x1b[31m\n".to_vec();
    let items = vec![(name.clone(), file(&staging, b"x"))];
    let published = publish(staging, items, &PLAIN).unwrap();
    assert_eq!(published.written[0].file_name().unwrap().as_bytes(), name);
    assert_eq!(fs::read(&published.written[0]).unwrap(), b"x");
}

#[test]
fn a_tree_can_be_deep_but_not_bottomless() {
    let nested = |levels: usize| (1..levels).fold(directory(0o755, []), |inner, _| directory(0o755, [("d", inner)]));
    let scratch = scratch();
    publish_as(staging_for(scratch.path()), "tree", nested(100)).unwrap();
    let error = publish_as(staging_for(scratch.path()), "pit", nested(MAX_DEPTH + 1)).unwrap_err();
    assert!(matches!(&error, ExtractError::TooDeep { path } if path == Path::new("pit")), "{error}");
    assert_eq!(names(scratch.path()), ["tree"]);
}

#[test]
fn hard_links_are_kept_inside_a_directory_and_between_results() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let content = staged(&staging, b"shared");
    let tree = directory(0o755, [("a", link_of(&content)), ("b", link_of(&content))]);
    publish(staging, named([("c", link_of(&content)), ("tree", tree)]), &PLAIN).unwrap();
    let inode = |path: &str| fs::metadata(scratch.path().join(path)).unwrap().ino();
    assert_eq!(inode("tree/a"), inode("tree/b"));
    assert_eq!(inode("tree/a"), inode("c"));
    assert_eq!(fs::metadata(scratch.path().join("c")).unwrap().nlink(), 3);
    assert_eq!(fs::read(scratch.path().join("c")).unwrap(), b"shared");
    assert_eq!(mode(&scratch.path().join("c")), 0o640);
}

#[test]
fn hard_links_replace_the_hard_links_of_last_time() {
    let scratch = scratch();
    for content in [b"first", b"again"] {
        let staging = staging_for(scratch.path());
        let content = staged(&staging, content);
        publish(staging, named([("a", link_of(&content)), ("b", link_of(&content))]), &PLAIN).unwrap();
    }
    assert_eq!(names(scratch.path()), ["a", "b"]);
    assert_eq!(fs::read(scratch.path().join("b")).unwrap(), b"again");
    assert_eq!(fs::metadata(scratch.path().join("a")).unwrap().nlink(), 2);
}

#[test]
fn devices_and_pipes_are_skipped_and_named() {
    let scratch = scratch();
    let dev = directory(0o755, [("null", special()), ("shm", directory(0o777, []))]);
    let published = publish(staging_for(scratch.path()), named([("dev", dev), ("fifo", special())]), &PLAIN).unwrap();
    assert_eq!(published.written, [scratch.path().join("dev")]);
    let dir = scratch.path().display();
    let reason = "device nodes, pipes and sockets are never created";
    assert_eq!(
        published.warnings,
        [format!("skipped {dir}/dev/null: {reason}"), format!("skipped {dir}/fifo: {reason}")]
    );
    assert_eq!(names(&scratch.path().join("dev")), ["shm"]);
}

#[test]
fn a_file_destination_renames_the_one_result() {
    let scratch = scratch();
    let destination = Destination::File(scratch.path().join("renamed"));
    let staging = Staging::new(&destination).unwrap();
    let item = file(&staging, b"x");
    let published = publish_as(staging, "tool", item).unwrap();
    assert_eq!(published.written, [scratch.path().join("renamed")]);
    assert_eq!(names(scratch.path()), ["renamed"]);

    let destination = Destination::File(scratch.path().join("etc-of-image"));
    let staging = Staging::new(&destination).unwrap();
    let item = directory(0o755, [("hosts", file(&staging, b"x"))]);
    publish_as(staging, "etc", item).unwrap();
    assert_eq!(names(&scratch.path().join("etc-of-image")), ["hosts"]);
}

#[test]
fn several_results_do_not_fit_one_name() {
    let scratch = scratch();
    let staging = Staging::new(&Destination::File(scratch.path().join("one"))).unwrap();
    let items = named([("a", file(&staging, b"x")), ("b", file(&staging, b"y"))]);
    let error = publish(staging, items, &PLAIN).unwrap_err();
    assert!(matches!(error, ExtractError::SeveralThings { .. }) && error.is_usage(), "{error}");
    let staging = staging_for(scratch.path());
    let items = named([("a", file(&staging, b"x")), ("a", file(&staging, b"y"))]);
    let error = publish(staging, items, &PLAIN).unwrap_err();
    assert!(matches!(&error, ExtractError::SameName { path } if path == Path::new("a")), "{error}");
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn when_one_result_cannot_be_written_none_is() {
    let scratch = scratch();
    fs::create_dir(scratch.path().join("b")).unwrap();
    let staging = staging_for(scratch.path());
    let items = named([("a", file(&staging, b"x")), ("b", file(&staging, b"y"))]);
    publish(staging, items, &PLAIN).unwrap_err();
    assert_eq!(names(scratch.path()), ["b"]);
}

#[test]
fn many_files_are_written_as_few_are() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let children: BTreeMap<Vec<u8>, Item> =
        (0..200).map(|n| (n.to_string().into_bytes(), file(&staging, n.to_string().as_bytes()))).collect();
    let item = Item { metadata: metadata(0o755), node: Node::Directory(children) };
    publish_as(staging, "tree", item).unwrap();
    assert_eq!(names(&scratch.path().join("tree")).len(), 200);
    assert_eq!(fs::read(scratch.path().join("tree/137")).unwrap(), b"137");
}

#[test]
fn what_was_discarded_is_not_published() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let item = file(&staging, b"x");
    let tool = scratch.path().join("tool");
    let mut publication = Publication::new(&staging, &[], PLAIN).unwrap();
    let step = publication.prepare(&mut Descent::new(staging.target()), b"tool", &item, &tool).unwrap();
    let hidden = scratch.path().join(&names(scratch.path())[0]);
    live::discard(&hidden);
    assert!(names(scratch.path()).is_empty());
    let error = publication.carry_out(step, &mut Descent::new(staging.target()), b"tool", &tool).unwrap_err();
    assert!(matches!(error, ExtractError::Interrupted), "{error}");
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn a_file_that_was_stamped_gets_what_its_item_says_all_the_same() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let file = |stamped, mode| {
        let stamp = Stamp { mode: stamped, mtime: MTIME };
        let staged = staging.stage_as(&mut &b"content"[..], 7, Some(stamp), Hashing::Skipped).unwrap();
        Item { metadata: metadata(mode), node: Node::File(staged) }
    };
    let items = [("other", file(0o444, 0o755)), ("same", file(0o444, 0o444)), ("unreadable", file(0, 0))];
    publish_as(staging, "tree", directory(0o755, items)).unwrap();
    for (name, expected) in [("other", 0o755), ("same", 0o444), ("unreadable", 0)] {
        let path = scratch.path().join("tree").join(name);
        assert_eq!((mode(&path), mtime(&path)), (expected, MTIME), "{name}");
    }
}
