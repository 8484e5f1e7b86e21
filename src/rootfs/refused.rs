//! What is not taken from a layer: paths and extended attributes that cost more than they are worth.

use super::tree::Full;
use crate::layer::LayerError;

/// The deepest path that is taken from a tar, in components. The kernel's `PATH_MAX` allows no useful path beyond.
pub(super) const MAX_DEPTH: usize = 1024;

/// The longest path that symlinks may make of a shorter one, in bytes: the kernel's `PATH_MAX`.
pub(super) const MAX_LINKED: usize = 4096;

/// How many bytes of extended attributes are kept of one layer at most.
pub(super) const MAX_XATTRS: usize = 64 << 20;

/// An entry that cannot be taken in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A path that no file system could hold.
    #[error("an entry's path has {depth} components, more than the {MAX_DEPTH} that are read")]
    TooDeep {
        /// How many it has, links followed.
        depth: usize,
    },
    /// A path that is long only because of the links in it, so that a short entry would cost much.
    #[error("an entry's path has {length} bytes when its links are followed, more than the {MAX_LINKED} that are read")]
    TooLong {
        /// How many it has.
        length: usize,
    },
    /// More extended attributes than are kept.
    #[error("a layer's extended attributes take more than {} MiB", MAX_XATTRS >> 20)]
    TooManyXattrs,
    /// What was kept of the entries before does not come back.
    #[error("what was kept of a layer's entries cannot be read again")]
    Lost,
    /// Somebody who knows what the layer says could not tell it, and knows why.
    #[error("what the layer says cannot be told")]
    Untold,
    /// More entries, or bytes of names, than can be counted.
    #[error("a layer has more than {} entries or bytes of names", u32::MAX)]
    TooMany,
}

impl Refused {
    /// The error of the layer whose entry with its header at `offset` (uncompressed bytes) was refused.
    pub fn at(&self, offset: u64) -> LayerError {
        match self {
            Refused::TooDeep { .. } | Refused::TooLong { .. } | Refused::Lost | Refused::Untold => {
                LayerError::Malformed { offset, problem: self.to_string() }
            }
            Refused::TooManyXattrs => LayerError::TooMuch {
                offset,
                most: format!("{} MiB of extended attributes", MAX_XATTRS >> 20),
                hint: "; without --preserve they are not needed",
            },
            Refused::TooMany => {
                LayerError::TooMuch { offset, most: format!("{} entries or bytes of names", u32::MAX), hint: "" }
            }
        }
    }
}

impl From<Full> for Refused {
    fn from(Full: Full) -> Self {
        Refused::TooMany
    }
}

/// Whether an entry of the name `named` may be at `path`, where links have led it.
pub(super) fn check(path: &[u8], named: &[u8]) -> Result<(), Refused> {
    let depth = path.iter().filter(|byte| **byte == b'/').count() + 1;
    if depth > MAX_DEPTH {
        return Err(Refused::TooDeep { depth });
    }
    if path.len() > named.len().max(MAX_LINKED) {
        return Err(Refused::TooLong { length: path.len() });
    }
    Ok(())
}
