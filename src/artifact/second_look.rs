//! What had passed by when a layer was read, until a link led back to it: it is read again, as parts of the layer where the place gives
//! parts, and with the whole layer where not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::again::{Noted, Stretch};
use super::blocking::blocking;
use super::collect::{Collect, File, NamedLayer};
use super::error::Error;
use super::layers::{self, Verify};
use crate::layer::content::{DataOffset, FileContent};
use crate::progress::Progress;
use crate::source::{BlobReader, Source, SourceError};

/// Files whose contents had passed by, with the patterns that want them.
pub type Missed = BTreeMap<DataOffset, (File, Vec<usize>)>;

/// A second look at a layer.
pub struct SecondLook<'a, C> {
    /// Where the layer is.
    pub source: &'a dyn Source,
    /// The layer.
    pub layer: NamedLayer,
    /// What was noted of it in the first reading.
    pub noted: Option<Noted>,
    /// Whether that was compared with its digest.
    pub is_compared: bool,
    /// What the contents go to.
    pub collector: &'a Arc<C>,
    /// How much is read for the sake of the layer's digest, where all of it is.
    pub verify: Verify,
    /// Who is told when all of it is.
    pub progress: &'a dyn Progress,
}

impl<C: Collect> SecondLook<'_, C> {
    /// Reads what was `missed`.
    pub async fn read(self, mut missed: Missed) -> Result<HashMap<DataOffset, C::Kept>, Error> {
        let mut contents = HashMap::new();
        self.parts(&mut missed, &mut contents).await?;
        if !missed.is_empty() {
            contents.extend(self.whole(missed).await?);
        }
        Ok(contents)
    }

    /// Reads those parts of the layer that hold what was `missed`, and takes off what has come: nothing where it can be read only as a
    /// whole.
    async fn parts(&self, missed: &mut Missed, contents: &mut HashMap<DataOffset, C::Kept>) -> Result<(), Error> {
        let layer = &self.layer.layer;
        let (Some(noted), Some(store), Some(descriptor)) = (&self.noted, self.source.store(), &layer.blob.descriptor)
        else {
            return Ok(());
        };
        let wanted = missed.values().map(|(file, _)| file.content).collect();
        for stretch in noted.stretches(layer, wanted, self.is_compared).unwrap_or_default() {
            let part = match store.blob_range(descriptor, stretch.range()).await {
                Ok(part) => self.part(noted, stretch, part, missed).await,
                Err(error) => Err(error.into()),
            };
            match part {
                Ok(part) => {
                    part.keys().for_each(|data| drop(missed.remove(data)));
                    contents.extend(part);
                }
                Err(error) if gives_no_parts(&error) => {
                    self.progress.notice(&format!("reading all of {} a second time: {error}", self.layer.name));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn part(
        &self,
        noted: &Noted,
        stretch: Stretch,
        part: BlobReader,
        missed: &Missed,
    ) -> Result<HashMap<DataOffset, C::Kept>, Error> {
        let file = |content: &FileContent| Some((content.data, missed.get(&content.data)?.clone()));
        let files: HashMap<_, _> = stretch.wanted().iter().filter_map(file).collect();
        let (collector, noted) = (Arc::clone(self.collector), noted.clone());
        let NamedLayer { name, layer } = self.layer.clone();
        blocking(move || {
            let mut contents = HashMap::new();
            noted.read(stretch, part, &name, &mut |content, data| {
                if let Some((file, patterns)) = files.get(&content.data) {
                    let kept = collector.collect(&layer, patterns, *file, data);
                    contents.insert(content.data, kept.map_err(|error| Error::staging(&name, error))?);
                }
                Ok(())
            })?;
            Ok(contents)
        })
        .await
    }

    /// Reads all of the layer for what was `missed`.
    async fn whole(self, missed: Missed) -> Result<HashMap<DataOffset, C::Kept>, Error> {
        let blob = self.source.layer(&self.layer.layer).await?;
        let (collector, verify, NamedLayer { name, layer }) = (Arc::clone(self.collector), self.verify, self.layer);
        blocking(move || {
            let mut contents = HashMap::new();
            let files = missed.values().map(|(file, _)| file.content).collect();
            layers::contents(blob, &name, verify, C::TRACKS, files, &mut |content, data| {
                if let Some((file, patterns)) = missed.get(&content.data) {
                    let kept = collector.collect(&layer, patterns, *file, data);
                    contents.insert(content.data, kept.map_err(|error| Error::staging(&name, error))?);
                }
                Ok(())
            })?;
            Ok(contents)
        })
        .await
    }
}

/// Whether a part of a layer did not come for a reason that need not hold for the whole of it.
pub(super) fn gives_no_parts(error: &Error) -> bool {
    match error {
        Error::Source(error) => !matches!(error, SourceError::Mismatch { .. } | SourceError::Io { .. }),
        _ => false,
    }
}
