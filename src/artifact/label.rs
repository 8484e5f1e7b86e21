//! Naming artifacts in an image: labels written into the config, the manifest and the index mended, nothing else touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::error::Error;
use super::measure::Measure;
use super::plan;
use super::range_index::{ARTIFACT_TYPE, MAX_EMBEDDED_BYTES, PART_MEDIA_TYPE, Part, annotations};
use super::record::part;
use super::survey::{Survey, Wanted};
use crate::image::Image;
use crate::image::digest::Digest;
use crate::image::edit::{EditError, Step, replace, set_strings};
use crate::image::label::{Label, Name, Record, artifacts};
use crate::image::manifest::{Descriptor, Manifest, OciImageManifest};
use crate::progress::Progress;
use crate::rootfs::Pattern;
use crate::source::registry::Registry;
use crate::source::{self, Push, RawManifest, Source, SourceError};

/// What to label, and how.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Artifacts to name: a name and a path as typed.
    pub add: Vec<(Name, Vec<u8>)>,
    /// Artifacts to forget.
    pub remove: Vec<Name>,
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

/// One image on its way to being labelled.
struct Relabelled {
    old: Digest,
    media_type: String,
    manifest: String,
    config: Option<String>,
    parts: Vec<Part>,
    platform: String,
    layers: Vec<Descriptor>,
    config_descriptor: Descriptor,
}

/// Labels the image in `from` as `request` says, and pushes the result to `to`, which is the same repository or another one of
/// the same registry. Layers are read, and never sent.
pub async fn label(
    from: Arc<Registry>,
    to: Arc<Registry>,
    request: Request,
    progress: Arc<dyn Progress>,
) -> Result<Labelled, Error> {
    let root = from.manifest(None).await?;
    if let Some(expected) = request.expected.as_ref().filter(|expected| **expected != root.digest) {
        return Err(Error::Source(SourceError::Protocol {
            what: from.name(),
            problem: format!("it should be {expected} and is {}; was it built anew meanwhile?", root.digest),
        }));
    }
    let document = text(&from, &root)?;
    let parsed = parse(&*from, &root)?;
    let tag = to.reference().tag().map(str::to_owned);
    let tag = match (tag, to.reference().digest()) {
        (Some(tag), _) => tag,
        (None, None) => "latest".to_owned(),
        (None, Some(_)) if request.attach || request.dry_run => String::new(),
        (None, Some(_)) => {
            return Err(Error::Usage("a digest cannot be moved; say with --tag where the result goes".to_owned()));
        }
    };
    let (mut relabelled, mut others) = (Vec::new(), Vec::new());
    match parsed {
        Manifest::Image(manifest) => relabelled.push(relabel(&from, &root, *manifest, &request, &progress).await?),
        Manifest::Index(entries) => {
            for entry in entries {
                let raw = source::listed_manifest(&*from, &entry).await?;
                if entry.is_attestation() || entry.artifact_type.is_some() {
                    others.push(raw);
                    continue;
                }
                match parse(&*from, &raw)? {
                    Manifest::Image(manifest) => {
                        relabelled.push(relabel(&from, &raw, *manifest, &request, &progress).await?);
                    }
                    Manifest::Index(_) => {
                        return Err(Error::Usage(format!(
                            "{} is an index of indexes; label its images one by one",
                            from.name()
                        )));
                    }
                }
            }
        }
    }

    // Old digest to new digest and length, for whatever points at what was changed.
    let mut moved: BTreeMap<String, (Digest, usize)> = BTreeMap::new();
    for image in &relabelled {
        let digest = Digest::of(image.manifest.as_bytes());
        moved.insert(image.old.to_string(), (digest, image.manifest.len()));
    }
    let mut attestations = Vec::new();
    for raw in others {
        let before = text(&from, &raw)?;
        let after = mend_subject(&before, &moved).map_err(|error| unreadable(&*from, &error))?;
        moved.insert(raw.digest.to_string(), (Digest::of(after.as_bytes()), after.len()));
        attestations.push((raw, after));
    }
    let is_index = relabelled.first().is_none_or(|image| image.old != root.digest);
    let new_root = match is_index {
        true => mend_index(&document, &moved).map_err(|error| unreadable(&*from, &error))?,
        false => relabelled.first().map(|image| image.manifest.clone()).unwrap_or_default(),
    };
    let new = Digest::of(new_root.as_bytes());
    let changed = new != root.digest;
    let images: Vec<LabelledImage> = relabelled
        .iter()
        .map(|image| LabelledImage {
            platform: image.platform.clone(),
            artifacts: image.parts.iter().map(|part| (part.name.clone(), part.record.clone())).collect(),
        })
        .collect();
    if request.dry_run {
        return Ok(Labelled { old: root.digest, new, images, pushed: false });
    }

    let place = |registry: &Registry| {
        let reference = registry.reference();
        (reference.resolve_registry().to_owned(), reference.repository().to_owned())
    };
    let elsewhere = place(&to) != place(&from);
    if elsewhere {
        for image in &relabelled {
            let config = image.config.is_none().then_some(&image.config_descriptor);
            for descriptor in image.layers.iter().chain(config) {
                to.take_blob(&from, descriptor).await?;
            }
        }
        for (raw, _) in &attestations {
            if let Manifest::Image(manifest) =
                Manifest::parse_any(&raw.bytes).map_err(|error| not_image(&*from, error))?
            {
                for descriptor in manifest.layers.iter().chain([&manifest.config]) {
                    to.take_blob(&from, descriptor).await?;
                }
            }
        }
    }
    let mut pushed = false;
    for image in &relabelled {
        if let Some(config) = &image.config {
            to.push_blob(Bytes::from(config.clone())).await?;
        }
        let is_new = image.old != Digest::of(image.manifest.as_bytes());
        if is_index && (is_new || elsewhere) {
            to.push_manifest(None, &image.media_type, Bytes::from(image.manifest.clone())).await?;
        }
    }
    for (raw, after) in attestations {
        if raw.bytes != after.as_bytes() || elsewhere {
            let media_type = raw.media_type.as_deref().unwrap_or(oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE);
            to.push_manifest(None, media_type, Bytes::from(after)).await?;
            progress.notice("attestations were carried over; signatures of the image cover the old digest");
        }
    }
    // The index is there before the tag moves, so that nobody meets labels without it.
    let is_other_tag = elsewhere || from.reference().tag() != Some(tag.as_str()) && !tag.is_empty();
    let moves = !request.attach && (changed || is_other_tag);
    if moves && !is_index {
        to.push_manifest(None, &media_type_of(&root), Bytes::from(new_root.clone())).await?;
    }
    for image in &relabelled {
        pushed |= push_index(&to, image).await?;
    }
    if moves {
        if !is_other_tag {
            let now = from.manifest(None).await?.digest;
            if now != root.digest {
                return Err(Error::Source(SourceError::Protocol {
                    what: from.name(),
                    problem: format!("it was moved from {} to {now} meanwhile; label it again", root.digest),
                }));
            }
        }
        to.push_manifest(Some(&tag), &media_type_of(&root), Bytes::from(new_root)).await?;
        pushed = true;
        if !is_other_tag {
            // The tag was what kept the old digest; its index must not outlive it, pointing at nothing.
            for image in relabelled.iter().filter(|image| image.config.is_some()) {
                to.unlist_referrers(&image.old, ARTIFACT_TYPE).await?;
            }
        }
    }
    Ok(Labelled { old: root.digest, new, images, pushed })
}

/// Works out one image's new labels, config and manifest.
async fn relabel(
    from: &Arc<Registry>,
    raw: &RawManifest,
    manifest: OciImageManifest,
    request: &Request,
    progress: &Arc<dyn Progress>,
) -> Result<Relabelled, Error> {
    let document = text(from, raw)?;
    let config_descriptor = manifest.config.clone();
    let (image, config) = source::read_image(&**from, raw.digest.clone(), manifest).await?;
    let image = Arc::new(image);
    let parts = measure(from, &image, &wanted_of(from, &image, request)?, progress).await?;
    let mut relabelled = Relabelled {
        old: raw.digest.clone(),
        media_type: media_type_of(raw),
        manifest: document,
        config: None,
        parts,
        platform: image.platform().to_string(),
        layers: image.layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        config_descriptor,
    };
    if request.attach {
        return Ok(relabelled);
    }
    let removed = request.remove.iter().map(|name| (name.label_key(), None));
    let set = relabelled.parts.iter().map(|part| (part.name.label_key(), Some(part.record.to_label())));
    let changes: Vec<_> = removed.chain(set).collect();
    let edited = set_strings(&config, (&[Step::Key("config")], "Labels"), &changes);
    let edited = edited.map_err(|error| unreadable(&**from, &error))?;
    if edited != config {
        let (digest, size) = (Digest::of(edited.as_bytes()).to_string(), edited.len().to_string());
        let mended =
            replace(&relabelled.manifest, &[Step::Key("config"), Step::Key("digest")], &format!("\"{digest}\""))
                .and_then(|text| replace(&text, &[Step::Key("config"), Step::Key("size")], &size));
        relabelled.manifest = mended.map_err(|error| unreadable(&**from, &error))?;
        relabelled.config = Some(edited);
    }
    Ok(relabelled)
}

/// What is to be labelled in `image`: what the request adds, what labels declare, and what they say already.
fn wanted_of(from: &Arc<Registry>, image: &Image, request: &Request) -> Result<Vec<(Name, Vec<u8>)>, Error> {
    let mut wanted: BTreeMap<Name, Vec<u8>> = BTreeMap::new();
    for artifact in artifacts(image) {
        let Ok(name) = artifact.name.parse::<Name>() else { continue };
        match artifact.label {
            Label::Declared { path } => drop(wanted.insert(name, path.into_bytes())),
            Label::Resolved(record) | Label::Inherited(record) => {
                drop(wanted.insert(name, record.path().as_bytes().to_vec()))
            }
            Label::Legacy { .. } | Label::Malformed { .. } => {}
        }
    }
    for name in &request.remove {
        if wanted.remove(name).is_none() {
            let hint = "; see docker artifact ls".to_owned();
            return Err(Error::NotFound { image: from.name(), path: format!("artifact {name}"), hint });
        }
    }
    wanted.extend(request.add.iter().cloned());
    if wanted.is_empty() && request.remove.is_empty() {
        return Err(Error::Usage(format!(
            "{} declares no artifact; name a PATH, or write LABEL org.docker-artifact.NAME=/path in its Dockerfile",
            from.name()
        )));
    }
    Ok(wanted.into_iter().collect())
}

/// Reads the layers that hold `wanted`, each once, and measures what is there.
async fn measure(
    from: &Arc<Registry>,
    image: &Arc<Image>,
    wanted: &[(Name, Vec<u8>)],
    progress: &Arc<dyn Progress>,
) -> Result<Vec<Part>, Error> {
    for layer in &image.layers {
        progress.name(layer.digest.as_str(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let patterns = wanted.iter().map(|(_, path)| Pattern::exactly(path)).collect();
    let wanted_paths = Arc::new(Wanted { patterns, follow: true, verify: true });
    let measure = Arc::new(Measure::default());
    let source: Arc<dyn Source> = Arc::clone(from) as Arc<dyn Source>;
    let mut survey = Survey::new(source, Arc::clone(image), Arc::clone(&measure), Arc::clone(&wanted_paths));
    let planned = plan::complete((&from.name(), image), &mut survey, &wanted_paths).await?;
    survey.notices().iter().for_each(|notice| progress.notice(notice));
    let mut parts = Vec::with_capacity(wanted.len());
    for ((name, _), planned) in wanted.iter().zip(&planned) {
        parts.push(part(name.clone(), planned, image, &survey, &measure)?);
    }
    Ok(parts)
}

/// Pushes the range index of one image, unless it is there already. Whether anything was sent.
async fn push_index(to: &Registry, image: &Relabelled) -> Result<bool, Error> {
    if image.parts.is_empty() {
        return Ok(false);
    }
    let subject = Digest::of(image.manifest.as_bytes());
    let (mut layers, mut blobs) = (Vec::new(), Vec::new());
    for part in &image.parts {
        let bytes = part.to_bytes().map_err(|error| Error::Usage(error.to_string()))?;
        let mut descriptor = json!({
            "mediaType": PART_MEDIA_TYPE,
            "digest": Digest::of(&bytes),
            "size": bytes.len(),
            "annotations": annotations(part),
        });
        if bytes.len() <= MAX_EMBEDDED_BYTES && image.parts.len() <= 8 {
            use base64::Engine;
            descriptor["data"] = Value::from(base64::engine::general_purpose::STANDARD.encode(&bytes));
        }
        layers.push(descriptor);
        blobs.push(Bytes::from(bytes));
    }
    let empty = Bytes::from_static(b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE,
        "artifactType": ARTIFACT_TYPE,
        // The empty descriptor of the OCI image-spec, *Guidance for an Empty Descriptor*.
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": Digest::of(&empty),
            "size": empty.len(),
            "data": "e30=",
        },
        "layers": layers,
        "subject": { "mediaType": image.media_type, "digest": subject, "size": image.manifest.len() },
    });
    let bytes = Bytes::from(manifest.to_string());
    let digest = Digest::of(&bytes);
    if to.referrers(&subject, ARTIFACT_TYPE).await?.iter().any(|entry| entry.digest == digest) {
        return Ok(false);
    }
    for blob in blobs.into_iter().chain([empty]) {
        to.push_blob(blob).await?;
    }
    to.push_referrer(&subject, ARTIFACT_TYPE, oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE, bytes).await?;
    Ok(true)
}

/// `index` with every descriptor of something that `moved` pointing at where it is now.
fn mend_index(index: &str, moved: &BTreeMap<String, (Digest, usize)>) -> Result<String, EditError> {
    let parsed: Value = serde_json::from_str(index).unwrap_or_default();
    let entries = parsed["manifests"].as_array().cloned().unwrap_or_default();
    let mut text = index.to_owned();
    for (position, entry) in entries.iter().enumerate() {
        let at = [Step::Key("manifests"), Step::Index(position)];
        let path = |rest: &[Step<'static>]| at.iter().chain(rest).copied().collect::<Vec<_>>();
        if let Some((digest, size)) = entry["digest"].as_str().and_then(|digest| moved.get(digest)) {
            text = replace(&text, &path(&[Step::Key("digest")]), &format!("\"{digest}\""))?;
            text = replace(&text, &path(&[Step::Key("size")]), &size.to_string())?;
        }
        let reference = "vnd.docker.reference.digest";
        if let Some((digest, _)) = entry["annotations"][reference].as_str().and_then(|digest| moved.get(digest)) {
            text = replace(&text, &path(&[Step::Key("annotations"), Step::Key(reference)]), &format!("\"{digest}\""))?;
        }
    }
    Ok(text)
}

/// `manifest` with its subject, where that is something that `moved`, pointing at where it is now.
fn mend_subject(manifest: &str, moved: &BTreeMap<String, (Digest, usize)>) -> Result<String, EditError> {
    let parsed: Value = serde_json::from_str(manifest).unwrap_or_default();
    let Some((digest, size)) = parsed["subject"]["digest"].as_str().and_then(|digest| moved.get(digest)) else {
        return Ok(manifest.to_owned());
    };
    let text = replace(manifest, &[Step::Key("subject"), Step::Key("digest")], &format!("\"{digest}\""))?;
    replace(&text, &[Step::Key("subject"), Step::Key("size")], &size.to_string())
}

fn parse(from: &dyn Source, raw: &RawManifest) -> Result<Manifest, Error> {
    Manifest::parse(&raw.bytes, raw.media_type.as_deref()).map_err(|error| not_image(from, error))
}

fn not_image(from: &dyn Source, error: crate::image::manifest::ManifestError) -> Error {
    Error::Source(SourceError::NotAnImage { image: from.name(), error })
}

fn text(from: &Registry, raw: &RawManifest) -> Result<String, Error> {
    String::from_utf8(raw.bytes.to_vec()).map_err(|_| {
        Error::Source(SourceError::Protocol { what: from.name(), problem: "its manifest is not UTF-8".to_owned() })
    })
}

fn unreadable(from: &dyn Source, error: &EditError) -> Error {
    Error::Source(SourceError::Protocol { what: from.name(), problem: error.to_string() })
}

/// The media type that a manifest came with, or names itself.
fn media_type_of(raw: &RawManifest) -> String {
    let named = || Some(serde_json::from_slice::<Value>(&raw.bytes).ok()?["mediaType"].as_str()?.to_owned());
    let media_type = named().or_else(|| raw.media_type.clone());
    media_type.unwrap_or_else(|| oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE.to_owned())
}
