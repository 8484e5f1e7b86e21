//! Where images live. A [`Source`] gives manifests and blobs by digest, verified; [`resolve`] makes an image of them.
//!
//! Nothing above this folder asks which kind of place it is, and nothing in it knows what a layer holds.

pub mod error;
pub mod registry;

use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use error::SourceError;

use crate::image::Image;
use crate::image::config::ImageConfig;
use crate::image::digest::Digest;
use crate::image::manifest::{Descriptor, MAX_MANIFEST_BYTES, Manifest};
use crate::image::platform::{self, NoSuchPlatform, Platform};

/// A blob's bytes, to be read on a thread that may block. A failure of the source comes as an [`std::io::Error`] whose
/// inner error is a [`SourceError`].
pub type BlobReader = Box<dyn Read + Send>;

/// A manifest as it came, with its digest already checked.
#[derive(Clone, Debug)]
pub struct RawManifest {
    /// The bytes that the digest is of.
    pub bytes: Bytes,
    /// The media type that came with them (HTTP `Content-Type`, or a descriptor's field).
    pub media_type: Option<String>,
    /// The digest of the bytes.
    pub digest: Digest,
}

/// A place that holds one image's manifests and blobs.
pub trait Source: Send + Sync {
    /// The image's reference, as messages show it.
    fn name(&self) -> String;

    /// How many bytes of content (manifests, configs, blobs) have come from the source so far, as stored.
    fn bytes_fetched(&self) -> u64;

    /// The manifest with this digest, or, with `None`, the one that the reference names.
    fn manifest<'a>(&'a self, digest: Option<&'a Digest>) -> BoxFuture<'a, Result<RawManifest, SourceError>>;

    /// Opens a whole blob. The reader yields exactly the descriptor's bytes: one that is shorter, longer or of another
    /// digest ends in an error, never in a clean end of file.
    fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Result<BlobReader, SourceError>>;

    /// Opens the bytes `range` of a blob, counted from its start as stored. Their number is checked, their content
    /// cannot be: who asks must verify what comes. Fails with [`SourceError::RangeIgnored`] where the source cannot
    /// give a part of a blob.
    fn blob_range<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BlobReader, SourceError>>;
}

/// How many image indexes may lie inside one another.
const MAX_NESTED_INDEXES: usize = 8;

/// How many manifests are looked at to find one for the platform. Indexes that name no platforms lead anywhere.
const MAX_MANIFESTS: usize = 64;

/// A manifest that may be the image's, yet to be fetched.
struct Candidate {
    digest: Option<Digest>,
    /// How many indexes led to it.
    depth: usize,
    /// Whether its platform is settled: the last index stated it, or there was none to choose from.
    fits: bool,
}

/// The image that `source` names, for `platform`: follows image indexes (nested ones too) to the manifest, and reads the
/// config. The platform of an image that comes without an index is not questioned, as in `docker pull`.
pub async fn resolve(source: &dyn Source, platform: &Platform) -> Result<Image, SourceError> {
    let not_an_image = |error| SourceError::NotAnImage { image: source.name(), error };
    let malformed = |problem| SourceError::Protocol { what: source.name(), problem };
    // The best candidate comes last, so that it is popped first; the others serve only if it leads to nothing fitting.
    let mut pending = vec![Candidate { digest: None, depth: 0, fits: true }];
    let mut available = Vec::new();
    let mut looked_at = 0;
    while let Some(Candidate { digest, depth, fits }) = pending.pop() {
        looked_at += 1;
        if looked_at > MAX_MANIFESTS {
            return Err(malformed(format!(
                "its image indexes list more than {MAX_MANIFESTS} manifests without a platform"
            )));
        }
        let raw = source.manifest(digest.as_ref()).await?;
        match Manifest::parse(&raw.bytes, raw.media_type.as_deref()).map_err(not_an_image)? {
            Manifest::Image(manifest) => {
                let config = read_config(source, &manifest.config).await?;
                // An index entry without a platform says nothing, so its image's config does.
                let found = config.platform();
                if !fits && !found.os.is_empty() && !found.runs_on(platform) {
                    available.push(found);
                    continue;
                }
                return Image::new(raw.digest, *manifest, config).map_err(not_an_image);
            }
            Manifest::Index(entries) if depth < MAX_NESTED_INDEXES => {
                available.extend(platform::available(&entries));
                pending.extend(platform::candidates(&entries, platform).into_iter().rev().map(|entry| Candidate {
                    digest: Some(entry.digest.clone()),
                    depth: depth + 1,
                    fits: entry.platform.as_ref().is_some_and(|platform| !platform.os.is_empty()),
                }));
            }
            Manifest::Index(_) => {
                return Err(malformed(format!("image indexes lie more than {MAX_NESTED_INDEXES} deep in one another")));
            }
        }
    }
    let error = NoSuchPlatform { wanted: platform.clone(), available };
    Err(SourceError::NoSuchPlatform { image: source.name(), error })
}

async fn read_config(source: &dyn Source, descriptor: &Descriptor) -> Result<ImageConfig, SourceError> {
    let malformed = |problem: String| SourceError::Protocol { what: source.name(), problem };
    if u64::try_from(descriptor.size).unwrap_or(u64::MAX) > MAX_MANIFEST_BYTES {
        return Err(malformed(format!("its config of {} bytes is larger than any config may be", descriptor.size)));
    }
    let mut reader = source.blob(descriptor).await?;
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = read.await.map_err(|error| malformed(error.to_string()))?.map_err(SourceError::from)?;
    serde_json::from_slice(&bytes).map_err(|error| malformed(format!("its config cannot be read: {error}")))
}
