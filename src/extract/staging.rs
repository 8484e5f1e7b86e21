//! Content that has come but is not yet known to be right: files without a name of their own, in a hidden directory on the
//! destination's file system, from where one rename takes them to their final name.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, mkdirat, open, openat, seek, unlinkat};
use rustix::io::Errno;

use super::destination::Destination;
use super::error::{ExtractError, StageError};
use super::live::{self, Live};
use super::{BUFFER, live::while_live};
use crate::image::digest::{Digest, Hasher};
use crate::layer::{Content, Run};

/// How many bytes of holes are hashed in all for one staging directory, which takes a second or two: what is in a hole costs an
/// image nothing. A file whose holes go beyond has no digest.
const HASHED_HOLES: u64 = 1 << 30;

/// What is hashed for a hole, piece by piece.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

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
    /// What is left of [`HASHED_HOLES`].
    holes_to_hash: AtomicU64,
}

/// The content of one file, complete but without a final name. Gone with the [`Staging`] that it came from.
#[derive(Debug)]
pub struct Staged {
    /// The file's length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes; `None` where its holes are too large to be hashed.
    pub digest: Option<Digest>,
    /// The length of its holes in bytes.
    pub(super) holes: u64,
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
            let live = create_hidden(&target_path, &created).map_err(|error| {
                remove(&created);
                ExtractError::write(&target_path, error)
            })?;
            let handles = live.handles();
            Ok((live, handles))
        })?;
        let holes_to_hash = AtomicU64::new(HASHED_HOLES);
        Ok(Self { destination: destination.clone(), target, target_path, directory, path, holes_to_hash })
    }

    /// Streams exactly `size` bytes from `reader` into a new staged file; what else the reader has is left in it. Several threads
    /// may stage at the same time. The SHA-256 is computed on the way, in the calling thread.
    ///
    /// # Errors
    ///
    /// [`StageError::Read`] with the reader's own error, or [`io::ErrorKind::UnexpectedEof`] when it ends early;
    /// [`StageError::Write`] when the bytes cannot be written. Nothing of the file is left then.
    pub fn stage(&self, reader: &mut dyn Read, size: u64) -> Result<Arc<Staged>, StageError> {
        self.fill(|file| file.data(reader, size))
    }

    /// The same with all of `content`, whose holes stay holes. They are neither read nor written, and hashed up to a limit for
    /// all of them in this staging directory.
    ///
    /// # Errors
    ///
    /// As [`stage`](Self::stage).
    pub fn stage_sparse(&self, content: &mut dyn Content) -> Result<Arc<Staged>, StageError> {
        self.fill(|file| {
            while let Some(run) = content.next_run() {
                match run {
                    Run::Data(length) => file.data(content, length)?,
                    Run::Hole(length) => file.hole(length),
                }
            }
            file.end()
        })
    }

    fn fill(&self, with: impl FnOnce(&mut Filling<'_>) -> Result<(), StageError>) -> Result<Arc<Staged>, StageError> {
        let id = fresh_id();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, name_of(id), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| StageError::Write(self.failure(error)))?;
        let hasher = Some(Hasher::default());
        let mut filling = Filling { staging: self, file: File::from(file), hasher, size: 0, holes: 0 };
        match with(&mut filling) {
            Ok(()) => {
                let Filling { hasher, size, holes, .. } = filling;
                let digest = hasher.map(Hasher::finish);
                Ok(Arc::new(Staged { size, digest, holes, id, directory: Arc::clone(&self.directory) }))
            }
            Err(error) => {
                let _ = unlinkat(&self.directory, name_of(id), AtFlags::empty());
                Err(error)
            }
        }
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

    /// Content is not yet anything that a person knows by name, so the directory is named.
    fn failure(&self, error: impl Into<io::Error>) -> ExtractError {
        ExtractError::write(&self.target_path, error)
    }
}

/// A staged file that is being written, from its beginning to its end.
struct Filling<'a> {
    staging: &'a Staging,
    file: File,
    /// Gone once there was a hole that is not hashed.
    hasher: Option<Hasher>,
    /// What it has so far, in bytes.
    size: u64,
    holes: u64,
}

impl Filling<'_> {
    /// Appends exactly `length` bytes of `reader`.
    fn data(&mut self, reader: &mut (impl Read + ?Sized), length: u64) -> Result<(), StageError> {
        let end = self.size.saturating_add(length);
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(BUFFER).min(BUFFER)];
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

/// Makes a hidden directory in the directory at `target_path`, for which `created` were made, and opens both. Whatever happens to
/// the name of that meanwhile, the one is inside the other.
fn create_hidden(target_path: &Path, created: &[PathBuf]) -> io::Result<Live> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = Arc::new(open(target_path, flags, Mode::empty())?);
    let name = make_hidden(target.as_fd())?;
    let opened = open_directory(target.as_fd(), &name)
        .map_err(io::Error::from)
        .and_then(|directory| Live::new(target_path.join(&name), (&target, directory), name.clone(), created.to_vec()));
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
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::super::sample::*;
    use super::*;

    #[test]
    fn staged_content_is_hidden_closed_to_others_and_removed() {
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        let content = staged(&staging, b"hello");
        assert_eq!((content.size, &content.digest), (5, &Some(Digest::of(b"hello"))));
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
        assert_eq!(staging.stage(&mut reader, 7).unwrap().digest, Some(Digest::of(b"content")));
        assert_eq!(reader, b"next");
        assert_eq!(staging.stage(&mut reader, 0).unwrap().size, 0);
        assert_eq!(reader, b"next");
    }

    #[test]
    fn a_reader_that_ends_early_leaves_nothing() {
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        let error = staging.stage(&mut &b"short"[..], 6).unwrap_err();
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
        let Err(StageError::Read(error)) = staging.stage(&mut Broken, 1) else { panic!("not a read error") };
        assert!(matches!(error.downcast::<ExtractError>(), Ok(ExtractError::Interrupted)));
    }

    /// Content of a layer that counts what is read of it.
    struct Runs {
        left: std::collections::VecDeque<Run>,
        read: u64,
    }

    impl Runs {
        fn new(runs: impl IntoIterator<Item = Run>) -> Self {
            Runs { left: runs.into_iter().collect(), read: 0 }
        }
    }

    impl Read for Runs {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            self.read += buffer.len() as u64;
            Ok(buffer.len())
        }
    }

    impl Content for Runs {
        fn next_run(&mut self) -> Option<Run> {
            self.left.pop_front()
        }
        fn extent(&self) -> Option<crate::layer::checkpoint::Extent> {
            None
        }
    }

    #[test]
    fn holes_stay_holes_and_are_in_the_digest() {
        let data = BUFFER as u64 + 5;
        let runs = [Run::Hole(1 << 20), Run::Data(data), Run::Hole(70_000), Run::Data(1), Run::Hole(1 << 20)];
        let (million, middle) = (vec![0; 1 << 20], vec![b'x'; data as usize]);
        let expected = [&million[..], &middle, &[0; 70_000], b"x", &million].concat();
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        let mut content = Runs::new(runs);
        let sparse = staging.stage_sparse(&mut content).unwrap();
        assert_eq!((sparse.size, sparse.holes, content.read), (expected.len() as u64, (2 << 20) + 70_000, data + 1));
        assert_eq!(sparse.digest, Some(Digest::of(&expected)));
        let mut read = Vec::new();
        sparse.open().unwrap().read_to_end(&mut read).unwrap();
        assert!(read == expected);
        let blocks = sparse.open().unwrap().metadata().unwrap().blocks() * 512;
        // A file system without holes stores them.
        assert!(cfg!(not(target_os = "linux")) || blocks < 1 << 20, "{blocks}");
        assert_eq!(staging.stage_sparse(&mut Runs::new([])).unwrap().digest, Some(Digest::of(b"")));
    }

    #[test]
    fn a_copy_has_the_same_holes() {
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        let runs = [Run::Hole(1 << 30), Run::Data(5), Run::Hole(1 << 40), Run::Data(70_000), Run::Hole(1 << 40)];
        let original = staging.stage_sparse(&mut Runs::new(runs)).unwrap();
        let mut copy =
            File::options().read(true).write(true).create_new(true).open(scratch.path().join("copy")).unwrap();
        original.copy_to(&mut copy).unwrap();
        assert_eq!(copy.metadata().unwrap().len(), original.size);
        let mut data = [0; 7];
        copy.read_exact_at(&mut data, (1 << 30) - 1).unwrap();
        assert_eq!(&data, b"\0xxxxx\0");
        assert!(cfg!(not(target_os = "linux")) || copy.metadata().unwrap().blocks() < 1000);
    }

    #[test]
    fn holes_are_hashed_up_to_a_limit_for_all_files_together() {
        let scratch = scratch();
        let staging = staging_for(scratch.path());
        staging.holes_to_hash.store(10_000, Ordering::Relaxed);
        let digest = |runs: &[Run]| staging.stage_sparse(&mut Runs::new(runs.iter().copied())).unwrap().digest.clone();
        let left = || staging.holes_to_hash.load(Ordering::Relaxed);
        assert!(digest(&[Run::Hole(6_000), Run::Data(1)]).is_some());
        assert_eq!(left(), 4_000);
        // Not one of its two terabytes is hashed.
        assert_eq!(digest(&[Run::Data(1), Run::Hole(2 << 40), Run::Data(1), Run::Hole(1_000)]), None);
        assert_eq!(left(), 4_000, "what comes behind the end of hashing is not hashed either");
        assert_eq!(digest(&[Run::Hole(3_000), Run::Data(1), Run::Hole(3_000)]), None);
        assert!(digest(&[Run::Hole(1_000)]).is_some());
        assert_eq!(left(), 0);
        assert!(staged(&staging, b"no hole").digest.is_some());
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
                        assert_eq!(staged(staging, &content).digest, Some(Digest::of(&content)));
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
        let result = staging.stage(&mut io::repeat(1), 1 << 20);
        let left = names(&staging.path);
        drop(staging);
        let staging_left = names(scratch.path());
        mount(&["umount"]).unwrap();
        let Err(StageError::Write(error)) = result else { panic!("{result:?}") };
        assert!(error.to_string().contains("free some space"), "{error}");
        assert!(left.is_empty() && staging_left.is_empty());
    }
}
