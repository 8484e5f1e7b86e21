//! What one layer has of what was asked for: its own copy, whatever layers above it did later.
//!
//! Paths are looked up in the layer alone first, which is enough where it has them under the names that were typed. Otherwise
//! links of the layers below lead there: then all layers up to this one are looked at, and what they lead to has to be the layer's.

use super::error::Error;
use super::labelled::RangeIndex;
use super::look_up::{LookUp, Scope, Sighting, Thing, Unverified};
use super::names::{Asked, ByPath, may_be_name};
use super::shown::{describe, show};
use crate::image::LayerPosition;
use crate::rootfs::{Pattern, split};

/// How many places an error lists.
const MAX_LISTED: usize = 10;

/// What was typed, as paths. A word without a slash or a wildcard is a base name here, wherever it is in the layer.
pub fn sort(paths: &[Vec<u8>]) -> Result<Asked, Error> {
    let by_path = paths.iter().enumerate().map(|(position, path)| {
        let typed = Pattern::parse(path)?;
        let word = typed.literal().filter(|_| may_be_name(path));
        let word = word.map(|path| split(&path).1.to_vec());
        let pattern = word.as_deref().map_or(typed, Pattern::named);
        Ok(ByPath { position, pattern, path: None, name: word, digest: None, only_in: None })
    });
    Ok(Asked { by_label: Vec::new(), by_path: by_path.collect::<Result<_, Error>>()?, index: RangeIndex::default() })
}

/// Something that is in one of the layers.
struct Hit {
    layer: LayerPosition,
    sighting: Sighting,
    /// What was got; nothing where another layer has it too, so that it is of no use.
    thing: Option<Thing>,
}

/// Gets what was `asked` for out of the layers at these positions. Fails where something is in none of them, or in several places.
pub async fn things(
    look_up: &LookUp<'_>,
    layers: &[LayerPosition],
    asked: &[ByPath],
    unverified: &mut Unverified,
) -> Result<Vec<Thing>, Error> {
    let mut found: Vec<Hit> = Vec::new();
    for &layer in layers {
        hit(look_up, (layer, &Scope::Alone(layer)), asked, &mut found, unverified).await?;
    }
    let missing: Vec<ByPath> =
        asked.iter().filter(|asked| !is_found(&found, asked) && !is_word(asked)).cloned().collect();
    if !missing.is_empty() {
        for &layer in layers {
            hit(look_up, (layer, &Scope::UpTo(layer)), &missing, &mut found, unverified).await?;
        }
    }
    for asked in asked {
        if !is_found(&found, asked) {
            return Err(not_found(look_up, layers, asked));
        }
        let places: Vec<&Hit> = found.iter().filter(|hit| hit.sighting.position == asked.position).collect();
        let several_layers = places.iter().any(|hit| hit.layer != places[0].layer);
        let several_places = places.iter().any(|hit| hit.sighting.real_path != places[0].sighting.real_path);
        if several_layers || (is_word(asked) && several_places) {
            return Err(ambiguous(look_up, asked, &places));
        }
    }
    Ok(found.into_iter().filter_map(|hit| hit.thing).collect())
}

/// Adds to what was `found` what `scope` has of what was `asked` for. Where an upper layer had all of it, its content is not read.
async fn hit(
    look_up: &LookUp<'_>,
    (layer, scope): (LayerPosition, &Scope),
    asked: &[ByPath],
    found: &mut Vec<Hit>,
    unverified: &mut Unverified,
) -> Result<(), Error> {
    if asked.iter().all(|asked| is_found(found, asked)) {
        let sightings = look_up.sightings(scope, asked).await?;
        found.extend(sightings.into_iter().map(|sighting| Hit { layer, sighting, thing: None }));
        return Ok(());
    }
    let things = look_up.optional_things(scope, asked, unverified).await?;
    found.extend(things.into_iter().map(|thing| {
        let (position, path) = (thing.position, thing.fetched.path.clone());
        let sighting = Sighting { position, path, real_path: thing.placed.real_path.clone() };
        Hit { layer, sighting, thing: Some(thing) }
    }));
    Ok(())
}

fn is_found(found: &[Hit], asked: &ByPath) -> bool {
    found.iter().any(|hit| hit.sighting.position == asked.position)
}

/// Whether a base name was typed.
fn is_word(asked: &ByPath) -> bool {
    asked.name.is_some()
}

fn not_found(look_up: &LookUp<'_>, layers: &[LayerPosition], asked: &ByPath) -> Error {
    let path = show(asked.pattern.text());
    match layers {
        [layer] => {
            let image = format!("{} of {}", named(look_up, *layer), look_up.name);
            Error::NotFound { image, path, hint: "; only that layer itself was searched".to_owned() }
        }
        layers => {
            let path = format!("{path} in any of the {} layers that are meant", layers.len());
            Error::NotFound { image: look_up.name.to_owned(), path, hint: String::new() }
        }
    }
}

fn ambiguous(look_up: &LookUp<'_>, asked: &ByPath, places: &[&Hit]) -> Error {
    let place = |hit: &&Hit| format!("{} in {}", hit.sighting.path, named(look_up, hit.layer));
    let mut listed: Vec<String> = places.iter().take(MAX_LISTED).map(place).collect();
    if places.len() > MAX_LISTED {
        listed.push(format!("{} more", places.len() - MAX_LISTED));
    }
    Error::Ambiguous {
        what: show(asked.pattern.text()),
        fits: format!("is in {} places", places.len()),
        choices: listed.join(", "),
        hint: "name one by its path, and its layer with --layer".to_owned(),
    }
}

fn named(look_up: &LookUp<'_>, layer: LayerPosition) -> String {
    let layers = &look_up.image.layers;
    layers.get(layer.0).map_or_else(String::new, |layer| describe(layer, layers.len()))
}

#[cfg(test)]
mod tests;
