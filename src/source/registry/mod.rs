//! A registry: the OCI distribution-spec over HTTP.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{BlobReader, RawManifest, Source, SourceError};
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::progress::Progress;

/// How to reach a registry.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// Speak plain HTTP.
    pub plain_http: bool,
    /// Check no certificate.
    pub insecure: bool,
    /// The folder of Docker's config file.
    pub docker_config: Option<PathBuf>,
}

/// One image in a registry.
pub struct Registry(String);

impl Registry {
    /// Opens an image.
    pub fn new(reference: &str, _: RegistryOptions, _: Arc<dyn Progress>) -> Result<Self, SourceError> {
        Ok(Registry(reference.to_owned()))
    }
}

impl Source for Registry {
    fn name(&self) -> String {
        self.0.clone()
    }
    fn bytes_fetched(&self) -> u64 {
        0
    }
    fn manifest<'a>(&'a self, _: Option<&'a Digest>) -> BoxFuture<'a, Result<RawManifest, SourceError>> {
        Box::pin(async { Err(SourceError::NotFound { what: self.0.clone(), detail: "no registry".into() }) })
    }
    fn blob<'a>(&'a self, _: &'a Descriptor) -> BoxFuture<'a, Result<BlobReader, SourceError>> {
        Box::pin(async { Err(SourceError::NotFound { what: self.0.clone(), detail: "no registry".into() }) })
    }
    fn blob_range<'a>(&'a self, _: &'a Descriptor, _: Range<u64>) -> BoxFuture<'a, Result<BlobReader, SourceError>> {
        Box::pin(async { Err(SourceError::NotFound { what: self.0.clone(), detail: "no registry".into() }) })
    }
}
