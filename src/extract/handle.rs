//! What lies in staging directories has numbers for names, and is reached by handles: never by a path that somebody could bend.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, openat};

/// Numbers staged files, and everything else in staging directories. Unique in the process, so that content of one
/// directory is never taken for another's.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Opens the directory `name` in `parent`, never through a symbolic link.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// A name that nothing in any staging directory has.
pub(super) fn fresh_name() -> String {
    name_of(fresh_id())
}

pub(super) fn fresh_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn name_of(id: u64) -> String {
    id.to_string()
}
