//! An OCI image layout, in a folder or inside an archive: an index of images, and blobs by digest.
//!
//! Manifests, configs and indexes are checked against their digests; blobs are found, and their lengths compared. A blob that is
//! named and not there is ordinary (archives are saved for one platform of many), and an error only when it is asked for.
//! Spec: OCI image-spec *Image Layout*; the names are its `org.opencontainers.image.ref.name`, and containerd's.

mod referrers;
mod renew;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::directory::Directory;
use super::files::{Files, Stored, read_small, shown};
use super::local::{LocalConfig, LocalImage, LocalLayer, check_digest, check_length, malformed, not_held};
use super::select::{self, Candidate};
use super::{MAX_MANIFESTS, RawManifest, SourceError};
use crate::image::config::ImageConfig;
use crate::image::digest::Digest;
use crate::image::index::IndexEntry;
use crate::image::manifest::{Manifest, ManifestError};

/// The file that marks a layout.
pub(super) const MARKER: &str = "oci-layout";
/// The file that lists its images.
pub(super) const INDEX: &str = "index.json";

/// The annotation with an image's tag, or its whole reference.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's annotation with an image's whole reference.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// An OCI image layout.
#[derive(Clone)]
pub struct Layout {
    files: Arc<dyn Files>,
    index: RawManifest,
    images: Arc<[Listed]>,
}

/// An image that the layout's index lists: a manifest, or an index of manifests.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What it is called there: references, tags alone, or nothing.
    pub names: Vec<String>,
    /// Its descriptor.
    pub entry: IndexEntry,
}

impl Layout {
    /// The layout in the folder `path`.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        Layout::new(Arc::new(Directory::open(path)?))
    }

    /// The layout that `files` holds.
    pub fn new(files: Arc<dyn Files>) -> Result<Self, SourceError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let place = files.place();
        // Some writers leave the marker out.
        if let Some(marker) = read_small(&*files, MARKER)? {
            let version = serde_json::from_slice(&marker).map(|marker: Marker| marker.image_layout_version);
            let version = version.map_err(|error| malformed(place, format!("its {MARKER} cannot be read: {error}")))?;
            if !version.starts_with("1.") {
                let problem = format!("it is an OCI layout of version {}, not 1.0.0", shown(&version));
                return Err(malformed(place, problem));
            }
        }
        let Some(bytes) = read_small(&*files, INDEX)? else {
            return Err(malformed(place, format!("it is not an OCI layout: it has no {INDEX}")));
        };
        let index = RawManifest { digest: Digest::of(&bytes), bytes, media_type: None };
        let mut layout = Layout { files, index, images: Arc::new([]) };
        layout.images = listed(layout.entries()?).into();
        Ok(layout)
    }

    /// All that the index lists.
    fn entries(&self) -> Result<Vec<IndexEntry>, SourceError> {
        match Manifest::parse(&self.index.bytes, None) {
            Ok(Manifest::Index(entries)) => Ok(entries),
            Ok(Manifest::Image(_)) => Err(malformed(self.files.place(), format!("its {INDEX} is not an image index"))),
            Err(error) => Err(malformed(self.files.place(), format!("its {INDEX} cannot be read: {error}"))),
        }
    }

    /// The images that the index lists, in its order; what is no image (attestations, signatures) is left out.
    pub fn images(&self) -> &[Listed] {
        &self.images
    }

    /// How many bytes have been read from the place so far, as stored.
    pub fn bytes_read(&self) -> u64 {
        self.files.bytes_read()
    }

    /// The manifest, or the index of manifests, of the image `wanted`: one of its names, its digest, or that of its config.
    /// Without `wanted` the only image; where several images have no names but platforms, they are one image for all of these, and the
    /// layout's own index says so.
    pub fn select(&self, wanted: Option<&str>) -> Result<RawManifest, SourceError> {
        if let Some(digest) = wanted.and_then(select::digest_in) {
            return self.select_by_digest(&digest);
        }
        if wanted.is_none() && self.is_one_image() {
            return Ok(self.index.clone());
        }
        if wanted.is_none()
            && self.images.len() > 1
            && let Some(only) = self.only_image()
        {
            return self.listed_manifest(&only.entry);
        }
        let candidates = self.candidates();
        let entry = &self.images[select::select(&*self.files, &candidates, wanted)?].entry;
        self.listed_manifest(entry)
    }

    /// The only image, where whatever else is listed turns out to be none: what is attached to an image need not say so in the
    /// index.
    fn only_image(&self) -> Option<&Listed> {
        if self.images.len() > MAX_MANIFESTS {
            return None;
        }
        let is_image = |image: &&Listed| match self.listed_manifest(&image.entry) {
            Ok(raw) => Manifest::parse(&raw.bytes, raw.media_type.as_deref()).is_ok(),
            // Nobody knows.
            Err(_) => true,
        };
        let mut images = self.images.iter().filter(is_image);
        images.next().filter(|_| images.next().is_none())
    }

    /// The manifest with this digest, which is checked.
    pub fn manifest(&self, digest: &Digest) -> Result<RawManifest, SourceError> {
        if *digest == self.index.digest {
            return Ok(self.index.clone());
        }
        match self.images.iter().find(|image| image.entry.digest == *digest) {
            Some(image) => self.listed_manifest(&image.entry),
            None => self.read(digest, None),
        }
    }

    /// Where the blob `digest` is. Fails with [`SourceError::NotFound`] where the layout lacks it, and with
    /// [`SourceError::Mismatch`] where it does not have `size` bytes. Its content is not checked.
    pub fn blob(&self, digest: &Digest, size: u64) -> Result<Stored, SourceError> {
        let what = digest.to_string();
        let stored = self.files.find(&blob_name(digest))?.ok_or_else(|| not_held(&*self.files, &what))?;
        check_length(&*self.files, &what, size, stored.length())?;
        Ok(stored)
    }

    /// The image that `manifest` describes, with its config, which is checked. Fails where it is an index.
    pub fn image(&self, manifest: RawManifest) -> Result<LocalImage, SourceError> {
        let not_an_image =
            |error| SourceError::NotAnImage { image: format!("{} in {}", manifest.digest, self.files.place()), error };
        let parsed = match Manifest::parse(&manifest.bytes, manifest.media_type.as_deref()).map_err(not_an_image)? {
            Manifest::Image(parsed) => *parsed,
            Manifest::Index(_) => {
                let what = "an index of images; choose one by its platform".to_owned();
                return Err(not_an_image(ManifestError::NotAnImage { what }));
            }
        };
        let digest_of = |text: &str| text.parse::<Digest>().map_err(|error| not_an_image(error.into()));
        let size_of = |size: i64| {
            let negative = || not_an_image(ManifestError::Inconsistent("it has a negative size".to_owned()));
            u64::try_from(size).map_err(|_| negative())
        };
        let digest = digest_of(&parsed.config.digest)?;
        let bytes =
            self.blob(&digest, size_of(parsed.config.size)?)?.read_small(self.files.place(), digest.as_str())?;
        check_digest(&*self.files, digest.as_str(), &digest, &bytes)?;
        let config: ImageConfig = serde_json::from_slice(&bytes)
            .map_err(|error| malformed(self.files.place(), format!("the config {digest} cannot be read: {error}")))?;
        let diff_ids = &config.rootfs.diff_ids;
        if !diff_ids.is_empty() && diff_ids.len() != parsed.layers.len() {
            let problem =
                format!("it lists {} layers, and its config {} diff IDs", parsed.layers.len(), diff_ids.len());
            return Err(not_an_image(ManifestError::Inconsistent(problem)));
        }
        let layers = parsed.layers.iter().enumerate().map(|(index, descriptor)| {
            let blob = digest_of(&descriptor.digest)?;
            Ok(LocalLayer {
                diff_id: diff_ids.get(index).cloned(),
                size: size_of(descriptor.size)?,
                media_type: Some(descriptor.media_type.clone()),
                name: blob_name(&blob),
                blob: Some(blob),
                files: self.files.clone(),
            })
        });
        let layers = layers.collect::<Result<_, SourceError>>()?;
        let named = self.images.iter().find(|image| image.entry.digest == manifest.digest);
        let names = named.map(|image| image.names.clone()).unwrap_or_default();
        Ok(LocalImage {
            names,
            manifest: Some(manifest),
            config: LocalConfig { bytes, file: Some(blob_name(&digest)), digest: Some(digest) },
            layers,
        })
    }

    fn candidates(&self) -> Vec<Candidate> {
        let candidate =
            |image: &Listed| Candidate { names: image.names.clone(), ids: vec![image.entry.digest.to_string()] };
        self.images.iter().map(candidate).collect()
    }

    /// Whether the images have no names and differ in their platforms.
    fn is_one_image(&self) -> bool {
        let platform = |image: &Listed| image.entry.platform.as_ref().map(ToString::to_string);
        let mut platforms: Vec<_> = self.images.iter().map(platform).collect();
        platforms.sort();
        platforms.dedup();
        self.images.len() > 1
            && platforms.len() == self.images.len()
            && self.images.iter().all(|image| image.names.is_empty() && image.entry.platform.is_some())
    }

    /// The manifest with this digest, or the one whose config has it.
    fn select_by_digest(&self, digest: &Digest) -> Result<RawManifest, SourceError> {
        let missing = || select::not_found(&*self.files, &self.candidates(), digest.as_str());
        match self.manifest(digest) {
            Ok(raw) if Manifest::parse(&raw.bytes, raw.media_type.as_deref()).is_ok() => return Ok(raw),
            // Perhaps it is a config, or a layer.
            Ok(_) | Err(SourceError::Protocol { .. }) => {}
            Err(SourceError::NotFound { .. }) => return Err(missing()),
            Err(error) => return Err(error),
        }
        let mut pending: Vec<Digest> = self.images.iter().rev().map(|image| image.entry.digest.clone()).collect();
        for _ in 0..MAX_MANIFESTS {
            let Some(next) = pending.pop() else { break };
            let raw = match self.manifest(&next) {
                Ok(raw) => raw,
                Err(SourceError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            match Manifest::parse(&raw.bytes, raw.media_type.as_deref()) {
                Ok(Manifest::Image(manifest)) if manifest.config.digest == digest.as_str() => return Ok(raw),
                Ok(Manifest::Index(entries)) => pending.extend(entries.into_iter().map(|entry| entry.digest)),
                Ok(Manifest::Image(_)) | Err(_) => {}
            }
        }
        Err(missing())
    }

    fn listed_manifest(&self, entry: &IndexEntry) -> Result<RawManifest, SourceError> {
        // Some old writers leave the size out.
        let size = Some(entry.size).filter(|&size| size > 0);
        let mut raw = self.read(&entry.digest, size)?;
        raw.media_type = Some(entry.media_type.clone()).filter(|media_type| !media_type.is_empty());
        Ok(raw)
    }

    fn read(&self, digest: &Digest, size: Option<u64>) -> Result<RawManifest, SourceError> {
        let name = blob_name(digest);
        let what = digest.to_string();
        let stored = self.files.find(&name)?.ok_or_else(|| not_held(&*self.files, &what))?;
        if let Some(size) = size {
            check_length(&*self.files, &what, size, stored.length())?;
        }
        let bytes = stored.read_small(self.files.place(), &name)?;
        check_digest(&*self.files, &what, digest, &bytes)?;
        Ok(RawManifest { bytes, media_type: None, digest: digest.clone() })
    }
}

/// The name of the file that holds a blob.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}", digest.as_str().replacen(':', "/", 1))
}

/// The digest that the name of a blob's file promises.
pub(super) fn blob_digest(name: &str) -> Option<Digest> {
    let (algorithm, encoded) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{encoded}").parse().ok()
}

/// The images among an index's entries. An image may be listed once for each of its names.
fn listed(entries: Vec<IndexEntry>) -> Vec<Listed> {
    let mut images: Vec<Listed> = Vec::new();
    let mut places = HashMap::new();
    let mut seen = HashSet::new();
    for entry in entries {
        if !entry.is_image() || referrers::is_list(&entry) {
            continue;
        }
        let annotation = |key| entry.annotations.get(key).cloned();
        let names = [annotation(IMAGE_NAME), annotation(REF_NAME)];
        let place = *places.entry(entry.digest.clone()).or_insert_with(|| {
            images.push(Listed { names: Vec::new(), entry });
            images.len() - 1
        });
        for name in names.into_iter().flatten().filter(|name| !name.is_empty()) {
            if seen.insert((place, name.clone())) {
                images[place].names.push(name);
            }
        }
    }
    images
}

#[cfg(test)]
mod tests;
