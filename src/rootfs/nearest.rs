//! Hints for a path that does not exist: what a person may have meant.

use std::collections::BTreeSet;

use super::near::{Near, Sought};
use super::path::split;
use super::view::{Child, View};

pub use super::likeness::likeness;

/// How many hints are given at most.
const MAX_HINTS: usize = 3;

/// How many places of the same base name are looked at, as all but a few may have been deleted.
const MAX_TRIED: usize = 100;

/// The existing paths nearest to `missing` (a canonical path, whose first missing component is `name` in `parent`): names
/// like it in the same directory, then the same base name elsewhere in the image, in byte order.
pub fn nearest(view: &View<'_>, parent: &[u8], name: &[u8], missing: &[u8]) -> Vec<Vec<u8>> {
    let base = split(missing).1;
    let sought = Sought { directory: parent.to_vec(), name: name.to_vec(), base: base.to_vec() };
    let near = view.near(&sought);
    let alike: BTreeSet<&(usize, Vec<u8>)> = near.iter().flat_map(Near::alike).collect();
    let mut hints: Vec<Vec<u8>> = Vec::new();
    let alike = alike.into_iter().map(|(_, path)| path);
    let elsewhere: BTreeSet<&Vec<u8>> = near.iter().flat_map(Near::elsewhere).collect();
    for path in alike.chain(elsewhere.into_iter().take(MAX_TRIED)) {
        if hints.len() >= MAX_HINTS {
            break;
        }
        if !hints.contains(path) && exists(view, path) {
            hints.push(path.clone());
        }
    }
    hints
}

/// Whether the canonical `path` is in the merged view as it is, without following a symlink.
pub fn exists(view: &View<'_>, path: &[u8]) -> bool {
    let mut directory = view.root();
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        match view.child(&directory, name) {
            Child::Directory(child) => directory = child,
            Child::Leaf { .. } => return names.peek().is_none(),
            Child::Unknown => {
                view.expect(path);
                return false;
            }
            Child::Absent { .. } => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{file, index};
    use super::*;

    #[test]
    fn names_alike_come_first_then_the_same_name_elsewhere() {
        let base = index(&[file("usr/bin/python3.11"), file("usr/local/bin/pyhton"), file("usr/bin/perl")]);
        let view = View::new(vec![&base], true);
        assert_eq!(nearest(&view, b"usr/bin", b"python", b"usr/bin/python"), [b"usr/bin/python3.11".to_vec()]);
        assert_eq!(nearest(&view, b"usr/bin", b"pyhton", b"usr/bin/pyhton"), [b"usr/local/bin/pyhton".to_vec()]);
        assert!(nearest(&view, b"usr/bin", b"x", b"usr/bin/x").is_empty());
    }
}
