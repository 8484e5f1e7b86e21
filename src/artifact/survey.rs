//! Reading layers from the top, until they have decided what was asked for.
//!
//! A [`Survey`] keeps each read layer's index, and collects the content of every entry that could belong to what was asked for
//! while it passes by, so that in the ordinary case each layer is read once. Small layers are requested side by side.
//! What is done with content is the [`Collect`]or's: `get` stages it, `label` measures it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::{join_all, try_join_all};

use super::error::Error;
use super::layers::{self, Verify, Vouched};
use super::place;
use crate::extract::StageError;
use crate::image::digest::Digest;
use crate::image::{Image, Layer};
use crate::layer::entry::{Entry, Kind};
use crate::layer::{Content, Flow};
use crate::rootfs::walk::{Found, resolve};
use crate::rootfs::{Candidates, DataOffset, Depth, Inserted, LayerIndex, NodeKind, Pattern, View, split};
use crate::source::{LayerBlob, Source};

/// Layers that may turn out not to matter are requested side by side only up to this many bytes in all.
const SPECULATIVE_BYTES: u64 = 8 << 20;

/// So many names may be looked up in all, one for each layer asked, to find out where links lead while layers are being read, and
/// so many more for each entry that has passed by. What is not looked out for then is read in a second reading.
const LOOKED_UP: i64 = 1 << 20;
const LOOKED_UP_PER_ENTRY: i64 = 64;

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
    /// How much is read for the sake of the layers' digests.
    pub verify: Verify,
}

/// What becomes of the content of wanted files as it passes by.
pub trait Collect: Send + Sync + 'static {
    /// What is kept of a file.
    type Kept: Clone + Send + Sync + 'static;

    /// Whether layers are to be read so that [`Content::extent`] tells where in the blob an entry is, which is slower.
    const TRACKS: bool;

    /// Takes in the content of `entry`, which the patterns at these positions want.
    fn collect(
        &self,
        layer: &Layer,
        patterns: &[usize],
        entry: &Entry,
        data: &mut dyn Content,
    ) -> Result<Self::Kept, StageError>;
}

/// What has been read so far. Layers are counted from the top, as in a [`View`].
pub struct Survey<C: Collect> {
    source: Arc<dyn Source>,
    /// The layers to look at, from the top.
    layers: Vec<Layer>,
    /// How many layers the image has.
    layers_of_image: usize,
    collector: Arc<C>,
    wanted: Arc<Wanted>,
    /// What to look out for, links that have passed by included.
    candidates: Candidates,
    /// Whether each match of a glob is to have a base name of its own.
    apart: bool,
    indexes: Vec<Arc<LayerIndex>>,
    contents: HashMap<(Depth, DataOffset), C::Kept>,
    keeps_xattrs: bool,
    /// What is left of [`LOOKED_UP`].
    look_ups: Arc<AtomicI64>,
    notices: Vec<String>,
    /// What vouches for each layer of `indexes`.
    vouched: Vec<Vouched>,
}

/// What one reading of one layer gave.
struct Reading<K> {
    index: LayerIndex,
    candidates: Candidates,
    contents: HashMap<DataOffset, K>,
    vouched: Vouched,
}

impl<C: Collect> Survey<C> {
    /// A survey that has read nothing yet.
    pub fn new(source: Arc<dyn Source>, image: Arc<Image>, collector: Arc<C>, wanted: Arc<Wanted>) -> Self {
        Survey {
            source,
            layers: image.layers.iter().rev().cloned().collect(),
            layers_of_image: image.layers.len(),
            collector,
            candidates: Candidates::new(&wanted.patterns, wanted.follow),
            wanted,
            apart: false,
            indexes: Vec::new(),
            contents: HashMap::new(),
            keeps_xattrs: false,
            look_ups: Arc::new(AtomicI64::new(LOOKED_UP)),
            notices: Vec::new(),
            vouched: Vec::new(),
        }
    }

    /// The same, with extended attributes kept or not. Nobody wants them as a rule, and they may be large.
    pub fn keeping_xattrs(self, keep: bool) -> Self {
        Survey { keeps_xattrs: keep, ..self }
    }

    /// What a person should know about what was found. One line each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Adds to the notices.
    pub fn note(&mut self, notices: impl IntoIterator<Item = String>) {
        self.notices.extend(notices);
    }

    /// The survey of the layer with this blob digest, as though the image had no other.
    pub fn only_in(mut self, blob: &Digest) -> Self {
        self.layers.retain(|layer| layer.digest() == Some(blob));
        self
    }

    /// The survey of the layer at this position (from the bottom), as though the image had no other.
    pub fn alone(mut self, index: usize) -> Self {
        self.layers.retain(|layer| layer.index == index);
        self
    }

    /// The survey of the image as it was when the layer at this position (from the bottom) was made.
    pub fn up_to(mut self, index: usize) -> Self {
        self.layers.retain(|layer| layer.index <= index);
        self
    }

    /// The survey that fails as soon as two matches of globs have one base name, as both are to be written under it.
    pub fn with_names_apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// The layers read so far, as one tree.
    pub fn view(&self) -> View<'_> {
        View::new(self.indexes.iter().map(Arc::as_ref).collect(), self.is_over())
    }

    /// Whether there is no layer left to read.
    pub fn is_over(&self) -> bool {
        self.indexes.len() == self.layers.len()
    }

    /// The layer at this depth.
    pub fn layer(&self, depth: Depth) -> Option<&Layer> {
        self.layers.get(depth.0)
    }

    /// The layer at this depth, as messages name it.
    pub fn describe(&self, depth: Depth) -> Option<String> {
        Some(describe(self.layer(depth)?, self.layers_of_image))
    }

    /// What was kept of a file, where it has passed by.
    pub fn content(&self, layer: Depth, data: DataOffset) -> Option<&C::Kept> {
        self.contents.get(&(layer, data))
    }

    /// What vouches for all that was read; [`Vouched::ByDigest`] where nothing was.
    pub fn vouched(&self) -> Vouched {
        self.vouched.iter().copied().max().unwrap_or(Vouched::ByDigest)
    }

    /// The layers that no digest was compared with.
    pub fn not_compared(&self) -> impl Iterator<Item = &Layer> {
        let vouched = self.layers.iter().zip(&self.vouched);
        vouched.filter(|(_, vouched)| **vouched != Vouched::ByDigest).map(|(layer, _)| layer)
    }

    /// Reads the next layers down. Several small ones are requested together and read one after the other, as one may say
    /// what to look out for in the next; where `independent`, as many as go side by side are read at the same time.
    pub async fn read_further(&mut self, independent: bool) -> Result<(), Error> {
        let first = self.indexes.len();
        let mut bytes = 0_u64;
        let next = self.layers.iter().skip(first).enumerate();
        let count = next
            .take_while(|(count, layer)| {
                bytes = bytes.saturating_add(layer.size());
                let small = bytes <= SPECULATIVE_BYTES && *count < SMALL_SIDE_BY_SIDE;
                *count == 0 || small || (independent && *count < SIDE_BY_SIDE)
            })
            .count();
        let opened = join_all((first..first + count).map(|depth| self.open(Depth(depth)))).await;
        if independent {
            let opened = opened.into_iter().collect::<Result<Vec<_>, _>>()?;
            let readings = opened.into_iter().map(|(blob, layer)| self.read(blob, layer, self.candidates.clone()));
            for reading in try_join_all(readings).await? {
                self.candidates.absorb(reading.candidates);
                self.add(reading.index, reading.contents, reading.vouched);
            }
            return Ok(());
        }
        for opened in opened {
            // One that cannot be had is no fault where the layers above it decide.
            let (blob, layer) = opened?;
            let candidates = std::mem::take(&mut self.candidates);
            let reading = self.read(blob, layer, candidates).await?;
            self.candidates = reading.candidates;
            self.add(reading.index, reading.contents, reading.vouched);
            if self.is_decided() {
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, index: LayerIndex, contents: HashMap<DataOffset, C::Kept>, vouched: Vouched) {
        let depth = Depth(self.indexes.len());
        self.indexes.push(Arc::new(index));
        self.vouched.push(vouched);
        self.contents.extend(contents.into_iter().map(|(data, kept)| ((depth, data), kept)));
    }

    /// Whether no layer below can change what the patterns come to.
    fn is_decided(&self) -> bool {
        let view = self.view();
        self.wanted.patterns.iter().all(|pattern| pattern.beginning(&view, self.wanted.follow).is_none())
    }

    /// Reads again those layers that hold `missing` contents: a link pointed to something that had passed by.
    pub async fn read_again(&mut self, missing: Missing) -> Result<(), Error> {
        let mut by_layer: BTreeMap<Depth, BTreeMap<DataOffset, Vec<usize>>> = BTreeMap::new();
        for ((depth, data), patterns) in missing {
            by_layer.entry(depth).or_default().insert(data, patterns);
        }
        for (depth, missing) in by_layer {
            let (blob, layer) = self.open(depth).await?;
            let (collector, verify) = (Arc::clone(&self.collector), self.wanted.verify);
            let contents = blocking(move || collect_again(&*collector, blob, &layer, missing, verify)).await?;
            self.contents.extend(contents.into_iter().map(|(data, kept)| ((depth, data), kept)));
        }
        Ok(())
    }

    async fn read(
        &self,
        blob: LayerBlob,
        layer: NamedLayer,
        candidates: Candidates,
    ) -> Result<Reading<C::Kept>, Error> {
        let pass = Pass {
            above: self.indexes.clone(),
            wanted: Arc::clone(&self.wanted),
            collector: Arc::clone(&self.collector),
            layer,
            index: LayerIndex::keeping_xattrs(self.keeps_xattrs),
            contents: HashMap::new(),
            candidates,
            apart: self.apart,
            look_ups: Arc::clone(&self.look_ups),
        };
        blocking(move || pass.run(blob)).await
    }

    async fn open(&self, depth: Depth) -> Result<(LayerBlob, NamedLayer), Error> {
        let (Some(layer), Some(name)) = (self.layer(depth), self.describe(depth)) else {
            return Err(Error::Bug(format!("there is no layer at depth {}", depth.0)));
        };
        let blob = self.source.layer(layer).await?;
        Ok((blob, NamedLayer { name, layer: layer.clone() }))
    }
}

/// Contents that have passed by uncollected, by layer and offset, with the patterns that want them.
pub type Missing = BTreeMap<(Depth, DataOffset), Vec<usize>>;

/// A layer with the name that messages give it.
struct NamedLayer {
    name: String,
    layer: Layer,
}

/// A layer as messages name it: `layer 3 of 5 (sha256:0123456789ab)`.
pub fn describe(layer: &Layer, layers: usize) -> String {
    let digest = layer.digest().map(|digest| format!(" (sha256:{})", digest.short())).unwrap_or_default();
    format!("layer {} of {layers}{digest}", layer.index + 1)
}

/// One reading of one layer.
struct Pass<C: Collect> {
    /// The indexes of the layers above that had been read when this one was begun.
    above: Vec<Arc<LayerIndex>>,
    wanted: Arc<Wanted>,
    collector: Arc<C>,
    layer: NamedLayer,
    index: LayerIndex,
    contents: HashMap<DataOffset, C::Kept>,
    candidates: Candidates,
    apart: bool,
    /// What is left of [`LOOKED_UP`], for all layers together.
    look_ups: Arc<AtomicI64>,
}

impl<C: Collect> Pass<C> {
    fn run(mut self, blob: LayerBlob) -> Result<Reading<C::Kept>, Error> {
        self.look_out();
        let (name, verify) = (self.layer.name.clone(), self.wanted.verify);
        let vouched = layers::scan(blob, &name, verify, C::TRACKS, &mut |entry, data| self.visit(entry, data))?;
        Ok(Reading { index: self.index, candidates: self.candidates, contents: self.contents, vouched })
    }

    fn visit(&mut self, entry: &Entry, data: &mut dyn Content) -> Result<Flow, Error> {
        let inserted = self.index.insert(entry);
        let inserted =
            inserted.map_err(|refused| Error::in_layer(&self.layer.name, refused.at(entry.header_offset)))?;
        let Inserted::Name(path) = inserted else { return Ok(Flow::Continue) };
        self.look_ups.fetch_add(LOOKED_UP_PER_ENTRY, Ordering::Relaxed);
        match entry.kind {
            Kind::File { .. } => {
                let patterns = self.wanting(&path);
                if !patterns.is_empty() {
                    if self.apart
                        && let Some((first, second)) = self.candidates.namesake(&path)
                    {
                        return Err(place::clash(&first, &second, split(&second).1));
                    }
                    let kept = self.collector.collect(&self.layer.layer, &patterns, entry, data);
                    let kept = kept.map_err(|error| Error::staging(&self.layer.name, error))?;
                    self.contents.insert(DataOffset(entry.data_offset), kept);
                    if self.wanted.verify == Verify::Never && self.is_enough() {
                        return Ok(Flow::Stop);
                    }
                }
            }
            Kind::Symlink(_) | Kind::HardLink(_) => self.note_link(entry, &path),
            _ => {}
        }
        Ok(Flow::Continue)
    }

    /// The positions of the patterns that want the content of the file at the canonical `path`.
    fn wanting(&self, path: &[u8]) -> Vec<usize> {
        let patterns = self.candidates.wanting(path);
        if !patterns.is_empty() && !self.is_hidden(path) {
            return patterns;
        }
        self.candidates.wanting_by_hard_link(path)
    }

    /// Whether the layers above hide what this one has at the canonical `path`.
    fn is_hidden(&self, path: &[u8]) -> bool {
        View::new(self.above.iter().map(Arc::as_ref).collect(), false).hides(path)
    }

    /// Works out anew which entries to look out for, where a link on the way has turned up.
    fn note_link(&mut self, entry: &Entry, path: &[u8]) {
        if self.look_ups.load(Ordering::Relaxed) < 0 {
            return;
        }
        if self.candidates.lead_through(path) {
            self.look_out();
        }
        if self.candidates.concern(path) && !self.is_hidden(path) {
            let view = view(&self.above, &self.index);
            match entry.kind {
                Kind::HardLink(_) => self.candidates.note_hard_link(&view, Depth(self.above.len()), path),
                _ => self.candidates.note_symlink(&view, path),
            }
            self.count(&view);
        }
    }

    /// Works out which entries to look out for.
    fn look_out(&mut self) {
        let view = view(&self.above, &self.index);
        self.candidates.look_out(&view);
        self.count(&view);
    }

    /// Takes what `view` was asked off what may be looked up.
    fn count(&self, view: &View<'_>) {
        let steps = i64::try_from(view.steps()).unwrap_or(i64::MAX);
        self.look_ups.fetch_sub(steps, Ordering::Relaxed);
    }

    /// Whether everything asked for has been staged, or lies above. Only plain files can be known to be whole.
    fn is_enough(&self) -> bool {
        if self.look_ups.load(Ordering::Relaxed) < 0 {
            return false;
        }
        let view = view(&self.above, &self.index);
        let here = Depth(self.above.len());
        let is_enough = self.wanted.patterns.iter().all(|pattern| {
            let Some(path) = pattern.literal() else { return false };
            let Found::Leaf(leaf) = resolve(&view, &path, self.wanted.follow) else { return false };
            match leaf.node.kind {
                NodeKind::File { data, .. } => leaf.layer != here || self.contents.contains_key(&data),
                _ => true,
            }
        });
        self.count(&view);
        is_enough
    }
}

/// What the layers `above` and the one of `index`, as far as it has been read, say.
fn view<'a>(above: &'a [Arc<LayerIndex>], index: &'a LayerIndex) -> View<'a> {
    View::new(above.iter().map(Arc::as_ref).chain([index]).collect(), false)
}

/// Collects the contents at the offsets `missing` of a layer.
fn collect_again<C: Collect>(
    collector: &C,
    blob: LayerBlob,
    layer: &NamedLayer,
    mut missing: BTreeMap<DataOffset, Vec<usize>>,
    verify: Verify,
) -> Result<HashMap<DataOffset, C::Kept>, Error> {
    let mut contents = HashMap::new();
    layers::scan(blob, &layer.name, verify, C::TRACKS, &mut |entry, data| {
        let at = DataOffset(entry.data_offset);
        if let Kind::File { .. } = entry.kind
            && let Some(patterns) = missing.remove(&at)
        {
            let kept = collector.collect(&layer.layer, &patterns, entry, data);
            contents.insert(at, kept.map_err(|error| Error::staging(&layer.name, error))?);
        }
        Ok(if missing.is_empty() && verify == Verify::Never { Flow::Stop } else { Flow::Continue })
    })?;
    Ok(contents)
}

/// Runs work that blocks beside the asynchronous kind.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
