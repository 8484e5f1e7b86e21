//! What this machine has: the images of its engine, and what its cache keeps.

use std::sync::Arc;

use super::candidates::Candidates;
use crate::cache::Cache;
use crate::cli::cache::digests;
use crate::image::digest::Digest;
use crate::source::engine::EngineOptions;
use crate::source::engine::api::Api;
use crate::source::engine::endpoint::Endpoint;

/// This machine.
pub struct Machine {
    engine: EngineOptions,
}

impl Machine {
    /// The one with this engine.
    pub fn new(engine: EngineOptions) -> Self {
        Machine { engine }
    }

    /// The names of the engine's images, with their tags.
    pub async fn images(&self) -> Option<Vec<String>> {
        let api = Api::connect(&Endpoint::find(&self.engine).ok()?, Arc::default()).await.ok()?;
        let mut names: Vec<String> = api.images().await.ok()?.into_iter().flat_map(|image| image.repo_tags).collect();
        names.retain(|name| !name.contains("<none>"));
        names.sort();
        names.dedup();
        Some(names)
    }

    /// The digests of what the cache keeps, short ones where a short one is `typed`.
    pub fn kept(&self, typed: &str) -> Candidates {
        let cache = Cache::open_to_read(&|name| std::env::var_os(name));
        let kept = digests(cache).into_iter().map(|digest| {
            let is_short = !typed.starts_with("sha256:") && typed.len() <= Digest::SHORT;
            let text = match is_short {
                true => digest.short().to_owned(),
                false if typed.contains(':') => digest.to_string(),
                false => digest.encoded().to_owned(),
            };
            (text, String::new())
        });
        Candidates::known(kept, typed)
    }
}
