//! SOCI indexes: which layers of an image have a zTOC, a table of contents in a blob of its own, and where that is.
//!
//! The second version of the format is named by the image's manifest, and so covered by its digest. The first refers to the image, as
//! anything can that somebody attaches to it. Spec: soci-snapshotter, *SOCI Index Manifest v2*, and what `soci` writes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::OnceCell;

use super::collect::NamedLayer;
use super::error::Error;
use super::told::{NotTold, Origin};
use crate::image::digest::Digest;
use crate::image::manifest::{Descriptor, Manifest};
use crate::image::{Image, Layer};
use crate::progress::Progress;
use crate::source::{self, Source, SourceError, Store};
use crate::table::soci::Ztoc;
use crate::table::{Format, MAX_STORED, Unusable};

/// The annotation of an image's manifest that has the digest of its index.
const INDEX_ANNOTATION: &str = "com.amazon.soci.index-digest";

/// What indexes are: their config's media type, or their artifact type.
pub const ATTACHED_TYPE: &str = "application/vnd.amazon.soci.index.v1+json";
const TYPE_2: &str = "application/vnd.amazon.soci.index.v2+json";

/// The annotation of a zTOC's descriptor that has the digest of its layer.
const LAYER_ANNOTATION: &str = "com.amazon.soci.image-layer-digest";

/// The media type of a zTOC.
const ZTOC: &str = "application/octet-stream";

/// A layer of fewer bytes, as stored, is read where the manifest names an index: its zTOC would take as long.
const LEAST_NAMED: u64 = 64 << 10;

/// A layer of fewer bytes is read where an index would have to be looked for. `soci` writes no zTOC of one, unless it is told to.
const LEAST_ATTACHED: u64 = 10 << 20;

/// A zTOC is read where the layer is so many times as long. It has all names, and 32 KiB for each span.
const LEAST_RATIO: u64 = 4;

/// How many indexes that refer to an image are looked at.
const MAX_LOOKED_AT: usize = 4;

/// Whether it is worth looking for an index of an image with layers of these sizes.
pub fn is_worth_asking(mut sizes: impl Iterator<Item = u64>) -> bool {
    sizes.any(|size| size >= LEAST_ATTACHED)
}

/// The SOCI index of an image, which is asked for when it is needed first.
pub struct SociIndex {
    /// What the image's manifest says of it.
    named: Option<String>,
    /// The image's manifest.
    subject: Option<Digest>,
    /// Whether one that is only attached is believed.
    is_attached_believed: bool,
    listed: OnceCell<Listed>,
    /// Who is told why it is of no use.
    progress: Arc<dyn Progress>,
}

/// What an index lists.
#[derive(Debug)]
struct Listed {
    /// By the digests of layers, which they are of.
    ztocs: HashMap<Digest, Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    artifact_type: Option<String>,
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: String,
}

impl fmt::Debug for SociIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SociIndex").field("named", &self.named).field("listed", &self.listed).finish_non_exhaustive()
    }
}

impl SociIndex {
    /// The index of `image`. One that is only attached is not looked for.
    pub(super) fn of(image: &Image, progress: &Arc<dyn Progress>) -> Self {
        SociIndex {
            named: image.annotations.get(INDEX_ANNOTATION).cloned(),
            subject: image.digest.clone(),
            is_attached_believed: false,
            listed: OnceCell::new(),
            progress: Arc::clone(progress),
        }
    }

    /// The same, also where it is only attached, or not.
    pub(super) fn believing_attached(self, believe: bool) -> Self {
        SociIndex { is_attached_believed: believe, ..self }
    }

    /// Whether `layer` may have a zTOC that is worth reading, as far as is known: one whose manifest promises a table of another kind is
    /// told by that.
    pub(super) fn may_tell(&self, source: &dyn Source, layer: &Layer) -> bool {
        if source.store().is_none() || Format::of(layer).is_some() {
            return false;
        }
        match self.listed.get() {
            Some(listed) => listed.of(layer).is_some(),
            None if self.named.is_some() => layer.size() >= LEAST_NAMED,
            None => self.is_attached_believed && layer.size() >= LEAST_ATTACHED,
        }
    }

    /// Where its tables are from.
    pub(super) fn origin(&self) -> Origin {
        if self.named.is_some() { Origin::Covered } else { Origin::Attached }
    }

    /// The zTOC of `layer`; `None` where there is none.
    pub(super) async fn ztoc(&self, source: &dyn Source, layer: &NamedLayer) -> Result<Option<Arc<Ztoc>>, NotTold> {
        let (Some(store), true) = (source.store(), self.may_tell(source, &layer.layer)) else { return Ok(None) };
        let listed = self.listed(source).await.map_err(NotTold::Failed)?;
        let Some(descriptor) = listed.of(&layer.layer) else { return Ok(None) };
        self.progress.name(&descriptor.digest, &format!("table of {}", layer.name));
        let stored = source::read_whole(store, descriptor).await.map_err(|error| match error {
            // Somebody may have copied the image alone.
            SourceError::NotFound { .. } | SourceError::Mismatch { .. } | SourceError::Protocol { .. } => {
                NotTold::Unusable(Unusable::new(error.to_string()))
            }
            error => NotTold::Failed(error.into()),
        })?;
        let ztoc = Ztoc::new(stored, layer.layer.size()).map_err(NotTold::Unusable)?;
        Ok(Some(Arc::new(ztoc)))
    }

    async fn listed(&self, source: &dyn Source) -> Result<&Listed, Error> {
        self.listed.get_or_try_init(|| self.find(source)).await
    }

    /// Asks for the index; what is listed is nothing where there is none, or none that can be read. Fails where this machine is at fault.
    async fn find(&self, source: &dyn Source) -> Result<Listed, Error> {
        let (Some(store), Some(subject)) = (source.store(), &self.subject) else { return Ok(Listed::none()) };
        let found = match &self.named {
            Some(named) => named_index(store, named).await,
            None if self.is_attached_believed => return attached_index(store, subject).await,
            None => return Ok(Listed::none()),
        };
        match found {
            Ok(listed) => Ok(listed),
            Err(error) if error.is_local() => Err(error),
            Err(error) => {
                self.progress.notice(&format!("cannot read the SOCI index ({error}); reading whole layers instead"));
                Ok(Listed::none())
            }
        }
    }
}

impl Listed {
    fn none() -> Self {
        Listed { ztocs: HashMap::new() }
    }

    /// The zTOC of `layer`, where it is worth reading.
    fn of(&self, layer: &Layer) -> Option<&Descriptor> {
        self.ztocs.get(layer.digest()?).filter(|ztoc| {
            let size = u64::try_from(ztoc.size).unwrap_or(u64::MAX);
            size <= layer.size() / LEAST_RATIO && size <= MAX_STORED
        })
    }
}

/// The index that the image's manifest names so.
async fn named_index(store: &dyn Store, named: &str) -> Result<Listed, Error> {
    let malformed = |problem: String| SourceError::Protocol { what: store.name(), problem };
    let digest: Digest = named.parse().map_err(|error| malformed(format!("the manifest names it wrongly: {error}")))?;
    let raw = store.manifest(Some(&digest)).await?;
    let ztocs = ztocs(&raw.bytes, TYPE_2, None).ok_or_else(|| malformed(format!("{digest} is not one")))?;
    Ok(Listed { ztocs })
}

/// The index that refers to the manifest `subject`: the latest one, where there are several. Nobody need have heard of any, and so it is
/// not told where it cannot be had.
async fn attached_index(store: &dyn Store, subject: &Digest) -> Result<Listed, Error> {
    let local = |error: SourceError| Some(Error::from(error)).filter(Error::is_local);
    let listed = match store.referrers(subject, ATTACHED_TYPE).await {
        Ok(listed) => listed,
        Err(error) => return local(error).map_or_else(|| Ok(Listed::none()), Err),
    };
    // What does not say its type is nothing of SOCI's, whose manifests have it in two places.
    let typed = listed.iter().rev().filter(|entry| entry.artifact_type.as_deref() == Some(ATTACHED_TYPE));
    for entry in typed.take(MAX_LOOKED_AT) {
        match source::listed_manifest(store, entry).await {
            Ok(raw) => {
                if let Some(ztocs) = ztocs(&raw.bytes, ATTACHED_TYPE, Some(subject)) {
                    return Ok(Listed { ztocs });
                }
            }
            Err(error) => {
                if let Some(error) = local(error) {
                    return Err(error);
                }
            }
        }
    }
    Ok(Listed::none())
}

/// The digests of those layers of `image` that are told by its SOCI index, where it has one.
pub async fn told_by_soci(
    source: &dyn Source,
    image: &Image,
    progress: &Arc<dyn Progress>,
) -> Result<HashSet<Digest>, Error> {
    let index = SociIndex::of(image, progress).believing_attached(!source.is_pinned());
    let mut told = HashSet::new();
    for layer in &image.layers {
        if index.may_tell(source, layer) && index.listed(source).await?.of(layer).is_some() {
            told.extend(layer.digest().cloned());
        }
    }
    Ok(told)
}

/// What the index `manifest` lists; `None` where it is not one of this type, or of another `subject`.
fn ztocs(manifest: &[u8], of_type: &str, subject: Option<&Digest>) -> Option<HashMap<Digest, Descriptor>> {
    let kind: Kind = serde_json::from_slice(manifest).ok()?;
    let Manifest::Image(manifest) = Manifest::parse_any(manifest).ok()? else { return None };
    let is_one = manifest.config.media_type == of_type || kind.artifact_type.as_deref() == Some(of_type);
    let is_about = |subject: &Digest| kind.subject.as_ref().is_some_and(|named| named.digest == subject.as_str());
    if !is_one || !subject.is_none_or(is_about) {
        return None;
    }
    let of_layer = |annotations: &BTreeMap<String, String>| annotations.get(LAYER_ANNOTATION)?.parse().ok();
    let listed = manifest.layers.into_iter().filter(|ztoc| ztoc.media_type == ZTOC && ztoc.size > 0);
    let listed = listed.filter_map(|ztoc| Some((ztoc.annotations.as_ref().and_then(of_layer)?, ztoc)));
    Some(listed.collect())
}
