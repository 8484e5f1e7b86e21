//! What this machine keeps of images that it has seen, so that the next look costs less: tables of layers, manifests, and small blobs
//! such as configs, each under its digest.
//!
//! It lies in a folder ([`root`]) as `KIND/ALGORITHM/HEX`, and takes part in no decision but one: whether something need be asked for.
//! A manifest or blob is compared with its digest whenever it is read; a table's parts have digests, which its reader compares, and it
//! drops a table that is not what it should be. So a damaged file costs what no file would. Files are renamed into place and never
//! changed, so that several processes share a cache; a process that has opened a file keeps it, whatever happens to its name. What cannot be written is not kept, and
//! nobody but `--debug` hears of it.

mod contents;
mod folder;
mod new_file;
mod prune;

use std::fs::{self, DirBuilder, File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub use contents::{Contents, Kept, KeptLayer};
use folder::already_private;
pub use folder::{Environment, Root, VARIABLE, private, root};
pub use new_file::discard_all;
pub use prune::{Pruned, SIZE_VARIABLE};

use new_file::NewFile;

use crate::image::digest::Digest;
use crate::image::manifest::MAX_MANIFEST_BYTES;
use crate::progress::Progress;

/// The longest blob that is kept whole, in bytes: a manifest's limit is 8 MiB, and the largest table of others is some tens.
pub const MAX_BLOB_BYTES: u64 = 64 << 20;

/// The longest media type that is kept with a manifest, in bytes.
const MAX_MEDIA_TYPE_BYTES: u64 = 255;

/// A file counts as used again only when it was last used so long ago: writing that down for every use would cost more than it tells.
const USED_AGAIN: Duration = Duration::from_secs(60 * 60);

/// What a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The table of the layer whose blob has the digest.
    Table,
    /// The manifest of the digest: a line with its media type, then its bytes.
    Manifest,
    /// The blob of the digest.
    Blob,
    /// The digest of the manifest that a name had last; the file has the digest of the name.
    Name,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Table, Kind::Manifest, Kind::Blob, Kind::Name];

    /// The folder of such files.
    fn folder(self) -> &'static str {
        match self {
            Kind::Table => "tables",
            Kind::Manifest => "manifests",
            Kind::Blob => "blobs",
            Kind::Name => "names",
        }
    }
}

/// A cache of this user's.
#[derive(Debug)]
pub struct Cache {
    /// An absolute path.
    root: PathBuf,
    /// How many bytes of files may stay when it is pruned.
    limit: u64,
    /// Whether it is only read: then nothing of it changes, not even when a file was used last.
    is_read_only: bool,
    /// How many bytes this process has kept since it pruned last; `u64::MAX` before it has.
    unpruned: AtomicU64,
    /// Whether it was said that nothing can be kept.
    has_complained: AtomicBool,
}

/// A table that is being written. It is removed when this is dropped without having been kept.
#[derive(Debug)]
pub struct NewTable {
    /// Where it is written.
    pub file: File,
    new: NewFile,
    folder: PathBuf,
    cache: Arc<Cache>,
}

impl Cache {
    /// The cache that `environment` names, which is made where it is not there. `None` where nothing is to be kept, and where the
    /// place cannot be used: a notice says why, if somebody has named it.
    pub fn open(environment: Environment<'_>, progress: &dyn Progress) -> Option<Arc<Self>> {
        let root = root(environment)?;
        let limit = prune::limit(environment).unwrap_or_else(|problem| {
            progress.notice(&problem);
            prune::LIMIT
        });
        match Cache::at(&root.path, limit) {
            Ok(cache) => Some(Arc::new(cache)),
            Err(error) if root.is_named => {
                let place = root.path.display();
                progress.notice(&format!("{VARIABLE}: {place} cannot be used, so nothing is kept: {error}"));
                None
            }
            Err(error) => {
                tracing::debug!(folder = %root.path.display(), %error, "nothing is kept on this machine");
                None
            }
        }
    }

    /// The cache in the folder `root`, in which at most `limit` bytes of files are to stay.
    ///
    /// # Errors
    ///
    /// A folder cannot be made, or is not this user's alone.
    pub fn at(root: &Path, limit: u64) -> io::Result<Self> {
        for kind in Kind::ALL {
            private(&root.join(kind.folder()))?;
        }
        let (unpruned, has_complained) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
        Ok(Cache { root: root.canonicalize()?, limit, is_read_only: false, unpruned, has_complained })
    }

    /// The cache that `environment` names, to be read alone; `None` where there is none.
    pub fn open_to_read(environment: Environment<'_>) -> Option<Arc<Self>> {
        let root = root(environment)?.path;
        for kind in Kind::ALL {
            already_private(&root.join(kind.folder())).ok()?;
        }
        let (unpruned, has_complained) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
        let root = root.canonicalize().ok()?;
        Some(Arc::new(Cache { root, limit: prune::LIMIT, is_read_only: true, unpruned, has_complained }))
    }

    /// The folder that it lies in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The table of the layer whose blob has this digest. What is in it has to be checked.
    pub fn table(&self, blob: &Digest) -> Option<File> {
        self.used(Kind::Table, blob)
    }

    /// Forgets the table of this layer's blob, because it is not what it should be.
    pub fn drop_table(&self, blob: &Digest) {
        self.drop_damaged(Kind::Table, blob);
    }

    /// A table that is to be written.
    pub fn new_table(self: &Arc<Self>) -> io::Result<NewTable> {
        if self.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let folder = self.root.join(Kind::Table.folder());
        let (new, file) = NewFile::create(&folder).inspect_err(|error| self.complain(error))?;
        Ok(NewTable { file, new, folder, cache: Arc::clone(self) })
    }

    /// The manifest of this digest, and the media type that came with it.
    pub fn manifest(&self, digest: &Digest) -> Option<(Bytes, Option<String>)> {
        let mut whole = self.whole(Kind::Manifest, digest, MAX_MANIFEST_BYTES + MAX_MEDIA_TYPE_BYTES + 1)?;
        let end = whole.iter().position(|byte| *byte == b'\n').unwrap_or(whole.len());
        let media_type = String::from_utf8_lossy(&whole[..end]).into_owned();
        let bytes = Bytes::from(whole.split_off(whole.len().min(end + 1)));
        self.is(digest, &bytes, Kind::Manifest).then_some((bytes, Some(media_type).filter(|it| !it.is_empty())))
    }

    /// Keeps the manifest of this digest, with the media type that came with it.
    pub fn keep_manifest(&self, digest: &Digest, bytes: &[u8], media_type: Option<&str>) {
        let media_type = media_type.unwrap_or_default();
        let is_line = media_type.len() as u64 <= MAX_MEDIA_TYPE_BYTES && !media_type.contains('\n');
        if is_line && bytes.len() as u64 <= MAX_MANIFEST_BYTES {
            self.keep(Kind::Manifest, digest, &[media_type.as_bytes(), b"\n", bytes]);
        }
    }

    /// The blob of this digest, where it was small enough to be kept whole.
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = self.whole(Kind::Blob, digest, MAX_BLOB_BYTES)?;
        self.is(digest, &bytes, Kind::Blob).then_some(bytes)
    }

    /// Keeps the blob of this digest, if it has at most [`MAX_BLOB_BYTES`].
    pub fn keep_blob(&self, digest: &Digest, bytes: &[u8]) {
        if bytes.len() as u64 <= MAX_BLOB_BYTES {
            self.keep(Kind::Blob, digest, &[bytes]);
        }
    }

    /// The digest of the manifest that `name`, a reference in full, had when it was last seen. It tells what may be worth asking, and
    /// nothing about the image.
    pub fn last_seen(&self, name: &str) -> Option<Digest> {
        let text = self.whole(Kind::Name, &Digest::of(name.as_bytes()), 1 << 10)?;
        String::from_utf8(text).ok()?.trim_end().parse().ok()
    }

    /// Notes that the manifest of this digest was seen under `name`.
    pub fn see(&self, name: &str, digest: &Digest) {
        if self.last_seen(name).as_ref() != Some(digest) {
            self.keep(Kind::Name, &Digest::of(name.as_bytes()), &[digest.as_str().as_bytes(), b"\n"]);
        }
    }

    fn path(&self, kind: Kind, digest: &Digest) -> PathBuf {
        let algorithm = &digest.as_str()[..Digest::ALGORITHM - 1];
        self.root.join(kind.folder()).join(algorithm).join(digest.encoded())
    }

    /// Opens a file, which counts as used now.
    fn used(&self, kind: Kind, digest: &Digest) -> Option<File> {
        let file = folder::options().read(true).open(self.path(kind, digest)).ok()?;
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
        let now = SystemTime::now();
        let unused = metadata.modified().ok().and_then(|then| now.duration_since(then).ok());
        if !self.is_read_only && unused.is_none_or(|unused| unused > USED_AGAIN) {
            // If that fails, it is only forgotten sooner.
            let _ = file.set_times(FileTimes::new().set_modified(now));
        }
        Some(file)
    }

    /// All of a file that has at most `limit` bytes.
    fn whole(&self, kind: Kind, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.used(kind, digest)?.take(limit + 1).read_to_end(&mut bytes);
        match read {
            Ok(_) if bytes.len() as u64 <= limit => Some(bytes),
            Ok(_) => {
                self.drop_damaged(kind, digest);
                None
            }
            Err(error) => {
                tracing::debug!(%digest, %error, "what is kept cannot be read");
                None
            }
        }
    }

    /// Whether `bytes` have this digest; where they have not, the file goes.
    fn is(&self, digest: &Digest, bytes: &[u8], kind: Kind) -> bool {
        let mut hasher = digest.hasher();
        hasher.update(bytes);
        let is_it = hasher.finish() == *digest;
        if !is_it {
            self.drop_damaged(kind, digest);
        }
        is_it
    }

    fn drop_damaged(&self, kind: Kind, digest: &Digest) {
        if self.is_read_only {
            return;
        }
        let path = self.path(kind, digest);
        tracing::debug!(file = %path.display(), "what is kept there is not what it should be, and is dropped");
        let _ = fs::remove_file(path);
    }

    fn keep(&self, kind: Kind, digest: &Digest, parts: &[&[u8]]) {
        if self.is_read_only {
            return;
        }
        let kept = NewFile::create(&self.root.join(kind.folder())).and_then(|(new, mut file)| {
            parts.iter().try_for_each(|part| file.write_all(part))?;
            self.persist(new, kind, digest)
        });
        match kept {
            Ok(()) => self.prune_when_due(kind, parts.iter().map(|part| part.len() as u64).sum()),
            Err(error) => self.complain(&error),
        }
    }

    fn persist(&self, new: NewFile, kind: Kind, digest: &Digest) -> io::Result<()> {
        let path = self.path(kind, digest);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        new.persist(&path)
    }

    /// Once is enough: what cannot be kept now cannot be kept the next time.
    fn complain(&self, error: &io::Error) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::debug!(folder = %self.root.display(), %error, "nothing can be kept there");
        }
    }
}

impl NewTable {
    /// A file for what belongs beside the table while it is written. It has no name, and is gone when it is closed.
    pub fn scratch(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.folder)
    }

    /// Such files, to be made when nobody has the table at hand.
    pub fn scratches(&self) -> impl Fn() -> io::Result<File> + Send + use<> {
        let folder = self.folder.clone();
        move || tempfile::tempfile_in(&folder)
    }

    /// Keeps it, as it is written now, as the table of the layer whose blob has this digest.
    pub fn keep(self, blob: &Digest) -> io::Result<()> {
        let NewTable { file, new, cache, .. } = self;
        let length = file.metadata()?.len();
        drop(file);
        cache.persist(new, Kind::Table, blob).inspect_err(|error| cache.complain(error))?;
        cache.prune_when_due(Kind::Table, length);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
