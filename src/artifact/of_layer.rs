//! What one layer has of what was asked for: its own copy, whatever layers above it did later.
//!
//! Paths are looked up in the layer alone first, which is enough where it has them under the names that were typed. Otherwise
//! links of the layers below lead there: then all layers up to this one are looked at, and what they lead to has to be the layer's.

use super::error::Error;
use super::labelled::RangeIndex;
use super::look_up::{LookUp, Scope, Thing, Unverified};
use super::names::{Asked, ByPath, may_be_name};
use super::shown::{describe, show};
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

/// Gets what was `asked` for out of the layers at these positions (from the bottom). Fails where something is in none of them, or in
/// several places.
pub async fn things(
    look_up: &LookUp<'_>,
    layers: &[usize],
    asked: &[ByPath],
    unverified: &mut Unverified,
) -> Result<Vec<Thing>, Error> {
    let mut found: Vec<(usize, Thing)> = Vec::new();
    let is_found =
        |found: &[(usize, Thing)], asked: &ByPath| found.iter().any(|(_, thing)| thing.position == asked.position);
    for &layer in layers {
        let things = look_up.optional_things(&Scope::Alone(layer), asked, unverified).await?;
        found.extend(things.into_iter().map(|thing| (layer, thing)));
    }
    let missing: Vec<ByPath> =
        asked.iter().filter(|asked| !is_found(&found, asked) && !is_word(asked)).cloned().collect();
    if !missing.is_empty() {
        for &layer in layers {
            let things = look_up.optional_things(&Scope::UpTo(layer), &missing, unverified).await?;
            found.extend(things.into_iter().map(|thing| (layer, thing)));
        }
    }
    for asked in asked {
        if !is_found(&found, asked) {
            return Err(not_found(look_up, layers, asked));
        }
        let places: Vec<&(usize, Thing)> = found.iter().filter(|(_, thing)| thing.position == asked.position).collect();
        let several_layers = places.iter().any(|(layer, _)| *layer != places[0].0);
        let several_places = places.iter().any(|(_, thing)| thing.placed.real_path != places[0].1.placed.real_path);
        if several_layers || (is_word(asked) && several_places) {
            return Err(ambiguous(look_up, asked, &places));
        }
    }
    Ok(found.into_iter().map(|(_, thing)| thing).collect())
}

/// Whether a base name was typed.
fn is_word(asked: &ByPath) -> bool {
    asked.name.is_some()
}

fn not_found(look_up: &LookUp<'_>, layers: &[usize], asked: &ByPath) -> Error {
    let path = show(asked.pattern.text());
    match layers {
        [layer] => {
            let image = format!("{} of {}", named(look_up, *layer), look_up.name);
            Error::NotFound { image, path, hint: "; only what that layer itself has is looked at".to_owned() }
        }
        layers => {
            let path = format!("{path} in any of the {} layers that are meant", layers.len());
            Error::NotFound { image: look_up.name.to_owned(), path, hint: String::new() }
        }
    }
}

fn ambiguous(look_up: &LookUp<'_>, asked: &ByPath, places: &[&(usize, Thing)]) -> Error {
    let place = |(layer, thing): &&(usize, Thing)| format!("{} in {}", thing.fetched.path, named(look_up, *layer));
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

fn named(look_up: &LookUp<'_>, layer: usize) -> String {
    let layers = &look_up.image.layers;
    layers.get(layer).map_or_else(String::new, |layer| describe(layer, layers.len()))
}

#[cfg(test)]
mod tests;
