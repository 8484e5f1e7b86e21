//! From what a survey found to what labels and range indexes say of it.

use super::error::Error;
use super::measure::{Measure, Measured};
use super::range_index::{Listed, ListedKind, Part, Place, StoredExtent, listing_digest};
use super::shown::show_path;
use super::survey::Survey;
use crate::extract::Metadata;
use crate::image::digest::{DiffId, Digest};
use crate::image::label::{Mode, Name, Record};
use crate::image::{Image, Layer};
use crate::layer::content::DataOffset;
use crate::rootfs::join;
use crate::rootfs::lookup::{Planned, Tree, TreeKind};

/// What is known of the artifact `name`, which `planned` is, in one piece: record, listing, extents.
pub fn part(
    name: Name,
    planned: &Planned,
    image: &Image,
    survey: &Survey<Measure>,
    measure: &Measure,
) -> Result<Part, Error> {
    let Some(chain) = image.chain_id() else { return Err(Error::NoDiffIds) };
    let real_path = absolute(&planned.real_path)?;
    let path = absolute(&planned.path)?;
    let real = Some(real_path).filter(|real| *real != path);
    let mut listing = Listing { survey, top: &planned.real_path, entries: Vec::new() };
    listing.add(&[], &planned.tree)?;
    let entries = listing.entries;
    let mode = Mode(planned.tree.metadata.mode & 0o7777);
    let record = match (&planned.tree.kind, entries.as_slice()) {
        (
            TreeKind::File(content),
            [Listed { kind: ListedKind::File { digest, .. }, place: Some(Place { layer, offset }), .. }],
        ) => {
            let (digest, layer) = (digest.clone(), layer.clone());
            Record::File { path, real, size: content.size, mode, digest, layer, offset: *offset, chain }
        }
        (TreeKind::Directory(_), entries) => Record::Directory {
            path,
            real,
            size: planned.tree.size(),
            mode,
            digest: listing_digest(entries),
            layers: layers_of(image, entries),
            chain,
        },
        _ => return Err(unlabelable(path, "is neither a file nor a directory")),
    };
    let mut extents = Vec::new();
    for layer in &image.layers {
        let (Some(diff_id), Some(blob)) = (&layer.diff_id, layer.digest()) else { continue };
        for extent in measure.extents(planned.pattern, layer.index) {
            let holds = |entry: &Listed| holds(entry, diff_id, &extent.uncompressed);
            if entries.iter().any(holds) {
                extents.push(StoredExtent::new(diff_id.clone(), blob.clone(), &extent));
            }
        }
    }
    Ok(Part { name, record, entries, extents })
}

/// Whether the stretch `uncompressed` of the layer's tar holds the content of `entry`.
fn holds(entry: &Listed, layer: &DiffId, uncompressed: &std::ops::Range<u64>) -> bool {
    let (ListedKind::File { size, .. }, Some(place)) = (&entry.kind, &entry.place) else { return false };
    let end = place.offset.checked_add(*size);
    *size > 0
        && place.layer == *layer
        && place.offset >= uncompressed.start
        && end.is_some_and(|end| end <= uncompressed.end)
}

/// The layers that hold parts of a directory, bottom first.
fn layers_of(image: &Image, entries: &[Listed]) -> Vec<DiffId> {
    let is_used = |diff_id: &DiffId| {
        entries.iter().any(|entry| entry.place.as_ref().is_some_and(|place| place.layer == *diff_id))
    };
    let mut layers: Vec<DiffId> = image.layers.iter().filter_map(|layer| layer.diff_id.clone()).collect();
    layers.retain(is_used);
    layers.dedup();
    layers
}

struct Listing<'a> {
    survey: &'a Survey<Measure>,
    /// The artifact's own path.
    top: &'a [u8],
    entries: Vec<Listed>,
}

impl Listing<'_> {
    /// Lists what is at `path` below the artifact, and then what is in it, names in byte order.
    fn add(&mut self, path: &[u8], tree: &Tree) -> Result<(), Error> {
        let shown = if path.is_empty() { self.top.to_vec() } else { join(self.top, path) };
        let Metadata { mode, mtime, .. } = tree.metadata;
        let mut place = None;
        let kind = match &tree.kind {
            TreeKind::Special(_) => return Ok(()),
            TreeKind::Directory(_) => ListedKind::Directory,
            TreeKind::Symlink(target) => ListedKind::Symlink { target: utf8(target, &shown)? },
            TreeKind::File(content) => {
                let (digest, layer) = self.measured(tree, content.data, &shown)?;
                place = Some(Place { layer, offset: content.data.0 });
                ListedKind::File { size: content.size, digest }
            }
        };
        let path_text = utf8(path, &shown)?;
        self.entries.push(Listed { path: path_text, kind, mode: Mode(mode & 0o7777), mtime: mtime.0, place });
        if let TreeKind::Directory(children) = &tree.kind {
            for (name, child) in children {
                self.add(&join(path, name), child)?;
            }
        }
        Ok(())
    }

    fn measured(&self, tree: &Tree, data: DataOffset, path: &[u8]) -> Result<(Digest, DiffId), Error> {
        let layer: Option<&Layer> = tree.layer.and_then(|depth| self.survey.layer(depth));
        let measured: Option<&Measured> = tree.layer.and_then(|depth| self.survey.content(depth, data));
        match (measured, layer.and_then(|layer| layer.diff_id.clone())) {
            (Some(Measured { sparse: true, .. }), _) => Err(unlabelable(show_path(path), "is stored with holes")),
            (Some(measured), Some(diff_id)) => Ok((measured.digest.clone(), diff_id)),
            (_, None) => Err(Error::NoDiffIds),
            (None, _) => Err(Error::Bug(format!("the content of {} did not come", show_path(path)))),
        }
    }
}

fn unlabelable(what: String, why: &str) -> Error {
    Error::Unlabelable { what, problem: format!("{why}, and cannot be labelled") }
}

/// The absolute path of what was named `path`. Its symlinks and `..` stay: what they lead to can change in an image built from
/// this one.
fn absolute(path: &[u8]) -> Result<String, Error> {
    let text = utf8(path, path)?;
    let names = text.split('/').filter(|name| !matches!(*name, "" | "."));
    Ok(format!("/{}", names.collect::<Vec<_>>().join("/")))
}

fn utf8(text: &[u8], path: &[u8]) -> Result<String, Error> {
    let text = std::str::from_utf8(text);
    text.map(str::to_owned).map_err(|_| unlabelable(show_path(path), "is not named in UTF-8"))
}
