//! What the layers of an image offer: which table tells of each, so that a file of it costs little more than its own bytes.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::error::Error;
use super::soci::told_by_soci;
use super::table_index::beside;
use super::tables::Tables;
use super::told::{By, Origin, Told};
use crate::image::digest::Digest;
use crate::image::{Image, Layer};
use crate::progress::Progress;
use crate::source::Source;
use crate::table::Format;

/// What tells of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Nothing does: it is read.
    Plain,
    /// A table that this machine keeps.
    Cached,
    /// A table that is part of the layer.
    Carried(Format),
    /// A zTOC of the image's SOCI index.
    Soci,
    /// A table of the image's table index.
    Indexed,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Offer::Plain => f.write_str("plain"),
            Offer::Cached => f.write_str("cached"),
            Offer::Carried(format) => format.fmt(f),
            Offer::Soci => f.write_str("soci"),
            Offer::Indexed => f.write_str("indexed"),
        }
    }
}

impl Offer {
    /// What told of `layer`, if anything did.
    pub(super) fn of(layer: &Layer, told: Option<&Told>) -> Self {
        match told {
            None => Offer::Plain,
            Some(Told { origin: Origin::Cached, .. }) => Offer::Cached,
            Some(Told { by: By::Own(_), .. }) => Offer::Indexed,
            Some(Told { by: By::Whole(_), .. }) => Format::of(layer).map_or(Offer::Soci, Offer::Carried),
        }
    }
}

/// What the layers of one image offer.
#[derive(Default)]
pub struct Offers {
    tables: Tables,
    soci: HashSet<Digest>,
    indexed: HashSet<Digest>,
}

impl Offers {
    /// Asks `source` what is kept beside `image`, as far as `tables` says that it may be believed.
    pub async fn ask(
        (source, image): (&Arc<dyn Source>, &Arc<Image>),
        tables: Tables,
        progress: &Arc<dyn Progress>,
    ) -> Result<Self, Error> {
        let soci = if tables.carried { told_by_soci(&**source, image, progress).await? } else { HashSet::new() };
        let beside = beside(tables.clone(), (source, image), !source.is_pinned(), progress);
        let indexed = match &beside.attached {
            Some(attached) => attached.tables().await?.into_keys().collect(),
            None => HashSet::new(),
        };
        Ok(Offers { tables: beside, soci, indexed })
    }

    /// The tables that were asked for, with those beside the image as they were found.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What `layer` offers, the cheapest first.
    pub fn of(&self, layer: &Layer) -> Offer {
        let is_of = |digests: &HashSet<Digest>| layer.digest().is_some_and(|digest| digests.contains(digest));
        let cached = self.tables.cached.as_ref();
        let is_cached = || layer.digest().zip(cached).is_some_and(|(digest, cached)| cached.table(digest).is_some());
        match Format::of(layer) {
            _ if is_cached() => Offer::Cached,
            Some(format) => Offer::Carried(format),
            None if is_of(&self.soci) => Offer::Soci,
            None if is_of(&self.indexed) => Offer::Indexed,
            None => Offer::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Blob;

    #[test]
    fn the_cheapest_table_is_named() {
        let blob = Blob { digest: Some(Digest::of(b"layer")), size: 7, ..Blob::default() };
        let layer = Layer { index: 0, blob, diff_id: None, created_by: None };
        let this = || HashSet::from([Digest::of(b"layer")]);
        let told = |soci, indexed| Offers { tables: Tables::default(), soci, indexed }.of(&layer).to_string();
        assert_eq!(told(HashSet::new(), HashSet::new()), "plain");
        assert_eq!(told(HashSet::new(), this()), "indexed");
        assert_eq!(told(this(), this()), "soci");
    }
}
