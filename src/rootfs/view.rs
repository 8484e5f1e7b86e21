//! The merged view of layers, from the top down, as overlayfs shows them.
//!
//! A [`View`] may lack the bottom layers: it then answers [`Child::Unknown`] where only they could tell, so that a layer is
//! fetched only when it can matter.
//! Spec: OCI image-spec *Whiteouts*; the kernel's *Overlay Filesystem* for directories over files and back.

use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use super::depth::Depth;
use super::index::LayerIndex;
use super::kept::Wanted;
use super::near::{Near, Sought};
use super::node::{Node, NodeKind, UNDESCRIBED};
use super::path::join;
use super::spread::{Directory, Held, Spread};
use super::tree::{Children, NodeId, Place};
use super::ways::Ways;
use crate::layer::entry::Metadata;

/// Paths longer than this many bytes (`PATH_MAX`) are asked for name by name.
const MAX_EXPECTED: usize = 4096;

/// Some of an image's layers, from the uppermost down, seen as one tree.
#[derive(Debug)]
pub struct View<'a> {
    layers: Vec<&'a LayerIndex>,
    whole: bool,
    /// The layers that empty the root, and those that have an entry for it.
    opaque_roots: Vec<Depth>,
    described_roots: Vec<Depth>,
    /// Where hard links to lower layers lead, as far as anybody has asked: each is followed once.
    links: RefCell<HashMap<(Depth, NodeId), LinkEnd<'a>>>,
    /// What walks have found out.
    pub(super) ways: RefCell<Ways>,
    /// How many names have been looked up, one for each layer asked.
    steps: Cell<u64>,
    /// What was asked of layers whose indexes do not know it. Whatever was answered then does not count.
    missed: RefCell<BTreeMap<Depth, Wanted>>,
}

/// Where a hard link to a lower layer leads.
#[derive(Clone, Debug)]
pub(super) enum LinkEnd<'a> {
    /// To this node of this layer.
    Leaf(Depth, &'a Node),
    /// To nothing that can be linked to.
    Nowhere,
    /// Only layers that are not in the view can tell: about this path, unless a further symlink is on the way.
    Unknown(Vec<u8>),
}

/// What lies under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Child {
    /// A directory.
    Directory(Directory),
    /// Something else, of this layer.
    Leaf {
        /// The layer.
        layer: Depth,
    },
    /// Nothing.
    Absent {
        /// The layer whose whiteout says so, where one does.
        deleted_by: Option<Depth>,
    },
    /// Only a layer that is not in the view can tell.
    Unknown,
}

/// A [`Child`] without its path.
#[derive(Debug)]
pub(super) enum Seen {
    Directory(Spread),
    Leaf { layer: Depth, place: Place },
    Absent { deleted_by: Option<Depth> },
    Unknown,
}

impl<'a> View<'a> {
    /// A view of `layers`, top first; `whole` when there is no further layer below.
    pub fn new(layers: Vec<&'a LayerIndex>, whole: bool) -> Self {
        let roots = |wanted: fn(&LayerIndex) -> bool| -> Vec<Depth> {
            layers.iter().enumerate().filter(|(_, layer)| wanted(layer)).map(|(depth, _)| Depth(depth)).collect()
        };
        View {
            opaque_roots: roots(|layer| layer.tree().marks(Place::ROOT).opaque),
            described_roots: roots(|layer| layer.tree().entry(Place::ROOT).is_some()),
            layers,
            whole,
            links: RefCell::default(),
            ways: RefCell::default(),
            steps: Cell::default(),
            missed: RefCell::default(),
        }
    }

    /// The layer at this depth.
    pub fn layer(&self, layer: Depth) -> Option<&'a LayerIndex> {
        self.layers.get(layer.0).copied()
    }

    /// The layers in the view, the uppermost first.
    pub fn layers(&self) -> &[&'a LayerIndex] {
        &self.layers
    }

    /// The node that a layer has at a path.
    pub fn node(&self, layer: Depth, path: &[u8]) -> Option<&'a Node> {
        self.layer(layer)?.get(path)
    }

    /// The root directory.
    pub fn root(&self) -> Directory {
        Directory::new(Vec::new(), self.root_below(Depth::TOP))
    }

    /// The root directory of the layers from `top` down.
    pub(super) fn root_below(&self, top: Depth) -> Spread {
        let first = |roots: &[Depth]| roots.get(roots.partition_point(|layer| *layer < top)).copied();
        Spread {
            held: Held::Root { top },
            floor: first(&self.opaque_roots).map(Depth::below),
            ended: false,
            described_by: first(&self.described_roots),
        }
    }

    /// Whether everything that could show in `directory` is in the view.
    pub fn is_complete(&self, directory: &Directory) -> bool {
        self.shows_all(&directory.spread)
    }

    fn shows_all(&self, spread: &Spread) -> bool {
        self.whole || spread.floor.is_some_and(|floor| floor.0 <= self.layers.len())
    }

    /// What `name` is in `directory`.
    pub fn child(&self, directory: &Directory, name: &[u8]) -> Child {
        child(directory, name, self.look(&directory.spread, &directory.path, name))
    }

    /// Like [`View::child`], of the directory at the canonical path `at`. Asks the layers that hold the directory, no others.
    pub(super) fn look(&self, directory: &Spread, at: &[u8], name: &[u8]) -> Seen {
        let mut merging = Merging::default();
        let mut is_known = true;
        for (layer, place) in self.held(directory) {
            self.steps.set(self.steps.get() + 1);
            if merging.is_hidden(directory, layer) {
                break;
            }
            let index = self.layers[layer.0];
            let child = index.tree().child(place, name);
            let is_symlink = || {
                let node = child.and_then(|place| index.tree().get(place));
                node.is_some_and(|node| matches!(node.kind, NodeKind::Symlink(_)))
            };
            // An index has all symlinks of its layer.
            if !index.knows_in(at, name) && !is_symlink() {
                self.miss(layer, &join(at, name));
                is_known = false;
            }
            if is_known
                && let Some(place) = child
                && let ControlFlow::Break(seen) = merging.add(directory, (layer, index), place)
            {
                return seen;
            }
        }
        if is_known { merging.finish(self.shows_all(directory)) } else { Seen::Unknown }
    }

    /// Takes note that the canonical `path` was asked of a layer that does not know it.
    pub(super) fn miss(&self, layer: Depth, path: &[u8]) {
        self.missed.borrow_mut().entry(layer).or_default().paths.add(path);
    }

    /// Takes note that whoever has missed something will ask for the canonical `path` next, so that it is there then.
    pub(super) fn expect(&self, path: &[u8]) {
        if path.len() <= MAX_EXPECTED {
            self.missed.borrow_mut().values_mut().for_each(|wanted| wanted.paths.add(path));
        }
    }

    /// What was asked of layers that do not know it. Where there is anything, what the view said is not to be relied on.
    pub(super) fn missed(&self) -> BTreeMap<Depth, Wanted> {
        self.missed.take()
    }

    /// Whether the layers in the view hide a file that a layer below them has at the canonical `path`.
    pub fn hides(&self, path: &[u8]) -> bool {
        let mut directory = self.root_below(Depth::TOP);
        let mut end = 0;
        for name in path.split(|byte| *byte == b'/') {
            let at = &path[..end];
            end += usize::from(end > 0) + name.len();
            match self.look(&directory, at, name) {
                Seen::Directory(child) => directory = child,
                Seen::Leaf { .. } | Seen::Absent { .. } => return true,
                Seen::Unknown => {
                    self.expect(path);
                    return false;
                }
            }
        }
        true
    }

    /// The names in `directory` and what they are, in byte order; `None` while layers that matter are not in the view, if
    /// only to the directory's own metadata.
    pub fn list(&self, directory: &Directory) -> Option<Vec<(Vec<u8>, Child)>> {
        self.is_listable(directory).then(|| self.list_seen(directory))
    }

    /// Whether everything that could show in `directory`, and all that is said of it, is in the view.
    pub fn is_listable(&self, directory: &Directory) -> bool {
        self.is_all(&directory.spread)
    }

    pub(super) fn is_all(&self, directory: &Spread) -> bool {
        let is_described = self.whole || directory.described_by.is_some() || directory.ended;
        is_described && self.shows_all(directory)
    }

    /// What the layers say of `directory`, as far as they are in the view.
    pub fn metadata(&self, directory: &Directory) -> Metadata {
        let described = directory.described_by.and_then(|layer| self.node(layer, &directory.path));
        described.map_or(UNDESCRIBED, Node::metadata)
    }

    /// The layer and its entry that give a directory its metadata; `None` where no layer seen has one.
    pub(super) fn described(&self, directory: &Spread) -> Option<(Depth, &'a Node)> {
        let layer = directory.described_by?;
        let (_, place) = self.held(directory).find(|(held, _)| *held == layer)?;
        Some((layer, self.layer(layer)?.tree().get(place)?))
    }

    /// Like [`View::list`], of the layers that are in the view, whether or not others matter.
    pub fn list_seen(&self, directory: &Directory) -> Vec<(Vec<u8>, Child)> {
        let names = self.names(&directory.path, directory.spread.clone());
        names.map(|(name, seen)| (name.to_vec(), child(directory, name, seen))).collect()
    }

    /// The names that are in `directory`, whose canonical path is `path`, as far as the layers in the view tell, and what they are, in byte order. Merges the layers
    /// in one go: it takes a step for each name that a layer has in the directory, and four bytes.
    pub(super) fn names<'v>(&'v self, path: &[u8], directory: Spread) -> Names<'v, 'a> {
        let heads = self.held(&directory).filter_map(|(layer, place)| {
            let index = self.layers[layer.0];
            if !index.knows_below(path) {
                self.missed.borrow_mut().entry(layer).or_default().paths.add_all(path);
                return None;
            }
            let mut rest = index.tree().children(place);
            let (name, place) = rest.next()?;
            Some(Reverse(Head { name, layer, place, rest }))
        });
        Names { heads: heads.collect(), view: self, directory }
    }

    /// What each layer has of the names that are `sought`, in the view or not, the uppermost first.
    pub(super) fn near(&self, sought: &Sought) -> Vec<Near> {
        let layers = self.layers.iter().enumerate();
        let near = layers.filter_map(|(depth, index)| {
            let near = index.near(sought);
            if near.is_none() {
                self.missed.borrow_mut().entry(Depth(depth)).or_default().names = Some(sought.clone());
            }
            near
        });
        near.collect()
    }

    /// Where the hard link at `node` of `layer` leads, where that is known already.
    pub(super) fn link_end(&self, layer: Depth, node: NodeId) -> Option<LinkEnd<'a>> {
        self.links.borrow().get(&(layer, node)).cloned()
    }

    /// Remembers where a hard link leads.
    pub(super) fn set_link_end(&self, layer: Depth, node: NodeId, end: LinkEnd<'a>) {
        self.links.borrow_mut().insert((layer, node), end);
    }

    fn held<'d>(&'d self, directory: &'d Spread) -> impl Iterator<Item = (Depth, Place)> + 'd {
        let (roots, places) = match &directory.held {
            Held::Root { top } => (top.0..self.layers.len(), &[][..]),
            Held::Places(places) => (0..0, places.as_slice()),
        };
        roots.map(|depth| (Depth(depth), Place::ROOT)).chain(places.iter().copied())
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

/// The names of a directory: see [`View::names`].
#[derive(Debug)]
pub(super) struct Names<'v, 'a> {
    view: &'v View<'a>,
    directory: Spread,
    /// The next name of each layer; the first in order on top.
    heads: BinaryHeap<Reverse<Head<'a>>>,
}

/// The next name that a layer has in a directory. They come in the order of names, and of layers from the top for each.
#[derive(Debug)]
struct Head<'a> {
    name: &'a [u8],
    layer: Depth,
    place: Place,
    rest: Children<'a>,
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.name, self.layer).cmp(&(other.name, other.layer))
    }
}

impl Names<'_, '_> {
    /// What `name`, which the layer on top has next, is; takes it off all layers.
    fn merge(&mut self, name: &[u8]) -> Seen {
        let mut state = ControlFlow::Continue(Merging::default());
        while let Some(mut head) = self.heads.peek_mut() {
            let Head { layer, place, .. } = head.0;
            if head.0.name != name {
                break;
            }
            if let ControlFlow::Continue(merging) = &mut state
                && let ControlFlow::Break(seen) =
                    merging.add(&self.directory, (layer, self.view.layers[layer.0]), place)
            {
                state = ControlFlow::Break(seen);
            }
            match head.0.rest.next() {
                Some((name, place)) => (head.0.name, head.0.place) = (name, place),
                None => drop(PeekMut::pop(head)),
            }
        }
        match state {
            ControlFlow::Break(seen) => seen,
            ControlFlow::Continue(merging) => merging.finish(self.view.shows_all(&self.directory)),
        }
    }
}

impl<'a> Iterator for Names<'_, 'a> {
    type Item = (&'a [u8], Seen);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let name = self.heads.peek()?.0.name;
            let seen = self.merge(name);
            if matches!(seen, Seen::Directory(_) | Seen::Leaf { .. }) {
                return Some((name, seen));
            }
        }
    }
}

/// What is known of a name after some layers: nothing, or that it is a directory.
#[derive(Debug, Default)]
struct Merging {
    found: Option<Spread>,
}

impl Merging {
    /// Takes in what the next layer down has at `place` for a name in `directory`.
    fn add(&mut self, directory: &Spread, (layer, index): (Depth, &LayerIndex), place: Place) -> ControlFlow<Seen> {
        if self.is_hidden(directory, layer) {
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
            Some(_) if marks.deleted => return self.end(layer.below()),
            Some(found) if marks.opaque => found.hide_from(layer.below()),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Whether what `layer` has of a name in `directory` is hidden: of a directory that layers above have, too, it is not.
    fn is_hidden(&self, directory: &Spread, layer: Depth) -> bool {
        self.found.is_none() && directory.floor.is_some_and(|floor| layer >= floor)
    }

    /// What the layers from this one on have is not the directory found.
    fn end(&mut self, layer: Depth) -> ControlFlow<Seen> {
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{directory, file, index, symlink};
    use super::*;

    #[test]
    fn upper_layers_win_and_whiteouts_hide_what_is_below() {
        let top = index(&[file("a/new"), file("a/.wh.old")]);
        let base = index(&[directory("a"), file("a/old"), file("a/kept")]);
        let view = View::new(vec![&top, &base], true);
        let Child::Directory(a) = view.child(&view.root(), b"a") else { panic!("a is a directory") };
        assert_eq!(a.described_by, Some(Depth(1)), "the implied parent takes its metadata from below");
        assert_eq!(view.child(&a, b"new"), Child::Leaf { layer: Depth(0) });
        assert_eq!(view.child(&a, b"kept"), Child::Leaf { layer: Depth(1) });
        assert_eq!(view.child(&a, b"old"), Child::Absent { deleted_by: Some(Depth(0)) });
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
