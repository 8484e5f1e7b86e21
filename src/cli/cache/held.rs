//! All that is kept, of layers and of what builds were given, in one list.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::build::kept::{KeptImage, forget_image, kept_images};
use crate::cache::{Cache, Contents, Pruned};
use crate::cli::timestamp;
use crate::image::digest::Digest;

/// What is kept, if anything may be.
pub(super) struct Held {
    cache: Option<Arc<Cache>>,
}

impl Held {
    pub(super) fn new(cache: Option<Arc<Cache>>) -> Self {
        Held { cache }
    }

    /// A row for each layer, for all manifests, and for each image of builds; only those of a digest with `digests`.
    pub(super) fn rows(&self, digests: bool) -> Vec<Value> {
        let Some(cache) = &self.cache else { return Vec::new() };
        let Contents { layers, others } = cache.contents();
        let mut rows: Vec<Value> =
            layers.into_iter().map(|layer| row("layer", Some(&layer.digest), layer.bytes, Some(layer.used))).collect();
        rows.extend(self.images().iter().map(|image| row("image", Some(&image.digest), image.bytes, Some(image.used))));
        if others.files > 0 && !digests {
            rows.push(row("manifests", None, others.bytes, others.used));
        }
        rows
    }

    /// The digests of all rows that have one, each once.
    pub(super) fn digests(&self) -> Vec<Digest> {
        let Some(cache) = &self.cache else { return Vec::new() };
        let mut digests: Vec<Digest> = cache.contents().layers.into_iter().map(|layer| layer.digest).collect();
        digests.extend(self.images().into_iter().map(|image| image.digest));
        digests.sort();
        digests.dedup();
        digests
    }

    /// Forgets what is kept under this digest.
    pub(super) fn forget(&self, digest: &Digest) -> Pruned {
        let Some(cache) = &self.cache else { return Pruned::default() };
        let mut pruned = cache.forget(digest).unwrap_or_default();
        pruned += forget_image(cache.root(), digest);
        pruned
    }

    /// Removes what nobody has used since; everything, without a time.
    pub(super) fn prune(&self, unused_since: Option<SystemTime>) -> Pruned {
        let Some(cache) = &self.cache else { return Pruned::default() };
        let is_old = |used: SystemTime| unused_since.is_none_or(|since| used < since);
        let mut pruned = cache.remove_all(is_old);
        for image in self.images().into_iter().filter(|image| is_old(image.used)) {
            pruned += forget_image(cache.root(), &image.digest);
        }
        pruned
    }

    fn images(&self) -> Vec<KeptImage> {
        self.cache.as_ref().map(|cache| kept_images(cache.root())).unwrap_or_default()
    }
}

fn row(kind: &str, digest: Option<&Digest>, bytes: u64, used: Option<SystemTime>) -> Value {
    let seconds = used.and_then(|used| used.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    json!({
        "Type": kind,
        "Digest": digest,
        "DiskSize": bytes,
        "LastUsed": seconds.and_then(|seconds| i64::try_from(seconds).ok()).map(timestamp::utc),
    })
}
