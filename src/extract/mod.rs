//! Safe writing: staged content becomes files, trees and tar streams, and never appears under a final name before it is
//! whole. It knows entries' metadata, not sources.
//!
//! Content is *staged* while it streams in, before anybody knows whether it is what was promised: [`Staging`] is a hidden
//! directory on the destination's file system. Once it is verified, [`publish()`] gives it its metadata and moves it to its
//! final names, each move one rename. Whatever happens before that, the staging directory is removed and the destination is
//! as it was.
//!
//! Everything below the destination is reached through directory handles, one component at a time and never through a
//! symbolic link, so neither a name from an image nor a link planted on disk leads outside.

mod abandoned;
mod attributes;
mod descent;
mod destination;
mod error;
mod handle;
mod live;
mod options;
mod publish;
#[cfg(test)]
mod sample;
mod staging;
mod tar_stream;
mod tree;
mod warnings;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use crate::layer::entry::Metadata;
pub use attributes::Stamp;
pub use destination::Destination;
pub use error::{ExtractError, StageError};
pub use live::discard_all;
pub use options::PublishOptions;
pub use publish::{Published, publish, remove};
pub use staging::{Hashing, Staged, Staging};
pub use tar_stream::{write_stdout, write_tar};

/// Bytes read and written at a time: large enough that system calls cost nothing beside hashing.
const BUFFER: usize = 256 * 1024;

/// Levels of directories that a tree may have: writing one costs a frame of the stack. A path of `PATH_MAX` (4096 bytes) could
/// have 2048, but none of use has.
pub(crate) const MAX_DEPTH: usize = 512;

/// One thing to write: what it is, and what is known about it.
#[derive(Clone, Debug)]
pub struct Item {
    /// Mode, times, ownership and extended attributes.
    pub metadata: Metadata,
    /// What the item is.
    pub node: Node,
}

/// What an item is.
#[derive(Clone, Debug)]
pub enum Node {
    /// A regular file. Items that hold the same [`Staged`] are written as hard links of one another; the metadata of the
    /// first one met (in the order of names) holds for all.
    File(Arc<Staged>),
    /// A directory: raw base names and what is under them.
    Directory(BTreeMap<Vec<u8>, Item>),
    /// A symbolic link, with its target as the image has it. It is written, never followed.
    Symlink(Vec<u8>),
    /// A device node, FIFO or socket: skipped with a warning.
    Special,
}
