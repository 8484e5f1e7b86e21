//! Layers of which as much is known as somebody has asked: an index of the paths that matter, and a [`Journal`] of all else, from which
//! the index is made anew when a question comes to a path that it does not have.
//!
//! So a lookup takes memory for what it looks at, whatever else is in a layer: for the paths asked for and what is below them, for
//! the layer's symlinks, and four bytes or so for any other entry.

use std::sync::{Arc, PoisonError, RwLock};

use super::index::{Inserted, LayerIndex};
use super::journal::Journal;
use super::kept::{Kept, Wanted};
use super::refused::Refused;
use super::view::View;
use crate::layer::entry::Entry;

/// How often, on average, each entry of a layer may go into an index anew because further paths are asked for. After that all of the
/// layer is kept: whatever an image's links say, a layer costs so many times what it costs to index it once.
const MAX_REPLAYED: usize = 8;

/// A layer, or what has been read of it.
#[derive(Debug, Default)]
pub struct Known {
    index: LayerIndex,
    /// What the index was made from; none where it has everything.
    journal: Option<Journal>,
    keeps_xattrs: bool,
    entries: usize,
    /// How many entries went into an index anew.
    replayed: usize,
}

impl From<LayerIndex> for Known {
    /// A layer that is known whole.
    fn from(index: LayerIndex) -> Self {
        Known { index, ..Known::default() }
    }
}

impl Known {
    /// A layer of which nothing has been read, all of which is kept, with extended attributes or without.
    pub fn keeping_xattrs(keep: bool) -> Self {
        Known { index: LayerIndex::keeping_xattrs(keep), keeps_xattrs: keep, ..Known::default() }
    }

    /// The same layer, of which only `kept` is kept until something else is asked for.
    pub(super) fn of(self, kept: &Kept) -> Self {
        let index = LayerIndex::of(kept, self.keeps_xattrs);
        let journal = index.kept().map(|_| Journal::keeping_xattrs(self.keeps_xattrs));
        Known { index, journal, ..self }
    }

    /// Takes in the next entry of the tar.
    pub fn insert<'e>(&mut self, entry: &'e Entry) -> Result<Inserted<'e>, Refused> {
        let inserted = self.index.insert(entry)?;
        self.entries += 1;
        if let Some(journal) = &mut self.journal {
            journal.push(entry);
        }
        Ok(inserted)
    }

    /// What is known of the layer.
    pub fn index(&self) -> &LayerIndex {
        &self.index
    }

    /// Makes sure that `wanted` is known.
    fn widen(&mut self, wanted: &Wanted) -> Result<(), Refused> {
        let (Some(journal), Some(kept)) = (&self.journal, self.index.kept()) else { return Ok(()) };
        let mut kept = kept.clone();
        kept.absorb(&wanted.paths);
        self.replayed += self.entries;
        if self.replayed > self.entries.saturating_mul(MAX_REPLAYED) {
            kept = Kept::everything();
        }
        let sought = wanted.names.as_ref().or(self.index.gathered().map(|near| &near.sought)).cloned();
        // What it was gives way first, so that there are never two.
        self.index = LayerIndex::default();
        let mut index = LayerIndex::of(&kept, self.keeps_xattrs).gathering(sought.as_ref());
        journal.replay(|entry| index.insert(entry).map(drop))?;
        if index.kept().is_none() {
            self.journal = None;
        }
        self.index = index;
        Ok(())
    }
}

/// A layer that several may look at side by side, each of whom may need more of it to be known.
#[derive(Debug)]
pub struct KnownLayer(RwLock<Known>);

impl KnownLayer {
    /// To share a layer that has been read.
    pub fn new(layer: impl Into<Known>) -> Arc<Self> {
        Arc::new(KnownLayer(RwLock::new(layer.into())))
    }

    fn widen(&self, wanted: &Wanted) -> Result<(), Refused> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).widen(wanted)
    }
}

/// Answers a question about the view of `layers`, the uppermost first, which is `whole` where there is no layer below them. What it
/// asks for and is not known yet is looked up in the layers' journals: then it is put again, so that only its last answer
/// counts.
///
/// # Errors
///
/// Only [`Refused::Lost`], where the process has damaged what it kept.
pub fn ask<T>(layers: &[Arc<KnownLayer>], whole: bool, question: impl FnMut(&View<'_>) -> T) -> Result<T, Refused> {
    ask_all(layers, None, whole, question)
}

/// The same, of `layers` and one below them that is being read; there are others below that one.
pub(super) fn ask_of<T>(
    layers: &[Arc<KnownLayer>],
    lowest: &mut Known,
    question: impl FnMut(&View<'_>) -> T,
) -> Result<T, Refused> {
    ask_all(layers, Some(lowest), false, question)
}

fn ask_all<T>(
    layers: &[Arc<KnownLayer>],
    mut lowest: Option<&mut Known>,
    whole: bool,
    mut question: impl FnMut(&View<'_>) -> T,
) -> Result<T, Refused> {
    loop {
        let (answer, missed) = {
            let held: Vec<_> =
                layers.iter().map(|layer| layer.0.read().unwrap_or_else(PoisonError::into_inner)).collect();
            let indexes = held.iter().map(|layer| &layer.index).chain(lowest.as_ref().map(|layer| &layer.index));
            let view = View::new(indexes.collect(), whole);
            (question(&view), view.missed())
        };
        if missed.is_empty() {
            return Ok(answer);
        }
        // Each layer that missed something knows more when the question comes again, so that this ends.
        for (depth, wanted) in missed {
            match (layers.get(depth.0), &mut lowest) {
                (Some(layer), _) => layer.widen(&wanted)?,
                (None, Some(lowest)) => lowest.widen(&wanted)?,
                (None, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
