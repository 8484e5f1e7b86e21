//! What a layer says of one name.

use crate::layer::content::FileContent;
use crate::layer::entry::{Metadata, Special};

/// One name of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    metadata: Compact,
}

/// A [`Metadata`] in 32 bytes. There is one for each entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Compact {
    seconds: i64,
    nanoseconds: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    /// What is seldom there.
    rare: Option<Box<Rare>>,
}

/// What [`Compact`] has no room for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rare {
    uid: u64,
    gid: u64,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The metadata of a directory that no layer has an entry of.
pub const UNDESCRIBED: Metadata = Metadata { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() };

impl Node {
    /// A directory that no layer has an entry of.
    pub(super) const IMPLIED: Node = Node {
        kind: NodeKind::Directory { implied: true },
        metadata: Compact { seconds: 0, nanoseconds: 0, uid: 0, gid: 0, mode: 0o755, rare: None },
    };

    /// What is `kind`, of which the layer says `metadata`; the mode's bits above `0o7777` are dropped.
    pub fn new(kind: NodeKind, metadata: Metadata) -> Self {
        let Metadata { mode, uid, gid, mtime: (seconds, nanoseconds), xattrs } = metadata;
        let mode = (mode & 0o7777) as u16;
        let metadata = match (u32::try_from(uid), u32::try_from(gid)) {
            (Ok(uid), Ok(gid)) if xattrs.is_empty() => Compact { seconds, nanoseconds, uid, gid, mode, rare: None },
            _ => {
                let rare = Some(Box::new(Rare { uid, gid, xattrs }));
                Compact { seconds, nanoseconds, uid: 0, gid: 0, mode, rare }
            }
        };
        Node { kind, metadata }
    }

    /// Mode, owner, time; no extended attributes where the index does not keep them.
    pub fn metadata(&self) -> Metadata {
        let Compact { seconds, nanoseconds, uid, gid, mode, rare } = &self.metadata;
        let (uid, gid, xattrs) = match rare {
            Some(rare) => (rare.uid, rare.gid, rare.xattrs.clone()),
            None => ((*uid).into(), (*gid).into(), Vec::new()),
        };
        Metadata { mode: (*mode).into(), uid, gid, mtime: (*seconds, *nanoseconds), xattrs }
    }

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
