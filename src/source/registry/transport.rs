//! One request to a registry, through to an answer worth having: scheme, redirects, authorization, retries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use oci_distribution::RegistryOperation;
use oci_distribution::errors::OciErrorCode;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use super::auth::Authenticator;
use super::body::Body;
use super::challenge::challenges;
use super::clients::{Answer, Clients};
use super::fault::{Failure, Fault};
use super::rate_limit::RateLimit;
use super::refusal::{self, MAX_ERROR_BYTES};
use super::retry::Tries;
use crate::image::digest::Digest;
use crate::progress::Progress;
use crate::source::SourceError;
use crate::source::http::fault_kind::FaultKind;
use crate::source::http::shown::authority;

/// What a request asks for, for the words of an error.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// A manifest, by tag or digest.
    Manifest(String),
    /// A blob.
    Blob(Digest),
    /// What refers to a manifest.
    Referrers(Digest),
    /// A place to send a blob to, or a blob taken there.
    Upload(Digest),
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The registry, at this path below `/v2/NAME/`.
    Registry(String),
    /// Another server, which gets no credentials.
    Elsewhere(Url),
}

/// A request that can be sent any number of times.
#[derive(Clone)]
pub(super) struct Request {
    /// The HTTP method.
    pub method: Method,
    /// Where it goes.
    pub target: Target,
    /// Headers, without authorization.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Option<Body>,
    /// What the registry must allow us.
    pub operation: RegistryOperation,
    /// What it is for.
    pub asked: Asked,
}

/// Which repository, and where it answers.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// The registry as references and `docker login` name it.
    pub registry: String,
    /// The repository's name.
    pub repository: String,
    /// The host, with an optional port, that requests go to.
    pub host: String,
    /// The URL schemes that it may speak, likeliest first.
    pub schemes: &'static [&'static str],
}

/// The way to one repository of one registry.
pub(super) struct Transport {
    /// The clients that do the sending.
    pub clients: Clients,
    /// Who waits, and wants to know.
    pub progress: Arc<dyn Progress>,
    /// The pause before the first retry.
    pub retry_pause: Duration,
    address: Address,
    authenticator: Authenticator,
    /// The URL of `/v2/NAME/`, once the registry has answered over one of the schemes.
    base: OnceLock<Url>,
    fetched: AtomicU64,
    rate_limit: Mutex<Option<RateLimit>>,
}

impl Transport {
    /// To the repository at `address`. Nothing is sent yet.
    pub fn new(
        address: Address,
        clients: Clients,
        authenticator: Authenticator,
        retry_pause: Duration,
        progress: Arc<dyn Progress>,
    ) -> Self {
        let (base, fetched, rate_limit) = Default::default();
        Transport { clients, progress, retry_pause, address, authenticator, base, fetched, rate_limit }
    }

    /// How many bytes of content have come so far.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Counts `bytes` more of content.
    pub fn add_fetched(&self, bytes: usize) {
        self.fetched.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What the registry said last of how much more it will answer.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        *self.rate_limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `asked` is, in an error.
    pub fn name_of(&self, asked: &Asked) -> String {
        let Address { registry, repository, .. } = &self.address;
        match asked {
            Asked::Manifest(digest) if digest.contains(':') => format!("{registry}/{repository}@{digest}"),
            Asked::Manifest(tag) => format!("{registry}/{repository}:{tag}"),
            Asked::Blob(digest) => format!("blob {digest} of {registry}/{repository}"),
            Asked::Referrers(digest) => format!("referrers of {registry}/{repository}@{digest}"),
            Asked::Upload(digest) => format!("upload of blob {digest} to {registry}/{repository}"),
        }
    }

    /// Sends `request` until it is answered with success (any 2xx status), or fails for good.
    pub async fn send(&self, request: &Request, tries: &mut Tries) -> Result<Answer, SourceError> {
        self.send_or(request, tries, None).await
    }

    /// Sends `request` once, for an answer that can be done without: `None` where it is none of success.
    pub async fn send_once(&self, request: &Request) -> Option<Answer> {
        match self.try_once(request).await {
            Ok(answer) => Some(answer),
            Err(failure) => {
                tracing::debug!(what = self.name_of(&request.asked), method = %request.method, ?failure, "not answered");
                None
            }
        }
    }

    /// As [`send`](Self::send); an answer of the status `also` is one worth having as well.
    pub async fn send_or(
        &self,
        request: &Request,
        tries: &mut Tries,
        also: Option<StatusCode>,
    ) -> Result<Answer, SourceError> {
        loop {
            match self.attempt(request, also).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Fault(fault)) => {
                    tries.pause_after(fault, &self.name_of(&request.asked), &*self.progress).await?;
                }
            }
        }
    }

    /// Sends `request` and reads its answer's whole body, a JSON document of at most `limit` bytes.
    pub async fn fetch(&self, request: &Request, limit: u64) -> Result<(HeaderMap, Bytes), SourceError> {
        let mut tries = Tries::new(self.retry_pause);
        loop {
            let mut answer = self.send(request, &mut tries).await?;
            match self.clients.body(&mut answer, limit).await {
                // What is fetched whole is JSON, which tells itself where it was cut.
                Ok(Some(body)) if answer.ends_with_connection() && is_cut(&body) => {
                    let fault = self.clients.cut_short(&answer, format!("it ended after {} bytes", body.len()));
                    tries.pause_after(fault, &self.name_of(&request.asked), &*self.progress).await?;
                }
                Ok(Some(body)) => {
                    self.add_fetched(body.len());
                    return Ok((answer.response.headers().clone(), body));
                }
                Ok(None) => {
                    let problem = format!("{} sent more than {limit} bytes, which is refused", authority(&answer.url));
                    return Err(SourceError::Protocol { what: self.name_of(&request.asked), problem });
                }
                Err(fault) => tries.pause_after(fault, &self.name_of(&request.asked), &*self.progress).await?,
            }
        }
    }

    /// Where a `Location` header sends us: credentials go along only to the registry itself.
    pub fn resolve(&self, location: &str, asked: &Asked) -> Result<Target, SourceError> {
        let invalid = |problem: String| SourceError::Protocol { what: self.name_of(asked), problem };
        let base = self.base.get().ok_or_else(|| invalid("nothing has been sent yet".to_owned()))?;
        let url = base.join(location).map_err(|error| invalid(format!("it was sent to {error}")))?;
        match url.scheme() {
            _ if url.origin() == base.origin() => Ok(Target::Registry(url.to_string())),
            "https" => Ok(Target::Elsewhere(url)),
            "http" if base.scheme() == "http" => Ok(Target::Elsewhere(url)),
            scheme => Err(invalid(format!("it was sent on over {scheme}, which is refused"))),
        }
    }

    /// The URL of the repository, once the registry has answered.
    pub fn base(&self) -> Option<&Url> {
        self.base.get()
    }

    /// The error for content that came encoded, so that its digest says nothing.
    pub fn encoded(&self, asked: &Asked, host: &str, encoding: &str) -> SourceError {
        let problem = format!(
            "{host} sent it encoded ({encoding}), although its bytes were asked for as they are stored, so its digest \
             cannot be checked; a cache or proxy before the registry may be the cause"
        );
        SourceError::Protocol { what: self.name_of(asked), problem }
    }

    /// Sends `request`, and gives whatever went wrong, which whoever asks may try in another way.
    pub async fn try_once(&self, request: &Request) -> Result<Answer, Failure> {
        self.attempt(request, None).await
    }

    async fn attempt(&self, request: &Request, also: Option<StatusCode>) -> Result<Answer, Failure> {
        let mut granted = match request.target {
            Target::Registry(_) => self.authenticator.current(request.operation).await,
            Target::Elsewhere(_) => None,
        };
        let (mut is_new, mut is_fresh_redirect) = (false, false);
        loop {
            let mut answer = self.exchange(request, granted.as_ref().map(|granted| &granted.header)).await?;
            let status = answer.response.status();
            if let Some(said) = RateLimit::of(answer.response.headers()) {
                *self.rate_limit.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
            }
            if status.is_success() || Some(status) == also {
                return Ok(answer);
            }
            let from_registry = answer.from_origin && matches!(request.target, Target::Registry(_));
            if status == StatusCode::UNAUTHORIZED && from_registry && !is_new {
                let asked = challenges(answer.response.headers());
                let answered =
                    self.authenticator.answer(&self.clients, &asked, &answer.url, request.operation, granted.as_ref());
                let (header, new) = answered.await?;
                (granted, is_new) = (Some(header), new);
                continue;
            }
            // The URL that a registry signs for its storage is good for a short time, so it may have passed on the way: in a
            // cache before the registry, or by clocks that differ. It signs another one.
            if is_url_refused(&answer) && !is_fresh_redirect {
                tracing::debug!(host = authority(&answer.url), %status, "the redirect's target refused; asking for another one");
                is_fresh_redirect = true;
                continue;
            }
            if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                return Err(self.clients.proxy_login(&answer.url).into());
            }
            // A body that does not come whole is not worth another fault: the status has said what matters.
            let body = self.clients.body(&mut answer, MAX_ERROR_BYTES).await.ok().flatten().unwrap_or_default();
            return Err(match refusal::passing(&answer, &body) {
                Some(fault) => fault.into(),
                None => self.refused(request, &answer, &body, from_registry).into(),
            });
        }
    }

    /// Sends `request` once, over the registry's scheme, or over each in turn until one is answered.
    async fn exchange(&self, request: &Request, authorization: Option<&HeaderValue>) -> Result<Answer, Failure> {
        let Request { method, target, headers, body, .. } = request;
        let body = body.as_ref();
        let path = match target {
            Target::Elsewhere(url) => return self.clients.follow(method, url.clone(), headers, body, None).await,
            Target::Registry(path) => path,
        };
        let join = |base: &Url| {
            base.join(path).map_err(|error| SourceError::Protocol {
                what: self.name_of(&request.asked),
                problem: error.to_string(),
            })
        };
        if let Some(base) = self.base.get() {
            return self.clients.follow(method, join(base)?, headers, body, authorization).await;
        }
        let mut first = None;
        for scheme in self.address.schemes {
            let base = base_url(scheme, &self.address.host, &self.address.repository)?;
            let result = self.clients.follow(method, join(&base)?, headers, body, authorization).await;
            let is_last = first.is_some() || self.address.schemes.len() == 1;
            if !is_last && speaks_the_other_scheme(&result) {
                first = Some((base, result));
                continue;
            }
            return match (first, result) {
                // The other scheme did no better: what went wrong is what went wrong first.
                (Some((base, first)), Err(Failure::Fault(fault))) if !is_certificate(&fault) => {
                    if first.is_ok() {
                        self.base.get_or_init(|| base);
                    }
                    first
                }
                (_, Ok(answer)) => {
                    self.base.get_or_init(|| base);
                    Ok(answer)
                }
                (_, result) => result,
            };
        }
        Err(SourceError::Protocol {
            what: self.address.registry.clone(),
            problem: "there is no way to reach it".to_owned(),
        }
        .into())
    }

    /// The error for an answer that is neither success nor a passing fault.
    fn refused(&self, request: &Request, answer: &Answer, body: &Bytes, from_registry: bool) -> SourceError {
        let (status, said, what) = (answer.response.status(), refusal::message(body), self.name_of(&request.asked));
        let host = authority(&answer.url);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        match status {
            StatusCode::UNAUTHORIZED if from_registry => self.authenticator.denied(&refusal::message(body)),
            // A store refused, which takes the URL for all the credentials there are: a login would not help. A registry that
            // redirects within itself speaks as one, and is taken at its word.
            _ if is_url_refused(answer) && (!from_registry || refusal::codes(body).is_empty()) => {
                let registry = &self.address.registry;
                SourceError::Denied {
                    message: format!(
                        "{what}: {host} refused the URL that {registry} redirects to, and a fresh one as well \
                         ({status}{said}); try again later, check that no firewall or proxy is in the way to {host}, or ask \
                         whoever runs {registry}"
                    ),
                }
            }
            StatusCode::FORBIDDEN if from_registry => self.authenticator.denied(&refusal::message(body)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SourceError::Denied {
                message: format!("{what}: {host}, where the content is kept, answered {status}{said}"),
            },
            StatusCode::NOT_FOUND => SourceError::NotFound { what, detail: self.missing(request, &host, body) },
            _ => SourceError::Protocol { what, problem: format!("{host} answered {status}{said}") },
        }
    }

    /// What exactly is not there, and what to check.
    fn missing(&self, request: &Request, host: &str, body: &[u8]) -> String {
        let codes = refusal::codes(body);
        let Address { registry, repository, .. } = &self.address;
        match &request.asked {
            _ if codes.contains(&OciErrorCode::NameUnknown) => {
                format!("there is no repository {repository} at {registry}; check its name")
            }
            Asked::Referrers(_) => format!("{host} does not list referrers"),
            Asked::Upload(_) => format!("{host} takes no uploads there; check the repository's name"),
            Asked::Blob(_) => format!("{host} does not have it, although the image needs it; push the image again"),
            Asked::Manifest(_) if codes.is_empty() => {
                format!("{host} answered 404, but not as a registry does; check that there is a registry at {registry}")
            }
            Asked::Manifest(digest) if digest.contains(':') => {
                format!(
                    "repository {repository} at {registry} has no manifest {digest}; check the digest and the repository"
                )
            }
            Asked::Manifest(tag) => {
                format!("repository {repository} at {registry} has no tag {tag}; check the tag and the repository")
            }
        }
    }
}

/// Whether a JSON document ends before its end.
fn is_cut(document: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(document).is_err_and(|error| error.is_eof())
}

/// The URL that the paths of a repository are relative to.
pub(super) fn base_url(scheme: &str, host: &str, repository: &str) -> Result<Url, SourceError> {
    Url::parse(&format!("{scheme}://{host}/v2/{repository}/")).map_err(|error| SourceError::InvalidReference {
        text: format!("{host}/{repository}"),
        problem: format!("\"{host}\" is not the address of a registry: {error}"),
    })
}

/// Whether a server behaves as one does that was spoken to with TLS and has none, or the other way round. Servers differ:
/// some answer 400, some hang up, some answer in their own scheme.
fn speaks_the_other_scheme(result: &Result<Answer, Failure>) -> bool {
    match result {
        Ok(answer) => answer.response.status() == StatusCode::BAD_REQUEST,
        Err(Failure::Fault(fault)) => {
            matches!(fault.kind, FaultKind::Reset | FaultKind::Broken(_) | FaultKind::Handshake(_))
        }
        Err(Failure::Final(_)) => false,
    }
}

/// Whether the answer is a refusal of the URL that a redirect led to: stores say so in one of these ways.
fn is_url_refused(answer: &Answer) -> bool {
    let refusals = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    answer.is_redirected && refusals.contains(&answer.response.status())
}

/// A certificate that is not trusted is one, so the server speaks TLS.
fn is_certificate(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Certificate(_))
}
