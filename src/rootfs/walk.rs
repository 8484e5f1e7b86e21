//! Resolving a path in the merged view, as the kernel would inside a container whose root is the image.
//!
//! Symlinks are followed in every component, `..` stops at the root, and 40 links are a loop (path_resolution(7)).

use super::index::{MAX_SYMLINKS, Node, NodeKind, components, join, split};
use super::view::{Child, Directory, View};

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// To a directory.
    Directory(Directory),
    /// To something else.
    Leaf(Leaf<'a>),
    /// To nothing: `name` does not exist in `parent`.
    Absent {
        /// The last directory on the way that exists.
        parent: Directory,
        /// The first component that does not.
        name: Vec<u8>,
        /// The layer (from the top) whose whiteout deleted it, where one did.
        deleted_by: Option<usize>,
    },
    /// Through something that is no directory.
    NotADirectory {
        /// The canonical path of that thing.
        path: Vec<u8>,
    },
    /// Through more than 40 symlinks.
    Loop,
    /// Only layers that are not in the view can tell.
    Unknown {
        /// Where the path leads if no further symlink is on the way.
        path: Vec<u8>,
    },
}

/// Something in the rootfs that is not a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Its canonical path.
    pub path: Vec<u8>,
    /// The layer (from the top) that holds it; for a hard link to a lower layer's file, that lower layer.
    pub layer: usize,
    /// What the layer says of it; never a [`NodeKind::LinkBelow`].
    pub node: &'a Node,
}

/// Resolves `path` (relative paths are from the root). A symlink in the last component is followed where `follow` says so
/// or a trailing slash asks for a directory.
pub fn resolve<'a>(view: &View<'a>, path: &[u8], follow: bool) -> Found<'a> {
    resolve_below(view, 0, path, follow)
}

/// The node behind a leaf of the view, with a hard link to a lower layer's file followed down to it.
pub fn leaf<'a>(view: &View<'a>, layer: usize, path: &[u8]) -> Found<'a> {
    let Some(node) = view.node(layer, path) else {
        return Found::Unknown { path: path.to_vec() };
    };
    match &node.kind {
        NodeKind::LinkBelow(target) => match resolve_below(view, layer + 1, target, false) {
            Found::Leaf(leaf) => Found::Leaf(Leaf { path: path.to_vec(), ..leaf }),
            other => other,
        },
        _ => Found::Leaf(Leaf { path: path.to_vec(), layer, node }),
    }
}

fn resolve_below<'a>(view: &View<'a>, top: usize, path: &[u8], follow: bool) -> Found<'a> {
    let must_be_directory = path.ends_with(b"/") || path.ends_with(b"/.");
    let mut directories = vec![view.root_below(top)];
    let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
    let mut links = 0;
    loop {
        // The root is never popped, so there is always a current directory.
        let Some(current) = directories.last() else { return Found::Loop };
        let Some(name) = pending.pop() else { return Found::Directory(current.clone()) };
        if name == b".." {
            if directories.len() > 1 {
                directories.pop();
            }
            continue;
        }
        match view.child(current, &name) {
            Child::Directory(directory) => directories.push(directory),
            Child::Absent { deleted_by } => return Found::Absent { parent: current.clone(), name, deleted_by },
            Child::Unknown => return Found::Unknown { path: assume(&current.path, &name, &pending) },
            Child::Leaf { layer } => {
                let found = match leaf(view, layer, &join(&current.path, &name)) {
                    Found::Leaf(found) => found,
                    Found::Unknown { path } => return Found::Unknown { path },
                    // A hard link to what is not there, or not a file: nothing a container could open.
                    _ => return Found::Absent { parent: current.clone(), name, deleted_by: None },
                };
                match &found.node.kind {
                    NodeKind::Symlink(target) if !pending.is_empty() || follow || must_be_directory => {
                        links += 1;
                        if links > MAX_SYMLINKS {
                            return Found::Loop;
                        }
                        if target.starts_with(b"/") {
                            directories.truncate(1);
                        }
                        pending.extend(components(target).rev().map(<[u8]>::to_vec));
                    }
                    _ if pending.is_empty() && !must_be_directory => return Found::Leaf(found),
                    _ => return Found::NotADirectory { path: found.path },
                }
            }
        }
    }
}

/// The canonical path of `name` in `directory` followed by the components still `pending` (last first).
fn assume(directory: &[u8], name: &[u8], pending: &[Vec<u8>]) -> Vec<u8> {
    let mut path = join(directory, name);
    for component in pending.iter().rev() {
        if component == b".." {
            path.truncate(split(&path).0.len());
        } else {
            path = join(&path, component);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::super::index::LayerIndex;
    use super::super::index::tests::{directory, file, hard_link, index, symlink};
    use super::*;

    fn debian() -> LayerIndex {
        index(&[
            symlink("bin", "usr/bin"),
            directory("usr"),
            directory("usr/bin"),
            symlink("usr/bin/awk", "/etc/alternatives/awk"),
            symlink("etc/alternatives/awk", "/usr/bin/mawk"),
            file("usr/bin/mawk"),
            symlink("loop", "pool"),
            symlink("pool", "loop"),
            symlink("up", "../../../usr/bin"),
        ])
    }

    fn real_path(view: &View<'_>, path: &str) -> String {
        match resolve(view, path.as_bytes(), true) {
            Found::Directory(directory) => format!("{}/", String::from_utf8_lossy(&directory.path)),
            Found::Leaf(leaf) => String::from_utf8_lossy(&leaf.path).into_owned(),
            Found::Absent { name, .. } => format!("absent {}", String::from_utf8_lossy(&name)),
            Found::NotADirectory { path } => format!("not a directory {}", String::from_utf8_lossy(&path)),
            Found::Loop => "loop".to_owned(),
            Found::Unknown { path } => format!("unknown {}", String::from_utf8_lossy(&path)),
        }
    }

    #[test]
    fn symlinks_are_followed_in_every_component() {
        let base = debian();
        let view = View::new(vec![&base], true);
        for (path, leads_to) in [
            ("/bin/awk", "usr/bin/mawk"),
            ("bin", "usr/bin/"),
            ("/bin/", "usr/bin/"),
            ("/up/mawk", "usr/bin/mawk"),
            ("/../../bin/./mawk", "usr/bin/mawk"),
            ("/bin/..", "usr/"),
            ("/bin/mawk/", "not a directory usr/bin/mawk"),
            ("/bin/mawk/x", "not a directory usr/bin/mawk"),
            ("/bin/gone", "absent gone"),
            ("/gone/x", "absent gone"),
            ("/loop", "loop"),
            ("/", "/"),
            ("", "/"),
        ] {
            assert_eq!(real_path(&view, path), leads_to, "{path}");
        }
    }

    #[test]
    fn a_last_symlink_is_kept_when_asked_but_not_before_a_slash() {
        let base = debian();
        let view = View::new(vec![&base], true);
        assert!(matches!(resolve(&view, b"/bin", false), Found::Leaf(_)));
        assert!(matches!(resolve(&view, b"/bin/", false), Found::Directory(_)));
    }

    #[test]
    fn what_a_missing_layer_could_decide_is_unknown() {
        let top = index(&[symlink("bin", "usr/bin"), file("usr/bin/new")]);
        let view = View::new(vec![&top], false);
        assert_eq!(real_path(&view, "/bin/new"), "usr/bin/new");
        assert_eq!(real_path(&view, "/bin/ls"), "unknown usr/bin/ls");
        assert_eq!(real_path(&view, "/lib/x/../y"), "unknown lib/y");
    }

    #[test]
    fn a_hard_link_may_lead_to_a_lower_layer() {
        let top = index(&[hard_link("b", "a")]);
        let base = index(&[file("a")]);
        let partial = View::new(vec![&top], false);
        assert_eq!(real_path(&partial, "/b"), "unknown a");
        let view = View::new(vec![&top, &base], true);
        let Found::Leaf(leaf) = resolve(&view, b"b", true) else { panic!("a file") };
        assert_eq!((leaf.path, leaf.layer), (b"b".to_vec(), 1));
    }

    #[test]
    fn forty_links_are_followed_and_no_more() {
        let chain = |length: usize| {
            let mut entries = vec![file("l0")];
            entries.extend((1..=length).map(|i| symlink(&format!("l{i}"), &format!("l{}", i - 1))));
            index(&entries)
        };
        let (forty, more) = (chain(40), chain(41));
        assert_eq!(real_path(&View::new(vec![&forty], true), "/l40"), "l0");
        assert_eq!(real_path(&View::new(vec![&more], true), "/l41"), "loop");
    }
}
