//! Places in the rootfs at which patterns begin, kept so that going down a path finds them on the way.

use std::collections::{BTreeMap, HashMap};

use super::states::States;
use crate::rootfs::kept::Kept;
use crate::rootfs::path::{components, join};

/// Canonical paths, with the patterns (by position) that may have matches from there on, and how much of each has
/// matched on the way. A path costs the names that it does not share with the others.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The first one is the root; there is none while there is no place.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    below: HashMap<Vec<u8>, usize>,
    patterns: BTreeMap<usize, States>,
}

impl Places {
    /// Adds the canonical `path` for the pattern at `position`.
    pub fn add(&mut self, path: &[u8], position: usize, states: &States) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for name in components(path) {
            let fresh = self.nodes.len();
            at = match self.nodes[at].below.get(name) {
                Some(known) => *known,
                None => {
                    self.nodes[at].below.insert(name.to_vec(), fresh);
                    self.nodes.push(Node::default());
                    fresh
                }
            };
        }
        self.nodes[at].patterns.entry(position).or_default().absorb(states);
    }

    /// Adds all that `other` has.
    pub fn absorb(&mut self, other: Places) {
        if self.nodes.is_empty() {
            *self = other;
            return;
        }
        let mut pending = if other.nodes.is_empty() { Vec::new() } else { vec![(0, 0)] };
        while let Some((at, from)) = pending.pop() {
            for (position, states) in &other.nodes[from].patterns {
                self.nodes[at].patterns.entry(*position).or_default().absorb(states);
            }
            for (name, from) in &other.nodes[from].below {
                let fresh = self.nodes.len();
                let at = *self.nodes[at].below.entry(name.clone()).or_insert(fresh);
                if at == fresh {
                    self.nodes.push(Node::default());
                }
                pending.push((at, *from));
            }
        }
    }

    /// Adds all places, each with what is below it, to `kept`.
    pub fn keep(&self, kept: &mut Kept) {
        let mut pending = if self.nodes.is_empty() { Vec::new() } else { vec![(Vec::new(), 0)] };
        while let Some((path, at)) = pending.pop() {
            let node = &self.nodes[at];
            if !node.patterns.is_empty() {
                kept.add_all(&path);
            } else {
                pending.extend(node.below.iter().map(|(name, below)| (join(&path, name), *below)));
            }
        }
    }

    /// The root, where there is any place.
    pub fn root(&self) -> Option<Place<'_>> {
        (!self.nodes.is_empty()).then_some(Place { places: self, at: 0 })
    }
}

/// One path on the way to places, or one of them.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    places: &'a Places,
    at: usize,
}

impl<'a> Place<'a> {
    /// What is on the way at `name` in it.
    pub fn below(self, name: &[u8]) -> Option<Self> {
        let at = *self.places.nodes[self.at].below.get(name)?;
        Some(Place { at, ..self })
    }

    /// The patterns that begin here.
    pub fn patterns(&self) -> impl Iterator<Item = (&'a usize, &'a States)> {
        self.places.nodes[self.at].patterns.iter()
    }
}
