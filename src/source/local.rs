//! An image as a file or a folder of this machine holds it. What the place does not know (a manifest, a blob's digest, a diff
//! ID) is absent here, never made up.

use std::sync::Arc;

use bytes::Bytes;

use super::files::{Files, Stored, shown};
use super::{RawManifest, SourceError};
use crate::image::digest::{DiffId, Digest};

/// One image for one platform, with everything but its layers' bytes.
#[derive(Clone)]
pub struct LocalImage {
    /// The names that the place gives it, as it writes them: `app:1`, `docker.io/library/app:1`, a tag alone.
    pub names: Vec<String>,
    /// Its manifest; `docker save` wrote none before Docker 25.
    pub manifest: Option<RawManifest>,
    /// Its config, as JSON.
    pub config: LocalConfig,
    /// Its layers, bottom first.
    pub layers: Vec<LocalLayer>,
}

/// An image's config.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The JSON. For an image from before Docker 1.10, which has none, one with the same content, as Docker converts them.
    pub bytes: Bytes,
    /// The digest, which has been checked, where a manifest or a file's name promises it.
    pub digest: Option<Digest>,
    /// The name of the file that holds it; `None` where it was converted.
    pub(super) file: Option<String>,
}

/// One layer, as stored.
#[derive(Clone)]
pub struct LocalLayer {
    /// The blob's digest, where a descriptor or the file's name promises one. It has not been checked.
    pub blob: Option<Digest>,
    /// The digest of the uncompressed tar, where the config lists it. It has not been checked.
    pub diff_id: Option<DiffId>,
    /// The blob's length in bytes, as stored.
    pub size: u64,
    /// The media type, where a descriptor says one; compression is told by the bytes.
    pub media_type: Option<String>,
    pub(super) name: String,
    pub(super) files: Arc<dyn Files>,
}

impl LocalLayer {
    /// The file's name in the place, as its manifest has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the blob is. Fails with [`SourceError::NotFound`] where the place lacks it, as an archive may that was saved for
    /// another platform, and with [`SourceError::Mismatch`] where it has another length.
    pub fn open(&self) -> Result<Stored, SourceError> {
        let what = || self.blob.as_ref().map_or_else(|| shown(&self.name), Digest::to_string);
        let stored = self.files.find(&self.name)?.ok_or_else(|| not_held(&*self.files, &what()))?;
        check_length(&*self.files, &what(), self.size, stored.length())?;
        Ok(stored)
    }
}

/// The place does not hold the blob `what`.
pub(super) fn not_held(files: &dyn Files, what: &str) -> SourceError {
    SourceError::NotFound {
        what: format!("{what} in {}", files.place()),
        detail: "it lists this blob, but does not have it; was it saved for another platform?".to_owned(),
    }
}

/// Compares the length of the blob `what` with the one that its descriptor promises, both in bytes.
pub(super) fn check_length(files: &dyn Files, what: &str, expected: u64, actual: u64) -> Result<(), SourceError> {
    if expected == actual {
        return Ok(());
    }
    Err(SourceError::Mismatch {
        what: format!("{what} in {}", files.place()),
        expected: format!("{expected} bytes"),
        actual: format!("{actual} bytes"),
    })
}

/// Compares the bytes of `what` with the digest that is promised for them.
pub(super) fn check_digest(files: &dyn Files, what: &str, expected: &Digest, bytes: &[u8]) -> Result<(), SourceError> {
    let mut hasher = expected.hasher();
    hasher.update(bytes);
    let actual = hasher.finish();
    if actual == *expected {
        return Ok(());
    }
    Err(SourceError::Mismatch {
        what: format!("{} in {}", shown(what), files.place()),
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

/// `place` is not what its own files say it is.
pub(super) fn malformed(place: &str, problem: impl Into<String>) -> SourceError {
    SourceError::Protocol { what: place.to_owned(), problem: problem.into() }
}
