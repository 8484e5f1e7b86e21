//! What is in the cache, as a person looks at it.

use std::fs::{self, File};
use std::time::SystemTime;

use super::prune::{self, Found, Pruned};
use super::{Cache, Kind, folder};
use crate::image::digest::Digest;

/// A layer whose table is kept.
#[derive(Debug)]
pub struct KeptLayer {
    /// The digest of the layer's blob.
    pub digest: Digest,
    /// How many bytes its table takes on the disk.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
}

/// Several files of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// How many.
    pub files: u64,
    /// How many bytes they take on the disk.
    pub bytes: u64,
    /// When one of them was last used; `None` where there is none.
    pub used: Option<SystemTime>,
}

/// All of it.
#[derive(Debug)]
pub struct Contents {
    /// The layers, the last used first.
    pub layers: Vec<KeptLayer>,
    /// Manifests, small blobs and names.
    pub others: Kept,
}

impl Cache {
    /// What is in it.
    pub fn contents(&self) -> Contents {
        let (mut layers, mut others) = (Vec::new(), Kept { files: 0, bytes: 0, used: None });
        for Found { kind, digest, bytes, used, .. } in self.found(None) {
            if kind == Kind::Table {
                layers.push(KeptLayer { digest, bytes, used });
            } else {
                others.files += 1;
                others.bytes = others.bytes.saturating_add(bytes);
                others.used = others.used.max(Some(used));
            }
        }
        layers.sort_by(|a, b| (b.used, &a.digest).cmp(&(a.used, &b.digest)));
        Contents { layers, others }
    }

    /// The table of the layer whose blob has this digest, which does not count as used by that.
    pub fn look_at(&self, blob: &Digest) -> Option<File> {
        let file = folder::options().read(true).open(self.path(Kind::Table, blob)).ok()?;
        file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
    }

    /// Forgets the layer whose blob has this digest; `None` where none is known.
    pub fn forget(&self, blob: &Digest) -> Option<Pruned> {
        let path = self.path(Kind::Table, blob);
        let metadata = fs::metadata(&path).ok()?;
        fs::remove_file(path).ok()?;
        Some(Pruned { files: 1, bytes: prune::on_disk(&metadata) })
    }
}
