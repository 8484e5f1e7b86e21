//! A place of which only so much is read: for whoever looks at an image without having been asked to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{BoxFuture, ready};

use super::merged::Merged;
use super::registry::RateLimit;
use super::{LayerBlob, LayersFor, Source, SourceError, Store};
use crate::cache::Cache;
use crate::image::digest::Digest;
use crate::image::platform::Choice;
use crate::image::{Image, Layer};
use crate::progress::Progress;

/// Another place, whose layers are given only as long as they have few bytes together. What its [`Store`] gives is not counted.
pub struct Sparing {
    source: Arc<dyn Source>,
    /// How many bytes of layers may still be read, as stored.
    left: AtomicU64,
}

impl Sparing {
    /// `source`, of whose layers at most `bytes` are read, as stored.
    pub fn new(source: Arc<dyn Source>, bytes: u64) -> Self {
        Sparing { source, left: AtomicU64::new(bytes) }
    }
}

impl Source for Sparing {
    fn name(&self) -> String {
        self.source.name()
    }

    fn address(&self, manifest: Option<&Digest>) -> String {
        self.source.address(manifest)
    }

    fn is_pinned(&self) -> bool {
        self.source.is_pinned()
    }

    fn bytes_fetched(&self) -> u64 {
        self.source.bytes_fetched()
    }

    fn image<'a>(
        &'a self,
        choice: &'a Choice,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Image, SourceError>> {
        self.source.image(choice, progress)
    }

    fn with_layers<'a>(
        &'a self,
        image: &'a Arc<Image>,
        to: LayersFor,
    ) -> BoxFuture<'a, Result<Arc<Image>, SourceError>> {
        self.source.with_layers(image, to)
    }

    fn layer<'a>(&'a self, layer: &'a Layer) -> BoxFuture<'a, Result<LayerBlob, SourceError>> {
        let size = layer.size();
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(size));
        match taken {
            Ok(_) => self.source.layer(layer),
            Err(_) => {
                let problem = format!("layer {} of {size} bytes is more than may be read", layer.index + 1);
                Box::pin(ready(Err(SourceError::Protocol { what: self.name(), problem })))
            }
        }
    }

    fn store(&self) -> Option<&dyn Store> {
        self.source.store()
    }

    fn cache(&self) -> Option<&Arc<Cache>> {
        self.source.cache()
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        self.source.rate_limit()
    }

    fn merged(&self) -> Option<&dyn Merged> {
        self.source.merged()
    }
}
