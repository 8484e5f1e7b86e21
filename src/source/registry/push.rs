//! Writing to a registry: blobs, manifests and what refers to them.
//! Spec: OCI distribution-spec *Pushing a Blob in Chunks*, *Mounting a Blob from Another Repository*, *Pushing Manifests* and
//! *Pushing Manifests with Subject*.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use oci_distribution::RegistryOperation;
use oci_distribution::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Registry;
use super::body::{Body, FileBody};
use super::clients::Answer;
use super::fault::Failure;
use super::referrers::tag_of;
use super::retry::Tries;
use super::transport::{Asked, Request, Target};
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::source::{BlobReader, Push, RawManifest, Referrer, Source, SourceError, Store};

/// A blob of more bytes than this is sent in chunks of so many.
const CHUNK: usize = 4 << 20;

/// How often a list that others write, too, is written.
const LIST_TRIES: usize = 3;

impl Registry {
    fn request(&self, method: Method, target: Target, asked: Asked) -> Request {
        let operation = RegistryOperation::Push;
        Request { method, target, headers: HeaderMap::new(), body: None, operation, asked }
    }

    async fn send(&self, request: &Request) -> Result<Answer, SourceError> {
        self.transport.send(request, &mut Tries::new(self.transport.retry_pause)).await
    }

    /// Where an upload goes on, as the last answer says.
    fn next_target(&self, answer: &Answer, asked: &Asked) -> Result<Target, SourceError> {
        let location = answer.response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| SourceError::Protocol {
            what: self.transport.name_of(asked),
            problem: "the registry does not say where to send it".to_owned(),
        })?;
        self.transport.resolve(location, asked)
    }

    /// Asks for a place to send a blob to; `None` where the registry took it from the repository `from` by itself.
    async fn begin_upload(&self, digest: &Digest, from: Option<&str>) -> Result<Option<Target>, SourceError> {
        let asked = Asked::Upload(digest.clone());
        let mount = from.map(|from| format!("?mount={digest}&from={from}")).unwrap_or_default();
        let target = Target::Registry(format!("blobs/uploads/{mount}"));
        let answer = self.send(&self.request(Method::POST, target, asked.clone())).await?;
        if from.is_some() && answer.response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        self.next_target(&answer, &asked).map(Some)
    }

    /// Ends an upload with its last bytes.
    async fn finish_upload(&self, target: Target, digest: &Digest, bytes: Bytes) -> Result<(), SourceError> {
        let request = self.last_request(target, digest, Body::Bytes(bytes))?;
        self.send(&request).await.map(drop)
    }

    /// The request that ends an upload with its last bytes, or with all of them.
    fn last_request(&self, target: Target, digest: &Digest, body: Body) -> Result<Request, SourceError> {
        let asked = Asked::Upload(digest.clone());
        let with_digest = |url: &str| {
            let mark = if url.contains('?') { '&' } else { '?' };
            format!("{url}{mark}digest={digest}")
        };
        let target = match target {
            Target::Registry(url) => Target::Registry(with_digest(&url)),
            Target::Elsewhere(url) => self.transport.resolve(&with_digest(url.as_str()), &asked)?,
        };
        let mut request = self.request(Method::PUT, target, asked);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        request.body = Some(body);
        Ok(request)
    }

    /// Whether the registry has the blob of this descriptor.
    pub async fn has(&self, descriptor: &Descriptor) -> Result<bool, SourceError> {
        self.has_blob(&self.digest_of(descriptor)?).await
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, SourceError> {
        let mut request =
            self.request(Method::HEAD, Target::Registry(format!("blobs/{digest}")), Asked::Blob(digest.clone()));
        request.operation = RegistryOperation::Pull;
        match self.send(&request).await {
            Ok(_) => Ok(true),
            // Whatever else it says to that, it may take the blob.
            Err(SourceError::NotFound { .. } | SourceError::Protocol { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends the whole blob in one request. What broke off is begun again with another upload, as some registries go on with what
    /// they have of the first.
    async fn send_file(&self, digest: &Digest, content: &Arc<FileBody>) -> Result<(), SourceError> {
        let mut tries = Tries::new(self.transport.retry_pause);
        loop {
            let Some(target) = self.begin_upload(digest, None).await? else { return Ok(()) };
            let request = self.last_request(target, digest, Body::File(Arc::clone(content)))?;
            let failed = match self.transport.try_once(&request).await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            let what = self.transport.name_of(&request.asked);
            match (content.failure(), failed) {
                (Some(error), _) => return Err(SourceError::Io { what, error }),
                (None, Failure::Final(error)) => return Err(error),
                (None, Failure::Fault(fault)) => tries.pause_after(fault, &what, &*self.transport.progress).await?,
            }
        }
    }

    async fn put_manifest(&self, name: &str, media_type: &str, bytes: Bytes) -> Result<Answer, SourceError> {
        let target = Target::Registry(format!("manifests/{name}"));
        let mut request = self.request(Method::PUT, target, Asked::Manifest(name.to_owned()));
        let content_type = HeaderValue::from_str(media_type).map_err(|_| SourceError::Protocol {
            what: self.transport.name_of(&request.asked),
            problem: format!("\"{}\" is not a media type", media_type.escape_debug()),
        })?;
        request.headers.insert(CONTENT_TYPE, content_type);
        request.body = Some(Body::Bytes(bytes));
        self.send(&request).await
    }

    /// Adds `referrer` to the list under the subject's tag, in the place of those that it `replaces`. Others stay as they are. The
    /// list is read back, as others may write it at the same time, and as not every registry keeps a manifest under such a tag
    /// (GitLab's may answer with the subject): whether the referrer is in it then.
    async fn list_under_tag(
        &self,
        subject: &Digest,
        referrer: &Value,
        replaces: &[Digest],
    ) -> Result<bool, SourceError> {
        let replaces: HashSet<&str> = replaces.iter().map(Digest::as_str).chain(referrer["digest"].as_str()).collect();
        let is_replaced =
            |entry: &Value| entry.get("digest").and_then(Value::as_str).is_some_and(|digest| replaces.contains(digest));
        for _ in 0..LIST_TRIES {
            let listed = self.referrers_by_tag(subject).await?;
            let mut index: Value = listed.and_then(|(raw, _)| serde_json::from_slice(&raw.bytes).ok()).unwrap_or_else(
                || json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE, "manifests": []}),
            );
            if let Some(manifests) = index.get_mut("manifests").and_then(Value::as_array_mut) {
                manifests.retain(|entry| !is_replaced(entry));
                manifests.push(referrer.clone());
            }
            let bytes = Bytes::from(index.to_string());
            self.put_manifest(&tag_of(subject), OCI_IMAGE_INDEX_MEDIA_TYPE, bytes).await?;
            let listed = self.referrers_by_tag(subject).await?;
            if listed
                .is_some_and(|(_, entries)| entries.iter().any(|entry| referrer["digest"] == entry.digest.as_str()))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the registry has the manifest `digest`.
    async fn keeps(&self, digest: &Digest) -> Result<bool, SourceError> {
        match self.fetch_manifest_named(digest.as_str(), Some(digest)).await {
            Ok(_) => Ok(true),
            Err(SourceError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn copy_blob_from(
        &self,
        from: &Registry,
        descriptor: &Descriptor,
        digest: &Digest,
    ) -> Result<(), SourceError> {
        let repository = from.reference.repository();
        let Some(mut target) = self.begin_upload(digest, Some(repository)).await? else { return Ok(()) };
        // The registry does not mount, so the blob crosses the wire: piece by piece, as it may be of any size.
        let asked = Asked::Upload(digest.clone());
        let mut reader = from.blob(descriptor).await?;
        let mut sent = 0_usize;
        loop {
            let (piece, rest) = read_piece(reader).await?;
            reader = rest;
            if piece.len() < CHUNK {
                return self.finish_upload_after(target, digest, piece, sent).await;
            }
            target = self.send_chunk(target, &asked, piece.clone(), sent).await?;
            sent += piece.len();
        }
    }

    async fn finish_upload_after(
        &self,
        target: Target,
        digest: &Digest,
        last: Bytes,
        sent: usize,
    ) -> Result<(), SourceError> {
        let asked = Asked::Upload(digest.clone());
        let target = if last.is_empty() { target } else { self.send_chunk(target, &asked, last, sent).await? };
        self.finish_upload(target, digest, Bytes::new()).await
    }

    async fn send_chunk(
        &self,
        target: Target,
        asked: &Asked,
        chunk: Bytes,
        start: usize,
    ) -> Result<Target, SourceError> {
        let mut request = self.request(Method::PATCH, target, asked.clone());
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        // Inclusive, and without the "bytes" of RFC 9110, as the distribution-spec has it.
        if let Ok(range) = HeaderValue::from_str(&format!("{start}-{}", start + chunk.len() - 1)) {
            request.headers.insert(CONTENT_RANGE, range);
        }
        request.body = Some(Body::Bytes(chunk));
        let answer = self.send(&request).await?;
        self.next_target(&answer, asked)
    }
}

impl Push for Registry {
    fn push_blob(&self, bytes: Bytes) -> BoxFuture<'_, Result<Digest, SourceError>> {
        Box::pin(async move {
            let digest = Digest::of(&bytes);
            if let Some(target) = self.begin_upload(&digest, None).await? {
                self.finish_upload(target, &digest, bytes).await?;
            }
            Ok(digest)
        })
    }

    fn push_file<'a>(&'a self, blob: &'a Descriptor, file: &'a Arc<File>) -> BoxFuture<'a, Result<bool, SourceError>> {
        Box::pin(async move {
            let digest = self.digest_of(blob)?;
            if self.has_blob(&digest).await? {
                return Ok(false);
            }
            let (task, length) = (digest.to_string(), u64::try_from(blob.size).unwrap_or_default());
            let progress = Arc::clone(&self.transport.progress);
            progress.start(&task, &task, Some(length));
            let content = FileBody::new(Arc::clone(file), length, task.clone(), Arc::clone(&progress));
            let sent = self.send_file(&digest, &Arc::new(content)).await;
            progress.finish(&task);
            sent.map(|()| true)
        })
    }

    fn push_manifest<'a>(
        &'a self,
        tag: Option<&'a str>,
        media_type: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Digest, SourceError>> {
        Box::pin(async move {
            let digest = Digest::of(&bytes);
            self.put_manifest(tag.unwrap_or(digest.as_str()), media_type, bytes).await?;
            Ok(digest)
        })
    }

    fn push_referrer<'a>(
        &'a self,
        subject: &'a Digest,
        replaces: &'a [Digest],
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Referrer, SourceError>> {
        Box::pin(async move {
            let (digest, size) = (Digest::of(&bytes), bytes.len());
            let manifest: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let answer = self.put_manifest(digest.as_str(), OCI_IMAGE_MEDIA_TYPE, bytes).await?;
            // What is about to take the place of others has to be there, whatever the answer was.
            if !self.keeps(&digest).await? {
                return Ok(Referrer { digest, is_listed: false });
            }
            let artifact_type = manifest["artifactType"].as_str().unwrap_or_default();
            if answer.response.headers().contains_key("oci-subject")
                && self.lists_by_api(subject, artifact_type, &digest).await?
            {
                return Ok(Referrer { digest, is_listed: true });
            }
            // As the API would list it (distribution-spec, *Pushing Manifests with Subject*).
            let mut referrer = json!({
                "mediaType": OCI_IMAGE_MEDIA_TYPE,
                "digest": digest,
                "size": size,
                "artifactType": manifest["artifactType"],
            });
            if manifest["annotations"].is_object() {
                referrer["annotations"] = manifest["annotations"].clone();
            }
            let is_listed = self.list_under_tag(subject, &referrer, replaces).await?;
            Ok(Referrer { digest, is_listed })
        })
    }
}

impl Registry {
    /// Takes what is of `artifact_type` off the list that a tag keeps of what refers to `subject`, which no tag names any more, and
    /// the list away when nothing is left in it. A registry with a referrers API sees to that when it collects the subject.
    pub async fn unlist_referrers(&self, subject: &Digest, artifact_type: &str) -> Result<(), SourceError> {
        let Some((raw, entries)) = self.referrers_by_tag(subject).await? else { return Ok(()) };
        if !entries.iter().any(|entry| entry.artifact_type.as_deref() == Some(artifact_type)) {
            return Ok(());
        }
        let mut index: Value = serde_json::from_slice(&raw.bytes).unwrap_or_default();
        let manifests = index.get_mut("manifests").and_then(Value::as_array_mut);
        let is_empty = manifests.is_none_or(|manifests| {
            manifests.retain(|entry| entry.get("artifactType").and_then(Value::as_str) != Some(artifact_type));
            manifests.is_empty()
        });
        // Many registries do not allow it; an empty list does as well.
        if is_empty && self.delete_manifest(&raw.digest).await.is_ok() {
            return Ok(());
        }
        let bytes = Bytes::from(index.to_string());
        self.put_manifest(&tag_of(subject), OCI_IMAGE_INDEX_MEDIA_TYPE, bytes).await.map(drop)
    }

    /// Deletes a manifest, which many registries do not allow.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<(), SourceError> {
        let target = Target::Registry(format!("manifests/{digest}"));
        self.send(&self.request(Method::DELETE, target, Asked::Manifest(digest.to_string()))).await.map(drop)
    }

    /// What `tag` names now, whatever the reference says: a digest in it would decide otherwise.
    pub async fn tagged(&self, tag: &str) -> Result<RawManifest, SourceError> {
        self.fetch_manifest_named(tag, None).await
    }

    /// Whether both are in one repository, so that what the one has the other has.
    pub fn shares_repository(&self, other: &Registry) -> bool {
        let place = |registry: &Registry| {
            (registry.reference.resolve_registry().to_owned(), registry.reference.repository().to_owned())
        };
        place(self) == place(other)
    }

    /// Makes `descriptor`, a blob of the repository `from` of the same registry, one of this repository, too: mounted where the
    /// registry can, copied where it cannot.
    pub async fn take_blob(&self, from: &Registry, descriptor: &Descriptor) -> Result<(), SourceError> {
        self.copy_blob_from(from, descriptor, &from.digest_of(descriptor)?).await
    }

    fn digest_of(&self, descriptor: &Descriptor) -> Result<Digest, SourceError> {
        descriptor.digest.parse().map_err(|_| SourceError::Protocol {
            what: self.name(),
            problem: format!("\"{}\" is not a digest", descriptor.digest.escape_debug()),
        })
    }
}

/// The next [`CHUNK`] bytes, fewer only at the end, and the reader back.
async fn read_piece(mut reader: BlobReader) -> Result<(Bytes, BlobReader), SourceError> {
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(CHUNK);
        (&mut reader).take(CHUNK as u64).read_to_end(&mut piece).map(|_| (Bytes::from(piece), reader))
    });
    match read.await {
        Ok(read) => Ok(read?),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
