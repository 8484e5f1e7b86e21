//! Going down into a tree of directories and up again, with few descriptors: a tree may be deeper than the number of files
//! that a process may have open (`ulimit -n`, 256 on some systems).
//!
//! Each step down opens one name, never through a symbolic link. Directories far above are closed, and opened again by `..` on
//! the way back; what comes then must be the directory that was left, whatever was moved meanwhile.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Stat, fstat};
use rustix::io::Errno;
use rustix::path::Arg;

use super::handle::open_directory;

/// How many of the innermost directories are kept open: nearly every tree is less deep.
const OPEN: usize = 16;

/// A directory, and the way to it.
pub(super) struct Descent<'a> {
    start: BorrowedFd<'a>,
    levels: Vec<Level>,
}

enum Level {
    Open(OwnedFd),
    /// Device and inode number tell it again.
    Closed(Stat),
}

impl<'a> Descent<'a> {
    /// Starts in a directory that is open already, and stays so.
    pub(super) fn new(start: BorrowedFd<'a>) -> Self {
        Descent { start, levels: Vec::new() }
    }

    /// The directory that it is in.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        match self.levels.last() {
            Some(Level::Open(handle)) => handle.as_fd(),
            // The innermost one is never closed.
            Some(Level::Closed(_)) | None => self.start,
        }
    }

    /// Goes down into the directory `name`.
    pub(super) fn enter(&mut self, name: impl Arg) -> rustix::io::Result<()> {
        let inner = open_directory(self.here(), name)?;
        self.levels.push(Level::Open(inner));
        if let Some(far) = self.levels.len().checked_sub(OPEN + 1)
            && let Level::Open(handle) = &self.levels[far]
        {
            self.levels[far] = Level::Closed(fstat(handle)?);
        }
        Ok(())
    }

    /// Goes up again, and gives the handle of the directory left. Fails with [`Errno::STALE`] where `..` is another directory
    /// by now.
    pub(super) fn leave(&mut self) -> rustix::io::Result<Option<OwnedFd>> {
        let Some(Level::Open(left)) = self.levels.pop() else { return Ok(None) };
        if let Some(level) = self.levels.last_mut()
            && let Level::Closed(known) = level
        {
            let outer = open_directory(left.as_fd(), "..")?;
            let found = fstat(&outer)?;
            if (found.st_dev, found.st_ino) != (known.st_dev, known.st_ino) {
                return Err(Errno::STALE);
            }
            *level = Level::Open(outer);
        }
        Ok(Some(left))
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, mkdirat};

    use super::super::sample::scratch;
    use super::*;

    /// Goes down through `levels` new directories.
    fn down(way: &mut Descent<'_>, levels: usize) {
        for _ in 0..levels {
            mkdirat(way.here(), "d", Mode::RWXU).unwrap();
            way.enter("d").unwrap();
        }
    }

    fn open(way: &Descent<'_>) -> usize {
        way.levels.iter().filter(|level| matches!(level, Level::Open(_))).count()
    }

    #[test]
    fn a_way_down_and_up_again_holds_few_descriptors() {
        let scratch = scratch();
        let start = open_directory(CWD, scratch.path()).unwrap();
        let mut way = Descent::new(start.as_fd());
        down(&mut way, 600);
        assert_eq!((way.levels.len(), open(&way)), (600, OPEN));
        for level in (0..600).rev() {
            assert!(way.leave().unwrap().is_some());
            assert!(way.levels.len() == level && open(&way) <= OPEN);
            mkdirat(way.here(), "beside", Mode::RWXU).unwrap();
        }
        assert!(way.leave().unwrap().is_none(), "it never leads above its start");
        assert!(scratch.path().join("beside").is_dir() && scratch.path().join("d/d/d/beside").is_dir());
    }

    #[test]
    fn a_directory_that_was_moved_meanwhile_does_not_lead_elsewhere() {
        let scratch = scratch();
        let start = open_directory(CWD, scratch.path()).unwrap();
        let mut way = Descent::new(start.as_fd());
        down(&mut way, OPEN + 3);
        std::fs::rename(scratch.path().join("d/d/d/d"), scratch.path().join("d/moved")).unwrap();
        for _ in 0..OPEN - 1 {
            way.leave().unwrap();
        }
        assert_eq!(way.leave().unwrap_err(), Errno::STALE);
    }

    #[test]
    fn no_step_is_through_a_symbolic_link() {
        let scratch = scratch();
        std::os::unix::fs::symlink(".", scratch.path().join("link")).unwrap();
        let start = open_directory(CWD, scratch.path()).unwrap();
        Descent::new(start.as_fd()).enter("link").unwrap_err();
    }
}
