//! Folders for one build, gone when the program ends: by itself, or because it was told to stop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::extract;

/// Those that are there now.
static LIVE: Mutex<Live> = Mutex::new(Live { folders: Vec::new(), is_closed: false });

struct Live {
    folders: Vec<PathBuf>,
    /// Whether the program is about to end.
    is_closed: bool,
}

/// A folder of mode 0700 in the system's place for temporary files. It is removed, with all that is in it, when this is dropped, and
/// by [`discard_all`].
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// A new one.
    ///
    /// # Errors
    ///
    /// It cannot be made, or the program is about to end.
    pub fn new() -> io::Result<Self> {
        let mut live = lock();
        if live.is_closed {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let folder = tempfile::Builder::new().prefix("docker-artifact-build-").tempdir()?;
        // BuildKit's client wants absolute paths.
        let path = folder.path().canonicalize()?;
        live.folders.push(path.clone());
        // By itself it would stumble over folders that nobody may write into.
        drop(folder.keep());
        Ok(Temporary { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut live = lock();
        if let Some(at) = live.folders.iter().position(|folder| *folder == self.path) {
            remove(&live.folders.swap_remove(at));
        }
    }
}

/// Removes all that are there, and lets no new ones be made: for the moment before the process ends because it was told to stop.
pub fn discard_all() {
    let mut live = lock();
    live.is_closed = true;
    live.folders.drain(..).for_each(|folder| remove(&folder));
}

/// There is nobody to tell of a failure, and nothing to do about it.
fn remove(folder: &Path) {
    let _ = extract::remove(folder);
}

fn lock() -> MutexGuard<'static, Live> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}
