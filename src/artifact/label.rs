//! Naming artifacts in an image: labels written into the config, the manifest and the index mended, nothing else touched.
//!
//! `wanted` says what is to be labelled in each image, `relabel` finds it and edits the config, `mend` has whatever pointed at
//! something that changed point at what it is now, and `publish` keeps the range index beside the image.

mod mend;
mod publish;
mod relabel;
mod wanted;

use std::sync::Arc;

use bytes::Bytes;

use self::mend::Moved;
use self::relabel::{Candidate, Relabelled, relabel};
use self::wanted::Wanted;
use super::error::Error;
use super::range_index::ARTIFACT_TYPE;
use crate::image::digest::Digest;
use crate::image::index::available;
use crate::image::label::{Name, Record};
use crate::image::manifest::{Manifest, ManifestError};
use crate::image::platform::{NoSuchPlatform, Platform};
use crate::progress::Progress;
use crate::source::registry::Registry;
use crate::source::{self, Push, RawManifest, Source, SourceError, Store};

/// What to label, and how.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Artifacts to name: a name and a path as typed.
    pub add: Vec<(Name, Vec<u8>)>,
    /// Artifacts to forget.
    pub remove: Vec<Name>,
    /// The platforms whose images are labelled; all, where none is named.
    pub platforms: Vec<Platform>,
    /// Leave the image alone and attach the records as a referrer.
    pub attach: bool,
    /// Find out what would be written, and write nothing.
    pub dry_run: bool,
    /// The digest that the reference must name, where that is known.
    pub expected: Option<Digest>,
}

/// What was labelled.
#[derive(Debug)]
pub struct Labelled {
    /// The digest that the reference named.
    pub old: Digest,
    /// The digest that it names now.
    pub new: Digest,
    /// The images that were labelled, one for each platform.
    pub images: Vec<LabelledImage>,
    /// Whether anything was sent to the registry.
    pub pushed: bool,
}

/// One image that was labelled.
#[derive(Debug)]
pub struct LabelledImage {
    /// The platform, as the config names it.
    pub platform: String,
    /// Its artifacts.
    pub artifacts: Vec<(Name, Record)>,
}

/// Where the result goes.
struct Target {
    /// The tag; `None` where nothing gets one.
    tag: Option<String>,
    /// Whether it is another repository, which needs the layers, too.
    elsewhere: bool,
    /// Whether the tag is the one that the image was found under.
    is_own: bool,
}

/// What the reference names, taken apart.
struct Parts {
    /// The images to be labelled.
    images: Vec<Candidate>,
    /// Whatever else the index lists, as far as it may change or has to be copied.
    others: Vec<RawManifest>,
    /// Whether there is an index at all.
    is_index: bool,
    /// Whether attestations are among the others.
    attested: bool,
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
    let document = text(&*from, &root)?;
    let Parts { images, others, is_index, attested } = take_apart(&from, &root, &request, target.elsewhere).await?;
    let relabelled = relabel_all(&from, images, &request, &progress).await?;

    // Whatever points at what was changed has to point at what it is now.
    let mut moved = Moved::default();
    for image in &relabelled {
        moved.insert(&image.old, &image.manifest);
    }
    let mut mended = Vec::new();
    for raw in others {
        let after = moved.subject(&text(&*from, &raw)?).map_err(|error| unreadable(&*from, &error))?;
        moved.insert(&raw.digest, &after);
        mended.push((raw, after));
    }
    let new_root = match is_index {
        true => moved.index(&document).map_err(|error| unreadable(&*from, &error))?,
        false => relabelled.first().map(|image| image.manifest.clone()).unwrap_or_default(),
    };
    let new = Digest::of(new_root.as_bytes());
    let images: Vec<LabelledImage> = relabelled.iter().map(Relabelled::outcome).collect();
    if request.dry_run {
        return Ok(Labelled { old: root.digest, new, images, pushed: false });
    }

    if target.elsewhere {
        copy_blobs(&from, &to, &relabelled, &mended).await?;
    }
    let changed = new != root.digest;
    for image in &relabelled {
        if let Some(config) = &image.config {
            to.push_blob(Bytes::from(config.clone())).await?;
        }
        if is_index && (image.config.is_some() || target.elsewhere) {
            to.push_manifest(None, &image.media_type, Bytes::from(image.manifest.clone())).await?;
        }
    }
    for (raw, after) in mended {
        if raw.bytes != after.as_bytes() || target.elsewhere {
            to.push_manifest(None, &media_type_of(&raw), Bytes::from(after)).await?;
        }
    }
    if attested && changed {
        progress.notice("attestations were carried over; signatures of the image cover the old digest");
    }
    // The index is there before the tag moves, so that nobody meets labels without it.
    let moves = target.tag.as_ref().filter(|_| !request.attach && (changed || !target.is_own));
    if moves.is_some() && !is_index {
        to.push_manifest(None, &media_type_of(&root), Bytes::from(new_root.clone())).await?;
    }
    let mut pushed = false;
    for image in &relabelled {
        pushed |= publish::publish(&from, &to, image, &request, target.elsewhere, &*progress).await?;
    }
    if let Some(tag) = moves {
        if target.is_own {
            target.check(&from, &root.digest).await?;
        }
        to.push_manifest(Some(tag), &media_type_of(&root), Bytes::from(new_root)).await?;
        pushed = true;
        if target.is_own {
            // The tag was what kept the old digest; its index must not outlive it, pointing at nothing. One that is all that
            // names an artifact stays, for whoever has the digest.
            for image in relabelled.iter().filter(|image| image.config.is_some() && !image.has_attached_names) {
                to.unlist_referrers(&image.old, ARTIFACT_TYPE).await?;
            }
        }
    }
    Ok(Labelled { old: root.digest, new, images, pushed })
}

impl Target {
    fn new(from: &Registry, to: &Registry, request: &Request) -> Result<Self, Error> {
        let place = |registry: &Registry| {
            let reference = registry.reference();
            (reference.resolve_registry().to_owned(), reference.repository().to_owned())
        };
        let elsewhere = place(to) != place(from);
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

/// Finds the images that are to be labelled in what the reference names, and reads their configs.
async fn take_apart(
    from: &Arc<Registry>,
    root: &RawManifest,
    request: &Request,
    elsewhere: bool,
) -> Result<Parts, Error> {
    let mut parts = Parts { images: Vec::new(), others: Vec::new(), is_index: false, attested: false };
    let mut there = Vec::new();
    let is_wanted = |platform: &Platform| {
        request.platforms.is_empty() || request.platforms.iter().any(|wanted| platform.is_same(wanted))
    };
    match parse(&**from, root)? {
        Manifest::Image(manifest) => {
            let candidate = Candidate::read(from, root.clone(), *manifest, from.name()).await?;
            let platform = candidate.image.platform();
            if platform.is_known() && !is_wanted(&platform) {
                there.push(platform);
            } else {
                parts.images.push(candidate);
            }
        }
        Manifest::Index(entries) => {
            parts.is_index = true;
            there = available(&entries);
            for entry in entries {
                let known = entry.platform.as_ref().filter(|platform| platform.is_known());
                let is_other = !entry.is_image() || known.is_some_and(|platform| !is_wanted(platform));
                if is_other && entry.is_image() && !elsewhere {
                    continue;
                }
                let raw = source::listed_manifest(&**from, &entry).await?;
                if is_other {
                    parts.attested |= entry.is_attestation();
                    parts.others.push(raw);
                    continue;
                }
                let Manifest::Image(manifest) = parse(&**from, &raw)? else {
                    let problem = "is an index of indexes; label its images one by one".to_owned();
                    return Err(Error::Unlabelable { what: from.name(), problem });
                };
                let mut candidate = Candidate::read(from, raw, *manifest, from.name()).await?;
                let platform = known.cloned().unwrap_or(candidate.image.platform());
                candidate.name = format!("{} for {platform}", from.name());
                if known.is_none() && !is_wanted(&platform) {
                    there.push(platform);
                    parts.others.push(candidate.raw);
                } else {
                    parts.images.push(candidate);
                }
            }
        }
    }
    if parts.images.is_empty() && request.platforms.is_empty() {
        let detail = "its index lists no image".to_owned();
        return Err(Error::Source(SourceError::NotFound { what: from.name(), detail }));
    }
    for wanted in &request.platforms {
        let is_there = |platform: Platform| !platform.is_known() || platform.is_same(wanted);
        let in_config = |candidate: &Candidate| is_there(candidate.image.platform());
        if !parts.images.iter().any(in_config) && !there.iter().any(|platform| platform.is_same(wanted)) {
            let error = NoSuchPlatform { wanted: wanted.clone(), available: there };
            return Err(Error::Source(SourceError::NoSuchPlatform { image: from.name(), error }));
        }
    }
    Ok(parts)
}

/// Labels each of `candidates`. Fails where none has anything to be labelled, or nothing of what they declare is there.
async fn relabel_all(
    from: &Arc<Registry>,
    candidates: Vec<Candidate>,
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
                true => "; it is a label of the image, which --attach leaves as it is",
                false => "; docker artifact ls IMAGE lists those that there are",
            };
            let (path, hint) = (format!("artifact {name}"), hint.to_owned());
            return Err(Error::NotFound { image: from.name(), path, hint });
        }
    }
    if request.remove.is_empty() && work.iter().all(|(_, wanted)| wanted.is_empty()) {
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
        let (image, missing) = relabel(from, candidate, wanted, request, progress).await?;
        relabelled.push(image);
        stale.extend(missing);
    }
    // What nobody asked for by its path stays as it is, unless that is all there is to do.
    if request.remove.is_empty() && relabelled.iter().all(|image| image.parts.is_empty()) && !stale.is_empty() {
        return Err(stale.swap_remove(0));
    }
    stale.iter().for_each(|error| progress.notice(&format!("{error}; that label stays as it is")));
    Ok(relabelled)
}

/// Makes the blobs of everything in `from` those of another repository, too.
async fn copy_blobs(
    from: &Registry,
    to: &Registry,
    relabelled: &[Relabelled],
    others: &[(RawManifest, String)],
) -> Result<(), Error> {
    for image in relabelled {
        let config = image.config.is_none().then_some(&image.config_descriptor);
        for descriptor in image.layers.iter().chain(config) {
            to.take_blob(from, descriptor).await?;
        }
    }
    for (raw, _) in others {
        if let Manifest::Image(manifest) = Manifest::parse_any(&raw.bytes).map_err(|error| not_image(from, error))? {
            for descriptor in manifest.layers.iter().chain([&manifest.config]) {
                to.take_blob(from, descriptor).await?;
            }
        }
    }
    Ok(())
}

fn parse(from: &dyn Source, raw: &RawManifest) -> Result<Manifest, Error> {
    Manifest::parse(&raw.bytes, raw.media_type.as_deref()).map_err(|error| not_image(from, error))
}

fn not_image(from: &dyn Source, error: ManifestError) -> Error {
    Error::Source(SourceError::NotAnImage { image: from.name(), error })
}

fn text(from: &dyn Source, raw: &RawManifest) -> Result<String, Error> {
    String::from_utf8(raw.bytes.to_vec()).map_err(|_| {
        Error::Source(SourceError::Protocol { what: from.name(), problem: "its manifest is not UTF-8".to_owned() })
    })
}

fn unreadable(from: &dyn Source, error: &crate::image::edit::EditError) -> Error {
    Error::Source(SourceError::Protocol { what: from.name(), problem: error.to_string() })
}

/// The media type that a manifest names itself, or came with.
fn media_type_of(raw: &RawManifest) -> String {
    let named =
        || Some(serde_json::from_slice::<serde_json::Value>(&raw.bytes).ok()?["mediaType"].as_str()?.to_owned());
    let media_type = named().or_else(|| raw.media_type.clone());
    media_type.unwrap_or_else(|| oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE.to_owned())
}
