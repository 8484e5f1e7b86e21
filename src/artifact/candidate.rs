//! An image as it was found: its manifest, where the place keeps one, and its config, both as they are written.

use std::sync::Arc;

use oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE;
use serde_json::Value;

use super::error::Error;
use crate::image::Image;
use crate::image::digest::Digest;
use crate::image::edit::EditError;
use crate::image::manifest::{Descriptor, OciImageManifest};
use crate::source::{self, RawManifest, SourceError, Store};

/// One image.
pub struct Candidate {
    /// Its manifest; `docker save` wrote none before version 25.
    pub manifest: Option<OwnManifest>,
    /// The image.
    pub image: Arc<Image>,
    /// Its config, as written.
    pub config: String,
    /// What messages call it.
    pub name: String,
    /// Labels that name no artifact and that it is to get.
    pub also: Vec<(String, String)>,
}

/// The manifest of one image.
pub struct OwnManifest {
    /// As it came.
    pub raw: RawManifest,
    /// The same as text.
    pub text: String,
    /// What it says of the config.
    pub config: Descriptor,
}

impl Candidate {
    /// Reads the config of `manifest`, which is `raw`, of the image that messages call `name`.
    pub async fn read(
        from: &dyn Store,
        raw: RawManifest,
        manifest: OciImageManifest,
        name: String,
    ) -> Result<Self, Error> {
        let text = text(&name, &raw)?;
        let own = OwnManifest { config: manifest.config.clone(), text, raw };
        let (image, config) = source::read_image(from, own.raw.digest.clone(), manifest).await?;
        Ok(Candidate { manifest: Some(own), image: Arc::new(image), config, name, also: Vec::new() })
    }

    /// The digest of its manifest, or, where there is none, of its config.
    pub fn digest(&self) -> Digest {
        match &self.manifest {
            Some(manifest) => manifest.raw.digest.clone(),
            None => self.config_digest(),
        }
    }

    /// The digest of its config.
    pub fn config_digest(&self) -> Digest {
        Digest::of(self.config.as_bytes())
    }
}

/// The manifest `raw` of `name` as text.
pub fn text(name: &str, raw: &RawManifest) -> Result<String, Error> {
    let not_utf8 = || SourceError::Protocol { what: name.to_owned(), problem: "its manifest is not UTF-8".to_owned() };
    String::from_utf8(raw.bytes.to_vec()).map_err(|_| Error::Source(not_utf8()))
}

/// A document of `name` that cannot be edited.
pub fn unreadable(name: &str, error: &EditError) -> Error {
    Error::Source(SourceError::Protocol { what: name.to_owned(), problem: error.to_string() })
}

/// The media type that a manifest names itself, or came with.
pub fn media_type_of(raw: &RawManifest) -> String {
    let named = || Some(serde_json::from_slice::<Value>(&raw.bytes).ok()?["mediaType"].as_str()?.to_owned());
    named().or_else(|| raw.media_type.clone()).unwrap_or_else(|| OCI_IMAGE_MEDIA_TYPE.to_owned())
}
