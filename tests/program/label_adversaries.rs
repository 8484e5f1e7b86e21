//! Generated range indexes that lie: honest ones with fields swapped, copied and nudged between entries, places and extents.
//! Whatever they say, a labelled artifact is what it is without any index, and costs no more than its layers.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use docker_artifact::artifact::range_index::ARTIFACT_TYPE;
use docker_artifact::artifact::{Error, ExitClass};
use docker_artifact::image::digest::Digest;
use docker_artifact::image::index::IndexEntry;
use docker_artifact::image::manifest::Descriptor;
use docker_artifact::image::platform::Choice;
use docker_artifact::progress::Progress;
use docker_artifact::source::registry::Registry as Client;
use docker_artifact::source::{BlobReader, LayerBlob, RawManifest, Source, SourceError, Store};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::labelled::*;
use crate::support::library::{directory_in_memory, get_into};
use crate::support::*;

/// How many indexes are tried of each artifact.
const CASES: u64 = 120;

/// A registry that is honest but for the one range index that it lists.
struct Lying {
    honest: Arc<Client>,
    index: Option<RawManifest>,
}

impl Lying {
    /// One that lists `index`, or none.
    fn new(honest: &Arc<Client>, index: Option<&Value>) -> Lying {
        let raw = |index: &Value| {
            let bytes = Bytes::from(index.to_string());
            RawManifest { digest: Digest::of(&bytes), bytes, media_type: None }
        };
        Lying { honest: Arc::clone(honest), index: index.map(raw) }
    }
}

impl Source for Lying {
    fn name(&self) -> String {
        self.honest.name()
    }

    fn is_pinned(&self) -> bool {
        self.honest.is_pinned()
    }

    fn bytes_fetched(&self) -> u64 {
        self.honest.bytes_fetched()
    }

    fn address(&self, manifest: Option<&Digest>) -> String {
        self.honest.address(manifest)
    }

    fn image<'a>(
        &'a self,
        choice: &'a Choice,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<docker_artifact::image::Image, SourceError>> {
        Box::pin(async move {
            let image = Source::image(&*self.honest, choice, progress).await?;
            // What the image itself names, nobody else can change.
            Ok(docker_artifact::image::Image { annotations: BTreeMap::new(), ..image })
        })
    }

    fn layer<'a>(&'a self, layer: &'a docker_artifact::image::Layer) -> BoxFuture<'a, Result<LayerBlob, SourceError>> {
        Source::layer(&*self.honest, layer)
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }
}

impl Store for Lying {
    fn manifest<'a>(&'a self, digest: Option<&'a Digest>) -> BoxFuture<'a, Result<RawManifest, SourceError>> {
        match self.index.as_ref().filter(|index| Some(&index.digest) == digest) {
            Some(index) => Box::pin(async { Ok(index.clone()) }),
            None => self.honest.manifest(digest),
        }
    }

    fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Result<BlobReader, SourceError>> {
        self.honest.blob(descriptor)
    }

    fn blob_range<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BlobReader, SourceError>> {
        self.honest.blob_range(descriptor, range)
    }

    fn referrers<'a>(
        &'a self,
        _: &'a Digest,
        artifact_type: &'a str,
    ) -> BoxFuture<'a, Result<Vec<IndexEntry>, SourceError>> {
        let entry = |index: &RawManifest| {
            let (digest, size) = (&index.digest, index.bytes.len());
            json!({ "digest": digest, "size": size, "artifactType": artifact_type })
        };
        let listed = self.index.iter().map(|index| serde_json::from_value(entry(index)).unwrap()).collect();
        Box::pin(async { Ok(listed) })
    }
}

/// Two layers of each compression with files of equal sizes, equal contents, other modes, hard links, and none at all.
fn adversarial_image() -> Image {
    let layer = |name: &str, seed: u64| {
        let path = |file: &str| format!("d/{name}/{file}");
        [
            dir("d"),
            dir(path("")),
            file(path("a"), noise(seed, 3_000)),
            file(path("b"), noise(seed + 1, 3_000)),
            file(path("same"), noise(7, 3_000)),
            file(path("same-secret"), noise(7, 3_000)).mode(0o600),
            hardlink(path("linked"), path("a")),
            file(path("empty"), ""),
            symlink(path("link"), "a"),
            file(format!("between-{name}"), noise(seed + 2, 100_000)),
            file(path("c"), noise(seed + 3, 3_000)),
            file(path("d"), noise(seed + 4, 500)).mtime(1_500_000_000),
        ]
    };
    Image::new()
        .layer(Layer::new(layer("gzip", 10)))
        .layer(Layer::new(layer("zstd", 20)).zstd_frames(8))
        .layer(Layer::new(layer("plain", 30)).plain())
        .layer(Layer::new(layer("members", 40)).gzip_members(8))
}

/// A path's kind, mode, content or target, number of links and time.
type Shape = (String, u32, Vec<u8>, u64, i64);

/// Everything below `directory`.
fn shapes(directory: &Path) -> BTreeMap<String, Shape> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else {
            fs::read(&path).unwrap()
        };
        let links = if kind.is_file() { metadata.nlink() } else { 0 };
        let name = path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
        found.insert(name, (format!("{kind:?}"), metadata.mode(), content, links, metadata.mtime()));
    }
    found.remove("");
    found
}

/// Gets `name` from `source`: what it is, and the bytes that it cost.
fn got(
    runtime: &tokio::runtime::Runtime,
    source: impl Source + 'static,
    name: &str,
) -> Result<(BTreeMap<String, Shape>, u64), Error> {
    let dir = directory_in_memory();
    let before = source.bytes_fetched();
    let report = runtime.block_on(get_into(dir.path(), Arc::new(source), name, false));
    let shapes = shapes(dir.path());
    match report {
        Ok(report) => Ok((shapes, report.fetched_bytes - before)),
        Err(error) => {
            assert!(shapes.is_empty(), "{error}, and yet there is {shapes:?}");
            Err(error)
        }
    }
}

/// Where in `part` something stands that can be said of something else of its kind: each kind with its places.
fn places(part: &Value) -> Vec<Vec<String>> {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for list in ["entries", "extents"] {
        for (number, item) in part[list].as_array().unwrap().iter().enumerate() {
            let mut pending = vec![(String::new(), item)];
            while let Some((path, value)) = pending.pop() {
                kinds.entry(format!("{list}{path}")).or_default().push(format!("/{list}/{number}{path}"));
                if value.is_number() {
                    kinds.entry("numbers".to_owned()).or_default().push(format!("/{list}/{number}{path}"));
                }
                let fields = value.as_object().into_iter().flatten();
                pending.extend(fields.map(|(field, value)| (format!("{path}/{field}"), value)));
            }
        }
    }
    kinds.into_values().collect()
}

/// `part` with one thing in it said otherwise.
fn lie(part: &mut Value, dice: &mut Random) {
    let kinds = places(part);
    let kind = dice.one_of(&kinds);
    let (here, there) = (dice.one_of(kind).clone(), dice.one_of(kind).clone());
    let (one, other) = (part.pointer(&here).unwrap().clone(), part.pointer(&there).unwrap().clone());
    match dice.below(8) {
        0..5 => {
            *part.pointer_mut(&here).unwrap() = other;
            if let Some(there) = part.pointer_mut(&there) {
                *there = one;
            }
        }
        5 => *part.pointer_mut(&here).unwrap() = other,
        6 => {
            let nudge = *dice.one_of(&[1, 512, 3_000, 1 << 40]);
            if let Some(number) = one.as_u64() {
                let nudged =
                    if dice.below(2) == 0 { number.saturating_add(nudge) } else { number.saturating_sub(nudge) };
                *part.pointer_mut(&here).unwrap() = nudged.into();
            }
        }
        _ => {
            let list = part[*dice.one_of(&["entries", "extents"])].as_array_mut().unwrap();
            if list.len() > 1 {
                let (from, to) = (dice.below(list.len()), dice.below(list.len()));
                match dice.below(3) {
                    0 => list.swap(from, to),
                    1 => drop(list.remove(from)),
                    _ => list.insert(to, list[from].clone()),
                }
            }
        }
    }
}

/// `index` with `part` in the place of its part at `position`.
fn with_part(index: &Value, position: usize, part: &Value) -> Value {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(part.to_string().as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let mut index = index.clone();
    let descriptor = &mut index["layers"][position];
    descriptor["digest"] = sha256(&bytes).into();
    descriptor["size"] = bytes.len().into();
    descriptor["data"] = STANDARD.encode(&bytes).into();
    index
}

#[test]
fn whatever_a_range_index_says_an_artifact_is_what_it_is_without() {
    let registry = Registry::start();
    let image = adversarial_image();
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("all", "/d"), ("one", "/d/zstd/b"), ("part", "/d/members")]);
    let (_, index) = index_of(&registry);
    assert_eq!(index["artifactType"], ARTIFACT_TYPE);
    let layers: u64 = image.pack().layers.iter().map(|layer| layer.bytes.len() as u64).sum();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = client(&reference);
    let mut dice = Random::new(1);
    for (position, name) in ["all", "one", "part"].into_iter().enumerate() {
        let get = |index: Option<&Value>| got(&runtime, Lying::new(&client, index), name).unwrap();
        let plain = get(None).0;
        let honest = get(Some(&index));
        assert_eq!(honest.0, plain, "{name}");
        let (mut cheap, mut dear) = (0, 0);
        for case in 0..CASES {
            let mut part = unpack(index["layers"][position]["data"].as_str().unwrap());
            for _ in 0..=dice.below(4) {
                lie(&mut part, &mut dice);
            }
            let lying = with_part(&index, position, &part);
            let (mut found, cost) = get(Some(&lying));
            if name == "one" {
                // Of a file by itself, the time is the index's word.
                found.values_mut().zip(plain.values()).for_each(|(found, plain)| found.4 = plain.4);
            }
            // Hard links between what is alike in everything are the index's word as well.
            found.values_mut().for_each(|found| found.3 = found.3.min(1));
            let expected = plain.iter().map(|(path, shape)| {
                let (kind, mode, content, links, mtime) = shape.clone();
                (path.clone(), (kind, mode, content, links.min(1), mtime))
            });
            assert_eq!(found, expected.collect(), "{name}, case {case}: {part}");
            // The index, read for nothing, and then the layers.
            assert!(cost <= 2 * layers + 200_000, "{name}, case {case}: {cost} bytes: {part}");
            if cost <= honest.1 { cheap += 1 } else { dear += 1 }
        }
        assert!(cheap > 5 && dear > 5, "{name}: the lies are too weak or too strong: {cheap} used, {dear} refused");
    }
}

/// Of a label that lies, a file is still the one that it has the digest of.
#[test]
fn whatever_a_label_says_a_file_has_its_digest() {
    let registry = Registry::start();
    let image = adversarial_image();
    let reference = registry.push("team/app:1", &image);
    let names = ["a", "b", "same", "same-secret", "empty", "c"];
    let paths = names.map(|name| format!("/d/plain/{name}"));
    label_as(&reference, &names.into_iter().zip(paths.iter().map(String::as_str)).collect::<Vec<_>>());
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let label = |name: &str| config["config"]["Labels"][format!("org.docker-artifact.{name}")].as_str().unwrap();
    let honest: Vec<Value> = names.iter().map(|name| serde_json::from_str(label(name)).unwrap()).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut dice = Random::new(2);
    let (mut right, mut refused) = (0, 0);
    for case in 0..CASES {
        let mut records = honest.clone();
        for _ in 0..=dice.below(3) {
            // Of another chain, a label would be a path and no more.
            let field = *dice.one_of(&["path", "size", "mode", "digest", "offset"]);
            let (from, to) = (dice.below(names.len()), dice.below(names.len()));
            let (one, other) = (records[from][field].clone(), records[to][field].clone());
            records[from][field] = other;
            records[to][field] = one;
        }
        let labels = names.iter().zip(&records);
        let lying = labels.fold(image.clone(), |image, (name, record)| {
            image.label(&format!("org.docker-artifact.{name}"), &record.to_string())
        });
        let reference = registry.push("team/app:lie", &lying);
        let client = client(&reference);
        for (name, record) in names.iter().zip(&records) {
            // What lies where the label says counts, if it is as long as the label says; what has the path, if it is not.
            let there = honest.iter().find(|honest| honest["offset"] == record["offset"]).unwrap();
            let by_path = honest.iter().find(|honest| honest["path"] == record["path"]).unwrap();
            let read = if there["size"] == record["size"] { there } else { by_path };
            let digest = record["digest"].as_str().filter(|digest| read["digest"] == **digest);
            let expected = digest.map(str::to_owned);
            match got(&runtime, Lying::new(&client, None), name) {
                Ok((found, _)) => {
                    assert_eq!(Some(sha256(&found[*name].2)), expected, "case {case}: {record}");
                    right += 1;
                }
                Err(error) => {
                    assert_eq!(error.exit_class(), ExitClass::Mismatch, "{error}");
                    assert_eq!(expected, None, "case {case}: {record}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(right > 50 && refused > 50, "{right} came, {refused} were refused");
}
