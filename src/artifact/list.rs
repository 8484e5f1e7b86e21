//! What is in an image: the artifacts that it names, and its files. Nothing is got.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::error::Error;
use super::labelled::RangeIndex;
use super::layers::Verify;
use super::names::no_such_artifact;
use super::shown::show;
use super::survey::{Collect, File, Survey};
use crate::extract::StageError;
use crate::image::digest::Digest;
use crate::image::label::{Artifact, Label, Mode, Record, artifacts};
use crate::image::{Image, Layer};
use crate::layer::Content;
use crate::layer::entry::Special;
use crate::progress::Progress;
use crate::rootfs::lookup::{Lookup, Tree, TreeKind};
use crate::rootfs::{Pattern, join};
use crate::source::{LayersFor, Source};

/// What is in an image.
#[derive(Debug)]
pub struct Listing<T> {
    /// What messages call the image.
    pub name: String,
    /// The reference in full, with the digest of the image manifest where there is one.
    pub image: String,
    /// What there is.
    pub items: Vec<T>,
}

/// An artifact of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedArtifact {
    /// Its name: any text, where the label is not one of ours.
    pub name: String,
    /// Where it is, as far as is known.
    pub path: Option<String>,
    /// What a label, or an attached record, says of it.
    pub record: Option<Record>,
    /// The blob digests of the layers that hold it, as far as is known.
    pub layers: Vec<Digest>,
    /// How it will be read.
    pub read: Read,
}

/// How an artifact will be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The bytes of a layer that hold it, alone.
    Range,
    /// Its layer, no further than it reaches.
    Layer {
        /// The layer's length in bytes, as stored.
        size: u64,
    },
    /// As any path, for its label does not say where in the image it is.
    Path,
    /// As any path: the label is only that, until the image is labelled.
    Declared,
    /// As any path: the label is of another image, which this one was built from, until this one is labelled.
    Inherited,
    /// Looked for by its name in the layer that the original shell plugin's label names.
    Legacy {
        /// The layer's length in bytes, as stored.
        size: u64,
        /// How many layers lie above it, which may have changed or deleted the file.
        layers_above: usize,
    },
    /// By a record that is attached to the image, and so not covered by its digest.
    Attached,
    /// Not at all.
    Malformed {
        /// What is wrong with its label.
        problem: String,
    },
}

/// The artifacts of `image`, which `source` names: those that labels name, and those that are only attached. Fails where the network
/// does and one of `words` is named by no label, as it is not known then whether it is a name.
pub async fn list_artifacts(
    source: &dyn Source,
    image: &Image,
    words: &[&[u8]],
    progress: &dyn Progress,
) -> Result<Listing<ListedArtifact>, Error> {
    let labels = artifacts(image);
    let texts = words.iter().filter_map(|word| std::str::from_utf8(word).ok());
    let unknown = texts.into_iter().find(|word| labels.iter().all(|artifact| artifact.name != **word));
    let index = match unknown {
        Some(word) => RangeIndex::fetch_names(source, image, word, progress).await?,
        None => RangeIndex::fetch(source, image, progress).await?,
    };
    let attached = index.records(image);
    // What a digest does not cover speaks for nothing that it covers.
    let serving = attached.iter().filter(|_| !source.is_pinned());
    let served = serving.map(|(name, record)| ((name.as_str(), record.path()), record)).collect();
    let mut named: HashSet<String> = labels.iter().map(|artifact| artifact.name.clone()).collect();
    let indexed: HashSet<&Record> = attached.iter().map(|(_, record)| record).collect();
    let mut items: Vec<ListedArtifact> =
        labels.into_iter().map(|artifact| listed(artifact, image, &indexed, &served)).collect();
    if source.merged().is_some() {
        // A path costs its own bytes there, and a layer the whole image.
        items.iter_mut().filter(|item| matches!(item.read, Read::Layer { .. })).for_each(|item| item.read = Read::Path);
    }
    for (name, record) in attached {
        if named.insert(name.clone()) {
            items.push(of_record(name, record, image, Read::Attached));
        }
    }
    items.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Listing::new(source, image, items))
}

impl<T> Listing<T> {
    /// What is in `image`, which `source` names.
    pub fn new(source: &dyn Source, image: &Image, items: Vec<T>) -> Self {
        Listing { name: source.name(), image: source.address(image.digest.as_ref()), items }
    }
}

impl Listing<ListedArtifact> {
    /// Whether there is one with a label that can be read, so that a word is the name of one and no path.
    pub fn has_names(&self) -> bool {
        self.items.iter().any(|artifact| !matches!(artifact.read, Read::Malformed { .. }))
    }

    /// Those of these names alone, in their order. Fails where there is none of a name.
    pub fn named<'a>(mut self, names: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let mut wanted: Vec<ListedArtifact> = Vec::new();
        for name in names {
            if wanted.iter().any(|artifact| artifact.name.as_bytes() == name) {
                continue;
            }
            match self.items.iter().position(|artifact| artifact.name.as_bytes() == name) {
                Some(position) => wanted.push(self.items.remove(position)),
                None => {
                    let known = self.items.iter().chain(&wanted).map(|artifact| artifact.name.as_str());
                    return Err(no_such_artifact(self.name, &show(name), known.collect()));
                }
            }
        }
        Ok(Listing { items: wanted, ..self })
    }
}

fn listed(
    artifact: Artifact,
    image: &Image,
    indexed: &HashSet<&Record>,
    served: &HashMap<(&str, &str), &Record>,
) -> ListedArtifact {
    let Artifact { name, label } = artifact;
    let bare = |name, path, read| ListedArtifact { name, path, record: None, layers: Vec::new(), read };
    match label {
        Label::Resolved(record) => {
            let read = match &record {
                _ if indexed.contains(&record) => Read::Range,
                Record::File { layer, .. } => match image.layer_of(layer) {
                    Some(layer) => Read::Layer { size: layer.size() },
                    None => Read::Path,
                },
                Record::Directory { .. } => Read::Path,
            };
            of_record(name, record, image, read)
        }
        Label::Inherited(record) => match served.get(&(name.as_str(), record.path())).copied() {
            Some(attached) => of_record(name, attached.clone(), image, Read::Attached),
            None => bare(name, Some(record.path().to_owned()), Read::Inherited),
        },
        Label::Declared { path } => match served.get(&(name.as_str(), path.as_str())).copied() {
            Some(attached) => of_record(name, attached.clone(), image, Read::Attached),
            None => bare(name, Some(path), Read::Declared),
        },
        Label::Legacy { blob } => {
            let size = image.layers.iter().find(|layer| layer.digest() == Some(&blob)).map_or(0, Layer::size);
            let layers_above = image.layers_above(&blob);
            ListedArtifact { layers: vec![blob], ..bare(name, None, Read::Legacy { size, layers_above }) }
        }
        Label::Malformed { problem } => bare(name, None, Read::Malformed { problem }),
    }
}

fn of_record(name: String, record: Record, image: &Image, read: Read) -> ListedArtifact {
    let diff_ids = match &record {
        Record::File { layer, .. } => std::slice::from_ref(layer),
        Record::Directory { layers, .. } => layers.as_slice(),
    };
    let layers = diff_ids.iter().filter_map(|layer| image.layer_of(layer)?.digest().cloned()).collect();
    ListedArtifact { name, path: Some(record.path().to_owned()), layers, record: Some(record), read }
}

impl ListedArtifact {
    /// Its length in bytes, as far as is known.
    pub fn size(&self) -> Option<u64> {
        self.record.as_ref().map(Record::size)
    }

    /// Its permission bits, as far as is known.
    pub fn mode(&self) -> Option<u32> {
        match self.record.as_ref()? {
            Record::File { mode: Mode(bits), .. } | Record::Directory { mode: Mode(bits), .. } => Some(*bits),
        }
    }
}

/// A file of an image, in the widest sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its canonical path, as raw bytes, with a slash before it.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u64,
    /// The owner's group ID.
    pub gid: u64,
    /// Modification time in seconds since the Unix epoch.
    pub mtime: i64,
    /// The blob digest of the layer that it comes from; `None` for a directory that no layer has an entry of.
    pub layer: Option<Digest>,
    /// The build step that made that layer, where the history says.
    pub step: Option<String>,
}

/// What a [`ListedFile`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link, with its target as written.
    Symlink(Vec<u8>),
    /// A device node or FIFO.
    Special(Special),
}

/// What is listed of a directory that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The directory.
    Itself,
    /// What is in it.
    Children,
    /// All that is below it.
    All,
}

/// The files at `paths` (paths and globs, as typed) of `image`, which `source` names. What a glob matches is listed itself, and with
/// [`Depth::All`] what is below it. A symbolic link that a path names is not followed. Layers are read until they have decided it,
/// as [`Verify::WhereRead`] says.
pub async fn list_files(
    source: Arc<dyn Source>,
    image: Arc<Image>,
    paths: &[Vec<u8>],
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Listing<ListedFile>, Error> {
    let patterns: Arc<[Pattern]> = paths.iter().map(|path| Pattern::parse(path)).collect::<Result<_, _>>()?;
    let image = source.with_layers(&image, LayersFor::Reading).await?;
    for layer in &image.layers {
        progress.name(&layer.task(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let (name, verify) = (source.name(), Verify::WhereRead.of(&*source));
    let lookup = Lookup { patterns: Arc::clone(&patterns), ..Lookup::default() };
    let mut survey = Survey::new(Arc::clone(&source), &image, Arc::new(NoContent), lookup, verify);
    let found = survey.outline(&name).await?;
    found.notices.iter().for_each(|notice| progress.notice(notice));
    let mut files = Files { image: &image, seen: HashSet::new(), items: Vec::new() };
    for thing in &found.planned {
        let Some(pattern) = patterns.get(thing.pattern) else { continue };
        let (path, below) = (thing.real_path.as_slice(), depth == Depth::All);
        let is_directory = matches!(thing.tree.kind, TreeKind::Directory(_));
        match (depth, pattern.literal()) {
            (Depth::Children | Depth::All, Some(_)) if is_directory => files.inside(path, &thing.tree, below),
            // Such a glob matches directories alone, and means what is in them.
            (Depth::Children | Depth::All, None) if pattern.text().ends_with(b"**") => {
                files.inside(path, &thing.tree, true);
            }
            _ => files.add(path, &thing.tree, below),
        }
    }
    Ok(Listing::new(&*source, &image, files.items))
}

struct Files<'a> {
    image: &'a Image,
    seen: HashSet<Vec<u8>>,
    items: Vec<ListedFile>,
}

impl Files<'_> {
    /// Lists what is at the canonical `path`, with `below` all that is below it too.
    fn add(&mut self, path: &[u8], tree: &Tree, below: bool) {
        if self.seen.insert(path.to_vec()) {
            let kind = match &tree.kind {
                TreeKind::File(content) => FileKind::File { size: content.size },
                TreeKind::Directory(_) => FileKind::Directory,
                TreeKind::Symlink(target) => FileKind::Symlink(target.clone()),
                TreeKind::Special(special) => FileKind::Special(*special),
            };
            let layer = tree.layer.and_then(|depth| self.image.layers.iter().rev().nth(depth.0));
            self.items.push(ListedFile {
                path: [b"/", path].concat(),
                kind,
                mode: tree.metadata.mode,
                uid: tree.metadata.uid,
                gid: tree.metadata.gid,
                mtime: tree.metadata.mtime.0,
                layer: layer.and_then(|layer| layer.digest().cloned()),
                step: layer.and_then(|layer| layer.created_by.clone()),
            });
        }
        if below {
            self.inside(path, tree, true);
        }
    }

    /// Lists what is in the directory at the canonical `path`.
    fn inside(&mut self, path: &[u8], tree: &Tree, below: bool) {
        if let TreeKind::Directory(children) = &tree.kind {
            children.iter().for_each(|(name, child)| self.add(&join(path, name), child, below));
        }
    }
}

/// Lets all content pass by.
struct NoContent;

impl Collect for NoContent {
    type Kept = ();
    const TRACKS: bool = false;

    fn collect(&self, _: &Layer, _: &[usize], _: File, _: &mut dyn Content) -> Result<(), StageError> {
        Ok(())
    }
}
