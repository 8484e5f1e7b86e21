//! What a layer says of one name.

use crate::layer::content::FileContent;
use crate::layer::entry::{Metadata, Special};

/// One name of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Mode, owner, time; no extended attributes where the index does not keep them.
    pub metadata: Metadata,
}

/// The metadata of a directory that no layer has an entry of.
pub const UNDESCRIBED: Metadata = Metadata { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() };

impl Node {
    /// A file's content; nothing else has any.
    pub fn content(&self) -> Option<FileContent> {
        match self.kind {
            NodeKind::File(content) => Some(content),
            _ => None,
        }
    }
}

/// What a name of a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file; hard links within the layer share the content.
    File(FileContent),
    /// A directory.
    Directory {
        /// Whether the tar has no entry for it, only for something inside it.
        implied: bool,
    },
    /// A symbolic link, with its target as written.
    Symlink(Box<[u8]>),
    /// A hard link to a path that this layer does not hold, so that it must lie in a layer below.
    LinkBelow(Box<[u8]>),
    /// A hard link to what cannot be linked to: a directory, or what the link itself replaces. Engines refuse such a layer.
    LinkNowhere(Box<[u8]>),
    /// A device node or FIFO.
    Special(Special),
}
