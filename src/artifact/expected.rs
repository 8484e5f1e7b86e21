//! What will be wanted of an image beside its config, as far as its manifest tells: asked for early, its answer comes with the config's.

use super::tables::Tables;
use super::{annotated, range_index, soci, table_index};
use crate::image::digest::Digest;
use crate::source::{Expected, Expecting};

/// What will be wanted where something is got by a name, and where attached tables are believed: those of layers that `tables` have no other of.
pub fn expecting(names: bool, attached: bool, tables: &Tables) -> Expecting {
    let (attached, cached) = (attached && tables.carried, tables.cached.clone());
    Box::new(move |manifest| {
        let list = annotated::named_by(manifest.annotations.as_ref()).filter(|_| names);
        if list.is_some() {
            // What has a name is got by that list, as a rule.
            return Expected { blob: list, ..Expected::default() };
        }
        let range_index = names.then_some(range_index::ARTIFACT_TYPE);
        let is_kept = |digest: &str| {
            let layer = digest.parse::<Digest>().ok();
            layer.zip(cached.as_ref()).is_some_and(|(layer, cached)| cached.table(&layer).is_some())
        };
        let untold = manifest.layers.iter().filter(|layer| attached && !is_kept(&layer.digest));
        let sizes: Vec<u64> = untold.map(|layer| u64::try_from(layer.size).unwrap_or_default()).collect();
        let own = table_index::is_worth_asking(sizes.iter().copied()).then_some(table_index::ARTIFACT_TYPE);
        let soci = soci::is_worth_asking(sizes.into_iter()).then_some(soci::ATTACHED_TYPE);
        Expected { blob: None, artifact_types: [range_index, own, soci].into_iter().flatten().collect() }
    })
}
