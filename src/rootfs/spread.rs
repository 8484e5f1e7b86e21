//! A directory of the merged view, and how it is spread over the layers.

use super::depth::Depth;
use super::tree::Place;

/// A directory of the merged view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its canonical path; empty for the root.
    pub path: Vec<u8>,
    /// The layer whose entry gives the directory its metadata; `None` where no layer seen has one.
    pub described_by: Option<Depth>,
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
    pub(super) held: Held,
    /// The first layer whose content is hidden in it, where something hides it. Layers from there on may still describe it,
    /// and what is in it: a parent without an entry has the metadata that the path has in the layers below, as engines copy
    /// it up, opaque whiteouts or not.
    pub(super) floor: Option<Depth>,
    /// Whether something ends what the layers below can say about it: they had something else there, or nothing.
    pub(super) ended: bool,
    pub(super) described_by: Option<Depth>,
}

/// The layers that hold a directory, the uppermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The root: all layers from this one.
    Root { top: Depth },
    /// These, with the directory's place in each.
    Places(Vec<(Depth, Place)>),
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
    pub(super) fn clone_bounds(&self) -> Spread {
        Spread { held: Held::Places(Vec::new()), floor: self.floor, ended: self.ended, described_by: None }
    }

    /// Hides the content of the layers from this one on.
    pub(super) fn hide_from(&mut self, layer: Depth) {
        self.floor = Some(self.floor.map_or(layer, |floor| floor.min(layer)));
    }
}
