//! A registry in this process, on a port of its own on 127.0.0.1, that fails when it is told to and remembers what it was
//! asked.
//!
//! Each connection has its thread, as nothing here needs to be fast, only exact. Up to three listeners share one store: the
//! registry itself, a storage that blob requests are redirected to, and a forward proxy.

mod auth;
mod fault;
pub mod http;
mod routes;
mod store;
mod tls;

use std::io::{self, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub use fault::{Fault, Faults, Requests};
pub use tls::Certificates;

use self::auth::{Auth, Scheme};
use self::http::{Ending, Request, Stream};
use self::store::Store;
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
        let (certificates, config) = tls::make(&self.names, self.client_certificate);
        let registry = listen();
        let storage = self.redirect.map(|_| listen());
        let proxy = self.proxy.then(listen);
        let shared = Arc::new(Shared {
            registry_port: port(&registry),
            storage_port: storage.as_ref().map(port),
            proxy_port: proxy.as_ref().map(port),
            auth: std::mem::take(&mut self.auth),
            options: self,
            tls: config,
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
            let shared = shared.clone();
            std::thread::spawn(move || accept(&shared, &listener, place));
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
    /// The method.
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The status of the answer.
    pub status: u16,
    sent: Arc<AtomicU64>,
}

impl Logged {
    /// The header `name` (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

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
        let stalled = self.shared.stalled.lock().expect("no thread panics here");
        drop(self.shared.stall.wait_while(stalled, |count| *count == 0).expect("no thread panics here"));
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

    fn speaks_tls(&self, place: Place) -> bool {
        match place {
            Place::Registry => self.options.tls,
            Place::Storage => self.options.tls && self.options.redirect == Some(Redirect::SameScheme),
            Place::Proxy => false,
        }
    }

    fn record(&self, place: Place, request: &Request, status: u16) -> Arc<AtomicU64> {
        let sent = Arc::new(AtomicU64::new(0));
        self.log.lock().expect("no thread panics here").push(Logged {
            place,
            method: request.method.clone(),
            target: request.target.clone(),
            headers: request.headers.clone(),
            status,
            sent: sent.clone(),
        });
        sent
    }
}

/// A port of 127.0.0.1 that nobody listens on.
pub fn unused_port() -> u16 {
    port(&listen())
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("the loopback interface has a free port")
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("a bound socket has an address").port()
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, place: Place) {
    for socket in listener.incoming().map_while(Result::ok) {
        let is_refused =
            shared.refused.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok();
        if is_refused {
            Stream::Plain(socket).reset();
            continue;
        }
        let shared = shared.clone();
        std::thread::spawn(move || {
            // A client that goes away, or that speaks something else, ends its connection and nothing more.
            let _ = open(&shared, socket, place).and_then(|stream| serve(&shared, stream, place));
        });
    }
}

fn open(shared: &Shared, socket: TcpStream, place: Place) -> io::Result<Stream> {
    socket.set_nodelay(true)?;
    if !shared.speaks_tls(place) {
        return Ok(Stream::Plain(socket));
    }
    let connection = ServerConnection::new(shared.tls.clone()).map_err(io::Error::other)?;
    Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
}

/// Answers one request after the other, until the client goes or a fault ends the connection.
fn serve(shared: &Shared, stream: Stream, place: Place) -> io::Result<()> {
    let mut connection = BufReader::new(stream);
    while let Some(mut request) = Request::read(&mut connection)? {
        if request.method == "CONNECT" {
            shared.record(place, &request, 200);
            let Stream::Plain(mut socket) = connection.into_inner() else { return Ok(()) };
            io::Write::write_all(&mut socket, b"HTTP/1.1 200 Connected\r\n\r\n")?;
            return open(shared, socket, Place::Registry).and_then(|stream| serve(shared, stream, Place::Registry));
        }
        let fault = shared.faults.take(&request);
        let asked = request.clone();
        if let Some(fault) = &fault {
            fault.befall_request(&mut request);
        }
        // A proxy is given whole URLs (RFC 9112 section 3.2.2).
        if let Some((_, rest)) = request.target.split_once("://") {
            request.target = rest.find('/').map_or("/", |slash| &rest[slash..]).to_owned();
        }
        let response = if place == Place::Storage {
            routes::storage(shared, &request)
        } else {
            routes::registry(shared, &request)
        };
        let response = fault.map_or(response.clone(), |fault| fault.befall(response));
        let sent = shared.record(place, &asked, response.status);
        if response.ending == Ending::NoAnswer {
            connection.into_inner().reset();
            return Ok(());
        }
        let goes_on = response.write(connection.get_mut(), request.method == "HEAD", &sent)?;
        match response.ending {
            Ending::Reset(_) => {
                connection.into_inner().reset();
                return Ok(());
            }
            Ending::Stall(_) => {
                *shared.stalled.lock().expect("no thread panics here") += 1;
                shared.stall.notify_all();
                connection.get_ref().stall();
                return Ok(());
            }
            _ if !goes_on || request.header("connection") == Some("close") => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}
