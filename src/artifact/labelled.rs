//! Getting an artifact by its label, for as few bytes as there is a way to.
//!
//! With a range index: the extents alone. Without one: the labelled layer, up to the file's end. Either way what comes must have the
//! digest that the record promises; where it has not, the next way is tried, and in the end it is an error. A record that no
//! longer fits the image is [`None`] here, so that the caller looks the path up and still checks the digest.

mod header;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::OnceCell;

use self::header::Tail;
use super::annotated;
use super::blocking::blocking;
use super::error::Error;
use super::index_manifest::{PartDescriptor, attached};
use super::layers::{self, Verify};
use super::listing::{self, Stretch, stretch};
use super::range_index::{InvalidPart, NAME_ANNOTATION, Part, RECORD_ANNOTATION, StoredExtent};
use super::shown::describe;
use crate::extract::{Item, Metadata, Node, Staged, Staging};
use crate::image::digest::{DiffId, Digest};
use crate::image::label::Record;
use crate::image::{Image, Layer};
use crate::layer::checkpoint::{Extent, ExtentReader};
use crate::layer::entry::Kind;
use crate::layer::{Entry, Flow};
use crate::progress::Progress;
use crate::source::{self, Source, SourceError, Store};

/// What lists the parts of a range index.
#[derive(Debug, Default)]
pub struct RangeIndex {
    /// The parts' descriptors.
    pub parts: Vec<PartDescriptor>,
    /// Whether they are those that the image's manifest names, so that its referrers may have others.
    pub is_named: bool,
}

impl RangeIndex {
    /// The range index of `image`; an empty one where there is none, or none that can be read, which a notice then says: it
    /// only makes things faster. Fails where this machine is at fault.
    pub async fn fetch(source: &dyn Source, image: &Image, progress: &dyn Progress) -> Result<Self, Error> {
        let (Some(store), Some(subject)) = (source.store(), &image.digest) else { return Ok(RangeIndex::default()) };
        match attached(store, subject, progress).await {
            Ok(attached) => Ok(Self::of(attached.parts)),
            Err(error) => Self::without(error.into(), progress),
        }
    }

    /// The range index that has these `parts`.
    pub fn of(parts: Vec<PartDescriptor>) -> Self {
        RangeIndex { parts, is_named: false }
    }

    /// The range index of `image` for what has these `records` alone. What the manifest names is enough where it has a part for
    /// each of them; otherwise as [`fetch`](Self::fetch).
    pub async fn fetch_of(
        source: &dyn Source,
        image: &Image,
        records: &[&Record],
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let read = match source.store() {
            Some(store) => annotated::read(store, image).await.map_err(Error::from),
            None => Ok(None),
        };
        match read {
            Ok(Some(parts)) => {
                let listed: HashSet<Record> = parts.iter().filter_map(PartDescriptor::record).collect();
                if records.iter().all(|record| listed.contains(record)) {
                    return Ok(RangeIndex { parts, is_named: true });
                }
            }
            Ok(None) => {}
            Err(error) if error.is_local() => return Err(error),
            // A copy of the image need not have brought it along.
            Err(_) => {}
        }
        Self::fetch(source, image, progress).await
    }

    /// As [`fetch`](Self::fetch), and fails where the network does: then it is not known whether `word` is a name.
    pub async fn fetch_names(
        source: &dyn Source,
        image: &Image,
        word: &str,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let (Some(store), Some(subject)) = (source.store(), &image.digest) else { return Ok(RangeIndex::default()) };
        match attached(store, subject, progress).await {
            Ok(attached) => Ok(Self::of(attached.parts)),
            Err(SourceError::Network { what, problem }) => {
                let problem = format!(
                    "{problem}; cannot tell whether an artifact {word} is attached to the image; to get a path, type a slash: /{word}"
                );
                Err(SourceError::Network { what, problem }.into())
            }
            Err(error) => Self::without(error.into(), progress),
        }
    }

    /// No index, as it cannot be read, unless this machine is at fault.
    fn without(error: Error, progress: &dyn Progress) -> Result<Self, Error> {
        if error.is_local() {
            return Err(error);
        }
        progress.notice(&format!("cannot read the range index ({error}); reading whole layers instead"));
        Ok(RangeIndex::default())
    }

    /// The records that the index itself holds, by name: those of an image with the layers of `image`.
    pub fn records(&self, image: &Image) -> Vec<(String, Record)> {
        let chain = image.chain_id();
        let annotated = self.parts.iter().filter_map(|part| {
            let annotations = part.descriptor.annotations.as_ref()?;
            let record: Record = serde_json::from_str(annotations.get(RECORD_ANNOTATION)?).ok()?;
            Some((annotations.get(NAME_ANNOTATION)?.clone(), record)).filter(|(_, record)| record.is_of(chain.as_ref()))
        });
        annotated.collect()
    }

    /// The descriptor of the part about exactly this `record`.
    fn listed(&self, record: &Record) -> Option<&PartDescriptor> {
        self.parts.iter().find(|part| part.record().as_ref() == Some(record))
    }

    /// The part about exactly this `record`.
    pub async fn part(&self, source: &dyn Store, record: &Record) -> Result<Option<Part>, Error> {
        let Some(listed) = self.listed(record) else { return Ok(None) };
        let embedded = listed.data.as_ref().and_then(|data| STANDARD.decode(data).ok());
        let embedded = embedded.filter(|bytes| {
            let size = i64::try_from(bytes.len()).ok();
            Digest::of(bytes).as_str() == listed.descriptor.digest && size == Some(listed.descriptor.size)
        });
        let bytes = match embedded {
            Some(bytes) => bytes,
            None => source::read_small(source, &listed.descriptor).await?,
        };
        Ok(Some(Part::from_bytes(&bytes)?).filter(|part| part.record == *record))
    }
}

/// Contents that were found right, by where they are and what they must be.
type Contents = HashMap<Stretch, Arc<Staged>>;

/// A content out of an extent, with what the tar says of its file, where that was looked for.
type Held = (Stretch, Arc<Staged>, Option<Entry>);

/// What was got by a record.
pub struct Got {
    /// What is to be written.
    pub item: Item,
    /// The layer of a file.
    pub layer: Option<Digest>,
    /// What the layer's tar says of a file, where that was read with it; covered by no digest.
    pub entry: Option<Entry>,
}

/// The way to an image's artifacts.
pub struct ByLabel<'a> {
    /// Where the image is.
    pub source: &'a Arc<dyn Source>,
    /// The image.
    pub image: &'a Image,
    /// Its range index, or an empty one.
    pub index: &'a RangeIndex,
    /// What its referrers have, asked for once where what its manifest names does not serve.
    pub attached: OnceCell<RangeIndex>,
    /// Where content is staged.
    pub staging: &'a Arc<Staging>,
    /// Who is told when a cheaper way does not work.
    pub progress: &'a dyn Progress,
}

impl ByLabel<'_> {
    /// Gets what `record` describes by the range index, or by reading its layer; `None` where the image has no such thing, so that the
    /// record is of no use.
    pub async fn get(&self, record: &Record) -> Result<Option<Got>, Error> {
        match self.indexed(record).await? {
            Some(got) => Ok(Some(got)),
            None => self.read(record).await,
        }
    }

    /// Gets what `record` describes by the range index; `None` where that does not serve.
    pub async fn indexed(&self, record: &Record) -> Result<Option<Got>, Error> {
        match self.by_index(record).await {
            Err(error) if !error.is_local() => {
                let layers = if matches!(record, Record::File { .. }) { "layer" } else { "layers" };
                self.progress.notice(&format!("{}: {error}; reading its {layers} instead", record.path()));
                Ok(None)
            }
            got => got,
        }
    }

    /// Gets the file that `record` describes by reading its layer; `None` where the layer has no such file.
    pub async fn read(&self, record: &Record) -> Result<Option<Got>, Error> {
        match record {
            Record::File { size, digest, layer, offset, mode, .. } => {
                let Some(layer) = self.image.layer_of(layer) else { return Ok(None) };
                let Some((staged, entry)) = self.read_layer(layer, *offset, *size, digest).await? else {
                    return Ok(None);
                };
                let metadata = Metadata { mode: mode.0, mtime: entry.mtime, ..Metadata::default() };
                let item = Item { metadata, node: Node::File(staged) };
                Ok(Some(Got { item, layer: layer.digest().cloned(), entry: Some(entry) }))
            }
            Record::Directory { .. } => Ok(None),
        }
    }

    /// Reads what the part about `record` gives: the one that the manifest names, and, where that does not serve, another one that
    /// is attached.
    async fn by_index(&self, record: &Record) -> Result<Option<Got>, Error> {
        let got = self.by_part(self.index, record).await;
        match &got {
            Ok(Some(_)) => return got,
            Err(error) if error.is_local() => return got,
            _ if !self.index.is_named => return got,
            _ => {}
        }
        // The layers may have been compressed anew since, and indexed again.
        let fetch = || RangeIndex::fetch(&**self.source, self.image, self.progress);
        let attached = self.attached.get_or_try_init(fetch).await?;
        match (self.index.listed(record), attached.listed(record)) {
            (_, None) => got,
            (Some(one), Some(other)) if one.is_same(other) => got,
            _ => self.by_part(attached, record).await,
        }
    }

    /// Reads the extents that `index` gives, where it has a part about `record` and they hold everything.
    async fn by_part(&self, index: &RangeIndex, record: &Record) -> Result<Option<Got>, Error> {
        let Some(store) = self.source.store() else { return Ok(None) };
        let Some(part) = index.part(store, record).await? else { return Ok(None) };
        listing::check(record, &part.entries)?;
        let Some((contents, entry)) = self.stage(store, &part).await? else { return Ok(None) };
        let layer = match record {
            Record::File { layer, .. } => self.image.layer_of(layer).and_then(|layer| layer.digest().cloned()),
            Record::Directory { .. } => None,
        };
        Ok(listing::tree(&part.entries, &contents).map(|item| Got { item, layer, entry }))
    }

    /// Stages the contents of all files that `part` lists; `None` where its extents are not this image's, or not enough. Where that is
    /// one file, what the tar says of it comes with them.
    async fn stage(&self, store: &dyn Store, part: &Part) -> Result<Option<(Contents, Option<Entry>)>, Error> {
        let mut by_layer: HashMap<DiffId, BTreeMap<u64, Stretch>> = HashMap::new();
        let (mut staged, mut told) = (Contents::new(), None);
        for stretch in part.entries.iter().filter_map(stretch) {
            if stretch.size == 0 {
                let content = self.staging.stage(&mut io::empty(), 0);
                let content = content.map_err(|error| Error::staging("", error))?;
                staged.insert(stretch.clone(), checked("the image", &stretch.digest, content)?);
            } else {
                by_layer.entry(stretch.layer.clone()).or_default().insert(stretch.offset, stretch);
            }
        }
        for layer in &self.image.layers {
            let Some(wanted) = layer.diff_id.as_ref().and_then(|diff_id| by_layer.remove(diff_id)) else { continue };
            let Some(contents) = self.stage_layer(store, layer, wanted, &part.extents).await? else { return Ok(None) };
            for (stretch, content, entry) in contents {
                staged.insert(stretch, content);
                told = entry;
            }
        }
        Ok(by_layer.is_empty().then_some((staged, told)))
    }

    /// Stages the stretches `wanted` of one layer's tar, by their offsets, out of those of `extents` that are of its blob.
    async fn stage_layer(
        &self,
        store: &dyn Store,
        layer: &Layer,
        mut wanted: BTreeMap<u64, Stretch>,
        extents: &[StoredExtent],
    ) -> Result<Option<Vec<Held>>, Error> {
        // Where no two overlap, those that an extent holds come one after the other.
        if wanted.values().zip(wanted.values().skip(1)).any(|(one, next)| one.end() > next.offset) {
            return Err(InvalidPart::new("it has files that overlap").into());
        }
        let (mut staged, mut compressed_bytes) = (Vec::new(), 0_u64);
        let of_layer = |extent: &&StoredExtent| {
            layer.digest() == Some(&extent.blob)
                && layer.diff_id.as_ref().is_some_and(|diff_id| extent.layer == *diff_id)
        };
        for stored in extents.iter().filter(of_layer) {
            let begin = stored.uncompressed_offset;
            let end = begin.saturating_add(stored.uncompressed_size);
            let held = wanted.range(begin..).take_while(|(_, stretch)| stretch.end() <= end);
            let held: Vec<u64> = held.map(|(offset, _)| *offset).collect();
            let held: Vec<Stretch> = held.iter().filter_map(|offset| wanted.remove(offset)).collect();
            if held.is_empty() {
                continue;
            }
            // Honest extents do not overlap. Others could have a layer fetched once for each file in it.
            compressed_bytes = compressed_bytes.saturating_add(stored.compressed_size);
            if compressed_bytes > layer.size() {
                return Err(InvalidPart::new("its extents are longer than the layer that they are of").into());
            }
            staged.extend(self.read_extent(store, layer, stored.extent(layer.size())?, held).await?);
        }
        Ok(wanted.is_empty().then_some(staged))
    }

    /// Stages the stretches `wanted`, in their order, out of one extent.
    async fn read_extent(
        &self,
        store: &dyn Store,
        layer: &Layer,
        extent: Extent,
        wanted: Vec<Stretch>,
    ) -> Result<Vec<Held>, Error> {
        let name = describe(layer, self.image.layers.len());
        let descriptor = layer.blob.descriptor.as_ref();
        let descriptor = descriptor.ok_or_else(|| Error::Bug(format!("{name} has no descriptor")))?;
        let bytes = store.blob_range(descriptor, extent.compressed.clone()).await?;
        let staging = Arc::clone(self.staging);
        blocking(move || {
            let mut reader =
                ExtentReader::new(&extent.checkpoint, bytes).map_err(|error| Error::in_layer(&name, error))?;
            let mut position = extent.uncompressed.start;
            let is_alone = wanted.len() == 1;
            let mut staged = Vec::with_capacity(wanted.len());
            for stretch in wanted {
                let (mut before, mut tail) = ((&mut reader).take(stretch.offset - position), Tail::default());
                let skipped = match is_alone {
                    true => io::copy(&mut before, &mut tail),
                    false => io::copy(&mut before, &mut io::sink()),
                };
                skipped.map_err(|error| Error::in_layer(&name, error.into()))?;
                let content = staging.stage(&mut reader, stretch.size);
                let content = checked(&name, &stretch.digest, content.map_err(|error| Error::staging(&name, error))?)?;
                position = stretch.end();
                staged.push((stretch, content, tail.entry()));
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
    ) -> Result<Option<(Arc<Staged>, Entry)>, Error> {
        let blob = self.source.layer(layer).await?;
        let name = describe(layer, self.image.layers.len());
        let (staging, digest) = (Arc::clone(self.staging), digest.clone());
        blocking(move || {
            let mut found = None;
            // The file has a digest of its own.
            layers::scan(blob, &name, Verify::Never, false, &mut |entry, data| {
                if entry.data_offset < offset {
                    return Ok(Flow::Continue);
                }
                if let Kind::File { size: actual, sparse: false } = entry.kind
                    && (entry.data_offset, actual) == (offset, size)
                {
                    let staged = staging.stage(data, size).map_err(|error| Error::staging(&name, error))?;
                    found = Some((staged, entry.clone()));
                }
                Ok(Flow::Stop)
            })?;
            match found {
                Some((staged, entry)) => Ok(Some((checked(&name, &digest, staged)?, entry))),
                None => Ok(None),
            }
        })
        .await
    }
}

/// `content` of `layer`, if it has the digest that it should have.
fn checked(layer: &str, expected: &Digest, content: Arc<Staged>) -> Result<Arc<Staged>, Error> {
    match &content.digest {
        Some(digest) if digest == expected => Ok(content),
        digest => Err(mismatch(layer, expected, digest.as_ref().map_or("a file without one", Digest::as_str))),
    }
}

/// A file in `layer` that is not what its record promises; `actual` is its digest, or what there is instead.
pub fn mismatch(layer: &str, expected: &Digest, actual: &str) -> Error {
    Error::Source(SourceError::Mismatch {
        what: format!("the labelled file in {layer}"),
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}
