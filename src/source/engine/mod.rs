//! An image in the store of the Docker engine, or of Podman behind its compatible socket.
//!
//! An engine gives no layers. It tells an image's config and shows what the layers come to together, for which a container is
//! created, and it exports the image whole, as `docker save` does: that is an archive, which is read as every other one. So what
//! the config answers costs a call, a path costs its own bytes, and whatever asks for layers costs the image, once.

mod answer;
pub mod api;
mod container;
pub mod endpoint;
mod live;
mod or_engine;
mod owner;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use self::answer::Inspected;
use self::api::Api;
use self::container::Container;
use self::endpoint::Endpoint;
pub use self::endpoint::EngineOptions;
pub use self::live::discard_all;
pub use self::or_engine::OrEngine;
use super::merged::{Merged, Seen, Stat};
use super::place::LocalSource;
use super::renamed::NewName;
use super::select::digest_in;
use super::{BlobReader, LayerBlob, LayersFor, Source, SourceError, check_platform};
use crate::image::config::{History, ImageConfig};
use crate::image::digest::Digest;
use crate::image::platform::Choice;
use crate::image::{Blob, Image, Layer};
use crate::progress::{Progress, Silent};

/// The most characters that a reference may have, as in a registry's.
const MAX_REFERENCE: usize = 512;

/// An image of the engine.
pub struct Engine {
    reference: String,
    endpoint: Arc<Endpoint>,
    progress: Arc<dyn Progress>,
    /// How many bytes streams have given.
    fetched: Arc<AtomicU64>,
    known: OnceCell<Known>,
    /// The container that paths are read from.
    container: OnceCell<Container>,
    /// The image as the engine exports it.
    exported: OnceCell<Arc<LocalSource>>,
}

/// What the engine says of the image.
struct Known {
    api: Api,
    image: Inspected,
}

impl Engine {
    /// The image that `reference` names there: a name, with or without tag or digest, or an ID. Nothing is asked yet.
    pub fn new(reference: &str, options: &EngineOptions, progress: Arc<dyn Progress>) -> Result<Self, SourceError> {
        check(reference)?;
        let (fetched, known, container, exported) = Default::default();
        let endpoint = Arc::new(Endpoint::find(options)?);
        Ok(Engine { reference: reference.to_owned(), endpoint, progress, fetched, known, container, exported })
    }

    /// The calls that the engine answers.
    pub async fn api(&self) -> Result<&Api, SourceError> {
        Ok(&self.known().await?.api)
    }

    /// The image's ID.
    pub async fn id(&self) -> Result<&str, SourceError> {
        Ok(&self.known().await?.image.id)
    }

    /// The name that the image was asked for by; `None` where that is an ID or a digest.
    pub async fn own_name(&self) -> Result<Option<NewName>, SourceError> {
        let id = self.id().await?;
        let is_id =
            id == self.reference || id.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(&self.reference));
        if is_id || self.is_pinned() {
            return Ok(None);
        }
        NewName::parse(&self.reference).map(Some)
    }

    /// Fails where the reference names another image by now.
    pub async fn check_own_name(&self) -> Result<(), SourceError> {
        let Known { api, image } = self.known().await?;
        let now = api.inspect_image(&self.reference).await?.id;
        if now == image.id {
            return Ok(());
        }
        let problem =
            format!("it names {now} now, not {}; label what it names, or name the result with --tag", image.id);
        Err(SourceError::Protocol { what: self.name(), problem })
    }

    /// The ID of what has this name now. Fails where that has other layers than this image.
    pub async fn id_of_same_layers(&self, name: &str) -> Result<String, SourceError> {
        let Known { api, image } = self.known().await?;
        let now = api.inspect_image(name).await?;
        if now.root_fs.layers == image.root_fs.layers {
            return Ok(now.id);
        }
        let problem = format!("{name} now names {}, which has other layers", now.id);
        Err(SourceError::Protocol { what: self.name(), problem })
    }

    /// What the engine says of the image. Fails with [`SourceError::NotFound`] where it has none of this name.
    async fn known(&self) -> Result<&Known, SourceError> {
        let ask = || async {
            let api = Api::connect(&self.endpoint, Arc::clone(&self.fetched)).await?;
            let image = api.inspect_image(&self.reference).await?;
            Ok(Known { api, image })
        };
        self.known.get_or_try_init(ask).await
    }

    /// The image as the engine exports it: an archive in a temporary file, which is read as every other one.
    pub async fn export(&self) -> Result<&Arc<LocalSource>, SourceError> {
        let export = || async {
            let Known { api, image } = self.known().await?;
            // By its ID: a name without a tag would export all tags, and may be another image's by now.
            let tar = api.export(&image.id).await?;
            let (name, id, progress) = (self.name(), image.id.clone(), Arc::clone(&self.progress));
            let opened = tokio::task::spawn_blocking(move || LocalSource::exported(tar, name, id, progress));
            match opened.await {
                Ok(opened) => opened.map(Arc::new),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        };
        self.exported.get_or_try_init(export).await
    }

    /// The exported image, which has the layers of `image`.
    async fn with_exported_layers(&self, image: &Image) -> Result<Arc<Image>, SourceError> {
        let exported = self.export().await?;
        let platform = image.platform();
        let choice = if platform.is_known() { Choice::Asked(platform) } else { Choice::Host };
        let whole = exported.image(&choice, &Silent).await?;
        let (expected, actual) = (&image.config.rootfs.diff_ids, &whole.config.rootfs.diff_ids);
        if !expected.is_empty() && expected != actual {
            let ids = |ids: &[crate::image::digest::DiffId]| {
                ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(", ")
            };
            let what = format!("the layers of {} that the engine exports", self.name());
            return Err(SourceError::Mismatch { what, expected: ids(expected), actual: ids(actual) });
        }
        Ok(Arc::new(whole))
    }

    /// What the engine says of the image, as one whose layers are not at hand.
    async fn outline(&self, choice: &Choice, progress: &dyn Progress) -> Result<Image, SourceError> {
        let Known { api, image } = self.known().await?;
        let (history, ()) = futures_util::join!(api.history(&image.id), container::sweep(api));
        let diff_ids = image.root_fs.layers.clone();
        let mut blobs = vec![Blob::default(); diff_ids.len()];
        let mut config = ImageConfig {
            os: image.os.clone(),
            architecture: image.architecture.clone(),
            variant: image.variant.clone().filter(|variant| !variant.is_empty()),
            config: image.config.clone(),
            ..ImageConfig::default()
        };
        config.rootfs.diff_ids = diff_ids;
        // A step that made a layer may have added nothing (WORKDIR): where as many steps added something as there are layers,
        // these made them, and otherwise nobody can tell.
        let steps = history?;
        let adding: Vec<u64> = steps.iter().rev().map(|step| step.size).filter(|size| *size > 0).collect();
        if adding.len() == blobs.len() {
            blobs.iter_mut().zip(adding).for_each(|(blob, size)| blob.size = size);
            let history = steps.into_iter().rev();
            let history = history.map(|step| History { created_by: step.created_by, empty_layer: step.size == 0 });
            config.history = history.collect();
        }
        let image = Image::of_blobs(None, config, 0, blobs)
            .map_err(|error| SourceError::NotAnImage { image: self.name(), error })?;
        check_platform(self, &image, choice, progress)?;
        Ok(image)
    }

    async fn container(&self) -> Result<&Container, SourceError> {
        let create = || async {
            let Known { api, image } = self.known().await?;
            Container::create(api.clone(), &self.endpoint, &image.id, &self.progress).await
        };
        self.container.get_or_try_init(create).await
    }
}

impl Source for Engine {
    fn name(&self) -> String {
        format!("local://{}", self.reference)
    }

    fn address(&self, _: Option<&Digest>) -> String {
        self.name()
    }

    fn is_pinned(&self) -> bool {
        digest_in(&self.reference).is_some()
    }

    fn bytes_fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    fn image<'a>(
        &'a self,
        choice: &'a Choice,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Image, SourceError>> {
        Box::pin(self.outline(choice, progress))
    }

    fn with_layers<'a>(
        &'a self,
        image: &'a Arc<Image>,
        to: LayersFor,
    ) -> BoxFuture<'a, Result<Arc<Image>, SourceError>> {
        Box::pin(async move {
            match to {
                LayersFor::Listing if !image.config.history.is_empty() => Ok(Arc::clone(image)),
                LayersFor::Listing | LayersFor::Reading => self.with_exported_layers(image).await,
            }
        })
    }

    fn layer<'a>(&'a self, layer: &'a Layer) -> BoxFuture<'a, Result<LayerBlob, SourceError>> {
        Box::pin(async move { self.export().await?.layer(layer).await })
    }

    fn merged(&self) -> Option<&dyn Merged> {
        Some(self)
    }
}

impl Merged for Engine {
    fn stat<'a>(&'a self, path: &'a [u8]) -> BoxFuture<'a, Result<Seen<Stat>, SourceError>> {
        Box::pin(async move { self.container().await?.stat(path).await })
    }

    fn tree<'a>(&'a self, path: &'a [u8]) -> BoxFuture<'a, Result<Seen<BlobReader>, SourceError>> {
        Box::pin(async move { self.container().await?.tree(path).await })
    }

    fn image_bytes(&self) -> u64 {
        self.known.get().map_or(0, |known| known.image.size)
    }
}

/// Whether the engine can be asked for `reference`, which becomes a part of a URL: a name, a digest, an ID.
fn check(reference: &str) -> Result<(), SourceError> {
    let invalid = |problem: &str| SourceError::InvalidReference {
        text: format!("local://{reference}"),
        problem: problem.to_owned(),
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    if !reference.bytes().all(is_allowed) || reference.len() > MAX_REFERENCE {
        return Err(invalid("a reference may only contain letters, digits and . _ - / : @"));
    }
    if reference.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(invalid("a part between its slashes is missing"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_no_way_to_another_call() {
        for reference in ["app", "app:1", "localhost:5000/team/app:1", "sha256:ab", "0f55eb0096ff", "a@sha256:0"] {
            check(reference).unwrap();
        }
        for reference in ["", "../containers/x", "a/../b", "a//b", "/a", "a/", "a?b=c", "a b", "a%2fb", "a#b", "ä"] {
            assert!(matches!(check(reference), Err(SourceError::InvalidReference { .. })), "{reference}");
        }
    }
}
