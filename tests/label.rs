//! Labelled artifacts from end to end at the library's door: labelled once, got for the price of the file, and never wrong.

mod support;

use std::sync::Arc;

use docker_artifact::artifact::label::{Labelled, Request, label};
use docker_artifact::artifact::{Error, ExitClass};
use docker_artifact::progress::Silent;
use docker_artifact::source::registry::{Registry as Client, RegistryOptions};
use serde_json::Value;
use support::*;

/// Bytes that hardly compress, always the same for a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// An image with a 200 kB tool in the middle of a layer of 8 MB, under another one.
fn image() -> Image {
    let big = Layer::new([
        dir("usr"),
        dir("usr/bin"),
        symlink("bin", "usr/bin"),
        file("before", noise(1, 4_000_000)),
        file("usr/bin/tool", noise(2, 200_000)).mode(0o755).mtime(1_600_000_000),
        dir("etc"),
        dir("etc/app"),
        file("etc/app/a.conf", "a"),
        symlink("etc/app/link", "a.conf"),
        file("etc/app/empty", ""),
        file("after", noise(3, 4_000_000)),
    ]);
    Image::new().layer(big).layer([dir("etc"), dir("etc/app"), file("etc/app/b.conf", noise(4, 50_000)).mode(0o600)])
}

fn client(reference: &str) -> Arc<Client> {
    let options = RegistryOptions { docker_config: Some("/nonexistent".into()), ..RegistryOptions::default() };
    Arc::new(Client::new(reference, options, Arc::new(Silent)).unwrap())
}

fn try_label(reference: &str, request: Request) -> Result<Labelled, Error> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(label(client(reference), client(reference), request, Arc::new(Silent)))
}

fn add(artifacts: &[(&str, &str)]) -> Request {
    let add = artifacts.iter().map(|(name, path)| (name.parse().unwrap(), path.as_bytes().to_vec())).collect();
    Request { add, ..Request::default() }
}

fn label_as(reference: &str, artifacts: &[(&str, &str)]) -> Labelled {
    try_label(reference, add(artifacts)).unwrap()
}

/// The bytes of blobs and manifests that the registry sent, and the number of requests, since `from`.
fn cost(registry: &Registry, from: usize) -> (u64, usize) {
    let log = registry.log();
    let requests = &log[from..];
    (requests.iter().map(|request| request.sent()).sum(), requests.len())
}

fn both_kinds() -> [Registry; 2] {
    [Registry::start(), Registry::options().referrers().start()]
}

#[test]
fn a_labelled_file_costs_little_more_than_itself() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        let labelled = label_as(&reference, &[("tool", "/bin/tool")]);
        assert!(labelled.pushed && labelled.old != labelled.new);
        let (dir, before) = (WorkDir::new(), registry.log().len());
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), noise(2, 200_000));
        assert_eq!(dir.mode("tool"), 0o755);
        let modified = dir.metadata("tool").modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(modified.as_secs(), 1_600_000_000);
        let (bytes, requests) = cost(&registry, before);
        assert!(bytes < 200_000 + 2 * 64 * 1024, "{bytes} bytes");
        assert!(requests <= 6, "{requests} requests");
    }
}

#[test]
fn a_path_that_happens_to_be_labelled_takes_the_cheap_way() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    let (dir, before) = (WorkDir::new(), registry.log().len());
    artifact(&["get", &reference, "/usr/bin/tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
    assert!(cost(&registry, before).0 < 400_000);
}

#[test]
fn a_directory_is_an_artifact_too() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        label_as(&reference, &[("conf", "etc/app")]);
        let (by_path, by_label, before) = (WorkDir::new(), WorkDir::new(), registry.log().len());
        artifact(&["get", &reference, "conf"]).run_in(&by_label).exits(0);
        assert!(cost(&registry, before).0 < 300_000);
        artifact(&["get", "-o", "conf", &reference, "/etc/app/../app"]).run_in(&by_path).exits(0);
        assert_eq!(by_label.listing(), by_path.listing());
        assert_eq!(by_label.read("conf/b.conf"), noise(4, 50_000));
    }
}

#[test]
fn labelling_changes_the_labels_and_nothing_else() {
    let registry = Registry::start();
    let image = image().label("maintainer", "a <b> & c");
    let reference = registry.push("team/app:1", &image);
    let (before, config_before) = manifest_and_config(&registry, "team/app", "1");
    label_as(&reference, &[("tool", "/bin/tool")]);
    let (after, config_after) = manifest_and_config(&registry, "team/app", "1");
    assert_eq!(before["layers"], after["layers"]);
    let labels = config_after["config"]["Labels"].as_object().unwrap();
    assert_eq!(labels["maintainer"], "a <b> & c");
    let record: Value = serde_json::from_str(labels["org.docker-artifact.tool"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&record["path"], &record["size"], &record["mode"]),
        (&"/usr/bin/tool".into(), &200_000.into(), &"0755".into())
    );
    let mut without = config_after.clone();
    without["config"]["Labels"] = config_before["config"]["Labels"].clone();
    assert_eq!(without, config_before);
}

#[test]
fn no_layer_is_uploaded() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    let before = registry.log().len();
    label_as(&reference, &[("tool", "/bin/tool"), ("conf", "/etc/app")]);
    let log = registry.log();
    let layers = log[before..].iter().filter(|request| request.method == "GET" && request.target.contains("/blobs/"));
    // The config and each of the two layers, once.
    assert_eq!(layers.count(), 3);
    let uploads = log[before..].iter().filter(|request| request.method == "PUT" && request.target.contains("/blobs/"));
    // The config, two parts, and the empty config of the index.
    assert_eq!(uploads.count(), 4);
}

#[test]
fn labelling_twice_changes_nothing() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        let first = label_as(&reference, &[("tool", "/bin/tool")]);
        let before = registry.log().len();
        let second = label_as(&reference, &[("tool", "/usr/bin/tool")]);
        assert!(!second.pushed);
        assert_eq!((&second.old, &second.new), (&first.new, &first.new));
        assert!(registry.log()[before..].iter().all(|request| request.method == "GET"));
    }
}

#[test]
fn a_declared_label_is_resolved() {
    let registry = Registry::start();
    let image = image().label("org.docker-artifact.tool", "/bin/tool");
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
    assert!(try_label(&reference, Request::default()).unwrap().pushed);
    let before = registry.log().len();
    artifact(&["get", &reference, "tool", "-o", "again"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("again"), noise(2, 200_000));
    assert!(cost(&registry, before).0 < 400_000);
}

#[test]
fn what_is_not_there_cannot_be_labelled() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    let missing = try_label(&reference, add(&[("x", "/bin/nothing")])).unwrap_err();
    assert_eq!(missing.exit_class(), ExitClass::NotFound);
    let nothing = try_label(&reference, Request::default()).unwrap_err();
    assert_eq!(nothing.exit_class(), ExitClass::Usage);
    assert!(registry.logged("PUT", "").is_empty());
}

#[test]
fn a_label_can_be_removed() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool"), ("conf", "/etc/app")]);
    let remove = Request { remove: vec!["tool".parse().unwrap()], ..Request::default() };
    try_label(&reference, remove).unwrap();
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let labels: Vec<&String> = config["config"]["Labels"].as_object().unwrap().keys().collect();
    assert_eq!(labels, ["org.docker-artifact.conf"]);
}

#[test]
fn the_index_of_the_digest_before_is_not_left_behind() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    let old_list = format!("team/app/manifests/{}", subject_of(&registry).replace(':', "-"));
    assert_eq!(json_of(&registry, &old_list)["manifests"].as_array().unwrap().len(), 1);
    label_as(&reference, &[("conf", "/etc/app")]);
    let left = registry.logged("DELETE", "/manifests/").len();
    assert_eq!(left, 1);
    let (_, index) = index_of(&registry);
    assert_eq!(index["layers"].as_array().unwrap().len(), 2, "the new index holds what was labelled before, too");
}

#[test]
fn a_dry_run_sends_nothing() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    let request = Request { dry_run: true, ..add(&[("tool", "/bin/tool")]) };
    let labelled = try_label(&reference, request).unwrap();
    assert!(labelled.old != labelled.new && !labelled.pushed);
    assert!(registry.log().iter().all(|request| request.method == "GET"));
}

#[test]
fn every_platform_is_labelled_and_attestations_follow() {
    let registry = Registry::start();
    let index =
        Index::new().image(&image().platform("linux/amd64")).image(&image().platform("linux/arm64")).attestation();
    let reference = registry.push("team/app:1", &index);
    let labelled = label_as(&reference, &[("tool", "/bin/tool")]);
    assert_eq!(labelled.images.len(), 2);
    let index = json_of(&registry, "team/app/manifests/1");
    let entries = index["manifests"].as_array().unwrap();
    for platform in ["linux/amd64", "linux/arm64"] {
        let dir = WorkDir::new();
        artifact(&["get", "--platform", platform, &reference, "tool"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), noise(2, 200_000));
    }
    let attested = entries.iter().find_map(|entry| entry["annotations"]["vnd.docker.reference.digest"].as_str());
    assert!(entries.iter().any(|entry| entry["digest"].as_str() == attested), "{index}");
}

#[test]
fn an_attached_record_leaves_the_image_alone() {
    for registry in both_kinds() {
        let reference = registry.push("team/app:1", &image());
        let request = Request { attach: true, ..add(&[("tool", "/bin/tool")]) };
        let labelled = try_label(&reference, request).unwrap();
        assert!(labelled.pushed && labelled.old == labelled.new);
        let dir = WorkDir::new();
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), noise(2, 200_000));
        // The digest that a person gave does not cover what is attached.
        let pinned = format!("{}@{}", reference.rsplit_once(':').unwrap().0, labelled.new);
        artifact(&["get", &pinned, "tool", "-o", "pinned"]).run_in(&dir).exits(2).says("--trust-attached");
    }
}

#[test]
fn without_a_range_index_only_the_labelled_layer_is_read_and_no_further() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    let (manifest, _) = manifest_and_config(&registry, "team/app", "1");
    registry.lose(&index_digest(&registry));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
    let upper = manifest["layers"][1]["digest"].as_str().unwrap();
    let since_label = registry.logged("GET", upper).len();
    assert_eq!(since_label, 1, "the layer above was read for labelling alone");
}

#[test]
fn a_registry_that_ignores_ranges_is_read_by_the_layer() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    registry.requests_for("/blobs/").fail(Fault::RangeIgnored);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
}

#[test]
fn legacy_labels_are_read_and_searched_in_their_layer() {
    let registry = Registry::start();
    let bare = image();
    let layers = manifest_of(&registry, &bare);
    let blob = layers["layers"][0]["digest"].as_str().unwrap().to_owned();
    let reference = registry.push("team/app:legacy", &image().label("tool", &blob));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), noise(2, 200_000));
}

/// Every field of a label replaced by garbage: never a wrong file, whatever the exit code.
#[test]
fn a_label_that_lies_never_yields_a_wrong_file() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let record = config["config"]["Labels"]["org.docker-artifact.tool"].as_str().unwrap().to_owned();
    let parsed: Value = serde_json::from_str(&record).unwrap();
    let other_digest = format!("sha256:{}", "0".repeat(64));
    let lies: Vec<(&str, Value)> = vec![
        ("size", 199_999.into()),
        ("size", u64::MAX.into()),
        ("size", 0.into()),
        ("offset", 0.into()),
        ("offset", 512.into()),
        ("offset", u64::MAX.into()),
        ("digest", other_digest.clone().into()),
        ("layer", other_digest.clone().into()),
        ("layer", "sha256:short".into()),
        ("path", "/etc/app/a.conf".into()),
        ("path", "/../../etc/passwd".into()),
        ("path", "/nothing".into()),
        ("path", 7.into()),
        ("type", "directory".into()),
        ("type", "device".into()),
        ("mode", "7777777".into()),
        ("mode", "-1".into()),
    ];
    for (number, (field, lie)) in lies.into_iter().enumerate() {
        let mut record = parsed.clone();
        record[field] = lie.clone();
        let lying = image().label("org.docker-artifact.tool", &record.to_string());
        let reference = registry.push(&format!("team/app:lie{number}"), &lying);
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "tool"]).run_in(&dir);
        assert!([0, 1, 3, 5].contains(&run.code), "{field} {lie}: {run:?}");
        match run.code {
            0 => assert_eq!(dir.read("tool"), noise(2, 200_000), "{field} {lie}"),
            _ => assert!(dir.listing().is_empty(), "{field} {lie}: {:?}", dir.listing()),
        }
        if field == "digest" {
            assert_eq!(run.code, 5, "{run:?}");
        }
    }
}

/// Every field of a range index replaced by garbage: the file comes all the same, by a dearer way.
#[test]
fn an_index_that_lies_only_costs_time() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool"), ("conf", "/etc/app")]);
    let subject = subject_of(&registry);
    let (_, index) = index_of(&registry);
    let layer = &index["layers"].as_array().unwrap()[1];
    let part = unpack(layer["data"].as_str().unwrap());
    assert_eq!(part["name"], "tool");
    let mutate = |at: &str, value: Value| {
        let mut mutated = part.clone();
        *mutated.pointer_mut(at).unwrap_or_else(|| panic!("{at} in {part}")) = value;
        mutated
    };
    let zeros = "A".repeat(43_692);
    let lies = vec![
        mutate("/extents/0/compressed_offset", 0.into()),
        mutate("/extents/0/compressed_offset", u64::MAX.into()),
        mutate("/extents/0/compressed_size", 1.into()),
        mutate("/extents/0/compressed_size", u64::MAX.into()),
        mutate("/extents/0/compressed_size", 0.into()),
        mutate("/extents/0/uncompressed_offset", 0.into()),
        mutate("/extents/0/uncompressed_offset", u64::MAX.into()),
        mutate("/extents/0/uncompressed_size", u64::MAX.into()),
        mutate("/extents/0/uncompressed_size", 0.into()),
        mutate("/extents/0/blob", format!("sha256:{}", "1".repeat(64)).into()),
        mutate("/extents/0/layer", format!("sha256:{}", "1".repeat(64)).into()),
        mutate("/extents/0/checkpoint/skipped_bits", 255.into()),
        mutate("/extents/0/checkpoint/skipped_bits", 3.into()),
        mutate("/extents/0/checkpoint/window", zeros.into()),
        mutate("/extents/0/checkpoint/window", "A".repeat(1_000_000).into()),
        mutate("/extents/0/checkpoint/window", "!".into()),
        mutate("/extents/0/checkpoint", serde_json::json!({"compression": "zstd"})),
        mutate("/extents/0/checkpoint", serde_json::json!({"compression": "none"})),
        mutate("/extents", serde_json::json!([])),
        mutate("/entries", serde_json::json!([])),
        mutate("/record/offset", 0.into()),
        mutate("/record/digest", format!("sha256:{}", "1".repeat(64)).into()),
        Value::Null,
        Value::String("garbage".to_owned()),
    ];
    for lie in lies {
        replace_index(&registry, &subject, &index, &lie);
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "tool"]).run_in(&dir);
        assert_eq!(run.code, 0, "{lie}: {run:?}");
        assert_eq!(dir.read("tool"), noise(2, 200_000), "{lie}");
        assert_eq!(dir.listing().len(), 1, "{lie}: {:?}", dir.listing());
    }
}

// What the registry holds.

fn fetch(registry: &Registry, path: &str) -> Vec<u8> {
    let url = format!("http://{}/v2/{path}", registry.host());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = plain_client();
        let response = client.get(url).send().await.unwrap().error_for_status().unwrap();
        response.bytes().await.unwrap().to_vec()
    })
}

fn send(registry: &Registry, method: &str, path: &str, media_type: &str, body: Vec<u8>) -> Option<String> {
    let url = if path.starts_with('/') || path.starts_with("http") {
        path.strip_prefix('/').map_or(path.to_owned(), |path| format!("http://{}/{path}", registry.host()))
    } else {
        format!("http://{}/v2/{path}", registry.host())
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = plain_client().request(method, url).header("content-type", media_type).body(body);
        let response = request.send().await.unwrap().error_for_status().unwrap();
        response.headers().get("location").map(|value| value.to_str().unwrap().to_owned())
    })
}

fn plain_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn json_of(registry: &Registry, path: &str) -> Value {
    serde_json::from_slice(&fetch(registry, path)).unwrap()
}

fn manifest_and_config(registry: &Registry, repository: &str, tag: &str) -> (Value, Value) {
    let manifest = json_of(registry, &format!("{repository}/manifests/{tag}"));
    let config = json_of(registry, &format!("{repository}/blobs/{}", manifest["config"]["digest"].as_str().unwrap()));
    (manifest, config)
}

fn manifest_of(registry: &Registry, image: &Image) -> Value {
    registry.push("team/scratch:1", image);
    json_of(registry, "team/scratch/manifests/1")
}

fn subject_of(registry: &Registry) -> String {
    sha256(&fetch(registry, "team/app/manifests/1"))
}

/// The digest of the range index of `team/app:1`, and the index, in a registry that lists referrers by tag.
fn index_of(registry: &Registry) -> (String, Value) {
    let tag = subject_of(registry).replace(':', "-");
    let list = json_of(registry, &format!("team/app/manifests/{tag}"));
    let digest = list["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let index = json_of(registry, &format!("team/app/manifests/{digest}"));
    (digest, index)
}

fn index_digest(registry: &Registry) -> String {
    index_of(registry).0
}

fn unpack(data: &str) -> Value {
    use base64::Engine;
    use std::io::Read;
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    let mut json = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

/// Puts `part` in the place of the second part of the index, as an attacker who can write to the repository could.
fn replace_index(registry: &Registry, subject: &str, index: &Value, part: &Value) {
    use base64::Engine;
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(part.to_string().as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let mut index = index.clone();
    let layer = &mut index["layers"][1];
    layer["digest"] = sha256(&bytes).into();
    layer["size"] = bytes.len().into();
    layer["data"] = base64::engine::general_purpose::STANDARD.encode(&bytes).into();
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let body = index.to_string().into_bytes();
    let digest = sha256(&body);
    send(registry, "PUT", &format!("team/app/manifests/{digest}"), manifest, body.clone());
    let list = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": manifest,
            "digest": digest,
            "size": body.len(),
            "artifactType": "application/vnd.docker-artifact.index.v1+json",
        }],
    });
    let tag = subject.replace(':', "-");
    let index_type = "application/vnd.oci.image.index.v1+json";
    send(registry, "PUT", &format!("team/app/manifests/{tag}"), index_type, list.to_string().into_bytes());
}
