//! Gives a written file, directory or link the metadata that the image has for it, through its open handle.
//!
//! A file system that keeps no modes, times or attributes (FAT, many network ones) still takes the content, so those
//! failures are warnings: new files are closed to others until their mode is set. An owner that cannot be given is an
//! error, as a setuid file would then run as somebody else.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, Gid, Mode, RawMode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr,
    fstat, futimens, utimensat,
};

use super::Metadata;
use super::error::{ExtractError, Shown, ShownBytes};
use super::warnings::Warnings;

/// Setuid and setgid.
const SET_ID: u32 = 0o6000;

/// What a file is given while it is still open for writing, so that it need not be opened again for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The permission bits; setuid, setgid and sticky are left out.
    pub mode: u32,
    /// The modification time: seconds since the Unix epoch, and nanoseconds (0 to 999,999,999).
    pub mtime: (i64, u32),
}

/// Applies `metadata` to an open file or directory, which lies, or will lie, at `path`.
pub(super) fn apply(
    file: BorrowedFd<'_>,
    metadata: &Metadata,
    mode: u32,
    preserve: bool,
    path: &Path,
    warnings: &mut Warnings,
) -> Result<(), ExtractError> {
    if preserve {
        // The owner first: changing it clears setuid, setgid and the security.capability attribute (chown(2)).
        let (uid, gid) = owner(metadata, path)?;
        fchown(file, Some(uid), Some(gid)).map_err(|error| refused(metadata, path, error))?;
        for (name, value) in &metadata.xattrs {
            if let Err(error) = fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                warnings.add(|| format!("{}: attribute {} not kept: {error}", Shown(path), ShownBytes(name)));
            }
        }
    }
    set_mode(file, mode, path, warnings);
    if let Err(error) = futimens(file, &times(metadata.mtime)) {
        warnings.add(|| format!("{}: modification time not kept: {error}", Shown(path)));
    }
    Ok(())
}

/// Gives a new file its mode and time, and says whether that went well.
pub(super) fn give(file: BorrowedFd<'_>, stamp: Stamp) -> bool {
    // The bits are 0o7777 at most and fit the narrower type of other systems.
    fchmod(file, Mode::from_raw_mode(stamp.mode as RawMode)).is_ok() && futimens(file, &times(stamp.mtime)).is_ok()
}

/// Applies `metadata` to the symbolic link `name` in `directory`. Its mode means nothing.
pub(super) fn apply_to_link(
    directory: BorrowedFd<'_>,
    name: &[u8],
    metadata: &Metadata,
    preserve: bool,
    path: &Path,
    warnings: &mut Warnings,
) -> Result<(), ExtractError> {
    if preserve {
        let (uid, gid) = owner(metadata, path)?;
        chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| refused(metadata, path, error))?;
        if !metadata.xattrs.is_empty() {
            warnings.add(|| format!("{}: the attributes of a symbolic link are not kept", Shown(path)));
        }
    }
    if let Err(error) = utimensat(directory, name, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW) {
        warnings.add(|| format!("{}: modification time not kept: {error}", Shown(path)));
    }
    Ok(())
}

/// Sets exactly `mode`, whatever the umask.
pub(super) fn set_mode(file: BorrowedFd<'_>, mode: u32, path: &Path, warnings: &mut Warnings) {
    // The bits are 0o7777 at most and fit the narrower type of other systems.
    if let Err(error) = fchmod(file, Mode::from_raw_mode(mode as RawMode)) {
        warnings.add(|| format!("{}: mode {mode:04o} not kept: {error}", Shown(path)));
    } else if mode & SET_ID != 0 && !has_mode(file, mode) {
        warnings.add(|| format!("{}: mode {mode:04o} not kept: the system dropped setuid or setgid", Shown(path)));
    }
}

/// Whether `file` has exactly these bits: who is not in a file's group loses setgid without an error (chmod(2)).
fn has_mode(file: BorrowedFd<'_>, mode: u32) -> bool {
    fstat(file).is_ok_and(|stat| Mode::from_raw_mode(stat.st_mode) == Mode::from_raw_mode(mode as RawMode))
}

fn owner(metadata: &Metadata, path: &Path) -> Result<(Uid, Gid), ExtractError> {
    // The highest number means "leave as it is" to chown(2).
    let narrow = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
    match (narrow(metadata.uid), narrow(metadata.gid)) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(refused(metadata, path, rustix::io::Errno::RANGE)),
    }
}

fn refused(metadata: &Metadata, path: &Path, error: impl Into<io::Error>) -> ExtractError {
    ExtractError::Owner { path: path.to_owned(), uid: metadata.uid, gid: metadata.gid, error: error.into() }
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        // Larger values have other meanings to utimensat(2).
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.min(999_999_999).into() },
    }
}
