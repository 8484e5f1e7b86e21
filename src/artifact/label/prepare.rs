//! All that labelling comes to, before any of it is written: the images with their new configs, and whatever points at them
//! mended. It is the same wherever the image is and wherever the result goes.

use std::sync::Arc;

use super::relabel::{Relabelled, relabel};
use super::request::{Labelled, Request};
use super::wanted::Wanted;
use crate::artifact::candidate::{Candidate, text, unreadable};
use crate::artifact::error::Error;
use crate::artifact::found::Found;
use crate::image::digest::Digest;
use crate::image::mend::Moved;
use crate::progress::Progress;
use crate::source::{RawManifest, Source, SourceError};

/// What is to be written.
pub struct Prepared {
    /// What the reference names, as it was and as it is now; `None` where the place keeps no manifests.
    pub root: Option<(RawManifest, String)>,
    /// Whether that is an index.
    pub is_index: bool,
    /// The images that were labelled.
    pub images: Vec<Relabelled>,
    /// Whatever else is listed beside them, each as it was and as it is now.
    pub others: Vec<(RawManifest, String)>,
    /// What was changed: each manifest's and each config's digest as it was, and the document as it is now.
    pub moved: Moved,
    old: Digest,
    new: Digest,
}

impl Prepared {
    /// Whether the reference's digest is another one now.
    pub fn is_changed(&self) -> bool {
        self.new != self.old
    }

    /// What is told of it; `pushed` is whether anything was written.
    pub fn outcome(&self, pushed: bool) -> Labelled {
        let images = self.images.iter().map(Relabelled::outcome).collect();
        let configs = self.images.iter().filter_map(|image| {
            let config = image.config.as_ref()?;
            Some((image.before.config_digest(), Digest::of(config.as_bytes())))
        });
        Labelled { old: self.old.clone(), new: self.new.clone(), configs: configs.collect(), images, pushed }
    }
}

/// Labels what was `found` in `from` as `request` says. Reads the layers that hold what is to be labelled, against their digests.
pub async fn prepare(
    from: &Arc<dyn Source>,
    found: Found,
    request: &Request,
    progress: &Arc<dyn Progress>,
) -> Result<Prepared, Error> {
    let name = from.name();
    let Found { root, images, others, is_index, attested, absent, may_lack, keeps_indexes } = found;
    let images = relabel_all(from, images, (may_lack, absent), keeps_indexes, request, progress).await?;
    // Whatever points at what was changed has to point at what it is now.
    let mut moved = Moved::default();
    for image in &images {
        let before = &image.before;
        if let Some(config) = &image.config {
            moved.insert(&before.config_digest(), config);
        }
        if let Some((own, document)) = before.manifest.as_ref().zip(image.manifest.as_ref()) {
            moved.insert(&own.raw.digest, document);
        }
    }
    let mut mended = Vec::new();
    for raw in others {
        let after = moved.subject(&text(&name, &raw)?).map_err(|error| unreadable(&name, &error))?;
        moved.insert(&raw.digest, &after);
        mended.push((raw, after));
    }
    let root = match (root, images.first()) {
        (Some(root), _) if is_index => {
            let after = moved.index(&text(&name, &root)?).map_err(|error| unreadable(&name, &error))?;
            moved.insert(&root.digest, &after);
            Some((root, after))
        }
        (Some(root), Some(Relabelled { manifest: Some(manifest), .. })) => Some((root, manifest.clone())),
        _ => None,
    };
    let (old, new) = match (&root, images.first()) {
        (Some((root, after)), _) => (root.digest.clone(), Digest::of(after.as_bytes())),
        (None, Some(image)) => (image.before.digest(), image.digest()),
        (None, None) => return Err(Error::Bug(format!("nothing of {name} was labelled"))),
    };
    if attested && new != old && !request.dry_run {
        progress.notice("attestations were carried over; signatures of the image cover the old digest");
    }
    Ok(Prepared { root, is_index, images, others: mended, moved, old, new })
}

/// Labels each of `candidates`. Fails where none has anything to be labelled, or nothing of what they declare is there. Those whose
/// layers the place does not hold are `absent` too, where it may lack some.
async fn relabel_all(
    from: &Arc<dyn Source>,
    candidates: Vec<Candidate>,
    (may_lack, mut absent): (bool, Vec<(String, Error)>),
    keeps_indexes: bool,
    request: &Request,
    progress: &Arc<dyn Progress>,
) -> Result<Vec<Relabelled>, Error> {
    let mut work = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let wanted = Wanted::of(&**from, &candidate, request, &**progress).await?;
        work.push((candidate, wanted));
    }
    for name in &request.remove {
        if !work.iter().any(|(_, wanted)| wanted.removed.contains(name)) {
            let labelled = request.attach && work.iter().any(|(_, wanted)| wanted.labelled.contains(name));
            let hint = match labelled {
                true => "; it is a label of the image, and --attach does not change the image",
                false => "; to list its artifacts: docker artifact ls IMAGE",
            };
            let (path, hint) = (format!("artifact {name}"), hint.to_owned());
            return Err(Error::NotFound { image: from.name(), path, hint });
        }
    }
    if request.remove.is_empty() && !request.all && work.iter().all(|(_, wanted)| wanted.is_empty()) {
        let hint = "; name a PATH, or write LABEL org.docker-artifact.NAME=/path in its Dockerfile".to_owned();
        return Err(Error::NotFound {
            image: from.name(),
            path: "artifact that is declared or labelled".to_owned(),
            hint,
        });
    }
    let mut relabelled = Vec::with_capacity(work.len());
    let mut stale = Vec::new();
    for (candidate, wanted) in work {
        let name = candidate.name.clone();
        match relabel(from, candidate, wanted, keeps_indexes, request, progress).await {
            Ok((image, missing)) => {
                relabelled.push(image);
                stale.extend(missing);
            }
            Err(error @ Error::Source(SourceError::NotFound { .. })) if may_lack => absent.push((name, error)),
            Err(error) => return Err(error),
        }
    }
    if relabelled.is_empty() && !absent.is_empty() {
        return Err(absent.swap_remove(0).1);
    }
    for (image, _) in absent {
        progress.notice(&format!("{image} is listed, but its content is not there; it stays as it is"));
    }
    // What nobody asked for by its path stays as it is, unless that is all there is to do.
    if request.remove.is_empty()
        && !request.all
        && relabelled.iter().all(|image| image.parts.is_empty())
        && !stale.is_empty()
    {
        return Err(stale.swap_remove(0));
    }
    stale.iter().for_each(|error| progress.notice(&format!("{error}; that label stays as it is")));
    Ok(relabelled)
}
