//! Manifests that need not be asked for, as this machine keeps them from the last time.
//!
//! A digest names one manifest for ever, so it is taken from the cache where this repository was seen to have it. What a tag names may
//! change: the registry is asked each time, with HEAD, which tells the digest alone (distribution-spec, *Checking if content exists in
//! the registry*) and which Docker Hub does not count as a pull. Only where the manifest that the tag had last is kept is HEAD worth a
//! round trip; everything else is asked for with GET at once.

use oci_distribution::RegistryOperation;
use reqwest::Method;

use super::Registry;
use super::transport::{Asked, Request, Target};
use crate::image::digest::Digest;
use crate::source::{RawManifest, SourceError};

impl Registry {
    /// The manifest of this digest.
    pub(super) async fn manifest_of(&self, digest: &Digest) -> Result<RawManifest, SourceError> {
        if let Some(cache) = &self.cache
            && cache.last_seen(&self.in_full('@', digest.as_str())).as_ref() == Some(digest)
            && let Some(kept) = self.kept(digest)
        {
            return Ok(kept);
        }
        let manifest = self.fetch_manifest_named(digest.as_str(), Some(digest)).await?;
        self.keep(&manifest);
        Ok(manifest)
    }

    /// The manifest that this tag has now.
    pub(super) async fn manifest_tagged(&self, tag: &str) -> Result<RawManifest, SourceError> {
        let Some(cache) = &self.cache else { return self.fetch_manifest_named(tag, None).await };
        let name = self.in_full(':', tag);
        if let Some(last) = cache.last_seen(&name)
            && let Some(kept) = self.kept(&last)
            && let Some(digest) = self.digest_under(tag).await
            && let Some(kept) = if digest == last { Some(kept) } else { self.kept(&digest) }
        {
            cache.see(&name, &digest);
            return Ok(kept);
        }
        let manifest = self.fetch_manifest_named(tag, None).await?;
        self.keep(&manifest);
        cache.see(&name, &manifest.digest);
        Ok(manifest)
    }

    /// The digest that the registry says the tag has; `None` where it does not say: GET will tell, or fail for a reason that has words.
    async fn digest_under(&self, tag: &str) -> Option<Digest> {
        let request = Request {
            method: Method::HEAD,
            target: Target::Registry(format!("manifests/{tag}")),
            headers: Registry::accepted(),
            body: None,
            operation: RegistryOperation::Pull,
            asked: Asked::Manifest(tag.to_owned()),
        };
        let answer = self.transport.send_once(&request).await?;
        answer.response.headers().get("docker-content-digest")?.to_str().ok()?.parse().ok()
    }

    fn kept(&self, digest: &Digest) -> Option<RawManifest> {
        let (bytes, media_type) = self.cache.as_ref()?.manifest(digest)?;
        Some(RawManifest { bytes, media_type, digest: digest.clone() })
    }

    fn keep(&self, manifest: &RawManifest) {
        let Some(cache) = &self.cache else { return };
        let RawManifest { bytes, media_type, digest } = manifest;
        cache.keep_manifest(digest, bytes, media_type.as_deref());
        cache.see(&self.in_full('@', digest.as_str()), digest);
    }

    /// A tag or a digest with the repository that it is in.
    fn in_full(&self, sign: char, name: &str) -> String {
        format!("{}/{}{sign}{name}", self.reference.registry(), self.reference.repository())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::loopback::*;
    use super::*;
    use crate::cache::Cache;
    use crate::source::Store as _;
    use std::sync::Arc;

    const FIRST: &str = r#"{"schemaVersion":2}"#;
    const SECOND: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

    /// A setup that keeps things in a folder of its own.
    fn caching() -> Setup {
        let mut setup = Setup::default();
        let cache = Cache::at(&setup.folder.path().join("cache"), 1 << 30).unwrap();
        setup.options.cache = Some(Arc::new(cache));
        setup
    }

    fn with_digest(manifest: &str) -> Reply {
        let digest = Digest::of(manifest.as_bytes()).to_string();
        Reply::new(200, &[("Docker-Content-Digest", &digest), ("Content-Type", "a/b")], manifest)
    }

    #[tokio::test]
    async fn a_tag_that_did_not_move_is_asked_with_head_alone_after_the_first_time() {
        let server = Server::start(|_, _| with_digest(FIRST));
        let setup = caching();
        for _ in 0..3 {
            let manifest = setup.open(&server).manifest(None).await.unwrap();
            assert_eq!((&*manifest.bytes, manifest.media_type.as_deref()), (FIRST.as_bytes(), Some("a/b")));
        }
        assert_eq!(server.paths(), ["GET /v2/app/manifests/1", "HEAD /v2/app/manifests/1", "HEAD /v2/app/manifests/1"]);
        assert_eq!(server.received()[1].header("accept"), server.received()[0].header("accept"));
    }

    #[tokio::test]
    async fn a_tag_that_moved_is_fetched_and_one_that_moved_back_is_not() {
        let asked = Arc::new(AtomicUsize::new(0));
        let server = Server::start({
            let asked = Arc::clone(&asked);
            move |_, _| with_digest(if asked.load(Ordering::SeqCst) == 1 { SECOND } else { FIRST })
        });
        let setup = caching();
        for (turn, expected) in [FIRST, SECOND, FIRST].into_iter().enumerate() {
            asked.store(turn, Ordering::SeqCst);
            assert_eq!(setup.open(&server).manifest(None).await.unwrap().bytes, expected);
        }
        let methods: Vec<String> =
            server.paths().iter().map(|path| path.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(methods, ["GET", "HEAD", "GET", "HEAD"]);
    }

    #[tokio::test]
    async fn a_registry_that_does_not_say_the_digest_to_head_is_asked_with_get() {
        type Answer = fn() -> Reply;
        let answers: [Answer; 5] = [
            || Reply::ok(""),
            || Reply::status(404),
            || Reply::status(405),
            || Reply::status(503),
            || Reply::new(200, &[("Docker-Content-Digest", "sha256:no")], ""),
        ];
        for answer in answers {
            let server =
                Server::start(move |request, _| if request.method == "HEAD" { answer() } else { Reply::ok(FIRST) });
            let setup = caching();
            for _ in 0..2 {
                assert_eq!(setup.open(&server).manifest(None).await.unwrap().bytes, FIRST);
            }
            assert_eq!(server.paths().len(), 3, "{:?}", server.paths());
            assert_eq!(setup.lines(), Vec::<String>::new());
        }
    }

    #[tokio::test]
    async fn a_digest_is_asked_for_once_in_each_repository() {
        let server = Server::start(|_, _| with_digest(FIRST));
        let setup = caching();
        let digest = Digest::of(FIRST.as_bytes());
        for (repository, requests) in [("app", 1), ("app", 1), ("other", 2), ("other", 2)] {
            let reference = format!("{}/{repository}@{digest}", server.address);
            assert_eq!(setup.try_open(&reference).unwrap().manifest(None).await.unwrap().bytes, FIRST);
            assert_eq!(server.received().len(), requests);
        }
    }

    #[tokio::test]
    async fn a_kept_manifest_that_was_changed_is_fetched_again() {
        let server = Server::start(|_, _| with_digest(FIRST));
        let setup = caching();
        setup.open(&server).manifest(None).await.unwrap();
        let file = setup.folder.path().join("cache/manifests/sha256").join(Digest::of(FIRST.as_bytes()).encoded());
        std::fs::write(file, format!("a/b\n{SECOND}")).unwrap();
        assert_eq!(setup.open(&server).manifest(None).await.unwrap().bytes, FIRST);
        assert_eq!(server.paths()[1..], ["GET /v2/app/manifests/1"]);
    }
}
