//! The distribution-spec's end points: which answer belongs to which request.

use std::ops::Range;
use std::sync::Arc;

use serde_json::json;

use super::Shared;
use crate::support::http::{Request, Response};
use crate::support::image::{Content, sha256};

/// The answer of the registry itself.
pub fn registry(shared: &Shared, request: &Request) -> Response {
    let path = request.path();
    if path == "/token" {
        return shared.auth.token(request);
    }
    let Some(rest) = path.strip_prefix("/v2/") else { return Response::error(404, "UNSUPPORTED") };
    let endpoint = Endpoint::of(rest);
    let scope = endpoint.as_ref().map(|endpoint| endpoint.scope(&request.method));
    if let Err(challenge) = shared.auth.check(request, scope.as_deref(), &shared.base()) {
        return challenge;
    }
    match endpoint {
        None if rest.is_empty() => Response::json(&json!({})).header("Docker-Distribution-API-Version", "registry/2.0"),
        None => Response::error(404, "NAME_UNKNOWN"),
        Some(Endpoint { name, kind: "manifests", id }) => manifests(shared, request, name, id),
        Some(Endpoint { name, kind: "blobs", id }) => match id.strip_prefix("uploads/") {
            Some(upload) => uploads(shared, request, name, upload),
            None => blobs(shared, request, name, id),
        },
        Some(Endpoint { name, kind: "tags", .. }) => {
            let mut store = shared.store.lock().expect("no thread panics here");
            let tags: Vec<&String> = store.repository(name).tags.keys().collect();
            Response::json(&json!({"name": name, "tags": tags}))
        }
        Some(Endpoint { name, id, .. }) if shared.options.referrers => referrers(shared, request, name, id),
        Some(_) => Response::error(404, "UNSUPPORTED"),
    }
}

/// The answer of the storage that blobs are redirected to. Like the stores behind real registries it takes the URL's
/// signature for all the credentials there are, and refuses requests that bring others.
pub fn storage(shared: &Shared, request: &Request) -> Response {
    let digest = request.path().rsplit('/').next().unwrap_or_default();
    if !request.header("authorization").is_empty() || request.query_value("signature").is_none() {
        return Response::error(400, "UNSUPPORTED");
    }
    match shared.store.lock().expect("no thread panics here").any_blob(digest) {
        Some(bytes) => content(request, bytes),
        None => Response::error(404, "BLOB_UNKNOWN"),
    }
}

/// `NAME/KIND/ID`, where NAME may have slashes of its own.
struct Endpoint<'a> {
    name: &'a str,
    kind: &'static str,
    id: &'a str,
}

impl<'a> Endpoint<'a> {
    fn of(path: &'a str) -> Option<Self> {
        for kind in ["manifests", "blobs", "tags", "referrers"] {
            if let Some((name, id)) = path.split_once(&format!("/{kind}/")) {
                return Some(Endpoint { name, kind, id });
            }
        }
        None
    }

    fn scope(&self, method: &str) -> String {
        let action = if matches!(method, "GET" | "HEAD") { "pull" } else { "push" };
        format!("repository:{}:{action}", self.name)
    }
}

fn referrers(shared: &Shared, request: &Request, name: &str, id: &str) -> Response {
    let untyped = shared.options.untyped_referrers;
    let wanted = request.query_value("artifactType").filter(|_| !untyped);
    let mut store = shared.store.lock().expect("no thread panics here");
    let mut list = store.repository(name).referrers(id, wanted.as_deref(), untyped);
    let mut next = None;
    if shared.options.pages
        && let Some(all) = list["manifests"].as_array()
    {
        let page = request.query_value("page").and_then(|page| page.parse::<usize>().ok()).unwrap_or(0);
        next = (page + 1 < all.len()).then(|| format!("</v2/{name}/referrers/{id}?page={}>; rel=\"next\"", page + 1));
        list["manifests"] = all.iter().skip(page).take(1).cloned().collect();
    }
    let mut response = Response::json(&list).header("Content-Type", "application/vnd.oci.image.index.v1+json");
    if wanted.is_some() {
        response = response.header("OCI-Filters-Applied", "artifactType");
    }
    match next {
        Some(next) => response.header("Link", &next),
        None => response,
    }
}

fn manifests(shared: &Shared, request: &Request, name: &str, id: &str) -> Response {
    let mut store = shared.store.lock().expect("no thread panics here");
    let repository = store.repository(name);
    if request.method == "PUT" {
        let media_type = request.header("content-type").to_owned();
        let digest = sha256(&request.body);
        if id.contains(':') && id != digest {
            return Response::error(400, "DIGEST_INVALID");
        }
        let subject =
            serde_json::from_slice::<serde_json::Value>(&request.body).unwrap_or_default()["subject"]["digest"].clone();
        repository.manifests.insert(digest.clone(), Content { media_type, bytes: request.body.clone().into() });
        if !id.contains(':') {
            repository.tags.insert(id.to_owned(), digest.clone());
        }
        let response = Response::status(201)
            .header("Location", &format!("/v2/{name}/manifests/{digest}"))
            .header("Docker-Content-Digest", &digest);
        let tells = shared.options.referrers && !shared.options.untyped_referrers;
        return match subject.as_str().filter(|_| tells) {
            Some(subject) => response.header("OCI-Subject", subject),
            None => response,
        };
    }
    if request.method == "DELETE" {
        return match repository.manifests.contains_key(id) {
            _ if shared.options.keeps_manifests => Response::error(405, "UNSUPPORTED"),
            false => Response::error(404, "MANIFEST_UNKNOWN"),
            true => {
                repository.manifests.remove(id);
                repository.tags.retain(|_, digest| digest != id);
                Response::status(202)
            }
        };
    }
    let subject = id.strip_prefix("sha256-").filter(|_| shared.options.digest_tags).map(|hex| format!("sha256:{hex}"));
    let id = subject.as_deref().filter(|_| shared.options.forgets_lists).unwrap_or(id);
    match repository.manifest(id).or_else(|| repository.manifest(subject.as_deref()?)) {
        Some(manifest) => Response::of(200, manifest.bytes.clone())
            .header("Content-Type", &manifest.media_type)
            .header("Docker-Content-Digest", &manifest.digest()),
        None => Response::error(404, "MANIFEST_UNKNOWN"),
    }
}

fn blobs(shared: &Shared, request: &Request, name: &str, digest: &str) -> Response {
    let mut store = shared.store.lock().expect("no thread panics here");
    match store.repository(name).blobs.get(digest) {
        None => Response::error(404, "BLOB_UNKNOWN"),
        Some(bytes) => match shared.storage_base() {
            Some(base) if request.method == "GET" => {
                Response::status(307).header("Location", &format!("{base}/storage/{digest}?signature=once-only"))
            }
            _ => content(request, bytes.clone()).header("Docker-Content-Digest", digest),
        },
    }
}

/// A blob, or the part of it that `Range` asks for (RFC 9110 section 14).
fn content(request: &Request, bytes: Arc<[u8]>) -> Response {
    let total = bytes.len();
    let whole =
        Response::of(200, bytes).header("Content-Type", "application/octet-stream").header("Accept-Ranges", "bytes");
    match parse_range(request.header("range"), total) {
        _ if request.header("range").is_empty() => whole,
        Some(range) => {
            let content_range = format!("bytes {}-{}/{total}", range.start, range.end - 1);
            Response { status: 206, range, ..whole }.header("Content-Range", &content_range)
        }
        None => Response::error(416, "RANGE_INVALID").header("Content-Range", &format!("bytes */{total}")),
    }
}

fn parse_range(text: &str, total: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last =
        if last.is_empty() { total.checked_sub(1)? } else { last.parse::<usize>().ok()?.min(total.checked_sub(1)?) };
    (first <= last).then_some(first..last + 1)
}

fn uploads(shared: &Shared, request: &Request, name: &str, id: &str) -> Response {
    let mut store = shared.store.lock().expect("no thread panics here");
    let digest = request.query_value("digest");
    let created = |digest: &str| {
        Response::status(201)
            .header("Location", &format!("/v2/{name}/blobs/{digest}"))
            .header("Docker-Content-Digest", digest)
    };
    if request.method == "POST" {
        if let (Some(mounted), Some(from)) = (request.query_value("mount"), request.query_value("from"))
            && let Some(bytes) = store.repository(&from).blobs.get(&mounted).cloned()
        {
            store.repository(name).blobs.insert(mounted.clone(), bytes);
            return created(&mounted);
        }
        if digest.is_none() {
            let id = store.start_upload();
            return Response::status(202).header("Location", &format!("/v2/{name}/blobs/uploads/{id}"));
        }
    }
    let mut bytes = store.uploads.remove(id).unwrap_or_default();
    bytes.extend_from_slice(&request.body);
    match digest {
        Some(digest) if store.repository(name).put_blob(&digest, &bytes) => created(&digest),
        Some(_) => Response::error(400, "DIGEST_INVALID"),
        None => {
            let last = bytes.len().saturating_sub(1);
            store.uploads.insert(id.to_owned(), bytes);
            Response::status(202)
                .header("Location", &format!("/v2/{name}/blobs/uploads/{id}"))
                .header("Range", &format!("0-{last}"))
        }
    }
}
