//! The files of an image, one row after another: no more of them is held than the layers' indexes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::collect::NoContent;
use super::error::Error;
use super::layers::Verify;
use super::offers::Offer;
use super::survey::Survey;
use super::table_index::beside;
use super::tables::Tables;
use crate::image::digest::Digest;
use crate::image::{Image, Layer};
use crate::layer::entry::{Metadata, Special};
use crate::progress::Progress;
use crate::rootfs::below::{self, Thing};
use crate::rootfs::lookup::{Lookup, Planned, Tree, TreeKind};
use crate::rootfs::walk::{Found, resolve};
use crate::rootfs::{Depth as LayerDepth, NodeKind, Pattern, UNDESCRIBED, View, split};
use crate::source::{LayersFor, Source};

/// A file of an image, in the widest sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedFile<'a> {
    /// Its canonical path, as raw bytes, with a slash before it.
    pub path: &'a [u8],
    /// What it is.
    pub kind: FileKind<'a>,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u64,
    /// The owner's group ID.
    pub gid: u64,
    /// Modification time in seconds since the Unix epoch.
    pub mtime: i64,
    /// The blob digest of the layer that it comes from; `None` for a directory that no layer has an entry of.
    pub layer: Option<&'a Digest>,
    /// What told of that layer.
    pub read: Option<Offer>,
    /// The build step that made that layer, where the history says.
    pub step: Option<&'a str>,
}

/// What a [`ListedFile`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind<'a> {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link, with its target as written.
    Symlink(&'a [u8]),
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

/// The files at some paths of an image.
pub struct FileListing {
    /// The reference in full, with the digest of the image manifest where there is one.
    pub image: String,
    layers: Vec<Layer>,
    survey: Survey<NoContent>,
    things: Vec<(Planned, Extent)>,
}

/// What is listed of a thing that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    itself: bool,
    inside: bool,
    /// Whether what is inside goes all the way down.
    below: bool,
}

/// The files at `paths` (paths and globs, as typed) of `image`, which `source` names. What a glob matches is listed itself, and with
/// [`Depth::All`] what is below it. A symbolic link that a path names is not followed. Layers are read until they have decided it,
/// as [`Verify::WhereRead`] says, or known by `tables` of contents.
pub async fn list_files(
    source: Arc<dyn Source>,
    image: Arc<Image>,
    paths: &[Vec<u8>],
    depth: Depth,
    tables: Tables,
    progress: &Arc<dyn Progress>,
) -> Result<FileListing, Error> {
    let patterns: Arc<[Pattern]> = paths.iter().map(|path| Pattern::parse(path)).collect::<Result<_, _>>()?;
    let image = source.with_layers(&image, LayersFor::Reading).await?;
    for layer in &image.layers {
        progress.name(&layer.task(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let (name, verify) = (source.name(), Verify::WhereRead.of(&*source));
    let is_pinned = source.is_pinned();
    let address = source.address(image.digest.as_ref());
    let lookup = Lookup { patterns: Arc::clone(&patterns), lists: true, ..Lookup::default() };
    let trusts_attached = !source.is_pinned();
    let tables = beside(tables, (&source, &image), trusts_attached, progress);
    let survey = Survey::new(source, &image, Arc::new(NoContent), lookup, verify);
    let mut survey = survey.telling(progress).told_by(tables.with_soci(&image, !is_pinned, progress));
    let found = survey.outline(&name).await?;
    found.notices.iter().for_each(|notice| progress.notice(notice));
    let things = found.planned.into_iter().filter_map(|thing| {
        let pattern = patterns.get(thing.pattern)?;
        let is_directory = matches!(thing.tree.kind, TreeKind::Directory(_));
        let extent = match (depth, pattern.literal()) {
            (Depth::Children | Depth::All, Some(_)) if is_directory => {
                Extent { itself: false, inside: true, below: depth == Depth::All }
            }
            // Such a glob matches directories alone, and means what is in them.
            (Depth::Children | Depth::All, None) if pattern.text().ends_with(b"**") => {
                Extent { itself: false, inside: true, below: true }
            }
            _ => Extent { itself: true, inside: depth == Depth::All, below: true },
        };
        Some((thing, extent))
    });
    Ok(FileListing { image: address, things: things.collect(), survey, layers: image.layers.clone() })
}

impl FileListing {
    /// Calls `row` with each file, in the order of the paths, and below each in the order of names; none comes twice. It is the same
    /// each time. Ends with the first error of `row`.
    pub fn each<E>(&self, row: &mut impl FnMut(&ListedFile<'_>) -> Result<(), E>) -> Result<Result<(), E>, Error> {
        self.survey.show(|view| self.each_of(view, row))
    }

    fn each_of<E>(&self, view: &View<'_>, row: &mut impl FnMut(&ListedFile<'_>) -> Result<(), E>) -> Result<(), E> {
        let offer = |depth| self.survey.offer(depth);
        let mut rows = Rows { layers: &self.layers, offer: &offer, path: Vec::new(), row };
        let mut earlier = Earlier::default();
        for (Planned { real_path, tree, .. }, extent) in &self.things {
            if extent.itself && !earlier.has(real_path) {
                rows.tree(real_path, tree)?;
            }
            if extent.inside && !earlier.has_below(real_path) {
                rows.inside(view, &earlier, real_path, extent.below)?;
            }
            earlier.add(real_path, *extent);
        }
        Ok(())
    }
}

/// What has been listed for earlier paths: so much for each path, whatever is below it.
#[derive(Default)]
struct Earlier<'a> {
    itself: HashSet<&'a [u8]>,
    /// Directories whose names have been listed, and whether all that is below them.
    inside: HashMap<&'a [u8], bool>,
}

impl<'a> Earlier<'a> {
    fn add(&mut self, path: &'a [u8], extent: Extent) {
        if extent.itself {
            self.itself.insert(path);
        }
        if extent.inside {
            *self.inside.entry(path).or_default() |= extent.below;
        }
    }

    /// Whether the thing at the canonical `path` was listed.
    fn has(&self, path: &[u8]) -> bool {
        let is_above = |above: &[u8]| self.inside.contains_key(above) || self.has_below(above);
        self.itself.contains(path) || (!path.is_empty() && is_above(split(path).0))
    }

    /// Whether all that is below the directory at the canonical `path` was listed.
    fn has_below(&self, path: &[u8]) -> bool {
        let mut above = path;
        loop {
            if self.inside.get(above).is_some_and(|below| *below) {
                return true;
            }
            if above.is_empty() {
                return false;
            }
            above = split(above).0;
        }
    }

    /// Whether the thing at `path` was listed, given that not all that is below its directory was.
    fn has_alone(&self, path: &[u8]) -> bool {
        !self.is_empty() && (self.itself.contains(path) || self.inside.contains_key(split(path).0))
    }

    /// Whether all that is below the directory at `path` was listed by that name.
    fn has_all_of(&self, path: &[u8]) -> bool {
        self.inside.get(path).is_some_and(|below| *below)
    }

    fn is_empty(&self) -> bool {
        self.itself.is_empty() && self.inside.is_empty()
    }
}

/// Where rows go.
struct Rows<'a, 'r, R> {
    layers: &'a [Layer],
    /// What told of the layer at a depth.
    offer: &'a dyn Fn(LayerDepth) -> Option<Offer>,
    /// The path of the row at hand.
    path: Vec<u8>,
    row: &'r mut R,
}

impl<R> Rows<'_, '_, R> {
    fn tree<E>(&mut self, path: &[u8], tree: &Tree) -> Result<(), E>
    where
        R: FnMut(&ListedFile<'_>) -> Result<(), E>,
    {
        let kind = match &tree.kind {
            TreeKind::File(content) => FileKind::File { size: content.size },
            TreeKind::Directory(_) => FileKind::Directory,
            TreeKind::Symlink(target) => FileKind::Symlink(target),
            TreeKind::Special(special) => FileKind::Special(*special),
        };
        self.hand_on(path, kind, tree.layer, &tree.metadata)
    }

    /// Lists what is in the directory at the canonical `path`, with `below` all that is below it, except for what was listed `earlier`.
    fn inside<E>(&mut self, view: &View<'_>, earlier: &Earlier<'_>, path: &[u8], below: bool) -> Result<(), E>
    where
        R: FnMut(&ListedFile<'_>) -> Result<(), E>,
    {
        let Found::Directory(directory) = resolve(view, path, false) else { return Ok(()) };
        below::walk(view, &directory, &mut |path, thing| {
            let (kind, layer, metadata) = match thing {
                Thing::Directory { described_by: Some((layer, node)), .. } => {
                    (FileKind::Directory, Some(layer), node.metadata())
                }
                Thing::Directory { described_by: None, .. } => (FileKind::Directory, None, UNDESCRIBED),
                Thing::Leaf { layer, node } => {
                    let kind = match &node.kind {
                        NodeKind::File(content) => FileKind::File { size: content.size },
                        NodeKind::Symlink(target) => FileKind::Symlink(target),
                        NodeKind::Special(special) => FileKind::Special(*special),
                        // A leaf is none of these.
                        NodeKind::Directory { .. } | NodeKind::LinkBelow(_) | NodeKind::LinkNowhere(_) => {
                            return Ok(false);
                        }
                    };
                    (kind, Some(layer), node.metadata())
                }
                Thing::Broken { .. } | Thing::Unknown => return Ok(false),
            };
            if !earlier.has_alone(path) {
                self.hand_on(path, kind, layer, &metadata)?;
            }
            Ok(below && !earlier.has_all_of(path))
        })
    }

    fn hand_on<E>(
        &mut self,
        path: &[u8],
        kind: FileKind<'_>,
        layer: Option<LayerDepth>,
        metadata: &Metadata,
    ) -> Result<(), E>
    where
        R: FnMut(&ListedFile<'_>) -> Result<(), E>,
    {
        self.path.clear();
        self.path.push(b'/');
        self.path.extend_from_slice(path);
        let read = layer.and_then(self.offer);
        let layer = layer.and_then(|depth| self.layers.iter().rev().nth(depth.0));
        (self.row)(&ListedFile {
            path: &self.path,
            kind,
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: metadata.mtime.0,
            layer: layer.and_then(Layer::digest),
            read,
            step: layer.and_then(|layer| layer.created_by.as_deref()),
        })
    }
}
