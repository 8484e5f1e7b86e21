//! Whether a folder is as it was: a digest of what the system says of all that is in it.
//!
//! Content is not read. Whoever changes a file or its metadata changes its time of change (stat(2), `st_ctim`), which nobody can set.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::image::digest::{Digest, Hasher};

/// The seal of `folder`, which is a directory: of the names, kinds, modes, lengths, owners and times of all that is below it. That it is
/// moved as a whole makes no difference. Takes memory for the names of the directories that are still to be read, and of one directory.
///
/// # Errors
///
/// It is no directory, or not all of it can be read.
pub fn seal(folder: &Path) -> io::Result<Digest> {
    if !fs::symlink_metadata(folder)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mut hasher = Hasher::default();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(folder.join(&directory))?;
        let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        for name in names {
            let path = directory.join(name);
            let metadata = fs::symlink_metadata(folder.join(&path))?;
            let numbers = [
                path.as_os_str().len() as u64,
                metadata.mode().into(),
                metadata.uid().into(),
                metadata.gid().into(),
                metadata.len(),
                metadata.mtime().cast_unsigned(),
                metadata.mtime_nsec().cast_unsigned(),
                metadata.ctime().cast_unsigned(),
                metadata.ctime_nsec().cast_unsigned(),
            ];
            for number in numbers {
                hasher.update(&number.to_le_bytes());
            }
            hasher.update(path.as_os_str().as_bytes());
            if metadata.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn whatever_is_changed_breaks_it() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("folder");
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(folder.join("bin/tool"), "hello").unwrap();
        symlink("tool", folder.join("bin/link")).unwrap();
        let mut before = seal(&folder).unwrap();
        assert_eq!(seal(&folder).unwrap(), before);
        let changes: [&dyn Fn(&Path); 5] = [
            // With the length and the times as they were.
            &|bin| {
                let times = fs::metadata(bin.join("tool")).unwrap().modified().unwrap();
                fs::write(bin.join("tool"), "jello").unwrap();
                let file = File::options().append(true).open(bin.join("tool")).unwrap();
                file.set_times(FileTimes::new().set_modified(times)).unwrap();
            },
            &|bin| fs::set_permissions(bin.join("tool"), fs::Permissions::from_mode(0o700)).unwrap(),
            &|bin| fs::write(bin.join("another"), "").unwrap(),
            &|bin| {
                fs::remove_file(bin.join("link")).unwrap();
                symlink("nowhere", bin.join("link")).unwrap();
            },
            &|bin| fs::remove_file(bin.join("tool")).unwrap(),
        ];
        for (number, change) in changes.iter().enumerate() {
            // Some systems count time in steps of some milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change(&folder.join("bin"));
            let after = seal(&folder).unwrap();
            assert_ne!(after, before, "change {number}");
            before = after;
        }
        let moved = directory.path().join("moved");
        fs::rename(&folder, &moved).unwrap();
        assert_eq!(seal(&moved).unwrap(), before);
        symlink(&moved, &folder).unwrap();
        assert!(seal(&folder).is_err(), "it is a link");
    }
}
