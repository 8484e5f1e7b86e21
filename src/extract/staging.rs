//! Content that has come but is not yet known to be right: files without a name of their own, in a hidden directory on the
//! destination's file system, from where one rename takes them to their final name.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, unlinkat};
use rustix::io::Errno;

use super::destination::Destination;
use super::error::{ExtractError, StageError};
use super::live::{self, Live};
use super::{BUFFER, live::while_live};
use crate::image::digest::{Digest, Hasher};

/// The granularity of holes: no file system in use has smaller blocks that it could leave out with profit.
const HOLE: usize = 4096;
static ZEROS: [u8; HOLE] = [0; HOLE];

/// How many names are tried for a staging directory, of the 16 million there are.
const NAMES: usize = 64;

/// Numbers staged files, and everything else in staging directories. Unique in the process, so that content of one
/// directory is never taken for another's.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A hidden directory (`.docker-artifact-*`, mode 0700) for new content, on the destination's file system, or in
/// `TMPDIR` for standard output. It is removed when this is dropped, and by [`discard_all`](super::discard_all).
#[derive(Debug)]
pub struct Staging {
    destination: Destination,
    /// The directory that results go into. What its name leads to later does not matter.
    target: Arc<OwnedFd>,
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
        let (path, (target, directory)) = live::register(|| {
            let created = create_missing(&target_path)?;
            create_hidden(&target_path, &created).map_err(|error| {
                remove(&created);
                ExtractError::write(&target_path, error)
            })
        })?;
        Ok(Self { destination: destination.clone(), target, target_path, directory, path })
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
        fresh_name()
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

/// A name that nothing in any staging directory has.
pub(super) fn fresh_name() -> String {
    name_of(fresh_id())
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

/// Makes a hidden directory in the directory at `target_path`, for which `created` were made, and opens both, the outer one
/// first. Whatever happens to the name of that meanwhile, the one is inside the other.
fn create_hidden(target_path: &Path, created: &[PathBuf]) -> io::Result<(Live, (Arc<OwnedFd>, Arc<OwnedFd>))> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = Arc::new(open(target_path, flags, Mode::empty())?);
    let name = make_hidden(target.as_fd())?;
    let opened = open_directory(target.as_fd(), &name).map_err(io::Error::from).and_then(|directory| {
        let directory = Arc::new(directory);
        let live = Live::new(target_path.join(&name), (&target, &directory), name.clone(), created.to_vec())?;
        Ok((live, (Arc::clone(&target), directory)))
    });
    opened.inspect_err(|_| unlinkat(&target, &name, AtFlags::REMOVEDIR).unwrap_or_default())
}

/// Makes a hidden directory that is nobody else's, and gives its name.
fn make_hidden(target: BorrowedFd<'_>) -> rustix::io::Result<String> {
    let mut attempts = 0..NAMES;
    loop {
        // The standard library's hashers are the randomness at hand. No name has to be a secret, as an existing one is
        // never taken, but nobody should be able to take them all first.
        let name = format!(".docker-artifact-{:06x}", RandomState::new().build_hasher().finish() & 0xff_ffff);
        match mkdirat(target, &name, Mode::RWXU) {
            Err(Errno::EXIST) if attempts.next().is_some() => {}
            made => return made.map(|()| name),
        }
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::super::sample::*;
    use super::*;

    #[test]
    fn staged_content_is_hidden_closed_to_others_and_removed() {
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        let content = staged(&staging, b"hello");
        assert_eq!((content.size, &content.digest), (5, &Digest::of(b"hello")));
        let hidden = names(scratch.path());
        assert!(hidden.len() == 1 && hidden[0].starts_with(".docker-artifact-"), "{hidden:?}");
        assert_eq!(fs::metadata(scratch.path().join(&hidden[0])).unwrap().mode() & 0o777, 0o700);
        drop(staging);
        assert!(names(scratch.path()).is_empty());
        assert!(content.open().is_err());
    }

    #[test]
    fn a_destination_that_was_created_for_nothing_is_removed() {
        let scratch = scratch();
        let staging = staging_for(&scratch.path().join("a/b"));
        assert!(scratch.path().join("a/b").is_dir());
        drop(staging);
        assert!(names(scratch.path()).is_empty());
    }

    #[test]
    fn a_destination_that_was_created_holds_the_results() {
        let scratch = scratch();
        let destination = Destination::parse(Some(scratch.path().join("a/b/").as_os_str())).unwrap();
        let staging = Staging::new(&destination).unwrap();
        let item = file(&staging, b"x");
        publish_as(staging, "tool", item).unwrap();
        assert_eq!(names(&scratch.path().join("a/b")), ["tool"]);
    }

    #[test]
    fn exactly_the_size_is_taken_from_the_reader() {
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        let mut reader: &[u8] = b"contentnext";
        assert_eq!(staging.stage(&mut reader, 7, false).unwrap().digest, Digest::of(b"content"));
        assert_eq!(reader, b"next");
        assert_eq!(staging.stage(&mut reader, 0, true).unwrap().size, 0);
        assert_eq!(reader, b"next");
    }

    #[test]
    fn a_reader_that_ends_early_leaves_nothing() {
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        let error = staging.stage(&mut &b"short"[..], 6, false).unwrap_err();
        assert!(matches!(&error, StageError::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof), "{error}");
        assert_eq!(error.to_string(), "the content ends after 5 of 6 bytes");
        assert!(names(&staging.path).is_empty());
    }

    #[test]
    fn an_error_of_the_reader_comes_back_unchanged() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other(ExtractError::Interrupted))
            }
        }
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        let Err(StageError::Read(error)) = staging.stage(&mut Broken, 1, false) else { panic!("not a read error") };
        assert!(matches!(error.downcast::<ExtractError>(), Ok(ExtractError::Interrupted)));
    }

    #[test]
    fn zeros_become_holes_where_the_image_had_them() {
        let mut content = vec![0; 3 * BUFFER + 100];
        content[BUFFER + 5] = 1;
        content[2 * BUFFER - 1] = 2;
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        let sparse = staging.stage(&mut &*content, content.len() as u64, true).unwrap();
        let full = staging.stage(&mut &*content, content.len() as u64, false).unwrap();
        assert_eq!(sparse.digest, full.digest);
        let mut read = Vec::new();
        sparse.open().unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, content);
        let blocks = |staged: &Staged| staged.open().unwrap().metadata().unwrap().blocks() * 512;
        // A file system without holes stores both alike.
        assert!(blocks(&sparse) <= blocks(&full));
        if cfg!(target_os = "linux") {
            assert!(blocks(&sparse) < BUFFER as u64, "{}", blocks(&sparse));
        }
    }

    #[test]
    fn several_threads_stage_at_the_same_time() {
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let staging = &staging;
                scope.spawn(move || {
                    for size in [0, 1, 4095, 4096, BUFFER - 1, BUFFER, BUFFER + 1] {
                        let content = vec![thread; size];
                        assert_eq!(staged(staging, &content).digest, Digest::of(&content));
                    }
                });
            }
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_place_that_one_may_not_write_to_is_named() {
        let scratch = scratch();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if !is_root() {
            fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o555)).unwrap();
        }
        as_nobody(|| {
            for directory in [scratch.path().to_owned(), scratch.path().join("new/er")] {
                let error = Staging::new(&Destination::Directory(directory)).unwrap_err();
                let text = error.to_string();
                assert!(text.starts_with(&format!("cannot write {}", scratch.path().display())), "{text}");
                assert!(text.contains("may write to with -o"), "{text}");
                assert!(!text.contains(".docker-artifact-"), "{text}");
            }
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_says_so() {
        let scratch = scratch();
        let mount = |arguments: &[&str]| {
            std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(scratch.path()).output()
        };
        if !mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]).is_ok_and(|output| output.status.success()) {
            eprintln!("skipped, as nothing can be mounted: a_full_disk_is_an_error_that_says_so");
            return;
        }
        let staging = staging_for(scratch.path());
        let result = staging.stage(&mut io::repeat(1), 1 << 20, false);
        let left = names(&staging.path);
        drop(staging);
        let staging_left = names(scratch.path());
        mount(&["umount"]).unwrap();
        let Err(StageError::Write(error)) = result else { panic!("{result:?}") };
        assert!(error.to_string().contains("free some space"), "{error}");
        assert!(left.is_empty() && staging_left.is_empty());
    }
}
