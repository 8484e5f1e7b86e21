//! The ways to know the layers of a survey: by their tables, where the image carries them and they are of use, and else by reading them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Survey;
use crate::artifact::blocking::blocking;
use crate::artifact::collect::{Collect, File, NamedLayer, Reading, Turn, lost};
use crate::artifact::error::Error;
use crate::artifact::layers::Vouched;
use crate::artifact::second_look::{Missed, SecondLook};
use crate::artifact::told::{self, Fetching, NotTold, Opened};
use crate::extract::Stamp;
use crate::image::Layer;
use crate::rootfs::lookup::Planned;
use crate::rootfs::{Candidates, Depth};
use crate::table::Unusable;

impl<C: Collect> Survey<C> {
    /// Opens the layer at this depth, or gets its table.
    pub(super) async fn open(&self, depth: Depth) -> Result<(Opened, NamedLayer), Error> {
        let named = self.named(depth)?;
        if self.is_told(&named.layer) {
            match told::table(&*self.source, &named).await {
                Ok(table) => return Ok((Opened::Told(table), named)),
                Err(NotTold::Unusable(unusable)) => self.tell_unusable(&named, &unusable),
                Err(NotTold::NoParts(error)) => self.disbelieve(&error),
                Err(NotTold::Failed(error)) => return Err(error),
            }
        }
        Ok((Opened::Blob(self.source.layer(&named.layer).await?), named))
    }

    /// Takes in a layer below those known so far, by its table where it is told by one.
    pub(super) async fn know(
        &self,
        opened: Opened,
        layer: NamedLayer,
        candidates: Candidates,
    ) -> Result<Reading<C::Kept>, Error> {
        let blob = match opened {
            Opened::Blob(blob) => blob,
            Opened::Told(table) => {
                let (collecting, passing) = self.beginning(candidates.clone(), Turn::Own(None));
                let name = layer.name.clone();
                let taken_in = blocking(move || {
                    let passing = passing().map_err(|refused| lost(&name, &refused))?;
                    collecting.take_in(table, passing)
                });
                match taken_in.await? {
                    Ok(reading) => return Ok(reading),
                    Err(unusable) => self.tell_unusable(&layer, &unusable),
                }
                self.source.layer(&layer.layer).await?
            }
        };
        self.read(blob, layer, candidates, Turn::Own(None)).await
    }

    fn tell_unusable(&self, layer: &NamedLayer, unusable: &Unusable) {
        let name = &layer.name;
        self.progress
            .notice(&format!("{name}: its table of contents is of no use ({unusable}); reading the layer instead"));
    }

    /// Reads again what of the contents of `planned` had passed by, as a link pointed to it, and what tables tell of. Where that cannot
    /// be had, it says why.
    pub(super) async fn read_again(&mut self, planned: &[Planned]) -> Result<ControlFlow<Error>, Error> {
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
            if let Some(Some(table)) = self.tables.get(depth.0) {
                let (layer, table) = (self.named(depth)?, Arc::clone(table));
                let fetching = Fetching { source: &*self.source, layer, table, collector: &self.collector };
                match fetching.fetch(missed).await? {
                    ControlFlow::Break(error) => return Ok(ControlFlow::Break(error)),
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

    /// Forgets all that is known, as contents cannot be had in the way that tables tell.
    pub(super) fn begin_again(&mut self, error: &Error) {
        self.disbelieve(error);
        self.candidates = Candidates::new(Arc::clone(&self.lookup.patterns), self.lookup.follow);
        self.known.clear();
        self.contents.clear();
        self.vouched.clear();
        self.tables.clear();
        self.noted.clear();
        self.opened.clear();
        self.ahead = None;
    }

    /// Reads every layer from now on, as the place gives no parts of them.
    fn disbelieve(&self, error: &Error) {
        if self.believes.swap(false, Ordering::Relaxed) {
            self.progress.notice(&format!("cannot read by tables of contents ({error}); reading whole layers instead"));
        }
    }

    /// Whether `layer` is to be known by a table.
    pub(super) fn is_told(&self, layer: &Layer) -> bool {
        self.believes.load(Ordering::Relaxed) && told::is_told(&*self.source, layer)
    }
}
