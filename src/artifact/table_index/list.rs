//! The form of what lists the tables of an image's layers: descriptors of tables, in a manifest that refers to the image, or in a list
//! that the image's config names.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::artifact::referrer::{REVISION_ANNOTATION, empty, revision_of};
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::table::own::Part;

/// The artifact type of a manifest that lists tables.
pub const ARTIFACT_TYPE: &str = "application/vnd.docker-artifact.tables.v1+json";

/// The media type of a table.
pub const TABLE_MEDIA_TYPE: &str = "application/vnd.docker-artifact.table.v1";

/// The media type of a list that an image's config names.
pub const LIST_MEDIA_TYPE: &str = "application/vnd.docker-artifact.tablelist.v1+json";

/// The annotation of a table's descriptor that has the digest of the layer's blob.
pub const LAYER_ANNOTATION: &str = "org.docker-artifact.layer";

/// The annotation of a table's descriptor that says where its top node is.
pub const TOP_ANNOTATION: &str = "org.docker-artifact.top";

/// The annotation of the manifest that has the digests of layers which no table can tell.
pub const UNTOLD_ANNOTATION: &str = "org.docker-artifact.untold";

/// The label of an image's config that names its list. It does not begin as artifacts' labels do, so that no reader takes it for one.
pub const LABEL: &str = "com.docker-artifact.tables";

/// Where the top nodes of all tables together are longer than this, as stored, none is embedded: registries take manifests of 4 MiB, and
/// each reader pays for all of it.
const MAX_EMBEDDED: u64 = 640 << 10;

/// The table of a layer, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerTable {
    /// The digest of the layer's blob.
    pub layer: Digest,
    /// The digest of the table's blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where its top node is.
    pub top: Part,
    /// The top node, as stored, where it came with the list. Its digest has been compared.
    pub embedded: Option<Vec<u8>>,
}

/// What the annotation says of a top node.
#[derive(Deserialize, Serialize)]
struct Top {
    offset: u64,
    size: u64,
    digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

/// A descriptor as it is read: what nobody knows is passed over, and not kept first.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl LayerTable {
    /// The table that a descriptor with these `fields` is of; `None` where it is of none, or contradicts itself.
    fn of(fields: &Fields) -> Option<Self> {
        let Fields { media_type, digest, size, annotations } = fields;
        let layer = annotations.get(LAYER_ANNOTATION)?.parse().ok()?;
        let Top { offset, size: length, digest: of_top, data } =
            serde_json::from_str(annotations.get(TOP_ANNOTATION)?).ok()?;
        let end = offset.checked_add(length).filter(|end| *end <= *size && length > 0)?;
        i64::try_from(*size).ok()?;
        let embedded = data.and_then(|data| STANDARD.decode(data).ok());
        let embedded = embedded.filter(|bytes| bytes.len() as u64 == length && Digest::of(bytes) == of_top);
        let top = Part { range: (offset, end), digest: to_bytes(&of_top)? };
        Some(LayerTable { layer, digest: digest.clone(), size: *size, top, embedded })
            .filter(|_| media_type == TABLE_MEDIA_TYPE)
    }

    /// The descriptor of the table's blob.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: TABLE_MEDIA_TYPE.to_owned(),
            digest: self.digest.to_string(),
            size: i64::try_from(self.size).unwrap_or(i64::MAX),
            ..Descriptor::default()
        }
    }

    /// Whether it is as good as `other`: the same table, of the same layer.
    fn is_same(&self, other: &Self) -> bool {
        (&self.layer, &self.digest, &self.top) == (&other.layer, &other.digest, &other.top)
    }

    fn to_json(&self, embeds: bool) -> Value {
        let (start, end) = self.top.range;
        let embedded = self.embedded.as_ref().filter(|_| embeds);
        let top = Top {
            offset: start,
            size: end - start,
            digest: to_digest(&self.top.digest),
            data: embedded.map(|bytes| STANDARD.encode(bytes)),
        };
        json!({
            "mediaType": TABLE_MEDIA_TYPE,
            "digest": self.digest,
            "size": self.size,
            "annotations": {
                LAYER_ANNOTATION: self.layer,
                // Only strings and numbers, which always serialise.
                TOP_ANNOTATION: serde_json::to_string(&top).unwrap_or_default(),
            },
        })
    }
}

/// What tells of the tables of an image's layers.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Those that there are, one for each layer's blob.
    pub told: Vec<LayerTable>,
    /// The layers' blobs that no table can tell.
    pub untold: BTreeSet<Digest>,
}

impl Tables {
    /// The table of the layer with this blob.
    pub fn of(&self, layer: &Digest) -> Option<&LayerTable> {
        self.told.iter().find(|table| table.layer == *layer)
    }

    /// Whether their top nodes are embedded. That depends on nothing but the tables, so that the same tables make the same list.
    fn embed(&self) -> bool {
        let lengths = self.told.iter().map(|table| table.top.range.1 - table.top.range.0);
        lengths.fold(0, u64::saturating_add) <= MAX_EMBEDDED
    }

    /// Whether it says nothing of any layer.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty() && self.untold.is_empty()
    }

    /// Whether it says the same as `other`, in whichever order.
    pub fn is_same(&self, other: &Self) -> bool {
        self.untold == other.untold
            && self.told.len() == other.told.len()
            && self.told.iter().all(|table| other.of(&table.layer).is_some_and(|other| table.is_same(other)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    artifact_type: String,
    layers: Vec<Fields>,
    subject: Subject,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

/// What a manifest that lists tables of the image manifest `subject` says, and its revision; `None` where it is no such manifest.
pub fn of_manifest(bytes: &[u8], subject: &Digest) -> Option<(Tables, u64)> {
    let Manifest { artifact_type, layers, subject: of, annotations } = serde_json::from_slice(bytes).ok()?;
    if artifact_type != ARTIFACT_TYPE || of.digest != *subject {
        return None;
    }
    let revision = revision_of(Some(&annotations));
    let untold = annotations.get(UNTOLD_ANNOTATION).map(String::as_str).unwrap_or_default();
    let untold = untold.split(',').filter_map(|digest| digest.parse().ok()).collect();
    Some((Tables { told: distinct(layers.iter().filter_map(LayerTable::of)), untold }, revision))
}

/// The first table of each layer.
fn distinct(tables: impl Iterator<Item = LayerTable>) -> Vec<LayerTable> {
    let mut seen = HashSet::new();
    tables.filter(|table| seen.insert(table.layer.clone())).collect()
}

/// The manifest that lists `tables` of the image manifest `subject`, beside a list that the image names; a `revision` of 0 is not
/// mentioned.
pub fn manifest(tables: &Tables, list: Option<&Descriptor>, subject: &Value, revision: u64) -> String {
    let list = list.map(|list| json!({ "mediaType": list.media_type, "digest": list.digest, "size": list.size }));
    let embeds = tables.embed();
    let told = tables.told.iter().map(|table| table.to_json(embeds));
    let mut layers: Vec<Value> = told.chain(list).collect();
    if layers.is_empty() {
        // A manifest has at least one layer (image-spec, *Image Manifest Property Descriptions*).
        layers.push(empty());
    }
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MEDIA_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": empty(),
        "layers": layers,
        "subject": subject,
    });
    let untold: Vec<&str> = tables.untold.iter().map(Digest::as_str).collect();
    let untold = (!untold.is_empty()).then(|| (UNTOLD_ANNOTATION, untold.join(",")));
    let revision = (revision > 0).then(|| (REVISION_ANNOTATION, revision.to_string()));
    let annotations: BTreeMap<&str, String> = untold.into_iter().chain(revision).collect();
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    manifest.to_string()
}

/// A list that an image's config names, as it is stored: what it has of each layer, from the bottom.
#[derive(Deserialize)]
struct List {
    layers: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: Digest,
    #[serde(default)]
    table: Option<Fields>,
}

/// The list of `tables` of an image that has the `layers` with these blobs, from the bottom, as it is stored.
pub fn list(layers: &[Digest], tables: &Tables) -> String {
    let embeds = tables.embed();
    let entry = |layer: &Digest| match tables.of(layer) {
        Some(table) => json!({ "digest": layer, "table": table.to_json(embeds) }),
        None => json!({ "digest": layer }),
    };
    json!({ "layers": layers.iter().map(entry).collect::<Vec<_>>() }).to_string()
}

/// The tables that a list, as it is stored, has of an image with these `layers`, from the bottom: those of the layers that the image
/// shares with the one that the list was made for. A table of any other layer is not that image's to tell.
pub fn of_list(bytes: &[u8], layers: &[Option<&Digest>]) -> Option<Tables> {
    let List { layers: listed } = serde_json::from_slice(bytes).ok()?;
    let shared = listed.iter().zip(layers).take_while(|(entry, layer)| Some(&entry.digest) == **layer);
    let tables = shared.filter_map(|(entry, _)| {
        let table = LayerTable::of(entry.table.as_ref()?)?;
        (table.layer == entry.digest).then_some(table)
    });
    Some(Tables { told: distinct(tables), untold: BTreeSet::new() })
}

/// A SHA-256 digest from its bytes.
pub fn to_digest(bytes: &[u8; 32]) -> Digest {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // It is one by construction; the digest of nothing else is ever this.
    format!("sha256:{hex}").parse().unwrap_or_else(|_| Digest::of(bytes))
}

/// The bytes of a SHA-256 digest.
fn to_bytes(digest: &Digest) -> Option<[u8; 32]> {
    if !digest.as_str().starts_with("sha256:") {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digest.encoded().get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(number: u8, embedded: usize) -> LayerTable {
        let top = vec![number; embedded];
        let start = 1000;
        LayerTable {
            layer: Digest::of(&[number]),
            digest: Digest::of(&[number, number]),
            size: 1_000_000,
            top: Part { range: (start, start + embedded as u64), digest: to_bytes(&Digest::of(&top)).unwrap() },
            embedded: Some(top),
        }
    }

    fn tables(numbers: impl Iterator<Item = u8>, embedded: usize) -> Tables {
        Tables {
            told: numbers.map(|number| table(number, embedded)).collect(),
            untold: [Digest::of(b"untold"), Digest::of(b"another")].into(),
        }
    }

    fn written(tables: &Tables, subject: &Digest) -> String {
        manifest(tables, None, &json!({"digest": subject}), 3)
    }

    #[test]
    fn what_is_listed_comes_back() {
        let (all, subject) = (tables(0..10, 2000), Digest::of(b"image"));
        let (read, revision) = of_manifest(written(&all, &subject).as_bytes(), &subject).unwrap();
        assert!(read.is_same(&all) && all.is_same(&read));
        assert_eq!((read.told, read.untold, revision), (all.told.clone(), all.untold.clone(), 3));
        assert!(of_manifest(written(&all, &subject).as_bytes(), &Digest::of(b"other")).is_none());
        let layers: Vec<Digest> = all.told.iter().map(|table| table.layer.clone()).collect();
        let of_image: Vec<Option<&Digest>> = layers.iter().map(Some).collect();
        assert_eq!(of_list(list(&layers, &all).as_bytes(), &of_image).unwrap().told, all.told);
    }

    #[test]
    fn top_nodes_are_embedded_where_they_are_small_together() {
        let (all, subject) = (tables(0..100, 12_000), Digest::of(b"image"));
        let text = written(&all, &subject);
        assert!(text.len() < 1 << 20, "{}", text.len());
        let (read, _) = of_manifest(text.as_bytes(), &subject).unwrap();
        assert!(read.is_same(&all) && read.told.iter().all(|table| table.embedded.is_none()));
    }

    #[test]
    fn a_list_tells_the_layers_that_an_image_has_from_the_one_that_it_was_made_for() {
        let all = tables(0..4, 100);
        let layers: Vec<Digest> = all.told.iter().map(|table| table.layer.clone()).collect();
        let list = list(&layers, &all);
        let (other, told) = (Digest::of(b"other"), |layers: &[Option<&Digest>]| {
            of_list(list.as_bytes(), layers).unwrap().told.into_iter().map(|table| table.layer).collect::<Vec<_>>()
        });
        // An image that was built from it has further layers above, and one may be the same by chance, or by intent.
        assert_eq!(told(&[Some(&layers[0]), Some(&layers[1]), Some(&other), Some(&layers[3])]), layers[..2]);
        assert!(told(&[Some(&layers[1])]).is_empty());
        assert!(told(&[None, Some(&layers[1])]).is_empty());
    }

    #[test]
    fn what_contradicts_itself_is_no_table_and_hides_no_other() {
        let (all, subject) = (tables(1..3, 100), Digest::of(b"image"));
        let whole: Value = serde_json::from_str(&written(&all, &subject)).unwrap();
        let top = |offset: u64, size: u64, digest: &str| {
            json!({"offset": offset, "size": size, "digest": digest}).to_string()
        };
        let digest = Digest::of(b"top").to_string();
        for (field, value) in [
            (TOP_ANNOTATION, top(u64::MAX, 2, &digest)),
            (TOP_ANNOTATION, top(999_999, 2, &digest)),
            (TOP_ANNOTATION, top(0, 0, &digest)),
            (TOP_ANNOTATION, top(0, 2, &format!("sha512:{}", "0".repeat(128)))),
            (TOP_ANNOTATION, "{}".to_owned()),
            (LAYER_ANNOTATION, "sha256:x".to_owned()),
        ] {
            let mut changed = whole.clone();
            changed["layers"][0]["annotations"][field] = json!(value);
            let (read, _) = of_manifest(changed.to_string().as_bytes(), &subject).unwrap();
            assert_eq!(read.told, all.told[1..], "{field} {value}");
        }
        let mut changed = whole;
        let other = top(1000, 100, &digest).replace('}', r#","data":"AAAA"}"#);
        changed["layers"][0]["annotations"][TOP_ANNOTATION] = json!(other);
        let (read, _) = of_manifest(changed.to_string().as_bytes(), &subject).unwrap();
        assert_eq!(read.told[0].embedded, None);
    }
}
