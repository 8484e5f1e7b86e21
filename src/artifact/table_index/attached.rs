//! The tables that are attached to an image. The image's digest does not cover them.

use super::list::{ARTIFACT_TYPE, Tables, of_manifest};
use crate::artifact::referrer::newest_first;
use crate::image::digest::Digest;
use crate::progress::Progress;
use crate::source::{self, SourceError, Store};

/// How many manifests that are listed are looked at. Each costs a request, and at most what a manifest may have.
const MAX_LOOKED_AT: usize = 8;

/// What is attached to one image manifest.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// What the newest manifest lists.
    pub tables: Tables,
    /// Its digest and its revision; `None` where there is none.
    pub newest: Option<(Digest, u64)>,
    /// All manifests of this type that are listed, those that are gone among them.
    pub listed: Vec<Digest>,
}

/// The tables that are attached to the image manifest `subject`. A manifest that is gone, or that cannot be read, is passed over with a
/// notice, and the next one counts.
pub async fn attached(source: &dyn Store, subject: &Digest, progress: &dyn Progress) -> Result<Attached, SourceError> {
    let (listed, tells) = newest_first(source.referrers(subject, ARTIFACT_TYPE).await?);
    let mut found = Attached::default();
    for (looked_at, entry) in listed.into_iter().enumerate() {
        let is_typed = entry.artifact_type.as_deref() == Some(ARTIFACT_TYPE);
        // Where the list tells revisions, the first one that can be read is the newest.
        if looked_at >= MAX_LOOKED_AT || (tells && found.newest.is_some()) {
            found.listed.extend(is_typed.then_some(entry.digest));
            continue;
        }
        let read = source::listed_manifest(source, &entry).await;
        let problem = match read {
            Ok(raw) => match of_manifest(&raw.bytes, subject) {
                Some((tables, revision)) => {
                    if found.newest.as_ref().is_none_or(|(_, newest)| revision > *newest) {
                        (found.tables, found.newest) = (tables, Some((entry.digest.clone(), revision)));
                    }
                    found.listed.push(entry.digest);
                    continue;
                }
                // It is about something else, or of another type.
                None if !is_typed => continue,
                None => "it is not a table index".to_owned(),
            },
            Err(
                error @ (SourceError::NotFound { .. } | SourceError::Protocol { .. } | SourceError::Mismatch { .. }),
            ) => error.to_string(),
            Err(error) => return Err(error),
        };
        if is_typed {
            progress.notice(&format!("skipping a table index that cannot be read: {problem}"));
            found.listed.push(entry.digest);
        }
    }
    Ok(found)
}
