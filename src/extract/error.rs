//! What can go wrong when results are written, each with the path and what to try. Paths are shown without raw bytes that a
//! terminal would act on, as they come from images.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A failure to write results.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The destination is an empty name, or one that names nothing (`missing/..`).
    #[error("\"{}\" does not name a place to write to; give -o a file, a directory or - for standard output", Shown(.path))]
    InvalidDestination {
        /// What was given.
        path: PathBuf,
    },
    /// The directory that the destination should be in is not there.
    #[error(
        "cannot write {}: there is no directory {}; create it first, or end the destination with / to have it created",
        Shown(.path), Shown(.parent)
    )]
    NoParent {
        /// The destination.
        path: PathBuf,
        /// The directory that is missing.
        parent: PathBuf,
    },
    /// The destination, or the directory it should be in, is something else.
    #[error("{} is not a directory; remove it or choose another destination", Shown(.path))]
    NotADirectory {
        /// What is no directory.
        path: PathBuf,
    },
    /// The destination is a device, a pipe or a socket, which a rename would replace by a file.
    #[error("{} is a device, a pipe or a socket and is not replaced; write to it with -o - and a redirection", Shown(.path))]
    SpecialInTheWay {
        /// The destination.
        path: PathBuf,
    },
    /// Several things are to be written under one name.
    #[error("cannot write several things to one file, {}; to write them to a directory, end it with /", Shown(.path))]
    SeveralThings {
        /// The destination.
        path: PathBuf,
    },
    /// Two things would have the same name in one place.
    #[error("two things would both be written as {}; fetch them one by one, each with its own -o", Shown(.path))]
    SameName {
        /// Where both would be.
        path: PathBuf,
    },
    /// A name from the image would lead out of its directory.
    #[error("the image names an entry \"{}\", which is not a file name; nothing was written", ShownBytes(.name))]
    UnsafeName {
        /// The name.
        name: Vec<u8>,
    },
    /// A symbolic link in the image has a target that no link can have.
    #[error("the image has a symbolic link {} with an empty target or one with a NUL byte; nothing was written", Shown(.path))]
    UnsafeLink {
        /// The link.
        path: PathBuf,
    },
    /// A tree has more levels than are written.
    #[error("{} has directories nested deeper than {} levels; fetch the inner ones by themselves", Shown(.path), super::MAX_DEPTH)]
    TooDeep {
        /// The top of the tree.
        path: PathBuf,
    },
    /// A directory exists where a file should be written.
    #[error("{} is an existing directory, and is not replaced by a file or a link; remove it or choose another destination", Shown(.path))]
    DirectoryInTheWay {
        /// The directory.
        path: PathBuf,
    },
    /// A file exists where a directory should be written.
    #[error("{} is an existing file, and is not replaced by a directory; remove it or choose another destination", Shown(.path))]
    FileInTheWay {
        /// The file.
        path: PathBuf,
    },
    /// A symbolic link exists where a directory should be written into.
    #[error(
        "{} is a symbolic link, and directories are never written through one; remove it, or name its target as the destination",
        Shown(.path)
    )]
    SymlinkInTheWay {
        /// The link.
        path: PathBuf,
    },
    /// Ownership is to be kept by a user who cannot.
    #[error("only root can keep ownership and setuid; run it as root, or without --preserve")]
    PreserveNeedsRoot,
    /// The owner in the image could not be given to what was written.
    #[error("cannot give {} to the owner {uid}:{gid}: {error}; leave out --preserve", Shown(.path))]
    Owner {
        /// The item.
        path: PathBuf,
        /// The user ID.
        uid: u64,
        /// The group ID.
        gid: u64,
        /// The operating system's reason.
        #[source]
        error: io::Error,
    },
    /// The operating system refused to write.
    #[error("cannot write {}: {error}; {}", Shown(.path), remedy(.error))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        error: io::Error,
    },
    /// Staged content could not be read back.
    #[error("cannot read back the content fetched for {}: {error}; fetch it again", Shown(.path))]
    ReadBack {
        /// What the content is for.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        error: io::Error,
    },
    /// Standard output (or whatever stands for it) took no more.
    #[error("cannot write to standard output: {0}; check where it goes, or write to a file with -o FILE")]
    Output(#[source] io::Error),
    /// Holes, which cost an image nothing, would become more zeros on standard output than anybody can want there.
    #[error(
        "the image stores {holes} bytes as holes, and on standard output they would be zeros; no more than {limit} are \
         written; write to a file with -o FILE, where holes stay holes"
    )]
    TooManyZeros {
        /// Their length in bytes.
        holes: u64,
        /// The most that is written.
        limit: u64,
    },
    /// [`discard_all`](super::discard_all) was called while this was being written.
    #[error("interrupted; incomplete files were removed; run it again")]
    Interrupted,
}

impl ExtractError {
    /// Whether another command line is all it takes, which is exit code 2.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::InvalidDestination { .. }
                | Self::SeveralThings { .. }
                | Self::SameName { .. }
                | Self::PreserveNeedsRoot
        )
    }

    pub(super) fn write(path: impl Into<PathBuf>, error: impl Into<io::Error>) -> Self {
        Self::Write { path: path.into(), error: error.into() }
    }
}

/// A failure to stage content: whether the bytes did not come, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The reader failed (its error, unchanged), or ended early ([`io::ErrorKind::UnexpectedEof`]).
    #[error(transparent)]
    Read(io::Error),
    /// The content could not be written.
    #[error(transparent)]
    Write(ExtractError),
}

fn remedy(error: &io::Error) -> &'static str {
    if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) {
        return "raise the limit on open files (ulimit -n)";
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or choose another destination (with TMPDIR for standard output)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a destination that you may write to (with TMPDIR for standard output)"
        }
        io::ErrorKind::FileTooLarge => {
            "raise the limit on a file's size (ulimit -f), or choose a destination whose file system holds larger ones"
        }
        io::ErrorKind::StaleNetworkFileHandle => "it was moved or removed meanwhile; run it again",
        io::ErrorKind::CrossesDevices => "it is on another file system; fetch it there by itself with -o",
        _ => "check the file system, or choose another destination",
    }
}

/// A path as a person may see it: control characters and bytes that are no UTF-8 are escaped.
pub(super) struct Shown<'a>(pub &'a Path);

/// A raw name as a person may see it, as [`Shown`] does it.
pub(super) struct ShownBytes<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownBytes(self.0.as_os_str().as_bytes()).fmt(f)
    }
}

impl fmt::Display for ShownBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_an_image_never_reaches_the_terminal_raw() {
        let error = ExtractError::UnsafeName { name: b"a\x1b[31m\xff/\n".to_vec() };
        assert_eq!(
            error.to_string(),
            "the image names an entry \"a\\u{1b}[31m\\xff/\\n\", which is not a file name; nothing was written"
        );
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let error = ExtractError::write("/mnt/x", rustix::io::Errno::NOSPC);
        assert!(error.to_string().starts_with("cannot write /mnt/x: No space left on device"), "{error}");
        assert!(error.to_string().contains("free some space"), "{error}");
    }

    #[test]
    fn a_limit_that_was_reached_is_named() {
        for (errno, limit) in [(Errno::MFILE, "ulimit -n"), (Errno::NFILE, "ulimit -n"), (Errno::FBIG, "ulimit -f")] {
            let error = ExtractError::write("/mnt/x", errno).to_string();
            assert!(error.contains(limit), "{error}");
        }
    }
}
