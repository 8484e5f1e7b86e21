//! The library for other programs: an [`Image`] that is opened by its name, looked into, and read.
//!
//! It stands on what the commands stand on, and promises what they promise: paths mean what they mean in a container, and no content
//! comes before it has the digest that vouches for it. Calls block; from async code, make them where that is allowed
//! (`tokio::task::spawn_blocking`).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Runtime;

use crate::artifact::get::{Request, get_from};
use crate::artifact::list_files::{Depth, FileKind, FileListing, ListedFile, list_files};
use crate::artifact::{self, ExitClass, Tables, Verify};
use crate::cli::access::{Access, location};
use crate::cli::local_cache::LocalCache;
use crate::extract::Destination;
use crate::image;
use crate::image::platform::Choice;
use crate::progress::Progress;
use crate::source::Source;

/// An image that is open, wherever it is.
///
/// ```
/// use std::io::Read;
/// use docker_artifact::Image;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A name as `docker artifact get` takes it: "debian:12", "local://app:1", "app.tar", "oci-dir://layout:1".
/// let image = Image::open("examples/app.tar")?;
///
/// let mut motd = String::new();
/// image.read("/etc/motd")?.read_to_string(&mut motd)?;
/// assert_eq!(motd, "Hello from an image\n");
/// # Ok(())
/// # }
/// ```
pub struct Image {
    source: Arc<dyn Source>,
    image: Arc<image::Image>,
    tables: Tables,
    progress: Arc<dyn Progress>,
    name: String,
}

/// Is told what a person should know.
type Listener = dyn Fn(&str) + Send + Sync;

/// How to open an image.
///
/// ```
/// use docker_artifact::Options;
///
/// # fn main() -> Result<(), docker_artifact::Error> {
/// let image = Options::new().platform("linux/amd64").cache(false).open("examples/app.tar")?;
/// # let _ = image;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Options {
    platform: Option<String>,
    plain_http: bool,
    insecure: bool,
    no_cache: bool,
    notice: Option<Arc<Listener>>,
}

impl Options {
    /// This machine's platform, or another that `DOCKER_DEFAULT_PLATFORM` names; credentials and certificates as the docker command finds
    /// them; and the cache of this user.
    pub fn new() -> Self {
        Options::default()
    }

    /// The platform whose image is meant, as `OS/ARCH[/VARIANT]`.
    pub fn platform(self, platform: &str) -> Self {
        Options { platform: Some(platform.to_owned()), ..self }
    }

    /// Whether the registry is spoken to without TLS.
    pub fn plain_http(self, plain_http: bool) -> Self {
        Options { plain_http, ..self }
    }

    /// Whether any certificate of the registry is taken.
    pub fn insecure(self, insecure: bool) -> Self {
        Options { insecure, ..self }
    }

    /// Whether what was seen is kept for the next time, in `~/.cache/docker-artifact`, or where `DOCKER_ARTIFACT_CACHE` says. It is,
    /// unless this is called.
    pub fn cache(self, cache: bool) -> Self {
        Options { no_cache: !cache, ..self }
    }

    /// Calls `notice` with each line that a person should know although the work goes on: a retry, a layer that had to be read.
    pub fn on_notice(self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Options { notice: Some(Arc::new(notice)), ..self }
    }

    /// Opens the image `name`, a reference or a file, as `docker artifact get` takes it.
    ///
    /// # Errors
    ///
    /// When there is no such image, it is not this user's to see, or it cannot be read.
    pub fn open(&self, name: impl AsRef<OsStr>) -> Result<Image, Error> {
        let usage = |problem: String| Error(artifact::Error::Usage(problem));
        let location = location(name.as_ref()).map_err(usage)?;
        let default = || std::env::var("DOCKER_DEFAULT_PLATFORM").ok().filter(|platform| !platform.is_empty());
        let platform = match self.platform.clone().or_else(default) {
            Some(platform) => platform.parse().map(Choice::Asked).map_err(|invalid| usage(format!("{invalid}")))?,
            None => Choice::Host,
        };
        let progress: Arc<dyn Progress> = Arc::new(Notices(self.notice.clone()));
        let access = Access {
            plain_http: self.plain_http,
            insecure: self.insecure,
            cache: LocalCache::new(!self.no_cache),
            ..Access::default()
        };
        let (source, image) = runtime()?.block_on(async {
            let source = access.open(&location, Arc::clone(&progress)).await?;
            let image = source.image(&platform, &*progress).await.map_err(artifact::Error::from)?;
            Ok::<_, artifact::Error>((source, Arc::new(image)))
        })?;
        let tables = access.cache.tables(true, &*progress);
        let name = source.address(image.digest.as_ref());
        Ok(Image { source, image, tables, progress, name })
    }
}

impl Image {
    /// Opens the image `name`, a reference or a file, as `docker artifact get` takes it. [`Options`] can say more.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self, Error> {
        Options::new().open(name)
    }

    /// The reference in full, with the digest of the image's manifest where it has one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is at `path`, without following a link that it names. Layers are read, or known by tables, down to the one that decides.
    ///
    /// ```
    /// # fn main() -> Result<(), docker_artifact::Error> {
    /// use docker_artifact::{Image, Kind};
    ///
    /// let image = Image::open("examples/app.tar")?;
    /// let tool = image.look_up("/usr/bin/tool")?;
    /// assert_eq!((tool.kind, tool.mode), (Kind::File { size: 27 }, 0o755));
    /// assert!(image.look_up("/nothing").is_err_and(|error| error.is_not_found()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When there is nothing, or the image cannot be read.
    pub fn look_up(&self, path: impl AsRef<Path>) -> Result<Entry, Error> {
        let listing = self.listing(path.as_ref(), Depth::Itself)?;
        let mut found = None;
        listing.each(&mut |file| {
            found.get_or_insert_with(|| Entry::of(file));
            Ok::<(), Error>(())
        })??;
        found.ok_or_else(|| Error(artifact::Error::Bug("what was found was not listed".to_owned())))
    }

    /// What is in the directory at `path`, in the order of names; of anything else, the thing itself.
    ///
    /// ```
    /// # fn main() -> Result<(), docker_artifact::Error> {
    /// let image = docker_artifact::Image::open("examples/app.tar")?;
    /// let paths: Vec<_> = image.list("/usr/bin")?.into_iter().map(|entry| entry.path).collect();
    /// assert_eq!(paths, [std::path::Path::new("/usr/bin/tool")]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When there is nothing, or the image cannot be read.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<Entry>, Error> {
        let listing = self.listing(path.as_ref(), Depth::Children)?;
        let mut entries = Vec::new();
        listing.each(&mut |file| {
            entries.push(Entry::of(file));
            Ok::<(), Error>(())
        })??;
        Ok(entries)
    }

    /// Calls `each` with all that is below the directory at `path`, each directory before what is in it, and ends with its first
    /// error. No more is held than an index of the layers, whatever the number of files.
    ///
    /// # Errors
    ///
    /// The error of `each`, or when there is nothing at `path`, or the image cannot be read.
    pub fn walk<E: From<Error>>(
        &self,
        path: impl AsRef<Path>,
        mut each: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let listing = self.listing(path.as_ref(), Depth::All)?;
        listing.each(&mut |file| each(Entry::of(file))).map_err(|error| E::from(Error(error)))?
    }

    /// The content of the file that `path` leads to, which is verified before this returns. It is in a file without a name in the folder
    /// for temporary files, and gone when it is dropped.
    ///
    /// # Errors
    ///
    /// When there is no such file, its content does not have its digest, or the image cannot be read.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Content, Error> {
        let scratch = Scratch::new().map_err(|error| Error::local("a temporary folder", &error))?;
        let file = scratch.0.join("content");
        self.fetch(path.as_ref(), Destination::File(file.clone()), "file")?;
        let opened = File::open(&file).map_err(|error| Error::local("a temporary file", &error))?;
        Ok(Content(opened))
    }

    /// Gets the file or the directory that `path` leads to, as `to`, which must be in a directory that exists. Nothing appears under that
    /// name before all of it is there and verified.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), docker_artifact::Error> {
    /// docker_artifact::Image::open("nginx")?.get("/etc/nginx", "config")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When there is nothing at `path`, what comes does not have its digest, or `to` cannot be written.
    pub fn get(&self, path: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), Error> {
        self.fetch(path.as_ref(), Destination::File(to.as_ref().to_owned()), "")
    }

    fn listing(&self, path: &Path, depth: Depth) -> Result<FileListing, Error> {
        let (source, image) = (Arc::clone(&self.source), Arc::clone(&self.image));
        let paths = [literal(path)];
        let work = list_files(source, image, &paths, depth, self.tables.clone(), &self.progress);
        Ok(runtime()?.block_on(work)?)
    }

    /// Gets what is at `path`, which has to be of this `kind`, if one is given.
    fn fetch(&self, path: &Path, destination: Destination, kind: &str) -> Result<(), Error> {
        let request = Request {
            paths: vec![literal(path)],
            platform: Choice::Host,
            destination,
            parents: false,
            dereference: true,
            verify: Verify::WhereRead,
            preserve: false,
            digests: false,
            trust_attached: false,
            tables: self.tables.clone(),
            step: None,
        };
        let (source, image) = (Arc::clone(&self.source), Arc::clone(&self.image));
        let report = runtime()?.block_on(get_from(source, image, request, Arc::clone(&self.progress)))?;
        match report.files.iter().find(|file| !kind.is_empty() && file.kind != kind) {
            Some(file) => {
                Err(Error(artifact::Error::Usage(format!("{} is a {}, and no {kind}", file.path, file.kind))))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A path as it is, whatever characters a glob would have; with a slash before it, as it is no artifact's name.
fn literal(path: &Path) -> Vec<u8> {
    let mut pattern = Vec::new();
    if !path.has_root() {
        pattern.push(b'/');
    }
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern
}

/// Something in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its path, from the root on.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u64,
    /// The owner's group ID.
    pub gid: u64,
    /// When it was modified: seconds since the Unix epoch.
    pub modified: i64,
    /// The digest of the layer that it comes from, as stored; `None` for a directory that no layer has an entry of.
    pub layer: Option<String>,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it leads, as it is written.
        target: PathBuf,
    },
    /// A device node or a FIFO, which is never written.
    Special,
}

impl Entry {
    fn of(file: &ListedFile<'_>) -> Self {
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        Entry {
            path: path(file.path),
            kind: match file.kind {
                FileKind::File { size } => Kind::File { size },
                FileKind::Directory => Kind::Directory,
                FileKind::Symlink(target) => Kind::Symlink { target: path(target) },
                FileKind::Special(_) => Kind::Special,
            },
            mode: file.mode,
            uid: file.uid,
            gid: file.gid,
            modified: file.mtime,
            layer: file.layer.map(|digest| digest.as_str().to_owned()),
        }
    }
}

/// The content of a file: verified, and there to be read from any place.
#[derive(Debug)]
pub struct Content(File);

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Content {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// Why an image could not be opened or read, in one line that says what, where and what to try.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] artifact::Error);

impl Error {
    /// Whether there is no such image or path.
    pub fn is_not_found(&self) -> bool {
        self.0.exit_class() == ExitClass::NotFound
    }

    /// Whether the registry refused these credentials, or wants some.
    pub fn is_denied(&self) -> bool {
        self.0.exit_class() == ExitClass::Denied
    }

    /// Whether content did not have its digest.
    pub fn is_mismatch(&self) -> bool {
        self.0.exit_class() == ExitClass::Mismatch
    }

    fn local(what: &str, error: &io::Error) -> Self {
        Error(artifact::Error::Usage(format!("{what}: {error}")))
    }
}

/// A folder of this process alone, removed when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!(".docker-artifact-read-{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The runtime of all images, which ends with the process: a thread of it may still wait for bytes that nobody wants any more.
fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if RUNTIME.get().is_none() {
        let new = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        // Somebody else may have been faster.
        let _ = RUNTIME.set(new.map_err(|error| Error::local("a thread", &error))?);
    }
    RUNTIME.get().ok_or_else(|| Error(artifact::Error::Bug("there is no runtime".to_owned())))
}

/// Hands on notices, and nothing else.
struct Notices(Option<Arc<Listener>>);

impl Progress for Notices {
    fn start(&self, _: &str, _: &str, _: Option<u64>) {}

    fn advance(&self, _: &str, _: u64) {}

    fn finish(&self, _: &str) {}

    fn notice(&self, line: &str) {
        if let Some(notice) = &self.0 {
            notice(line);
        }
    }
}
