//! Layers of which as much is known as somebody has asked: an index of the paths that matter, and a [`Journal`] of all else, from which
//! the index is made anew when a question comes to a path that it does not have; or, in its place, somebody to ask for [`More`].
//!
//! So a lookup takes memory for what it looks at, whatever else is in a layer: for the paths asked for and what is below them, for
//! the layer's symlinks, and four bytes or so for any other entry.

use std::sync::{Arc, PoisonError, RwLock};

use super::index::{Inserted, LayerIndex};
use super::journal::Journal;
use super::kept::{Kept, Wanted};
use super::more::{More, Said, existing};
use super::near::Near;
use super::refused::Refused;
use super::view::View;
use crate::layer::entry::Entry;

/// How often, on average, each entry of a layer may go into an index anew because further paths are asked for. After that all of the
/// layer is kept: whatever an image's links say, a layer costs so many times what it costs to index it once.
const MAX_REPLAYED: usize = 8;

/// How often a layer is asked for more. After that it is asked for everything: whatever an image's links say, they buy no more questions.
const MAX_ASKED: usize = 1000;

/// What there is of a layer beside its index.
#[derive(Debug, Default)]
enum Rest {
    /// Nothing: the index has everything.
    #[default]
    Nothing,
    /// What the index was made from.
    Journal(Journal),
    /// Somebody who knows it, and how often he was asked.
    More(Arc<dyn More>, usize),
}

/// A layer, or what has been read of it.
#[derive(Debug, Default)]
pub struct Known {
    index: LayerIndex,
    rest: Rest,
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
        let rest = match index.kept() {
            Some(_) => Rest::Journal(Journal::keeping_xattrs(self.keeps_xattrs)),
            None => Rest::Nothing,
        };
        Known { index, rest, ..self }
    }

    /// The same layer, of which only `kept` is [taken in](Self::take), until something else is asked for.
    pub(super) fn asking(self, more: &Arc<dyn More>, kept: &Kept) -> Self {
        let index = LayerIndex::of(kept, self.keeps_xattrs);
        Known { index, rest: Rest::More(Arc::clone(more), 0), ..self }
    }

    /// Takes in something of what is kept, as it was told.
    pub(super) fn take<'s>(&mut self, said: Said<'s>) -> Result<Inserted<'s>, Refused> {
        self.index.take(said)
    }

    /// Takes in the next entry of the tar.
    pub fn insert<'e>(&mut self, entry: &'e Entry) -> Result<Inserted<'e>, Refused> {
        let inserted = self.index.insert(entry)?;
        self.entries += 1;
        if let Rest::Journal(journal) = &mut self.rest {
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
        let Some(kept) = self.index.kept() else { return Ok(()) };
        let journal = match &mut self.rest {
            Rest::Nothing => return Ok(()),
            Rest::Journal(journal) => journal,
            Rest::More(more, asked) => {
                *asked += 1;
                let (more, is_too_often) = (Arc::clone(more), *asked > MAX_ASKED);
                return self.ask(&*more, wanted, is_too_often);
            }
        };
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
            self.rest = Rest::Nothing;
        }
        self.index = index;
        Ok(())
    }

    /// Asks for what is `wanted` and is not known yet, or for everything.
    fn ask(&mut self, more: &dyn More, wanted: &Wanted, everything: bool) -> Result<(), Refused> {
        let Some(before) = self.index.kept().cloned() else { return Ok(()) };
        let mut kept = before.clone();
        match everything {
            true => kept = Kept::everything(),
            false => kept.absorb(&wanted.paths),
        }
        if let Some(fresh) = kept.without(&before) {
            self.index.set_kept(kept);
            let index = &mut self.index;
            // What lies on the way to something is told with it, and may be known.
            let told = more.more(&fresh, &mut |said| match before.contains(&said.path()) {
                true => Ok(()),
                false => index.take(said).map(drop),
            });
            if told.is_err() {
                self.index.set_kept(before);
                return told;
            }
        }
        if let Some(sought) = &wanted.names {
            let mut near = Near::new(sought);
            more.names(&sought.directory, &mut |path| near.take(existing(path)))?;
            self.index.set_near(near);
        }
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
