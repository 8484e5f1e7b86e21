//! What a request sends: bytes that are held, or those of a file, which are read as they are sent, so that a blob of any size takes
//! little memory. Either can be sent again from its start.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use reqwest::RequestBuilder;
use reqwest::header::CONTENT_LENGTH;

use crate::progress::Progress;

/// How many bytes of a file are read at a time.
const PIECE: u64 = 256 << 10;

/// The body of a request.
#[derive(Clone)]
pub(super) enum Body {
    /// What is held.
    Bytes(Bytes),
    /// What a file of this machine holds.
    File(Arc<FileBody>),
}

/// The first bytes of a file.
pub(super) struct FileBody {
    file: Arc<File>,
    length: u64,
    /// What whoever waits knows it by.
    task: String,
    progress: Arc<dyn Progress>,
    /// How many bytes were sent, in the try that came furthest.
    sent: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

impl Body {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(file) => file.length,
        }
    }

    /// The `request` with this body.
    pub fn of(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Body::Bytes(bytes) => request.body(bytes.clone()),
            // A body of unknown length would be sent in chunks, which not every store takes.
            Body::File(file) => request.header(CONTENT_LENGTH, file.length).body(Arc::clone(file).stream()),
        }
    }
}

impl FileBody {
    /// The first `length` bytes of `file`, which `progress` hears of as `task`.
    pub fn new(file: Arc<File>, length: u64, task: String, progress: Arc<dyn Progress>) -> Self {
        FileBody { file, length, task, progress, sent: AtomicU64::new(0), failure: Mutex::new(None) }
    }

    /// Why the file could not be read. It is told once.
    pub fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn stream(self: Arc<Self>) -> reqwest::Body {
        reqwest::Body::wrap_stream(stream::try_unfold((self, 0), |(body, position)| async move {
            if position == body.length {
                return Ok::<_, io::Error>(None);
            }
            let piece = PIECE.min(body.length - position);
            let reading = Arc::clone(&body);
            let read = tokio::task::spawn_blocking(move || reading.read(position, piece));
            let bytes = read.await.map_err(io::Error::other)??;
            let end = position + piece;
            let before = body.sent.fetch_max(end, Ordering::Relaxed);
            body.progress.advance(&body.task, end.saturating_sub(before));
            Ok(Some((bytes, (body, end))))
        }))
    }

    fn read(&self, position: u64, length: u64) -> io::Result<Bytes> {
        // At most `PIECE`.
        let mut bytes = vec![0; length as usize];
        match self.file.read_exact_at(&mut bytes, position) {
            Ok(()) => Ok(bytes.into()),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(told)
            }
        }
    }
}
