//! The ways to know the layers of a survey: by their tables, where the image carries them and they are of use, and else by reading them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::Survey;
use crate::artifact::blocking::blocking;
use crate::artifact::collect::{Collect, File, NamedLayer, Reading, Turn, lost};
use crate::artifact::error::Error;
use crate::artifact::layers::Vouched;
use crate::artifact::second_look::{Missed, SecondLook};
use crate::artifact::told::{Fetching, NotTold, Opened, Origin};
use crate::extract::Stamp;
use crate::image::Layer;
use crate::rootfs::lookup::Planned;
use crate::rootfs::{Candidates, Depth};
use crate::source::SourceError;

impl<C: Collect> Survey<C> {
    /// Opens the layer at this depth, or its table.
    pub(super) async fn open(&self, depth: Depth) -> Result<(Opened, NamedLayer), Error> {
        let named = self.named(depth)?;
        Ok((self.open_layer(&named).await?, named))
    }

    async fn open_layer(&self, named: &NamedLayer) -> Result<Opened, Error> {
        loop {
            match self.origins.open(&self.source, named).await {
                Ok(Some(told)) => return Ok(Opened::Told(told)),
                Ok(None) => return Ok(Opened::Blob(self.source.layer(&named.layer).await?)),
                Err((origin, why)) => self.disbelieve(named, origin, why)?,
            }
        }
    }

    /// Takes in a layer below those known so far, by its table where it is told by one.
    pub(super) async fn know(
        &self,
        opened: Opened,
        layer: NamedLayer,
        candidates: Candidates,
    ) -> Result<Reading<C::Kept>, Error> {
        let mut opened = opened;
        loop {
            let told = match opened {
                Opened::Blob(blob) => return self.read(blob, layer, candidates, Turn::Own(None)).await,
                Opened::Told(told) => told,
            };
            let (collecting, passing) = self.beginning(candidates.clone(), Turn::Own(None));
            let (name, origin) = (layer.name.clone(), told.origin);
            let taken_in = blocking(move || {
                let passing = passing().map_err(|refused| lost(&name, &refused))?;
                Ok(collecting.take_in(told, &name, passing))
            });
            match taken_in.await? {
                Ok(reading) => return Ok(reading),
                Err(why) => self.disbelieve(&layer, Some(origin), why)?,
            }
            opened = self.open_layer(&layer).await?;
        }
    }

    /// Does not believe the table of `layer` from this origin any more, nor, where the place gives no parts of blobs, any table that
    /// is there; fails with what would go wrong without them, too.
    fn disbelieve(&self, layer: &NamedLayer, origin: Option<Origin>, why: NotTold) -> Result<(), Error> {
        let name = &layer.name;
        match (why, origin) {
            (NotTold::Unusable(unusable), Some(origin)) => {
                self.origins.doubt(&layer.layer, origin, true);
                self.progress
                    .notice(&format!("{name}: cannot use its {origin} ({unusable}); reading the layer instead"));
                Ok(())
            }
            // As where there is no table.
            (NotTold::Silent, Some(origin)) => {
                self.origins.doubt(&layer.layer, origin, false);
                Ok(())
            }
            // What there is, this machine knows all the same.
            (NotTold::NoParts(error), Some(Origin::Cached)) => {
                self.origins.doubt(&layer.layer, Origin::Cached, false);
                self.progress.notice(&format!("{name} cannot be read in parts ({error}); reading the layer instead"));
                Ok(())
            }
            (NotTold::NoParts(error), _) => {
                if self.origins.give_none() {
                    let notice = format!("cannot use tables of contents ({error}); reading whole layers instead");
                    self.progress.notice(&notice);
                }
                Ok(())
            }
            (NotTold::Unusable(_) | NotTold::Silent, None) => Err(Error::Bug(format!("{name} has no table"))),
            (NotTold::Failed(error), _) => Err(error),
        }
    }

    /// Why one of the tables did not tell what it was asked, and which.
    pub(super) fn trouble(&self) -> Option<(Depth, NotTold)> {
        let told = self.told.iter().enumerate();
        let mut troubles = told.filter_map(|(depth, told)| Some((Depth(depth), told.as_ref()?.take_trouble()?)));
        troubles.next()
    }

    /// What went wrong where a question that comes when all is known ended in `error`. A table that has told all else and does not tell
    /// that is damaged.
    pub(super) fn explained(&self, error: Error) -> Error {
        match self.trouble() {
            None | Some((_, NotTold::Silent)) => error,
            Some((_, NotTold::NoParts(error) | NotTold::Failed(error))) => error,
            Some((depth, NotTold::Unusable(unusable))) => {
                let what = self.describe(depth).unwrap_or_default();
                let told = self.layer(depth).zip(self.told.get(depth.0).and_then(Option::as_ref));
                told.inspect(|(layer, told)| self.origins.doubt(layer, told.origin, true));
                SourceError::Protocol { what, problem: format!("its table of contents cannot be used: {unusable}") }
                    .into()
            }
        }
    }

    /// Reads again what of the contents of `planned` had passed by, as a link pointed to it, and what tables tell of. Where that cannot
    /// be had, it says why.
    pub(super) async fn read_again(&mut self, planned: &[Planned]) -> Result<ControlFlow<(Depth, NotTold)>, Error> {
        let mut by_layer: BTreeMap<Depth, Missed> = BTreeMap::new();
        for thing in planned {
            thing.tree.files(&mut |depth, content, metadata| {
                if self.content(depth, content.data).is_none() {
                    let file = File { content, stamp: Stamp { mode: metadata.mode, mtime: metadata.mtime } };
                    let missed = by_layer.entry(depth).or_default().entry(content.data);
                    missed.or_insert_with(|| (file, Vec::new())).1.push(thing.pattern);
                }
            });
        }
        for (depth, missed) in by_layer {
            if let Some(Some(told)) = self.told.get(depth.0) {
                let (layer, told) = (self.named(depth)?, told.clone());
                let fetching = Fetching { source: &*self.source, layer, told, collector: &self.collector };
                match fetching.fetch(missed).await? {
                    ControlFlow::Break(doubt) => return Ok(ControlFlow::Break((depth, doubt))),
                    ControlFlow::Continue(contents) => {
                        self.contents.extend(contents.into_iter().map(|(data, kept)| ((depth, data), kept)));
                    }
                }
                continue;
            }
            let look = SecondLook {
                source: &*self.source,
                layer: self.named(depth)?,
                noted: self.noted.get(depth.0).cloned().flatten(),
                is_compared: self.vouched.get(depth.0) == Some(&Vouched::ByDigest),
                collector: &self.collector,
                verify: self.verify,
                progress: &*self.progress,
            };
            let contents = look.read(missed).await?;
            self.contents.extend(contents.into_iter().map(|(data, kept)| ((depth, data), kept)));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Forgets all that is known, as the table of the layer at this depth does not tell, or what it tells of cannot be had; fails with
    /// what would go wrong without it, too.
    pub(super) fn begin_again(&mut self, depth: Depth, why: NotTold) -> Result<(), Error> {
        let (layer, told) = (self.named(depth)?, self.told.get(depth.0).cloned().flatten());
        self.disbelieve(&layer, told.map(|told| told.origin), why)?;
        self.collector.forget();
        self.candidates = Candidates::new(Arc::clone(&self.lookup.patterns), self.lookup.follow);
        self.known.clear();
        self.contents.clear();
        self.vouched.clear();
        self.told.clear();
        self.noted.clear();
        self.opened.clear();
        self.ahead = None;
        Ok(())
    }

    /// Whether `layer` is to be known by a table.
    pub(super) fn is_told(&self, layer: &Layer) -> bool {
        self.origins.is_told(&*self.source, layer)
    }
}
