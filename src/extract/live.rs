//! The staging directories there are right now, so that whoever stops the process can remove them first.
//!
//! A directory leaves the list before it is removed, and whatever moves out of it is moved while it is on the list and the
//! list is locked: so nothing half removed can reach a final name. The list stays locked until it is removed, so that who finds it
//! empty, and ends the process, leaves nothing behind.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Dir, Mode, chmodat, renameat, unlinkat};
use rustix::io::Errno;

use super::handle::{fresh_name, open_directory};

/// How often removing is tried again to no effect, as another thread may hold the descriptor that it takes.
const ATTEMPTS: usize = 16;

static LIVE: Mutex<Vec<Live>> = Mutex::new(Vec::new());

/// A staging directory, with all that it takes to remove it: also where no further file can be opened.
#[derive(Debug)]
pub(super) struct Live {
    path: PathBuf,
    /// Where it is, and its name there.
    parent: Arc<OwnedFd>,
    name: String,
    directory: Arc<OwnedFd>,
    /// To list it.
    entries: Dir,
    /// A place for one more descriptor.
    spare: OwnedFd,
    /// The directories that were created to hold it, outermost first.
    created: Vec<PathBuf>,
}

/// Removes every staging directory there is, and the destination directories created for them if they are empty: for the
/// moment before the process ends because it was told to stop. Files that have their final name stay; work still going on
/// in other threads fails with [`ExtractError::Interrupted`](super::ExtractError::Interrupted) or a write error. May be
/// called at any time, from any thread, any number of times.
pub fn discard_all() {
    lock().drain(..).for_each(Live::remove);
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
    if let Some(index) = list.iter().position(|live| live.path == path) {
        list.swap_remove(index).remove();
    }
}

fn lock() -> MutexGuard<'static, Vec<Live>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// The directory `name` in `parent`, which are found at `path` and opened already.
    pub(super) fn new(
        path: PathBuf,
        (parent, directory): (&Arc<OwnedFd>, OwnedFd),
        name: String,
        created: Vec<PathBuf>,
    ) -> io::Result<Self> {
        let entries = Dir::read_from(&directory)?;
        let spare = directory.try_clone()?;
        let (parent, directory) = (Arc::clone(parent), Arc::new(directory));
        Ok(Live { path, parent, name, directory, entries, spare, created })
    }

    /// The directory that holds it, and itself.
    pub(super) fn handles(&self) -> (Arc<OwnedFd>, Arc<OwnedFd>) {
        (Arc::clone(&self.parent), Arc::clone(&self.directory))
    }

    /// There is nobody to tell of a failure, and nothing to do about it.
    pub(super) fn remove(self) {
        let Live { parent, name, directory, mut entries, spare, created, .. } = self;
        drop(spare);
        let mut idle = 0;
        while let Err(Errno::NOTEMPTY | Errno::EXIST) = unlinkat(&parent, &name, AtFlags::REMOVEDIR) {
            if empty(&mut entries, directory.as_fd()) {
                idle = 0;
            } else if idle < ATTEMPTS {
                idle += 1;
                std::thread::yield_now();
            } else {
                break;
            }
        }
        // Those that hold results meanwhile are not empty and stay.
        for path in created.iter().rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Removes what the directory `top` holds, of which `entries` are the entries. Directories in a directory in it move up into it
/// instead, to be seen the next time: so it takes one further descriptor, however deep the tree is. Gives whether it did
/// anything. Everything in here is our own, in a directory of mode 0700.
fn empty(entries: &mut Dir, top: BorrowedFd<'_>) -> bool {
    let mut changed = false;
    entries.rewind();
    while let Some(Ok(entry)) = entries.read() {
        let name = entry.file_name();
        changed |= remove_or(top, name, || empty_upwards(top, name));
    }
    changed
}

/// Removes the directory `name` in `top`, after what it holds. Gives whether it did anything.
fn empty_upwards(top: BorrowedFd<'_>, name: &CStr) -> bool {
    let Ok(mut entries) = open_directory(top, name).and_then(Dir::new) else { return false };
    let mut changed = false;
    while let Some(Ok(entry)) = entries.read() {
        let (inner, Ok(directory)) = (entry.file_name(), entries.fd()) else { break };
        changed |= remove_or(directory, inner, || renameat(directory, inner, top, fresh_name()).is_ok());
    }
    unlinkat(top, name, AtFlags::REMOVEDIR).is_ok() || changed
}

/// Removes `name` from `directory` and gives whether that went well, or does `otherwise` where it is a directory, to which everything is allowed then: whoever is
/// not root can neither empty nor move one of mode 0555.
fn remove_or(directory: BorrowedFd<'_>, name: &CStr, otherwise: impl FnOnce() -> bool) -> bool {
    if matches!(name.to_bytes(), b"." | b"..") {
        return false;
    }
    match unlinkat(directory, name, AtFlags::empty()) {
        // The latter is what POSIX has for a directory.
        Err(Errno::ISDIR | Errno::PERM) => {
            let _ = chmodat(directory, name, Mode::RWXU, AtFlags::empty());
            otherwise()
        }
        removed => removed.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{OFlags, mkdirat, openat};

    use super::super::descent::Descent;
    use super::super::sample::*;
    use super::*;

    /// Fills `directory` with a tree of this depth, in which every directory has two files and none may be written into.
    fn plant(directory: BorrowedFd<'_>, depth: usize) {
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let mut way = Descent::new(directory);
        for level in 0..depth {
            mkdirat(way.here(), "d", Mode::RWXU).unwrap();
            way.enter("d").unwrap();
            for name in ["a", "z"] {
                drop(openat(way.here(), format!("{name}{level}"), flags, Mode::empty()).unwrap());
            }
        }
        while let Some(left) = way.leave().unwrap() {
            rustix::fs::fchmod(left, Mode::RUSR | Mode::XUSR).unwrap();
        }
    }

    #[test]
    fn a_deep_tree_is_removed_whatever_its_modes() {
        let scratch = scratch();
        let remove = || {
            let staging = staging_for(scratch.path());
            plant(staging.directory(), 1500);
            drop(staging);
            assert!(names(scratch.path()).is_empty());
        };
        remove();
        #[cfg(target_os = "linux")]
        as_nobody(remove);
    }

    #[test]
    fn whoever_sees_that_a_staging_directory_is_no_longer_listed_finds_it_removed() {
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        plant(staging.directory(), 1500);
        let hidden = scratch.path().join(&names(scratch.path())[0]);
        let dropping = std::thread::spawn(move || drop(staging));
        while while_live(&hidden, || ()).is_some() {
            std::thread::yield_now();
        }
        assert!(names(scratch.path()).is_empty());
        dropping.join().unwrap();
    }

    #[test]
    fn what_links_in_the_staging_directory_lead_to_is_left_alone() {
        let (scratch, outside) = (scratch(), scratch());
        fs::write(outside.path().join("precious"), "").unwrap();
        let staging = staging_for(scratch.path());
        rustix::fs::symlinkat(outside.path(), staging.directory(), "link").unwrap();
        mkdirat(staging.directory(), "d", Mode::RWXU).unwrap();
        rustix::fs::symlinkat(outside.path(), staging.directory(), "d/link").unwrap();
        drop(staging);
        assert!(names(scratch.path()).is_empty());
        assert_eq!(names(outside.path()), ["precious"]);
    }
}
