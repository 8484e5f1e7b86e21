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
#[derive(Clone)]
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
    /// What stands at a path, or matches a glob.
    pub fn plain(position: usize, pattern: Pattern) -> Self {
        ByPath { position, pattern, path: None, name: None, digest: None, only_in: None }
    }

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

/// Whether the range index is likely to be needed, as far as that can be told before the image is known: what has a slash in it
/// is seldom labelled.
pub fn may_need_index(request: &Request) -> bool {
    request.step.is_none() && request.paths.iter().any(|path| may_be_name(path))
}

/// Sorts what `request` names in `image`. Asks for the image's range index where it can be of use.
pub async fn sort(
    source: &dyn Source,
    image: &Image,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Asked, Error> {
    let sorted = Sorted::by_labels(&source.name(), image, request, progress)?;
    // Where the reference names a digest, what that does not cover speaks for nothing that it covers.
    let may_trust = !source.is_pinned() || request.trust_attached;
    let is_indexed = !sorted.by_label.is_empty() || (may_trust && !sorted.declared.is_empty());
    let index = match sorted.unknown.first() {
        // Whether a word is a name or a path depends on what is attached: one that is not known may be either.
        Some(unknown) => RangeIndex::fetch_names(source, image, &unknown.word, progress).await?,
        None if !is_indexed || request.preserve => RangeIndex::default(),
        None if may_trust && !sorted.declared.is_empty() => RangeIndex::fetch(source, image, progress).await?,
        None => {
            let records: Vec<_> = sorted.by_label.iter().map(|labelled| &labelled.record).collect();
            RangeIndex::fetch_of(source, image, &records, progress).await?
        }
    };
    let attached = index.records(image);
    let (by_label, mut by_path) = sorted.settle(&source.name(), &attached, may_trust)?;
    let (by_label, labelled) = match request.preserve {
        // A record has no owner and no extended attributes, without which setuid means another user.
        true => (Vec::new(), by_label),
        false => (by_label, Vec::new()),
    };
    by_path.extend(labelled.into_iter().map(ByPath::of_label));
    Ok(Asked { by_label, by_path, index })
}

/// What was asked for, as far as the labels tell: what is attached to the image may tell more.
struct Sorted {
    by_label: Vec<Labelled>,
    by_path: Vec<ByPath>,
    /// The artifacts of which a label has a path, and no more.
    declared: Vec<Declared>,
    /// The words that no label names.
    unknown: Vec<Unknown>,
    /// The names that labels have.
    names: Vec<String>,
}

struct Declared {
    position: usize,
    name: String,
    path: String,
}

struct Unknown {
    position: usize,
    pattern: Pattern,
    word: String,
}

impl Sorted {
    /// Sorts by the labels of `image`, which messages call `of`.
    fn by_labels(of: &str, image: &Image, request: &Request, progress: &dyn Progress) -> Result<Self, Error> {
        let labels = artifacts(image);
        // A label that cannot be read names nothing.
        let named = labels.iter().filter(|artifact| !matches!(artifact.label, Label::Malformed { .. }));
        let names = named.map(|artifact| artifact.name.clone()).collect();
        let (by_label, by_path, declared, unknown) = Default::default();
        let mut sorted = Sorted { by_label, by_path, declared, unknown, names };
        for (position, path) in request.paths.iter().enumerate() {
            let pattern = Pattern::parse(path)?;
            let word = std::str::from_utf8(path).ok().filter(|_| may_be_name(path));
            let named = word.and_then(|word| labels.iter().find(|artifact| artifact.name == word));
            match named {
                Some(Artifact { name, label: Label::Resolved(record) }) => {
                    sorted.by_label.push(Labelled::named(position, name, record));
                }
                Some(Artifact { name, label: Label::Declared { path } }) => {
                    sorted.declared.push(Declared { position, name: name.clone(), path: path.clone() });
                }
                Some(Artifact { name, label: Label::Inherited(record) }) => {
                    let path = record.path().to_owned();
                    sorted.declared.push(Declared { position, name: name.clone(), path });
                }
                Some(Artifact { name, label: Label::Legacy { blob } }) => {
                    let (layers, above) = (image.layers.len(), image.layers_above(blob));
                    if above > 0 {
                        progress.notice(&format!(
                            "the label of {name} names only layer {} of {layers}; a layer above may have changed or deleted it",
                            layers - above
                        ));
                    }
                    let pattern = Pattern::named(name.as_bytes());
                    sorted.by_path.push(ByPath { only_in: Some(blob.clone()), ..ByPath::plain(position, pattern) });
                }
                Some(Artifact { name, label: Label::Malformed { problem } }) => {
                    return Err(Error::Unfetchable {
                        image: of.to_owned(),
                        path: name.clone(),
                        problem: format!("has a label that cannot be read: {problem}; give its path"),
                    });
                }
                None => match labelled_path(position, &pattern, &labels, request.dereference) {
                    Some(labelled) => sorted.by_label.push(labelled),
                    None => match word {
                        Some(word) => sorted.unknown.push(Unknown { position, pattern, word: word.to_owned() }),
                        None => sorted.by_path.push(ByPath::plain(position, pattern)),
                    },
                },
            }
        }
        Ok(sorted)
    }

    /// Decides with what is `attached` to the image, which messages call `of`: what is got by a label or a record, and what is looked
    /// up. With `may_trust`, a record may be all that promises a digest.
    fn settle(
        self,
        of: &str,
        attached: &[(String, Record)],
        may_trust: bool,
    ) -> Result<(Vec<Labelled>, Vec<ByPath>), Error> {
        let Sorted { mut by_label, mut by_path, declared, unknown, names } = self;
        for Declared { position, name, path } in declared {
            match attached.iter().find(|(attached, record)| *attached == name && record.path() == path) {
                Some((_, record)) if may_trust => by_label.push(Labelled::named(position, &name, record)),
                _ => {
                    let plain = ByPath::plain(position, Pattern::exactly(path.as_bytes()));
                    by_path.push(ByPath { name: Some(name.into_bytes()), ..plain });
                }
            }
        }
        for Unknown { position, pattern, word } in unknown {
            match attached.iter().find(|(name, _)| *name == word) {
                Some((name, record)) if may_trust => by_label.push(Labelled::named(position, name, record)),
                Some((name, record)) => {
                    return Err(Error::NotCovered {
                        name: name.clone(),
                        image: of.to_owned(),
                        path: record.path().to_owned(),
                        hint: String::new(),
                    });
                }
                None if names.is_empty() && attached.is_empty() => by_path.push(ByPath::plain(position, pattern)),
                None => {
                    let attached = attached.iter().map(|(name, _)| name.as_str());
                    let all = names.iter().map(String::as_str).chain(attached).collect();
                    return Err(no_such_artifact(of.to_owned(), &word, all));
                }
            }
        }
        Ok((by_label, by_path))
    }
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
    let hint = format!("; it has {}{more}; for a path, type a slash: /{word}", names.join(", "));
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

#[cfg(test)]
mod tests;
