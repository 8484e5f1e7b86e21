//! A registry: the OCI distribution-spec over HTTP.
//!
//! From the crate `oci_distribution` come the type of references, token answers, error envelopes and the kinds of login. The transport is our
//! own, on reqwest: that crate's client cannot show client certificates, repeats `GET /v2/` before each call, carries on
//! without a token when authentication failed, and hides the `Retry-After` and `Content-Range` headers that retrying and
//! resuming depend on.
//!
//! One request goes through `transport` (scheme, authorization, retries) and `clients` (connections, redirects); a
//! blob's bytes come through `download`, which resumes and verifies.

mod address;
mod auth;
mod body;
mod challenge;
mod clients;
mod credentials;
mod download;
mod early;
mod fault;
mod foreign;
mod known;
#[cfg(test)]
pub(super) mod loopback;
mod proxy;
mod push;
mod rate_limit;
mod reference;
mod referrers;
mod refusal;
mod retry;
mod tls;
mod transport;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use oci_distribution::{Reference, RegistryOperation};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

pub use self::rate_limit::RateLimit;

use self::auth::Authenticator;
use self::clients::Clients;
use self::credentials::DockerConfig;
use self::download::Download;
use self::early::Early;
use self::proxy::Proxies;
use self::tls::Certificates;
use self::transport::{Address, Asked, Request, Target, Transport, base_url};
use super::{BlobReader, Expecting, LayerBlob, RawManifest, Source, SourceError, Store, resolve};
use crate::cache::Cache;
use crate::image::digest::Digest;
use crate::image::index::IndexEntry;
use crate::image::manifest::{ACCEPTED_MEDIA_TYPES, Descriptor, MAX_MANIFEST_BYTES, OciImageManifest};
use crate::image::platform::Choice;
use crate::image::{Image, Layer};
use crate::progress::Progress;
use crate::source::docker_config::Environment;
use crate::source::http::shown::authority;

/// How to reach a registry, beyond what its reference says.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Speak HTTP without TLS.
    pub plain_http: bool,
    /// Take any certificate, of the registry and of every host it sends us to.
    pub insecure: bool,
    /// The folder of Docker's `config.json` and of a `certs.d`, in place of `DOCKER_CONFIG` and `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// The `certs.d` folder of the whole system.
    pub system_certs: PathBuf,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The pause before the first retry; each further one is twice as long.
    pub retry_pause: Duration,
    /// How long nothing may come before a connection counts as broken.
    pub stall_timeout: Duration,
    /// Where manifests and small blobs are kept for the next time, if anywhere.
    pub cache: Option<Arc<Cache>>,
    /// Whether nobody is there to answer a question: then no credential helper is started, and only those credentials count that
    /// `config.json` and the environment hold.
    pub unattended: bool,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        RegistryOptions {
            plain_http: false,
            insecure: false,
            docker_config: None,
            system_certs: PathBuf::from("/etc/docker/certs.d"),
            user_agent: concat!("docker-artifact/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry_pause: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(30),
            cache: None,
            unattended: false,
        }
    }
}

/// An image in a registry.
pub struct Registry {
    reference: Reference,
    pinned: Option<Digest>,
    transport: Arc<Transport>,
    cache: Option<Arc<Cache>>,
    early: Early,
}

impl Registry {
    /// The image that `reference` names, by Docker's rules for short names. Reads Docker's configuration and the registry's
    /// certificates, and fails where one of them is broken, but sends nothing yet.
    pub fn new(reference: &str, options: RegistryOptions, progress: Arc<dyn Progress>) -> Result<Self, SourceError> {
        Self::in_environment(reference, options, progress, &|name| std::env::var_os(name))
    }

    fn in_environment(
        text: &str,
        options: RegistryOptions,
        progress: Arc<dyn Progress>,
        environment: Environment<'_>,
    ) -> Result<Self, SourceError> {
        let (reference, pinned) = reference::parse(text)?;
        let (registry, repository) = (reference.registry().to_owned(), reference.repository().to_owned());
        let host = reference::host_of(&registry).to_owned();
        let mut config = DockerConfig::load(options.docker_config.as_deref(), environment)?;
        config.starts_helpers = !options.unattended;
        let mut folders: Vec<PathBuf> = config.folder.iter().map(|folder| folder.join("certs.d")).collect();
        folders.push(options.system_certs);
        let certificates = Certificates::load(&folders, &registry)?;
        let url = base_url("https", &host, &repository)?;
        // Docker takes any loopback registry for one that may lack TLS; someone who has put certificates there knows better.
        let schemes: &[&str] = match (options.plain_http, address::is_loopback(&url), certificates.present) {
            (true, ..) => &["http"],
            (_, true, false) => &["http", "https"],
            (_, true, true) => &["https", "http"],
            (_, false, _) => &["https"],
        };
        let clients = Clients::new(
            authority(&url),
            certificates,
            Proxies::from_environment(environment),
            options.insecure,
            options.user_agent,
            options.stall_timeout,
        );
        let authenticator = Authenticator::new(registry.clone(), repository.clone(), config, progress.clone());
        let address = Address { registry, repository, host, schemes };
        let transport = Transport::new(address, clients, authenticator, options.retry_pause, progress);
        Ok(Registry {
            reference,
            pinned,
            transport: Arc::new(transport),
            cache: options.cache,
            early: Early::default(),
        })
    }

    /// The whole reference: registry, repository, tag, digest.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    async fn fetch_manifest(&self, digest: Option<&Digest>) -> Result<RawManifest, SourceError> {
        match (digest.or(self.pinned.as_ref()), self.reference.tag()) {
            (Some(digest), _) => self.manifest_of(digest).await,
            (None, tag) => self.manifest_tagged(tag.unwrap_or("latest")).await,
        }
    }

    /// The headers that say which manifests can be read.
    fn accepted() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for media_type in ACCEPTED_MEDIA_TYPES {
            headers.append(ACCEPT, HeaderValue::from_static(media_type));
        }
        headers
    }

    /// The manifest of this tag or digest as the registry sends it now, which, where a `digest` is given, it must have.
    async fn fetch_manifest_named(&self, name: &str, digest: Option<&Digest>) -> Result<RawManifest, SourceError> {
        let request = Request {
            method: Method::GET,
            target: Target::Registry(format!("manifests/{name}")),
            headers: Registry::accepted(),
            body: None,
            operation: RegistryOperation::Pull,
            asked: Asked::Manifest(name.to_owned()),
        };
        let (headers, bytes) = self.transport.fetch(&request, MAX_MANIFEST_BYTES).await?;
        let encoded = || {
            let encoding = clients::encoding(&headers)?;
            Some(self.transport.encoded(&request.asked, self.reference.registry(), &encoding))
        };
        // A tag promises nothing by itself, but a registry that says which digest it sends must send that.
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let promised = digest.cloned().or_else(|| header("docker-content-digest")?.parse().ok());
        let mut hasher = promised.as_ref().map(Digest::hasher).unwrap_or_default();
        hasher.update(&bytes);
        let actual = hasher.finish();
        if let Some(promised) = promised.filter(|promised| *promised != actual) {
            return Err(encoded().unwrap_or_else(|| SourceError::Mismatch {
                what: self.transport.name_of(&request.asked),
                expected: promised.to_string(),
                actual: actual.to_string(),
            }));
        }
        // What nobody promised a digest of is at least JSON, which no encoding leaves as it is.
        if !bytes.trim_ascii_start().starts_with(b"{")
            && let Some(error) = encoded()
        {
            return Err(error);
        }
        let media_type = header(CONTENT_TYPE.as_str()).and_then(|value| value.split(';').next());
        let media_type = media_type.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Ok(RawManifest { bytes, media_type, digest: actual })
    }
}

/// A reference with the digest that was found there.
pub fn pinned(reference: &str, manifest: Option<&Digest>) -> String {
    match manifest {
        Some(digest) if !reference.contains('@') => format!("{reference}@{digest}"),
        _ => reference.to_owned(),
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.reference.whole()).finish()
    }
}

impl Source for Registry {
    fn name(&self) -> String {
        self.reference.whole()
    }

    fn address(&self, manifest: Option<&Digest>) -> String {
        pinned(&self.name(), manifest)
    }

    fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    fn bytes_fetched(&self) -> u64 {
        self.transport.fetched()
    }

    fn image<'a>(
        &'a self,
        choice: &'a Choice,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Image, SourceError>> {
        Box::pin(resolve(self, choice, progress))
    }

    fn layer<'a>(&'a self, layer: &'a Layer) -> BoxFuture<'a, Result<LayerBlob, SourceError>> {
        Box::pin(async move {
            let problem = || format!("layer {} has no descriptor", layer.index + 1);
            let descriptor = layer.blob.descriptor.as_ref();
            let descriptor =
                descriptor.ok_or_else(|| SourceError::Protocol { what: self.name(), problem: problem() })?;
            let trail = Arc::default();
            let download = Download::whole(self.transport.clone(), descriptor, Arc::clone(&trail))?;
            Ok(LayerBlob::Stream(download.start().await?, trail))
        })
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }

    fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        self.transport.rate_limit()
    }
}

impl Store for Registry {
    fn manifest<'a>(&'a self, digest: Option<&'a Digest>) -> BoxFuture<'a, Result<RawManifest, SourceError>> {
        Box::pin(self.fetch_manifest(digest))
    }

    fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Result<BlobReader, SourceError>> {
        Box::pin(async move { Download::whole(self.transport.clone(), descriptor, Arc::default())?.start().await })
    }

    fn blob_range<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BlobReader, SourceError>> {
        Box::pin(async move { Download::part(self.transport.clone(), descriptor, range)?.start().await })
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: &'a str,
    ) -> BoxFuture<'a, Result<Vec<IndexEntry>, SourceError>> {
        Box::pin(async move {
            match self.early.take_referrers(subject, artifact_type).await {
                Some(listed) => listed,
                None => Ok(self.list_referrers(subject, &[artifact_type]).await?.pop().unwrap_or_default()),
            }
        })
    }

    fn expect(&self, expecting: Expecting) {
        self.early.expect(expecting);
    }

    fn take_expected<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Option<Result<Vec<u8>, SourceError>>> {
        Box::pin(self.early.take_blob(descriptor))
    }

    fn begin(&self, subject: &Digest, manifest: &OciImageManifest) {
        // The same place over the same connections, which the task can own.
        let Registry { reference, pinned, transport, cache, .. } = self;
        let (reference, pinned, transport, cache) =
            (reference.clone(), pinned.clone(), transport.clone(), cache.clone());
        let registry = Arc::new(Registry { reference, pinned, transport, cache, early: Early::default() });
        self.early.begin(&registry, subject, manifest);
    }
}

#[cfg(test)]
mod tests {
    use super::loopback::*;
    use super::*;

    #[test]
    fn a_host_that_no_url_can_have_is_no_reference() {
        assert!(matches!(
            Setup::default().try_open("registry.test:99999/app"),
            Err(SourceError::InvalidReference { problem, .. }) if problem.contains("registry.test:99999")
        ));
    }

    #[tokio::test]
    async fn a_public_manifest_takes_one_request() {
        let server = Server::start(|_, _| {
            let content_type = ("Content-Type", "application/vnd.oci.image.index.v1+json; charset=utf-8");
            Reply::new(200, &[content_type], r#"{"schemaVersion":2}"#)
        });
        let registry = Setup::default().open(&server);
        let manifest = registry.manifest(None).await.unwrap();
        assert_eq!(manifest.digest, Digest::of(&manifest.bytes));
        assert_eq!(manifest.media_type.as_deref(), Some("application/vnd.oci.image.index.v1+json"));
        assert_eq!(registry.bytes_fetched(), 19);
        assert_eq!(server.paths(), ["GET /v2/app/manifests/1"]);
        let request = &server.received()[0];
        assert_eq!(request.header("accept"), ACCEPTED_MEDIA_TYPES.join(", "));
        assert!(request.header("user-agent").starts_with("docker-artifact/"));
        assert_eq!(request.header("authorization"), "");
    }

    #[tokio::test]
    async fn a_manifest_must_have_the_digest_that_was_asked_for_or_promised() {
        let server = Server::start(|received, _| {
            let promised = Digest::of(b"promised").to_string();
            let header = [("Docker-Content-Digest", promised.as_str())];
            if received.target.ends_with("/1") { Reply::new(200, &header, "sent") } else { Reply::ok("sent") }
        });
        let registry = Setup::default().open(&server);
        let asked = Digest::of(b"asked");
        for (digest, expected) in [(None, Digest::of(b"promised")), (Some(&asked), asked.clone())] {
            match registry.manifest(digest).await {
                Err(SourceError::Mismatch { expected: e, actual, .. }) => {
                    assert_eq!((e, actual), (expected.to_string(), Digest::of(b"sent").to_string()));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_manifest_that_comes_encoded_is_said_to_be() {
        let gzip = [0x1f, 0x8b, 8, 0];
        let server = Server::start(move |received, _| {
            let promised = Digest::of(b"{}").to_string();
            let encoded = ("Content-Encoding", "gzip");
            match received.target.ends_with("/1") {
                true => Reply::new(200, &[encoded], gzip),
                false => Reply::new(200, &[encoded, ("Docker-Content-Digest", &promised)], gzip),
            }
        });
        let registry = Setup::default().open(&server);
        for digest in [None, Some(&Digest::of(b"{}"))] {
            let error = registry.manifest(digest).await.unwrap_err();
            assert!(matches!(error, SourceError::Protocol { .. }), "{error}");
            assert!(error.to_string().contains("sent it encoded (gzip)"), "{error}");
        }
        assert_eq!(server.received()[0].header("accept-encoding"), "identity");
        // Called encoded, and as it is.
        let server = Server::start(|_, _| Reply::new(200, &[("Content-Encoding", "gzip")], " {}"));
        Setup::default().open(&server).manifest(None).await.unwrap();
    }

    #[tokio::test]
    async fn docker_hub_is_asked_at_the_host_that_docker_asks() {
        let proxy = Server::start(|_, _| Reply::ok("{}"));
        for name in ["alpine", "docker.io/library/alpine", "index.docker.io/library/alpine"] {
            let mut setup = Setup::default();
            setup.options.plain_http = true;
            setup.environment = [("HTTP_PROXY", proxy.url(""))].into();
            let registry = setup.try_open(name).unwrap();
            registry.manifest(None).await.unwrap();
            assert_eq!(registry.name(), "docker.io/library/alpine:latest");
        }
        for request in proxy.received() {
            assert_eq!(request.target, "http://registry-1.docker.io/v2/library/alpine/manifests/latest");
        }
    }

    #[tokio::test]
    async fn a_pinned_reference_asks_by_digest() {
        let server = Server::start(|_, _| Reply::ok("{}"));
        let reference = format!("{}/app:1@{}", server.address, Digest::of(b"{}"));
        let manifest = Setup::default().try_open(&reference).unwrap().manifest(None).await.unwrap();
        assert_eq!(server.paths(), [format!("GET /v2/app/manifests/{}", manifest.digest)]);
    }

    #[tokio::test]
    async fn a_manifest_without_end_is_refused() {
        let server = Server::start(|_, _| Reply::ok(vec![b' '; MAX_MANIFEST_BYTES as usize + 1]));
        let error = Setup::default().open(&server).manifest(None).await.unwrap_err();
        assert!(matches!(error, SourceError::Protocol { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_missing_repository_and_a_missing_tag_are_told_apart() {
        for (code, expected) in [
            ("NAME_UNKNOWN", "there is no repository app at 127.0.0.1"),
            ("MANIFEST_UNKNOWN", "has no tag 1"),
            ("", "not as a registry does"),
        ] {
            let server = Server::start(move |_, _| match code {
                "" => Reply::new(404, &[], "<html>not here</html>"),
                code => Reply::new(404, &[], format!(r#"{{"errors":[{{"code":"{code}","message":"no"}}]}}"#)),
            });
            let error = Setup::default().open(&server).manifest(None).await.unwrap_err();
            assert!(matches!(error, SourceError::NotFound { .. }) && error.to_string().contains(expected), "{error}");
            assert_eq!(server.received().len(), 1, "404 is not tried again");
        }
    }

    #[tokio::test]
    async fn faults_of_the_moment_are_tried_again_and_told() {
        let server = Server::start(|_, before| match before {
            0 => Reply::status(503),
            1 => Reply::new(429, &[("Retry-After", "0")], "slow down"),
            2 => Reply::promising(100, 200, &[], "{"),
            _ => Reply::ok("{}"),
        });
        let setup = Setup::default();
        setup.open(&server).manifest(None).await.unwrap();
        let lines = setup.lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with(&format!("registry {}: it answered 503", server.address)), "{lines:?}");
        assert!(lines[1].contains("slow down, trying again in 0 s (3 of 5)"), "{lines:?}");
        assert!(lines[2].contains("the connection broke off") && lines[2].ends_with("(4 of 5)"), "{lines:?}");
    }

    #[tokio::test]
    async fn a_manifest_that_was_cut_short_is_asked_for_again() {
        let whole = r#"{"schemaVersion":2,"layers":[]}"#;
        let server = Server::start(move |_, before| match before {
            0 => Reply::until_closed(200, &[], &whole[..20]),
            _ => Reply::until_closed(200, &[], whole),
        });
        let digest = Digest::of(whole.as_bytes());
        let setup = Setup::default();
        let manifest = setup.open(&server).manifest(Some(&digest)).await.unwrap();
        assert_eq!(manifest.bytes, whole);
        assert!(setup.lines()[0].contains("it ended after 20 bytes"), "{:?}", setup.lines());
    }

    #[tokio::test]
    async fn five_tries_are_enough() {
        let server = Server::start(|_, _| Reply::status(500));
        let error = Setup::default().open(&server).manifest(None).await.unwrap_err();
        assert!(matches!(error, SourceError::Network { .. }) && error.to_string().contains("tried 5 times"), "{error}");
        assert_eq!(server.received().len(), 5);
    }

    #[tokio::test]
    async fn nobody_listening_is_said_in_so_many_words() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let registry = Setup::default().try_open(&format!("{address}/app")).unwrap();
        let error = registry.manifest(None).await.unwrap_err().to_string();
        let expected =
            format!("cannot connect to {address}: connection refused; is the registry running? (tried 2 times)");
        assert!(error.contains(&expected), "{error}");
    }

    #[tokio::test]
    async fn a_registry_that_answered_once_is_given_time_to_come_back() {
        // The first answer says where its token comes from, and nobody is there: that is another host.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Server::start(move |_, _| {
            let challenge = format!(r#"Bearer realm="http://{gone}/token""#);
            Reply::new(401, &[("WWW-Authenticate", &challenge)], "")
        });
        let setup = Setup::default();
        let error = setup.open(&server).manifest(None).await.unwrap_err().to_string();
        let expected = format!("cannot connect to {gone}, which the registry refers to: connection refused");
        assert!(error.contains(&expected) && error.ends_with("(tried 2 times)"), "{error}");
        assert_eq!(server.received().len(), 2);
        // Here the registry itself answers first, and drops every connection afterwards.
        let server = Server::start(|_, before| if before == 0 { Reply::status(503) } else { Reply::nothing() });
        let error = Setup::default().open(&server).manifest(None).await.unwrap_err().to_string();
        assert!(error.ends_with("(tried 5 times)"), "{error}");
    }

    #[tokio::test]
    async fn a_registry_that_says_nothing_is_given_up() {
        let server = Server::start(|_, _| Reply::promising(10, 200, &[], "").then_stall());
        let mut setup = Setup::default();
        setup.options.stall_timeout = Duration::from_millis(20);
        let error = setup.open(&server).manifest(None).await.unwrap_err();
        assert!(error.to_string().contains("nothing came for 0.02 s (tried 5 times)"), "{error}");
    }
}
