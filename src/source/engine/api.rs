//! The engine's API: the few calls that are made of it, each with what it answers. Docker's own, of either image store, and
//! Podman's compatible one.
//!
//! Spec: Docker Engine API, whose version is the lower of the engine's newest and the newest that is known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answer::{Created, Inspected, Listed, ListedImage, Mount, PathStat, Refusal, Step};
use super::endpoint::{Connection, Endpoint};
use crate::source::http::shown::printable;
use crate::source::pieces::{self, PIECE_BYTES, Piece, Sender};
use crate::source::{BlobReader, SourceError};

/// The newest version of the API whose calls are known here.
const NEWEST: Version = Version(1, 51);

/// The version of an engine that does not say which it has: that of Docker 1.12, which did not yet.
const UNSAID: Version = Version(1, 24);

/// How long a call may take that only asks for something. The others take as long as the image is large.
const ASKING: Duration = Duration::from_secs(60);

/// The most bytes that an answer in JSON may have.
const MAX_ANSWER: usize = 16 << 20;

/// The engine's answers to what is asked of it.
#[derive(Clone)]
pub struct Api {
    connection: Connection,
    version: Version,
    fetched: Arc<AtomicU64>,
}

/// What the engine says of a path in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stated {
    /// This stands there.
    There(PathStat),
    /// There is no such path, or no such container.
    Absent,
    /// It cannot tell. Docker follows a link to say where it leads, and fails where that is in a circle.
    Unable,
}

/// A version of the API: `1.41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Version(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl Api {
    /// Reaches the engine, and agrees with it on a version. What streams give is added to `fetched`, in bytes.
    pub async fn connect(endpoint: &Endpoint, fetched: Arc<AtomicU64>) -> Result<Self, SourceError> {
        let connection = endpoint.connect().await?;
        let version = connection.api_version().and_then(Version::parse).unwrap_or(UNSAID).min(NEWEST);
        Ok(Api { connection, version, fetched })
    }

    /// The image that `reference` names: a name, with or without tag or digest, or an ID.
    pub async fn inspect_image(&self, reference: &str) -> Result<Inspected, SourceError> {
        let request = self.request(Method::GET, &format!("/images/{}/json", encoded(reference.as_bytes())));
        self.json(request.timeout(ASKING), reference).await
    }

    /// The images that have a name.
    pub async fn images(&self) -> Result<Vec<ListedImage>, SourceError> {
        let request = self.request(Method::GET, "/images/json");
        self.json(request.timeout(ASKING), "the list of images").await
    }

    /// The build steps of the image, the last one first.
    pub async fn history(&self, reference: &str) -> Result<Vec<Step>, SourceError> {
        let request = self.request(Method::GET, &format!("/images/{}/history", encoded(reference.as_bytes())));
        self.json(request.timeout(ASKING), reference).await
    }

    /// The image as `docker save` writes it.
    pub async fn export(&self, reference: &str) -> Result<BlobReader, SourceError> {
        let request = self.request(Method::GET, &format!("/images/{}/get", encoded(reference.as_bytes())));
        let answer = self.send(request, reference).await?;
        Ok(self.reader(answer, reference))
    }

    /// Loads an archive as `docker load` does, and gives what the engine says of it, such as `Loaded image: app:1`.
    pub async fn load(&self, archive: Body) -> Result<Vec<String>, SourceError> {
        let request = self.request(Method::POST, "/images/load?quiet=1");
        let request = request.header("content-type", "application/x-tar").body(archive);
        let answer = self.send(request, "loading an image").await?;
        let bytes = self.whole(answer, "loading an image").await?;
        // A failure on the way is told in the answer's body, whose status has been sent by then.
        #[derive(Deserialize)]
        struct Line {
            stream: Option<String>,
            error: Option<String>,
        }
        let mut said = Vec::new();
        for line in serde_json::Deserializer::from_slice(&bytes).into_iter::<Line>() {
            match line.map_err(|error| self.unreadable("loading an image", &error))? {
                Line { error: Some(error), .. } => return Err(self.protocol("loading an image", &printable(&error))),
                Line { stream: Some(stream), .. } => said.push(printable(&stream)),
                Line { .. } => {}
            }
        }
        Ok(said)
    }

    /// Gives the image `reference`, such as an ID, the name `repository` with `tag`.
    pub async fn tag(&self, reference: &str, repository: &str, tag: &str) -> Result<(), SourceError> {
        let (image, repository, tag) = (encoded(reference.as_bytes()), query(repository), query(tag));
        let request = self.request(Method::POST, &format!("/images/{image}/tag?repo={repository}&tag={tag}"));
        self.send(request.timeout(ASKING), reference).await.map(drop)
    }

    /// Creates a container of the image `reference` under this name, with this label. It is never started, and would fail
    /// to: what it would run is there for images that name no command. Docker makes the image's working directory where that is
    /// not there (moby, `container.SetupWorkingDirectory`), so that it is told another.
    pub async fn create(&self, reference: &str, name: &str, label: (&str, &str)) -> Result<String, SourceError> {
        let request = self.request(Method::POST, &format!("/containers/create?name={}", query(name)));
        let request = request.header("content-type", "application/json").body(
            json!({
                "Image": reference,
                "Cmd": ["/"],
                "WorkingDir": "/",
                "Labels": {label.0: label.1},
                "HostConfig": {"NetworkMode": "none"},
            })
            .to_string(),
        );
        let Created { id } = self.json(request, reference).await?;
        Ok(id)
    }

    /// What is mounted in a container.
    pub async fn mounts(&self, container: &str) -> Result<Vec<Mount>, SourceError> {
        #[derive(Deserialize)]
        struct Container {
            #[serde(rename = "Mounts")]
            mounts: Option<Vec<Mount>>,
        }
        let request = self.request(Method::GET, &format!("/containers/{}/json", query(container)));
        let container: Container = self.json(request.timeout(ASKING), container).await?;
        Ok(container.mounts.unwrap_or_default())
    }

    /// What stands at the absolute `path` in a container.
    pub async fn stat(&self, container: &str, path: &[u8]) -> Result<Stated, SourceError> {
        let request = self.in_container(Method::HEAD, container, path).timeout(ASKING);
        let what = String::from_utf8_lossy(path);
        let answer = request.send().await.map_err(|error| self.failed(&what, &error))?;
        if answer.status().is_server_error() {
            return Ok(Stated::Unable);
        }
        let Some(answer) = found(self.accept(answer, &what).await)? else { return Ok(Stated::Absent) };
        let header = answer.headers().get("x-docker-container-path-stat").map(|value| value.as_bytes());
        match header.and_then(PathStat::parse) {
            Some(stat) => Ok(Stated::There(stat)),
            None => Err(self.protocol(&what, "it does not say what stands there")),
        }
    }

    /// What stands at the absolute `path` in a container, as a tar; `None` where there is no such path, or no such container.
    pub async fn archive(&self, container: &str, path: &[u8]) -> Result<Option<BlobReader>, SourceError> {
        let what = String::from_utf8_lossy(path);
        let answer = self.send(self.in_container(Method::GET, container, path), &what).await;
        Ok(found(answer)?.map(|answer| self.reader(answer, &what)))
    }

    /// Removes a container and its anonymous volumes. One that is not there is as good as removed.
    pub async fn remove(&self, container: &str) -> Result<(), SourceError> {
        let request = self.request(Method::DELETE, &format!("/containers/{}?v=1&force=1", query(container)));
        found(self.send(request.timeout(ASKING), container).await).map(drop)
    }

    /// The containers, in whatever state, that have a label of this name and have never been started.
    pub async fn created_containers(&self, label: &str) -> Result<Vec<Listed>, SourceError> {
        let filters = json!({"label": [label], "status": ["created"]}).to_string();
        let request = self.request(Method::GET, &format!("/containers/json?all=1&filters={}", query(&filters)));
        self.json(request.timeout(ASKING), "the list of containers").await
    }

    fn request(&self, method: Method, path_and_query: &str) -> RequestBuilder {
        let Version(major, minor) = self.version;
        self.connection.request(method, &format!("/v{major}.{minor}{path_and_query}"))
    }

    fn in_container(&self, method: Method, container: &str, path: &[u8]) -> RequestBuilder {
        self.request(method, &format!("/containers/{}/archive?path={}", query(container), encoded(path)))
    }

    /// The answer, where it is one of success.
    async fn send(&self, request: RequestBuilder, what: &str) -> Result<Response, SourceError> {
        let answer = request.send().await.map_err(|error| self.failed(what, &error))?;
        self.accept(answer, what).await
    }

    /// `answer`, where it is one of success.
    async fn accept(&self, answer: Response, what: &str) -> Result<Response, SourceError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let refusal = self.whole(answer, what).await.unwrap_or_default();
        let message = match serde_json::from_slice::<Refusal>(&refusal) {
            Ok(refusal) => printable(&refusal.message),
            Err(_) => String::new(),
        };
        let says = if message.is_empty() { format!("it answers {status}") } else { format!("it says: {message}") };
        Err(match status {
            StatusCode::NOT_FOUND => SourceError::NotFound { what: self.what(what), detail: says },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                SourceError::Denied { message: format!("{}: {says}", self.what(what)) }
            }
            _ => self.protocol(what, &says),
        })
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder, what: &str) -> Result<T, SourceError> {
        let answer = self.send(request, what).await?;
        let bytes = self.whole(answer, what).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.unreadable(what, &error))
    }

    /// The whole body of a small answer.
    async fn whole(&self, mut answer: Response, what: &str) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(what, &error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(self.protocol(what, &format!("its answer has more than {MAX_ANSWER} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The body of an answer, for a thread that may block. Dropping the reader ends the call.
    fn reader(&self, answer: Response, what: &str) -> BlobReader {
        let (sender, reader) = pieces::channel();
        let (api, what) = (self.clone(), what.to_owned());
        tokio::spawn(async move {
            let result = tokio::select! {
                biased;
                () = sender.closed() => return,
                result = api.deliver(answer, &what, &sender) => result,
            };
            // Where nobody listens any more, nobody needs to know.
            let _ = sender.send(result.map_or_else(Piece::Failed, |()| Piece::End)).await;
        });
        Box::new(reader)
    }

    async fn deliver(&self, mut answer: Response, what: &str, sender: &Sender) -> Result<(), SourceError> {
        while let Some(mut bytes) = answer.chunk().await.map_err(|error| self.failed(what, &error))? {
            self.fetched.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            while !bytes.is_empty() {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                if sender.send(Piece::Data(piece)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn what(&self, what: &str) -> String {
        format!("{} in the Docker engine at {}", printable(what), self.connection.shown())
    }

    fn failed(&self, what: &str, error: &reqwest::Error) -> SourceError {
        match error.is_timeout() {
            true => {
                let problem = format!("no answer in {} s", ASKING.as_secs());
                SourceError::Network { what: self.what(what), problem }
            }
            false => self.connection.failed(error),
        }
    }

    fn unreadable(&self, what: &str, error: &serde_json::Error) -> SourceError {
        self.protocol(what, &format!("its answer cannot be read: {error}"))
    }

    fn protocol(&self, what: &str, problem: &str) -> SourceError {
        SourceError::Protocol { what: self.what(what), problem: problem.to_owned() }
    }
}

/// The answer, or nothing where that is what the engine has.
fn found<T>(answer: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(SourceError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `bytes` as a part of a URL, slashes and the signs of a reference left as they are (RFC 3986 section 2).
fn encoded(bytes: &[u8]) -> String {
    escaped(bytes, b"-._~/:@")
}

/// `text` as a value in a URL's query, or as one segment of its path.
fn query(text: &str) -> String {
    escaped(text.as_bytes(), b"-._~")
}

fn escaped(bytes: &[u8], kept: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_byte_by_byte() {
        assert_eq!(encoded(b"/a b%?#&+=\n\xff/x"), "/a%20b%25%3F%23%26%2B%3D%0A%FF/x");
        assert_eq!(encoded(b"localhost:5000/app@sha256:ab"), "localhost:5000/app@sha256:ab");
        assert_eq!(query("a/b&c"), "a%2Fb%26c");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(Version::parse("1.9") < Version::parse("1.41"));
        assert_eq!(Version::parse("1.41"), Some(Version(1, 41)));
        for text in ["", "1", "x.1", "1.x", "1.-1"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
