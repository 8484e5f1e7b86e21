//! A folder of this machine as a place that holds files.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::SourceError;
use super::copied::Identity;
use super::files::{Count, Files, Stored, reading, shown};
use super::local::malformed;

/// A folder.
pub(super) struct Directory {
    /// As it was typed.
    place: String,
    /// With all links resolved.
    root: PathBuf,
    count: Count,
}

impl Directory {
    /// The folder at `path`. Fails with [`SourceError::NotFound`] where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let place = path.display().to_string();
        let root = match path.canonicalize() {
            Ok(root) if root.is_dir() => root,
            Ok(_) => {
                return Err(malformed(&place, "it is a file and not a folder; write archive://FILE for an archive"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SourceError::NotFound { what: place, detail: "there is no such folder".to_owned() });
            }
            Err(error) => return Err(SourceError::Io { what: format!("opening {place}"), error }),
        };
        Ok(Directory { place, root, count: Count::default() })
    }
}

/// The files of a layout at the top of its folder; `docker save` adds those of its own.
const AT_THE_TOP: [&str; 4] = ["manifest.json", "repositories", "oci-layout", "index.json"];

impl Directory {
    /// Which folder it is.
    pub(super) fn identity(&self) -> Result<Identity, SourceError> {
        let metadata = std::fs::metadata(&self.root);
        metadata.map(|metadata| Identity::of(&metadata)).map_err(|error| reading(&self.place, ".", error))
    }

    /// The names of a layout's files, each folder's sorted; the index comes last. What else there is belongs to somebody else.
    pub(super) fn layout_files(&self) -> Result<Vec<String>, SourceError> {
        let mut names = Vec::new();
        for algorithm in self.names_in("blobs")? {
            let folder = format!("blobs/{algorithm}");
            let blobs = self.names_in(&folder)?;
            names.extend(blobs.into_iter().map(|blob| format!("{folder}/{blob}")));
        }
        names.extend(AT_THE_TOP.map(str::to_owned));
        Ok(names)
    }

    /// What a folder of it holds; nothing where it is none.
    fn names_in(&self, folder: &str) -> Result<Vec<String>, SourceError> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        let failed = |error| reading(&self.place, folder, error);
        let entries = match std::fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is no text is none of a blob.
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }
}

impl Files for Directory {
    fn place(&self) -> &str {
        &self.place
    }

    fn address(&self, image: &str) -> String {
        let separator = if image.parse::<crate::image::digest::Digest>().is_ok() { '@' } else { ':' };
        format!("oci-dir://{}{separator}{image}", self.place)
    }

    /// Links are followed, though only to what is inside the folder. Whoever can move files in it can do so at any time, which
    /// is why content is compared with its digest wherever there is one.
    fn find(&self, name: &str) -> Result<Option<Stored>, SourceError> {
        let absent = |kind| matches!(kind, std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory);
        let path = match self.root.join(name).canonicalize() {
            Ok(path) => path,
            Err(error) if absent(error.kind()) => return Ok(None),
            Err(error) => return Err(reading(&self.place, name, error)),
        };
        if !path.starts_with(&self.root) {
            let problem = format!("{} is a link that leads out of the folder", shown(name));
            return Err(malformed(&self.place, problem));
        }
        // Opening a FIFO would otherwise wait for whoever writes to it.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path);
        let stored = file.and_then(|file| {
            let is_file = file.metadata()?.is_file();
            is_file.then(|| Stored::new(file, 0, self.count.clone())).transpose()
        });
        match stored {
            Ok(Some(stored)) => Ok(Some(stored)),
            Ok(None) => Err(malformed(&self.place, format!("{} is not a regular file", shown(name)))),
            Err(error) => Err(reading(&self.place, name, error)),
        }
    }

    fn bytes_read(&self) -> u64 {
        self.count.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::source::files::read_small;

    #[test]
    fn links_are_followed_inside_the_folder_and_not_out_of_it() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("layout");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("real"), "inside").unwrap();
        fs::write(outside.path().join("secret"), "outside").unwrap();
        fs::create_dir(outside.path().join("layout-other")).unwrap();
        fs::write(outside.path().join("layout-other/file"), "outside").unwrap();
        symlink("real", root.join("link")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("../layout-other", root.join("folder")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("nothing", root.join("dangling")).unwrap();
        // The folder itself may be reached by a link.
        symlink("layout", outside.path().join("layout-link")).unwrap();
        let directory = Directory::open(&outside.path().join("layout-link")).unwrap();
        for name in ["real", "link"] {
            assert_eq!(read_small(&directory, name).unwrap().unwrap(), "inside");
        }
        assert_eq!(directory.bytes_read(), 12);
        for name in ["out", "folder/file", "../secret", "/etc/passwd"] {
            let error = directory.find(name).unwrap_err().to_string();
            assert!(error.contains("leads out of the folder"), "{name}: {error}");
        }
        assert!(directory.find("loop").is_err());
        for name in ["nothing", "dangling", "real/below", "nowhere/at/all"] {
            assert!(directory.find(name).unwrap().is_none(), "{name}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        let fifo = root.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        fs::create_dir(root.path().join("folder")).unwrap();
        let directory = Directory::open(root.path()).unwrap();
        for name in ["fifo", "folder"] {
            let error = directory.find(name).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} is not a regular file")), "{error}");
        }
    }

    #[test]
    fn a_missing_folder_is_not_found_and_a_file_is_no_folder() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let missing = Directory::open(&root.path().join("none")).err().unwrap();
        assert!(matches!(missing, SourceError::NotFound { .. }), "{missing}");
        let file = Directory::open(&root.path().join("file")).err().unwrap().to_string();
        assert!(file.contains("archive://FILE"), "{file}");
    }
}
