//! Manifests: what a registry answers for a reference, told apart and checked.
//!
//! [`Manifest::parse`] takes the bytes and the declared media type and gives an image manifest or an image index, or says
//! what the thing is instead (a schema 1 manifest, a Helm chart, a signature). It never fetches anything.
//! Spec: OCI image-spec *Image Manifest* and *Image Index*; Docker's *Image Manifest Version 2, Schema 2*.

use std::collections::BTreeMap;

use oci_distribution::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
pub use oci_distribution::manifest::{OciDescriptor as Descriptor, OciImageManifest};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::config::null_strings_are_empty;
use super::digest::{Digest, InvalidDigest};
use super::index::{IndexEntry, is_image_config, other_artifact};

/// The media types of manifests that this program reads, best first: what an `Accept` header lists.
pub const ACCEPTED_MEDIA_TYPES: [&str; 4] =
    [OCI_IMAGE_INDEX_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE];

/// A manifest larger than this many bytes is refused; registries cap manifests at 4 MiB
/// (distribution-spec, *Pushing Manifests*).
pub const MAX_MANIFEST_BYTES: u64 = 8 << 20;

/// What a reference names.
#[derive(Clone, Debug)]
pub enum Manifest {
    /// One image, for one platform.
    Image(Box<OciImageManifest>),
    /// Several images (or further indexes), to choose from by platform.
    Index(Vec<IndexEntry>),
}

/// Why a manifest is not one of an image.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Docker's manifest format from before 2016.
    #[error("it is a schema 1 manifest, which no current tool writes; push the image again with Docker 1.10 or later")]
    Schema1,
    /// An OCI artifact of another kind.
    #[error("it is not an image but {what}")]
    NotAnImage {
        /// What it is, in words, with its media type.
        what: String,
    },
    /// Not JSON, or not of a manifest's shape.
    #[error("its manifest cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A digest in the manifest that names nothing verifiable.
    #[error("its manifest cannot be read: {0}")]
    Digest(#[from] InvalidDigest),
    /// A number in the manifest that makes no sense.
    #[error("its manifest cannot be read: {0}")]
    Inconsistent(String),
}

/// The fields that tell manifests apart, read before anything else is trusted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<ShapeOfConfig>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShapeOfConfig {
    media_type: Option<String>,
}

/// An image manifest as far as it is read: no other field of it, whatever it holds, makes the image unreadable.
#[derive(Deserialize)]
struct ImageManifest {
    config: DescriptorFields,
    layers: Vec<DescriptorFields>,
    #[serde(default, deserialize_with = "null_strings_are_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorFields {
    media_type: String,
    digest: String,
    size: i64,
    urls: Option<Vec<String>>,
    #[serde(default, deserialize_with = "null_strings_are_empty")]
    annotations: BTreeMap<String, String>,
}

impl From<ImageManifest> for OciImageManifest {
    fn from(ImageManifest { config, layers, annotations }: ImageManifest) -> Self {
        OciImageManifest {
            config: config.into(),
            layers: layers.into_iter().map(Descriptor::from).collect(),
            annotations: Some(annotations),
            ..OciImageManifest::default()
        }
    }
}

impl From<DescriptorFields> for Descriptor {
    fn from(DescriptorFields { media_type, digest, size, urls, annotations }: DescriptorFields) -> Self {
        Descriptor { media_type, digest, size, urls, annotations: Some(annotations), ..Descriptor::default() }
    }
}

/// The descriptor that the annotation `key` holds as JSON, where there is one that can be read.
pub fn described(annotations: Option<&BTreeMap<String, String>>, key: &str) -> Option<Descriptor> {
    let descriptor: Descriptor = serde_json::from_str(annotations?.get(key)?).ok()?;
    Some(descriptor).filter(|descriptor| descriptor.digest.parse::<Digest>().is_ok() && descriptor.size >= 0)
}

impl Manifest {
    /// Reads a manifest of whatever kind of artifact, for its descriptors alone.
    pub fn parse_any(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: ImageManifest = serde_json::from_slice(bytes)?;
        Ok(Manifest::Image(Box::new(manifest.into())))
    }

    /// Reads the manifest `bytes`, which came with `media_type` (a `Content-Type` header or a descriptor's field), if
    /// any. The document's own shape decides where the two disagree or are silent.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ManifestError> {
        let shape: Shape = serde_json::from_slice(bytes)?;
        let media_type = shape.media_type.as_deref().or(media_type).unwrap_or_default();
        if shape.schema_version == Some(1)
            || shape.fs_layers.is_some()
            || media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
        {
            return Err(ManifestError::Schema1);
        }
        if shape.manifests.is_some() {
            #[derive(Deserialize)]
            struct Index {
                manifests: Vec<IndexEntry>,
            }
            let index: Index = serde_json::from_slice(bytes)?;
            return Ok(Manifest::Index(index.manifests));
        }
        let config_type = shape.config.as_ref().and_then(|config| config.media_type.as_deref()).unwrap_or_default();
        let is_image = config_type.is_empty() || is_image_config(config_type);
        let other = other_artifact(shape.artifact_type.as_deref());
        if shape.layers.is_none() || shape.config.is_none() || !is_image || other.is_some() {
            let kind = other.unwrap_or(if is_image { media_type } else { config_type });
            return Err(ManifestError::NotAnImage { what: describe(kind) });
        }
        let manifest: ImageManifest = serde_json::from_slice(bytes)?;
        let manifest = OciImageManifest::from(manifest);
        for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
            descriptor.digest.parse::<Digest>()?;
            if descriptor.size < 0 {
                let problem = format!("{} has a size of {} bytes", descriptor.digest, descriptor.size);
                return Err(ManifestError::Inconsistent(problem));
            }
        }
        Ok(Manifest::Image(Box::new(manifest)))
    }
}

/// What an artifact of this media type is, as a person would call it.
fn describe(media_type: &str) -> String {
    let known = [
        ("helm", "a Helm chart"),
        ("cosign", "a signature"),
        ("notary", "a signature"),
        ("in-toto", "an attestation"),
        ("wasm", "a WebAssembly module"),
        ("docker.plugin", "a Docker plugin"),
        ("spdx", "a software bill of materials"),
        ("cyclonedx", "a software bill of materials"),
    ];
    let shown: String = media_type.chars().filter(|c| c.is_ascii_graphic()).take(100).collect();
    match known.iter().find(|(part, _)| media_type.contains(part)) {
        Some((_, name)) => format!("{name} ({shown})"),
        None if shown.is_empty() => "some other kind of artifact".to_owned(),
        None => format!("an artifact of type {shown}"),
    }
}

#[cfg(test)]
mod tests {
    use oci_distribution::manifest::{IMAGE_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_CONFIG_MEDIA_TYPE};

    use super::*;

    fn sha(c: char) -> String {
        format!("sha256:{}", c.to_string().repeat(64))
    }

    fn image(config_type: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{config_type}","digest":"{}","size":2}},"layers":[]}}"#,
            sha('a')
        )
    }

    #[test]
    fn an_image_is_an_image_with_or_without_a_media_type() {
        for config_type in [IMAGE_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_CONFIG_MEDIA_TYPE] {
            for media_type in [None, Some(OCI_IMAGE_MEDIA_TYPE), Some(IMAGE_MANIFEST_MEDIA_TYPE)] {
                let manifest = Manifest::parse(image(config_type).as_bytes(), media_type);
                assert!(matches!(manifest, Ok(Manifest::Image(_))), "{manifest:?}");
            }
        }
    }

    #[test]
    fn the_type_of_an_image_config_makes_no_other_artifact() {
        for artifact_type in ["null", r#""""#, r#""application/vnd.oci.image.config.v1+json""#] {
            let text =
                image(IMAGE_CONFIG_MEDIA_TYPE).replacen('{', &format!(r#"{{"artifactType":{artifact_type},"#), 1);
            assert!(matches!(Manifest::parse(text.as_bytes(), None), Ok(Manifest::Image(_))), "{text}");
            let entry = format!(r#"{{"digest":"{}","artifactType":{artifact_type},"annotations":null}}"#, sha('a'));
            assert!(serde_json::from_str::<IndexEntry>(&entry).unwrap().is_image(), "{entry}");
        }
        // What its config is decides, whatever it is called.
        let chart = image("application/vnd.cncf.helm.config.v1+json").replacen(
            '{',
            &format!(r#"{{"artifactType":"{IMAGE_CONFIG_MEDIA_TYPE}","#),
            1,
        );
        assert!(Manifest::parse(chart.as_bytes(), None).unwrap_err().to_string().contains("a Helm chart"));
    }

    #[test]
    fn nulls_in_an_image_manifest_are_as_good_as_absent() {
        for annotations in ["null", r#"{"a":null,"b":"c"}"#] {
            let text = image(IMAGE_CONFIG_MEDIA_TYPE)
                .replacen('{', &format!(r#"{{"annotations":{annotations},"#), 1)
                .replace(r#""size":2"#, &format!(r#""size":2,"urls":null,"annotations":{annotations}"#));
            let Ok(Manifest::Image(manifest)) = Manifest::parse(text.as_bytes(), None) else { panic!("{text}") };
            assert_eq!(manifest.annotations.unwrap_or_default().contains_key("b"), annotations.len() > 4);
        }
    }

    #[test]
    fn nulls_in_an_index_are_as_good_as_absent() {
        let entry = format!(
            r#"{{"mediaType":null,"digest":"{}","size":null,"platform":{{"os":null,"architecture":null}},"annotations":{{"a":null}}}}"#,
            sha('a')
        );
        let entry: IndexEntry = serde_json::from_str(&entry).unwrap();
        assert!(entry.is_image() && !entry.platform.unwrap().is_known());
    }

    #[test]
    fn other_artifacts_are_named_for_what_they_are() {
        let chart = Manifest::parse(image("application/vnd.cncf.helm.config.v1+json").as_bytes(), None).unwrap_err();
        assert!(chart.to_string().contains("a Helm chart"), "{chart}");
        let schema1 = Manifest::parse(br#"{"schemaVersion":1,"fsLayers":[]}"#, None).unwrap_err();
        assert!(matches!(schema1, ManifestError::Schema1));
    }

    #[test]
    fn a_negative_size_or_a_made_up_digest_is_refused() {
        let negative = image(IMAGE_CONFIG_MEDIA_TYPE).replace("\"size\":2", "\"size\":-2");
        assert!(matches!(Manifest::parse(negative.as_bytes(), None), Err(ManifestError::Inconsistent(_))));
        let made_up = image(IMAGE_CONFIG_MEDIA_TYPE).replace(&sha('a'), "sha256:../../etc/passwd");
        assert!(matches!(Manifest::parse(made_up.as_bytes(), None), Err(ManifestError::Digest(_))));
    }
}
