//! The merged view of layers, from the top down, as overlayfs shows them.
//!
//! A [`View`] may lack the bottom layers: it then answers [`Child::Unknown`] where only they could tell, so that a layer is
//! fetched only when it can matter.
//! Spec: OCI image-spec *Whiteouts*; the kernel's *Overlay Filesystem* for directories over files and back.

use std::collections::BTreeSet;

use super::index::{LayerIndex, Node, NodeKind, join};

/// Some of an image's layers, seen as one tree. Layers are counted from the top: 0 is the uppermost.
#[derive(Clone, Debug)]
pub struct View<'a> {
    layers: Vec<&'a LayerIndex>,
    whole: bool,
}

/// A directory of the merged view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its canonical path; empty for the root.
    pub path: Vec<u8>,
    /// The first layer whose content shows in it.
    top: usize,
    /// The first layer below `top` whose content is hidden in it, where something hides it.
    floor: Option<usize>,
    /// The layer whose entry gives the directory its metadata; `None` where no layer seen has one.
    pub described_by: Option<usize>,
}

/// What lies under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Child {
    /// A directory.
    Directory(Directory),
    /// Something else, of this layer.
    Leaf {
        /// The layer, from the top.
        layer: usize,
    },
    /// Nothing.
    Absent {
        /// The layer whose whiteout says so, where one does.
        deleted_by: Option<usize>,
    },
    /// Only a layer that is not in the view can tell.
    Unknown,
}

impl<'a> View<'a> {
    /// A view of `layers`, top first; `whole` when there is no further layer below.
    pub fn new(layers: Vec<&'a LayerIndex>, whole: bool) -> Self {
        View { layers, whole }
    }

    /// The layer at this position from the top.
    pub fn layer(&self, layer: usize) -> Option<&'a LayerIndex> {
        self.layers.get(layer).copied()
    }

    /// How many layers are in the view.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// The node that a layer has at a path.
    pub fn node(&self, layer: usize, path: &[u8]) -> Option<&'a Node> {
        self.layers.get(layer)?.get(path)
    }

    /// The root directory.
    pub fn root(&self) -> Directory {
        self.root_below(0)
    }

    /// The root directory as the layers from `top` downwards make it.
    pub fn root_below(&self, top: usize) -> Directory {
        let described_by = (top..self.layers.len()).find(|layer| {
            let node = self.layers[*layer].get(b"");
            node.is_some_and(|node| !matches!(node.kind, NodeKind::Directory { implied: true }))
        });
        let opaque = (top..self.layers.len()).find(|layer| self.layers[*layer].hides_below(b""));
        Directory { path: Vec::new(), top, floor: opaque.map(|layer| layer + 1), described_by }
    }

    /// Whether everything that could show in `directory` is in the view.
    pub fn is_complete(&self, directory: &Directory) -> bool {
        self.whole || directory.floor.is_some_and(|floor| floor <= self.layers.len())
    }

    /// What `name` is in `directory`.
    pub fn child(&self, directory: &Directory, name: &[u8]) -> Child {
        let path = join(&directory.path, name);
        let mut found: Option<Directory> = None;
        let bottom = directory.floor.unwrap_or(usize::MAX).min(self.layers.len());
        for layer in directory.top..bottom {
            let index = self.layers[layer];
            match (index.get(&path).map(|node| &node.kind), &mut found) {
                (Some(NodeKind::Directory { implied }), None) => {
                    let described_by = (!implied).then_some(layer);
                    let path = path.clone();
                    found = Some(Directory { path, top: layer, floor: directory.floor, described_by });
                }
                (Some(NodeKind::Directory { implied }), Some(found)) => {
                    found.described_by = found.described_by.or((!implied).then_some(layer));
                }
                (Some(_), None) => return Child::Leaf { layer },
                (Some(_), Some(found)) => {
                    found.floor = Some(layer);
                    break;
                }
                (None, _) => {}
            }
            if index.hides_below(&path) {
                match &mut found {
                    Some(found) => found.floor = Some(layer + 1),
                    None => return Child::Absent { deleted_by: Some(layer) },
                }
                break;
            }
        }
        match found {
            Some(directory) => Child::Directory(directory),
            None if self.is_complete(directory) => Child::Absent { deleted_by: None },
            None => Child::Unknown,
        }
    }

    /// Whether the layers in the view hide a file that a layer below them has at the canonical `path`.
    pub fn hides(&self, path: &[u8]) -> bool {
        let mut directory = self.root();
        for name in path.split(|byte| *byte == b'/') {
            match self.child(&directory, name) {
                Child::Directory(child) => directory = child,
                Child::Leaf { .. } | Child::Absent { .. } => return true,
                Child::Unknown => return false,
            }
        }
        true
    }

    /// The names in `directory` and what they are, in byte order; `None` while layers that matter are not in the view.
    pub fn list(&self, directory: &Directory) -> Option<Vec<(Vec<u8>, Child)>> {
        if !self.is_complete(directory) {
            return None;
        }
        Some(self.list_seen(directory))
    }

    /// Like [`View::list`], of the layers that are in the view, whether or not others matter.
    pub fn list_seen(&self, directory: &Directory) -> Vec<(Vec<u8>, Child)> {
        let bottom = directory.floor.unwrap_or(usize::MAX).min(self.layers.len());
        let layers = &self.layers[directory.top.min(bottom)..bottom];
        let names: BTreeSet<&[u8]> = layers.iter().flat_map(|index| index.children(&directory.path)).collect();
        let children = names.into_iter().map(|name| (name.to_vec(), self.child(directory, name)));
        children.filter(|(_, child)| matches!(child, Child::Directory(_) | Child::Leaf { .. })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::tests::{directory, file, index, symlink};
    use super::*;

    #[test]
    fn upper_layers_win_and_whiteouts_hide_what_is_below() {
        let top = index(&[file("a/new"), file("a/.wh.old")]);
        let base = index(&[directory("a"), file("a/old"), file("a/kept")]);
        let view = View::new(vec![&top, &base], true);
        let Child::Directory(a) = view.child(&view.root(), b"a") else { panic!("a is a directory") };
        assert_eq!(a.described_by, Some(1), "the implied parent takes its metadata from below");
        assert_eq!(view.child(&a, b"new"), Child::Leaf { layer: 0 });
        assert_eq!(view.child(&a, b"kept"), Child::Leaf { layer: 1 });
        assert_eq!(view.child(&a, b"old"), Child::Absent { deleted_by: Some(0) });
        let names: Vec<Vec<u8>> = view.list(&a).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [b"kept".to_vec(), b"new".to_vec()]);
    }

    #[test]
    fn an_opaque_directory_and_a_directory_over_a_file_need_nothing_from_below() {
        let top = index(&[directory("o"), file("o/.wh..wh..opq"), directory("was-file")]);
        let view = View::new(vec![&top], false);
        let Child::Directory(opaque) = view.child(&view.root(), b"o") else { panic!("o is a directory") };
        assert!(view.is_complete(&opaque));
        assert_eq!(view.child(&view.root(), b"x"), Child::Unknown);
        let base = index(&[file("was-file"), file("o/hidden")]);
        let view = View::new(vec![&top, &base], true);
        let Child::Directory(made) = view.child(&view.root(), b"was-file") else { panic!("a directory") };
        assert!(view.list(&made).unwrap().is_empty());
        let Child::Directory(opaque) = view.child(&view.root(), b"o") else { panic!("o is a directory") };
        assert!(view.list(&opaque).unwrap().is_empty());
    }

    #[test]
    fn a_whiteout_beside_a_new_entry_hides_only_the_old_one() {
        let top = index(&[file(".wh.d"), directory("d"), file("d/new")]);
        let base = index(&[directory("d"), file("d/old"), symlink("l", "d")]);
        let view = View::new(vec![&top, &base], true);
        let Child::Directory(d) = view.child(&view.root(), b"d") else { panic!("d is a directory") };
        assert_eq!(view.list(&d).unwrap().len(), 1);
    }
}
