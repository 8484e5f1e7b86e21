//! Where an entry really is in its own layer, whose links an extraction follows, and what a hard link shares there.
//!
//! A short entry must not buy a long walk, nor a long path: what links may add to its name is bounded.

use super::node::NodeKind;
use super::path::{MAX_SYMLINKS, join, next_component, push, split};
use super::refused::check;
use super::tree::{EntryId, Place, Tree};

/// How many names the targets of a layer's own symlinks may add to one path.
const MAX_LINKED_NAMES: usize = 256;

/// A directory that an entry names, as far as the layer has it.
pub(super) struct Parent {
    /// Its real path.
    pub(super) path: Vec<u8>,
    /// The last thing on the way that is there.
    pub(super) place: Place,
    /// How many bytes of `path` lead to `place`.
    pub(super) there: usize,
}

impl Parent {
    /// Whether all of it is there.
    pub(super) fn is_there(&self) -> bool {
        self.there == self.path.len()
    }

    /// What is not there of the path of `name` in this directory.
    pub(super) fn rest(&self, name: &[u8]) -> Vec<u8> {
        let rest = &self.path[self.there..];
        join(rest.strip_prefix(b"/").unwrap_or(rest), name)
    }
}

/// What a hard link leads to.
pub(super) enum Linked {
    /// What the layer has there.
    To(EntryId),
    /// What the layers below have at this path.
    Below(Vec<u8>),
    /// Nothing that could ever be linked to.
    Nowhere,
}

/// What a hard link at `path` shares. As an extraction does it, the link takes the place of what was at `path` first.
pub(super) fn link(tree: &Tree, path: &[u8], target: &[u8]) -> Linked {
    let (parent, base) = split(target);
    let parent = self::parent(tree, parent);
    let (named, target) = (target, join(&parent.path, base));
    let is_replaced = target.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    if is_replaced || !tree.is_directory(parent.place) || check(&target, named).is_err() {
        return Linked::Nowhere;
    }
    let place = if parent.is_there() { tree.child(parent.place, base) } else { None };
    match place.map(|place| (tree.get(place), tree.entry(place))) {
        Some((Some(node), _)) if matches!(node.kind, NodeKind::Directory { .. }) => Linked::Nowhere,
        Some((_, Some(entry))) => Linked::To(entry),
        _ => Linked::Below(target),
    }
}

/// Where the directory `path` really is when this layer's own symlinks are followed. A loop, or a path to which links
/// add more than [`MAX_LINKED_NAMES`], stays as it is named.
pub(super) fn parent(tree: &Tree, path: &[u8]) -> Parent {
    follow(tree, path, true).or_else(|| follow(tree, path, false)).unwrap_or(Parent {
        path: path.to_vec(),
        place: Place::ROOT,
        there: 0,
    })
}

fn follow(tree: &Tree, path: &[u8], links: bool) -> Option<Parent> {
    let (mut followed, mut steps) = (0, 0);
    // What is left to be walked, innermost target last, and each directory on the way with the length of its path.
    let mut pending = vec![path];
    let mut way = vec![(Some(Place::ROOT), 0)];
    let mut real: Vec<u8> = Vec::new();
    while let Some(rest) = pending.pop() {
        let Some((name, rest)) = next_component(rest) else { continue };
        pending.push(rest);
        // Below the first are targets.
        steps += usize::from(pending.len() > 1);
        if steps > MAX_LINKED_NAMES {
            return None;
        }
        if name == b".." {
            if way.len() > 1 {
                way.pop();
                real.truncate(way.last()?.1);
            }
            continue;
        }
        let place = way.last()?.0.and_then(|place| tree.child(place, name));
        match place.and_then(|place| tree.get(place)).map(|node| &node.kind) {
            Some(NodeKind::Symlink(target)) if links => {
                followed += 1;
                if followed > MAX_SYMLINKS {
                    return None;
                }
                if target.starts_with(b"/") {
                    way.truncate(1);
                    real.clear();
                }
                pending.push(target);
            }
            _ => {
                push(&mut real, name);
                way.push((place, real.len()));
            }
        }
    }
    let (place, there) = way.into_iter().rev().find_map(|(place, end)| Some((place?, end)))?;
    Some(Parent { path: real, place, there })
}
