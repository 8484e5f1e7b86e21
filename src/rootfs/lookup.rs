//! What to read next: the one place that decides whether what has been read of an image is enough.
//!
//! A [`Lookup`] knows what was asked for. Shown a [`View`] of the layers that have been read, it says that more have to be read, or
//! what there is, or that there is no such thing, and why. [`Passing`] is its other half: while a layer is read, it says which
//! entries' content is to be kept. Neither opens, reads or keeps anything itself: in which way layers are read is the driver's
//! affair.

mod missing;
mod passing;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::pattern::Pattern;
use super::view::View;
use super::walk::{Found, resolve};
use crate::layer::content::DataOffset;

pub use missing::{Missing, Why};
pub use passing::{Allowance, Passing, Wanting};
pub use plan::{BrokenLink, KeptLink, Outcome, Planned, Tree, TreeKind};

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// The paths and globs; everywhere else they are named by their positions here.
    pub patterns: Arc<[Pattern]>,
    /// Whether a symlink that a path names is followed.
    pub follow: bool,
    /// The patterns that need not lead to anything.
    pub optional: BTreeSet<usize>,
    /// Whether content is wanted, so that a pattern that names nothing but device nodes and FIFOs, which have none, has failed.
    pub needs_content: bool,
    /// Whether what is there is only to be listed: a directory's tree is then left empty, and the view is walked instead, which
    /// takes no memory. All of it is known all the same.
    pub lists: bool,
}

/// What is to be done.
#[derive(Debug)]
pub enum Next {
    /// The next layers down are to be read.
    Read {
        /// Whether none of them can say that another place is to be looked at, so that they may be read in any order. Otherwise one
        /// may tell what to keep of the next, or that it is not needed.
        any_order: bool,
    },
    /// Nothing: this is all that was asked for.
    Done(Outcome),
}

/// How a pattern stands.
enum Standing<'a> {
    /// No layer below can change where its beginning leads, or what is there.
    Decided(Found<'a>),
    /// More may come.
    Open(Open),
}

/// A pattern that waits for lower layers.
struct Open {
    /// Where it leads, as far as is known: a canonical path.
    at: Vec<u8>,
    /// How many of its parts lead there.
    parts: usize,
    /// Whether a directory is there, all of which it names: no layer can say any more that another place is meant.
    is_settled: bool,
}

impl Lookup {
    /// What is to be done when `view` is what has been read. Once that is nothing more, no further layer changes what there is, or
    /// that something is missing.
    ///
    /// # Errors
    ///
    /// As soon as something that is not optional is known to be missing, whatever is not known yet.
    pub fn next(&self, view: &View<'_>) -> Result<Next, Missing> {
        let mut missing = Vec::new();
        let mut there = Vec::new();
        let mut is_known = true;
        for (position, pattern) in self.patterns.iter().enumerate() {
            match self.look(view, pattern) {
                Ok(Some(things)) => there.push((position, things)),
                Ok(None) => is_known = false,
                Err(why) => self.miss(position, why, &mut missing)?,
            }
        }
        // Trees are made once everything is known: it takes time that they are as large as they are.
        if is_known && let Some(outcome) = self.plan(view, there, missing)? {
            return Ok(Next::Done(outcome));
        }
        let any_order = self.open(view).all(|(_, open)| open.is_settled);
        Ok(Next::Read { any_order })
    }

    /// Whether paths alone were asked for, no globs.
    pub fn is_literal(&self) -> bool {
        self.patterns.iter().all(Pattern::is_literal)
    }

    /// Whether a layer need not be read to its end: what was asked for is files whose content was kept, or what lies above. `view` has
    /// the layer, as far as it has been read, as its lowest one; only of a plain path can that much tell what it comes to.
    pub fn is_enough(&self, view: &View<'_>, is_kept: impl Fn(DataOffset) -> bool) -> bool {
        let last = view.layers().len().saturating_sub(1);
        self.patterns.iter().all(|pattern| match self.standing(view, pattern) {
            Standing::Decided(Found::Leaf(leaf)) if pattern.is_literal() => {
                leaf.layer.0 != last || leaf.node.content().is_none_or(|content| is_kept(content.data))
            }
            _ => false,
        })
    }

    /// The patterns whose matches lower layers may have a part in, by their positions.
    fn open<'a>(&'a self, view: &'a View<'_>) -> impl Iterator<Item = (usize, Open)> + 'a {
        self.patterns.iter().enumerate().filter_map(|(position, pattern)| match self.standing(view, pattern) {
            Standing::Open(open) => Some((position, open)),
            Standing::Decided(_) => None,
        })
    }

    fn standing<'v>(&self, view: &View<'v>, pattern: &Pattern) -> Standing<'v> {
        let (path, parts) = pattern.beginning();
        let is_all = pattern.is_literal();
        match resolve(view, &path, self.follow || !is_all) {
            Found::Unknown { path: at } => Standing::Open(Open { at, parts, is_settled: false }),
            Found::Directory(directory) if !is_all || !view.is_complete(&directory) => {
                Standing::Open(Open { at: directory.path, parts, is_settled: is_all })
            }
            found => Standing::Decided(found),
        }
    }

    /// Fails with what is missing at `position`, unless it may be: then it is only noted.
    fn miss(&self, position: usize, why: Why, missing: &mut Vec<Missing>) -> Result<(), Missing> {
        let one = Missing { pattern: position, why };
        if !self.optional.contains(&position) {
            return Err(one);
        }
        missing.push(one);
        Ok(())
    }
}
