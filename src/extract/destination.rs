//! Where results go, as a person says it with `-o`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::ExtractError;

/// Where results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output: one file's bytes, or a tar stream.
    Stdout,
    /// The one result gets this name. Its directory exists.
    File(PathBuf),
    /// Results go into this directory, each under its own base name. It is created, with its parents, when
    /// [`Staging::new`](super::Staging::new) needs it.
    Directory(PathBuf),
}

impl Destination {
    /// What `-o OUTPUT` means: `-` is standard output; an existing directory, or a name that ends with `/`, is a directory;
    /// anything else is a file, whose directory must exist. Without `-o` it is the current directory. Nothing is created.
    ///
    /// # Errors
    ///
    /// When the destination is there but cannot be written to as what it is, or its directory is not there.
    pub fn parse(output: Option<&OsStr>) -> Result<Self, ExtractError> {
        let Some(output) = output else { return Ok(Self::Directory(PathBuf::from("."))) };
        let path = PathBuf::from(output);
        match output.as_bytes() {
            b"" => return Err(ExtractError::InvalidDestination { path }),
            // The latter is a link to the open file, which a rename would replace by a file of its own.
            b"-" | b"/dev/stdout" => return Ok(Self::Stdout),
            _ => {}
        }
        let as_directory = output.as_bytes().ends_with(b"/") || output.as_bytes().ends_with(b"/.");
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self::Directory(path)),
            Ok(_) if as_directory => Err(ExtractError::NotADirectory { path }),
            Ok(metadata) if metadata.is_file() => Self::file(path),
            Ok(_) => Err(ExtractError::SpecialInTheWay { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && as_directory => Ok(Self::Directory(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::file(path),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                // `existing-file/` and `existing-file/name` both end here.
                let path = path.ancestors().find(|ancestor| ancestor.is_file()).unwrap_or(&path).to_owned();
                Err(ExtractError::NotADirectory { path })
            }
            Err(error) => Err(ExtractError::write(path, error)),
        }
    }

    /// The directory that holds the results, or the temporary directory for standard output.
    pub(super) fn directory(&self) -> PathBuf {
        match self {
            Self::Stdout => std::env::temp_dir(),
            Self::File(path) => parent(path).to_owned(),
            Self::Directory(path) => path.clone(),
        }
    }

    fn file(path: PathBuf) -> Result<Self, ExtractError> {
        if path.file_name().is_none() {
            return Err(ExtractError::InvalidDestination { path });
        }
        match fs::metadata(parent(&path)) {
            Ok(metadata) if metadata.is_dir() => Ok(Self::File(path)),
            Ok(_) => Err(ExtractError::NotADirectory { path: parent(&path).to_owned() }),
            Err(_) => Err(ExtractError::NoParent { parent: parent(&path).to_owned(), path }),
        }
    }
}

/// The directory part, `.` where there is none.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}
