//! Keeping the cache within its size: the least recently used goes first, and so does what killed runs have left.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::folder::{self, Environment};
use super::new_file::UNFINISHED;
use super::{Cache, Kind};
use crate::image::digest::Digest;

/// The variable that says how many bytes may stay.
pub const SIZE_VARIABLE: &str = "DOCKER_ARTIFACT_CACHE_SIZE";

/// So many stay where it says nothing.
pub(super) const LIMIT: u64 = 1 << 30;

/// The cache is looked through when a process has kept its first table, and again after so many bytes more, or after an eighth of what may
/// stay.
const EVERY: u64 = 64 << 20;

/// It is also looked through when nobody has for so long.
const AT_LEAST: Duration = Duration::from_secs(60 * 60);

/// So old is what a killed run has left, and nobody is writing any more.
const LEFT_BEHIND: Duration = Duration::from_secs(60 * 60);

/// Whoever prunes has a lock on this file, and its time of modification says when it was last done.
const LOCK: &str = "pruned";

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many files.
    pub files: u64,
    /// How many bytes they took on the disk.
    pub bytes: u64,
}

/// A file of the cache.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub path: PathBuf,
    pub kind: Kind,
    /// The digest that it lies under.
    pub digest: Digest,
    /// How many bytes it takes on the disk.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
}

/// How many bytes may stay. An error is a sentence that says what is wrong.
pub(super) fn limit(environment: Environment<'_>) -> Result<u64, String> {
    let Some(text) = environment(SIZE_VARIABLE).filter(|text| !text.is_empty()) else { return Ok(LIMIT) };
    let read = text.to_str().and_then(bytes);
    read.ok_or_else(|| format!("{SIZE_VARIABLE}: \"{}\" is not a size such as 500MB or 2GB; using 1GB", text.display()))
}

/// Reads a size as Docker's `--max-used-space` does: a number, and a unit of 1024 to some power.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

impl Cache {
    /// Prunes where `bytes` more of this kind, which were just kept, make it time to.
    pub(super) fn prune_when_due(&self, kind: Kind, bytes: u64) {
        let (before, every) = (self.unpruned.load(Ordering::Relaxed), EVERY.min(self.limit / 8));
        let is_due = match before {
            u64::MAX => kind == Kind::Table || bytes > every || self.was_pruned_long_ago(),
            before => before.saturating_add(bytes) > every,
        };
        if is_due {
            self.unpruned.store(0, Ordering::Relaxed);
            self.prune(self.limit);
        } else if before != u64::MAX {
            self.unpruned.store(before.saturating_add(bytes), Ordering::Relaxed);
        }
    }

    fn was_pruned_long_ago(&self) -> bool {
        let last = fs::metadata(self.lock_file()).and_then(|metadata| metadata.modified());
        last.map_or(true, |last| SystemTime::now().duration_since(last).is_ok_and(|age| age > AT_LEAST))
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join(Kind::Table.folder()).join(LOCK)
    }

    /// Removes what was used least recently, until at most `limit` bytes stay, and what killed runs have left. Where another process is
    /// at it, this one leaves it to that.
    pub fn prune(&self, limit: u64) -> Pruned {
        let lock = folder::options().create(true).truncate(false).write(true).mode(0o600).open(self.lock_file());
        let mut pruned = Pruned::default();
        let Ok(lock) = lock.inspect_err(|error| self.complain(error)) else { return pruned };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return pruned;
        }
        let now = SystemTime::now();
        let _ = lock.set_modified(now);
        let mut found = self.found(Some(now));
        // Of what was used at one time, the smallest stays: names and manifests cost a request each, and next to nothing.
        found.sort_by_key(|file| (std::cmp::Reverse(file.used), file.bytes));
        let mut stays = 0_u64;
        for file in found {
            stays = stays.saturating_add(file.bytes);
            if stays > limit {
                pruned += remove(&file);
            }
        }
        pruned
    }

    /// Removes everything of which `is_old` says so of the time when it was last used, and what killed runs have left.
    pub fn remove_all(&self, is_old: impl Fn(SystemTime) -> bool) -> Pruned {
        let mut pruned = Pruned::default();
        for file in self.found(Some(SystemTime::now())).into_iter().filter(|file| is_old(file.used)) {
            pruned += remove(&file);
        }
        pruned
    }

    /// All files of the cache. With a time, what has been left behind by then is removed on the way. What has another name than this
    /// program gives is none of it, whatever it is.
    pub(super) fn found(&self, left_behind_by: Option<SystemTime>) -> Vec<Found> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let folder = self.root.join(kind.folder());
            // What a link leads to is not to be removed.
            if !folder::is_folder(&folder) {
                continue;
            }
            if let Some(now) = left_behind_by {
                entries(&folder).for_each(|entry| remove_left_behind(&entry, now));
            }
            for algorithm in ["sha256", "sha512"] {
                if !folder::is_folder(&folder.join(algorithm)) {
                    continue;
                }
                found.extend(entries(&folder.join(algorithm)).filter_map(|entry| {
                    let name = entry.file_name();
                    let digest: Digest = format!("{algorithm}:{}", name.to_str()?).parse().ok()?;
                    let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file())?;
                    let (bytes, used) = (on_disk(&metadata), metadata.modified().ok()?);
                    Some(Found { path: entry.path(), kind, digest, bytes, used })
                }));
            }
        }
        found
    }
}

/// How many bytes of the disk a file takes.
pub(super) fn on_disk(metadata: &fs::Metadata) -> u64 {
    // `st_blocks` counts units of 512 bytes (POSIX leaves that open; Linux and macOS say so).
    metadata.blocks().saturating_mul(512).max(metadata.len())
}

pub(super) fn remove(file: &Found) -> Pruned {
    match fs::remove_file(&file.path) {
        Ok(()) => Pruned { files: 1, bytes: file.bytes },
        // Somebody else has.
        Err(_) => Pruned::default(),
    }
}

impl std::ops::AddAssign for Pruned {
    fn add_assign(&mut self, other: Pruned) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

fn entries(folder: &std::path::Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(folder).into_iter().flatten().filter_map(io::Result::ok)
}

fn remove_left_behind(entry: &fs::DirEntry, now: SystemTime) {
    let is_unfinished = |name: &OsStr| name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
    let age = || now.duration_since(entry.metadata().ok()?.modified().ok()?).ok();
    if is_unfinished(&entry.file_name()) && age().is_some_and(|age| age > LEFT_BEHIND) {
        let _ = fs::remove_file(entry.path());
    }
}
