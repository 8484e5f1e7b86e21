//! The capability of a place to show what an image's layers come to together, path by path.

use futures_util::future::BoxFuture;

use super::{BlobReader, SourceError};

/// A place that shows the rootfs by itself. What it says is its word: no digest covers it.
///
/// A path is canonical and without the slash in front; all its parents are directories.
pub trait Merged: Send + Sync {
    /// What stands at `path`. A symbolic link is not followed.
    fn stat<'a>(&'a self, path: &'a [u8]) -> BoxFuture<'a, Result<Seen<Stat>, SourceError>>;

    /// What stands at `path`, with all that is below it, as a tar. Its names begin with the path's last one.
    fn tree<'a>(&'a self, path: &'a [u8]) -> BoxFuture<'a, Result<Seen<BlobReader>, SourceError>>;

    /// How many bytes the image takes, as the place counts.
    fn image_bytes(&self) -> u64;
}

/// What a place shows at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// This.
    There(T),
    /// Nothing: the image has no such path.
    Absent,
    /// What is not the image's, or may not be, or cannot be shown: its layers tell.
    NotTheImages,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: StatKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Modification time: seconds since the Unix epoch, and nanoseconds.
    pub mtime: (i64, u32),
    /// Where a symbolic link leads in the end, where the place says: not what it is written as.
    pub leads_to: Option<Vec<u8>>,
    /// Whether mode and time are the image's own. The place has put something into the directory otherwise.
    pub is_the_images: bool,
}

/// What a [`Stat`] is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device node, FIFO or socket.
    Special,
}
