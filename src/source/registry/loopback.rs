//! A scripted HTTP server on a loopback port, and a registry that talks to it, for this folder's tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::*;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What to send, and what to do with the connection then.
pub struct Reply {
    bytes: Vec<u8>,
    stall: bool,
}

impl Reply {
    /// A whole answer with a `Content-Length`.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Self::promising(body.as_ref().len(), status, headers, body)
    }

    /// An answer that says it has `length` bytes, whatever it has.
    pub fn promising(length: usize, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let length = length.to_string();
        Self::raw(status, &[headers, &[("Content-Length", &length)]].concat(), body)
    }

    /// An answer in chunks, whose length nobody says beforehand.
    pub fn chunked(body: &[u8]) -> Self {
        let mut chunks = Vec::new();
        for chunk in body.chunks(1000) {
            chunks.extend(format!("{:x}\r\n", chunk.len()).bytes());
            chunks.extend(chunk);
            chunks.extend(b"\r\n");
        }
        chunks.extend(b"0\r\n\r\n");
        Self::raw(200, &[("Transfer-Encoding", "chunked")], chunks)
    }

    /// An answer that ends where the connection does, and says no length.
    pub fn until_closed(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Self::raw(status, headers, body)
    }

    fn raw(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let mut bytes = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(body.as_ref());
        Reply { bytes, stall: false }
    }

    /// Sends nothing more, and does not close the connection either.
    pub fn then_stall(self) -> Self {
        Reply { stall: true, ..self }
    }

    /// No answer: the connection ends.
    pub fn nothing() -> Self {
        Reply { bytes: Vec::new(), stall: false }
    }

    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[], body)
    }

    pub fn status(status: u16) -> Self {
        Self::new(status, &[], "")
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// The server. It runs until the test's process ends.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// Answers each request by `script`, which also gets the number of requests that came before.
    pub fn start(script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(None, script)
    }

    pub fn start_tls(
        tls: Arc<ServerConfig>,
        script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(tls), script)
    }

    fn serve(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server { address: listener.local_addr().unwrap(), received: Arc::default() };
        let (shared, script) = (server.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (server, script, tls) = (shared.clone(), script.clone(), tls.clone());
                std::thread::spawn(move || {
                    let connection = connection.unwrap();
                    let stream: Box<dyn Stream> = match tls {
                        Some(tls) => Box::new(StreamOwned::new(ServerConnection::new(tls).unwrap(), connection)),
                        None => Box::new(connection),
                    };
                    server.answer(stream, &*script);
                });
            }
        });
        server
    }

    fn answer(&self, stream: Box<dyn Stream>, script: &dyn Fn(&Received, usize) -> Reply) {
        let mut stream = BufReader::new(stream);
        let Some(received) = read_request(&mut stream) else { return };
        let before = {
            let mut all = self.received.lock().unwrap();
            all.push(received.clone());
            all.len() - 1
        };
        let reply = script(&received, before);
        let mut stream = stream.into_inner();
        let _ = stream.write_all(&reply.bytes).and_then(|()| stream.flush());
        if reply.stall {
            // Until the client hangs up.
            let _ = stream.read(&mut [0]);
        }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The method and path of every request, without query.
    pub fn paths(&self) -> Vec<String> {
        let path = |received: &Received| received.target.split('?').next().unwrap().to_owned();
        self.received().iter().map(|received| format!("{} {}", received.method, path(received))).collect()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn read_request(stream: &mut impl BufRead) -> Option<Received> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers: HashMap<String, String> = HashMap::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        let values = headers.entry(name.to_ascii_lowercase()).or_default();
        *values = if values.is_empty() { value.to_owned() } else { format!("{values}, {value}") };
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Received { method, target, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Writes down what it is told.
#[derive(Default)]
pub struct Recorder {
    pub lines: Mutex<Vec<String>>,
    pub finished: tokio::sync::Notify,
}

impl Progress for Recorder {
    fn start(&self, _: &str, label: &str, total: Option<u64>) {
        self.lines.lock().unwrap().push(format!("start {label} {}", total.unwrap_or_default()));
    }
    fn advance(&self, _: &str, _: u64) {}
    fn finish(&self, _: &str) {
        self.lines.lock().unwrap().push("finish".to_owned());
        self.finished.notify_one();
    }
    fn notice(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
    }
}

/// A registry to be, with a Docker config folder of its own.
pub struct Setup {
    pub options: RegistryOptions,
    pub folder: TempDir,
    pub recorder: Arc<Recorder>,
    pub environment: HashMap<&'static str, String>,
}

impl Default for Setup {
    fn default() -> Self {
        let folder = TempDir::new().unwrap();
        let options = RegistryOptions {
            docker_config: Some(folder.path().to_owned()),
            system_certs: folder.path().join("no certificates"),
            retry_pause: Duration::from_millis(1),
            ..RegistryOptions::default()
        };
        Setup { options, folder, recorder: Arc::default(), environment: HashMap::new() }
    }
}

impl Setup {
    /// With this `config.json`.
    pub fn with_config(json: &str) -> Self {
        let setup = Setup::default();
        setup.write("config.json", json);
        setup
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn try_open(&self, reference: &str) -> Result<Registry, SourceError> {
        let environment = |name: &str| self.environment.get(name).map(Into::into);
        Registry::in_environment(reference, self.options.clone(), self.recorder.clone(), &environment)
    }

    /// The image `app:1` at `server`.
    pub fn open(&self, server: &Server) -> Registry {
        self.try_open(&format!("{}/app:1", server.address)).unwrap()
    }

    pub fn lines(&self) -> Vec<String> {
        self.recorder.lines.lock().unwrap().clone()
    }
}

/// A descriptor of `content`.
pub fn descriptor(content: &[u8]) -> Descriptor {
    let digest = Digest::of(content).to_string();
    Descriptor { digest, size: content.len() as i64, ..Descriptor::default() }
}

/// Reads to the end, as the program does: on a thread that may block.
pub async fn read(mut reader: BlobReader) -> Result<Vec<u8>, SourceError> {
    let read = tokio::task::spawn_blocking(move || {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map(|_| content)
    });
    read.await.unwrap().map_err(SourceError::from)
}

/// Bytes without a pattern that a shifted copy would share.
pub fn content(length: usize) -> Vec<u8> {
    (0..length as u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_be_bytes()).take(length).collect()
}

/// Answers a blob request as a good registry does: whole, or the part that was asked for.
pub fn serve(content: &[u8], request: &Received) -> Reply {
    let Some(range) = request.headers.get("range") else { return Reply::ok(content) };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let last = last.parse().unwrap_or(content.len() - 1);
    let header = format!("bytes {first}-{last}/{}", content.len());
    Reply::new(206, &[("Content-Range", &header)], &content[first..=last])
}

/// The `Range` of each request, or nothing.
pub fn ranges(server: &Server) -> Vec<String> {
    server.received().iter().map(|request| request.header("range").to_owned()).collect()
}

/// What a registry at `server` gives for the blob that has this content.
pub async fn fetch(server: &Server, content: &[u8]) -> Result<Vec<u8>, SourceError> {
    read(Setup::default().open(server).blob(&descriptor(content)).await?).await
}

/// A certificate authority and what it signs.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub certificate: rcgen::Certificate,
}

impl Authority {
    pub fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new([]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Authority { issuer: rcgen::Issuer::new(parameters, key), certificate }
    }

    /// A certificate for `name` and its key.
    pub fn sign(&self, name: &str) -> (rcgen::Certificate, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// TLS for a server whose certificate is for 127.0.0.1 but for what `change` makes of it.
    pub fn server_with(&self, change: impl Fn(&mut rcgen::CertificateParams)) -> Arc<ServerConfig> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        server_config(&certificate, &key, None)
    }

    /// TLS for a server at 127.0.0.1, which asks for a client certificate of this authority if `mutual`.
    pub fn server(&self, mutual: bool) -> Arc<ServerConfig> {
        let (certificate, key) = self.sign("127.0.0.1");
        let client_root = mutual.then(|| self.certificate.der().clone());
        server_config(&certificate, &key, client_root)
    }
}

/// A certificate (in PEM) for `name` that is its own CA, and TLS for the server that has it.
pub fn self_signed(name: &str) -> (String, Arc<ServerConfig>) {
    let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), server_config(&certificate, &key, None))
}

fn server_config(
    certificate: &rcgen::Certificate,
    key: &rcgen::KeyPair,
    client_root: Option<CertificateDer<'static>>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match client_root {
        Some(root) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(root).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
}
