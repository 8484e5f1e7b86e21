//! Layers of which somebody else knows everything, and tells what is asked for: so nothing else of them need be kept, nor be read.

use std::borrow::Cow;
use std::fmt;

use super::kept::Kept;
use super::path::{join, split};
use super::refused::Refused;
use crate::layer::entry::Entry;

/// Tells what a layer says of any path.
pub trait More: fmt::Debug + Send + Sync {
    /// Hands on what the layer says of each path in `kept`, of each once, and of the regular files that hard links among them lead to,
    /// with the directories on the way to those. A hard link comes behind what it leads to.
    ///
    /// That is enough only where entries do not depend on one another otherwise: no path has two entries that could replace one
    /// another, and nothing lies below what is not a directory.
    ///
    /// # Errors
    ///
    /// [`Refused::Untold`] where it cannot be told, and what `each` fails with.
    fn more(&self, kept: &Kept, each: &mut Each<'_>) -> Result<(), Refused>;

    /// Hands on paths of entries, among which there may be one like a path that is not there, in the directory at the canonical path
    /// `directory`: as many as it is worth to find out.
    ///
    /// # Errors
    ///
    /// [`Refused::Untold`] where it cannot be told.
    fn names(&self, directory: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), Refused>;
}

/// What is done with what a layer says.
pub type Each<'a> = dyn FnMut(Said<'_>) -> Result<(), Refused> + 'a;

/// What a layer says of a path.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// It has this entry.
    Entry(&'a Entry),
    /// There is a directory at this canonical path, of which it has no entry, only entries below it.
    Implied(&'a [u8]),
}

impl<'a> Said<'a> {
    /// The canonical path that it is said of.
    pub fn path(&self) -> Cow<'a, [u8]> {
        match *self {
            Said::Entry(entry) => concerned(&entry.path),
            Said::Implied(path) => Cow::Borrowed(path),
        }
    }
}

/// The path that an entry of the canonical `path` says something of: that of what a whiteout deletes, or of the opaque directory.
fn concerned(path: &[u8]) -> Cow<'_, [u8]> {
    let (parent, base) = split(path);
    match base.strip_prefix(b".wh.") {
        None => Cow::Borrowed(path),
        Some(b".wh..opq") => Cow::Borrowed(parent),
        Some(name) => Cow::Owned(join(parent, name)),
    }
}

/// The path that is known to exist if there is an entry at the canonical `path`: a mark says only that its directory exists.
pub(super) fn existing(path: &[u8]) -> &[u8] {
    let (parent, base) = split(path);
    if base.starts_with(b".wh.") { parent } else { path }
}
