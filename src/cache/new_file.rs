//! Files that appear whole: written under another name in the same folder, and renamed when they are. One that is given up is
//! removed, also where the program is told to stop; what a killed program left is removed by the next pruning.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempPath;

/// The beginning of the name of a file that is being written.
pub(super) const UNFINISHED: &str = ".new-";

/// Those that are being written now.
static LIVE: Mutex<Live> = Mutex::new(Live { files: Vec::new(), is_closed: false });

struct Live {
    files: Vec<PathBuf>,
    /// Whether the program is about to end.
    is_closed: bool,
}

/// A file that is being written; it is removed when this is dropped.
#[derive(Debug)]
pub(super) struct NewFile {
    /// `None` once it has its name.
    path: Option<TempPath>,
}

impl NewFile {
    /// A new one in `folder`, of mode 0600, with its file open for reading and writing.
    pub(super) fn create(folder: &Path) -> io::Result<(Self, File)> {
        let mut live = lock();
        if live.is_closed {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let (file, path) = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?.into_parts();
        live.files.push(path.to_path_buf());
        Ok((NewFile { path: Some(path) }, file))
    }

    /// Gives it the name `path`, in the place of what has it.
    pub(super) fn persist(mut self, path: &Path) -> io::Result<()> {
        let Some(unfinished) = self.path.take() else { return Ok(()) };
        let mut live = lock();
        live.files.retain(|file| *file != *unfinished);
        if live.is_closed {
            return Err(io::ErrorKind::Interrupted.into());
        }
        unfinished.persist(path).map_err(|failed| failed.error)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            lock().files.retain(|file| *file != *path);
        }
    }
}

/// Removes what is being written, and lets nothing new be: for the moment before the process ends because it was told to stop.
pub fn discard_all() {
    let mut live = lock();
    live.is_closed = true;
    for file in live.files.drain(..) {
        // There is nobody to tell, and the next pruning removes it.
        let _ = std::fs::remove_file(file);
    }
}

fn lock() -> MutexGuard<'static, Live> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}
