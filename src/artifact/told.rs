//! Layers that are known by a table that the image carries, and not by being read: the table is fetched and taken in as the layer would be,
//! and the content of what is wanted comes by range, piece by piece, each compared with its digest.

mod pieces;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::future::try_join_all;

use self::pieces::{Stretch, stretches};
use super::blocking::blocking;
use super::collect::{Collect, Collecting, NamedLayer, Reading};
use super::error::Error;
use super::layers::Vouched;
use super::place;
use super::second_look::{Missed, gives_no_parts};
use crate::image::Layer;
use crate::layer::content::DataOffset;
use crate::rootfs::lookup::Passing;
use crate::rootfs::{KnownLayer, split};
use crate::source::{BlobReader, LayerBlob, Source, SourceError};
use crate::table::{Format, Next, Offer, Unusable, WholeTable};

/// A layer of fewer bytes, as stored, is read: asking for its table would take as long.
const WORTHWHILE: u64 = 64 << 10;

/// How many parts of a layer are asked for at a time. It is waiting for the answer that takes long.
const SIDE_BY_SIDE: usize = 4;

/// A way to know a layer, opened.
pub(super) enum Opened {
    /// To be read.
    Blob(LayerBlob),
    /// Told by its table.
    Told(Arc<dyn WholeTable>),
}

/// Why a layer is not told by a table.
#[derive(Debug)]
pub(super) enum NotTold {
    /// Its table is of no use.
    Unusable(Unusable),
    /// The place gives no parts of blobs, and so no table of any layer.
    NoParts(Error),
    /// What went wrong goes wrong for the layer, too.
    Failed(Error),
}

impl NotTold {
    fn because(error: Error) -> Self {
        if gives_no_parts(&error) { NotTold::NoParts(error) } else { NotTold::Failed(error) }
    }
}

/// Whether the image carries a table of `layer`, in a place that may give parts of blobs, and it is worth asking for it.
pub(super) fn is_told(source: &dyn Source, layer: &Layer) -> bool {
    layer.size() >= WORTHWHILE && source.store().is_some() && Format::of(layer).is_some()
}

/// The table of `layer`, which [is told](is_told) by one.
pub(super) async fn table(source: &dyn Source, layer: &NamedLayer) -> Result<Arc<dyn WholeTable>, NotTold> {
    let missing = || NotTold::Failed(Error::Bug(format!("{} has no table", layer.name)));
    let (store, descriptor) = source.store().zip(layer.layer.blob.descriptor.as_ref()).ok_or_else(missing)?;
    let offer = Offer::of(&layer.layer).ok_or_else(missing)?.map_err(NotTold::Unusable)?;
    let (mut range, mut behind) = (offer.first(), Vec::new());
    loop {
        let part = store.blob_range(descriptor, range.clone()).await;
        let part = part.map_err(|error| NotTold::because(error.into()))?;
        let bytes = blocking(move || read(part, &behind)).await.map_err(NotTold::because)?;
        match offer.next(range.start, bytes).map_err(NotTold::Unusable)? {
            Next::Table(table) => return Ok(Arc::new(table)),
            Next::Read(before, bytes) => (range, behind) = (before, bytes),
        }
    }
}

/// What `part` has, and `behind` it.
fn read(mut part: BlobReader, behind: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    part.read_to_end(&mut bytes).map_err(SourceError::from)?;
    bytes.extend_from_slice(behind);
    Ok(bytes)
}

impl<C: Collect> Collecting<C> {
    /// Takes in a layer by its table; or says why the table is of no use.
    pub(super) fn take_in(
        &self,
        table: Arc<dyn WholeTable>,
        mut passing: Passing,
    ) -> Result<Result<Reading<C::Kept>, Unusable>, Error> {
        let mut clash = None;
        let told = table.entries(&mut |entry| {
            // What the layer itself would be refused for is told better by the layer.
            let wanting = passing.take(entry).map_err(|refused| Unusable::new(refused.to_string()))?;
            if let Some(wanting) = wanting.filter(|wanting| self.apart && !wanting.patterns.is_empty())
                && let Some((first, second)) = passing.namesake(&wanting.path)
            {
                clash.get_or_insert_with(|| place::clash(&first, &second, split(&second).1));
            }
            Ok(())
        });
        Ok(match (told, clash) {
            (Err(unusable), _) => Err(unusable),
            (Ok(()), Some(clash)) => return Err(clash),
            (Ok(()), None) => {
                let (known, candidates) = passing.finish();
                Ok(Reading {
                    layer: KnownLayer::new(known),
                    candidates,
                    contents: HashMap::new(),
                    vouched: Vouched::ByTable,
                    noted: None,
                    table: Some(table),
                    is_cut: false,
                })
            }
        })
    }
}

/// What is wanted of a layer that is told by a table.
pub(super) struct Fetching<'a, C> {
    /// Where the layer is.
    pub(super) source: &'a dyn Source,
    pub(super) layer: NamedLayer,
    pub(super) table: Arc<dyn WholeTable>,
    /// What the contents go to.
    pub(super) collector: &'a Arc<C>,
}

/// What came of what was wanted: all of it, or why the layer has to be read.
pub(super) type Fetched<K> = ControlFlow<Error, HashMap<DataOffset, K>>;

impl<C: Collect> Fetching<'_, C> {
    /// Fetches what was `missed`.
    pub(super) async fn fetch(self, missed: Missed) -> Result<Fetched<C::Kept>, Error> {
        let (table, wanted) = (Arc::clone(&self.table), missed.keys().copied().collect::<HashSet<_>>());
        let located = blocking(move || {
            // It was read before.
            table.contents(&wanted).map_err(|unusable| Error::Bug(format!("a table has changed: {unusable}")))
        });
        let mut stretches = stretches(located.await?);
        let asked = stretches.iter().filter_map(Stretch::range).map(|range| range.end - range.start);
        if asked.fold(0, u64::saturating_add) > self.layer.layer.size() {
            let problem = "its table tells of contents that lie over one another".to_owned();
            return Ok(ControlFlow::Break(SourceError::Protocol { what: self.layer.name, problem }.into()));
        }
        let missed = Arc::new(missed);
        let mut contents = HashMap::new();
        while !stretches.is_empty() {
            let next = stretches.drain(..stretches.len().min(SIDE_BY_SIDE));
            match try_join_all(next.map(|stretch| self.collect(stretch, &missed))).await {
                Ok(collected) => contents.extend(collected.into_iter().flatten()),
                Err(error) if gives_no_parts(&error) => return Ok(ControlFlow::Break(error)),
                Err(error) => return Err(error),
            }
        }
        Ok(ControlFlow::Continue(contents))
    }

    async fn collect(&self, stretch: Stretch, missed: &Arc<Missed>) -> Result<HashMap<DataOffset, C::Kept>, Error> {
        let missing = || Error::Bug(format!("{} has no descriptor", self.layer.name));
        let (store, descriptor) =
            self.source.store().zip(self.layer.layer.blob.descriptor.as_ref()).ok_or_else(missing)?;
        let part: BlobReader = match stretch.range() {
            None => Box::new(std::io::empty()),
            Some(range) => store.blob_range(descriptor, range).await?,
        };
        let (collector, compression) = (Arc::clone(self.collector), self.table.compression());
        let (missed, NamedLayer { name, layer }) = (Arc::clone(missed), self.layer.clone());
        blocking(move || {
            let mut contents = HashMap::new();
            stretch.read(compression, part, &name, &mut |data, size, content| {
                let Some((file, patterns)) = missed.get(&data) else { return Ok(()) };
                if file.content.size != size {
                    return Err(Error::Bug(format!("a file of {name} has changed its length")));
                }
                let kept = collector.collect(&layer, patterns, *file, content);
                contents.insert(data, kept.map_err(|error| Error::staging(&name, error))?);
                Ok(())
            })?;
            Ok(contents)
        })
        .await
    }
}
