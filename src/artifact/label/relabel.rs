//! One image on its way to being labelled: what is sought is found and measured, and its config and manifest edited.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::request::{LabelledImage, Request};
use super::wanted::{Kept, Sought, Wanted};
use crate::artifact::annotated;
use crate::artifact::candidate::{Candidate, unreadable};
use crate::artifact::error::Error;
use crate::artifact::index_manifest::{Attached, PartDescriptor};
use crate::artifact::layers::Verify;
use crate::artifact::measure::Measure;
use crate::artifact::range_index::{Listed, ListedKind, MAX_EMBEDDED_BYTES, PART_MEDIA_TYPE, Part, annotations};
use crate::artifact::record::part;
use crate::artifact::survey::Survey;
use crate::artifact::table_index::beside;
use crate::artifact::tables::Tables;
use crate::extract::MAX_DEPTH;
use crate::image::digest::Digest;
use crate::image::edit::{Step, set_strings};
use crate::image::label::{Name, Record};
use crate::image::manifest::{Descriptor, MAX_MANIFEST_BYTES};
use crate::image::mend::point;
use crate::progress::Progress;
use crate::rootfs::Pattern;
use crate::rootfs::lookup::Lookup;
use crate::source::Source;

/// An index of more parts than this embeds none, so that its manifest stays small.
const MAX_EMBEDDED_PARTS: usize = 8;

/// Where a config has its labels.
const LABELS: [Step<'_>; 2] = [Step::Key("config"), Step::Key("Labels")];

/// One image as it will be.
pub struct Relabelled {
    /// The image as it was.
    pub before: Candidate,
    /// Its manifest as it is now, where it has one.
    pub manifest: Option<String>,
    /// Its config, where that has changed.
    pub config: Option<String>,
    /// Its artifacts, by name.
    pub parts: Vec<IndexedPart>,
    /// The list of the parts, as stored, where its manifest names it.
    pub list: Option<Bytes>,
    /// What is to be forgotten.
    pub removed: BTreeSet<Name>,
    /// The range indexes that it had.
    pub attached: Attached,
    /// Whether artifacts were named by these alone.
    pub has_attached_names: bool,
}

/// An artifact, and what the range index says of it.
pub struct IndexedPart {
    /// Its name.
    pub name: Name,
    /// What its label says, or would say.
    pub record: Record,
    /// The part's descriptor; `None` where the part would be larger than a reader takes.
    pub listed: Option<PartDescriptor>,
    /// The part, where it is new.
    pub content: Option<Bytes>,
}

impl Relabelled {
    /// The digest of its manifest as it is now, or, where there is none, of its config.
    pub fn digest(&self) -> Digest {
        Digest::of(self.manifest.as_ref().or(self.config.as_ref()).unwrap_or(&self.before.config).as_bytes())
    }

    /// The list of its parts, as stored; `None` where there are none.
    fn listed(&self) -> Option<Bytes> {
        let mut parts: Vec<_> = self.parts.iter().filter_map(|part| part.listed.clone()).collect();
        embed(&mut parts, &self.parts);
        let list = Some(parts).filter(|parts| !parts.is_empty()).map(annotated::list);
        list.filter(|list| list.len() as u64 <= MAX_MANIFEST_BYTES).map(Bytes::from)
    }

    /// What is told of it.
    pub fn outcome(&self) -> LabelledImage {
        let artifacts = self.parts.iter().map(|part| (part.name.clone(), part.record.clone())).collect();
        LabelledImage { platform: self.before.image.platform().to_string(), artifacts }
    }
}

/// Embeds those of `parts` that `known` has the content of and that are small where there are few, and none where there are many.
pub fn embed(parts: &mut [PartDescriptor], known: &[IndexedPart]) {
    if parts.len() > MAX_EMBEDDED_PARTS {
        parts.iter_mut().for_each(|part| part.data = None);
        return;
    }
    for part in parts {
        let known = known.iter().find(|known| part.name() == Some(known.name.as_str()));
        let content = known.and_then(|known| known.content.as_ref());
        if let Some(content) = content.filter(|content| content.len() <= MAX_EMBEDDED_BYTES) {
            part.data = Some(STANDARD.encode(content));
        }
    }
}

/// Works out the new labels, config and manifest of `candidate`; what its labels name and it does not have comes beside. Where
/// range indexes are kept, a new manifest names the list of its parts.
pub async fn relabel(
    from: &Arc<dyn Source>,
    candidate: Candidate,
    wanted: Wanted,
    keeps_indexes: bool,
    request: &Request,
    progress: &Arc<dyn Progress>,
) -> Result<(Relabelled, Vec<Error>), Error> {
    let (measured, stale) = measure(from, &candidate, &wanted.sought, &request.tables, progress).await?;
    let set = measured.iter().map(|part| (part.name.label_key(), Some(part.record.to_label())));
    let removed = wanted.removed.iter().map(|name| (name.label_key(), None));
    let also = candidate.also.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    let changes: Vec<_> = removed.chain(set).chain(also).collect();
    let mut parts = wanted.kept.into_iter().map(IndexedPart::kept).collect::<Vec<_>>();
    for part in measured {
        parts.push(IndexedPart::new(part, &**progress));
    }
    parts.sort_by(|one, other| one.name.cmp(&other.name));
    let mut relabelled = Relabelled {
        manifest: candidate.manifest.as_ref().map(|manifest| manifest.text.clone()),
        config: None,
        parts,
        list: None,
        removed: wanted.removed,
        attached: wanted.attached,
        has_attached_names: wanted.has_attached_names,
        before: candidate,
    };
    if request.attach {
        return Ok((relabelled, stale));
    }
    let before = &relabelled.before;
    let unreadable = |error| unreadable(&before.name, &error);
    let edited = set_strings(&before.config, &LABELS, &changes).map_err(unreadable)?;
    if edited != before.config {
        let list = relabelled.listed().filter(|_| keeps_indexes);
        let mend = |manifest: &String| {
            annotated::annotate(&point(manifest, &[Step::Key("config")], &edited)?, list.as_deref())
        };
        relabelled.manifest = relabelled.manifest.as_ref().map(mend).transpose().map_err(unreadable)?;
        relabelled.config = Some(edited);
        relabelled.list = list;
    } else {
        // The same labels leave the digest as it is; the list may have to be sent again.
        let named = relabelled.manifest.as_deref().and_then(annotated::named_in);
        let is_named = |list: &Bytes| named.is_some_and(|named| named.digest == Digest::of(list).as_str());
        relabelled.list = relabelled.listed().filter(is_named);
    }
    Ok((relabelled, stale))
}

/// Reads the layers that hold what is `sought`, each once, and measures what is there. What nobody asked for by its path need
/// not be there: why it is not comes beside.
async fn measure(
    from: &Arc<dyn Source>,
    candidate: &Candidate,
    sought: &[Sought],
    tables: &Tables,
    progress: &Arc<dyn Progress>,
) -> Result<(Vec<Part>, Vec<Error>), Error> {
    let (mut parts, mut stale) = (Vec::new(), Vec::new());
    if sought.is_empty() {
        return Ok((parts, stale));
    }
    let image = &candidate.image;
    for layer in &image.layers {
        progress.name(&layer.task(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let patterns = sought.iter().map(|sought| Pattern::exactly(&sought.path)).collect();
    let unasked = sought.iter().enumerate().filter(|(_, sought)| !sought.is_asked);
    let optional = unasked.map(|(position, _)| position).collect();
    let lookup = Lookup { patterns, follow: true, optional, needs_content: true, lists: false };
    let measure = Arc::new(Measure::default());
    let survey = Survey::new(Arc::clone(from), image, Arc::clone(&measure), lookup, Verify::Always);
    // What is labelled is covered by the image's digest from then on, and so must what tells of it be.
    let tables = beside(tables.clone(), (from, image), false, progress);
    // Those that the image carries do not tell where in the tar anything is.
    let mut survey = survey.telling(progress).told_by(Tables { carried: false, ..tables });
    let found = survey.complete(&candidate.name).await;
    let mut found = found.map_err(|error| hint_at_platforms(error, candidate, &**from))?;
    found.notices.iter().for_each(|notice| progress.notice(notice));
    for planned in &found.planned {
        let Some(Sought { name, is_asked, .. }) = sought.get(planned.pattern) else { continue };
        match part(name.clone(), planned, image, &survey, &measure).and_then(shallow) {
            Ok(part) => parts.push(part),
            Err(error @ (Error::Unlabelable { .. } | Error::NoDiffIds | Error::Unfetchable { .. })) if !is_asked => {
                found.failures.insert(planned.pattern, error);
            }
            Err(error) => return Err(error),
        }
    }
    for (position, error) in found.failures {
        stale.extend(sought.get(position).map(|sought| named(error, &sought.name)));
    }
    Ok((parts, stale))
}

/// `error` about a path that a label names, with the name.
fn named(error: Error, name: &Name) -> Error {
    let with_name = |path: String| format!("{path} (artifact {name})");
    match error {
        Error::NotFound { image, path, hint } => Error::NotFound { image, path: with_name(path), hint },
        Error::Unfetchable { image, path, problem } => Error::Unfetchable { image, path: with_name(path), problem },
        // A link cannot be labelled, so the hint at how to get it is of no use.
        Error::Dangling { image, link, target, is_last, .. } => {
            Error::Dangling { image, link: with_name(link), target, is_last, hint: String::new() }
        }
        Error::Unlabelable { what, problem } => Error::Unlabelable { what: with_name(what), problem },
        error => error,
    }
}

/// Where one image of several lacks a path, the others can be labelled without it.
fn hint_at_platforms(error: Error, candidate: &Candidate, from: &dyn Source) -> Error {
    let more = match candidate.name == from.name() {
        true => "",
        false => "; to label only other platforms, name them with --platform",
    };
    match error {
        Error::NotFound { image, path, hint } => Error::NotFound { image, path, hint: hint + more },
        Error::Dangling { image, link, target, is_last, .. } => {
            Error::Dangling { image, link, target, is_last, hint: more.to_owned() }
        }
        error => error,
    }
}

/// `part`, unless its directories are deeper in one another than `get` makes them.
fn shallow(part: Part) -> Result<Part, Error> {
    // The artifact itself is one level; a path has one more component than slashes.
    let depth = |entry: &Listed| match (&entry.kind, entry.path.as_str()) {
        (ListedKind::Directory, path) if !path.is_empty() => path.split('/').count() + 1,
        _ => 1,
    };
    match part.entries.iter().any(|entry| depth(entry) > MAX_DEPTH) {
        false => Ok(part),
        true => Err(Error::Unlabelable {
            what: part.record.path().to_owned(),
            problem: format!(
                "has directories nested deeper than {MAX_DEPTH} levels, which get does not make; label the inner ones"
            ),
        }),
    }
}

impl IndexedPart {
    fn kept(kept: Kept) -> Self {
        IndexedPart { name: kept.name, record: kept.record, listed: Some(kept.part), content: None }
    }

    fn new(part: Part, progress: &dyn Progress) -> Self {
        let Part { name, record, .. } = &part;
        let bytes = part.to_bytes().ok().filter(|bytes| bytes.len() as u64 <= MAX_MANIFEST_BYTES);
        let listed = bytes.as_ref().map(|bytes| PartDescriptor {
            descriptor: Descriptor {
                media_type: PART_MEDIA_TYPE.to_owned(),
                digest: Digest::of(bytes).to_string(),
                size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
                annotations: Some(annotations(&part)),
                ..Descriptor::default()
            },
            data: None,
        });
        if listed.is_none() {
            progress.notice(&format!("{name} has too many files for a range index; getting it will read whole layers"));
        }
        IndexedPart { name: name.clone(), record: record.clone(), listed, content: bytes.map(Bytes::from) }
    }
}
