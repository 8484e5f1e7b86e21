//! Items, destinations and users for the tests of this module.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::{Destination, Item, Metadata, Node, Published, Staged, Staging};

/// The time that every item has.
pub(super) const MTIME: (i64, u32) = (1_600_000_000, 123_456_789);

pub(super) fn metadata(mode: u32) -> Metadata {
    Metadata { mode, mtime: MTIME, ..Metadata::default() }
}

pub(super) fn staged(staging: &Staging, content: &[u8]) -> Arc<Staged> {
    staging.stage(&mut &*content, content.len() as u64).unwrap()
}

pub(super) fn file(staging: &Staging, content: &[u8]) -> Item {
    Item { metadata: metadata(0o666), node: Node::File(staged(staging, content)) }
}

pub(super) fn link_of(staged: &Arc<Staged>) -> Item {
    Item { metadata: metadata(0o640), node: Node::File(Arc::clone(staged)) }
}

pub(super) fn symlink(target: &str) -> Item {
    Item { metadata: metadata(0o777), node: Node::Symlink(target.into()) }
}

pub(super) fn special() -> Item {
    Item { metadata: metadata(0o666), node: Node::Special }
}

pub(super) fn directory<const N: usize>(mode: u32, children: [(&str, Item); N]) -> Item {
    let children = children.into_iter().map(|(name, item)| (name.into(), item)).collect();
    Item { metadata: metadata(mode), node: Node::Directory(children) }
}

pub(super) fn named<const N: usize>(items: [(&str, Item); N]) -> Vec<(Vec<u8>, Item)> {
    items.into_iter().map(|(name, item)| (name.into(), item)).collect()
}

pub(super) fn staging_for(directory: &Path) -> Staging {
    Staging::new(&Destination::Directory(directory.to_owned())).unwrap()
}

/// Publishes one item as `name`, without `preserve`.
pub(super) fn publish_as(staging: Staging, name: &str, item: Item) -> Result<Published, super::ExtractError> {
    super::publish(staging, named([(name, item)]), &super::PublishOptions::default())
}

/// Everybody may write into it, so that tests can be somebody else.
pub(super) fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o777)).unwrap();
    scratch
}

/// The names in a directory, hidden ones too, in order.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Does `work` without being root, in a thread of its own if need be: on Linux a thread's user is its own.
#[cfg(target_os = "linux")]
pub(super) fn as_nobody(work: impl FnOnce() + Send) {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    if !is_root() {
        return work();
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(65_534), rustix::fs::Gid::from_raw(65_534));
    let result = std::thread::scope(|scope| {
        let nobody = scope.spawn(|| {
            set_thread_groups(&[]).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            work();
        });
        nobody.join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the test that calls this must be left out, which it says by name.
pub(super) fn skipped_without_root(test: &str) -> bool {
    if !is_root() {
        eprintln!("skipped without root: {test}");
    }
    !is_root()
}
