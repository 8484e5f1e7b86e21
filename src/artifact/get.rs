//! Gets files and directories by path.

use std::path::PathBuf;
use std::sync::Arc;

use super::Error;
use crate::extract;
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::progress::Progress;
use crate::source::{self, Source};

/// What to get.
#[derive(Debug)]
pub struct Request {
    /// The paths, as raw bytes.
    pub paths: Vec<Vec<u8>>,
    /// The platform.
    pub platform: Platform,
    /// Where to put it.
    pub destination: extract::Destination,
    /// Whether a link named by a path is followed.
    pub dereference: bool,
    /// Whether whole layers are verified.
    pub verify: bool,
    /// Whether ownership and setuid are kept.
    pub preserve: bool,
}

/// What was got.
#[derive(Clone, Debug)]
pub struct Report {
    /// The image's reference.
    pub image: String,
    /// The digest of the image manifest.
    pub digest: Digest,
    /// What was written.
    pub files: Vec<Fetched>,
    /// The length of all the image's layers in bytes, as stored.
    pub image_bytes: u64,
    /// How many bytes came from the source.
    pub fetched_bytes: u64,
    /// Whether every byte was verified.
    pub verified: bool,
}

/// One thing that was written.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The path in the image, escaped for display.
    pub path: String,
    /// Where it was written.
    pub destination: Option<PathBuf>,
    /// `file`, `directory` or `symlink`.
    pub kind: &'static str,
    /// The length in bytes.
    pub size: u64,
    /// The permission bits.
    pub mode: u32,
    /// The digest of the content.
    pub digest: Option<Digest>,
    /// The layer that it came from.
    pub layer: Option<Digest>,
}

/// Gets what `request` asks for.
pub async fn get(source: Arc<dyn Source>, request: Request, _: Arc<dyn Progress>) -> Result<Report, Error> {
    let image = source::resolve(source.as_ref(), &request.platform).await?;
    Err(Error::Usage(format!("{} has {} layers", source.name(), image.layers.len())))
}
