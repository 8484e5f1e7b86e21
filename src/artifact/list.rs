//! What is in an image: the artifacts that it names. Nothing is got.

use std::collections::{HashMap, HashSet};

use super::error::Error;
use super::labelled::RangeIndex;
use super::names::no_such_artifact;
use super::offers::{Offer, Offers};
use super::shown::show;
use crate::image::digest::Digest;
use crate::image::label::{Artifact, Label, Mode, Record, artifacts};
use crate::image::{Image, Layer};
use crate::progress::Progress;
use crate::source::Source;

/// What is in an image.
#[derive(Debug)]
pub struct Listing<T> {
    /// What messages call the image.
    pub name: String,
    /// The reference in full, with the digest of the image manifest where there is one.
    pub image: String,
    /// What there is.
    pub items: Vec<T>,
}

/// An artifact of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedArtifact {
    /// Its name: any text, where the label is not one of ours.
    pub name: String,
    /// Where it is, as far as is known.
    pub path: Option<String>,
    /// What a label, or an attached record, says of it.
    pub record: Option<Record>,
    /// The blob digests of the layers that hold it, as far as is known.
    pub layers: Vec<Digest>,
    /// How it will be read.
    pub read: Read,
}

/// How an artifact will be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The bytes of a layer that hold it, alone.
    Range,
    /// Its layer, no further than it reaches.
    Layer {
        /// The layer's length in bytes, as stored.
        size: u64,
    },
    /// The bytes of its layer that hold it, found by this table.
    Table(Offer),
    /// As any path, for its label does not say where in the image it is.
    Path,
    /// As any path: the label is only that, until the image is labelled.
    Declared,
    /// As any path: the label is of another image, which this one was built from, until this one is labelled.
    Inherited,
    /// Looked for by its name in the layer that the original shell plugin's label names.
    Legacy {
        /// The layer's length in bytes, as stored.
        size: u64,
        /// How many layers lie above it, which may have changed or deleted the file.
        layers_above: usize,
    },
    /// By a record that is attached to the image, and so not covered by its digest.
    Attached,
    /// Not at all.
    Malformed {
        /// What is wrong with its label.
        problem: String,
    },
}

/// The artifacts of `image`, which `source` names: those that labels name, and those that are only attached. Fails where the network
/// does and one of `words` is named by no label, as it is not known then whether it is a name.
pub async fn list_artifacts(
    source: &dyn Source,
    image: &Image,
    words: &[&[u8]],
    progress: &dyn Progress,
) -> Result<Listing<ListedArtifact>, Error> {
    let labels = artifacts(image);
    let texts = words.iter().filter_map(|word| std::str::from_utf8(word).ok());
    let unknown = texts.into_iter().find(|word| labels.iter().all(|artifact| artifact.name != **word));
    let index = match unknown {
        Some(word) => RangeIndex::fetch_names(source, image, word, progress).await?,
        None => match records_of(words, &labels) {
            Some(records) => RangeIndex::fetch_of(source, image, &records, progress).await?,
            None => RangeIndex::fetch(source, image, progress).await?,
        },
    };
    let attached = index.records(image);
    // What a digest does not cover speaks for nothing that it covers.
    let serving = attached.iter().filter(|_| !source.is_pinned());
    let served = serving.map(|(name, record)| ((name.as_str(), record.path()), record)).collect();
    let mut named: HashSet<String> = labels.iter().map(|artifact| artifact.name.clone()).collect();
    let indexed: HashSet<&Record> = attached.iter().map(|(_, record)| record).collect();
    let mut items: Vec<ListedArtifact> =
        labels.into_iter().map(|artifact| listed(artifact, image, &indexed, &served)).collect();
    if source.merged().is_some() {
        // A path costs its own bytes there, and a layer the whole image.
        items.iter_mut().filter(|item| matches!(item.read, Read::Layer { .. })).for_each(|item| item.read = Read::Path);
    }
    for (name, record) in attached {
        if named.insert(name.clone()) {
            items.push(of_record(name, record, image, Read::Attached));
        }
    }
    items.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Listing::new(source, image, items))
}

/// The records that the labels of all these `words` have; `None` where one of them has none, or where there is no word: then it
/// matters what else is attached.
fn records_of<'a>(words: &[&[u8]], labels: &'a [Artifact]) -> Option<Vec<&'a Record>> {
    let record = |word: &&[u8]| {
        labels.iter().find_map(|artifact| match &artifact.label {
            Label::Resolved(record) if artifact.name.as_bytes() == *word => Some(record),
            _ => None,
        })
    };
    Some(words.iter().map(record).collect::<Option<Vec<_>>>()?).filter(|records| !records.is_empty())
}

impl<T> Listing<T> {
    /// What is in `image`, which `source` names.
    pub fn new(source: &dyn Source, image: &Image, items: Vec<T>) -> Self {
        Listing { name: source.name(), image: source.address(image.digest.as_ref()), items }
    }
}

impl Listing<ListedArtifact> {
    /// Whether there is one whose layer would be read.
    pub fn reads_layers(&self) -> bool {
        self.items.iter().any(|artifact| matches!(artifact.read, Read::Layer { .. }))
    }

    /// Takes in what the layers of `image` offer: of one that a table tells of, an artifact costs its own bytes.
    pub fn offered(&mut self, image: &Image, offers: &Offers) {
        for artifact in self.items.iter_mut().filter(|artifact| matches!(artifact.read, Read::Layer { .. })) {
            let layer =
                image.layers.iter().find(|layer| layer.digest().is_some_and(|blob| artifact.layers == [blob.clone()]));
            if let Some(offer) = layer.map(|layer| offers.of(layer)).filter(|offer| *offer != Offer::Plain) {
                artifact.read = Read::Table(offer);
            }
        }
    }

    /// Whether there is one with a label that can be read, so that a word is the name of one and no path.
    pub fn has_names(&self) -> bool {
        self.items.iter().any(|artifact| !matches!(artifact.read, Read::Malformed { .. }))
    }

    /// Those of these names alone, in their order. Fails where there is none of a name.
    pub fn named<'a>(mut self, names: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let mut wanted: Vec<ListedArtifact> = Vec::new();
        for name in names {
            if wanted.iter().any(|artifact| artifact.name.as_bytes() == name) {
                continue;
            }
            match self.items.iter().position(|artifact| artifact.name.as_bytes() == name) {
                Some(position) => wanted.push(self.items.remove(position)),
                None => {
                    let known = self.items.iter().chain(&wanted).map(|artifact| artifact.name.as_str());
                    return Err(no_such_artifact(self.name, &show(name), known.collect()));
                }
            }
        }
        Ok(Listing { items: wanted, ..self })
    }
}

fn listed(
    artifact: Artifact,
    image: &Image,
    indexed: &HashSet<&Record>,
    served: &HashMap<(&str, &str), &Record>,
) -> ListedArtifact {
    let Artifact { name, label } = artifact;
    let bare = |name, path, read| ListedArtifact { name, path, record: None, layers: Vec::new(), read };
    match label {
        Label::Resolved(record) => {
            let read = match &record {
                _ if indexed.contains(&record) => Read::Range,
                Record::File { layer, .. } => match image.layer_of(layer) {
                    Some(layer) => Read::Layer { size: layer.size() },
                    None => Read::Path,
                },
                Record::Directory { .. } => Read::Path,
            };
            of_record(name, record, image, read)
        }
        Label::Inherited(record) => match served.get(&(name.as_str(), record.path())).copied() {
            Some(attached) => of_record(name, attached.clone(), image, Read::Attached),
            None => bare(name, Some(record.path().to_owned()), Read::Inherited),
        },
        Label::Declared { path } => match served.get(&(name.as_str(), path.as_str())).copied() {
            Some(attached) => of_record(name, attached.clone(), image, Read::Attached),
            None => bare(name, Some(path), Read::Declared),
        },
        Label::Legacy { blob } => {
            let size = image.layers.iter().find(|layer| layer.digest() == Some(&blob)).map_or(0, Layer::size);
            let layers_above = image.layers_above(&blob);
            ListedArtifact { layers: vec![blob], ..bare(name, None, Read::Legacy { size, layers_above }) }
        }
        Label::Malformed { problem } => bare(name, None, Read::Malformed { problem }),
    }
}

fn of_record(name: String, record: Record, image: &Image, read: Read) -> ListedArtifact {
    let diff_ids = match &record {
        Record::File { layer, .. } => std::slice::from_ref(layer),
        Record::Directory { layers, .. } => layers.as_slice(),
    };
    let layers = diff_ids.iter().filter_map(|layer| image.layer_of(layer)?.digest().cloned()).collect();
    ListedArtifact { name, path: Some(record.path().to_owned()), layers, record: Some(record), read }
}

impl ListedArtifact {
    /// Its length in bytes, as far as is known.
    pub fn size(&self) -> Option<u64> {
        self.record.as_ref().map(Record::size)
    }

    /// Its permission bits, as far as is known.
    pub fn mode(&self) -> Option<u32> {
        match self.record.as_ref()? {
            Record::File { mode: Mode(bits), .. } | Record::Directory { mode: Mode(bits), .. } => Some(*bits),
        }
    }
}
