//! The HTTP clients, and one exchange with whatever redirects it takes.
//!
//! There are up to three clients: the registry's own TLS (its private CA, our client certificate) must not be used for
//! the hosts that it redirects to, and plain HTTP needs no certificates read at all. Redirects are followed here, not in
//! reqwest, because each hop may need another client, must lose the credentials when it leaves the registry, and must not
//! fall from https to http.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION,
    TRANSFER_ENCODING,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, Version, redirect};

use super::body::Body;
use super::fault::{Failure, Fault, Way};
use super::proxy::Proxies;
use super::tls::{self, Certificates};
use crate::source::SourceError;
use crate::source::http::fault_kind::FaultKind;
use crate::source::http::resolver::HostNames;
use crate::source::http::shown::{authority, printable, shown};
use crate::source::http::tls::no_config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const MAX_REDIRECTS: u32 = 10;
/// A body that is sent more slowly than this counts as stalled, in bytes a second.
const SLOWEST_UPLOAD: u64 = 16 << 10;

/// Sends requests, each over the connection that its URL calls for.
pub(super) struct Clients {
    registry: String,
    certificates: Certificates,
    insecure: bool,
    user_agent: String,
    proxies: Proxies,
    names: HostNames,
    stall_timeout: Duration,
    /// The hosts that have answered: about 50 bytes each, for at least one exchange with it.
    answered: Mutex<HashSet<String>>,
    plain: OnceLock<Client>,
    own: OnceLock<Client>,
    public: OnceLock<Client>,
}

/// Where an answer came from.
pub(super) struct Answer {
    /// The answer, its body still to be read.
    pub response: Response,
    /// The URL that gave it, after redirects.
    pub url: Url,
    /// Whether it came from the host that was asked, not from one that it redirected to.
    pub from_origin: bool,
    /// Whether a redirect led there.
    pub is_redirected: bool,
}

/// How an answer with these headers is encoded for the way, if it is, although it was asked for as it is.
pub(super) fn encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = headers.get(CONTENT_ENCODING)?.to_str().ok().map(printable)?;
    (!matches!(encoding.to_ascii_lowercase().as_str(), "" | "identity")).then_some(encoding)
}

impl Answer {
    /// Whether its body ends where the connection does (RFC 9112, section 6.3), so that one that was cut short looks whole.
    pub fn ends_with_connection(&self) -> bool {
        let headers = self.response.headers();
        let is_old = self.response.version() <= Version::HTTP_11;
        is_old && !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING)
    }
}

impl Clients {
    /// Clients for the registry at `registry`, a host with an optional port.
    pub fn new(
        registry: String,
        certificates: Certificates,
        proxies: Proxies,
        insecure: bool,
        user_agent: String,
        stall_timeout: Duration,
    ) -> Self {
        let (names, answered, plain, own, public) = Default::default();
        Clients {
            registry,
            certificates,
            insecure,
            user_agent,
            proxies,
            names,
            stall_timeout,
            answered,
            plain,
            own,
            public,
        }
    }

    /// What is known of the way to `url`.
    fn way(&self, url: &Url) -> Way {
        let host = authority(url);
        let is_own = host == self.registry;
        Way {
            proxy: self.proxies.for_url(url).cloned(),
            certificates: if is_own { self.certificates.places.clone() } else { Vec::new() },
            has_answered: self.answered.lock().unwrap_or_else(PoisonError::into_inner).contains(&host),
        }
    }

    /// The fault of a proxy that has to be logged in to, as it answers a request without a tunnel.
    pub fn proxy_login(&self, url: &Url) -> Fault {
        Fault { host: authority(url), kind: FaultKind::ProxyLogin, way: self.way(url) }
    }

    fn for_url(&self, url: &Url) -> Result<&Client, SourceError> {
        self.proxies.check(url)?;
        let is_own = self.certificates.are_any() && authority(url) == self.registry;
        let cell = match url.scheme() {
            "http" => &self.plain,
            _ if is_own => &self.own,
            _ => &self.public,
        };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let tls = match url.scheme() {
            // Never used, but without it reqwest would read the system's certificates for its own.
            "http" => no_config()?,
            _ if is_own => self.certificates.registry_config(self.insecure)?,
            _ => tls::public_config(self.insecure)?,
        };
        // What is asked for has a digest, which is one of the bytes as they are stored.
        let identity = [(ACCEPT_ENCODING, HeaderValue::from_static("identity"))];
        let builder = Client::builder()
            .default_headers(identity.into_iter().collect())
            .tls_backend_preconfigured(tls)
            .dns_resolver(self.names.clone())
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(&self.user_agent);
        let client = self.proxies.apply(builder).build().map_err(|error| SourceError::Io {
            what: "setting up the HTTP client".to_owned(),
            error: std::io::Error::other(error),
        })?;
        Ok(cell.get_or_init(|| client))
    }

    /// Sends one request and gives the answer that stands at the end of its redirects, whatever its status.
    /// `authorization` goes to the host of `url` and to no other.
    pub async fn follow(
        &self,
        method: &Method,
        mut url: Url,
        headers: &HeaderMap,
        body: Option<&Body>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let (mut from_origin, mut is_redirected) = (true, false);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.for_url(&url)?.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(body) = body {
                request = body.of(request);
            }
            if let Some(authorization) = authorization.filter(|_| from_origin) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = self.send(method, request, &url, body).await?;
            let Some(next) = redirect_target(&response, &url)? else {
                return Ok(Answer { response, url, from_origin, is_redirected });
            };
            // Once away, a redirect back does not bring the credentials back: the other host chose that URL.
            from_origin &= next.origin() == url.origin();
            is_redirected = true;
            url = next;
        }
        Err(unusable_redirect(&url, "it redirects more than 10 times").into())
    }

    /// Sends a form, following no redirect: what is in it is for that host alone.
    pub async fn post_form(&self, url: &Url, form: &[(&str, &str)]) -> Result<Response, Failure> {
        let request = self.for_url(url)?.post(url.clone()).form(form);
        self.send(&Method::POST, request, url, None).await
    }

    async fn send(
        &self,
        method: &Method,
        request: RequestBuilder,
        url: &Url,
        body: Option<&Body>,
    ) -> Result<Response, Failure> {
        let limit = patience(self.stall_timeout, body.map_or(0, Body::length));
        let sent = tokio::time::timeout(limit, request.send()).await;
        let result = match sent {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Fault::of(&error, url, self.way(url))),
            Err(_) => Err(Fault::stalled(url, limit, self.way(url))),
        };
        match &result {
            Ok(response) => {
                self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(authority(url));
                tracing::debug!(%method, url = shown(url), status = response.status().as_u16(), "answered");
            }
            Err(fault) => tracing::debug!(%method, url = shown(url), fault = fault.brief(), "failed"),
        }
        Ok(result?)
    }

    /// The next piece of an answer's body, `None` at its end.
    // reqwest's own read timeout also runs while nobody reads, and would take a slow decoder for a stalled registry.
    pub async fn chunk(&self, answer: &mut Answer) -> Result<Option<Bytes>, Fault> {
        match tokio::time::timeout(self.stall_timeout, answer.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(Fault::of(&error, &answer.url, self.way(&answer.url))),
            Err(_) => Err(Fault::stalled(&answer.url, self.stall_timeout, self.way(&answer.url))),
        }
    }

    /// The fault of an answer whose connection was closed too early, as `how` says.
    pub fn cut_short(&self, answer: &Answer, how: String) -> Fault {
        Fault { host: authority(&answer.url), kind: FaultKind::Broken(how), way: self.way(&answer.url) }
    }

    /// An answer's whole body, or `None` where it is longer than `limit` bytes.
    pub async fn body(&self, answer: &mut Answer, limit: u64) -> Result<Option<Bytes>, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(answer).await? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body.into()))
    }
}

/// How long an answer may take to a request with so many bytes of body, which have to go out before it can begin.
fn patience(stall_timeout: Duration, body: u64) -> Duration {
    stall_timeout + Duration::from_secs(body / SLOWEST_UPLOAD)
}

/// Where the answer sends us on to, if it does.
fn redirect_target(response: &Response, url: &Url) -> Result<Option<Url>, SourceError> {
    use StatusCode as Status;
    let redirects = [
        Status::MOVED_PERMANENTLY,
        Status::FOUND,
        Status::SEE_OTHER,
        Status::TEMPORARY_REDIRECT,
        Status::PERMANENT_REDIRECT,
    ];
    if !redirects.contains(&response.status()) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    match next {
        Some(next) if url.scheme() == "https" && next.scheme() == "http" => {
            let problem = format!("it redirects to {} without TLS, which is refused", authority(&next));
            Err(unusable_redirect(url, &problem))
        }
        Some(next) if matches!(next.scheme(), "https" | "http") => Ok(Some(next)),
        _ => Err(unusable_redirect(url, "it redirects without saying where to")),
    }
}

fn unusable_redirect(url: &Url, problem: &str) -> SourceError {
    SourceError::Protocol { what: shown(url), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::loopback::*;
    use super::*;
    use crate::source::Store;

    fn redirect(to: &str) -> Reply {
        Reply::new(307, &[("Location", to)], "")
    }

    /// Wants a password first, redirects to `to` then.
    fn guarded_redirect(to: String) -> (Server, Setup) {
        let server = Server::start(move |request, _| match request.header("authorization") {
            "" => Reply::new(401, &[("WWW-Authenticate", "Basic")], ""),
            _ if request.target == "/here" => Reply::ok("{}"),
            _ => redirect(&to),
        });
        let setup = Setup::default();
        setup.write("config.json", &format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpw"}}}}}}"#, server.address));
        (server, setup)
    }

    #[tokio::test]
    async fn credentials_do_not_follow_a_redirect_to_another_host_or_port() {
        let storage = Server::start(|_, _| Reply::ok("{}"));
        let (server, setup) = guarded_redirect(storage.url("/blob?signature=secret"));
        setup.open(&server).manifest(None).await.unwrap();
        let request = &storage.received()[0];
        assert_eq!(request.target, "/blob?signature=secret");
        assert_eq!((request.header("authorization"), request.header("referer")), ("", ""));
    }

    #[tokio::test]
    async fn credentials_follow_a_redirect_within_the_registry() {
        let (server, setup) = guarded_redirect("/here".to_owned());
        setup.open(&server).manifest(None).await.unwrap();
        assert_eq!(server.received().last().unwrap().header("authorization"), "Basic dXNlcjpw");
    }

    #[tokio::test]
    async fn a_challenge_from_elsewhere_is_not_answered() {
        let storage = Server::start(|_, _| Reply::new(401, &[("WWW-Authenticate", "Basic")], ""));
        let (server, setup) = guarded_redirect(storage.url("/blob"));
        let error = setup.open(&server).manifest(None).await.unwrap_err();
        assert!(matches!(error, SourceError::Denied { .. }), "{error}");
        assert!(storage.received().iter().all(|request| request.header("authorization").is_empty()));
    }

    #[tokio::test]
    async fn a_url_that_the_storage_refuses_is_asked_for_anew_once() {
        for status in [400, 401, 403] {
            let storage =
                Server::start(move |_, before| if before == 0 { Reply::status(status) } else { Reply::ok("{}") });
            let (server, setup) = guarded_redirect(storage.url("/blob?signature=secret"));
            setup.open(&server).manifest(None).await.unwrap();
            assert_eq!((server.received().len(), storage.received().len()), (3, 2), "{status}");
        }
    }

    #[tokio::test]
    async fn a_storage_that_refuses_twice_is_named_and_logging_in_is_no_advice() {
        let reply = |status| Reply::new(status, &[], "<Error><Code>AccessDenied</Code></Error>");
        for status in [400, 401, 403] {
            let storage = Server::start(move |_, _| reply(status));
            let (server, setup) = guarded_redirect(storage.url("/blob?signature=secret"));
            let error = setup.open(&server).manifest(None).await.unwrap_err();
            assert!(matches!(error, SourceError::Denied { .. }), "{error}");
            let text = error.to_string();
            let expected = format!("{} refused the URL that {} redirects to", storage.address, server.address);
            assert!(text.contains(&expected) && text.contains(&status.to_string()), "{text}");
            assert!(!text.contains("login") && !text.contains("secret"), "{text}");
            assert_eq!(storage.received().len(), 2);
        }
        // A storage at the registry's own host is no other matter.
        let server = Server::start(move |request, _| match request.target.starts_with("/v2/") {
            true => redirect("/storage/blob"),
            false => reply(403),
        });
        let text = Setup::default().open(&server).manifest(None).await.unwrap_err().to_string();
        assert!(text.contains("refused the URL") && !text.contains("login"), "{text}");
        assert_eq!(server.received().len(), 4);
    }

    #[tokio::test]
    async fn a_registry_that_redirects_within_itself_is_taken_at_its_word() {
        let server = Server::start(move |request, _| match request.target.starts_with("/v2/app/") {
            true => redirect(&request.target.replace("/app/", "/library/app/")),
            false => Reply::new(403, &[], r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#),
        });
        let text = Setup::default().open(&server).manifest(None).await.unwrap_err().to_string();
        assert!(text.contains("not for you") && text.contains("docker login"), "{text}");
    }

    #[test]
    fn a_body_on_a_slow_line_is_given_the_time_it_takes() {
        let limit = Duration::from_secs(30);
        assert_eq!(patience(limit, 0), limit);
        assert_eq!(patience(limit, 4 << 20), Duration::from_secs(30 + 256));
    }

    #[tokio::test]
    async fn redirects_come_to_an_end() {
        let server = Server::start(|_, _| redirect("/again"));
        let error = Setup::default().open(&server).manifest(None).await.unwrap_err();
        assert!(error.to_string().contains("more than 10 times"), "{error}");
        assert_eq!(server.received().len(), 11);
    }

    #[tokio::test]
    async fn a_redirect_to_nowhere_is_refused() {
        for location in ["", "http://", "file:///etc/passwd", "ftp://host.test/"] {
            let server = Server::start(move |_, _| match location {
                "" => Reply::status(302),
                location => redirect(location),
            });
            let error = Setup::default().open(&server).manifest(None).await.unwrap_err();
            assert!(matches!(error, SourceError::Protocol { .. }), "{location}: {error}");
        }
    }

    #[tokio::test]
    async fn a_redirect_never_leaves_tls() {
        let storage = Server::start(|_, _| Reply::ok("{}"));
        let away = storage.url("/blob");
        let authority = Authority::new();
        let server = Server::start_tls(authority.server(false), move |_, _| redirect(&away));
        let setup = Setup::default();
        setup.write(&format!("certs.d/{}/ca.crt", server.address), &authority.certificate.pem());
        let error = setup.open(&server).manifest(None).await.unwrap_err();
        assert!(error.to_string().contains("without TLS, which is refused"), "{error}");
        assert!(storage.received().is_empty());
    }

    /// A log that the test reads back.
    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_most_talkative_log_holds_no_secret() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
        // While there is only one subscriber, an event that another thread meets first is off for good, as no subscriber is that
        // thread's own; with two, all are asked.
        let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
        let _guard = tracing::subscriber::set_default(subscriber.finish());
        let storage = Server::start(|_, before| match before {
            0 => Reply::status(503),
            _ => Reply::ok("{}"),
        });
        let (server, setup) = guarded_redirect(storage.url("/blob?signature=secret"));
        setup.open(&server).manifest(None).await.unwrap();
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("GET") && text.contains("/blob") && text.contains("503"), "{text}");
        for secret in ["secret", "dXNlcjpw", "user:p"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}
