//! Getting an artifact by its label, for as few bytes as there is a way to.
//!
//! With a range index: the extents alone. Without one: the labelled layer, up to the file's end. Either way what comes must have the
//! digest that the record promises; where it has not, the next way is tried, and in the end it is an error. A record that no
//! longer fits the image is [`None`] here, so that the caller looks the path up and still checks the digest.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::error::Error;
use super::range_index::{
    ARTIFACT_TYPE, Listed, ListedKind, NAME_ANNOTATION, Part, RECORD_ANNOTATION, StoredExtent, listing_digest,
};
use super::record::holds;
use super::survey::{blocking, describe};
use crate::extract::{Item, Metadata, Node, Staged, Staging};
use crate::image::digest::{DiffId, Digest};
use crate::image::label::Record;
use crate::image::manifest::Descriptor;
use crate::image::{Image, Layer};
use crate::layer::checkpoint::{Extent, ExtentReader};
use crate::layer::entry::Kind;
use crate::layer::{self, Decompressed, Flow};
use crate::progress::Progress;
use crate::source::{self, Source, SourceError};

/// The deepest path in a directory's listing, in components: a tree is built and taken down level by level.
const MAX_DEPTH: usize = 512;

/// What lists the parts of a range index.
#[derive(Debug, Default)]
pub struct RangeIndex {
    parts: Vec<PartDescriptor>,
}

#[derive(Clone, Debug, Deserialize)]
struct PartDescriptor {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    data: Option<String>,
}

#[derive(Deserialize)]
struct IndexManifest {
    layers: Vec<PartDescriptor>,
    subject: Descriptor,
}

impl RangeIndex {
    /// The range index of the image manifest `subject`; an empty one where there is none, or none that can be read, which a
    /// notice then says: it only makes things faster.
    pub async fn fetch(source: &dyn Source, subject: &Digest, progress: &dyn Progress) -> Self {
        match Self::try_fetch(source, subject).await {
            Ok(index) => index,
            Err(error) => {
                progress.notice(&format!("the range index cannot be read, so whole layers are: {error}"));
                RangeIndex::default()
            }
        }
    }

    async fn try_fetch(source: &dyn Source, subject: &Digest) -> Result<Self, SourceError> {
        let mut parts = Vec::new();
        // The latest comes last in a list kept by tag; of an API's list any may be.
        for entry in source.referrers(subject, ARTIFACT_TYPE).await?.iter().rev().take(4) {
            let raw = source.manifest(Some(&entry.digest)).await?;
            // One that cannot be read, or is about another image, is as good as none.
            if let Ok(manifest) = serde_json::from_slice::<IndexManifest>(&raw.bytes)
                && manifest.subject.digest == subject.as_str()
            {
                parts.extend(manifest.layers);
            }
        }
        Ok(RangeIndex { parts })
    }

    /// The records that the index itself holds, by name.
    pub fn records(&self) -> Vec<(String, Record)> {
        let annotated = self.parts.iter().filter_map(|part| {
            let annotations = part.descriptor.annotations.as_ref()?;
            let record = serde_json::from_str(annotations.get(RECORD_ANNOTATION)?).ok()?;
            Some((annotations.get(NAME_ANNOTATION)?.clone(), record))
        });
        annotated.collect()
    }

    /// The part about exactly this `record`.
    async fn part(&self, source: &dyn Source, record: &Record) -> Result<Option<Part>, Error> {
        let is_about = |part: &&PartDescriptor| {
            let annotation = part.descriptor.annotations.as_ref().and_then(|all| all.get(RECORD_ANNOTATION));
            annotation.and_then(|text| serde_json::from_str(text).ok()).as_ref() == Some(record)
        };
        let Some(listed) = self.parts.iter().find(is_about) else { return Ok(None) };
        let embedded = listed.data.as_ref().and_then(|data| STANDARD.decode(data).ok());
        let embedded = embedded.filter(|bytes| Digest::of(bytes).as_str() == listed.descriptor.digest);
        let bytes = match embedded {
            Some(bytes) => bytes,
            None => source::read_small(source, &listed.descriptor).await?,
        };
        let part = Part::from_bytes(&bytes).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Some(part).filter(|part| part.record == *record))
    }
}

/// What was got by a record.
pub struct Got {
    /// What is to be written.
    pub item: Item,
    /// The layer of a file.
    pub layer: Option<Digest>,
}

/// The way to an image's artifacts.
pub struct ByLabel<'a> {
    /// Where the image is.
    pub source: &'a Arc<dyn Source>,
    /// The image.
    pub image: &'a Image,
    /// Its range index, or an empty one.
    pub index: &'a RangeIndex,
    /// Where content is staged.
    pub staging: &'a Arc<Staging>,
    /// Who is told when a cheaper way does not work.
    pub progress: &'a dyn Progress,
}

impl ByLabel<'_> {
    /// Gets what `record` describes; `None` where the image has no such thing, so that the record is of no use.
    pub async fn get(&self, record: &Record) -> Result<Option<Got>, Error> {
        let part = match self.index.part(&**self.source, record).await {
            Ok(part) => part,
            Err(error) => {
                self.progress.notice(&format!("{}: {error}; reading its layer instead", record.path()));
                None
            }
        };
        if let Some(part) = part {
            match self.by_index(record, &part).await {
                Ok(Some(got)) => return Ok(Some(got)),
                Ok(None) => {}
                Err(error) => {
                    let path = record.path();
                    self.progress.notice(&format!("{path}: its range index is of no use ({error}); reading its layer"));
                }
            }
        }
        match record {
            Record::File { size, digest, layer, offset, mode, .. } => {
                let Some(layer) = self.image.layer_of(layer) else { return Ok(None) };
                let Some((staged, mtime)) = self.read_layer(layer, *offset, *size, digest).await? else {
                    return Ok(None);
                };
                Ok(Some(Got { item: file(staged, mode.0, mtime), layer: Some(layer.digest.clone()) }))
            }
            Record::Directory { .. } => Ok(None),
        }
    }

    /// Reads the extents that `part` gives, where they are of this image's blobs and hold everything.
    async fn by_index(&self, record: &Record, part: &Part) -> Result<Option<Got>, Error> {
        match record {
            Record::File { size, digest, layer, offset, mode, .. } => {
                let mtime = part.entries.first().map_or(0, |entry| entry.mtime);
                let wanted = Wanted { offset: *offset, size: *size, digest: digest.clone() };
                let staged = self.stage(layer, vec![wanted], part).await?;
                let Some(staged) = staged.and_then(|staged| staged.into_values().next()) else { return Ok(None) };
                let layer = self.image.layer_of(layer).map(|layer| layer.digest.clone());
                Ok(Some(Got { item: file(staged, mode.0, (mtime, 0)), layer }))
            }
            Record::Directory { digest, .. } => {
                if listing_digest(&part.entries) != *digest {
                    return Err(Error::Usage("its listing is not the labelled one".to_owned()));
                }
                let mut by_layer: BTreeMap<String, (DiffId, Vec<Wanted>)> = BTreeMap::new();
                for entry in &part.entries {
                    if let (ListedKind::File { size, digest }, Some(place)) = (&entry.kind, &entry.place) {
                        let wanted = Wanted { offset: place.offset, size: *size, digest: digest.clone() };
                        let of_layer = by_layer.entry(place.layer.to_string());
                        of_layer.or_insert_with(|| (place.layer.clone(), Vec::new())).1.push(wanted);
                    }
                }
                let mut contents: BTreeMap<(String, u64, u64), Arc<Staged>> = BTreeMap::new();
                for (name, (layer, wanted)) in by_layer {
                    let Some(staged) = self.stage(&layer, wanted, part).await? else { return Ok(None) };
                    contents.extend(
                        staged.into_iter().map(|((offset, size), staged)| ((name.clone(), offset, size), staged)),
                    );
                }
                Ok(directory(&part.entries, &contents).map(|item| Got { item, layer: None }))
            }
        }
    }

    /// Stages the stretches `wanted` of a layer's tar by the extents of `part`; `None` where they do not hold them all.
    async fn stage(
        &self,
        layer: &DiffId,
        mut wanted: Vec<Wanted>,
        part: &Part,
    ) -> Result<Option<BTreeMap<(u64, u64), Arc<Staged>>>, Error> {
        let Some(layer) = self.image.layer_of(layer) else { return Ok(None) };
        wanted.sort_by_key(|wanted| wanted.offset);
        wanted.dedup_by(|one, other| one.offset == other.offset && one.size == other.size);
        let mut staged = BTreeMap::new();
        for empty in wanted.iter().filter(|wanted| wanted.size == 0) {
            let content = self.staging.stage(&mut io::empty(), 0, false);
            staged.insert((empty.offset, 0), content.map_err(|error| Error::staging("", error))?);
        }
        wanted.retain(|wanted| wanted.size > 0);
        for stored in part.extents.iter().filter(|extent| extent.blob == layer.digest) {
            let extent = stored.extent(layer.size).map_err(|error| Error::Usage(error.to_string()))?;
            let (here, rest): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| wanted.is_in(stored));
            wanted = rest;
            if !here.is_empty() {
                staged.extend(self.read_extent(layer, extent, here).await?);
            }
        }
        Ok(wanted.is_empty().then_some(staged))
    }

    async fn read_extent(
        &self,
        layer: &Layer,
        extent: Extent,
        wanted: Vec<Wanted>,
    ) -> Result<BTreeMap<(u64, u64), Arc<Staged>>, Error> {
        let bytes = self.source.blob_range(&layer.descriptor, extent.compressed.clone()).await?;
        let name = describe(layer, self.image.layers.len());
        let staging = Arc::clone(self.staging);
        blocking(move || {
            let mut reader =
                ExtentReader::new(&extent.checkpoint, bytes).map_err(|error| Error::in_layer(&name, error))?;
            let mut position = extent.uncompressed.start;
            let mut staged = BTreeMap::new();
            for Wanted { offset, size, digest } in wanted {
                let gap = offset.checked_sub(position).ok_or_else(|| overlapping(&name))?;
                let skipped = io::copy(&mut (&mut reader).take(gap), &mut io::sink());
                skipped.map_err(|error| Error::in_layer(&name, error.into()))?;
                let content = staging.stage(&mut reader, size, false);
                let content = content.map_err(|error| Error::staging(&name, error))?;
                if content.digest != digest {
                    return Err(mismatch(&name, &digest, &content.digest));
                }
                position = offset.saturating_add(size);
                staged.insert((offset, size), content);
            }
            Ok(staged)
        })
        .await
    }

    /// Reads a layer up to the end of the file at `offset`; `None` where no file of `size` bytes begins there.
    async fn read_layer(
        &self,
        layer: &Layer,
        offset: u64,
        size: u64,
        digest: &Digest,
    ) -> Result<Option<(Arc<Staged>, (i64, u32))>, Error> {
        let blob = self.source.blob(&layer.descriptor).await?;
        let name = describe(layer, self.image.layers.len());
        let (staging, digest) = (Arc::clone(self.staging), digest.clone());
        blocking(move || {
            let mut found = None;
            let stream = Decompressed::new(blob).map_err(|error| Error::in_layer(&name, error))?;
            layer::scan(stream, &mut |entry, data| {
                if entry.data_offset < offset {
                    return Ok(Flow::Continue);
                }
                if let Kind::File { size: actual, sparse: false } = entry.kind
                    && (entry.data_offset, actual) == (offset, size)
                {
                    found = Some((staging.stage(data, size, false).map_err(InScan::Stage)?, entry.mtime));
                }
                Ok(Flow::Stop)
            })
            .map_err(|error: InScan| error.named(&name))?;
            match found {
                Some((staged, _)) if staged.digest != digest => Err(mismatch(&name, &digest, &staged.digest)),
                found => Ok(found),
            }
        })
        .await
    }
}

/// A stretch of a layer's tar, and what must be there.
struct Wanted {
    offset: u64,
    size: u64,
    digest: Digest,
}

impl Wanted {
    fn is_in(&self, extent: &StoredExtent) -> bool {
        let place = Some(super::range_index::Place { layer: extent.layer.clone(), offset: self.offset });
        let kind = ListedKind::File { size: self.size, digest: self.digest.clone() };
        let mode = crate::image::label::Mode(0);
        let end = extent.uncompressed_offset.saturating_add(extent.uncompressed_size);
        let entry = Listed { path: String::new(), kind, mode, mtime: 0, place };
        holds(&entry, &extent.layer, &(extent.uncompressed_offset..end))
    }
}

/// What can go wrong in [`layer::scan`] here.
enum InScan {
    Layer(layer::LayerError),
    Stage(crate::extract::StageError),
}

impl From<layer::LayerError> for InScan {
    fn from(error: layer::LayerError) -> Self {
        InScan::Layer(error)
    }
}

impl InScan {
    fn named(self, layer: &str) -> Error {
        match self {
            InScan::Layer(error) => Error::in_layer(layer, error),
            InScan::Stage(error) => Error::staging(layer, error),
        }
    }
}

fn overlapping(layer: &str) -> Error {
    Error::Usage(format!("{layer}: the range index has files that overlap"))
}

/// A file in `layer` that is not what its record promises.
pub fn mismatch(layer: &str, expected: &Digest, actual: &Digest) -> Error {
    Error::Source(SourceError::Mismatch {
        what: format!("the labelled file in {layer}"),
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

fn file(staged: Arc<Staged>, mode: u32, mtime: (i64, u32)) -> Item {
    Item { metadata: Metadata { mode, mtime, ..Metadata::default() }, node: Node::File(staged) }
}

/// The tree that a listing describes; `None` where it describes none.
fn directory(entries: &[Listed], contents: &BTreeMap<(String, u64, u64), Arc<Staged>>) -> Option<Item> {
    let mut top: Option<Item> = None;
    for entry in entries {
        let node = match &entry.kind {
            ListedKind::Directory => Node::Directory(BTreeMap::new()),
            ListedKind::Symlink { target } => Node::Symlink(target.clone().into_bytes()),
            ListedKind::File { size, .. } => {
                let place = entry.place.as_ref()?;
                Node::File(Arc::clone(contents.get(&(place.layer.to_string(), place.offset, *size))?))
            }
        };
        let metadata = Metadata { mode: entry.mode.0, mtime: (entry.mtime, 0), ..Metadata::default() };
        let item = Item { metadata, node };
        if entry.path.is_empty() {
            top = Some(item);
            continue;
        }
        if entry.path.split('/').count() > MAX_DEPTH {
            return None;
        }
        // Parents come before what is in them.
        let mut parent = top.as_mut()?;
        let (directories, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        for component in directories.split('/').filter(|component| !component.is_empty()) {
            let Node::Directory(children) = &mut parent.node else { return None };
            parent = children.get_mut(component.as_bytes())?;
        }
        let Node::Directory(children) = &mut parent.node else { return None };
        children.insert(name.as_bytes().to_vec(), item);
    }
    top.filter(|item| matches!(item.node, Node::Directory(_)))
}
