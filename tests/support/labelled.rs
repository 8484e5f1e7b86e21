//! Images to label, the labelling, and what a registry holds afterwards.

use std::io::{Read, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use docker_artifact::artifact::Error;
use docker_artifact::artifact::label::{Labelled, Request, label};
use docker_artifact::progress::Silent;
use docker_artifact::source::registry::{Registry as Client, RegistryOptions};
use serde_json::Value;

use super::*;

/// An image with two small tools above another layer.
pub fn tools() -> Image {
    let layer = [dir("bin"), file("bin/tool", "hello").mode(0o755), file("bin/other", "other")];
    Image::new().layer([file("etc/motd", "hi")]).layer(layer)
}

/// The names of the artifacts that `ls` shows.
#[track_caller]
pub fn names(reference: &str) -> Vec<String> {
    artifact(&["ls", "-q", reference]).run().exits(0).out().lines().map(str::to_owned).collect()
}

/// What `get` writes to standard output.
#[track_caller]
pub fn content(reference: &str, name: &str) -> String {
    artifact(&["get", "-q", reference, name, "-o", "-"]).run().exits(0).out()
}

/// How often a layer of `image` was asked for, of the requests from the one at `since` on.
pub fn layers_read(registry: &Registry, image: &Packed, since: usize) -> usize {
    let log = registry.log();
    let is_layer = |target: &str| image.layers.iter().any(|layer| target.contains(&layer.digest()));
    log[since..].iter().filter(|request| request.method == "GET" && is_layer(&request.target)).count()
}

/// An image with a 200 kB tool in the middle of a layer of 8 MB, under another one.
pub fn image() -> Image {
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

/// A client of the registry that `reference` names, without credentials.
pub fn client(reference: &str) -> Arc<Client> {
    let options = RegistryOptions { docker_config: Some("/nonexistent".into()), ..RegistryOptions::default() };
    Arc::new(Client::new(reference, options, Arc::new(Silent)).unwrap())
}

/// Labels as `request` says.
pub fn try_label(reference: &str, request: Request) -> Result<Labelled, Error> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(label(client(reference), client(reference), request, Arc::new(Silent)))
}

/// A request to name artifacts: names and paths.
pub fn add(artifacts: &[(&str, &str)]) -> Request {
    let add = artifacts.iter().map(|(name, path)| (name.parse().unwrap(), path.as_bytes().to_vec())).collect();
    Request { add, ..Request::default() }
}

/// Names artifacts.
pub fn label_as(reference: &str, artifacts: &[(&str, &str)]) -> Labelled {
    try_label(reference, add(artifacts)).unwrap()
}

/// Stores [`image`] as `team/app:1` with its tool labelled, and gives its whole reference.
pub fn push_labelled(registry: &Registry) -> String {
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    reference
}

/// What the registry answers at this path below `/v2/`.
pub fn fetch(registry: &Registry, path: &str) -> Vec<u8> {
    let url = format!("http://{}/v2/{path}", registry.host());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = plain_client();
        let response = client.get(url).send().await.unwrap().error_for_status().unwrap();
        response.bytes().await.unwrap().to_vec()
    })
}

/// Sends `body` to this path below `/v2/`.
pub fn send(registry: &Registry, method: &str, path: &str, media_type: &str, body: Vec<u8>) -> Option<String> {
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

/// An HTTP client that no proxy is set for.
pub fn plain_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The JSON document at this path below `/v2/`.
pub fn json_of(registry: &Registry, path: &str) -> Value {
    serde_json::from_slice(&fetch(registry, path)).unwrap()
}

/// The image manifest under a tag, and its config.
pub fn manifest_and_config(registry: &Registry, repository: &str, tag: &str) -> (Value, Value) {
    let manifest = json_of(registry, &format!("{repository}/manifests/{tag}"));
    let config = json_of(registry, &format!("{repository}/blobs/{}", manifest["config"]["digest"].as_str().unwrap()));
    (manifest, config)
}

/// The image manifest of `image`, as the registry takes it.
pub fn manifest_of(registry: &Registry, image: &Image) -> Value {
    registry.push("team/scratch:1", image);
    json_of(registry, "team/scratch/manifests/1")
}

/// The digest of `team/app:1`.
pub fn subject_of(registry: &Registry) -> String {
    sha256(&fetch(registry, "team/app/manifests/1"))
}

/// The digest of the range index of `team/app:1`, and the index, in a registry that lists referrers by tag.
pub fn index_of(registry: &Registry) -> (String, Value) {
    let tag = subject_of(registry).replace(':', "-");
    let list = json_of(registry, &format!("team/app/manifests/{tag}"));
    let digest = list["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let index = json_of(registry, &format!("team/app/manifests/{digest}"));
    (digest, index)
}

/// The digest of the range index of `team/app:1`.
pub fn index_digest(registry: &Registry) -> String {
    index_of(registry).0
}

/// The descriptor of the list of parts that the manifest of `team/app:1` names.
pub fn list_of(registry: &Registry) -> Value {
    let manifest = json_of(registry, "team/app/manifests/1");
    serde_json::from_str(manifest["annotations"]["org.docker-artifact.index"].as_str().unwrap()).unwrap()
}

/// Loses the list of parts that the manifest of `team/app:1` names, if it names one, so that its referrers are asked for.
pub fn lose_list(registry: &Registry) {
    if json_of(registry, "team/app/manifests/1")["annotations"].is_object() {
        registry.lose(list_of(registry)["digest"].as_str().unwrap());
    }
}

/// A part of a range index, out of its `data`.
pub fn unpack(data: &str) -> Value {
    let bytes = STANDARD.decode(data).unwrap();
    let mut json = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

/// Puts `part` in the place of the second part of the index, as an attacker who can write to the repository could, and loses the list
/// that the image names, which nobody can replace.
pub fn replace_index(registry: &Registry, subject: &str, index: &Value, part: &Value) {
    replace_index_by(registry, subject, index, &part.to_string());
}

/// The same with a part that need not be JSON.
pub fn replace_index_by(registry: &Registry, subject: &str, index: &Value, part: &str) {
    lose_list(registry);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(part.as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let mut index = index.clone();
    let layer = &mut index["layers"][1];
    layer["digest"] = sha256(&bytes).into();
    layer["size"] = bytes.len().into();
    layer["data"] = STANDARD.encode(&bytes).into();
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
