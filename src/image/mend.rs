//! Pointing at what something has become: descriptors in indexes and manifests whose content was changed.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::digest::Digest;
use super::edit::{EditError, Step, find, replace};

/// The annotation by which an index says what an attestation is about.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// What has changed: the digests that manifests (and configs) had, and these as they are now.
#[derive(Clone, Default)]
pub struct Moved(BTreeMap<String, String>);

impl Moved {
    /// What was `old` is `document` now.
    pub fn insert(&mut self, old: &Digest, document: &str) {
        self.0.insert(old.to_string(), document.to_owned());
    }

    /// What the document of this digest is now, where it was changed.
    pub fn get(&self, old: &Digest) -> Option<&str> {
        self.0.get(old.as_str()).map(String::as_str).filter(|document| Digest::of(document.as_bytes()) != *old)
    }

    /// The digests of the documents that were changed, and each document as it is now.
    pub fn changed(&self) -> impl Iterator<Item = (Digest, &str)> {
        self.0.keys().filter_map(|old| old.parse().ok()).filter_map(|old| self.get(&old).map(|now| (old.clone(), now)))
    }

    /// `index` with each entry, and each annotation, pointing at where things are now.
    pub fn index(&self, index: &str) -> Result<String, EditError> {
        let parsed: Value = serde_json::from_str(index).unwrap_or_default();
        let entries = parsed["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut text = index.to_owned();
        for (position, entry) in entries.iter().enumerate() {
            let at = [Step::Key("manifests"), Step::Index(position)];
            if let Some(document) = self.now(&entry["digest"]) {
                text = point(&text, &at, document)?;
            }
            if let Some(document) = self.now(&entry["annotations"][REFERENCE_DIGEST]) {
                let annotation = [at[0], at[1], Step::Key("annotations"), Step::Key(REFERENCE_DIGEST)];
                text = replace(&text, &annotation, &format!("\"{}\"", Digest::of(document.as_bytes())))?;
            }
        }
        Ok(text)
    }

    /// `manifest` with its subject pointing at where that is now.
    pub fn subject(&self, manifest: &str) -> Result<String, EditError> {
        let parsed: Value = serde_json::from_str(manifest).unwrap_or_default();
        match self.now(&parsed["subject"]["digest"]) {
            Some(document) => point(manifest, &[Step::Key("subject")], document),
            None => Ok(manifest.to_owned()),
        }
    }

    fn now(&self, digest: &Value) -> Option<&str> {
        self.0.get(digest.as_str()?).map(String::as_str)
    }
}

/// `text` with the descriptor at `path` pointing at `content`, and with that embedded where its content was before (image-spec,
/// *Content Descriptors*, the `data` property).
pub fn point(text: &str, path: &[Step<'_>], content: &str) -> Result<String, EditError> {
    let field = |name| path.iter().copied().chain([Step::Key(name)]).collect::<Vec<_>>();
    let text = replace(text, &field("digest"), &format!("\"{}\"", Digest::of(content.as_bytes())))?;
    let text = replace(&text, &field("size"), &content.len().to_string())?;
    match find(&text, &field("data"))? {
        Some(_) => replace(&text, &field("data"), &format!("\"{}\"", STANDARD.encode(content))),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_mended_with_what_it_embeds_and_nothing_else_is() {
        let old = Digest::of(b"old");
        let index =
            format!(r#"{{"manifests":[{{"digest":"{old}","size":3,"data":"b2xk","x":1.50}},{{"digest":"y"}}]}}"#);
        let mut moved = Moved::default();
        moved.insert(&old, "newer");
        let expected = index.replace(old.as_str(), Digest::of(b"newer").as_str()).replace("\"size\":3", "\"size\":5");
        assert_eq!(moved.index(&index).unwrap(), expected.replace("b2xk", "bmV3ZXI="));
        assert_eq!(moved.subject(r#"{"subject":{"digest":"y"}}"#).unwrap(), r#"{"subject":{"digest":"y"}}"#);
    }
}
