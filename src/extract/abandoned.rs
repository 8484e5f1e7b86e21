//! Staging directories whose process is dead, as it was killed or the power went: the next run in the same place removes them.
//!
//! Whoever has a staging directory holds a lock on it (flock(2)), which ends with the process, whatever ends it. A directory that can be
//! locked is nobody's. Where a file system has no such locks, nothing is removed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, Stat, flock, fstat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::handle::open_directory;
use super::live::Live;

/// What the names of staging directories begin with; six hexadecimal digits follow.
pub(super) const PREFIX: &str = ".docker-artifact-";

/// So many entries of a directory are looked at: in a larger one it would take longer than it is worth.
const MAX_ENTRIES: usize = 10_000;

/// Takes the lock on the staging directory `name` in `target`, which was made by the caller and opened as `directory`. Says whether it is
/// the caller's now: somebody who took it for an abandoned one may have been faster.
pub(super) fn hold(target: BorrowedFd<'_>, name: &str, directory: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    // Where there are no locks, nobody removes it either.
    if let Err(Errno::WOULDBLOCK) = flock(directory, FlockOperation::NonBlockingLockExclusive) {
        return Ok(false);
    }
    is_still_there(target, name, directory)
}

fn is_still_there(target: BorrowedFd<'_>, name: &str, directory: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let opened = fstat(directory)?;
    match statat(target, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the staging directories in `target`, which is found at `path`, that nobody holds. Whatever cannot be removed stays, without
/// a word: it is in nobody's way.
pub(super) fn remove(target: &Arc<OwnedFd>, path: &Path) {
    let Ok(entries) = Dir::read_from(target) else { return };
    let names = entries.take(MAX_ENTRIES).map_while(Result::ok);
    let names: Vec<String> = names
        .filter_map(|entry| entry.file_name().to_str().ok().filter(|name| is_name(name)).map(str::to_owned))
        .collect();
    for name in names {
        if let Some(abandoned) = lock(target.as_fd(), &name)
            && let Ok(live) = Live::new(path.join(&name), (target, abandoned), name, Vec::new())
        {
            live.remove();
        }
    }
}

fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Opens and locks the staging directory `name`, if it is one of this user's that nobody holds.
fn lock(target: BorrowedFd<'_>, name: &str) -> Option<OwnedFd> {
    let directory = open_directory(target, name).ok()?;
    let is_ours = fstat(&directory).is_ok_and(|stat| is_ours(&stat));
    let is_locked = is_ours && flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
    (is_locked && is_still_there(target, name, directory.as_fd()).ok()?).then_some(directory)
}

fn is_ours(stat: &Stat) -> bool {
    let mode = stat.st_mode;
    FileType::from_raw_mode(mode) == FileType::Directory
        && Mode::from_raw_mode(mode) == Mode::RWXU
        && stat.st_uid == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::sample::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_nothing_else_is() {
        let (scratch, outside) = (scratch(), scratch());
        let make = |name: &str, mode: u32| {
            let directory = scratch.path().join(name);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("0"), "left").unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        };
        make(".docker-artifact-00000a", 0o700);
        make(".docker-artifact-ffffff", 0o700);
        let stay = [
            ".docker-artifact-012345",
            ".docker-artifact-0123456",
            ".docker-artifact-secret",
            "docker-artifact-000001",
        ];
        make(stay[0], 0o755);
        stay[1..].iter().for_each(|name| make(name, 0o700));
        fs::write(outside.path().join("precious"), "").unwrap();
        symlink(outside.path(), scratch.path().join(".docker-artifact-00000b")).unwrap();
        fs::write(scratch.path().join(".docker-artifact-00000c"), "a file").unwrap();
        let living = staging_for(scratch.path());
        let own = names(scratch.path());
        drop(staging_for(scratch.path()));
        assert_eq!(names(scratch.path()), own, "the one that is in use is there, too");
        drop(living);
        let mut expected: Vec<&str> =
            [".docker-artifact-00000b", ".docker-artifact-00000c"].into_iter().chain(stay).collect();
        expected.sort_unstable();
        assert_eq!(names(scratch.path()), expected);
        assert_eq!(names(outside.path()), ["precious"]);
    }
}
