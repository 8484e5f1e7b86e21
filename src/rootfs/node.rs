//! What a layer says of one name.

use crate::layer::entry::Special;

/// A file's place in the layer's tar: what makes two names hard links of one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataOffset(
    /// Bytes from the start of the uncompressed tar to the file's first data byte.
    pub u64,
);

/// One name of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u64,
    /// The owner's group ID.
    pub gid: u64,
    /// Modification time: seconds since the Unix epoch, and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes; none where the index does not keep them.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a name of a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file; hard links within the layer share the offset.
    File {
        /// The file's length in bytes, holes included.
        size: u64,
        /// Whether the tar stores it without its holes.
        sparse: bool,
        /// Where its data begins.
        data: DataOffset,
    },
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
