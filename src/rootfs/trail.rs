//! The symlinks that a path leads through, one after the other: what a walk goes through, and [`resolve`](super::walk::resolve)
//! gives no account of.

use super::node::NodeKind;
use super::path::{MAX_SYMLINKS, components, join};
use super::view::{Child, View};
use super::walk::{Found, Leaf, leaf};

/// How many names are walked at most. More than forty links of ordinary length have, and as much as a walk allows.
const MAX_STEPS: usize = 4096;

/// A symlink on the way of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Its canonical path.
    pub path: Vec<u8>,
    /// Its target, as written.
    pub target: &'a [u8],
}

/// The symlinks that `path` (from the root) leads through, in their order, as far as it leads and `view` tells. One in the last
/// component is among them where `follow` says so.
pub fn links<'a>(view: &View<'a>, path: &[u8], follow: bool) -> Vec<Link<'a>> {
    let mut found: Vec<Link<'a>> = Vec::new();
    // The directories from the root down to where the walk is, the root left out.
    let mut inside = Vec::new();
    // What is left of the path, and of the targets of links in it, the next name last.
    let mut pending: Vec<&[u8]> = components(path).rev().collect();
    for _ in 0..MAX_STEPS {
        let Some(name) = pending.pop() else { break };
        if name == b".." {
            inside.pop();
            continue;
        }
        let root = view.root();
        let here = inside.last().unwrap_or(&root);
        let at = join(&here.path, name);
        match view.child(here, name) {
            Child::Directory(below) => inside.push(below),
            Child::Leaf { layer } => {
                let Found::Leaf(Leaf { node, .. }) = leaf(view, layer, &at) else { break };
                let NodeKind::Symlink(target) = &node.kind else { break };
                let is_kept = pending.is_empty() && !follow;
                if is_kept || found.len() == MAX_SYMLINKS {
                    break;
                }
                if target.starts_with(b"/") {
                    inside.clear();
                }
                pending.extend(components(target).rev());
                found.push(Link { path: at, target });
            }
            Child::Absent { .. } | Child::Unknown => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{directory, file, hard_link, index, symlink};
    use super::*;

    #[test]
    fn each_link_on_the_way_is_told_with_its_own_path() {
        let base = index(&[
            symlink("bin", "usr/bin"),
            directory("usr/bin"),
            symlink("usr/bin/awk", "/etc/alternatives/awk"),
            symlink("etc/alternatives/awk", "../../bin/mawk"),
            file("usr/bin/mawk"),
            symlink("loop", "loop"),
        ]);
        let top = index(&[hard_link("other", "usr/bin/awk")]);
        let view = View::new(vec![&top, &base], true);
        let told = |path: &str, follow| -> Vec<String> {
            let links = links(&view, path.as_bytes(), follow).into_iter();
            links.map(|link| String::from_utf8([&link.path, &b" "[..], link.target].concat()).unwrap()).collect()
        };
        let awk = ["usr/bin/awk /etc/alternatives/awk", "etc/alternatives/awk ../../bin/mawk", "bin usr/bin"];
        assert_eq!(told("/usr/bin/awk", true), awk);
        assert_eq!(told("/bin/./awk", true)[..2], ["bin usr/bin", awk[0]]);
        assert_eq!(told("/bin/awk", false), ["bin usr/bin"]);
        assert_eq!(told("/other", true)[0], "other /etc/alternatives/awk", "a hard link to a link is one");
        assert_eq!(told("/bin/../bin/gone", true), ["bin usr/bin"]);
        assert_eq!(told("/loop", true).len(), MAX_SYMLINKS);
        assert!(told("/usr/bin/mawk/x", true).is_empty());
    }
}
