//! Reading layers from the top, until they have decided what was asked for.
//!
//! A [`Survey`] keeps each read layer's index, and stages the content of every entry that could belong to what was asked for
//! while it passes by, so that in the ordinary case each layer is read once. Small layers are read side by side.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::error::Error;
use crate::extract::{Staged, Staging};
use crate::image::{Image, Layer};
use crate::layer::entry::{Entry, Kind};
use crate::layer::{self, Flow, LayerError};
use crate::rootfs::walk::{Found, resolve};
use crate::rootfs::{Candidates, DataOffset, Inserted, LayerIndex, NodeKind, Pattern, View};
use crate::source::{BlobReader, Source};

/// Layers that may turn out not to matter are read side by side only up to this many bytes in all.
const SPECULATIVE_BYTES: u64 = 8 << 20;

/// How many layers are read side by side at most, as `docker pull` does with three; small ones cost mostly latency.
const SIDE_BY_SIDE: usize = 3;
const SMALL_SIDE_BY_SIDE: usize = 8;

/// What is asked of the layers.
#[derive(Debug)]
pub struct Wanted {
    /// The paths and globs.
    pub patterns: Vec<Pattern>,
    /// Whether a symlink that a path names is followed.
    pub follow: bool,
    /// Whether each layer is read to its end, so that its digest is checked.
    pub verify: bool,
}

/// What has been read so far. Layers are counted from the top, as in a [`View`].
pub struct Survey {
    source: Arc<dyn Source>,
    image: Arc<Image>,
    staging: Arc<Staging>,
    wanted: Arc<Wanted>,
    indexes: Vec<Arc<LayerIndex>>,
    contents: HashMap<(usize, DataOffset), Arc<Staged>>,
}

/// What one reading of one layer gave.
struct Reading {
    index: LayerIndex,
    contents: HashMap<DataOffset, Arc<Staged>>,
}

impl Survey {
    /// A survey that has read nothing yet.
    pub fn new(source: Arc<dyn Source>, image: Arc<Image>, staging: Arc<Staging>, wanted: Arc<Wanted>) -> Self {
        Survey { source, image, staging, wanted, indexes: Vec::new(), contents: HashMap::new() }
    }

    /// The layers read so far, as one tree.
    pub fn view(&self) -> View<'_> {
        let whole = self.indexes.len() == self.image.layers.len();
        View::new(self.indexes.iter().map(Arc::as_ref).collect(), whole)
    }

    /// The layer at this position from the top.
    pub fn layer(&self, depth: usize) -> Option<&Layer> {
        self.image.layers.iter().rev().nth(depth)
    }

    /// The staged content of a file, where it has passed by.
    pub fn content(&self, layer: usize, data: DataOffset) -> Option<&Arc<Staged>> {
        self.contents.get(&(layer, data))
    }

    /// Reads the next layers down: one, or several small ones, or, where `all_matter`, as many as go side by side.
    pub async fn read_further(&mut self, all_matter: bool) -> Result<(), Error> {
        let first = self.indexes.len();
        let mut bytes = 0_u64;
        let next = self.image.layers.iter().rev().skip(first).enumerate();
        let count = next
            .take_while(|(count, layer)| {
                bytes = bytes.saturating_add(layer.size);
                let small = bytes <= SPECULATIVE_BYTES && *count < SMALL_SIDE_BY_SIDE;
                *count == 0 || small || (all_matter && *count < SIDE_BY_SIDE)
            })
            .count();
        let readings = try_join_all((first..first + count).map(|depth| self.read(depth))).await?;
        for (depth, reading) in (first..).zip(readings) {
            self.indexes.push(Arc::new(reading.index));
            self.contents.extend(reading.contents.into_iter().map(|(data, staged)| ((depth, data), staged)));
        }
        Ok(())
    }

    /// Reads again those layers that hold `missing` contents: a link pointed to something that had passed by.
    pub async fn read_again(&mut self, missing: BTreeSet<(usize, DataOffset)>) -> Result<(), Error> {
        let mut by_layer: BTreeMap<usize, BTreeSet<DataOffset>> = BTreeMap::new();
        for (depth, data) in missing {
            by_layer.entry(depth).or_default().insert(data);
        }
        for (depth, missing) in by_layer {
            let (blob, layer) = self.open(depth).await?;
            let (staging, verify) = (Arc::clone(&self.staging), self.wanted.verify);
            let contents = blocking(move || stage_again(blob, &layer, missing, &staging, verify)).await?;
            self.contents.extend(contents.into_iter().map(|(data, staged)| ((depth, data), staged)));
        }
        Ok(())
    }

    async fn read(&self, depth: usize) -> Result<Reading, Error> {
        let (blob, layer) = self.open(depth).await?;
        let pass = Pass {
            above: self.indexes.clone(),
            wanted: Arc::clone(&self.wanted),
            staging: Arc::clone(&self.staging),
            layer,
            index: LayerIndex::default(),
            contents: HashMap::new(),
            candidates: Vec::new(),
        };
        blocking(move || pass.run(blob)).await
    }

    async fn open(&self, depth: usize) -> Result<(BlobReader, String), Error> {
        let layers = self.image.layers.len();
        let layer = self.layer(depth).ok_or_else(|| Error::Usage(format!("the image has only {layers} layers")))?;
        let name = describe(layer, layers);
        Ok((self.source.blob(&layer.descriptor).await?, name))
    }
}

/// A layer as messages name it: `layer 3 of 5 (sha256:0123456789ab)`.
pub fn describe(layer: &Layer, layers: usize) -> String {
    format!("layer {} of {layers} (sha256:{})", layer.index + 1, layer.digest.short())
}

/// One reading of one layer.
struct Pass {
    /// The indexes of the layers above that had been read when this one was begun.
    above: Vec<Arc<LayerIndex>>,
    wanted: Arc<Wanted>,
    staging: Arc<Staging>,
    layer: String,
    index: LayerIndex,
    contents: HashMap<DataOffset, Arc<Staged>>,
    candidates: Vec<Candidates>,
}

impl Pass {
    fn run(mut self, blob: BlobReader) -> Result<Reading, Error> {
        self.look_out();
        let layer = self.layer.clone();
        layer::scan(blob, &mut |entry, data| self.visit(entry, data).map_err(InLayer)).map_err(|e| e.named(&layer))?;
        Ok(Reading { index: self.index, contents: self.contents })
    }

    fn visit(&mut self, entry: &Entry, data: &mut dyn std::io::Read) -> Result<Flow, Error> {
        let inserted = self.index.insert(entry).map_err(|error| {
            let problem = error.to_string();
            Error::in_layer(&self.layer, LayerError::Malformed { offset: entry.header_offset, problem })
        })?;
        let Inserted::Name(path) = inserted else { return Ok(Flow::Continue) };
        match entry.kind {
            Kind::File { size, sparse } => {
                let wanted = self.candidates.iter().any(|candidates| candidates.contain(&path));
                if wanted && !self.view_above().hides(&path) {
                    let staged = self.staging.stage(data, size, sparse);
                    let staged = staged.map_err(|error| Error::staging(&self.layer, error))?;
                    self.contents.insert(DataOffset(entry.data_offset), staged);
                    if !self.wanted.verify && self.is_enough() {
                        return Ok(Flow::Stop);
                    }
                }
            }
            Kind::Symlink(_) | Kind::HardLink(_)
                if self.candidates.iter().any(|candidates| candidates.lead_through(&path)) =>
            {
                self.look_out();
            }
            _ => {}
        }
        Ok(Flow::Continue)
    }

    fn view_above(&self) -> View<'_> {
        View::new(self.above.iter().map(Arc::as_ref).collect(), false)
    }

    /// What the layers above and this one, as far as it has been read, say.
    fn view(&self) -> View<'_> {
        View::new(self.above.iter().map(Arc::as_ref).chain([&self.index]).collect(), false)
    }

    /// Works out anew which entries to look out for, as a link on the way has turned up.
    fn look_out(&mut self) {
        let view = self.view();
        let patterns = self.wanted.patterns.iter();
        let candidates = patterns.filter_map(|pattern| pattern.candidates(&view, self.wanted.follow)).collect();
        self.candidates = candidates;
    }

    /// Whether everything asked for has been staged, or lies above. Only plain files can be known to be whole.
    fn is_enough(&self) -> bool {
        let view = self.view();
        let here = self.above.len();
        self.wanted.patterns.iter().all(|pattern| {
            let Some(path) = pattern.literal() else { return false };
            let Found::Leaf(leaf) = resolve(&view, &path, self.wanted.follow) else { return false };
            match leaf.node.kind {
                NodeKind::File { data, .. } => leaf.layer != here || self.contents.contains_key(&data),
                _ => true,
            }
        })
    }
}

/// Stages the contents at the offsets `missing` of a layer.
fn stage_again(
    blob: BlobReader,
    layer: &str,
    mut missing: BTreeSet<DataOffset>,
    staging: &Staging,
    verify: bool,
) -> Result<HashMap<DataOffset, Arc<Staged>>, Error> {
    let mut contents = HashMap::new();
    let visit = &mut |entry: &Entry, data: &mut dyn std::io::Read| {
        let at = DataOffset(entry.data_offset);
        if let Kind::File { size, sparse } = entry.kind
            && missing.remove(&at)
        {
            let staged = staging.stage(data, size, sparse).map_err(|error| InLayer(Error::staging(layer, error)))?;
            contents.insert(at, staged);
        }
        Ok(if missing.is_empty() && !verify { Flow::Stop } else { Flow::Continue })
    };
    layer::scan(blob, visit).map_err(|error: InLayer| error.named(layer))?;
    Ok(contents)
}

/// An [`Error`] on its way through [`layer::scan`], whose own errors do not know which layer they are of.
struct InLayer(Error);

impl From<LayerError> for InLayer {
    fn from(error: LayerError) -> Self {
        InLayer(Error::in_layer("", error))
    }
}

impl InLayer {
    fn named(self, name: &str) -> Error {
        match self.0 {
            Error::Layer { error, .. } => Error::Layer { layer: name.to_owned(), error },
            error => error,
        }
    }
}

/// Runs work that blocks beside the asynchronous kind.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
