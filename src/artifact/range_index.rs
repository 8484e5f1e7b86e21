//! The range index: what lets one artifact be read out of a compressed layer alone.
//!
//! It is an OCI artifact whose subject is the image manifest, with one layer per artifact: a [`Part`] in JSON, compressed with
//! gzip, so that to get one artifact, only its part is read. Small parts are embedded in the descriptor. Nothing in it is
//! trusted: an extent's bytes must have the digest that the label (or, attached, the record) promises. Spec: `docs/formats.md`.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::image::digest::{DiffId, Digest, Hasher};
use crate::image::label::{MissingField, Mode, Name, Record};
use crate::layer::checkpoint::{Checkpoint, Extent};

/// The artifact type of a range index, in its manifest and in referrers lists.
pub const ARTIFACT_TYPE: &str = "application/vnd.docker-artifact.index.v1+json";

/// The media type of one [`Part`], as stored.
pub const PART_MEDIA_TYPE: &str = "application/vnd.docker-artifact.part.v1+json+gzip";

/// The annotation of a part's descriptor that holds the artifact's name.
pub const NAME_ANNOTATION: &str = "org.docker-artifact.name";

/// The annotation of a part's descriptor that holds the artifact's record, as a label would.
pub const RECORD_ANNOTATION: &str = "org.docker-artifact.record";

/// A part larger than this many bytes is not embedded in its descriptor.
pub const MAX_EMBEDDED_BYTES: usize = 48 * 1024;

/// A part that decompresses to more than this many bytes is refused.
const MAX_PART_BYTES: u64 = 64 << 20;

/// A window is never longer than deflate's (RFC 1951, section 2).
const MAX_WINDOW_BYTES: usize = 32 * 1024;

/// What is known of one artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The artifact's name.
    pub name: Name,
    /// What its label says, or would say.
    pub record: Record,
    /// What a directory holds, in the order of paths; of a file, the file alone, with an empty path.
    pub entries: Vec<Listed>,
    /// Where the bytes are.
    pub extents: Vec<StoredExtent>,
}

/// One entry of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ListedFields")]
pub struct Listed {
    /// The path below the artifact's own, without a leading slash; empty for the artifact itself.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: ListedKind,
    /// Permission bits, in octal.
    pub mode: Mode,
    /// The modification time in seconds since the Unix epoch.
    pub mtime: i64,
    /// Where a file's bytes are: not part of the listing that a directory's digest is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// What a [`Listed`] entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ListedKind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// The SHA-256 of its content.
        digest: Digest,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Its target, as written.
        target: String,
    },
}

/// The fields of an entry of any kind, as they are read: what nobody knows is passed over, and not kept first.
#[derive(Deserialize)]
struct ListedFields {
    path: String,
    r#type: ListedType,
    size: Option<u64>,
    digest: Option<Digest>,
    target: Option<String>,
    mode: Mode,
    mtime: i64,
    place: Option<Place>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ListedType {
    File,
    Directory,
    Symlink,
}

impl TryFrom<ListedFields> for Listed {
    type Error = MissingField;

    fn try_from(fields: ListedFields) -> Result<Self, MissingField> {
        let ListedFields { path, r#type, size, digest, target, mode, mtime, place } = fields;
        let kind = match r#type {
            ListedType::File => ListedKind::File {
                size: size.ok_or(MissingField("size"))?,
                digest: digest.ok_or(MissingField("digest"))?,
            },
            ListedType::Directory => ListedKind::Directory,
            ListedType::Symlink => ListedKind::Symlink { target: target.ok_or(MissingField("target"))? },
        };
        Ok(Listed { path, kind, mode, mtime, place })
    }
}

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The layer.
    pub layer: DiffId,
    /// Bytes from the start of the layer's uncompressed tar to the file's first data byte.
    pub offset: u64,
}

/// An [`Extent`] of one blob, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredExtent {
    /// The layer.
    pub layer: DiffId,
    /// The blob that the compressed offsets are of.
    pub blob: Digest,
    /// Where the extent begins: bytes from the start of the blob.
    pub compressed_offset: u64,
    /// Its length in bytes, as stored.
    pub compressed_size: u64,
    /// What it begins with: bytes from the start of the uncompressed tar.
    pub uncompressed_offset: u64,
    /// Its length in bytes when decoded.
    pub uncompressed_size: u64,
    /// The decoder's state at its start.
    pub checkpoint: StoredCheckpoint,
}

/// A [`Checkpoint`] as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "compression", rename_all = "lowercase", try_from = "CheckpointFields")]
pub enum StoredCheckpoint {
    /// The blob is a plain tar.
    None,
    /// A zstd frame begins.
    Zstd,
    /// A deflate block begins.
    Gzip {
        /// How many of the first byte's lowest bits (0 to 7) belong to the block before.
        skipped_bits: u8,
        /// The decoder's window, in base64.
        window: String,
    },
}

/// The fields of a checkpoint of any kind, as they are read.
#[derive(Deserialize)]
struct CheckpointFields {
    compression: Compressed,
    skipped_bits: Option<u8>,
    window: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Compressed {
    None,
    Zstd,
    Gzip,
}

impl TryFrom<CheckpointFields> for StoredCheckpoint {
    type Error = MissingField;

    fn try_from(fields: CheckpointFields) -> Result<Self, MissingField> {
        Ok(match fields.compression {
            Compressed::None => StoredCheckpoint::None,
            Compressed::Zstd => StoredCheckpoint::Zstd,
            Compressed::Gzip => StoredCheckpoint::Gzip {
                skipped_bits: fields.skipped_bits.ok_or(MissingField("skipped_bits"))?,
                window: fields.window.ok_or(MissingField("window"))?,
            },
        })
    }
}

/// Why a range index cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("its range index cannot be used: {0}")]
pub struct InvalidPart(String);

impl InvalidPart {
    /// A part that has this `problem`.
    pub(super) fn new(problem: impl Into<String>) -> Self {
        InvalidPart(problem.into())
    }
}

impl Part {
    /// The part as it is stored. Fails where it is larger than a reader takes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidPart> {
        let json = serde_json::to_vec(self).map_err(|error| InvalidPart(error.to_string()))?;
        if json.len() as u64 > MAX_PART_BYTES {
            return Err(InvalidPart(format!("it is larger than {MAX_PART_BYTES} bytes")));
        }
        // No time and no name in the header: the same part is the same bytes.
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&json).and_then(|()| gzip.finish()).map_err(|error| InvalidPart(error.to_string()))
    }

    /// Reads what [`Part::to_bytes`] wrote, or somebody else did.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidPart> {
        let mut json = Vec::new();
        let mut gzip = GzDecoder::new(bytes).take(MAX_PART_BYTES + 1);
        gzip.read_to_end(&mut json).map_err(|error| InvalidPart(error.to_string()))?;
        if json.len() as u64 > MAX_PART_BYTES {
            return Err(InvalidPart(format!("it is larger than {MAX_PART_BYTES} bytes")));
        }
        serde_json::from_slice(&json).map_err(|error| InvalidPart(error.to_string()))
    }
}

impl StoredExtent {
    /// `extent` of the blob of a layer, to be written down.
    pub fn new(layer: DiffId, blob: Digest, extent: &Extent) -> Self {
        StoredExtent {
            layer,
            blob,
            compressed_offset: extent.compressed.start,
            compressed_size: extent.compressed.end - extent.compressed.start,
            uncompressed_offset: extent.uncompressed.start,
            uncompressed_size: extent.uncompressed.end - extent.uncompressed.start,
            checkpoint: match &extent.checkpoint {
                Checkpoint::Plain => StoredCheckpoint::None,
                Checkpoint::ZstdFrame => StoredCheckpoint::Zstd,
                Checkpoint::DeflateBlock { skipped_bits, window } => {
                    StoredCheckpoint::Gzip { skipped_bits: *skipped_bits, window: STANDARD.encode(window) }
                }
            },
        }
    }

    /// The extent, if it could be one of a blob of `blob_size` bytes.
    pub fn extent(&self, blob_size: u64) -> Result<Extent, InvalidPart> {
        let end = |start: u64, size: u64| start.checked_add(size);
        let compressed_end = end(self.compressed_offset, self.compressed_size).filter(|end| *end <= blob_size);
        let compressed_end =
            compressed_end.ok_or_else(|| InvalidPart("an extent lies outside its layer".to_owned()))?;
        let uncompressed_end = end(self.uncompressed_offset, self.uncompressed_size)
            .ok_or_else(|| InvalidPart("an extent lies outside any tar".to_owned()))?;
        let checkpoint = match &self.checkpoint {
            StoredCheckpoint::None => Checkpoint::Plain,
            StoredCheckpoint::Zstd => Checkpoint::ZstdFrame,
            StoredCheckpoint::Gzip { skipped_bits, window } => {
                if window.len() > MAX_WINDOW_BYTES * 2 || *skipped_bits > 7 {
                    return Err(InvalidPart("a checkpoint is not possible in deflate".to_owned()));
                }
                let window = STANDARD.decode(window).map_err(|error| InvalidPart(error.to_string()))?;
                if window.len() > MAX_WINDOW_BYTES {
                    return Err(InvalidPart("a window is longer than 32 KiB".to_owned()));
                }
                Checkpoint::DeflateBlock { skipped_bits: *skipped_bits, window }
            }
        };
        Ok(Extent {
            compressed: self.compressed_offset..compressed_end,
            uncompressed: self.uncompressed_offset..uncompressed_end,
            checkpoint,
        })
    }
}

/// The digest of a directory: the SHA-256 of its entries' listing, one line of JSON each, without their places.
pub fn listing_digest(entries: &[Listed]) -> Digest {
    let mut hasher = Hasher::default();
    for entry in entries {
        let listed = Listed { place: None, ..entry.clone() };
        // Only strings and numbers, which always serialise.
        hasher.update(&serde_json::to_vec(&listed).unwrap_or_default());
        hasher.update(b"\n");
    }
    hasher.finish()
}

/// The annotations of a part's descriptor.
pub fn annotations(part: &Part) -> BTreeMap<String, String> {
    BTreeMap::from([
        (NAME_ANNOTATION.to_owned(), part.name.to_string()),
        (RECORD_ANNOTATION.to_owned(), part.record.to_label()),
    ])
}
