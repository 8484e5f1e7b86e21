//! What is wanted of a layer that is told by a table, fetched by range.

use std::collections::{HashMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::asking::{NotTold, SIDE_BY_SIDE, part_of};
use super::opened::{By, Origin, Told};
use super::own::Own;
use super::pieces::{Each, Stretch, stretches};
use super::{runs, spans};
use crate::artifact::blocking::blocking;
use crate::artifact::collect::{Collect, NamedLayer};
use crate::artifact::error::Error;
use crate::artifact::second_look::{Missed, gives_no_parts};
use crate::layer::content::DataOffset;
use crate::layer::{Compression, LayerError};
use crate::source::{BlobReader, Source, SourceError};
use crate::table::{Contents, Unusable, WholeTable, soci};

/// How many runs of contents have their windows in memory at a time.
const BATCH: usize = 4 * SIDE_BY_SIDE;

/// A part of a layer that comes in one request, and what is wanted of it.
enum Part {
    Pieces(Stretch),
    Spans(soci::Stretch),
}

impl Part {
    /// The bytes of the blob that are to be asked for; `None` where none are.
    fn range(&self) -> Option<Range<u64>> {
        match self {
            Part::Pieces(stretch) => stretch.range(),
            Part::Spans(stretch) => Some(stretch.compressed.clone()),
        }
    }

    /// Hands each content, with its length, to `each`. What is handed on is good only where this does not fail.
    fn read(self, compression: Compression, bytes: BlobReader, name: &str, each: &mut Each<'_>) -> Result<(), Error> {
        match self {
            Part::Pieces(stretch) => stretch.read(compression, bytes, name, each),
            Part::Spans(stretch) => spans::read(stretch, bytes, name, each),
        }
    }
}

/// What is wanted of a layer that is told by a table.
pub(in crate::artifact) struct Fetching<'a, C> {
    /// Where the layer is.
    pub(in crate::artifact) source: &'a dyn Source,
    pub(in crate::artifact) layer: NamedLayer,
    pub(in crate::artifact) told: Told,
    /// What the contents go to.
    pub(in crate::artifact) collector: &'a Arc<C>,
}

/// What came of what was wanted: all of it, or why the layer has to be read.
pub(in crate::artifact) type Fetched<K> = ControlFlow<NotTold, HashMap<DataOffset, K>>;

/// The same error, with what to try where content is not what a table says that the image's digest covers.
fn hinting(error: Error) -> Error {
    match error {
        Error::Source(SourceError::Mismatch { what, expected, actual }) => {
            let actual = format!("{actual} (--no-index reads the layer, and no table)");
            SourceError::Mismatch { what, expected, actual }.into()
        }
        error => error,
    }
}

impl<C: Collect> Fetching<'_, C> {
    /// Fetches what was `missed`.
    pub(in crate::artifact) async fn fetch(self, missed: Missed) -> Result<Fetched<C::Kept>, Error> {
        let fetched = match &self.told.by {
            By::Whole(table) => self.by_whole(table, missed).await,
            By::Own(own) => self.by_own(own, missed).await,
        };
        match fetched {
            Ok(contents) => Ok(ControlFlow::Continue(contents)),
            Err(NotTold::Failed(error)) => match self.doubt(error) {
                NotTold::Failed(error) => Err(error),
                doubt => Ok(ControlFlow::Break(doubt)),
            },
            Err(doubt) => Ok(ControlFlow::Break(doubt)),
        }
    }

    /// What `error` says of the table. What does not verify is the image's fault where its digest covers the table, and otherwise the
    /// table's.
    fn doubt(&self, error: Error) -> NotTold {
        let is_wrong = match &error {
            Error::Source(SourceError::Mismatch { .. }) => true,
            Error::Layer { error, .. } => !matches!(error, LayerError::Io(_)),
            _ => false,
        };
        match self.told.origin {
            _ if gives_no_parts(&error) => NotTold::NoParts(error),
            Origin::Cached | Origin::Attached if is_wrong => NotTold::Unusable(Unusable::new(error.to_string())),
            _ => NotTold::Failed(hinting(error)),
        }
    }

    async fn by_whole(
        &self,
        table: &Arc<dyn WholeTable>,
        missed: Missed,
    ) -> Result<HashMap<DataOffset, C::Kept>, NotTold> {
        let (table, wanted) = (Arc::clone(table), missed.keys().copied().collect::<HashSet<_>>());
        let located = blocking(move || {
            // It was read before.
            table.contents(&wanted).map_err(|unusable| Error::Bug(format!("a table has changed: {unusable}")))
        });
        let mut stretches: Vec<Part> = match located.await.map_err(NotTold::Failed)? {
            Contents::Pieces(pieces) => {
                let stretches = stretches(pieces);
                self.check(stretches.iter().filter_map(Stretch::range).map(|range| range.end - range.start))?;
                stretches.into_iter().map(Part::Pieces).collect()
            }
            // No two have one in common.
            Contents::Spans(spans) => spans.into_iter().map(Part::Spans).collect(),
        };
        let missed = Arc::new(missed);
        let mut contents = HashMap::new();
        while !stretches.is_empty() {
            let next = stretches.drain(..stretches.len().min(SIDE_BY_SIDE)).collect();
            contents.extend(self.collect_all(next, &missed).await?);
        }
        Ok(contents)
    }

    async fn by_own(&self, own: &Arc<Own>, missed: Missed) -> Result<HashMap<DataOffset, C::Kept>, NotTold> {
        let (empty, full): (Vec<_>, Vec<_>) =
            missed.values().map(|(file, _)| file.content).partition(|content| content.size == 0);
        let mut runs = runs::runs(own.located(&full)?);
        self.check(runs.iter().map(runs::Run::length))?;
        let missed = Arc::new(missed);
        let empty = Part::Pieces(runs::empty(empty.into_iter().map(|content| content.data)));
        let mut contents = self.collect_all(vec![empty], &missed).await?;
        while !runs.is_empty() {
            let (own, batch): (_, Vec<_>) = (Arc::clone(own), runs.drain(..runs.len().min(BATCH)).collect());
            let stretches = blocking(move || Ok(runs::stretches(&own, &batch, C::TRACKS)));
            let mut stretches = stretches.await.map_err(NotTold::Failed)??;
            while !stretches.is_empty() {
                let next = stretches.drain(..stretches.len().min(SIDE_BY_SIDE)).map(Part::Pieces).collect();
                contents.extend(self.collect_all(next, &missed).await?);
            }
        }
        Ok(contents)
    }

    /// Checks that no more bytes are to be asked for than the layer has.
    fn check(&self, asked: impl Iterator<Item = u64>) -> Result<(), NotTold> {
        if asked.fold(0, u64::saturating_add) <= self.layer.layer.size() {
            return Ok(());
        }
        Err(NotTold::Unusable(Unusable::new("it tells of contents that lie over one another")))
    }

    async fn collect_all(
        &self,
        stretches: Vec<Part>,
        missed: &Arc<Missed>,
    ) -> Result<HashMap<DataOffset, C::Kept>, NotTold> {
        let collected = try_join_all(stretches.into_iter().map(|stretch| self.collect(stretch, missed))).await;
        Ok(collected.map_err(NotTold::Failed)?.into_iter().flatten().collect())
    }

    async fn collect(&self, stretch: Part, missed: &Arc<Missed>) -> Result<HashMap<DataOffset, C::Kept>, Error> {
        let part: BlobReader = match stretch.range() {
            None => Box::new(std::io::empty()),
            Some(range) => part_of(self.source, &self.layer.layer, range).await?,
        };
        let (collector, compression) = (Arc::clone(self.collector), self.told.compression());
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
