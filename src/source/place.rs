//! An image in a place of this machine: an archive, in a file or on standard input, or the folder of an OCI layout.
//!
//! Such a place is the reader's own, and its layers can be read at any place, which spares most of the reading. So a layer is not
//! checked here: a [`StoredLayer`] comes with what promises its content, and whoever reads all of it can compare.

mod copy;

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};

use super::archive::{Archive, Selected};
use super::directory::Directory;
use super::files::{Stored, StoredReader};
use super::layout::Layout;
use super::local::LocalImage;
use super::select::digest_in;
use super::{BlobReader, LayerBlob, RawManifest, Source, SourceError, Store, Trail, check_platform, resolve};
use crate::image::config::ImageConfig;
use crate::image::digest::{DiffId, Digest, Hasher};
use crate::image::index::IndexEntry;
use crate::image::manifest::Descriptor;
use crate::image::platform::Choice;
use crate::image::{Blob, Image, Layer};
use crate::progress::Progress;

/// The image that was chosen in a place of this machine.
pub struct LocalSource {
    place: Place,
    /// The place, as messages name it.
    shown: String,
    /// Which of its images was asked for.
    wanted: Option<String>,
    /// Whether that was not asked by a person, and so is no part of the name.
    is_exported: bool,
    chosen: Selected,
    progress: Arc<dyn Progress>,
}

enum Place {
    Archive(Archive),
    Layout(Layout, Arc<Directory>),
}

impl LocalSource {
    /// The image that `wanted` names in the archive at `path`, or the only one. Reads the archive's headers; one that is
    /// compressed as a whole is copied to a temporary file.
    pub fn archive(path: &Path, wanted: Option<String>, progress: Arc<dyn Progress>) -> Result<Self, SourceError> {
        LocalSource::in_archive(Archive::open(path, &*progress)?, wanted, progress)
    }

    /// The same in the archive on standard input.
    pub fn stdin(wanted: Option<String>, progress: Arc<dyn Progress>) -> Result<Self, SourceError> {
        LocalSource::in_archive(Archive::from_stdin(&*progress)?, wanted, progress)
    }

    /// The image of this `id` in the archive that an engine gives for it through `reader`; all of it is copied to a temporary file.
    /// Messages call the place `name`.
    pub(super) fn exported(
        reader: impl Read,
        name: String,
        id: String,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, SourceError> {
        let archive = Archive::from_reader(reader, &name, "is exported by the engine", &*progress)?;
        Ok(LocalSource { is_exported: true, ..LocalSource::in_archive(archive, Some(id), progress)? })
    }

    fn in_archive(archive: Archive, wanted: Option<String>, progress: Arc<dyn Progress>) -> Result<Self, SourceError> {
        let chosen = archive.select(wanted.as_deref())?;
        let shown = archive.place().to_owned();
        Ok(LocalSource { place: Place::Archive(archive), shown, wanted, is_exported: false, chosen, progress })
    }

    /// The image that `wanted` names in the OCI layout in the folder `path`, or the only one.
    pub fn layout(path: &Path, wanted: Option<String>, progress: Arc<dyn Progress>) -> Result<Self, SourceError> {
        let directory = Arc::new(Directory::open(path)?);
        let layout = Layout::new(directory.clone())?;
        let chosen = Selected::Manifest(layout.select(wanted.as_deref())?);
        let shown = path.display().to_string();
        Ok(LocalSource { place: Place::Layout(layout, directory), shown, wanted, is_exported: false, chosen, progress })
    }

    fn as_layout(&self) -> Result<&Layout, SourceError> {
        let layout = match &self.place {
            Place::Archive(archive) => archive.layout(),
            Place::Layout(layout, _) => Some(layout),
        };
        let problem = || "it has no manifests".to_owned();
        layout.ok_or_else(|| SourceError::Protocol { what: self.name(), problem: problem() })
    }

    /// Whether a digest that was typed is not the manifest's, and so says nothing of the blobs that the manifest lists.
    fn is_pinned_by_config(&self) -> bool {
        match (&self.chosen, self.wanted.as_deref().and_then(digest_in)) {
            (Selected::Manifest(manifest), Some(pinned)) => manifest.digest != pinned,
            _ => false,
        }
    }

    fn stored(&self, layer: &Layer) -> Result<StoredLayer, SourceError> {
        let by_diff_id = || layer.diff_id.clone().map(Promise::Tar);
        let (stored, promise) = match (&self.chosen, layer.digest()) {
            (Selected::Manifest(_), Some(digest)) => {
                let promise =
                    if self.is_pinned_by_config() { by_diff_id() } else { Some(Promise::Blob(digest.clone())) };
                (self.as_layout()?.blob(digest, layer.size())?, promise)
            }
            (Selected::Image(image), _) if layer.index < image.layers.len() => {
                // Only its file's name would promise a digest of the blob, and nothing covers that.
                (image.layers[layer.index].open()?, by_diff_id())
            }
            _ => {
                let problem = format!("it has no layer {}", layer.index + 1);
                return Err(SourceError::Protocol { what: self.name(), problem });
            }
        };
        Ok(StoredLayer {
            stored,
            promise,
            place: self.shown.clone(),
            task: layer.task(),
            progress: Arc::clone(&self.progress),
            trail: Arc::default(),
        })
    }

    fn image_without_manifest(&self, image: &LocalImage) -> Result<Image, SourceError> {
        let unreadable = |problem| SourceError::Protocol { what: self.name(), problem };
        let config: ImageConfig = serde_json::from_slice(&image.config.bytes)
            .map_err(|error| unreadable(format!("its config cannot be read: {error}")))?;
        let blob = |layer: &super::local::LocalLayer| Blob {
            digest: layer.blob.clone(),
            size: layer.size,
            media_type: layer.media_type.clone(),
            descriptor: None,
        };
        let blobs = image.layers.iter().map(blob).collect();
        Image::of_blobs(None, config, image.config.bytes.len() as u64, blobs)
            .map_err(|error| SourceError::NotAnImage { image: self.name(), error })
    }
}

impl Source for LocalSource {
    fn name(&self) -> String {
        match (&self.wanted, &self.place) {
            (None, _) => self.shown.clone(),
            (Some(_), _) if self.is_exported => self.shown.clone(),
            (Some(wanted), Place::Archive(_)) => format!("{}#{wanted}", self.shown),
            (Some(wanted), Place::Layout(..)) if digest_in(wanted).is_some() => format!("{}@{wanted}", self.shown),
            (Some(wanted), Place::Layout(..)) => format!("{}:{wanted}", self.shown),
        }
    }

    fn address(&self, manifest: Option<&Digest>) -> String {
        let manifest = manifest.filter(|_| !self.is_pinned());
        match (&self.place, self.wanted.as_deref(), manifest) {
            (Place::Archive(archive), None, None) => archive.address().to_owned(),
            (Place::Archive(archive), Some(wanted), None) => format!("{}#{wanted}", archive.address()),
            (Place::Archive(archive), None, Some(manifest)) => format!("{}#{manifest}", archive.address()),
            (Place::Archive(archive), Some(wanted), Some(manifest)) => {
                format!("{}#{wanted}@{manifest}", archive.address())
            }
            (Place::Layout(..), _, Some(manifest)) => format!("oci-dir://{}@{manifest}", self.shown),
            (Place::Layout(..), ..) => format!("oci-dir://{}", self.name()),
        }
    }

    fn is_pinned(&self) -> bool {
        self.wanted.as_deref().and_then(digest_in).is_some()
    }

    fn bytes_fetched(&self) -> u64 {
        match &self.place {
            Place::Archive(archive) => archive.bytes_read(),
            Place::Layout(layout, _) => layout.bytes_read(),
        }
    }

    fn image<'a>(
        &'a self,
        choice: &'a Choice,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Image, SourceError>> {
        match &self.chosen {
            Selected::Manifest(_) => Box::pin(resolve(self, choice, progress)),
            Selected::Image(image) => Box::pin(ready(self.image_without_manifest(image).and_then(|image| {
                check_platform(self, &image, choice, progress)?;
                Ok(image)
            }))),
        }
    }

    fn layer<'a>(&'a self, layer: &'a Layer) -> BoxFuture<'a, Result<LayerBlob, SourceError>> {
        Box::pin(ready(self.stored(layer).map(LayerBlob::Stored)))
    }

    fn store(&self) -> Option<&dyn Store> {
        match &self.chosen {
            Selected::Manifest(_) => Some(self),
            Selected::Image(_) => None,
        }
    }
}

impl Store for LocalSource {
    fn manifest<'a>(&'a self, digest: Option<&'a Digest>) -> BoxFuture<'a, Result<RawManifest, SourceError>> {
        Box::pin(ready(match (&self.chosen, digest) {
            (Selected::Manifest(chosen), None) => Ok(chosen.clone()),
            (_, Some(digest)) => self.as_layout().and_then(|layout| layout.manifest(digest)),
            (Selected::Image(_), None) => {
                Err(SourceError::Protocol { what: self.name(), problem: "it has no manifests".to_owned() })
            }
        }))
    }

    fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Result<BlobReader, SourceError>> {
        Box::pin(ready(self.find(descriptor).map(|(stored, digest)| {
            let task = digest.to_string();
            let (place, progress) = (self.shown.clone(), Arc::clone(&self.progress));
            let (promise, trail) = (Some(Promise::Blob(digest)), Arc::default());
            StoredLayer { stored, promise, place, task, progress, trail }.whole()
        })))
    }

    fn blob_range<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BlobReader, SourceError>> {
        Box::pin(ready(self.find(descriptor).and_then(|(stored, digest)| {
            let part = stored.part(range.start, range.end.saturating_sub(range.start));
            let outside = || SourceError::Protocol {
                what: format!("{digest} in {}", self.shown),
                problem: format!("it has no bytes {} to {}", range.start, range.end),
            };
            Ok(Box::new(part.ok_or_else(outside)?.reader()) as BlobReader)
        })))
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: &'a str,
    ) -> BoxFuture<'a, Result<Vec<IndexEntry>, SourceError>> {
        Box::pin(ready(self.as_layout().and_then(|layout| layout.referrers(subject, artifact_type))))
    }
}

impl LocalSource {
    fn find(&self, descriptor: &Descriptor) -> Result<(Stored, Digest), SourceError> {
        let unreadable = |problem| SourceError::Protocol { what: self.name(), problem };
        let digest: Digest = descriptor
            .digest
            .parse()
            .map_err(|error: crate::image::digest::InvalidDigest| unreadable(error.to_string()))?;
        let size = u64::try_from(descriptor.size).map_err(|_| unreadable(format!("{digest} has a negative size")))?;
        Ok((self.as_layout()?.blob(&digest, size)?, digest))
    }
}

/// What promises the content of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The digest of its blob.
    Blob(Digest),
    /// The digest of its uncompressed tar.
    Tar(DiffId),
}

/// A layer's blob in a file of this machine. Its length has been compared, its content has not.
pub struct StoredLayer {
    stored: Stored,
    promise: Option<Promise>,
    /// The place, as messages name it.
    place: String,
    task: String,
    progress: Arc<dyn Progress>,
    trail: Arc<Trail>,
}

impl StoredLayer {
    /// What promises its content; `None` where nothing does.
    pub fn promise(&self) -> Option<&Promise> {
        self.promise.as_ref()
    }

    /// Its first bytes: as many as there is room for, or as it has.
    pub fn start(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stored.read_at(buffer, 0)
    }

    /// Reads at any place. Nothing is compared.
    pub fn reader(&self) -> StoredReader {
        self.stored.reader()
    }

    /// What [`whole`](Self::whole) leaves of the blob's hash: nothing where its digest is not promised.
    pub fn trail(&self) -> Arc<Trail> {
        Arc::clone(&self.trail)
    }

    /// Reads all of it. Where the blob's digest is promised, another one ends in an error, never in a clean end of file.
    pub fn whole(self) -> BlobReader {
        let expected = match self.promise {
            Some(Promise::Blob(digest)) => Some((digest.hasher(), digest)),
            Some(Promise::Tar(_)) | None => None,
        };
        let StoredLayer { stored, place, task, progress, trail, .. } = self;
        progress.start(&task, &task, Some(stored.length()));
        Box::new(Whole { reader: stored.reader(), position: 0, expected, trail, place, task, progress })
    }
}

#[cfg(test)]
impl StoredLayer {
    /// A layer of these bytes, in a file that is gone with it.
    pub(crate) fn of(bytes: &[u8], promise: Option<Promise>) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        let stored = Stored::new(file, 0, super::files::Count::default()).unwrap();
        let progress = Arc::new(crate::progress::Silent);
        let (place, task) = ("memory".to_owned(), "layer".to_owned());
        StoredLayer { stored, promise, place, task, progress, trail: Arc::default() }
    }

    /// The same layer, to be read once more.
    pub(crate) fn again(&self) -> Self {
        StoredLayer {
            stored: self.stored.clone(),
            promise: self.promise.clone(),
            place: self.place.clone(),
            task: self.task.clone(),
            progress: Arc::clone(&self.progress),
            trail: Arc::default(),
        }
    }

    /// How many bytes of it have been read, by any reader.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.stored.bytes_read()
    }
}

/// Reads a blob from its start to its end.
struct Whole {
    reader: StoredReader,
    /// How many bytes have been read.
    position: u64,
    /// The digest that must come out; `None` when it has been compared.
    expected: Option<(Hasher, Digest)>,
    trail: Arc<Trail>,
    place: String,
    task: String,
    progress: Arc<dyn Progress>,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.progress.advance(&self.task, read as u64);
        if let Some((hasher, _)) = &mut self.expected {
            self.trail.follow(hasher, self.position, &buffer[..read]);
        }
        self.position += read as u64;
        if read == 0
            && !buffer.is_empty()
            && let Some((hasher, expected)) = self.expected.take()
        {
            let actual = hasher.finish();
            if actual != expected {
                let what = format!("{expected} in {}", self.place);
                return Err(
                    SourceError::Mismatch { what, expected: expected.to_string(), actual: actual.to_string() }.into()
                );
            }
        }
        Ok(read)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.progress.finish(&self.task);
    }
}
