//! Measuring artifacts: the digest of each wanted file and the extents of the blob that hold it, in one reading of its layer.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use super::collect::{Collect, File};
use crate::extract::StageError;
use crate::image::digest::{Digest, Hasher};
use crate::image::{Layer, LayerPosition};
use crate::layer::Content;
use crate::layer::checkpoint::Extent;
use crate::layer::content::FileContent;

/// Two extents that are no further apart than this many compressed bytes become one: another request would cost more.
const GAP: u64 = 64 * 1024;

/// Collects digests and extents, by pattern and layer.
#[derive(Debug, Default)]
pub struct Measure {
    extents: Mutex<HashMap<(usize, LayerPosition), Vec<Extent>>>,
}

/// What is kept of a file.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The SHA-256 of its content.
    pub digest: Digest,
    /// Whether the tar stores it without its holes, so that its content is not one stretch of the tar.
    pub sparse: bool,
}

impl Measure {
    /// The extents that hold what the pattern at `pattern` matched in the layer at `layer`, in their order.
    pub fn extents(&self, pattern: usize, layer: LayerPosition) -> Vec<Extent> {
        let extents = self.extents.lock().unwrap_or_else(PoisonError::into_inner);
        extents.get(&(pattern, layer)).cloned().unwrap_or_default()
    }

    fn add(&self, patterns: &[usize], layer: LayerPosition, extent: &Extent) {
        let mut all = self.extents.lock().unwrap_or_else(PoisonError::into_inner);
        for pattern in patterns {
            let extents = all.entry((*pattern, layer)).or_default();
            match extents.last_mut() {
                Some(last)
                    if last.compressed.start <= extent.compressed.start
                        && extent.compressed.start <= last.compressed.end.saturating_add(GAP) =>
                {
                    last.compressed.end = last.compressed.end.max(extent.compressed.end);
                    last.uncompressed.end = last.uncompressed.end.max(extent.uncompressed.end);
                }
                _ => extents.push(extent.clone()),
            }
        }
    }
}

impl Collect for Measure {
    type Kept = Measured;
    const TRACKS: bool = true;

    fn collect(
        &self,
        layer: &Layer,
        patterns: &[usize],
        file: File,
        data: &mut dyn Content,
    ) -> Result<Measured, StageError> {
        let FileContent { size, sparse, .. } = file.content;
        if !sparse {
            let digest = digest_of(data, size).map_err(StageError::Read)?;
            if let Some(extent) = data.extent().filter(|_| size > 0) {
                self.add(patterns, layer.position(), &extent);
            }
            return Ok(Measured { digest, sparse });
        }
        Ok(Measured { digest: Digest::of(b""), sparse })
    }

    fn forget(&self) {
        self.extents.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn digest_of(data: &mut dyn Read, size: u64) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut left = size;
    while left > 0 {
        let read = data.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..read]);
        left = left.saturating_sub(read as u64);
    }
    Ok(hasher.finish())
}
