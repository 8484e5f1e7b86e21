//! Docker's form of an archive before version 1.10: `repositories` gives names to image IDs, and each image is one layer with a
//! parent. IDs are random, so nothing here vouches for content.
//!
//! Spec: moby's *Docker Image Specification v1.0*, "Image JSON Description" and "Combined Image JSON + Filesystem Changeset Format".

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::SourceError;
use super::super::files::{Files, shown};
use super::super::local::{LocalConfig, LocalImage, LocalLayer, malformed};
use super::super::select::{self, Candidate};
use super::members::Members;
use crate::image::manifest::MAX_MANIFEST_BYTES;

/// The member that gives names to images; an archive of an image without a name has none.
pub(super) const REPOSITORIES: &str = "repositories";

/// How many bytes of JSON are read for the images of one archive, as links may give a single large member many names. An image
/// has at most 127 layers, each of a few KiB of JSON.
const MAX_JSON: u64 = 8 * MAX_MANIFEST_BYTES;

/// The images of an archive.
pub(super) struct LegacyImages {
    files: Arc<Members>,
    /// The images that have a name, or, where none has, those that are nobody's parent.
    candidates: Vec<Candidate>,
}

/// `<id>/json`. The spec calls it "Image JSON Description".
#[derive(Deserialize)]
struct ImageJson {
    parent: Option<String>,
    created: Option<Value>,
    author: Option<Value>,
    comment: Option<Value>,
    architecture: Option<Value>,
    os: Option<Value>,
    config: Option<Value>,
    container_config: Option<ContainerConfig>,
    /// Whether the step changed no file, in which case the layer may be missing.
    #[serde(default)]
    throwaway: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig {
    /// A list of words, or, from very old versions, one word.
    cmd: Option<Value>,
}

/// Whether there is an image of this form, with a name or without.
pub(super) fn has_image(members: &Members) -> bool {
    ids(members).next().is_some()
}

/// The IDs of all images.
fn ids(members: &Members) -> impl Iterator<Item = &str> {
    let id = |name: &'_ str| name.strip_suffix("/json").filter(|id| is_id(id)).map(str::len);
    members.names().filter_map(move |name| id(name).map(|length| &name[..length]))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl LegacyImages {
    /// Reads `repositories`, or, where there is none, which image has which parent.
    pub(super) fn read(files: Arc<Members>) -> Result<Self, SourceError> {
        let place = files.place();
        let mut candidates = BTreeMap::<String, Vec<String>>::new();
        let mut json = Json { files: &files, left: MAX_JSON };
        if let Some(bytes) = json.read(REPOSITORIES)? {
            let repositories: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(&bytes)
                .map_err(|error| malformed(place, format!("its {REPOSITORIES} cannot be read: {error}")))?;
            for (repository, tags) in repositories {
                for (tag, id) in tags {
                    candidates.entry(id).or_default().push(format!("{repository}:{tag}"));
                }
            }
        }
        if candidates.is_empty() {
            let mut parents = HashSet::new();
            for id in ids(&files) {
                parents.extend(json.image(id)?.parent);
            }
            candidates =
                ids(&files).filter(|id| !parents.contains(*id)).map(|id| (id.to_owned(), Vec::new())).collect();
        }
        let candidates = candidates.into_iter().map(|(id, names)| Candidate { names, ids: vec![id] }).collect();
        Ok(LegacyImages { files, candidates })
    }

    /// The image that `wanted` names, or the only one.
    pub(super) fn select(&self, wanted: Option<&str>) -> Result<LocalImage, SourceError> {
        let candidate = &self.candidates[select::select(&*self.files, &self.candidates, wanted)?];
        self.image(&candidate.ids[0], candidate.names.clone())
    }

    fn image(&self, top: &str, names: Vec<String>) -> Result<LocalImage, SourceError> {
        let place = self.files.place();
        let mut json = Json { files: &self.files, left: MAX_JSON };
        let mut seen = HashSet::new();
        let mut layers = Vec::new();
        let mut history = Vec::new();
        let mut described = None;
        let mut next = Some(top.to_owned());
        while let Some(id) = next {
            if !seen.insert(id.clone()) {
                return Err(malformed(place, format!("the parents of image {top} lead in a circle")));
            }
            let image = json.image(&id)?;
            let layer = self.layer(&id)?;
            let is_empty = layer.is_none();
            if is_empty && image.throwaway != Some(true) {
                return Err(malformed(place, format!("it does not hold {id}/layer.tar")));
            }
            layers.extend(layer);
            history.push(image.step(is_empty));
            next = image.parent.clone().filter(|parent| !parent.is_empty());
            described.get_or_insert(image);
        }
        layers.reverse();
        history.reverse();
        let config = described.map(|image| image.config(history)).unwrap_or_default();
        let config = LocalConfig { bytes: config.to_string().into_bytes().into(), digest: None, file: None };
        Ok(LocalImage { names, manifest: None, config, layers })
    }

    fn layer(&self, id: &str) -> Result<Option<LocalLayer>, SourceError> {
        let name = format!("{id}/layer.tar");
        let layer = |size| LocalLayer {
            blob: None,
            diff_id: None,
            size,
            media_type: None,
            name: name.clone(),
            files: self.files.clone(),
        };
        Ok(self.files.find(&name)?.map(|stored| layer(stored.length())))
    }
}

/// Reads JSON, and not more than is sensible.
struct Json<'a> {
    files: &'a Members,
    /// How many more bytes may be read.
    left: u64,
}

impl Json<'_> {
    fn read(&mut self, name: &str) -> Result<Option<bytes::Bytes>, SourceError> {
        let place = self.files.place();
        let Some(stored) = self.files.find(name)? else { return Ok(None) };
        let too_much = || malformed(place, format!("its images are described in more than {MAX_JSON} bytes"));
        self.left = self.left.checked_sub(stored.length()).ok_or_else(too_much)?;
        stored.read_small(place, name).map(Some)
    }

    /// What the archive says of the image `id`, alone.
    fn image(&mut self, id: &str) -> Result<ImageJson, SourceError> {
        let place = self.files.place();
        if !is_id(id) {
            return Err(malformed(place, format!("\"{}\" is not an image ID", shown(id))));
        }
        if let Some(version) = self.read(&format!("{id}/VERSION"))?
            && version.trim_ascii() != b"1.0"
        {
            let problem = format!("image {id} is of version {}, not 1.0", shown(&String::from_utf8_lossy(&version)));
            return Err(malformed(place, problem));
        }
        let bytes = self.read(&format!("{id}/json"))?;
        let bytes = bytes.ok_or_else(|| malformed(place, format!("it does not hold image {id}")))?;
        serde_json::from_slice(&bytes).map_err(|error| malformed(place, format!("{id}/json cannot be read: {error}")))
    }
}

impl ImageJson {
    /// The step that made the image out of its parent, as the history of today's configs has it.
    fn step(&self, is_empty: bool) -> Value {
        let words = self.container_config.as_ref().and_then(|config| config.cmd.as_ref());
        let created_by = match words {
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            Some(Value::String(word)) => word.clone(),
            _ => String::new(),
        };
        let mut step = json!({"created_by": created_by});
        for (key, value) in [("created", &self.created), ("author", &self.author), ("comment", &self.comment)] {
            if let Some(value) = value {
                step[key] = value.clone();
            }
        }
        if is_empty {
            step["empty_layer"] = true.into();
        }
        step
    }

    /// Today's config of the same content, without the layers' diff IDs, which nobody knows.
    fn config(self, history: Vec<Value>) -> Value {
        let mut config = json!({"rootfs": {"type": "layers"}, "history": history});
        let ImageJson { created, author, architecture, os, config: execution, .. } = self;
        let fields = [
            ("created", created),
            ("author", author),
            ("architecture", architecture),
            ("os", os),
            ("config", execution),
        ];
        for (key, value) in fields {
            if let Some(value) = value {
                config[key] = value;
            }
        }
        config
    }
}

#[cfg(test)]
mod tests;
