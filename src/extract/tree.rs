//! Builds items inside the staging directory, complete with content and metadata, from where one rename takes each to its
//! place. Whatever can be refused is refused by [`survey`], before anything is written.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fsync, linkat, mkdirat, openat, renameat, statat, symlinkat};
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;

use super::attributes::{Stamp, apply, apply_to_link};
use super::descent::Descent;
use super::error::{ExtractError, Shown};
use super::options::PublishOptions;
use super::staging::Staged;
use super::warnings::Warnings;
use super::{Item, MAX_DEPTH, Metadata, Node};

/// How many items hold each staged file, by its ID.
pub(super) type Uses = HashMap<u64, usize>;

/// Checks every name, link and depth. The names should be right already; that they are is what keeps everything inside the
/// destination, so it is checked here again.
pub(super) fn survey(items: &[(Vec<u8>, Item)]) -> Result<Uses, ExtractError> {
    let mut uses = Uses::new();
    let mut seen = HashSet::new();
    for (top, item) in items {
        if !seen.insert(top.as_slice()) {
            return Err(ExtractError::SameName { path: path_of(top) });
        }
        // No recursion, as the depth is not known to be harmless yet.
        let mut waiting = vec![(top.as_slice(), item, 1)];
        while let Some((name, item, depth)) = waiting.pop() {
            if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
                return Err(ExtractError::UnsafeName { name: name.to_owned() });
            }
            match &item.node {
                Node::Directory(_) if depth > MAX_DEPTH => return Err(ExtractError::TooDeep { path: path_of(top) }),
                Node::Directory(children) => {
                    waiting.extend(children.iter().map(|(name, child)| (name.as_slice(), child, depth + 1)));
                }
                Node::Symlink(target) if target.is_empty() || target.contains(&0) => {
                    return Err(ExtractError::UnsafeLink { path: path_of(name) });
                }
                Node::File(staged) => *uses.entry(staged.id).or_default() += 1,
                Node::Symlink(_) | Node::Special => {}
            }
        }
    }
    Ok(uses)
}

/// Builds items in fresh directories, where nothing is in the way.
pub(super) struct Builder {
    pub(super) options: PublishOptions,
    /// Whether what is written is flushed to the disk.
    pub(super) flushes: bool,
    /// What is not yet placed, of what [`survey`] counted.
    pub(super) uses: Uses,
    /// The files that have their metadata.
    pub(super) settled: HashSet<u64>,
    pub(super) warnings: Warnings,
}

impl Builder {
    /// Builds `item` as `name` in `directory`, with directories that are to be renamed as a whole once more given
    /// `extra_mode`. `path` is where it will be, for messages. Gives whether there was anything to build.
    pub(super) fn build(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        item: &Item,
        path: &Path,
        extra_mode: u32,
    ) -> Result<bool, ExtractError> {
        self.build_in(&mut Descent::new(directory), name, item, path, extra_mode)
    }

    /// The same in the directory that `way` has come to, and leaves it there.
    fn build_in(
        &mut self,
        way: &mut Descent<'_>,
        name: &[u8],
        item: &Item,
        path: &Path,
        extra_mode: u32,
    ) -> Result<bool, ExtractError> {
        let failed = |error: Errno| match error {
            // The directory is new, so it is another name of the image that this file system takes for the same.
            Errno::EXIST => ExtractError::SameName { path: path.to_owned() },
            error => ExtractError::write(path, error),
        };
        match &item.node {
            Node::File(staged) => self.place(staged, &item.metadata, way.here(), name, path)?,
            Node::Symlink(target) => {
                symlinkat(target.as_slice(), way.here(), name).map_err(failed)?;
                apply_to_link(way.here(), name, &item.metadata, self.options.preserve, path, &mut self.warnings)?;
            }
            Node::Directory(children) => {
                mkdirat(way.here(), name, Mode::RWXU).map_err(failed)?;
                way.enter(name).map_err(failed)?;
                for (name, child) in children {
                    self.build_in(way, name, child, &path.join(path_of(name)), 0)?;
                }
                // Only now: the mode may forbid to write into it, and writing into it changes its time.
                if let Some(made) = way.leave().map_err(failed)? {
                    let mode = self.options.mode(&item.metadata) | extra_mode;
                    apply(made.as_fd(), &item.metadata, mode, self.options.preserve, path, &mut self.warnings)?;
                    self.flush(made.as_fd(), path)?;
                }
            }
            Node::Special => {
                self.skip(path);
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn skip(&mut self, path: &Path) {
        self.warnings.add(|| format!("skipped {}: device nodes, pipes and sockets are never created", Shown(path)));
    }

    /// Flushes a file or directory to the disk, where that is done.
    pub(super) fn flush(&self, file: BorrowedFd<'_>, path: &Path) -> Result<(), ExtractError> {
        match if self.flushes { fsync(file) } else { Ok(()) } {
            // Some network file systems cannot flush directories.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(error) => Err(ExtractError::write(path, error)),
        }
    }

    /// Moves staged content to its name, or links it there while other items need it too.
    fn place(
        &mut self,
        staged: &Staged,
        metadata: &Metadata,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &Path,
    ) -> Result<(), ExtractError> {
        let stamp = Stamp { mode: self.options.mode(metadata), mtime: metadata.mtime };
        let is_done = staged.stamp == Some(stamp) && !self.options.preserve && !self.flushes;
        if self.settled.insert(staged.id) && !is_done {
            let file = staged.open().map_err(|error| read_back(path, error))?;
            self.settle(&file, metadata, path)?;
        }
        let left = self.uses.entry(staged.id).or_insert(1);
        *left = left.saturating_sub(1);
        let last = *left == 0;
        let failed = |error: Errno| match error {
            Errno::EXIST => ExtractError::SameName { path: path.to_owned() },
            error => ExtractError::write(path, error),
        };
        if last {
            return move_to_new((staged.directory(), &staged.name()), (directory, name)).map_err(failed);
        }
        match linkat(staged.directory(), staged.name(), directory, name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK) => {
                self.warnings.add(|| format!("{}: written as a copy instead of a hard link", Shown(path)));
                self.copy(staged, metadata, directory, name, path)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// What is left to do where there are no hard links (FAT, some network file systems), or no more of them.
    fn copy(
        &mut self,
        staged: &Staged,
        metadata: &Metadata,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &Path,
    ) -> Result<(), ExtractError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| ExtractError::write(path, error))?;
        let mut file = File::from(file);
        staged.copy_to(&mut file).map_err(|error| ExtractError::write(path, error))?;
        self.settle(&file, metadata, path)
    }

    fn settle(&mut self, file: &File, metadata: &Metadata, path: &Path) -> Result<(), ExtractError> {
        let mode = self.options.mode(metadata);
        apply(file.as_fd(), metadata, mode, self.options.preserve, path, &mut self.warnings)?;
        self.flush(file.as_fd(), path)
    }
}

/// Renames a file, to a name that nothing has: [`Errno::EXIST`] where something does.
fn move_to_new(from: (BorrowedFd<'_>, &str), to: (BorrowedFd<'_>, &[u8])) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    match renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
        // Not every file system, and no old kernel, can do it in one step.
        Err(Errno::INVAL | Errno::NOSYS) => {}
        moved => return moved,
    }
    match kind_at(to.0, to.1)? {
        Some(_) => Err(Errno::EXIST),
        None => renameat(from.0, from.1, to.0, to.1),
    }
}

/// What is at `name` in `directory`, if anything; a symbolic link is one.
pub(super) fn kind_at(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<FileType>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A raw name as a path.
pub(super) fn path_of(name: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(name))
}

pub(super) fn read_back(path: &Path, error: impl Into<io::Error>) -> ExtractError {
    ExtractError::ReadBack { path: path.to_owned(), error: error.into() }
}
