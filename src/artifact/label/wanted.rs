//! What is to be labelled in one image: what was asked for, what its labels declare, and what they or its range index say already.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::request::Request;
use crate::artifact::candidate::Candidate;
use crate::artifact::error::Error;
use crate::artifact::index_manifest::{Attached, PartDescriptor, attached};
use crate::artifact::labelled::RangeIndex;
use crate::artifact::listing::{self, Stretch, stretch};
use crate::artifact::range_index::Part;
use crate::image::Image;
use crate::image::digest::{DiffId, Digest};
use crate::image::label::{Label, Name, Record, artifacts};
use crate::progress::Progress;
use crate::rootfs::Pattern;
use crate::source::{Source, Store};

/// What is to be labelled in one image.
pub struct Wanted {
    /// What is labelled and indexed already, so that nothing has to be read.
    pub kept: Vec<Kept>,
    /// What has to be found and measured.
    pub sought: Vec<Sought>,
    /// What was asked to be forgotten, and is there.
    pub removed: BTreeSet<Name>,
    /// What the image's labels name.
    pub labelled: BTreeSet<Name>,
    /// The range indexes that the image has.
    pub attached: Attached,
    /// Whether artifacts are named by these alone.
    pub has_attached_names: bool,
}

/// An artifact with a part that can stay as it is.
pub struct Kept {
    /// Its name.
    pub name: Name,
    /// What its label says, or would say.
    pub record: Record,
    /// The part about it.
    pub part: PartDescriptor,
}

/// An artifact that has to be found.
pub struct Sought {
    /// Its name.
    pub name: Name,
    /// Its path, as typed or declared.
    pub path: Vec<u8>,
    /// Whether somebody asked for it by its path: then it has to be there.
    pub is_asked: bool,
}

impl Wanted {
    /// What `request` asks for in `candidate`, and what goes without saying.
    pub async fn of(
        from: &dyn Source,
        candidate: &Candidate,
        request: &Request,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let image = &*candidate.image;
        let store = from.store();
        let attached = match (store, &candidate.manifest) {
            (Some(store), Some(manifest)) => attached(store, &manifest.raw.digest, progress).await?,
            _ => Attached::default(),
        };
        let named = attached.parts.iter().filter_map(|part| Some(((part.name()?, part.record()?), part)));
        let indexed: Indexed<'_> = named.collect();
        let mut known: BTreeMap<Name, Known> = BTreeMap::new();
        let mut labelled = BTreeSet::new();
        for artifact in artifacts(image) {
            let Ok(name) = artifact.name.parse::<Name>() else { continue };
            labelled.insert(name.clone());
            let known_by_label = match artifact.label {
                Label::Declared { path } => Known { path: path.into_bytes(), label: None, part: None },
                Label::Inherited(record) => Known { path: path_of(&record), label: None, part: None },
                Label::Resolved(record) => Known { path: path_of(&record), label: Some(record), part: None },
                Label::Legacy { .. } | Label::Malformed { .. } => continue,
            };
            known.insert(name, known_by_label);
        }
        let chain = image.chain_id();
        let mut attached_names = Vec::new();
        for part in &attached.parts {
            let record = part.record().filter(|record| record.is_of(chain.as_ref()));
            let (Some(Ok(name)), Some(record)) = (part.name().map(str::parse::<Name>), record) else { continue };
            match known.get_mut(&name) {
                // A label says more than what is only attached, unless it is the same, or nothing but the path.
                Some(known) if known.label.is_some() => {}
                Some(known) if known.path == path_of(&record) => known.part = Some((part.clone(), record)),
                Some(_) => {}
                None if labelled.contains(&name) => {}
                None => {
                    attached_names.push(name.clone());
                    let known_by_part =
                        Known { path: path_of(&record), label: None, part: Some((part.clone(), record)) };
                    known.insert(name, known_by_part);
                }
            }
        }
        if !request.attach && from.is_pinned() {
            // The digest that was given does not cover what is attached to it.
            for name in attached_names.iter().filter(|name| !request.add.iter().any(|(added, _)| added == *name)) {
                known.remove(name);
                progress.notice(&format!(
                    "{name} is only attached to {}, not covered by its digest, and is not carried over",
                    candidate.name
                ));
            }
        }
        let removed = request.remove.iter().filter(|name| match request.attach {
            true => attached.parts.iter().any(|part| part.name() == Some(name.as_str())),
            false => known.contains_key(name),
        });
        let removed: BTreeSet<Name> = removed.cloned().collect();
        request.remove.iter().for_each(|name| drop(known.remove(name)));

        let (mut keep, mut sought) = (Vec::new(), Vec::new());
        let mut add = |name, path, kept: Option<Kept>, is_asked| match kept {
            Some(kept) => keep.push(kept),
            None => sought.push(Sought { name, path, is_asked }),
        };
        for (name, path) in &request.add {
            let known = known.remove(name);
            let part = match known.and_then(|known| known.label) {
                Some(record) if is_at(&record, path) => kept(store, image, &indexed, name, record).await,
                _ => None,
            };
            add(name.clone(), path.clone(), part, true);
        }
        // What is only declared, or not indexed, stays so where something is to be forgotten, and that is all.
        let only_removes = request.add.is_empty() && !request.remove.is_empty();
        for (name, Known { path, label, part }) in known {
            let is_attached = part.is_some();
            let part = match (label, part) {
                (Some(record), _) => kept(store, image, &indexed, &name, record).await,
                // What is attached stays as it is only beside the image: in a label, it has to be what was read.
                (None, Some((part, record))) if request.attach => Some(Kept { name: name.clone(), record, part }),
                (None, _) => None,
            };
            if part.is_some() || is_attached || !only_removes {
                add(name, path, part, false);
            }
        }
        drop(indexed);
        let has_attached_names = !attached_names.is_empty();
        Ok(Wanted { kept: keep, sought, removed, labelled, attached, has_attached_names })
    }

    /// Whether there is nothing to be labelled.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.sought.is_empty()
    }
}

/// What is known of an artifact before anything is asked for.
struct Known {
    path: Vec<u8>,
    label: Option<Record>,
    part: Option<(PartDescriptor, Record)>,
}

fn path_of(record: &Record) -> Vec<u8> {
    record.path().as_bytes().to_vec()
}

/// Whether `path`, as typed, is the one that `record` names.
fn is_at(record: &Record, path: &[u8]) -> bool {
    Pattern::exactly(path).literal() == Pattern::exactly(record.path().as_bytes()).literal()
}

/// Parts by what they are about.
type Indexed<'a> = HashMap<(&'a str, Record), &'a PartDescriptor>;

/// The artifact of a label that is true of `image` and in its range index, with a part that can be used.
async fn kept(
    from: Option<&dyn Store>,
    image: &Image,
    indexed: &Indexed<'_>,
    name: &Name,
    record: Record,
) -> Option<Kept> {
    let listed = indexed.get(&(name.as_str(), record.clone()))?;
    // One that cannot be read is written anew.
    let part = RangeIndex::of(vec![(*listed).clone()]).part(from?, &record).await.ok().flatten();
    part.filter(|part| is_whole(part, image))?;
    Some(Kept { name: name.clone(), record, part: (*listed).clone() })
}

/// Whether `part` lists what its record says, and its extents are of the blobs of `image` and hold all of it.
fn is_whole(part: &Part, image: &Image) -> bool {
    let mut blobs: HashMap<&DiffId, &Digest> = HashMap::new();
    for layer in &image.layers {
        layer.diff_id.as_ref().zip(layer.digest()).map(|(diff_id, blob)| blobs.entry(diff_id).or_insert(blob));
    }
    // Of each layer, how far those extents reach that begin no later than one of them: some one holds what ends no later.
    let mut reach: HashMap<&DiffId, BTreeMap<u64, u64>> = HashMap::new();
    for extent in part.extents.iter().filter(|extent| blobs.get(&extent.layer) == Some(&&extent.blob)) {
        let end = extent.uncompressed_offset.saturating_add(extent.uncompressed_size);
        let ends = reach.entry(&extent.layer).or_default().entry(extent.uncompressed_offset).or_default();
        *ends = end.max(*ends);
    }
    for ends in reach.values_mut() {
        let mut furthest = 0;
        for end in ends.values_mut() {
            furthest = furthest.max(*end);
            *end = furthest;
        }
    }
    let is_held = |content: Stretch| {
        let ends = || reach.get(&content.layer)?.range(..=content.offset).next_back();
        content.size == 0 || ends().is_some_and(|(_, end)| content.end() <= *end)
    };
    listing::check(&part.record, &part.entries).is_ok() && part.entries.iter().filter_map(stretch).all(is_held)
}
