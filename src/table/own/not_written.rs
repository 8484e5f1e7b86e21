//! Why a layer has no table.

use std::io;

/// Why a table was not written.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The layer is of a form that tables do not tell.
    #[error("{0}")]
    Untold(&'static str),
}

pub(super) const TOO_DEEP: &str = "its names are too deep for a table";
pub(super) const TOO_LONG: &str = "names in it, or extended attributes, are too long for a table";
pub(super) const TOO_MANY: &str = "its entries depend on their order, and there are too many for a table";
