//! Telling names from paths: what was asked for, sorted by the way in which it will be got.
//!
//! Where an image has artifacts, a word without a slash or a wildcard is the name of one, and nothing else; a path that
//! happens to be labelled is got by its label.

use super::error::Error;
use super::labelled::RangeIndex;
use super::request::Request;
use crate::image::Image;
use crate::image::digest::Digest;
use crate::image::label::{Artifact, Label, Record, artifacts};
use crate::progress::Progress;
use crate::rootfs::Pattern;
use crate::rootfs::nearest::likeness;
use crate::source::Source;

/// So many names are listed for somebody who mistyped one.
const MOST_NAMES: usize = 10;

/// What was asked for.
pub struct Asked {
    /// What labels say where it is.
    pub by_label: Vec<Labelled>,
    /// What is to be looked up.
    pub by_path: Vec<ByPath>,
    /// The image's range index, where one is of use.
    pub index: RangeIndex,
}

/// An artifact with a record.
pub struct Labelled {
    /// Where it stands among what was asked for.
    pub position: usize,
    /// The name it gets.
    pub name: String,
    /// The path that it was named by.
    pub path: String,
    /// What its label says.
    pub record: Record,
}

impl Labelled {
    /// The artifact `name`, which a record is of.
    fn named(position: usize, name: &str, record: &Record) -> Self {
        Labelled { position, name: name.to_owned(), path: record.path().to_owned(), record: record.clone() }
    }
}

/// Something to be looked up in the rootfs.
#[derive(Clone)]
pub struct ByPath {
    /// Where it stands among what was asked for.
    pub position: usize,
    /// The path or glob.
    pub pattern: Pattern,
    /// The path that it was named by, where that is not the one to look up.
    pub path: Option<Vec<u8>>,
    /// The name it gets, where that is not its base name.
    pub name: Option<Vec<u8>>,
    /// The digest that it must have, where a label promises one.
    pub digest: Option<Digest>,
    /// The one layer to look in, by its blob, where a label names one.
    pub only_in: Option<Digest>,
}

impl ByPath {
    /// The labelled thing, to be looked up although its label does not help.
    pub fn of_label(labelled: Labelled) -> Self {
        let digest = matches!(labelled.record, Record::File { .. }).then(|| labelled.record.digest().clone());
        ByPath {
            position: labelled.position,
            pattern: Pattern::exactly(labelled.record.real_path().as_bytes()),
            path: Some(labelled.path.into_bytes()),
            name: Some(labelled.name.into_bytes()),
            digest,
            only_in: None,
        }
    }
}

/// Sorts what `request` names in `image`. Asks for the image's range index where it can be of use.
pub async fn sort(
    source: &dyn Source,
    image: &Image,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Asked, Error> {
    let labels = artifacts(image);
    let mut asked = Asked { by_label: Vec::new(), by_path: Vec::new(), index: RangeIndex::default() };
    let mut unknown = Vec::new();
    let mut declared = Vec::new();
    for (position, path) in request.paths.iter().enumerate() {
        let pattern = Pattern::parse(path)?;
        let plain = |pattern| ByPath { position, pattern, path: None, name: None, digest: None, only_in: None };
        let word = std::str::from_utf8(path).ok().filter(|_| may_be_name(path));
        let named = word.and_then(|word| labels.iter().find(|artifact| artifact.name == word));
        match named {
            Some(Artifact { name, label: Label::Resolved(record) }) => {
                asked.by_label.push(Labelled::named(position, name, record));
            }
            Some(Artifact { name, label: Label::Declared { path } }) => {
                declared.push((position, name.clone(), path.clone()));
            }
            Some(Artifact { name, label: Label::Inherited(record) }) => {
                declared.push((position, name.clone(), record.path().to_owned()));
            }
            Some(Artifact { name, label: Label::Legacy { blob } }) => {
                let (layers, above) = (image.layers.len(), image.layers_above(blob));
                if above > 0 {
                    progress.notice(&format!(
                        "the label of {name} names layer {} of {layers} alone; a layer above may have changed or deleted it",
                        layers - above
                    ));
                }
                let pattern = Pattern::named(name.as_bytes());
                asked.by_path.push(ByPath { only_in: Some(blob.clone()), ..plain(pattern) });
            }
            Some(Artifact { name, label: Label::Malformed { problem } }) => {
                return Err(Error::Unfetchable {
                    image: source.name(),
                    path: name.clone(),
                    problem: format!("has a label that cannot be read: {problem}; give its path"),
                });
            }
            None => match labelled_path(position, &pattern, &labels, request.dereference) {
                Some(labelled) => asked.by_label.push(labelled),
                None => match word {
                    Some(word) => unknown.push((position, pattern, word)),
                    None => asked.by_path.push(plain(pattern)),
                },
            },
        }
    }
    // Where the reference names a digest, what that does not cover speaks for nothing that it covers.
    let may_trust = !source.is_pinned() || request.trust_attached;
    let is_indexed = !asked.by_label.is_empty() || (may_trust && !declared.is_empty());
    if let Some((_, _, word)) = unknown.first() {
        // Whether a word is a name or a path depends on what is attached: one that is not known may be either.
        asked.index = RangeIndex::fetch_names(source, image, word, progress).await?;
    } else if is_indexed && !request.preserve {
        asked.index = RangeIndex::fetch(source, image, progress).await?;
    }
    let attached = asked.index.records(image);
    for (position, name, path) in declared {
        match attached.iter().find(|(attached, record)| *attached == name && record.path() == path) {
            Some((_, record)) if may_trust => asked.by_label.push(Labelled::named(position, &name, record)),
            _ => {
                let (pattern, name) = (Pattern::exactly(path.as_bytes()), Some(name.into_bytes()));
                asked.by_path.push(ByPath { position, pattern, path: None, name, digest: None, only_in: None });
            }
        }
    }
    for (position, pattern, word) in unknown {
        let record = attached.iter().find(|(name, _)| name == word);
        match record {
            Some((name, record)) => {
                if !may_trust {
                    return Err(Error::NotCovered {
                        name: name.clone(),
                        image: source.name(),
                        path: record.path().to_owned(),
                        hint: String::new(),
                    });
                }
                asked.by_label.push(Labelled::named(position, name, record));
            }
            None if names(&labels, &attached).next().is_none() => {
                asked.by_path.push(ByPath { position, pattern, path: None, name: None, digest: None, only_in: None });
            }
            None => return Err(no_such_artifact(source.name(), word, names(&labels, &attached).collect())),
        }
    }
    if request.preserve {
        // A record has no owner and no extended attributes, without which setuid means another user.
        asked.by_path.extend(asked.by_label.drain(..).map(ByPath::of_label));
    }
    Ok(asked)
}

/// The names of an image's artifacts. A label that cannot be read names nothing.
fn names<'a>(labels: &'a [Artifact], attached: &'a [(String, Record)]) -> impl Iterator<Item = &'a str> {
    let labelled = labels.iter().filter(|artifact| !matches!(artifact.label, Label::Malformed { .. }));
    labelled.map(|artifact| artifact.name.as_str()).chain(attached.iter().map(|(name, _)| name.as_str()))
}

/// Whether what was typed can be a name: it has no slash, and no wildcard. It is one where the image has artifacts.
pub fn may_be_name(typed: &[u8]) -> bool {
    let is_literal = || Pattern::parse(typed).is_ok_and(|pattern| pattern.literal().is_some());
    !typed.contains(&b'/') && !matches!(typed, b"." | b"..") && is_literal()
}

/// That the image has artifacts, and none of this name: those that it has, the ones that it could be mistaken for first.
pub(super) fn no_such_artifact(image: String, word: &str, mut names: Vec<&str>) -> Error {
    let distance = |name: &&str| likeness(word.as_bytes(), name.as_bytes()).unwrap_or(usize::MAX);
    names.sort_by_key(|name| (distance(name), *name));
    names.dedup();
    let more = match names.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.truncate(MOST_NAMES);
    let hint = format!("; it has {}{more}; a path is typed with a slash: /{word}", names.join(", "));
    Error::NotFound { image, path: format!("artifact {word}"), hint }
}

/// A path that happens to be labelled, with the base name it is asked for by. Where links are not followed, the path that leads
/// through some may be asked for the last of them.
fn labelled_path(position: usize, pattern: &Pattern, labels: &[Artifact], dereference: bool) -> Option<Labelled> {
    let path = String::from_utf8(pattern.literal()?).ok()?;
    let name = path.rsplit('/').next().filter(|name| *name != "..")?.to_owned();
    let is_at_path = |record: &&Record| record.real_path() == path || (dereference && record.path() == path);
    let mut records = labels.iter().filter_map(|artifact| match &artifact.label {
        Label::Resolved(record) => Some(record),
        _ => None,
    });
    let record = records.find(is_at_path)?.clone();
    Some(Labelled { position, name, path, record })
}
