//! The staging directories there are right now, so that whoever stops the process can remove them first.
//!
//! A directory leaves the list before it is removed, and whatever moves out of it is moved while it is on the list and the
//! list is locked: so nothing half removed can reach a final name.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, chmodat, open, openat};

/// How often removing is tried again when another thread still writes into the directory.
const ATTEMPTS: usize = 16;

static LIVE: Mutex<Vec<Live>> = Mutex::new(Vec::new());

/// A staging directory, with the directories that were created to hold it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) path: PathBuf,
    /// Outermost first.
    pub(super) created: Vec<PathBuf>,
}

/// Removes every staging directory there is, and the destination directories created for them if they are empty: for the
/// moment before the process ends because it was told to stop. Files that have their final name stay; work still going on
/// in other threads fails with [`ExtractError::Interrupted`](super::ExtractError::Interrupted) or a write error. May be
/// called at any time, from any thread, any number of times.
pub fn discard_all() {
    let all = std::mem::take(&mut *lock());
    for live in all {
        live.remove();
    }
}

/// Lists the directory that `create` makes, beside whatever else it gives. No interruption falls between the two.
pub(super) fn register<T, E>(create: impl FnOnce() -> Result<(Live, T), E>) -> Result<(PathBuf, T), E> {
    let mut list = lock();
    let (live, made) = create()?;
    let path = live.path.clone();
    list.push(live);
    Ok((path, made))
}

/// Runs `work` if the staging directory at `path` was not discarded, and keeps it from being so meanwhile.
pub(super) fn while_live<T>(path: &Path, work: impl FnOnce() -> T) -> Option<T> {
    let list = lock();
    list.iter().any(|live| live.path == path).then(work)
}

/// Removes the staging directory at `path` unless that was done already.
pub(super) fn discard(path: &Path) {
    let mut list = lock();
    let found = list.iter().position(|live| live.path == path).map(|index| list.swap_remove(index));
    drop(list);
    if let Some(live) = found {
        live.remove();
    }
}

fn lock() -> MutexGuard<'static, Vec<Live>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// There is nobody to tell of a failure, and nothing to do about it.
    fn remove(self) {
        for _ in 0..ATTEMPTS {
            match fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let _ = open(&self.path, flags, Mode::empty()).map(|directory| open_up(directory.as_fd()));
                }
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                _ => break,
            }
        }
        // Those that hold results meanwhile are not empty and stay.
        for path in self.created.iter().rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Makes every directory below removable: whoever is not root cannot empty one of mode 0555. Everything in here is our own,
/// in a directory of mode 0700.
fn open_up(directory: BorrowedFd<'_>) {
    let Ok(entries) = Dir::read_from(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let _ = chmodat(directory, name, Mode::RWXU, AtFlags::empty());
        let _ = openat(directory, name, flags, Mode::empty()).map(|child| open_up(child.as_fd()));
    }
}
