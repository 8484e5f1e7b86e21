//! zstd:chunked: a zstd layer in which each file's content, or each chunk of it, is a frame of its own, and whose table of contents (the
//! *manifest* of the format) is a skippable frame behind them. The image's manifest has its place and its digest, as stored.
//! Written by podman, buildah and skopeo (containers/storage `pkg/chunked`), and by nerdctl (stargz-snapshotter `estargz/zstdchunked`).

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;

use super::toc::{Assembling, Listed, parse};
use super::{MAX_STORED, Unusable};
use crate::image::digest::Digest;
use crate::layer::checkpoint::{Checkpoint, ExtentReader};

/// The annotation of a layer's descriptor that says where the table is: `offset:length:length when decompressed:type`.
pub(super) const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";

/// The annotation that has the digest of the table, as stored.
pub(super) const CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";

/// The only type of table there is.
const TYPE: u64 = 1;

/// What the manifest promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    /// The bytes of the blob that the table is.
    pub(super) range: Range<u64>,
    /// Its length in bytes when decompressed.
    length: u64,
    /// The digest of what is stored.
    digest: Digest,
}

impl Promise {
    /// What these annotations of a layer of `size` bytes promise.
    pub(super) fn of(annotations: &BTreeMap<String, String>, size: u64) -> Result<Self, Unusable> {
        let annotation = |key| annotations.get(key).map(String::as_str).unwrap_or_default();
        let position = annotation(POSITION);
        let numbers: Option<Vec<u64>> = position.split(':').map(|number| number.parse().ok()).collect();
        let Some([start, stored, length, TYPE]) = numbers.as_deref() else {
            let shown: String = position.chars().take(80).collect();
            return Err(Unusable::new(format!("the manifest says that it is at \"{}\"", shown.escape_debug())));
        };
        let end = start.checked_add(*stored).filter(|end| *end <= size && *start > 0 && *stored > 0);
        let end =
            end.ok_or_else(|| Unusable::new(format!("the manifest says that it is at {position}, of {size} bytes")))?;
        if *stored > MAX_STORED {
            return Err(Unusable::new(format!("it has {stored} bytes, more than the {MAX_STORED} that are read")));
        }
        let digest = annotation(CHECKSUM).parse();
        let digest = digest.map_err(|error| Unusable::new(format!("the manifest names it wrongly: {error}")))?;
        Ok(Promise { range: *start..end, length: *length, digest })
    }

    /// Fails where `stored` is not what is promised.
    pub(super) fn check(&self, stored: &[u8]) -> Result<(), Unusable> {
        let mut hasher = self.digest.hasher();
        hasher.update(stored);
        let digest = hasher.finish();
        if digest == self.digest {
            return Ok(());
        }
        Err(Unusable::new(format!("it is not the one that the manifest means: expected {}, got {digest}", self.digest)))
    }

    /// Reads the table, which is `stored` so, as far as to `most` bytes.
    pub(super) fn read(
        &self,
        stored: &[u8],
        most: u64,
        assembling: Assembling,
        each: &mut dyn FnMut(Listed) -> Result<(), Unusable>,
    ) -> Result<(), Unusable> {
        if self.length > most {
            return Err(Unusable::new(format!(
                "it has {} bytes, as it is decompressed, more than {most}",
                self.length
            )));
        }
        let json = ExtentReader::new(&Checkpoint::ZstdFrame, stored);
        let json = json.map_err(|error| Unusable::new(format!("it cannot be decompressed: {error}")))?;
        // One more would be too long.
        let mut json = json.take(self.length.saturating_add(1));
        parse(&mut json, assembling, each)?;
        let rest = io::copy(&mut json, &mut io::sink());
        rest.map_err(|error| Unusable::new(format!("it cannot be decompressed: {error}")))?;
        match json.limit() {
            1 => Ok(()),
            _ => Err(Unusable::new(format!("it has not the {} bytes that the manifest says", self.length))),
        }
    }
}
