//! Where this program keeps things for its next run: the folder that the environment names or the system has for caches, and what a
//! folder must be like for what lies in it to be believed.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The variable that names another place, or says `off`.
pub const VARIABLE: &str = "DOCKER_ARTIFACT_CACHE";

/// Where things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The folder, which need not be there.
    pub path: PathBuf,
    /// Whether [`VARIABLE`] names it, so that somebody relies on it.
    pub is_named: bool,
}

/// The folder for everything that is kept; `None` where nothing is to be kept, or there is no such place.
pub fn root(environment: Environment<'_>) -> Option<Root> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    match set(VARIABLE) {
        Some(off) if off == "off" => None,
        Some(named) => Some(Root { path: PathBuf::from(named), is_named: true }),
        None => {
            let home = || set("HOME").map(PathBuf::from);
            let caches = match cfg!(target_os = "macos") {
                true => home().map(|home| home.join("Library/Caches")),
                false => {
                    // A relative path there counts for nothing (XDG Base Directory Specification, *Basics*).
                    let named = set("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
                    named.or_else(|| home().map(|home| home.join(".cache")))
                }
            };
            caches.map(|caches| Root { path: caches.join("docker-artifact"), is_named: false })
        }
    }
}

/// Makes `folder` where it is not there, for this user alone, and gives its absolute path.
///
/// # Errors
///
/// It cannot be made, or it, or the folder that it is in, is somebody else's or one that others may write into: somebody who can write into the
/// latter can put another folder in its place.
pub fn private(folder: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    already_private(folder)
}

/// The absolute path of `folder`, which is there.
///
/// # Errors
///
/// It is not there, or is no place to trust, as with [`private`].
pub fn already_private(folder: &Path) -> io::Result<PathBuf> {
    let within = folder.parent().map(|within| if within.as_os_str().is_empty() { Path::new(".") } else { within });
    for folder in within.into_iter().chain([folder]) {
        let metadata = fs::metadata(folder)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            let problem = format!("{} belongs to another user, or others can write to it", folder.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        }
    }
    folder.canonicalize()
}

/// How a file of the cache is opened: not through a link, which could lead anywhere, and without waiting for whoever is at the other end of
/// a pipe.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

/// Whether `folder` is one, and no link to one.
pub(super) fn is_folder(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_place_is_the_one_named_then_the_systems() {
        let of = |set: &[(&str, &str)]| {
            let root =
                root(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)));
            root.map(|Root { path, is_named }| (path, is_named))
        };
        assert_eq!(of(&[("HOME", "/h"), (VARIABLE, "/named")]), Some(("/named".into(), true)));
        assert_eq!(of(&[("HOME", "/h"), (VARIABLE, "off")]), None);
        assert_eq!(of(&[]), None);
        if cfg!(target_os = "linux") {
            let system = |path: &str| Some((path.into(), false));
            assert_eq!(of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), system("/x/docker-artifact"));
            assert_eq!(of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "x")]), system("/h/.cache/docker-artifact"));
            assert_eq!(of(&[("HOME", "/h"), (VARIABLE, "")]), system("/h/.cache/docker-artifact"));
        }
    }

    #[test]
    fn a_folder_that_others_may_write_into_is_not_private() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("a/b");
        assert_eq!(private(&folder).unwrap(), folder.canonicalize().unwrap());
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        for other in [folder.as_path(), folder.parent().unwrap()] {
            fs::set_permissions(other, fs::Permissions::from_mode(0o770)).unwrap();
            let refused = private(&folder).unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("{} belongs to another user, or others can write to it", other.display())),
                "{refused}"
            );
            fs::set_permissions(other, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}
