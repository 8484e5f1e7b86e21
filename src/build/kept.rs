//! The folders that builds were given in place of images, kept for the next build: what was fetched for one image and one set of
//! paths lies under the image's digest, and a record beside it says what was asked for and what is there. A folder appears whole, by
//! one rename, and is never changed afterwards, which a seal vouches for; what is fetched again becomes another folder, as a build may be reading the first.
//!
//! They lie in `build` below Docker-artifact's cache: `DOCKER_ARTIFACT_CACHE`, or the system's folder for caches. `off` keeps
//! nothing. What nobody has used for two weeks is removed, and the least recently used beyond 1 GiB.

mod contents;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, FileTimes};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use contents::{KeptImage, forget_image, kept_images};

use super::seal::seal;
use super::temporary::Temporary;
use crate::cache::{self, Environment};
use crate::extract;
use crate::image::digest::Digest;

/// So long a folder stays that no build uses.
const MAX_AGE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// So many bytes of files stay.
const MAX_BYTES: u64 = 1 << 30;

/// What was used within this time is never removed for its size: a build may be reading it.
const IN_USE: Duration = Duration::from_secs(24 * 60 * 60);

/// The form of records. Those of another are not looked at.
const VERSION: u32 = 2;

/// The beginning of the name of a record that is being written.
const UNFINISHED: &str = ".record-";

/// That of a folder that is being written ([`extract::Staging`]).
const STAGING: &str = ".docker-artifact-";

/// So many digits of a record's name begin those of its folders.
const STEM: usize = 16;

/// Where folders are kept.
#[derive(Debug)]
pub struct Kept {
    root: PathBuf,
    /// Removes it all at the end, where nothing is to stay.
    temporary: Option<Temporary>,
}

/// Where what is known of one image and one set of paths is, or will be.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder of the image.
    directory: PathBuf,
    /// The name of the record, and the beginning of the names of its folders.
    stem: String,
}

/// What is known of a folder, or of why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// The image, with its digest.
    pub image: String,
    /// The paths that were asked for, each with the length in bytes of what is there.
    pub paths: Vec<(String, u64)>,
    /// The length of all the image's layers in bytes, as stored.
    pub image_bytes: u64,
    /// The name of the folder below that of the image; empty where there is none.
    folder: String,
    /// The digest of the layout's manifest, where the folder is an image layout.
    pub manifest: Option<Digest>,
    /// Why there is no folder: the end of a sentence that begins with `IMAGE is left to BuildKit: `.
    pub unfit: Option<String>,
}

/// A record as it is kept.
#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    record: Record,
    /// What the folder was like when it was kept; `None` where there is none.
    seal: Option<Digest>,
}

impl Record {
    /// A record of what is in `folder`.
    pub fn of(folder: &Path, image: String, paths: Vec<(String, u64)>, image_bytes: u64) -> Self {
        let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Record { version: VERSION, image, paths, image_bytes, folder, manifest: None, unfit: None }
    }

    /// A record of why there is nothing.
    pub fn unfit(image: String, why: String) -> Self {
        Record { unfit: Some(why), ..Record::of(Path::new(""), image, Vec::new(), 0) }
    }

    /// The length in bytes of all that was asked for.
    pub fn bytes(&self) -> u64 {
        self.paths.iter().map(|(_, bytes)| bytes).fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl Kept {
    /// The place that `environment` names. It is made where it is not there; a folder that others could write into, or that is
    /// somebody else's, is not used.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or written into, is not this user's alone, or its path is not UTF-8; then [`Kept::temporary`] does.
    pub fn open(environment: Environment<'_>) -> io::Result<Self> {
        let Some(root) = cache::root(environment) else { return Kept::temporary() };
        // BuildKit's client is given absolute paths, whatever the working directory of a later build.
        let root = cache::private(&folder_for_builds(&root.path))?;
        if root.to_str().is_none() {
            let problem = format!("{} is not UTF-8, which buildx cannot be given", root.display());
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, problem));
        }
        // It may have become read-only.
        tempfile::tempfile_in(&root)?;
        let kept = Kept { root, temporary: None };
        kept.prune(SystemTime::now());
        Ok(kept)
    }

    /// A place of its own that is gone at the end.
    pub fn temporary() -> io::Result<Self> {
        let temporary = Temporary::new()?;
        Ok(Kept { root: temporary.path().to_owned(), temporary: Some(temporary) })
    }

    /// Whether what is fetched is still there after the program has ended.
    pub fn is_lasting(&self) -> bool {
        self.temporary.is_none()
    }

    /// Where what `asked` says of the image with this digest is. `asked` is all that decides what the folder holds.
    pub fn place(&self, image: &Digest, asked: &[u8]) -> io::Result<Place> {
        let of_image = self.root.join(image.encoded());
        DirBuilder::new().recursive(true).mode(0o700).create(&of_image)?;
        Ok(Place { directory: of_image, stem: Digest::of(asked).encoded().to_owned() })
    }

    /// What an earlier build has left at `place`, which counts as used now. A record that cannot be read does not count, nor does one of
    /// a folder that somebody has changed since, such as someone who tidies up.
    pub fn get(&self, place: &Place) -> Option<Record> {
        let Sealed { record, seal: kept } = read(&place.record())?;
        if record.unfit.is_none() && seal(&place.folder_of(&record)).ok() != Some(kept?) {
            return None;
        }
        // If that fails, it is only forgotten sooner.
        let touched = File::options().append(true).open(place.record());
        let _ = touched.and_then(|file| file.set_times(FileTimes::new().set_modified(SystemTime::now())));
        Some(record)
    }

    /// Notes what is at `place` now.
    pub fn put(&self, place: &Place, record: &Record) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&place.directory)?;
        let seal = record.unfit.is_none().then(|| seal(&place.folder_of(record))).transpose()?;
        serde_json::to_writer(&mut file, &Sealed { record: record.clone(), seal })?;
        file.persist(place.record())?;
        Ok(())
    }

    /// Removes what is old, the least recently used of what is too much, and folders that no record tells of. That something cannot be
    /// removed is no reason to stop. What has another name than this program gives stays, whatever it is: the place may be somebody's
    /// folder of that name, such as a project's `build`.
    fn prune(&self, now: SystemTime) {
        let mut known: Vec<(Duration, PathBuf, Record)> = Vec::new();
        let mut folders = Vec::new();
        let images = || entries(&self.root).filter(is_of_image);
        for entry in images().flat_map(|of_image| entries(&of_image.path())) {
            let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            if metadata.is_dir() && is_folder(&name) {
                folders.push((path, age(now, metadata.ctime())));
            } else if metadata.is_file() && is_record(&name) {
                known.extend(read(&path).map(|sealed| (age(now, metadata.mtime()), path, sealed.record)));
            } else if metadata.is_file() && name.starts_with(UNFINISHED) && age(now, metadata.ctime()) > IN_USE {
                let _ = fs::remove_file(path);
            }
        }
        known.sort_by_key(|(age, ..)| *age);
        let mut bytes = 0_u64;
        let mut stays = HashSet::new();
        for (age, path, record) in &known {
            bytes = bytes.saturating_add(record.bytes());
            if *age > MAX_AGE || (bytes > MAX_BYTES && *age > IN_USE) {
                // The record first: a folder without one counts for nothing.
                let _ = fs::remove_file(path);
            } else {
                stays.insert(path.with_file_name(&record.folder));
            }
        }
        for (folder, age) in folders {
            // A new one may be on its way to its record.
            let is_new =
                age < IN_USE && !known.iter().any(|(_, path, record)| path.with_file_name(&record.folder) == folder);
            if !is_new && !stays.contains(&folder) {
                let _ = extract::remove(&folder);
            }
        }
        // Only those that are empty can be. A new one may be on its way to its first folder.
        for of_image in images().filter(|of_image| of_image.metadata().is_ok_and(|it| age(now, it.ctime()) > IN_USE)) {
            let _ = fs::remove_dir(of_image.path());
        }
    }
}

impl Place {
    fn record(&self) -> PathBuf {
        self.directory.join(&self.stem).with_extension("json")
    }

    /// The folder that `record` tells of.
    pub fn folder_of(&self, record: &Record) -> PathBuf {
        self.directory.join(&record.folder)
    }

    /// A name for a folder that nothing has.
    pub fn new_folder(&self) -> PathBuf {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Long enough to tell runs and folders apart, short enough to be read in a command line.
        let own = Digest::of(format!("{} {}", std::process::id(), now.as_nanos()).as_bytes());
        self.directory.join(format!("{}-{}", &self.stem[..STEM], own.short()))
    }
}

/// Where all that builds were given lies, below the cache's `root`.
fn folder_for_builds(root: &Path) -> PathBuf {
    root.join("build")
}

fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok)
}

/// Whether this is the folder of an image, which has the name of its digest. What a link leads to is not looked into.
fn is_of_image(entry: &fs::DirEntry) -> bool {
    let is_digest = entry.file_name().to_str().is_some_and(|name| [64, 128].contains(&name.len()) && is_hex(name));
    is_digest && entry.file_type().is_ok_and(|kind| kind.is_dir())
}

/// Whether a record has such a name: see [`Place::record`].
fn is_record(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(|stem| stem.len() == 64 && is_hex(stem))
}

/// Whether a folder has such a name: see [`Place::new_folder`].
fn is_folder(name: &str) -> bool {
    let is_whole = name.split_once('-').is_some_and(|(stem, own)| stem.len() == STEM && is_hex(stem) && is_hex(own));
    is_whole || name.starts_with(STAGING)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The record in a file, if there is one of this form.
fn read(file: &Path) -> Option<Sealed> {
    let sealed: Sealed = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let record = &sealed.record;
    // The name of a single folder, so that it cannot lead elsewhere.
    let is_name = !record.folder.contains('/') && !["", ".", ".."].contains(&record.folder.as_str());
    (record.version == VERSION && (is_name || record.unfit.is_some())).then_some(sealed)
}

/// How long ago something happened, in seconds since the epoch; no time at all for what is still to come.
fn age(now: SystemTime, seconds: i64) -> Duration {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    now.duration_since(then).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::cache::VARIABLE;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn kept(directory: &Path) -> Kept {
        let environment = |name: &str| (name == VARIABLE).then(|| directory.as_os_str().to_owned());
        Kept::open(&environment).unwrap()
    }

    fn record(folder: &Path, bytes: u64) -> Record {
        Record::of(folder, "tools:1".to_owned(), vec![("/bin/tool".to_owned(), bytes)], 40_000_000)
    }

    /// Keeps a folder of so many bytes, last used so long ago.
    fn keep(kept: &Kept, name: &str, bytes: u64, age: Duration) -> (Place, PathBuf) {
        let place = kept.place(&Digest::of(name.as_bytes()), b"/bin/tool").unwrap();
        let folder = place.new_folder();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tool"), name).unwrap();
        kept.put(&place, &record(&folder, bytes)).unwrap();
        let file = File::options().append(true).open(place.record()).unwrap();
        file.set_times(FileTimes::new().set_modified(SystemTime::now() - age)).unwrap();
        (place, folder)
    }

    #[test]
    fn what_was_fetched_is_found_again_by_image_and_by_what_was_asked() {
        let directory = tempfile::tempdir().unwrap();
        let kept = kept(directory.path());
        let (place, folder) = keep(&kept, "image", 5, Duration::ZERO);
        let found = kept.get(&place).unwrap();
        assert_eq!((&found, place.folder_of(&found)), (&record(&folder, 5), folder));
        for (image, asked) in [("image", "/bin/other"), ("other", "/bin/tool")] {
            let other = kept.place(&Digest::of(image.as_bytes()), asked.as_bytes()).unwrap();
            assert_eq!(kept.get(&other), None);
        }
    }

    #[test]
    fn a_record_without_its_folder_or_that_cannot_be_read_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let kept = kept(directory.path());
        let (place, folder) = keep(&kept, "image", 5, Duration::ZERO);
        fs::remove_dir_all(folder).unwrap();
        assert_eq!(kept.get(&place), None);
        let (place, _) = keep(&kept, "other", 5, Duration::ZERO);
        fs::write(place.record(), "{").unwrap();
        assert_eq!(kept.get(&place), None);
        for folder in ["", ".", "..", "../x"] {
            fs::create_dir_all(place.directory.join(folder)).unwrap();
            kept.put(&place, &Record { folder: folder.to_owned(), ..record(Path::new("x"), 5) }).unwrap();
            assert_eq!(kept.get(&place), None, "{folder}");
        }
        kept.put(&place, &Record::unfit("tools:1".to_owned(), "it has devices".to_owned())).unwrap();
        assert_eq!(kept.get(&place).unwrap().unfit.as_deref(), Some("it has devices"));
    }

    #[test]
    fn a_folder_that_was_changed_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let kept = kept(directory.path());
        let (place, folder) = keep(&kept, "image", 5, Duration::ZERO);
        assert!(kept.get(&place).is_some());
        fs::remove_file(folder.join("tool")).unwrap();
        assert_eq!(kept.get(&place), None);
    }

    #[test]
    fn what_is_fetched_again_leaves_the_folder_before_alone() {
        let directory = tempfile::tempdir().unwrap();
        let before = keep(&kept(directory.path()), "image", 5, Duration::ZERO).1;
        let (place, after) = keep(&kept(directory.path()), "image", 5, Duration::ZERO);
        let kept = kept(directory.path());
        assert!(before.is_dir() && before != after);
        assert_eq!(place.folder_of(&kept.get(&place).unwrap()), after);
        kept.prune(SystemTime::now() + 2 * DAY);
        assert!(!before.exists() && after.is_dir(), "nothing tells of the first any more");
    }

    #[test]
    fn what_nobody_uses_goes_and_what_is_too_much_but_never_what_was_used_today() {
        let directory = tempfile::tempdir().unwrap();
        let unpruned = Kept { root: directory.path().join("build"), temporary: None };
        let places = [
            keep(&unpruned, "in use", MAX_BYTES, Duration::ZERO),
            keep(&unpruned, "in use, too", MAX_BYTES, DAY / 2),
            keep(&unpruned, "too much", 1, DAY * 2),
            keep(&unpruned, "old", 0, MAX_AGE + DAY),
        ];
        let kept = kept(directory.path());
        let is_there = places.map(|(place, folder)| (kept.get(&place).is_some(), folder.exists()));
        assert_eq!(is_there, [(true, true), (true, true), (false, false), (false, false)]);
    }

    #[test]
    fn what_is_not_its_own_stays_whatever_its_age() {
        let directory = tempfile::tempdir().unwrap();
        let (place, folder) = keep(&kept(directory.path()), "image", 5, Duration::ZERO);
        let elsewhere = directory.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join(folder.file_name().unwrap())).unwrap();
        let build = directory.path().join("build");
        let digest = Digest::of(b"other");
        std::os::unix::fs::symlink(&elsewhere, build.join(digest.encoded())).unwrap();
        for name in ["classes/main", &format!("{}/main", Digest::of(b"mine").encoded())] {
            fs::create_dir_all(build.join(name)).unwrap();
            fs::copy(place.record(), build.join(name).with_extension("json")).unwrap();
        }
        let before = [fs::read_dir(&build).unwrap().count(), fs::read_dir(build.join("classes")).unwrap().count()];
        drop(fs::remove_file(place.record()));
        kept(directory.path()).prune(SystemTime::now() + 2 * MAX_AGE);
        assert!(!folder.exists(), "it is its own, and no record tells of it");
        let after = [fs::read_dir(&build).unwrap().count(), fs::read_dir(build.join("classes")).unwrap().count()];
        assert_eq!(after, [before[0] - 1, before[1]], "the folder of an image with nothing in it goes");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_build_has_left_goes_after_a_day() {
        let directory = tempfile::tempdir().unwrap();
        let (_, folder) = keep(&kept(directory.path()), "image", 5, Duration::ZERO);
        let left = [".record-abc", ".docker-artifact-012345"].map(|name| folder.with_file_name(name));
        fs::write(&left[0], "{").unwrap();
        fs::create_dir(&left[1]).unwrap();
        for (days, is_there) in [(0, true), (2, false)] {
            kept(directory.path()).prune(SystemTime::now() + days * DAY);
            assert_eq!(left.each_ref().map(|path| path.exists()), [is_there; 2], "after {days} days");
        }
        assert!(folder.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_place_that_cannot_be_named_to_buildx_is_not_used() {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt as _;
        let directory = tempfile::tempdir().unwrap();
        let named = directory.path().join(OsString::from_vec(b"\xff".to_vec()));
        let error = Kept::open(&|name| (name == VARIABLE).then(|| named.clone().into())).unwrap_err();
        assert!(error.to_string().contains("is not UTF-8"), "{error}");
    }

    #[test]
    fn a_folder_that_nobody_may_write_into_can_be_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (_, folder) = keep(&kept(directory.path()), "image", 5, MAX_AGE + DAY);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
        drop(kept(directory.path()));
        assert!(!folder.exists());
    }

    #[test]
    fn a_place_that_others_may_write_into_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        drop(kept(directory.path()));
        fs::set_permissions(directory.path().join("build"), fs::Permissions::from_mode(0o777)).unwrap();
        let environment = |name: &str| (name == VARIABLE).then(|| directory.path().as_os_str().to_owned());
        assert!(Kept::open(&environment).unwrap_err().to_string().contains("or others can write to it"));
    }

    #[test]
    fn off_keeps_nothing() {
        let kept = Kept::open(&|name| (name == VARIABLE).then(|| "off".into())).unwrap();
        let (_, folder) = keep(&kept, "image", 5, Duration::ZERO);
        assert!(!kept.is_lasting() && folder.exists());
        drop(kept);
        assert!(!folder.exists());
    }
}
