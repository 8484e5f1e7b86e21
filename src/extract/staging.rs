//! Content that has come but is not yet known to be right: files without a name of their own, in a hidden directory on the
//! destination's file system, from where one rename takes them to their final name.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, mkdirat, open, openat, seek, unlinkat};
use rustix::io::Errno;

use super::BUFFER;
use super::abandoned;
use super::attributes::{Stamp, give};
use super::destination::Destination;
use super::error::{ExtractError, StageError};
use super::handle::{fresh_id, fresh_name, name_of, open_directory};
use super::live::{self, Live, while_live};
use crate::image::digest::{Digest, Hasher};
use crate::layer::{Content, Run};

/// How many bytes of holes are hashed in all for one staging directory, which takes a second or two: what is in a hole costs an
/// image nothing. A file whose holes go beyond has no digest.
const HASHED_HOLES: u64 = 1 << 30;

/// What is hashed for a hole, piece by piece.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What the owner of a file needs to open it once more.
const READABLE: u32 = 0o400;

/// How many names are tried for a staging directory, of the 16 million there are.
const NAMES: usize = 64;

/// A hidden directory (`.docker-artifact-*`, mode 0700) for new content, on the destination's file system, or in
/// `TMPDIR` for standard output. It is removed when this is dropped, by [`discard_all`](super::discard_all), and, if the process is killed, by the next one in that place.
#[derive(Debug)]
pub struct Staging {
    destination: Destination,
    /// The directory that results go into. What its name leads to later does not matter.
    target: Arc<OwnedFd>,
    /// Where `target` was found, for messages.
    target_path: PathBuf,
    directory: Arc<OwnedFd>,
    path: PathBuf,
    /// What is left of [`HASHED_HOLES`].
    holes_to_hash: AtomicU64,
    /// Buffers of [`BUFFER`] bytes that wait for the next file: as many as there were threads that staged at one time.
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// Whether content is hashed as it comes. What the digests of layers vouch for needs none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// Its SHA-256 is asked for.
    Sha256,
    /// Nobody asks for its digest.
    Skipped,
}

/// The content of one file, complete but without a final name. Gone with the [`Staging`] that it came from.
#[derive(Debug)]
pub struct Staged {
    /// The file's length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes; `None` where it was not asked for, or its holes are too large to be hashed.
    pub digest: Option<Digest>,
    /// The length of its holes in bytes.
    pub(super) holes: u64,
    pub(super) id: u64,
    /// What it has been given already.
    pub(super) stamp: Option<Stamp>,
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
        let (path, (target, directory)) = live::register(|| {
            let created = create_missing(&target_path)?;
            let live = create_hidden(&target_path, &created).map_err(|error| {
                remove(&created);
                ExtractError::write(&target_path, error)
            })?;
            let handles = live.handles();
            Ok((live, handles))
        })?;
        let holes_to_hash = AtomicU64::new(HASHED_HOLES);
        Ok(Self {
            destination: destination.clone(),
            target,
            target_path,
            directory,
            path,
            holes_to_hash,
            buffers: Mutex::default(),
        })
    }

    /// Streams exactly `size` bytes from `reader` into a new staged file; what else the reader has is left in it. Several threads
    /// may stage at the same time. The SHA-256 is computed on the way, in the calling thread.
    ///
    /// # Errors
    ///
    /// [`StageError::Read`] with the reader's own error, or [`io::ErrorKind::UnexpectedEof`] when it ends early;
    /// [`StageError::Write`] when the bytes cannot be written. Nothing of the file is left then.
    pub fn stage(&self, reader: &mut dyn Read, size: u64) -> Result<Arc<Staged>, StageError> {
        self.fill(None, Hashing::Sha256, |file| file.data(reader, size))
    }

    /// The same, hashed only if `hashing` says so, for a file that will most likely get the mode and time of `stamp`. If it gets others,
    /// or cannot be given these yet, publishing sees to it.
    ///
    /// # Errors
    ///
    /// As [`stage`](Self::stage).
    pub fn stage_as(
        &self,
        reader: &mut dyn Read,
        size: u64,
        stamp: Option<Stamp>,
        hashing: Hashing,
    ) -> Result<Arc<Staged>, StageError> {
        self.fill(stamp, hashing, |file| file.data(reader, size))
    }

    /// The same with all of `content`, whose holes stay holes. They are neither read nor written, and hashed up to a limit for
    /// all of them in this staging directory.
    ///
    /// # Errors
    ///
    /// As [`stage`](Self::stage).
    pub fn stage_sparse(&self, content: &mut dyn Content, hashing: Hashing) -> Result<Arc<Staged>, StageError> {
        self.fill(None, hashing, |file| {
            while let Some(run) = content.next_run() {
                match run {
                    Run::Data(length) => file.data(content, length)?,
                    Run::Hole(length) => file.hole(length),
                }
            }
            file.end()
        })
    }

    /// Puts what `write` writes into a new staged file, with its SHA-256, and gives what that came to besides.
    ///
    /// # Errors
    ///
    /// Those of `write`, or when the bytes cannot be written. Nothing of the file is left then.
    pub fn stage_written<T>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<T, ExtractError>,
    ) -> Result<(Arc<Staged>, T), ExtractError> {
        let mut outcome = None;
        let staged = self.fill(None, Hashing::Sha256, |file| {
            let mut out = BufWriter::with_capacity(BUFFER, file);
            outcome = Some(write(&mut out).map_err(StageError::Write)?);
            out.flush().map_err(|error| StageError::Write(self.failure(error)))
        });
        match (staged, outcome) {
            (Ok(staged), Some(outcome)) => Ok((staged, outcome)),
            // Whoever writes knows of no file.
            (Err(StageError::Write(ExtractError::Output(error)) | StageError::Read(error)), _) => {
                Err(self.failure(error))
            }
            (Err(StageError::Write(error)), _) => Err(error),
            (Ok(_), None) => Err(self.failure(io::Error::from(io::ErrorKind::WriteZero))),
        }
    }

    fn fill(
        &self,
        stamp: Option<Stamp>,
        hashing: Hashing,
        with: impl FnOnce(&mut Filling<'_>) -> Result<(), StageError>,
    ) -> Result<Arc<Staged>, StageError> {
        let id = fresh_id();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, name_of(id), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| StageError::Write(self.failure(error)))?;
        let hasher = (hashing == Hashing::Sha256).then(Hasher::default);
        let mut filling = Filling { staging: self, file: File::from(file), hasher, size: 0, holes: 0 };
        match with(&mut filling) {
            Ok(()) => {
                let Filling { file, hasher, size, holes, .. } = filling;
                let digest = hasher.map(Hasher::finish);
                let stamp = stamp.and_then(|stamp| self.stamp(&file, stamp));
                Ok(Arc::new(Staged { size, digest, holes, id, stamp, directory: Arc::clone(&self.directory) }))
            }
            Err(error) => {
                let _ = unlinkat(&self.directory, name_of(id), AtFlags::empty());
                Err(error)
            }
        }
    }

    /// Gives `file` what is known of it, where it is to become one and its owner may still open it then. Gives what it has got.
    fn stamp(&self, file: &File, stamp: Stamp) -> Option<Stamp> {
        let stamp = Stamp { mode: stamp.mode & 0o777, ..stamp };
        let is_file = self.destination != Destination::Stdout && stamp.mode & READABLE != 0;
        (is_file && give(file.as_fd(), stamp)).then_some(stamp)
    }

    /// Whether a hole of `length` bytes can be hashed within the limit, of which it is then taken.
    fn may_hash(&self, length: u64) -> bool {
        let take = |left: u64| left.checked_sub(length);
        self.holes_to_hash.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
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
        fresh_name()
    }

    /// Runs one step that moves something out of staging, unless staging was discarded.
    pub(super) fn moving<T>(&self, step: impl FnOnce() -> T) -> Result<T, ExtractError> {
        while_live(&self.path, step).ok_or(ExtractError::Interrupted)
    }

    fn buffer(&self) -> Vec<u8> {
        let waiting = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        waiting.unwrap_or_else(|| vec![0; BUFFER])
    }

    /// Content is not yet anything that a person knows by name, so the directory is named.
    fn failure(&self, error: impl Into<io::Error>) -> ExtractError {
        ExtractError::write(&self.target_path, error)
    }
}

/// A staged file that is being written, from its beginning to its end.
struct Filling<'a> {
    staging: &'a Staging,
    file: File,
    /// Never there where nobody asks for the digest, and gone once there was a hole that is not hashed.
    hasher: Option<Hasher>,
    /// What it has so far, in bytes.
    size: u64,
    holes: u64,
}

impl Filling<'_> {
    /// Appends exactly `length` bytes of `reader`.
    fn data(&mut self, reader: &mut (impl Read + ?Sized), length: u64) -> Result<(), StageError> {
        let mut buffer = self.staging.buffer();
        let outcome = self.data_through(&mut buffer, reader, length);
        self.staging.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        outcome
    }

    fn data_through(
        &mut self,
        buffer: &mut [u8],
        reader: &mut (impl Read + ?Sized),
        length: u64,
    ) -> Result<(), StageError> {
        let end = self.size.saturating_add(length);
        while self.size < end {
            let length = usize::try_from(end - self.size).unwrap_or(BUFFER).min(BUFFER);
            let block = &mut buffer[..length];
            let read = read_fully(reader, block).map_err(StageError::Read)?;
            if read < length {
                let message = format!("the content ends after {} of {end} bytes", self.size + read as u64);
                return Err(StageError::Read(io::Error::new(io::ErrorKind::UnexpectedEof, message)));
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(block);
            }
            self.file.write_all_at(block, self.size).map_err(|error| self.failure(error))?;
            self.size += length as u64;
        }
        Ok(())
    }

    /// Leaves a hole of `length` bytes.
    fn hole(&mut self, length: u64) {
        self.hasher = self.hasher.take().filter(|_| self.staging.may_hash(length));
        if let Some(hasher) = &mut self.hasher {
            let mut left = length;
            while left > 0 {
                let zeros = usize::try_from(left).map_or(&ZEROS[..], |left| &ZEROS[..left.min(ZEROS.len())]);
                hasher.update(zeros);
                left -= zeros.len() as u64;
            }
        }
        self.size = self.size.saturating_add(length);
        self.holes = self.holes.saturating_add(length);
    }

    /// The end of the file may be a hole.
    fn end(&mut self) -> Result<(), StageError> {
        self.file.set_len(self.size).map_err(|error| self.failure(error))
    }

    fn failure(&self, error: io::Error) -> StageError {
        StageError::Write(self.staging.failure(error))
    }
}

impl Write for Filling<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.size)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

    /// Copies the content to the new file `to`, with its holes as holes.
    pub(super) fn copy_to(&self, to: &mut File) -> io::Result<()> {
        let mut from = self.open()?;
        let mut end = 0;
        // There is data as long as there is an answer (lseek(2)).
        while let Ok(start) = seek(&from, SeekFrom::Data(end)) {
            end = seek(&from, SeekFrom::Hole(start))?;
            from.seek(io::SeekFrom::Start(start))?;
            to.seek(io::SeekFrom::Start(start))?;
            io::copy(&mut (&from).take(end - start), to)?;
        }
        to.set_len(self.size)
    }

    pub(super) fn name(&self) -> String {
        name_of(self.id)
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
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
                remove(&created);
                return Err(ExtractError::write(directory, error));
            }
        }
    }
    Ok(created)
}

/// Takes back what [`create_missing`] did.
fn remove(created: &[PathBuf]) {
    created.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
}

/// Makes a hidden directory in the directory at `target_path`, for which `created` were made, and opens both. Whatever happens to
/// the name of that meanwhile, the one is inside the other.
fn create_hidden(target_path: &Path, created: &[PathBuf]) -> io::Result<Live> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = Arc::new(open(target_path, flags, Mode::empty())?);
    abandoned::remove(&target, target_path);
    let (name, directory) = make_hidden(target.as_fd())?;
    Live::new(target_path.join(&name), (&target, directory), name.clone(), created.to_vec())
        .inspect_err(|_| unlinkat(&target, &name, AtFlags::REMOVEDIR).unwrap_or_default())
}

/// Makes a hidden directory that is nobody else's, and gives its name and a handle.
fn make_hidden(target: BorrowedFd<'_>) -> rustix::io::Result<(String, OwnedFd)> {
    let mut attempts = 0..NAMES;
    loop {
        // The standard library's hashers are the randomness at hand. No name has to be a secret, as an existing one is
        // never taken, but nobody should be able to take them all first.
        let name = format!("{}{:06x}", abandoned::PREFIX, RandomState::new().build_hasher().finish() & 0xff_ffff);
        let made = mkdirat(target, &name, Mode::RWXU).and_then(|()| take(target, &name));
        match made {
            Ok(Some(directory)) => return Ok((name, directory)),
            Ok(None) | Err(Errno::EXIST) if attempts.next().is_some() => {}
            Ok(None) => return Err(Errno::EXIST),
            Err(error) => return Err(error),
        }
    }
}

/// Opens the hidden directory `name`, which was just made, for this process alone; `None` where somebody was faster, who took it for an
/// abandoned one.
fn take(target: BorrowedFd<'_>, name: &str) -> rustix::io::Result<Option<OwnedFd>> {
    let taken = match open_directory(target, name) {
        Ok(directory) => abandoned::hold(target, name, directory.as_fd()).map(|held| held.then_some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    };
    taken.inspect_err(|_| unlinkat(target, name, AtFlags::REMOVEDIR).unwrap_or_default())
}

/// Fills `buffer`, or as much of it as there is.
pub(super) fn read_fully(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
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

#[cfg(test)]
mod tests;
