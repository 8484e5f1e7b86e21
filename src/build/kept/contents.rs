//! What builds have left behind, as a person looks at it and empties it.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::{entries, folder_for_builds, is_folder, is_of_image, is_record, read};
use crate::cache::Pruned;
use crate::extract;
use crate::image::digest::Digest;

/// An image of which folders are kept.
#[derive(Debug)]
pub struct KeptImage {
    /// The digest of its manifest.
    pub digest: Digest,
    /// The length in bytes of all files that were asked for.
    pub bytes: u64,
    /// When a build used one of them last.
    pub used: SystemTime,
}

/// All images of which folders are kept below the cache's `root`.
pub fn kept_images(root: &Path) -> Vec<KeptImage> {
    entries(&folder_for_builds(root)).filter(is_of_image).filter_map(|of_image| kept_image(&of_image)).collect()
}

fn kept_image(of_image: &fs::DirEntry) -> Option<KeptImage> {
    let name = of_image.file_name().into_string().ok()?;
    let algorithm = if name.len() == 64 { "sha256" } else { "sha512" };
    let digest = format!("{algorithm}:{name}").parse().ok()?;
    let mut image: Option<KeptImage> = None;
    for entry in entries(&of_image.path()).filter(|entry| is_record(&entry.file_name().to_string_lossy())) {
        let Some(record) = read(&entry.path()) else { continue };
        let used = entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let bytes = record.record.bytes();
        image = Some(match image {
            Some(image) => KeptImage { bytes: image.bytes.saturating_add(bytes), used: image.used.max(used), ..image },
            None => KeptImage { digest: Digest::clone(&digest), bytes, used },
        });
    }
    image
}

/// Removes what is kept of the image with this digest below the cache's `root`. A build that reads it has named it to BuildKit already,
/// and may fail.
pub fn forget_image(root: &Path, image: &Digest) -> Pruned {
    let mut pruned = Pruned::default();
    let of_image = folder_for_builds(root).join(image.encoded());
    for entry in entries(&of_image) {
        let name = entry.file_name().to_string_lossy().into_owned();
        // As in pruning, the record goes first: a folder without one counts for nothing.
        if is_record(&name) {
            let bytes = read(&entry.path()).map_or(0, |sealed| sealed.record.bytes());
            if fs::remove_file(entry.path()).is_ok() {
                pruned += Pruned { files: 1, bytes };
            }
        }
    }
    for entry in entries(&of_image) {
        let is_ours = is_folder(&entry.file_name().to_string_lossy());
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = extract::remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(of_image);
    pruned
}
