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

#[cfg(test)]
mod tests {
    use super::super::sample::scratch;
    use super::*;

    fn parse(output: impl AsRef<OsStr>) -> Result<Destination, ExtractError> {
        Destination::parse(Some(output.as_ref()))
    }

    #[test]
    fn without_a_word_results_go_into_the_current_directory() {
        assert_eq!(Destination::parse(None).unwrap(), Destination::Directory(".".into()));
        assert_eq!(parse(".").unwrap(), Destination::Directory(".".into()));
    }

    #[test]
    fn a_dash_is_standard_output() {
        assert_eq!(parse("-").unwrap(), Destination::Stdout);
        assert_eq!(parse("/dev/stdout").unwrap(), Destination::Stdout);
    }

    #[test]
    fn a_directory_is_one_that_exists_or_has_a_slash() {
        let scratch = scratch();
        assert_eq!(parse(scratch.path()).unwrap(), Destination::Directory(scratch.path().to_owned()));
        let missing = scratch.path().join("a/b/");
        assert_eq!(parse(&missing).unwrap(), Destination::Directory(missing.clone()));
        assert!(!scratch.path().join("a").exists(), "nothing is created yet");
        std::os::unix::fs::symlink(scratch.path(), scratch.path().join("link")).unwrap();
        assert!(matches!(parse(scratch.path().join("link")).unwrap(), Destination::Directory(_)));
    }

    #[test]
    fn a_file_is_anything_else_in_a_directory_that_exists() {
        let scratch = scratch();
        let file = scratch.path().join("new");
        assert_eq!(parse(&file).unwrap(), Destination::File(file.clone()));
        fs::write(&file, "").unwrap();
        assert_eq!(parse(&file).unwrap(), Destination::File(file.clone()));
        assert_eq!(parse("no-such-file-here").unwrap(), Destination::File("no-such-file-here".into()));
    }

    #[test]
    fn what_cannot_be_written_to_is_refused_with_what_to_do() {
        let scratch = scratch();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let error = parse(scratch.path().join("missing/new")).unwrap_err();
        assert!(matches!(error, ExtractError::NoParent { .. }), "{error}");
        assert!(error.to_string().contains("there is no directory"), "{error}");
        for below in ["file/", "file/new", "file/new/"] {
            let error = parse(scratch.path().join(below)).unwrap_err();
            assert!(matches!(&error, ExtractError::NotADirectory { path } if *path == file), "{below}: {error}");
        }
        assert!(matches!(parse("").unwrap_err(), ExtractError::InvalidDestination { .. }));
        assert!(matches!(parse("missing/..").unwrap_err(), ExtractError::InvalidDestination { .. }));
        // Root could replace it by a file, and the machine would be broken.
        assert!(matches!(parse("/dev/null").unwrap_err(), ExtractError::SpecialInTheWay { .. }));
    }
}
