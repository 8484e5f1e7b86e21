//! All that is below a directory of the merged view, name by name, in the order of a listing.
//!
//! Nothing is made of it but what the visitor makes: four bytes are held for each name that is still to come, of the directories on
//! the way down to the one that is being visited.

use super::depth::Depth;
use super::node::{Node, NodeKind};
use super::path::push;
use super::spread::Directory;
use super::view::{Seen, View};
use super::walk::{Found, leaf};

/// Something in the rootfs, as a walk comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing<'a> {
    /// A directory.
    Directory {
        /// The layer and its entry that give it its metadata; `None` where no layer seen has one.
        described_by: Option<(Depth, &'a Node)>,
        /// Whether everything that could show in it, and all that is said of it, is in the view.
        is_listable: bool,
    },
    /// Something else.
    Leaf {
        /// The layer that holds it; for a hard link to a lower layer's file, that lower layer.
        layer: Depth,
        /// What the layer says of it; never a hard link.
        node: &'a Node,
    },
    /// A hard link to nothing.
    Broken {
        /// Its target.
        target: &'a [u8],
    },
    /// A hard link that only layers can follow that are not in the view.
    Unknown,
}

/// Calls `visit` with the canonical path of each thing below `directory`, and what it is: what is in a directory follows it, names
/// in byte order. It says whether what is in a directory is to be visited; an error of it ends the walk.
pub fn walk<'a, E>(
    view: &View<'a>,
    directory: &Directory,
    visit: &mut impl FnMut(&[u8], Thing<'a>) -> Result<bool, E>,
) -> Result<(), E> {
    let mut path = directory.path.clone();
    let mut open = vec![(view.names(&path, directory.spread.clone()), path.len())];
    while let Some((names, length)) = open.last_mut() {
        path.truncate(*length);
        let Some((name, seen)) = names.next() else {
            open.pop();
            continue;
        };
        push(&mut path, name);
        match seen {
            Seen::Directory(spread) => {
                let described_by = view.described(&spread);
                let thing = Thing::Directory { described_by, is_listable: view.is_all(&spread) };
                if visit(&path, thing)? {
                    open.push((view.names(&path, spread), path.len()));
                }
            }
            Seen::Leaf { layer, place } => {
                let node = view.layer(layer).and_then(|index| index.tree().get(place));
                let thing = match node {
                    None => Thing::Unknown,
                    Some(Node { kind: NodeKind::LinkBelow(_) | NodeKind::LinkNowhere(_), .. }) => {
                        match leaf(view, layer, &path) {
                            Found::Leaf(leaf) => Thing::Leaf { layer: leaf.layer, node: leaf.node },
                            Found::BrokenLink { target, .. } => Thing::Broken { target },
                            Found::Unknown { .. } => Thing::Unknown,
                            _ => continue,
                        }
                    }
                    Some(node) => Thing::Leaf { layer, node },
                };
                visit(&path, thing)?;
            }
            Seen::Absent { .. } | Seen::Unknown => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::fixture::{directory, file, hard_link, index};
    use super::*;

    #[test]
    fn what_is_below_a_directory_follows_it_and_layers_are_one_tree() {
        let top = index(&[file("a/b/new"), file("a/.wh.gone"), hard_link("a/z", "base"), hard_link("a/y", "nowhere")]);
        let base = index(&[file("base"), directory("a"), file("a/b-c"), file("a/b/old"), file("a/gone"), file("c")]);
        let view = View::new(vec![&top, &base], true);
        let mut seen = Vec::new();
        let all: Result<(), Infallible> = walk(&view, &view.root(), &mut |path, thing| {
            let what = match thing {
                Thing::Directory { described_by: Some((layer, _)), .. } => format!("/@{}", layer.0),
                Thing::Directory { described_by: None, .. } => "/".to_owned(),
                Thing::Leaf { layer, .. } => format!("@{}", layer.0),
                Thing::Broken { .. } | Thing::Unknown => "?".to_owned(),
            };
            seen.push(String::from_utf8_lossy(path).into_owned() + &what);
            Ok(path != b"a/b")
        });
        assert_eq!(all, Ok(()));
        assert_eq!(seen, ["a/@1", "a/b/", "a/b-c@1", "a/y?", "a/z@1", "base@1", "c@1"]);
    }
}
