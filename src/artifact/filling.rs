//! A table of a layer, written while the layer is read: whoever reads it tells what passes by, and a thread of its own writes.
//!
//! Nothing that goes wrong with the table is of any consequence for the reading. It is kept only when the layer has been read to its end
//! and had its digest.

mod choosing;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use self::choosing::{Choosing, Content, Sink};
use crate::image::digest::Digest;
use crate::layer::checkpoint::Checkpoint;
use crate::layer::observer::{Observer, Restart, Wanted};
use crate::layer::referred::AHEAD;
use crate::layer::{Compression, Entry, Kind};
use crate::source::Trail;
use crate::table::own::{self, Blob, NotWritten, Writer};

/// How many stored bytes lie between two places where a compressed layer may be begun, of which few are kept: those with windows, and those
/// without.
const WITH_WINDOW: u64 = 64 << 10;
const WITHOUT_WINDOW: u64 = 16 << 10;

/// So much news is handed to the thread at a time: in bytes, about, and in number.
const BATCH_BYTES: usize = 256 << 10;
const BATCH: usize = 128;

/// So many batches wait at most, and then the reader does.
const WAITING: usize = 2;

/// What is told of a layer.
enum News {
    Restart(Restart),
    Reached(u64, u64),
    /// Bytes of the blob, from this offset on.
    Stored(u64, Vec<u8>),
    /// A content begins, of the next entry.
    Content(Content),
    Entry(Box<Entry>, Option<Digest>),
    /// The layer was read to its end, and had its digest.
    End,
}

/// The reading of a layer whose table is being written. To drop it gives up the table.
pub struct Filling {
    told: Arc<Told>,
}

/// The thread that writes. It comes back with what became of the table, or nothing where it was given up.
pub type Written<T> = JoinHandle<Result<Option<T>, NotWritten>>;

/// The way to that thread.
struct Told {
    compression: Arc<OnceLock<Compression>>,
    /// What has not been handed over yet.
    batch: Mutex<Batch>,
    /// Whether nobody listens any more.
    is_over: AtomicBool,
}

struct Batch {
    /// `None` when the reading is over.
    sender: Option<SyncSender<Vec<News>>>,
    news: Vec<News>,
    bytes: usize,
}

impl Filling {
    /// Begins a table of the layer with this digest, of so many stored bytes, which `writer` makes, and which goes to `done`. Both are
    /// called on the thread that writes. What the hash of the blob comes to is taken from `trail`, if there is one.
    pub fn begin<T: Send + 'static>(
        (digest, size): (Digest, u64),
        trail: Option<Arc<Trail>>,
        writer: impl FnOnce(Blob) -> io::Result<Writer> + Send + 'static,
        done: impl FnOnce(own::Written) -> Result<T, NotWritten> + Send + 'static,
    ) -> io::Result<(Self, Written<T>)> {
        let begin = move |compression| {
            let blob = Blob { digest, size, compression };
            Ok(Choosing::new(writer(blob.clone())?, &blob))
        };
        let finish = |choosing: Choosing<Writer>| choosing.finish().and_then(Writer::finish).and_then(done);
        Self::begin_with(trail, begin, finish)
    }

    fn begin_with<S: Sink + 'static, T: Send + 'static>(
        trail: Option<Arc<Trail>>,
        begin: impl FnOnce(Compression) -> io::Result<Choosing<S>> + Send + 'static,
        finish: impl FnOnce(Choosing<S>) -> Result<T, NotWritten> + Send + 'static,
    ) -> io::Result<(Self, Written<T>)> {
        let (sender, news) = sync_channel(WAITING);
        let compression = Arc::<OnceLock<Compression>>::default();
        if let Some(trail) = &trail {
            trail.hand_on();
        }
        let known = Arc::clone(&compression);
        let work = move || {
            let trail = HandingOn(trail);
            let Ok(first) = news.recv() else { return Ok(None) };
            let mut choosing = begin(known.get().copied().unwrap_or(Compression::None))?;
            match listen(first, &news, &trail, &mut choosing)? {
                true => finish(choosing).map(Some),
                false => Ok(None),
            }
        };
        let thread = thread::Builder::new().name("table".to_owned()).spawn(work)?;
        let batch = Mutex::new(Batch { sender: Some(sender), news: Vec::new(), bytes: 0 });
        Ok((Filling { told: Arc::new(Told { compression, batch, is_over: AtomicBool::new(false) }) }, thread))
    }

    /// Who is to be told of places in the layer.
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.told) as Arc<dyn Observer>
    }

    /// Takes note of the next entry.
    pub fn entry(&self, entry: &Entry) {
        self.content(entry);
        self.entry_with(entry, None);
    }

    /// Takes note that the content of `entry` is about to be read, which is told by [`entry_with`](Self::entry_with) afterwards.
    pub fn content(&self, entry: &Entry) {
        if let Some(content) = Content::of(entry) {
            self.told.tell(News::Content(content), size_of::<News>());
        }
    }

    /// Takes note of an entry, and what the SHA-256 of its content is.
    pub fn entry_with(&self, entry: &Entry, digest: Option<Digest>) {
        if !self.told.is_over() {
            self.told.tell(News::Entry(Box::new(entry.clone()), digest), weight(entry));
        }
    }

    /// Ends the table: the layer was read to its end, and had its digest.
    pub fn end(self) {
        self.told.tell(News::End, BATCH_BYTES);
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.told.close();
    }
}

impl Told {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn tell(&self, news: News, bytes: usize) {
        if self.is_over() {
            return;
        }
        let mut batch = self.batch();
        batch.bytes += bytes;
        batch.news.push(news);
        if batch.bytes < BATCH_BYTES && batch.news.len() < BATCH {
            return;
        }
        batch.bytes = 0;
        let news = std::mem::take(&mut batch.news);
        // Whoever else has something to tell waits here, too.
        if batch.sender.as_ref().is_none_or(|sender| sender.send(news).is_err()) {
            self.is_over.store(true, Ordering::Relaxed);
        }
    }

    fn close(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut batch = self.batch();
        (batch.sender, batch.news) = (None, Vec::new());
    }

    fn batch(&self) -> MutexGuard<'_, Batch> {
        // What a panicking thread leaves here is at worst news that is missing, and then the reading fails.
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Told {
    fn begin(&self, compression: Compression) {
        let _ = self.compression.set(compression);
    }

    fn restart(&self, restart: &Restart) -> Wanted {
        if self.is_over() {
            return Wanted { distance: u64::MAX, stored: 0 };
        }
        let (window, distance) = match &*restart.checkpoint {
            Checkpoint::DeflateBlock { window, .. } => (window.len(), WITH_WINDOW),
            Checkpoint::Plain | Checkpoint::ZstdFrame => (0, WITHOUT_WINDOW),
        };
        self.tell(News::Restart(restart.clone()), size_of::<News>() + window);
        Wanted { distance, stored: if window == 0 { 0 } else { AHEAD as u64 } }
    }

    fn stored(&self, from: u64, bytes: &[u8]) {
        if !self.is_over() {
            self.tell(News::Stored(from, bytes.to_vec()), size_of::<News>() + bytes.len());
        }
    }

    fn reached(&self, uncompressed: u64, compressed: u64) {
        self.tell(News::Reached(uncompressed, compressed), size_of::<News>());
    }
}

/// A trail that hands on what it has as long as this is there: nobody takes it afterwards.
struct HandingOn(Option<Arc<Trail>>);

impl Drop for HandingOn {
    fn drop(&mut self) {
        self.0.iter().for_each(|trail| trail.hand_on_no_more());
    }
}

/// Takes in what is told, and says whether the layer ended, too.
fn listen<S: Sink>(
    first: Vec<News>,
    receiver: &Receiver<Vec<News>>,
    trail: &HandingOn,
    choosing: &mut Choosing<S>,
) -> Result<bool, NotWritten> {
    for batch in std::iter::once(first).chain(receiver) {
        for (position, hasher) in trail.0.as_ref().map(|trail| trail.handed_on()).unwrap_or_default() {
            choosing.hashed(position, &hasher);
        }
        for news in batch {
            match news {
                News::Restart(restart) => choosing.restart(restart),
                News::Reached(uncompressed, compressed) => choosing.reached(uncompressed, compressed)?,
                News::Stored(from, bytes) => choosing.stored(from, &bytes)?,
                News::Content(content) => choosing.content(content)?,
                News::Entry(entry, digest) => choosing.entry(&entry, digest)?,
                News::End => return Ok(true),
            }
        }
    }
    Ok(false)
}

/// About how many bytes `entry` takes.
fn weight(entry: &Entry) -> usize {
    let target = match &entry.kind {
        Kind::Symlink(target) | Kind::HardLink(target) => target.len(),
        _ => 0,
    };
    let xattrs: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
    size_of::<Entry>() + entry.path.len() + target + xattrs
}

#[cfg(test)]
mod tests;
