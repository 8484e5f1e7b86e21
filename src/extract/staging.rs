//! Content that has come but is not yet known to be right: files without a name of their own, in a hidden directory on the
//! destination's file system, from where one rename takes them to their final name.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

use super::destination::Destination;
use super::error::{ExtractError, StageError};
use super::live::{self, Live};
use super::{BUFFER, live::while_live};
use crate::image::digest::{Digest, Hasher};

/// The granularity of holes: no file system in use has smaller blocks that it could leave out with profit.
const HOLE: usize = 4096;
static ZEROS: [u8; HOLE] = [0; HOLE];

/// Numbers staged files, and everything else in staging directories. Unique in the process, so that content of one
/// directory is never taken for another's.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A hidden directory (`.docker-artifact-XXXXXX`, mode 0700) for new content, on the destination's file system, or in
/// `TMPDIR` for standard output. It is removed when this is dropped, and by [`discard_all`](super::discard_all).
#[derive(Debug)]
pub struct Staging {
    destination: Destination,
    /// The directory that results go into. What its name leads to later does not matter.
    target: OwnedFd,
    /// Where `target` was found, for messages.
    target_path: PathBuf,
    directory: Arc<OwnedFd>,
    path: PathBuf,
}

/// The content of one file, complete but without a final name. Gone with the [`Staging`] that it came from.
#[derive(Debug)]
pub struct Staged {
    /// The file's length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    pub(super) id: u64,
    directory: Arc<OwnedFd>,
}

impl Staging {
    /// Makes the staging directory for results that go to `destination`, and the destination directory itself if there is
    /// none (which goes away again if nothing is written into it).
    ///
    /// # Errors
    ///
    /// When the destination cannot be written to.
    pub fn new(destination: &Destination) -> Result<Self, ExtractError> {
        let target_path = destination.directory();
        let path = live::register(|| {
            let created = create_missing(&target_path)?;
            let made = tempfile::Builder::new()
                .prefix(".docker-artifact-")
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir_in(&target_path);
            match made {
                Ok(directory) => Ok(Live { path: directory.keep(), created }),
                Err(error) => {
                    created.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
                    // Its path is one that does not exist and means nothing to a person.
                    let error = error.raw_os_error().map_or(error, io::Error::from_raw_os_error);
                    Err(ExtractError::write(&target_path, error))
                }
            }
        })?;
        let opened =
            rustix::fs::open(&target_path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .and_then(|target| {
                    let name = path.file_name().unwrap_or_default();
                    let directory = open_directory(target.as_fd(), name)?;
                    Ok((target, directory))
                });
        match opened {
            Ok((target, directory)) => {
                Ok(Self { destination: destination.clone(), target, target_path, directory: Arc::new(directory), path })
            }
            Err(error) => {
                live::discard(&path);
                Err(ExtractError::write(target_path, error))
            }
        }
    }

    /// Streams exactly `size` bytes from `reader` into a new staged file; what else the reader has is left in it. With
    /// `sparse`, runs of zeros become holes. Several threads may stage at the same time. The SHA-256 is computed on the
    /// way, in the calling thread.
    ///
    /// # Errors
    ///
    /// [`StageError::Read`] with the reader's own error, or [`io::ErrorKind::UnexpectedEof`] when it ends early;
    /// [`StageError::Write`] when the bytes cannot be written. Nothing of the file is left then.
    pub fn stage(&self, reader: &mut dyn Read, size: u64, sparse: bool) -> Result<Arc<Staged>, StageError> {
        let id = fresh_id();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, name_of(id), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| StageError::Write(self.failure(error)))?;
        match self.fill(&File::from(file), reader, size, sparse) {
            Ok(digest) => Ok(Arc::new(Staged { size, digest, id, directory: Arc::clone(&self.directory) })),
            Err(error) => {
                let _ = unlinkat(&self.directory, name_of(id), AtFlags::empty());
                Err(error)
            }
        }
    }

    fn fill(&self, file: &File, reader: &mut dyn Read, size: u64, sparse: bool) -> Result<Digest, StageError> {
        let failed = |error| StageError::Write(self.failure(error));
        let mut buffer = vec![0; usize::try_from(size).unwrap_or(BUFFER).min(BUFFER)];
        let mut hasher = Hasher::default();
        let mut offset = 0;
        while offset < size {
            let length = usize::try_from(size - offset).unwrap_or(BUFFER).min(BUFFER);
            let block = &mut buffer[..length];
            let read = read_fully(reader, block).map_err(StageError::Read)?;
            if read < length {
                let message = format!("the content ends after {} of {size} bytes", offset + read as u64);
                return Err(StageError::Read(io::Error::new(io::ErrorKind::UnexpectedEof, message)));
            }
            hasher.update(block);
            let written =
                if sparse { write_around_holes(file, block, offset) } else { file.write_all_at(block, offset) };
            written.map_err(failed)?;
            offset += length as u64;
        }
        if sparse {
            // The end of the file may be a hole.
            file.set_len(size).map_err(failed)?;
        }
        Ok(hasher.finish())
    }

    /// Where the results go.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    pub(super) fn target(&self) -> BorrowedFd<'_> {
        self.target.as_fd()
    }

    pub(super) fn target_path(&self) -> &Path {
        &self.target_path
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// A name in the staging directory that nothing has.
    pub(super) fn fresh_name(&self) -> String {
        name_of(fresh_id())
    }

    /// Runs one step that moves something out of staging, unless staging was discarded.
    pub(super) fn moving<T>(&self, step: impl FnOnce() -> T) -> Result<T, ExtractError> {
        while_live(&self.path, step).ok_or(ExtractError::Interrupted)
    }

    /// Content is not yet anything that a person knows by name, so the directory is named.
    fn failure(&self, error: impl Into<io::Error>) -> ExtractError {
        ExtractError::write(&self.target_path, error)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        live::discard(&self.path);
    }
}

impl Staged {
    /// Opens the content for reading, from its beginning.
    ///
    /// # Errors
    ///
    /// When its [`Staging`] is gone, or the content has been published.
    pub fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.directory, self.name(), flags, Mode::empty())?.into())
    }

    pub(super) fn name(&self) -> String {
        name_of(self.id)
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Opens the directory `name` in `parent`, never through a symbolic link.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn fresh_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn name_of(id: u64) -> String {
    id.to_string()
}

/// Creates `path` and the parents it lacks. Gives the directories created, outermost first.
fn create_missing(path: &Path) -> Result<Vec<PathBuf>, ExtractError> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && fs::metadata(ancestor).is_err())
        .collect();
    let mut created: Vec<PathBuf> = Vec::new();
    for directory in missing.into_iter().rev() {
        match fs::create_dir(directory) {
            Ok(()) => created.push(directory.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
            Err(error) => {
                created.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
                return Err(ExtractError::write(directory, error));
            }
        }
    }
    Ok(created)
}

/// Fills `buffer`, or as much of it as there is. A full buffer keeps holes aligned.
pub(super) fn read_fully(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes `bytes` at `offset`, all but the whole blocks of zeros in it.
fn write_around_holes(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    // What is to be written and was not yet: consecutive blocks go out in one call.
    let mut pending = 0..0;
    for (index, block) in bytes.chunks(HOLE).enumerate() {
        let end = index * HOLE + block.len();
        if block != &ZEROS[..block.len()] {
            pending.end = end;
            continue;
        }
        file.write_all_at(&bytes[pending.clone()], offset + pending.start as u64)?;
        pending = end..end;
    }
    file.write_all_at(&bytes[pending.clone()], offset + pending.start as u64)
}
