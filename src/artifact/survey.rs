//! Reading layers from the top, until they have decided what was asked for.
//!
//! A [`Survey`] drives a [`Lookup`]: it opens and reads the layers that are to be read next, small ones side by side, and collects
//! the content of every entry that could belong to what was asked for while it passes by, so that in the ordinary case each layer
//! is read once. What is done with content is the [`Collect`]or's: `get` stages it, `label` measures it. Where a large layer keeps
//! only the decoder busy, the next one is read beside it ([`Pace`]). A layer that the image carries a table for is told by that.

mod knowing;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::absent::{self, Context};
use super::again::{self, Noted};
use super::blocking::{blocking, joined};
use super::collect::{Collect, Collecting, NamedLayer, Reading, Turn, lost};
use super::error::Error;
use super::layers::{Verify, Vouched};
use super::offers::Offer;
use super::origins::Origins;
use super::pace::Pace;
use super::remember::Remember;
use super::shown::describe;
use super::tables::Tables;
use super::told::{Opened, Told};
use crate::image::digest::Digest;
use crate::image::{Image, Layer, LayerPosition};
use crate::layer::content::DataOffset;
use crate::progress::{Progress, Silent};
use crate::rootfs::lookup::{Allowance, Lookup, Missing, Next, Outcome, Passing, Planned};
use crate::rootfs::{Candidates, Depth, Known, KnownLayer, Refused, View, ask};
use crate::source::{LayerBlob, Source};

/// Layers that may turn out not to matter are requested side by side only up to this many bytes in all.
const SPECULATIVE_BYTES: u64 = 8 << 20;

/// How many layers are read side by side at most, as `docker pull` does with three; small ones cost mostly latency.
const SIDE_BY_SIDE: usize = 3;
const SMALL_SIDE_BY_SIDE: usize = 8;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What is there, in the order of the patterns.
    pub planned: Vec<Planned>,
    /// Why patterns that need not lead to anything do not, by their positions.
    pub failures: BTreeMap<usize, Error>,
    /// What a person should know about what was found. One line each.
    pub notices: Vec<String>,
}

/// What has been read so far.
pub struct Survey<C: Collect> {
    source: Arc<dyn Source>,
    /// The layers to look at, from the top.
    layers: Vec<Layer>,
    /// How many layers the image has.
    layers_of_image: usize,
    collector: Arc<C>,
    lookup: Arc<Lookup>,
    verify: Verify,
    /// What to look out for, links that have passed by included.
    candidates: Candidates,
    /// Whether each match of a glob is to have a base name of its own.
    apart: bool,
    known: Vec<Arc<KnownLayer>>,
    contents: HashMap<(Depth, DataOffset), C::Kept>,
    /// What each layer of `known` was told by, where it was not read.
    told: Vec<Option<Told>>,
    /// The tables that may tell of layers.
    origins: Origins,
    keeps_xattrs: bool,
    /// What the layers that are read are remembered in.
    remember: Option<Arc<Remember>>,
    allowance: Arc<Allowance>,
    /// The next layers, as far as they have been asked for. One that cannot be had is no fault where the layers above it decide.
    opened: VecDeque<Result<(Opened, NamedLayer), Error>>,
    /// The next layers of all, as far as they are being read already, or have been.
    ahead: Option<Ahead<C::Kept>>,
    /// What vouches for each layer of `known`.
    vouched: Vec<Vouched>,
    /// What was noted of each layer of `known` for a second look.
    noted: Vec<Option<Noted>>,
    progress: Arc<dyn Progress>,
}

/// The readings of layers that were begun beside the one above them. Dropping it ends them.
struct Ahead<K> {
    /// Of the uppermost layer first.
    readings: VecDeque<JoinHandle<Result<Reading<K>, Error>>>,
    /// How the one above goes, or went.
    pace: Arc<Pace>,
}

impl<K> Drop for Ahead<K> {
    fn drop(&mut self) {
        self.pace.end();
    }
}

impl<C: Collect> Survey<C> {
    /// A survey that has read nothing yet, of what `lookup` asks for; `verify` says how much is read for the sake of the layers'
    /// digests.
    pub fn new(source: Arc<dyn Source>, image: &Image, collector: Arc<C>, lookup: Lookup, verify: Verify) -> Self {
        Survey {
            source,
            layers: image.layers.iter().rev().cloned().collect(),
            layers_of_image: image.layers.len(),
            collector,
            candidates: Candidates::new(Arc::clone(&lookup.patterns), lookup.follow),
            lookup: Arc::new(lookup),
            verify,
            apart: false,
            known: Vec::new(),
            contents: HashMap::new(),
            told: Vec::new(),
            origins: Origins::new(Tables::default(), false),
            keeps_xattrs: false,
            remember: None,
            allowance: Arc::default(),
            opened: VecDeque::new(),
            ahead: None,
            vouched: Vec::new(),
            noted: Vec::new(),
            progress: Arc::new(Silent),
        }
    }

    /// The same, with extended attributes kept or not. Nobody wants them as a rule, and they may be large.
    pub fn keeping_xattrs(self, keep: bool) -> Self {
        Survey { keeps_xattrs: keep, ..self }
    }

    /// The survey that believes these tables of contents, and reads the layers that none of them tells of.
    pub fn told_by(self, tables: Tables) -> Self {
        let locates = self.lookup.needs_content && !self.lookup.lists;
        let remember = tables.remember.clone();
        Survey { origins: Origins::new(tables, locates), remember, ..self }
    }

    /// The survey that tells what a person should know about the reading to `progress`.
    pub fn telling(self, progress: &Arc<dyn Progress>) -> Self {
        Survey { progress: Arc::clone(progress), ..self }
    }

    /// The survey of the layer with this blob digest, as though the image had no other.
    pub fn only_in(mut self, blob: &Digest) -> Self {
        self.layers.retain(|layer| layer.digest() == Some(blob));
        self
    }

    /// The survey of the layer at this position, as though the image had no other.
    pub fn alone(mut self, position: LayerPosition) -> Self {
        self.layers.retain(|layer| layer.position() == position);
        self
    }

    /// The survey of the image as it was when the layer at this position was made.
    pub fn up_to(mut self, position: LayerPosition) -> Self {
        self.layers.retain(|layer| layer.position() <= position);
        self
    }

    /// The survey that fails as soon as two matches of globs have one base name, as both are to be written under it.
    pub fn with_names_apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Answers a question about the layers read so far, seen as one tree. Only the last answer counts, as with [`ask`].
    pub fn ask<T>(&self, question: impl FnMut(&View<'_>) -> T) -> Result<T, Error> {
        self.try_ask(question).map_err(|error| self.explained(error))
    }

    fn try_ask<T>(&self, question: impl FnMut(&View<'_>) -> T) -> Result<T, Error> {
        ask(&self.known, self.is_over(), question).map_err(|refused| Error::Bug(refused.to_string()))
    }

    /// Shows the layers read so far, as one tree, to somebody who looks only where the lookup has looked: all of that is known.
    pub fn show<T>(&self, see: impl FnOnce(&View<'_>) -> T) -> Result<T, Error> {
        let (mut see, mut seen) = (Some(see), None);
        self.ask(|view| {
            if let Some(see) = see.take() {
                seen = Some(see(view));
            }
        })?;
        seen.ok_or_else(|| Error::Bug("nobody has looked at the layers".to_owned()))
    }

    /// Whether there is no layer left to read.
    pub fn is_over(&self) -> bool {
        self.known.len() == self.layers.len()
    }

    /// The layer at this depth.
    pub fn layer(&self, depth: Depth) -> Option<&Layer> {
        self.layers.get(depth.0)
    }

    /// What told of the layer at this depth, where it was needed.
    pub fn offer(&self, depth: Depth) -> Option<Offer> {
        Some(Offer::of(self.layer(depth)?, self.told.get(depth.0)?.as_ref()))
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
        let not_compared = [Vouched::NotCompared, Vouched::NoDigest];
        vouched.filter(move |(_, vouched)| not_compared.contains(vouched)).map(|(layer, _)| layer)
    }

    /// Reads as many layers as it takes to say what was asked for is in the image that messages call `image`, and what of its content
    /// had passed by.
    pub async fn complete(&mut self, image: &str) -> Result<Found, Error> {
        loop {
            let found = self.outline(image).await?;
            match self.read_again(&found.planned).await? {
                ControlFlow::Continue(()) => return Ok(found),
                ControlFlow::Break((depth, doubt)) => self.begin_again(depth, doubt)?,
            }
        }
    }

    /// Reads as many layers as it takes to say what was asked for is in the image that messages call `image`, whatever has passed by.
    pub async fn outline(&mut self, image: &str) -> Result<Found, Error> {
        loop {
            match self.outlined(image).await {
                Ok(found) => return Ok(found),
                Err(error) => match self.trouble() {
                    Some((depth, doubt)) => self.begin_again(depth, doubt)?,
                    None => return Err(error),
                },
            }
        }
    }

    async fn outlined(&mut self, image: &str) -> Result<Found, Error> {
        loop {
            let next = self.try_ask(|view| self.lookup.next(view))?;
            match next {
                Ok(Next::Done(outcome)) => {
                    self.opened.clear();
                    self.ahead = None;
                    return self.found(image, outcome);
                }
                Ok(Next::Read { .. }) if self.is_over() => {
                    return Err(Error::Bug("all layers are read, and do not tell what was asked for".to_owned()));
                }
                Ok(Next::Read { any_order }) => self.read_further(any_order).await?,
                Err(missing) => return Err(self.error(image, &missing)?),
            }
        }
    }

    fn found(&self, image: &str, outcome: Outcome) -> Result<Found, Error> {
        let failures = outcome.missing.iter().map(|missing| Ok((missing.pattern, self.error(image, missing)?)));
        Ok(Found {
            failures: failures.collect::<Result<_, Error>>()?,
            notices: outcome.left_out.iter().map(absent::left_out).collect(),
            planned: outcome.planned,
        })
    }

    /// What to say of what is `missing`; fails where that cannot be found out.
    fn error(&self, image: &str, missing: &Missing) -> Result<Error, Error> {
        let Some(pattern) = self.lookup.patterns.get(missing.pattern) else {
            return Err(Error::Bug(format!("nothing was asked for at position {}", missing.pattern)));
        };
        let describe = |depth: Depth| {
            let step = self.layer(depth).and_then(|layer| layer.created_by.as_ref());
            let step = step.map(|step| format!(": `{}`", step.trim())).unwrap_or_default();
            self.describe(depth).unwrap_or_default() + &step
        };
        self.try_ask(|view| absent::error(&Context { image, view, describe: &describe }, pattern, missing))
    }

    /// Reads the next layers down: one, or, in `any_order`, as many as go side by side.
    async fn read_further(&mut self, any_order: bool) -> Result<(), Error> {
        if let Some(reading) = self.ahead.as_mut().and_then(|ahead| ahead.readings.pop_front()) {
            let reading = joined(reading.await)?;
            if !reading.is_cut || self.suffices(&reading)? {
                self.absorb(reading);
                return Ok(());
            }
            // Something else is meant, which may lie behind the place where that reading ended.
            self.ahead = None;
        }
        if self.opened.is_empty() {
            self.open_further(any_order).await;
        }
        let count = if any_order { self.opened.len() } else { 1 };
        let mut opened = self.opened.drain(..count).collect::<Result<Vec<_>, _>>()?;
        if opened.len() == 1
            && let Some((opened, layer)) = opened.pop()
        {
            return self.read_next(opened, layer).await;
        }
        let readings = opened.into_iter().map(|(opened, layer)| self.know(opened, layer, self.candidates.clone()));
        for reading in try_join_all(readings).await? {
            self.absorb(reading);
        }
        Ok(())
    }

    /// Whether `reading`, of the next layer, has come so far that nothing else need be read, now that all layers above it are known.
    fn suffices(&self, reading: &Reading<C::Kept>) -> Result<bool, Error> {
        let layers: Vec<_> = self.known.iter().chain([&reading.layer]).cloned().collect();
        let is_kept = |data| reading.contents.contains_key(&data);
        ask(&layers, false, |view| self.lookup.is_enough(view, is_kept))
            .map_err(|refused| Error::Bug(refused.to_string()))
    }

    /// Reads the next layer, and begins with those below it where there is room for that.
    async fn read_next(&mut self, opened: Opened, layer: NamedLayer) -> Result<(), Error> {
        let candidates = std::mem::take(&mut self.candidates);
        let blob = match opened {
            Opened::Blob(blob) if !C::TRACKS && Pace::is_worthwhile(&layer.layer) && self.lookup.is_literal() => blob,
            opened => {
                let reading = self.know(opened, layer, candidates).await?;
                self.replace(reading);
                return Ok(());
            }
        };
        let pace = Arc::new(Pace::default());
        let mut ahead = Ahead { readings: VecDeque::new(), pace: Arc::clone(&pace) };
        let reading = {
            let turn = Turn::Own(Some(Arc::clone(&pace)));
            let mut reading = pin!(self.read(pace.watching(blob), layer, candidates, turn));
            tokio::select! {
                biased;
                reading = &mut reading => reading?,
                () = self.read_ahead(&mut ahead) => reading.await?,
            }
        };
        self.replace(reading);
        if !pace.is_over() {
            self.ahead = Some(ahead);
        }
        Ok(())
    }

    /// Reads the layers below the next one, as soon as there is room, one after another. They know nothing of the links in those above
    /// them that are being read: what those lead to is read afterwards.
    async fn read_ahead(&self, Ahead { readings, pace }: &mut Ahead<C::Kept>) {
        pace.room().await;
        if !self.opened.is_empty() {
            return;
        }
        for depth in self.known.len() + 1..self.layers.len() {
            // A layer that is told by its table takes no time that could be saved.
            if self.layers.get(depth).is_some_and(|layer| self.is_told(layer)) {
                return;
            }
            let Ok((Opened::Blob(blob @ LayerBlob::Stream(..)), layer)) = self.open(Depth(depth)).await else { return };
            let candidates = Candidates::new(Arc::clone(&self.lookup.patterns), self.lookup.follow);
            let work = self.reading(pace.beside(blob), layer, candidates, Turn::Beside(Arc::clone(pace)));
            // It is dropped when the work is done.
            let (at_work, until_done) = oneshot::channel::<()>();
            readings.push_back(tokio::task::spawn_blocking(move || {
                let _at_work = at_work;
                work()
            }));
            let _ = until_done.await;
        }
    }

    /// Takes in the reading of a layer that went on with all that was looked out for.
    fn replace(&mut self, mut reading: Reading<C::Kept>) {
        self.candidates = std::mem::take(&mut reading.candidates);
        self.add(reading);
    }

    /// Takes in one of several readings that went on side by side.
    fn absorb(&mut self, mut reading: Reading<C::Kept>) {
        self.candidates.absorb(std::mem::take(&mut reading.candidates));
        self.add(reading);
    }

    fn add(&mut self, reading: Reading<C::Kept>) {
        let depth = Depth(self.known.len());
        self.known.push(reading.layer);
        self.vouched.push(reading.vouched);
        self.told.push(reading.told);
        self.noted.push(reading.noted);
        again::thin(&self.noted);
        self.contents.extend(reading.contents.into_iter().map(|(data, kept)| ((depth, data), kept)));
    }

    /// Requests the next layer down, with the small ones behind it, and in `any_order` as many as go side by side.
    async fn open_further(&mut self, any_order: bool) {
        let first = self.known.len();
        if let Some(layer) = self.layers.get(first)
            && let Err(error) = self.origins.find(&*self.source, layer).await
        {
            self.opened = [Err(error)].into();
            return;
        }
        let mut bytes = 0_u64;
        let next = self.layers.iter().skip(first).enumerate();
        let count = next
            .take_while(|(count, layer)| {
                // A table costs little, and a layer that turns out not to matter should cost nothing.
                if self.is_told(layer) {
                    return *count == 0 || (any_order && *count < SIDE_BY_SIDE);
                }
                bytes = bytes.saturating_add(layer.size());
                let small = bytes <= SPECULATIVE_BYTES && *count < SMALL_SIDE_BY_SIDE;
                *count == 0 || small || (any_order && *count < SIDE_BY_SIDE)
            })
            .count();
        self.opened = join_all((first..first + count).map(|depth| self.open(Depth(depth)))).await.into();
    }

    async fn read(
        &self,
        blob: LayerBlob,
        layer: NamedLayer,
        candidates: Candidates,
        turn: Turn,
    ) -> Result<Reading<C::Kept>, Error> {
        blocking(self.reading(blob, layer, candidates, turn)).await
    }

    /// The work of reading a layer below those read so far.
    fn reading(
        &self,
        blob: LayerBlob,
        layer: NamedLayer,
        candidates: Candidates,
        turn: Turn,
    ) -> impl FnOnce() -> Result<Reading<C::Kept>, Error> + Send + 'static {
        let (collecting, passing) = self.beginning(candidates, turn);
        move || {
            let passing = passing().map_err(|refused| lost(&layer.name, &refused))?;
            collecting.read(blob, &layer, passing)
        }
    }

    /// What it takes to take in a layer below those known so far.
    fn beginning(
        &self,
        candidates: Candidates,
        turn: Turn,
    ) -> (Collecting<C>, impl FnOnce() -> Result<Passing, Refused> + Send + 'static) {
        let known = Known::keeping_xattrs(self.keeps_xattrs);
        let (lookup, allowance) = (Arc::clone(&self.lookup), Arc::clone(&self.allowance));
        let above = self.known.clone();
        let (collector, verify, apart) = (Arc::clone(&self.collector), self.verify, self.apart);
        let (progress, remember) = (Arc::clone(&self.progress), self.remember.clone());
        let collecting = Collecting { collector, verify, apart, progress, turn, remember };
        (collecting, move || Passing::new(lookup, above, known, candidates, allowance))
    }

    fn named(&self, depth: Depth) -> Result<NamedLayer, Error> {
        let named = self.describe(depth).zip(self.layer(depth).cloned());
        let (name, layer) = named.ok_or_else(|| Error::Bug(format!("there is no layer at depth {}", depth.0)))?;
        Ok(NamedLayer { name, layer })
    }
}

#[cfg(test)]
mod tests;
