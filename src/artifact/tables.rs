//! Which tables of contents may tell of an image's layers, beside the layers themselves.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::error::Error;
use super::remember::Remember;
use super::soci::SociIndex;
use crate::image::Image;
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::progress::Progress;
use crate::table::own;

/// The tables that are believed. None are by [default](Tables::default): every layer is read.
#[derive(Clone, Default)]
pub struct Tables {
    /// Whether those are that the image's manifest promises.
    pub carried: bool,
    /// Those that this machine keeps.
    pub cached: Option<Arc<dyn Cached>>,
    /// Those that are attached to the image.
    pub attached: Option<Arc<dyn Attached>>,
    /// What remembers the layers that none of them tells of, once they have been read.
    pub remember: Option<Arc<Remember>>,
    /// Those of a SOCI index.
    pub soci: Option<Arc<SociIndex>>,
}

impl Tables {
    /// Those alone that the image's manifest promises.
    pub fn carried() -> Self {
        Tables { carried: true, ..Tables::default() }
    }

    /// The same, and, where those are believed that the manifest of `image` promises, those of its SOCI index, too; of one that is only
    /// attached, where that is trusted.
    pub(super) fn with_soci(self, image: &Image, trusts_attached: bool, progress: &Arc<dyn Progress>) -> Self {
        if !self.carried {
            return self;
        }
        let index = SociIndex::of(image, progress).believing_attached(trusts_attached);
        Tables { soci: Some(Arc::new(index)), ..self }
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tables { carried, cached, attached, soci, remember } = self;
        let (cached, attached, remember) = (cached.is_some(), attached.is_some(), remember.is_some());
        f.debug_struct("Tables")
            .field("carried", carried)
            .field("cached", &cached)
            .field("attached", &attached)
            .field("remember", &remember)
            .field("soci", soci)
            .finish()
    }
}

/// Where this machine keeps tables, by the digests of the layers' blobs. Each was written when its layer was read and compared with
/// its digest.
pub trait Cached: Send + Sync {
    /// The table of this layer.
    fn table(&self, layer: &Digest) -> Option<File>;

    /// Forgets the table of this layer, which is of no use.
    fn drop_table(&self, layer: &Digest);
}

/// What is attached to an image.
pub trait Attached: Send + Sync {
    /// The tables that there are, by the digests of the layers' blobs. It is asked for once at most, and only where it matters.
    fn tables(&self) -> BoxFuture<'_, Result<HashMap<Digest, AttachedTable>, Error>>;
}

/// A table in the place where the image is.
#[derive(Clone, Debug)]
pub struct AttachedTable {
    /// Its blob.
    pub blob: Descriptor,
    /// Its top node.
    pub top: own::Part,
    /// The bytes of that, where they are known.
    pub top_bytes: Option<Bytes>,
    /// Whether the image's digest covers it.
    pub is_covered: bool,
}
