//! A registry that talks to a scripted server on a loopback port, for this folder's tests.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;
pub use crate::support::http::{Authority, Request as Received, Response as Reply, Server, self_signed};
use crate::support::random::noise;

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

/// Bytes without a pattern that a shifted copy would share. More of them begin with the same ones.
pub fn content(length: usize) -> Vec<u8> {
    noise(1, length)
}

/// Answers a blob request as a good registry does: whole, or the part that was asked for.
pub fn serve(content: &[u8], request: &Received) -> Reply {
    let Some(range) = request.header("range").strip_prefix("bytes=") else { return Reply::ok(content) };
    let (first, last) = range.split_once('-').unwrap();
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
