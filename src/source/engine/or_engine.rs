//! An image in a registry, or, where the registry does not know it or keeps it from us, the engine's of that name.
//!
//! Never after a failure of the network, for that says nothing of the image, and never for a digest, which names one image: that is
//! up to whoever makes one of these.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Engine, EngineOptions};
use crate::cache::Cache;
use crate::image::digest::Digest;
use crate::image::platform::Choice;
use crate::image::{Image, Layer};
use crate::progress::Progress;
use crate::source::merged::Merged;
use crate::source::registry::RateLimit;
use crate::source::{LayerBlob, LayersFor, Source, SourceError, Store};

/// How long the engine may take to say whether it has the image. An error is waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// An image in a registry, until that says otherwise.
pub struct OrEngine {
    registry: Arc<dyn Source>,
    reference: String,
    options: EngineOptions,
    progress: Arc<dyn Progress>,
    /// The engine's image, once it was chosen.
    engine: OnceLock<Engine>,
}

impl OrEngine {
    /// The image that `registry` has, or the engine has under `reference`.
    pub fn new(
        registry: Arc<dyn Source>,
        reference: String,
        options: EngineOptions,
        progress: Arc<dyn Progress>,
    ) -> Self {
        OrEngine { registry, reference, options, progress, engine: OnceLock::new() }
    }

    fn chosen(&self) -> &dyn Source {
        self.engine.get().map_or(&*self.registry, |engine| engine)
    }

    /// Whether `error`, with which the registry's image could not be had, means that there is none for us, and not that a part of
    /// it is missing.
    async fn is_unknown(&self, error: &SourceError) -> bool {
        let says_so = |error: &SourceError| matches!(error, SourceError::NotFound { .. } | SourceError::Denied { .. });
        match self.registry.store() {
            Some(store) if says_so(error) => store.manifest(None).await.is_err_and(|error| says_so(&error)),
            _ => false,
        }
    }

    /// The engine's image, where it has one, and says so soon. What it is asked after that may take its time.
    async fn in_engine(&self, choice: &Choice, progress: &dyn Progress) -> Option<(Engine, Image)> {
        let asked = tokio::time::timeout(PATIENCE, async {
            let engine = Engine::new(&self.reference, &self.options, Arc::clone(&self.progress))?;
            engine.id().await?;
            Ok::<_, SourceError>(engine)
        });
        let found = match asked.await {
            Ok(Ok(engine)) => Ok(engine.image(choice, progress).await.map(|image| (engine, image))),
            Ok(Err(error)) => Ok(Err(error)),
            Err(late) => Err(late),
        };
        match found {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                tracing::debug!("the engine has no {} either: {error}", self.reference);
                None
            }
            Err(_) => {
                tracing::debug!("the engine did not say whether it has {}", self.reference);
                None
            }
        }
    }
}

impl Source for OrEngine {
    fn name(&self) -> String {
        self.chosen().name()
    }

    fn address(&self, manifest: Option<&Digest>) -> String {
        self.chosen().address(manifest)
    }

    fn is_pinned(&self) -> bool {
        self.chosen().is_pinned()
    }

    fn bytes_fetched(&self) -> u64 {
        self.chosen().bytes_fetched()
    }

    fn image<'a>(
        &'a self,
        choice: &'a Choice,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Image, SourceError>> {
        Box::pin(async move {
            if let Some(engine) = self.engine.get() {
                return engine.image(choice, progress).await;
            }
            let error = match self.registry.image(choice, progress).await {
                Ok(image) => return Ok(image),
                Err(error) => error,
            };
            if !self.is_unknown(&error).await {
                return Err(error);
            }
            let Some((engine, image)) = self.in_engine(choice, progress).await else { return Err(error) };
            progress.notice(&format!("{error}; using the engine's image, {}", engine.name()));
            self.engine.get_or_init(|| engine);
            Ok(image)
        })
    }

    fn with_layers<'a>(
        &'a self,
        image: &'a Arc<Image>,
        to: LayersFor,
    ) -> BoxFuture<'a, Result<Arc<Image>, SourceError>> {
        self.chosen().with_layers(image, to)
    }

    fn layer<'a>(&'a self, layer: &'a Layer) -> BoxFuture<'a, Result<LayerBlob, SourceError>> {
        self.chosen().layer(layer)
    }

    fn store(&self) -> Option<&dyn Store> {
        self.chosen().store()
    }

    fn cache(&self) -> Option<&Arc<Cache>> {
        self.chosen().cache()
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        self.registry.rate_limit()
    }

    fn merged(&self) -> Option<&dyn Merged> {
        self.chosen().merged()
    }
}
