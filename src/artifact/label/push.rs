//! Pushing a labelled image: to the tag that it was found under, or to another one, and its range index beside it.

use std::sync::Arc;

use bytes::Bytes;

use super::prepare::{Prepared, prepare};
use super::publish::publish;
use super::request::{Labelled, Request};
use super::tables::AllTables;
use crate::artifact::candidate::media_type_of;
use crate::artifact::error::Error;
use crate::artifact::found::{Found, Reach};
use crate::artifact::range_index::ARTIFACT_TYPE;
use crate::artifact::table_index;
use crate::image::digest::Digest;
use crate::image::manifest::Manifest;
use crate::progress::Progress;
use crate::source::registry::Registry;
use crate::source::{Push, Source, SourceError, Store};

/// Where the result goes.
struct Target {
    /// The tag; `None` where nothing gets one.
    tag: Option<String>,
    /// Whether it is another repository, which needs the layers, too.
    elsewhere: bool,
    /// Whether the tag is the one that the image was found under.
    is_own: bool,
}

/// Labels the image in `from` as `request` says, and pushes the result to `to`, which is the same repository or another one of
/// the same registry. Layers are read only for what is not labelled and indexed yet, and never sent.
pub async fn label(
    from: Arc<Registry>,
    to: Arc<Registry>,
    request: Request,
    progress: Arc<dyn Progress>,
) -> Result<Labelled, Error> {
    let root = from.manifest(None).await?;
    if let Some(expected) = request.expected.as_ref().filter(|expected| **expected != root.digest) {
        let problem = format!("expected {expected}, found {}; was the tag pushed again?", root.digest);
        return Err(Error::Source(SourceError::Protocol { what: from.name(), problem }));
    }
    let target = Target::new(&from, &to, &request)?;
    if target.is_own && from.is_pinned() && !request.attach && !request.dry_run {
        // The reference's digest decided what was read; the tag may name something else.
        target.check(&from, &root.digest).await?;
    }
    let reach = Reach { copies_all: target.elsewhere, may_lack: false, keeps_indexes: true };
    let mut found = Found::of(&*from, root, &request.platforms, reach).await?;
    let tables = match request.all {
        true => AllTables::make(&from, &mut found.images, &progress).await?,
        false => AllTables::default(),
    };
    let source: Arc<dyn Source> = Arc::clone(&from) as Arc<dyn Source>;
    let prepared = prepare(&source, found, &request, &progress).await?;
    let pushed = !request.dry_run && push((&from, &to), &target, (&prepared, &tables), &request, &*progress).await?;
    Ok(prepared.outcome(pushed))
}

/// Whether anything was sent.
async fn push(
    (from, to): (&Registry, &Registry),
    target: &Target,
    (prepared, tables): (&Prepared, &AllTables),
    request: &Request,
    progress: &dyn Progress,
) -> Result<bool, Error> {
    let Some((root, new_root)) = &prepared.root else {
        return Err(Error::Bug(format!("{} has no manifest", from.name())));
    };
    if target.elsewhere {
        copy_blobs(from, to, prepared).await?;
    }
    for image in &prepared.images {
        if let Some(config) = &image.config {
            to.push_blob(Bytes::from(config.clone())).await?;
        }
        if let Some((own, document)) = image.before.manifest.as_ref().zip(image.manifest.as_ref())
            && prepared.is_index
            && (image.config.is_some() || target.elsewhere)
        {
            to.push_manifest(None, &media_type_of(&own.raw), Bytes::from(document.clone())).await?;
        }
    }
    for (raw, after) in &prepared.others {
        if raw.bytes != after.as_bytes() || target.elsewhere {
            to.push_manifest(None, &media_type_of(raw), Bytes::from(after.clone())).await?;
        }
    }
    // The index is there before the tag moves, so that nobody meets labels without it.
    let moves = target.tag.as_ref().filter(|_| !request.attach && (prepared.is_changed() || !target.is_own));
    if moves.is_some() && !prepared.is_index {
        to.push_manifest(None, &media_type_of(root), Bytes::from(new_root.clone())).await?;
    }
    let mut pushed = false;
    for image in &prepared.images {
        pushed |= publish(from, to, image, request, target.elsewhere, progress).await?;
    }
    if !request.attach {
        pushed |= tables.attach((from, to), prepared, progress).await?;
    }
    if let Some(tag) = moves {
        if target.is_own {
            target.check(from, &root.digest).await?;
        }
        to.push_manifest(Some(tag), &media_type_of(root), Bytes::from(new_root.clone())).await?;
        pushed = true;
        if target.is_own {
            // The tag was what kept the old digest; its indexes must not outlive it, pointing at nothing. A range index that is all
            // that names an artifact stays, for whoever has the digest.
            for image in prepared.images.iter().filter(|image| image.config.is_some() && !image.has_attached_names) {
                for artifact_type in [ARTIFACT_TYPE, table_index::ARTIFACT_TYPE] {
                    to.unlist_referrers(&image.before.digest(), artifact_type).await?;
                }
            }
        }
    }
    Ok(pushed)
}

impl Target {
    fn new(from: &Registry, to: &Registry, request: &Request) -> Result<Self, Error> {
        let elsewhere = !to.shares_repository(from);
        let tag = match (to.reference().tag(), to.reference().digest()) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
            (None, Some(_)) if request.attach || request.dry_run => None,
            (None, Some(_)) => {
                let problem = "IMAGE is a digest, not a tag; name the result with --tag";
                return Err(Error::Usage(problem.to_owned()));
            }
        };
        let of_from = match (from.reference().tag(), from.reference().digest()) {
            (None, None) => Some("latest"),
            (tag, _) => tag,
        };
        let is_own = !elsewhere && tag.as_deref() == of_from;
        Ok(Target { tag, elsewhere, is_own })
    }

    /// Fails where the tag does not name `digest` (any more).
    async fn check(&self, from: &Registry, digest: &Digest) -> Result<(), Error> {
        let Some(tag) = &self.tag else { return Ok(()) };
        let now = from.tagged(tag).await?.digest;
        if now == *digest {
            return Ok(());
        }
        let problem =
            format!("tag {tag} names {now}, not {digest}; label what it names, or name the result with --tag");
        Err(Error::Source(SourceError::Protocol { what: from.name(), problem }))
    }
}

/// Makes the blobs of everything in `from` those of another repository, too.
async fn copy_blobs(from: &Registry, to: &Registry, prepared: &Prepared) -> Result<(), Error> {
    for image in &prepared.images {
        let layers = image.before.image.layers.iter().filter_map(|layer| layer.blob.descriptor.as_ref());
        let config = image.before.manifest.as_ref().map(|own| &own.config).filter(|_| image.config.is_none());
        for descriptor in layers.chain(config) {
            to.take_blob(from, descriptor).await?;
        }
    }
    let not_an_image = |error| SourceError::NotAnImage { image: from.name(), error };
    for (raw, _) in &prepared.others {
        if let Manifest::Image(manifest) = Manifest::parse_any(&raw.bytes).map_err(not_an_image)? {
            for descriptor in manifest.layers.iter().chain([&manifest.config]) {
                to.take_blob(from, descriptor).await?;
            }
        }
    }
    Ok(())
}
