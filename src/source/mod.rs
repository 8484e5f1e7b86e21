//! Where images live. A [`Source`] gives an image and its layers' bytes; one that is a [`Store`] too has manifests and blobs by
//! digest, verified, and [`resolve`] makes an image of them.
//!
//! Nothing above this folder asks which kind of place it is, and nothing in it knows what a layer holds.

pub mod archive;
pub mod copied;
mod directory;
pub(crate) mod docker_config;
pub mod engine;
pub mod error;
pub mod files;
mod http;
pub mod layout;
pub mod local;
pub mod merged;
pub mod name;
mod pieces;
pub mod place;
mod reference;
pub mod registry;
pub mod renamed;
mod select;
pub mod sparing;
mod trail;

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

pub use error::SourceError;
pub use place::{Promise, StoredLayer};
pub use reference::familiar;
pub use trail::{Part, Trail};

use merged::Merged;
use registry::RateLimit;

use crate::cache::Cache;
use crate::image::config::ImageConfig;
use crate::image::digest::Digest;
use crate::image::index::{self, IndexEntry};
use crate::image::manifest::{Descriptor, MAX_MANIFEST_BYTES, Manifest, OciImageManifest};
use crate::image::platform::{Choice, NoSuchPlatform};
use crate::image::{Image, Layer};
use crate::progress::Progress;

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

/// A place that holds an image.
pub trait Source: Send + Sync {
    /// The image's reference, as messages show it.
    fn name(&self) -> String;

    /// The reference in full, and with the manifest's digest, where there is one, so that it names no other image.
    fn address(&self, manifest: Option<&Digest>) -> String;

    /// Whether the reference names a digest, which then covers the manifest, the config and the layers.
    fn is_pinned(&self) -> bool;

    /// How many bytes of content (manifests, configs, blobs) have come from the source so far, as stored.
    fn bytes_fetched(&self) -> u64;

    /// The image that the reference names, for the platform of `choice`. One that is for another platform than this machine's,
    /// although no platform was asked for, is told by a notice.
    fn image<'a>(&'a self, choice: &'a Choice, progress: &'a dyn Progress)
    -> BoxFuture<'a, Result<Image, SourceError>>;

    /// The same `image` with what this takes of its layers. Most places know that at once; one that has layers only as a part of
    /// the whole is asked for the whole here.
    fn with_layers<'a>(
        &'a self,
        image: &'a Arc<Image>,
        _to: LayersFor,
    ) -> BoxFuture<'a, Result<Arc<Image>, SourceError>> {
        Box::pin(ready(Ok(Arc::clone(image))))
    }

    /// Opens a layer of the image, as [`with_layers`](Self::with_layers) gives it for reading.
    fn layer<'a>(&'a self, layer: &'a Layer) -> BoxFuture<'a, Result<LayerBlob, SourceError>>;

    /// The place as one that has manifests and blobs by their digests; `None` where it has not.
    fn store(&self) -> Option<&dyn Store> {
        None
    }

    /// Where what is known of its images is kept for the next time; `None` where nothing is.
    fn cache(&self) -> Option<&Arc<Cache>> {
        None
    }

    /// How much more the place will answer, where it has said so.
    fn rate_limit(&self) -> Option<RateLimit> {
        None
    }

    /// The place as one that shows the rootfs by itself; `None` where it has only layers.
    fn merged(&self) -> Option<&dyn Merged> {
        None
    }
}

/// What an image's layers are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayersFor {
    /// To tell of them: sizes and build steps.
    Listing,
    /// To read them, or to name one by its step.
    Reading,
}

/// A layer's blob, opened.
pub enum LayerBlob {
    /// Bytes that come once. The reader yields exactly the blob's bytes: one that is shorter, longer or of another digest ends
    /// in an error, never in a clean end of file. The trail is that of what has been read.
    Stream(BlobReader, Arc<Trail>),
    /// Bytes that can be read at any place, of a file of this machine.
    Stored(StoredLayer),
}

/// A place that holds manifests and blobs by their digests.
pub trait Store: Source {
    /// The manifest with this digest, or, with `None`, the one that the reference names.
    fn manifest<'a>(&'a self, digest: Option<&'a Digest>) -> BoxFuture<'a, Result<RawManifest, SourceError>>;

    /// Opens a whole blob. The reader yields exactly the descriptor's bytes: one that is shorter, longer or of another
    /// digest ends in an error, never in a clean end of file.
    fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Result<BlobReader, SourceError>>;

    /// Opens the bytes `range` of a blob, counted from its start as stored. Their number is checked, their content
    /// cannot be: the caller must verify what comes. Fails with [`SourceError::RangeIgnored`] where the source cannot
    /// give a part of a blob.
    fn blob_range<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BlobReader, SourceError>>;

    /// What refers to the manifest `subject` and is of this artifact type, or may be: where the place does not say which type
    /// anything is of, a few entries come that do not say. A place that keeps no such list has an empty one.
    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: &'a str,
    ) -> BoxFuture<'a, Result<Vec<IndexEntry>, SourceError>>;

    /// Says what will be wanted of the image beside its config. Where asking costs a round trip, the place may ask as soon as it
    /// knows the image's manifest. It changes no answer.
    fn expect(&self, _expecting: Expecting) {}

    /// Says that the image's manifest is this one, of digest `subject`, so that what is expected can be asked for.
    fn begin(&self, _subject: &Digest, _manifest: &OciImageManifest) {}

    /// The blob of this descriptor, where it was expected and asked for early. It is given once.
    fn take_expected<'a>(&'a self, _descriptor: &'a Descriptor) -> BoxFuture<'a, Option<Result<Vec<u8>, SourceError>>> {
        Box::pin(ready(None))
    }
}

/// What will be wanted of an image, once its manifest is known.
pub type Expecting = Box<dyn Fn(&OciImageManifest) -> Expected + Send + Sync>;

/// What is wanted of an image beside its config.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// A small blob.
    pub blob: Option<Descriptor>,
    /// The artifact types of the referrers that are wanted.
    pub artifact_types: Vec<&'static str>,
}

/// A manifest that refers to another one, and has been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// Whether the place lists it, so that it can be found.
    pub is_listed: bool,
}

/// A place that can be written to.
pub trait Push: Store {
    /// Sends a blob, and gives its digest.
    fn push_blob(&self, bytes: Bytes) -> BoxFuture<'_, Result<Digest, SourceError>>;

    /// Sends a blob of any size, which a file of this machine holds, unless it is there already: whether it was sent.
    fn push_file<'a>(&'a self, blob: &'a Descriptor, file: &'a Arc<File>) -> BoxFuture<'a, Result<bool, SourceError>>;

    /// Sends a manifest, under a tag or under its digest alone, and gives its digest.
    fn push_manifest<'a>(
        &'a self,
        tag: Option<&'a str>,
        media_type: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Digest, SourceError>>;

    /// Sends an image manifest whose `subject` is the manifest `subject`, so that it is listed among what refers to that, in the
    /// place of those that it `replaces` where the place keeps that list as a tag.
    fn push_referrer<'a>(
        &'a self,
        subject: &'a Digest,
        replaces: &'a [Digest],
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Referrer, SourceError>>;
}

/// How many image indexes may lie inside one another.
const MAX_NESTED_INDEXES: usize = 8;

/// How many manifests are fetched to find one for the platform: indexes whose entries name none could lead on for ever.
const MAX_MANIFESTS: usize = 64;

/// The image that `source` names, for the platform of `choice`: follows image indexes (nested ones too) to the manifest, and reads
/// the config. An image that comes without an index may be for another platform than this machine's, which a notice then says,
/// as `docker pull` does; where a platform was asked for, it is an error. The config decides, and one that names no platform is
/// not questioned.
pub async fn resolve(source: &dyn Store, choice: &Choice, progress: &dyn Progress) -> Result<Image, SourceError> {
    let not_an_image = |error| SourceError::NotAnImage { image: source.name(), error };
    let malformed = |problem| SourceError::Protocol { what: source.name(), problem };
    let platform = choice.platform();
    // The best candidate comes last, so that it is popped first; the others serve only if it leads to nothing fitting.
    let mut pending = vec![(0, false, None)];
    let mut available = Vec::new();
    let mut fetched = 0;
    while let Some((depth, is_chosen, entry)) = pending.pop() {
        if fetched == MAX_MANIFESTS {
            return Err(malformed(format!("none of the {MAX_MANIFESTS} manifests looked at is for {platform}")));
        }
        fetched += 1;
        let raw = match &entry {
            Some(entry) => listed_manifest(source, entry).await?,
            None => source.manifest(None).await?,
        };
        let manifest = Manifest::parse(&raw.bytes, raw.media_type.as_deref()).map_err(not_an_image)?;
        match manifest {
            Manifest::Image(manifest) => {
                // Of an image that may be passed over, nothing else is asked for.
                if is_chosen || depth == 0 {
                    source.begin(&raw.digest, &manifest);
                }
                let (image, _) = read_image(source, raw.digest, *manifest).await?;
                let found = image.platform();
                // An index entry without a platform says nothing, so its image's config does.
                if is_chosen || !found.is_known() || found.runs_on(&platform) {
                    return Ok(image);
                }
                if depth == 0 {
                    check_platform(source, &image, choice, progress)?;
                    return Ok(image);
                }
                available.push(found);
            }
            Manifest::Index(entries) if depth < MAX_NESTED_INDEXES => {
                available.extend(index::available(&entries));
                for entry in index::candidates(&entries, &platform).into_iter().rev() {
                    let is_chosen = entry.platform.as_ref().is_some_and(|platform| platform.is_known());
                    pending.push((depth + 1, is_chosen, Some(entry.clone())));
                }
            }
            Manifest::Index(_) => {
                return Err(malformed(format!("image indexes are nested more than {MAX_NESTED_INDEXES} deep")));
            }
        }
    }
    let error = NoSuchPlatform { wanted: platform, available };
    Err(SourceError::NoSuchPlatform { image: source.name(), error })
}

/// Says that `image`, for which there is no choice, is for another platform than this machine's; where a platform was asked for,
/// it is an error.
fn check_platform(
    source: &dyn Source,
    image: &Image,
    choice: &Choice,
    progress: &dyn Progress,
) -> Result<(), SourceError> {
    let (found, wanted) = (image.platform(), choice.platform());
    if !found.is_known() || found.runs_on(&wanted) {
        return Ok(());
    }
    if *choice == Choice::Host {
        progress.notice(&format!("{} is for {found}, and this machine is {wanted}", source.name()));
        return Ok(());
    }
    let error = NoSuchPlatform { wanted, available: vec![found] };
    Err(SourceError::NoSuchPlatform { image: source.name(), error })
}

/// The manifest that an index, or a list of referrers, has this entry of: its digest and its length are checked.
pub async fn listed_manifest(source: &dyn Store, entry: &IndexEntry) -> Result<RawManifest, SourceError> {
    let raw = source.manifest(Some(&entry.digest)).await?;
    let length = raw.bytes.len() as u64;
    // As in containerd, an entry that gives no size promises none.
    if entry.size != 0 && entry.size != length {
        return Err(SourceError::Mismatch {
            what: format!("the manifest {} that {} lists", entry.digest, source.name()),
            expected: format!("{} bytes", entry.size),
            actual: format!("{length} bytes"),
        });
    }
    Ok(raw)
}

/// The image that `manifest`, of digest `digest`, describes, and its config as it is written.
pub async fn read_image(
    source: &dyn Store,
    digest: Digest,
    manifest: OciImageManifest,
) -> Result<(Image, String), SourceError> {
    let malformed = |problem: String| SourceError::Protocol { what: source.name(), problem };
    let text = read_text(source, &manifest.config).await?;
    let config: ImageConfig =
        serde_json::from_str(&text).map_err(|error| malformed(format!("its config cannot be read: {error}")))?;
    let image = Image::new(digest, manifest, config);
    Ok((image.map_err(|error| SourceError::NotAnImage { image: source.name(), error })?, text))
}

/// A small blob that is text, such as a config.
async fn read_text(source: &dyn Store, descriptor: &Descriptor) -> Result<String, SourceError> {
    let malformed = |problem: String| SourceError::Protocol { what: source.name(), problem };
    let bytes = read_small(source, descriptor).await?;
    String::from_utf8(bytes).map_err(|_| malformed(format!("{} is not UTF-8", descriptor.digest)))
}

/// A whole blob of at most [`MAX_MANIFEST_BYTES`]. One that the cache has is not asked for.
pub async fn read_small(source: &dyn Store, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
    let malformed = |problem: String| SourceError::Protocol { what: source.name(), problem };
    if u64::try_from(descriptor.size).unwrap_or(u64::MAX) > MAX_MANIFEST_BYTES {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        return Err(malformed(format!("{digest} of {size} bytes is larger than any config may be")));
    }
    read_whole(source, descriptor).await
}

/// A whole blob, of which the caller knows that it is not too long to be held; it is kept for the next time.
pub async fn read_whole(source: &dyn Store, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
    let digest: Option<Digest> = descriptor.digest.parse().ok();
    let cache = source.cache().zip(digest.as_ref());
    if let Some((cache, digest)) = cache
        && let Some(kept) = cache.blob(digest)
        && i64::try_from(kept.len()) == Ok(descriptor.size)
    {
        return Ok(kept);
    }
    let mut reader = source.blob(descriptor).await?;
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    match read.await {
        Ok(bytes) => {
            let bytes = bytes?;
            if let Some((cache, digest)) = cache {
                cache.keep_blob(digest, &bytes);
            }
            Ok(bytes)
        }
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
