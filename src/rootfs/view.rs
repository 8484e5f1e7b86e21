//! The merged view of layers, from the top down, as overlayfs shows them.
//!
//! A [`View`] may lack the bottom layers: it then answers [`Child::Unknown`] where only they could tell, so that a layer is
//! fetched only when it can matter.
//! Spec: OCI image-spec *Whiteouts*; the kernel's *Overlay Filesystem* for directories over files and back.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use super::index::{LayerIndex, Node, NodeKind, join};
use super::tree::{NodeId, Place};
use super::ways::Ways;

/// Some of an image's layers, seen as one tree. Layers are counted from the top: 0 is the uppermost.
#[derive(Debug)]
pub struct View<'a> {
    layers: Vec<&'a LayerIndex>,
    whole: bool,
    /// The layers that empty the root, and those that have an entry for it.
    opaque_roots: Vec<usize>,
    described_roots: Vec<usize>,
    /// Where hard links to lower layers lead, as far as anybody has asked: each is followed once.
    links: RefCell<HashMap<(usize, NodeId), LinkEnd<'a>>>,
    /// What walks have found out.
    pub(super) ways: RefCell<Ways>,
    /// How many names have been looked up, one for each layer asked.
    steps: Cell<u64>,
}

/// Where a hard link to a lower layer leads.
#[derive(Clone, Debug)]
pub(super) enum LinkEnd<'a> {
    /// To this node of this layer.
    Leaf(usize, &'a Node),
    /// To nothing that can be linked to.
    Nowhere,
    /// Only layers that are not in the view can tell: about this path, unless a further symlink is on the way.
    Unknown(Vec<u8>),
}

/// A directory of the merged view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its canonical path; empty for the root.
    pub path: Vec<u8>,
    /// The layer whose entry gives the directory its metadata; `None` where no layer seen has one.
    pub described_by: Option<usize>,
    pub(super) spread: Spread,
}

impl Directory {
    pub(super) fn new(path: Vec<u8>, spread: Spread) -> Self {
        Directory { path, described_by: spread.described_by, spread }
    }
}

/// How a directory is spread over the layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    held: Held,
    /// The first layer whose content is hidden in it, where something hides it. Layers from there on may still describe it,
    /// and what is in it: a parent without an entry has the metadata that the path has in the layers below, as engines copy
    /// it up, opaque whiteouts or not.
    floor: Option<usize>,
    /// Whether something ends what the layers below can say about it: they had something else there, or nothing.
    ended: bool,
    described_by: Option<usize>,
}

/// The layers that hold a directory, the uppermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    /// The root: all layers from this one.
    Root { top: usize },
    /// These, with the directory's place in each.
    Places(Vec<(usize, Place)>),
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

/// A [`Child`] without its path.
#[derive(Debug)]
pub(super) enum Seen {
    Directory(Spread),
    Leaf { layer: usize, place: Place },
    Absent { deleted_by: Option<usize> },
    Unknown,
}

impl<'a> View<'a> {
    /// A view of `layers`, top first; `whole` when there is no further layer below.
    pub fn new(layers: Vec<&'a LayerIndex>, whole: bool) -> Self {
        let roots = |wanted: fn(&LayerIndex) -> bool| -> Vec<usize> {
            layers.iter().enumerate().filter(|(_, layer)| wanted(layer)).map(|(layer, _)| layer).collect()
        };
        View {
            opaque_roots: roots(|layer| layer.tree().marks(Place::ROOT).opaque),
            described_roots: roots(|layer| layer.tree().entry(Place::ROOT).is_some()),
            layers,
            whole,
            links: RefCell::default(),
            ways: RefCell::default(),
            steps: Cell::default(),
        }
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
        Directory::new(Vec::new(), self.root_below(0))
    }

    /// The root directory of the layers from `top` down.
    pub(super) fn root_below(&self, top: usize) -> Spread {
        let first = |roots: &[usize]| roots.get(roots.partition_point(|layer| *layer < top)).copied();
        Spread {
            held: Held::Root { top },
            floor: first(&self.opaque_roots).map(|layer| layer + 1),
            ended: false,
            described_by: first(&self.described_roots),
        }
    }

    /// Whether everything that could show in `directory` is in the view.
    pub fn is_complete(&self, directory: &Directory) -> bool {
        self.shows_all(&directory.spread)
    }

    fn shows_all(&self, spread: &Spread) -> bool {
        self.whole || spread.floor.is_some_and(|floor| floor <= self.layers.len())
    }

    /// What `name` is in `directory`.
    pub fn child(&self, directory: &Directory, name: &[u8]) -> Child {
        child(directory, name, self.look(&directory.spread, name))
    }

    /// Like [`View::child`], without paths. Asks the layers that hold the directory, no others.
    pub(super) fn look(&self, directory: &Spread, name: &[u8]) -> Seen {
        let mut merging = Merging::default();
        for (layer, place) in self.held(directory) {
            self.steps.set(self.steps.get() + 1);
            let tree = self.layers[layer].tree();
            if let Some(place) = tree.child(place, name)
                && let ControlFlow::Break(seen) = merging.add(directory, (layer, self.layers[layer]), place)
            {
                return seen;
            }
        }
        merging.finish(self.shows_all(directory))
    }

    /// Whether the layers in the view hide a file that a layer below them has at the canonical `path`.
    pub fn hides(&self, path: &[u8]) -> bool {
        let mut directory = self.root_below(0);
        for name in path.split(|byte| *byte == b'/') {
            match self.look(&directory, name) {
                Seen::Directory(child) => directory = child,
                Seen::Leaf { .. } | Seen::Absent { .. } => return true,
                Seen::Unknown => return false,
            }
        }
        true
    }

    /// The names in `directory` and what they are, in byte order; `None` while layers that matter are not in the view, if
    /// only to the directory's own metadata.
    pub fn list(&self, directory: &Directory) -> Option<Vec<(Vec<u8>, Child)>> {
        let is_described = self.whole || directory.described_by.is_some() || directory.spread.ended;
        (is_described && self.is_complete(directory)).then(|| self.list_seen(directory))
    }

    /// Like [`View::list`], of the layers that are in the view, whether or not others matter. Merges the layers in one go: it
    /// takes a step for each name that a layer has in the directory.
    pub fn list_seen(&self, directory: &Directory) -> Vec<(Vec<u8>, Child)> {
        let spread = &directory.spread;
        let mut names: BTreeMap<&[u8], ControlFlow<Seen, Merging>> = BTreeMap::new();
        for (layer, place) in self.held(spread) {
            let index = self.layers[layer];
            for (name, place) in index.tree().children(place) {
                let state = names.entry(name).or_insert_with(|| ControlFlow::Continue(Merging::default()));
                if let ControlFlow::Continue(merging) = state
                    && let ControlFlow::Break(seen) = merging.add(spread, (layer, index), place)
                {
                    *state = ControlFlow::Break(seen);
                }
            }
        }
        let children = names.into_iter().map(|(name, state)| {
            let seen = match state {
                ControlFlow::Break(seen) => seen,
                ControlFlow::Continue(merging) => merging.finish(self.shows_all(spread)),
            };
            (name.to_vec(), child(directory, name, seen))
        });
        children.filter(|(_, child)| matches!(child, Child::Directory(_) | Child::Leaf { .. })).collect()
    }

    /// Where the hard link at `node` of `layer` leads, where that is known already.
    pub(super) fn link_end(&self, layer: usize, node: NodeId) -> Option<LinkEnd<'a>> {
        self.links.borrow().get(&(layer, node)).cloned()
    }

    /// Remembers where a hard link leads.
    pub(super) fn set_link_end(&self, layer: usize, node: NodeId, end: LinkEnd<'a>) {
        self.links.borrow_mut().insert((layer, node), end);
    }

    fn held<'d>(&'d self, directory: &'d Spread) -> impl Iterator<Item = (usize, Place)> + 'd {
        let (roots, places) = match &directory.held {
            Held::Root { top } => (*top..self.layers.len(), &[][..]),
            Held::Places(places) => (0..0, places.as_slice()),
        };
        roots.map(|layer| (layer, Place::ROOT)).chain(places.iter().copied())
    }

    /// How many names have been looked up so far, one for each layer asked: what walks through the view have cost.
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }
}

fn child(directory: &Directory, name: &[u8], seen: Seen) -> Child {
    match seen {
        Seen::Directory(spread) => Child::Directory(Directory::new(join(&directory.path, name), spread)),
        Seen::Leaf { layer, .. } => Child::Leaf { layer },
        Seen::Absent { deleted_by } => Child::Absent { deleted_by },
        Seen::Unknown => Child::Unknown,
    }
}

/// What is known of a name after some layers: nothing, or that it is a directory.
#[derive(Debug, Default)]
struct Merging {
    found: Option<Spread>,
}

impl Merging {
    /// Takes in what the next layer down has at `place` for a name in `directory`.
    fn add(&mut self, directory: &Spread, (layer, index): (usize, &LayerIndex), place: Place) -> ControlFlow<Seen> {
        if self.found.is_none() && directory.floor.is_some_and(|floor| layer >= floor) {
            return ControlFlow::Break(Seen::Absent { deleted_by: None });
        }
        match (index.tree().get(place).map(|node| &node.kind), &mut self.found) {
            (Some(NodeKind::Directory { implied }), found) => {
                let described_by = (!implied).then_some(layer);
                match found {
                    Some(Spread { held: Held::Places(places), described_by: described, .. }) => {
                        places.push((layer, place));
                        *described = described.or(described_by);
                    }
                    _ => {
                        let held = Held::Places(vec![(layer, place)]);
                        *found = Some(Spread { held, described_by, ..directory.clone_bounds() });
                    }
                }
            }
            (Some(_), None) => return ControlFlow::Break(Seen::Leaf { layer, place }),
            (Some(_), Some(_)) => return self.end(layer),
            (None, _) => {}
        }
        let marks = index.tree().marks(place);
        match &mut self.found {
            None if marks.deleted => return ControlFlow::Break(Seen::Absent { deleted_by: Some(layer) }),
            Some(_) if marks.deleted => return self.end(layer + 1),
            Some(found) if marks.opaque => found.hide_from(layer + 1),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// What the layers from this one on have is not the directory found.
    fn end(&mut self, layer: usize) -> ControlFlow<Seen> {
        match self.found.take() {
            Some(mut found) => {
                found.hide_from(layer);
                found.ended = true;
                ControlFlow::Break(Seen::Directory(found))
            }
            None => ControlFlow::Continue(()),
        }
    }

    /// What the name is, after all layers of the view; `whole` where no further layer matters to its directory.
    fn finish(self, whole: bool) -> Seen {
        match self.found {
            Some(found) => Seen::Directory(found),
            None if whole => Seen::Absent { deleted_by: None },
            None => Seen::Unknown,
        }
    }
}

impl Spread {
    /// How many places in layers it has a list of.
    pub(super) fn places(&self) -> usize {
        match &self.held {
            Held::Root { .. } => 0,
            Held::Places(places) => places.len(),
        }
    }

    /// A directory in this one that nothing is known of.
    fn clone_bounds(&self) -> Spread {
        Spread { held: Held::Places(Vec::new()), floor: self.floor, ended: self.ended, described_by: None }
    }

    /// Hides the content of the layers from this one on.
    fn hide_from(&mut self, layer: usize) {
        self.floor = Some(self.floor.map_or(layer, |floor| floor.min(layer)));
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
