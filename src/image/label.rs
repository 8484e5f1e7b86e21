//! Artifact labels: what names a file or directory of an image, in the image config's `Labels`.
//!
//! Three forms are read: *declared* (a path, which anybody can write in a Dockerfile), *resolved* (a [`Record`] in JSON, which
//! says where the bytes are and what their digest is) and *legacy* (the original shell plugin's). A resolved label of another
//! image, which a derived one bears by inheritance, is no more than a declared one. Spec: `docs/formats.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Image;
use super::digest::{ChainId, DiffId, Digest};

/// What the keys of declared and resolved labels begin with.
pub const PREFIX: &str = "org.docker-artifact.";

/// The name of an artifact: letters, digits, `.`, `_` and `-`, the first one a letter, a digit or `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A string that names no artifact.
#[derive(Debug, thiserror::Error)]
#[error("\"{}\" is not an artifact's name: use letters, digits, \".\", \"_\" and \"-\", 128 at most", .0.escape_debug())]
pub struct InvalidName(String);

impl Name {
    /// The name as text, safe to print and safe as a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of this artifact's label.
    pub fn label_key(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if first && rest && text.len() <= 128 { Ok(Name(text.to_owned())) } else { Err(InvalidName(text.to_owned())) }
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a resolved label says of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", try_from = "RecordFields")]
pub enum Record {
    /// A regular file.
    File {
        /// The absolute path in the rootfs, as it was named: symlinks and `..` may be in it.
        path: String,
        /// The path without any of them, where it is another one.
        #[serde(skip_serializing_if = "Option::is_none")]
        real: Option<String>,
        /// The file's length in bytes.
        size: u64,
        /// Permission bits, in octal.
        mode: Mode,
        /// The SHA-256 of the file's content.
        digest: Digest,
        /// The layer that holds it.
        layer: DiffId,
        /// Bytes from the start of the layer's uncompressed tar to the file's first data byte.
        offset: u64,
        /// The layers of the image that was labelled: the record is true of an image with exactly these.
        chain: ChainId,
    },
    /// A directory with all that is in it.
    Directory {
        /// The absolute path in the rootfs, as it was named: symlinks and `..` may be in it.
        path: String,
        /// The path without any of them, where it is another one.
        #[serde(skip_serializing_if = "Option::is_none")]
        real: Option<String>,
        /// The length in bytes of all its files together.
        size: u64,
        /// Permission bits of the directory itself, in octal.
        mode: Mode,
        /// The SHA-256 of its listing.
        digest: Digest,
        /// The layers that hold its parts, bottom first.
        layers: Vec<DiffId>,
        /// The layers of the image that was labelled, as above.
        chain: ChainId,
    },
}

/// The fields of a record of either kind, as they are read. An enum with a tag would first keep all that is there, also what
/// nobody knows, in many times the memory that its text takes.
#[derive(Deserialize)]
struct RecordFields {
    r#type: RecordType,
    path: String,
    real: Option<String>,
    size: u64,
    mode: Mode,
    digest: Digest,
    layer: Option<DiffId>,
    offset: Option<u64>,
    layers: Option<Vec<DiffId>>,
    chain: ChainId,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RecordType {
    File,
    Directory,
}

impl TryFrom<RecordFields> for Record {
    type Error = MissingField;

    fn try_from(fields: RecordFields) -> Result<Self, MissingField> {
        let RecordFields { r#type, path, real, size, mode, digest, layer, offset, layers, chain } = fields;
        Ok(match r#type {
            RecordType::File => {
                let layer = layer.ok_or(MissingField("layer"))?;
                let offset = offset.ok_or(MissingField("offset"))?;
                Record::File { path, real, size, mode, digest, layer, offset, chain }
            }
            RecordType::Directory => {
                let layers = layers.ok_or(MissingField("layers"))?;
                Record::Directory { path, real, size, mode, digest, layers, chain }
            }
        })
    }
}

/// A field without which a document of this kind says nothing.
#[derive(Debug, thiserror::Error)]
#[error("missing field `{0}`")]
pub struct MissingField(
    /// Its name.
    pub &'static str,
);

impl Record {
    /// The absolute path in the rootfs, as it was named.
    pub fn path(&self) -> &str {
        match self {
            Record::File { path, .. } | Record::Directory { path, .. } => path,
        }
    }

    /// The absolute path in the rootfs, without a symlink or `..` in it.
    pub fn real_path(&self) -> &str {
        match self {
            Record::File { path, real, .. } | Record::Directory { path, real, .. } => real.as_ref().unwrap_or(path),
        }
    }

    /// The ChainID of the image that was labelled.
    pub fn chain(&self) -> &ChainId {
        match self {
            Record::File { chain, .. } | Record::Directory { chain, .. } => chain,
        }
    }

    /// Whether the record is of an image with exactly the layers that `chain` is of. Of any other it says nothing: layers above
    /// may have changed or deleted the file, or turned a symlink on the way to it.
    pub fn is_of(&self, chain: Option<&ChainId>) -> bool {
        chain == Some(self.chain())
    }

    /// The length in bytes of what it names.
    pub fn size(&self) -> u64 {
        match self {
            Record::File { size, .. } | Record::Directory { size, .. } => *size,
        }
    }

    /// The digest that what is read must have.
    pub fn digest(&self) -> &Digest {
        match self {
            Record::File { digest, .. } | Record::Directory { digest, .. } => digest,
        }
    }

    /// The record as a label's value: the same text for the same record, always.
    pub fn to_label(&self) -> String {
        // A record holds only strings and numbers, which always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Permission bits that are written as an octal string, such as `"0755"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub u32);

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let octal = (1..=5).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let bits = u32::from_str_radix(&text, 8).ok().filter(|bits| octal && *bits <= 0o7777);
        bits.map(Mode).ok_or_else(|| format!("\"{}\" is not an octal mode", text.escape_debug()))
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        format!("{:04o}", mode.0)
    }
}

/// One labelled artifact of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its name. A legacy label's may be any file name.
    pub name: String,
    /// What its label says.
    pub label: Label,
}

/// What a label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// The path alone, as a person declared it.
    Declared {
        /// An absolute path.
        path: String,
    },
    /// Where the bytes are.
    Resolved(Record),
    /// Where the bytes were in an image of other layers, such as the one that this image was built from. The path that the record
    /// names is worth as much as a declared one, and the rest of it nothing.
    Inherited(Record),
    /// The layer alone, by its blob digest; the name is the file's base name.
    Legacy {
        /// The digest of the layer's blob.
        blob: Digest,
    },
    /// A label of ours that cannot be read.
    Malformed {
        /// What is wrong with it.
        problem: String,
    },
}

/// The artifacts that the image's labels name, by name.
pub fn artifacts(image: &Image) -> Vec<Artifact> {
    let chain = image.chain_id();
    let mut found: BTreeMap<String, Label> = BTreeMap::new();
    for (key, value) in &image.config.config.labels {
        if let Some(name) = key.strip_prefix(PREFIX) {
            let label = match name.parse::<Name>() {
                Ok(_) => match parse(value) {
                    Label::Resolved(record) if !record.is_of(chain.as_ref()) => Label::Inherited(record),
                    label => label,
                },
                Err(error) => Label::Malformed { problem: error.to_string() },
            };
            found.insert(name.to_owned(), label);
        } else if let Ok(blob) = value.parse::<Digest>()
            && image.layers.iter().any(|layer| layer.digest() == Some(&blob))
        {
            // A label of ours with the same name says more.
            found.entry(key.clone()).or_insert(Label::Legacy { blob });
        }
    }
    found.into_iter().map(|(name, label)| Artifact { name, label }).collect()
}

fn parse(value: &str) -> Label {
    if value.starts_with('/') {
        return Label::Declared { path: value.to_owned() };
    }
    match serde_json::from_str::<Record>(value) {
        Ok(record) if !record.digest().as_str().starts_with("sha256:") => {
            Label::Malformed { problem: "its digest is not a SHA-256 digest".to_owned() }
        }
        Ok(record) if record.path().starts_with('/') && record.real_path().starts_with('/') => Label::Resolved(record),
        Ok(_) => Label::Malformed { problem: "its path is not absolute".to_owned() },
        Err(error) => Label::Malformed { problem: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::File {
            path: "/bin/tool".to_owned(),
            real: Some("/usr/bin/tool".to_owned()),
            size: 1_048_576,
            mode: Mode(0o755),
            digest: Digest::of(b"tool"),
            layer: DiffId(Digest::of(b"layer")),
            offset: 13_312,
            chain: ChainId(Digest::of(b"chain")),
        }
    }

    #[test]
    fn a_record_is_one_text_and_comes_back_from_it() {
        let text = record().to_label();
        let [digest, layer, chain] = ["tool", "layer", "chain"].map(|content| Digest::of(content.as_bytes()));
        let place = format!(r#""layer":"{layer}","offset":13312,"chain":"{chain}""#);
        let what = format!(r#""size":1048576,"mode":"0755","digest":"{digest}""#);
        assert_eq!(text, format!(r#"{{"type":"file","path":"/bin/tool","real":"/usr/bin/tool",{what},{place}}}"#));
        assert_eq!(parse(&text), Label::Resolved(record()));
    }

    #[test]
    fn the_order_of_the_fields_does_not_matter() {
        let Label::Resolved(read) = parse(&format!(
            r#"{{"chain":"{}","real":"/usr/bin/tool","path":"/bin/tool","type":"file","size":1048576,"mode":"0755","digest":"{}","layer":"{}","offset":13312}}"#,
            Digest::of(b"chain"),
            Digest::of(b"tool"),
            Digest::of(b"layer")
        )) else {
            panic!("a record")
        };
        assert_eq!(read, record());
    }

    #[test]
    fn what_is_no_record_is_malformed_and_never_a_panic() {
        let text = record().to_label();
        for (from, to) in [
            ("\"size\":1048576", "\"size\":-1"),
            ("\"size\":1048576", "\"size\":1e99"),
            ("\"0755\"", "\"99999\""),
            ("\"0755\"", "\"+755\""),
            ("sha256:", "sha256:x"),
            ("\"type\":\"file\"", "\"type\":\"device\""),
            ("\"path\":\"/bin/tool\"", "\"path\":\"bin/tool\""),
            ("\"real\":\"/usr", "\"real\":\"usr"),
            ("\"chain\":", "\"train\":"),
        ] {
            let mutated = text.replacen(from, to, 1);
            assert_ne!(mutated, text);
            assert!(matches!(parse(&mutated), Label::Malformed { .. }), "{mutated}");
        }
    }

    #[test]
    fn a_name_is_safe_as_a_file_name() {
        for name in ["", ".", "..", "-x", "a/b", "a b", "é", "a\n"] {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
        assert_eq!("helloworld.bin".parse::<Name>().unwrap().label_key(), "org.docker-artifact.helloworld.bin");
    }
}
