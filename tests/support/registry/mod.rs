//! A registry in this process, on a port of its own on 127.0.0.1, that fails when it is told to and remembers what it was
//! asked.
//!
//! Up to three listeners share one store: the registry itself, a storage that blob requests are redirected to, and a forward
//! proxy.

mod auth;
mod fault;
mod routes;
mod store;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use rustls::ServerConfig;

pub use fault::{Fault, Faults, Requests};

use self::auth::{Auth, Scheme};
use self::store::Store;
use super::http::{self, Authority, Ending, Request, Response, Service, Stream};
use super::image::{Pack, Packed};

/// How a registry behaves. Ends in [`Options::start`].
#[derive(Default)]
pub struct Options {
    auth: Auth,
    tls: bool,
    client_certificate: bool,
    names: Vec<String>,
    redirect: Option<Redirect>,
    referrers: bool,
    pages: bool,
    keeps_manifests: bool,
    digest_tags: bool,
    forgets_lists: bool,
    untyped_referrers: bool,
    proxy: bool,
}

/// Where blob requests are sent on to.
#[derive(Clone, Copy, PartialEq)]
enum Redirect {
    SameScheme,
    PlainHttp,
}

impl Options {
    /// Every request needs this user and password.
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.auth.scheme = Scheme::Basic;
        self.auth.accounts.push((user.to_owned(), password.to_owned()));
        self
    }

    /// Every request needs a token from the token server.
    pub fn tokens(mut self) -> Self {
        self.auth.scheme = Scheme::Bearer;
        self
    }

    /// The token server knows this user.
    pub fn account(mut self, user: &str, password: &str) -> Self {
        self.auth.accounts.push((user.to_owned(), password.to_owned()));
        self.tokens()
    }

    /// The token server exchanges this refresh token.
    pub fn identity_token(mut self, token: &str) -> Self {
        self.auth.identity_tokens.push(token.to_owned());
        self.tokens()
    }

    /// This token is accepted as it is.
    pub fn registry_token(mut self, token: &str) -> Self {
        self.auth.registry_tokens.push(token.to_owned());
        self.tokens()
    }

    /// Anyone may pull, though with a token.
    pub fn public(mut self) -> Self {
        self.auth.public = true;
        self.tokens()
    }

    /// A token is good for so many requests.
    pub fn token_uses(mut self, uses: usize) -> Self {
        self.auth.token_uses = Some(uses);
        self
    }

    /// Speaks HTTPS, with a certificate by an authority that nobody trusts yet.
    pub fn tls(self) -> Self {
        Options { tls: true, ..self }
    }

    /// Accepts only clients that show a certificate of the same authority.
    pub fn client_certificate(self) -> Self {
        Options { client_certificate: true, ..self.tls() }
    }

    /// Its certificate is also for `name`.
    pub fn named(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Redirects blob requests to a storage on another port.
    pub fn redirect_blobs(self) -> Self {
        Options { redirect: Some(Redirect::SameScheme), ..self }
    }

    /// Redirects blob requests to a storage that speaks plain HTTP.
    pub fn redirect_blobs_to_plain_http(self) -> Self {
        Options { redirect: Some(Redirect::PlainHttp), ..self }
    }

    /// Has the referrers API.
    pub fn referrers(self) -> Self {
        Options { referrers: true, ..self }
    }

    /// Has the referrers API, and lists one referrer a page.
    pub fn referrers_in_pages(self) -> Self {
        Options { pages: true, ..self.referrers() }
    }

    /// Has the referrers API as go-containerregistry's registry has it: each referrer is listed by its config's media type, whatever
    /// its artifact type, filters are ignored, and `OCI-Subject` is not answered.
    pub fn untyped_referrers(self) -> Self {
        Options { untyped_referrers: true, ..self.referrers() }
    }

    /// Deletes no manifest.
    pub fn keeps_manifests(self) -> Self {
        Options { keeps_manifests: true, ..self }
    }

    /// A tag `sha256-HEX` that is not there is the manifest of that digest, as in GitLab's registry.
    pub fn digest_tags(self) -> Self {
        Options { digest_tags: true, ..self }
    }

    /// A tag `sha256-HEX` is the manifest of that digest, whatever is sent there.
    pub fn forgets_lists(self) -> Self {
        Options { forgets_lists: true, ..self.digest_tags() }
    }

    /// Has a forward proxy before it, which takes every host for this registry.
    pub fn proxy(self) -> Self {
        Options { proxy: true, ..self }
    }

    /// Starts the registry. It serves until the process ends.
    pub fn start(mut self) -> Registry {
        let authority = Authority::new();
        let (client, client_key) = authority.sign("client.test");
        let certificates = Certificates {
            authority: authority.certificate.pem(),
            client: client.pem(),
            client_key: client_key.serialize_pem(),
        };
        let mut names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        names.append(&mut self.names);
        let registry = http::listen();
        let storage = self.redirect.map(|_| http::listen());
        let proxy = self.proxy.then(http::listen);
        let shared = Arc::new(Shared {
            registry_port: port(&registry),
            storage_port: storage.as_ref().map(port),
            proxy_port: proxy.as_ref().map(port),
            auth: std::mem::take(&mut self.auth),
            tls: authority.server_for(names, self.client_certificate),
            options: self,
            store: Mutex::default(),
            faults: Faults::default(),
            log: Mutex::default(),
            refused: AtomicUsize::new(0),
            stalled: Mutex::new(0),
            stall: Condvar::new(),
        });
        let listeners = [(Some(registry), Place::Registry), (storage, Place::Storage), (proxy, Place::Proxy)];
        for (listener, place) in listeners {
            let Some(listener) = listener else { continue };
            http::spawn(listener, shared.tls(place), Arc::new(At { shared: shared.clone(), place }));
        }
        Registry { shared, certificates }
    }
}

/// A running registry.
pub struct Registry {
    shared: Arc<Shared>,
    /// What a client needs to trust it and to be trusted.
    pub certificates: Certificates,
}

/// What a client needs to trust a registry and to be trusted by it, as PEM texts.
pub struct Certificates {
    /// The authority that signed the server's certificate.
    pub authority: String,
    /// A certificate that the server accepts from clients.
    pub client: String,
    /// The key of `client`.
    pub client_key: String,
}

/// What all threads of a registry share.
struct Shared {
    registry_port: u16,
    storage_port: Option<u16>,
    proxy_port: Option<u16>,
    options: Options,
    auth: Auth,
    tls: Arc<ServerConfig>,
    store: Mutex<Store>,
    faults: Faults,
    log: Mutex<Vec<Logged>>,
    refused: AtomicUsize,
    stalled: Mutex<usize>,
    stall: Condvar,
}

/// Which of the listeners a request came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// The registry.
    Registry,
    /// The storage that blob requests are redirected to.
    Storage,
    /// The forward proxy.
    Proxy,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Where it came to.
    pub place: Place,
    /// What was asked.
    request: Request,
    /// The status of the answer.
    pub status: u16,
    sent: Arc<AtomicU64>,
}

impl Deref for Logged {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

impl Logged {
    /// How many bytes of the answer's body were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Registry {
    /// A registry that speaks plain HTTP and asks for no credentials.
    pub fn start() -> Self {
        Options::default().start()
    }

    /// A registry like that which has `image` as `team/app:1`; with the image's whole reference, and the image as it is stored.
    pub fn serving(image: &dyn Pack) -> (Self, String, Packed) {
        let (registry, image) = (Registry::start(), image.pack());
        let reference = registry.push("team/app:1", &image);
        (registry, reference, image)
    }

    /// A registry to be described first.
    pub fn options() -> Options {
        Options::default()
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.shared.registry_port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.shared.registry_port
    }

    /// The URL of the forward proxy.
    pub fn proxy(&self) -> String {
        format!("http://127.0.0.1:{}", self.shared.proxy_port.expect("a registry with a proxy"))
    }

    /// `127.0.0.1:PORT` of the storage that blob requests are redirected to.
    pub fn storage(&self) -> String {
        format!("127.0.0.1:{}", self.shared.storage_port.expect("a registry with a storage"))
    }

    /// Stores an image as `NAME:TAG`, and gives its whole reference.
    pub fn push(&self, name_and_tag: &str, image: &dyn Pack) -> String {
        let packed = image.pack();
        let (name, tag) = name_and_tag.rsplit_once(':').expect("a name and a tag");
        let mut store = self.shared.store.lock().expect("no thread panics here");
        store.put(name, &packed);
        store.repository(name).tags.insert(tag.to_owned(), packed.digest());
        format!("{}/{name_and_tag}", self.host())
    }

    /// Stores an image without a tag, and gives its reference by digest.
    pub fn push_by_digest(&self, name: &str, image: &dyn Pack) -> String {
        let packed: Packed = image.pack();
        self.shared.store.lock().expect("no thread panics here").put(name, &packed);
        format!("{}/{name}@{}", self.host(), packed.digest())
    }

    /// Stores these bytes as the blob `digest`, whatever their digest is.
    pub fn store_blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let mut store = self.shared.store.lock().expect("no thread panics here");
        store.repository(repository).blobs.insert(digest.to_owned(), bytes.into());
    }

    /// Loses a blob or a manifest.
    pub fn lose(&self, digest: &str) {
        let mut store = self.shared.store.lock().expect("no thread panics here");
        store.repositories.values_mut().for_each(|repository| {
            repository.blobs.remove(digest);
            repository.manifests.remove(digest);
        });
    }

    /// The requests whose path contains `path_part`, to say what befalls them.
    pub fn requests_for(&self, path_part: &str) -> Requests<'_> {
        self.shared.faults.requests(path_part)
    }

    /// Resets the next `count` connections as they are made.
    pub fn refuse_connections(&self, count: usize) {
        self.shared.refused.store(count, Ordering::SeqCst);
    }

    /// Waits until an answer has stalled.
    pub fn wait_for_stall(&self) {
        self.wait_for_stalls(1);
    }

    /// Waits until so many answers have stalled.
    pub fn wait_for_stalls(&self, count: usize) {
        let stalled = self.shared.stalled.lock().expect("no thread panics here");
        drop(self.shared.stall.wait_while(stalled, |stalled| *stalled < count).expect("no thread panics here"));
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.log.lock().expect("no thread panics here").clone()
    }

    /// The requests so far that were `method` and whose path contains `path_part`.
    pub fn logged(&self, method: &str, path_part: &str) -> Vec<Logged> {
        let log = self.log().into_iter();
        log.filter(|request| request.method == method && request.target.contains(path_part)).collect()
    }

    /// How many requests were `method` and had `path_part` in their path.
    pub fn count(&self, method: &str, path_part: &str) -> usize {
        self.logged(method, path_part).len()
    }
}

impl Shared {
    /// The URL of the registry.
    fn base(&self) -> String {
        let scheme = if self.options.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.registry_port)
    }

    /// The URL of the storage, if blob requests are to be redirected there.
    fn storage_base(&self) -> Option<String> {
        let is_tls = self.options.tls && self.options.redirect == Some(Redirect::SameScheme);
        let scheme = if is_tls { "https" } else { "http" };
        self.storage_port.map(|port| format!("{scheme}://127.0.0.1:{port}"))
    }

    fn tls(&self, place: Place) -> Option<Arc<ServerConfig>> {
        let speaks_tls = match place {
            Place::Registry => self.options.tls,
            Place::Storage => self.options.tls && self.options.redirect == Some(Redirect::SameScheme),
            Place::Proxy => false,
        };
        speaks_tls.then(|| self.tls.clone())
    }

    fn record(&self, place: Place, request: Request, response: &Response) {
        let (status, sent) = (response.status, response.sent.clone());
        self.log.lock().expect("no thread panics here").push(Logged { place, request, status, sent });
    }
}

/// One of the listeners.
struct At {
    shared: Arc<Shared>,
    place: Place,
}

impl Service for At {
    fn answer(&self, asked: Request) -> Response {
        let shared = &*self.shared;
        if asked.method == "CONNECT" {
            let response = Response { ending: Ending::Tunnel, ..Response::status(200) };
            shared.record(self.place, asked, &response);
            return response;
        }
        let fault = shared.faults.take(&asked);
        let mut request = asked.clone();
        if let Some(fault) = &fault {
            fault.befall_request(&mut request);
        }
        // A proxy is given whole URLs (RFC 9112 section 3.2.2).
        if let Some((_, rest)) = request.target.split_once("://") {
            request.target = rest.find('/').map_or("/", |slash| &rest[slash..]).to_owned();
        }
        let response = match self.place {
            Place::Storage => routes::storage(shared, &request),
            Place::Registry | Place::Proxy => routes::registry(shared, &request),
        };
        let response = match fault {
            Some(fault) => fault.befall(response),
            None => response,
        };
        shared.record(self.place, asked, &response);
        response
    }

    fn refuses(&self) -> bool {
        let refused = &self.shared.refused;
        refused.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
    }

    fn has_stalled(&self) {
        *self.shared.stalled.lock().expect("no thread panics here") += 1;
        self.shared.stall.notify_all();
    }

    fn tunnel(&self, socket: TcpStream) -> io::Result<()> {
        let registry = At { shared: self.shared.clone(), place: Place::Registry };
        http::serve(Stream::open(socket, self.shared.tls(Place::Registry))?, &registry)
    }
}

/// A port of 127.0.0.1 that nobody listens on.
pub fn unused_port() -> u16 {
    port(&http::listen())
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("a bound socket has an address").port()
}
