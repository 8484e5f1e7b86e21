//! What is in an image: the artifacts that it names, and its files. Nothing is got.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::Error;
use super::labelled::RangeIndex;
use super::plan::{self, Tree, TreeKind};
use super::survey::{Collect, Survey, Wanted};
use crate::extract::StageError;
use crate::image::digest::Digest;
use crate::image::label::{Artifact, Label, Mode, Record, artifacts};
use crate::image::platform::Platform;
use crate::image::{Image, Layer};
use crate::layer::Content;
use crate::layer::entry::{Entry, Special};
use crate::progress::Progress;
use crate::rootfs::{Pattern, join};
use crate::source::{self, Source};

/// What is in an image.
#[derive(Debug)]
pub struct Listing<T> {
    /// The reference, in full.
    pub image: String,
    /// The digest of the image manifest.
    pub digest: Digest,
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

/// The artifacts of the image that `source` names: those that labels name, and those that are only attached.
pub async fn list_artifacts(
    source: &dyn Source,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Listing<ListedArtifact>, Error> {
    let image = source::resolve(source, platform).await?;
    let index = RangeIndex::fetch(source, &image.digest, progress).await?;
    let attached = index.records(&image);
    let labels = artifacts(&image);
    let mut named: HashSet<String> = labels.iter().map(|artifact| artifact.name.clone()).collect();
    let indexed: HashSet<&Record> = attached.iter().map(|(_, record)| record).collect();
    let mut items: Vec<ListedArtifact> =
        labels.into_iter().map(|artifact| listed(artifact, &image, &indexed)).collect();
    for (name, record) in attached {
        if named.insert(name.clone()) {
            items.push(of_record(name, record, &image, Read::Attached));
        }
    }
    items.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Listing { image: source.name(), digest: image.digest.clone(), items })
}

fn listed(artifact: Artifact, image: &Image, indexed: &HashSet<&Record>) -> ListedArtifact {
    let Artifact { name, label } = artifact;
    let bare = |name, path, read| ListedArtifact { name, path, record: None, layers: Vec::new(), read };
    match label {
        Label::Resolved(record) => {
            let read = match &record {
                _ if indexed.contains(&record) => Read::Range,
                Record::File { layer, .. } => match image.layer_of(layer) {
                    Some(layer) => Read::Layer { size: layer.size },
                    None => Read::Path,
                },
                Record::Directory { .. } => Read::Path,
            };
            of_record(name, record, image, read)
        }
        Label::Inherited(record) => bare(name, Some(record.path().to_owned()), Read::Inherited),
        Label::Declared { path } => bare(name, Some(path), Read::Declared),
        Label::Legacy { blob } => {
            let size = image.layers.iter().find(|layer| layer.digest == blob).map_or(0, |layer| layer.size);
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
    let layers = diff_ids.iter().filter_map(|layer| image.layer_of(layer)).map(|layer| layer.digest.clone()).collect();
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

/// The files at `paths` (paths and globs, as typed) of the image that `source` names, with all that is in those that are
/// directories. A symbolic link that a path names is not followed. Layers are read until they have decided it, each to its end,
/// so that its digest is checked.
pub async fn list_files(
    source: Arc<dyn Source>,
    platform: &Platform,
    paths: &[Vec<u8>],
    progress: &dyn Progress,
) -> Result<Listing<ListedFile>, Error> {
    let patterns = paths.iter().map(|path| Pattern::parse(path)).collect::<Result<_, _>>()?;
    let image = Arc::new(source::resolve(&*source, platform).await?);
    for layer in &image.layers {
        progress.name(layer.digest.as_str(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let wanted = Arc::new(Wanted { patterns, follow: false, verify: true });
    let name = source.name();
    let mut survey = Survey::new(source, Arc::clone(&image), Arc::new(NoContent), Arc::clone(&wanted));
    let planned = plan::outline((&name, &image), &mut survey, &wanted).await?;
    survey.notices().iter().for_each(|notice| progress.notice(notice));
    let mut files = Files { image: &image, seen: HashSet::new(), items: Vec::new() };
    planned.iter().for_each(|thing| files.add(thing.real_path.clone(), &thing.tree));
    Ok(Listing { image: name, digest: image.digest.clone(), items: files.items })
}

struct Files<'a> {
    image: &'a Image,
    seen: HashSet<Vec<u8>>,
    items: Vec<ListedFile>,
}

impl Files<'_> {
    /// Lists what is at the canonical `path`, and what is in it. The root goes without saying.
    fn add(&mut self, path: Vec<u8>, tree: &Tree) {
        if !path.is_empty() && self.seen.insert(path.clone()) {
            let kind = match &tree.kind {
                TreeKind::File { size, .. } => FileKind::File { size: *size },
                TreeKind::Directory(_) => FileKind::Directory,
                TreeKind::Symlink(target) => FileKind::Symlink(target.clone()),
                TreeKind::Special(special) => FileKind::Special(*special),
            };
            let layer = tree.layer.and_then(|depth| self.image.layers.iter().rev().nth(depth));
            self.items.push(ListedFile {
                path: [b"/".as_slice(), &path].concat(),
                kind,
                mode: tree.metadata.mode,
                uid: tree.metadata.uid,
                gid: tree.metadata.gid,
                mtime: tree.metadata.mtime.0,
                layer: layer.map(|layer| layer.digest.clone()),
            });
        }
        if let TreeKind::Directory(children) = &tree.kind {
            children.iter().for_each(|(name, child)| self.add(join(&path, name), child));
        }
    }
}

/// Lets all content pass by.
struct NoContent;

impl Collect for NoContent {
    type Kept = ();
    const TRACKS: bool = false;

    fn collect(&self, _: &Layer, _: &[usize], _: &Entry, _: &mut dyn Content) -> Result<(), StageError> {
        Ok(())
    }
}
