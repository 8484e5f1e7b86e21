//! The ways to know a layer, opened.

use std::fmt;
use std::sync::Arc;

use super::own::Own;
use crate::artifact::layers::Vouched;
use crate::layer::Compression;
use crate::source::LayerBlob;
use crate::table::WholeTable;

/// A way to know a layer.
pub(in crate::artifact) enum Opened {
    /// To be read.
    Blob(LayerBlob),
    /// Told by a table.
    Told(Told),
}

/// A table that tells of a layer.
#[derive(Clone, Debug)]
pub(in crate::artifact) struct Told {
    /// Where it is from.
    pub(in crate::artifact) origin: Origin,
    /// What it is.
    pub(in crate::artifact) by: By,
}

/// Where a table is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::artifact) enum Origin {
    /// This machine keeps it.
    Cached,
    /// The image's digest covers it.
    Covered,
    /// It is attached to the image, and only its own digests vouch for what it tells.
    Attached,
}

/// A kind of table, by how it is read.
#[derive(Clone, Debug)]
pub(in crate::artifact) enum By {
    /// Whole.
    Whole(Arc<dyn WholeTable>),
    /// In parts.
    Own(Arc<Own>),
}

impl Told {
    /// How the layer is compressed.
    pub(super) fn compression(&self) -> Compression {
        match &self.by {
            By::Whole(table) => table.compression(),
            By::Own(own) => own.table.compression(),
        }
    }

    /// What vouches for what is got by it.
    pub(super) fn vouched(&self) -> Vouched {
        match self.origin {
            // All of its layer was compared when it was written, and what is got is compared with that.
            Origin::Cached => Vouched::ByDigest,
            Origin::Covered => Vouched::ByTable,
            Origin::Attached => Vouched::ByAttached,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Cached => "cached table of contents",
            Origin::Covered => "table of contents",
            Origin::Attached => "attached table of contents",
        })
    }
}
