//! What will be wanted of an image beside its config, as far as its manifest tells: asked for early, its answer comes with the config's.

use super::{annotated, range_index, soci, table_index};
use crate::source::{Expected, Expecting};

/// What will be wanted where something is got by a name, and where tables that are attached to the image are believed.
pub fn expecting(names: bool, tables: bool) -> Expecting {
    Box::new(move |manifest| {
        let list = annotated::named_by(manifest.annotations.as_ref()).filter(|_| names);
        if list.is_some() {
            // What has a name is got by that list, as a rule.
            return Expected { blob: list, ..Expected::default() };
        }
        let range_index = names.then_some(range_index::ARTIFACT_TYPE);
        let sizes = || manifest.layers.iter().map(|layer| u64::try_from(layer.size).unwrap_or_default());
        let tables_of = |kind, is_asked: bool| (tables && is_asked).then_some(kind);
        let own = tables_of(table_index::ARTIFACT_TYPE, table_index::is_worth_asking(sizes()));
        let soci = tables_of(soci::ATTACHED_TYPE, soci::is_worth_asking(sizes()));
        Expected { blob: None, artifact_types: [range_index, own, soci].into_iter().flatten().collect() }
    })
}
