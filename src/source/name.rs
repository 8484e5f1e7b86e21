//! What a typed IMAGE is: by Docker's own prefixes, or, without one, by how it is written and which files there are. Nothing is
//! opened here.
//!
//! A bare word is never a file: `alpine` is the registry's, even where a file of that name lies in the folder. What is written
//! with a slash in front (`./app`, `/tmp/x`) is always one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::SourceError;
use crate::image::digest::Digest;

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `registry://REF`, or REF alone.
    Registry {
        /// The reference, not parsed yet.
        reference: String,
        /// Whether the prefix was written, so that it is no image of anything but a registry.
        is_prefixed: bool,
        /// REF is written as an archive's name, and there is no such file: worth saying where there is no such image either.
        no_such_file: Option<PathBuf>,
    },
    /// `local://REF`: the Docker engine's image store.
    Engine {
        /// The reference, or an image's ID, not parsed yet.
        reference: String,
    },
    /// `archive://FILE[#REF]`, or FILE alone.
    Archive {
        /// The file.
        file: PathBuf,
        /// Which of its images, where it has several.
        image: Option<String>,
    },
    /// `-`: an archive on standard input.
    Stdin {
        /// Which of its images, where it has several.
        image: Option<String>,
    },
    /// `oci-dir://DIR[:REF|@DIGEST]`, or DIR alone.
    Layout {
        /// The folder.
        directory: PathBuf,
        /// Which of its images, where it has several: a name, or a digest without the `@`.
        image: Option<String>,
    },
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    /// A regular file, a FIFO, a device.
    File,
}

/// How the names of archives end, in lower case.
const SUFFIXES: [&str; 11] =
    [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd", ".tzst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz"];

impl Name {
    /// Reads an IMAGE. Fails with [`SourceError::InvalidReference`] where it cannot be one, and with [`SourceError::NotFound`] where
    /// it is written as a file and there is none. Links are followed.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        parse(text, &|path| match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Some(Kind::Directory),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            // One that cannot be looked at says why when it is opened.
            Ok(_) | Err(_) => Some(Kind::File),
        })
    }
}

fn parse(text: &str, stat: &dyn Fn(&Path) -> Option<Kind>) -> Result<Name, SourceError> {
    let invalid =
        |problem: &str| Err(SourceError::InvalidReference { text: text.to_owned(), problem: problem.to_owned() });
    match text.split_once("://") {
        Some(("registry", "")) => invalid("write registry://REFERENCE"),
        Some(("registry", reference)) => {
            Ok(Name::Registry { reference: reference.to_owned(), is_prefixed: true, no_such_file: None })
        }
        Some(("local", "")) => invalid("write local://REFERENCE"),
        Some(("local", reference)) => Ok(Name::Engine { reference: reference.to_owned() }),
        Some(("archive", rest)) => match split_archive(rest) {
            ("", _) => invalid("write archive://FILE, or archive://FILE#REFERENCE for one of several images"),
            ("-", image) => Ok(Name::Stdin { image }),
            (file, image) => Ok(Name::Archive { file: file.into(), image }),
        },
        Some(("oci-dir", rest)) => match split_layout(rest, stat) {
            ("", _) => invalid("write oci-dir://DIR, oci-dir://DIR:TAG or oci-dir://DIR@DIGEST"),
            (directory, image) => Ok(Name::Layout { directory: directory.into(), image }),
        },
        // The prefixes of other programs, and URLs.
        Some(("http" | "https" | "docker", _)) => invalid("leave out the scheme, as in registry.example.com/app:1"),
        Some(("oci" | "oci-layout", _)) => invalid("write oci-dir://DIR for an OCI layout"),
        Some(("docker-archive" | "oci-archive" | "file", _)) => invalid("write archive://FILE for an archive"),
        Some(("docker-daemon", _)) => invalid("write local://REFERENCE for an image of the Docker engine"),
        Some((prefix, _)) if prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
            invalid("unknown prefix; use registry://, local://, archive:// or oci-dir://")
        }
        _ => without_prefix(text, stat),
    }
}

fn without_prefix(text: &str, stat: &dyn Fn(&Path) -> Option<Kind>) -> Result<Name, SourceError> {
    if text == "-" {
        return Ok(Name::Stdin { image: None });
    }
    if text.starts_with("-#") {
        let problem = format!("write archive://{text} for one of several images on standard input");
        return Err(SourceError::InvalidReference { text: text.to_owned(), problem });
    }
    let (file, image) = split_archive(text);
    let registry = |no_such_file| Name::Registry { reference: text.to_owned(), is_prefixed: false, no_such_file };
    let is_path = text.starts_with(['/', '.']) && is_path(text);
    let is_archive = is_archive(file);
    if !is_path && !is_archive {
        return Ok(registry(None));
    }
    match stat(Path::new(file)) {
        Some(Kind::File) => return Ok(Name::Archive { file: file.into(), image }),
        // A layout's image is named behind a colon; a `#` belongs to the folder's name.
        Some(Kind::Directory) if image.is_none() => {
            return Ok(Name::Layout { directory: file.into(), image: None });
        }
        _ => {}
    }
    let (directory, image) = split_layout(text, stat);
    if is_path && stat(Path::new(directory)) == Some(Kind::Directory) {
        return Ok(Name::Layout { directory: directory.into(), image });
    }
    // A reference may end as an archive does, though hardly any will; it never begins as a path or has a `#`.
    if !is_path && !text.contains('#') {
        return Ok(registry(Some(file.into())));
    }
    Err(SourceError::NotFound { what: file.to_owned(), detail: "there is no such file or folder".to_owned() })
}

/// Whether it begins as only a path does: with `/`, `./` or `../`, or is one of these.
fn is_path(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    matches!(first, "" | "." | "..")
}

fn is_archive(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    SUFFIXES.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
}

/// Splits `FILE#REF`. No reference has a `#`, so the last one counts; with one at its end, a file's name may have others.
fn split_archive(text: &str) -> (&str, Option<String>) {
    match text.rsplit_once('#') {
        Some((file, "")) => (file, None),
        Some((file, image)) => (file, Some(image.to_owned())),
        None => (text, None),
    }
}

/// Splits `DIR@DIGEST`, and `DIR:REF` at the first colon, as REF may have colons and slashes itself. Where the whole is a folder, it
/// is the folder.
fn split_layout<'a>(text: &'a str, stat: &dyn Fn(&Path) -> Option<Kind>) -> (&'a str, Option<String>) {
    if !text.contains(':') || stat(Path::new(text)) == Some(Kind::Directory) {
        return (text, None);
    }
    if let Some((directory, digest)) = text.rsplit_once('@')
        && digest.parse::<Digest>().is_ok()
    {
        return (directory, Some(digest.to_owned()));
    }
    match text.split_once(':') {
        Some((directory, image)) if !image.is_empty() => (directory, Some(image.to_owned())),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(text: &str) -> Result<Name, SourceError> {
        parse(text, &|path| match path.to_str()? {
            "alpine" | "./alpine" | "team/app" | "app.tar" | "./app.tar" | "/tmp/app" | "out/app.tar.gz"
            | "APP.TGZ" | "./odd#name.tar" | "./pipe" => Some(Kind::File),
            "layout" | "./layout" | "/tmp/layout" | ".." | "./with:colon" | "layout.tar" | "./a#b" => {
                Some(Kind::Directory)
            }
            _ => None,
        })
    }

    fn registry(reference: &str) -> Name {
        Name::Registry { reference: reference.to_owned(), is_prefixed: false, no_such_file: None }
    }

    fn archive(file: &str, image: Option<&str>) -> Name {
        Name::Archive { file: file.into(), image: image.map(str::to_owned) }
    }

    fn layout(directory: &str, image: Option<&str>) -> Name {
        Name::Layout { directory: directory.into(), image: image.map(str::to_owned) }
    }

    #[test]
    fn a_prefix_says_what_it_is() {
        let engine = |reference: &str| Name::Engine { reference: reference.to_owned() };
        let stdin = |image: Option<&str>| Name::Stdin { image: image.map(str::to_owned) };
        let prefixed =
            |reference: &str| Name::Registry { reference: reference.to_owned(), is_prefixed: true, no_such_file: None };
        for (text, name) in [
            ("registry://app.tar", prefixed("app.tar")),
            ("registry://localhost:5000/app:1", prefixed("localhost:5000/app:1")),
            ("local://app:1", engine("app:1")),
            ("archive://app.tar", archive("app.tar", None)),
            ("archive://alpine", archive("alpine", None)),
            ("archive:///tmp/none", archive("/tmp/none", None)),
            ("archive://app.tar#app:1", archive("app.tar", Some("app:1"))),
            ("archive://app.tar#localhost:5000/app:1", archive("app.tar", Some("localhost:5000/app:1"))),
            ("archive://app.tar#", archive("app.tar", None)),
            ("archive://odd#name.tar#", archive("odd#name.tar", None)),
            ("archive://odd#name.tar#app", archive("odd#name.tar", Some("app"))),
            ("archive://-", stdin(None)),
            ("archive://-#app", stdin(Some("app"))),
            ("-", stdin(None)),
            ("oci-dir://layout", layout("layout", None)),
            ("oci-dir://none", layout("none", None)),
            ("oci-dir://layout:1", layout("layout", Some("1"))),
            ("oci-dir://layout:localhost:5000/app:1", layout("layout", Some("localhost:5000/app:1"))),
            (&format!("oci-dir:///tmp/layout@{DIGEST}"), layout("/tmp/layout", Some(DIGEST))),
            (&format!("oci-dir://layout:app@{DIGEST}"), layout("layout:app", Some(DIGEST))),
            ("oci-dir://./with:colon", layout("./with:colon", None)),
            ("oci-dir://layout:", layout("layout:", None)),
        ] {
            assert_eq!(read(text).unwrap(), name, "{text}");
        }
    }

    #[test]
    fn a_bare_word_is_an_image_whatever_files_there_are() {
        for text in ["alpine", "team/app", "layout", "alpine:3", "localhost:5000/app", "app.target", ".tar", "x/.tar"] {
            assert_eq!(read(text).unwrap(), registry(text), "{text}");
        }
    }

    #[test]
    fn what_is_written_as_a_file_is_one_where_it_is_there() {
        for (text, name) in [
            ("./alpine", archive("./alpine", None)),
            ("/tmp/app", archive("/tmp/app", None)),
            ("./pipe", archive("./pipe", None)),
            ("app.tar", archive("app.tar", None)),
            ("app.tar#app:1", archive("app.tar", Some("app:1"))),
            ("out/app.tar.gz", archive("out/app.tar.gz", None)),
            ("APP.TGZ", archive("APP.TGZ", None)),
            ("./odd#name.tar#", archive("./odd#name.tar", None)),
            ("./layout", layout("./layout", None)),
            ("./layout:1", layout("./layout", Some("1"))),
            ("./layout:localhost:5000/app:1", layout("./layout", Some("localhost:5000/app:1"))),
            (&format!("./layout@{DIGEST}"), layout("./layout", Some(DIGEST))),
            ("./with:colon", layout("./with:colon", None)),
            ("./a#b", layout("./a#b", None)),
            ("..", layout("..", None)),
            ("layout.tar", layout("layout.tar", None)),
        ] {
            assert_eq!(read(text).unwrap(), name, "{text}");
        }
    }

    #[test]
    fn a_missing_file_is_not_found_and_never_asked_of_a_registry() {
        for text in ["./none", "./none.tar", "/tmp/none", "../none", "./none:1", "none.tar#app:1", ".", "/"] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, SourceError::NotFound { .. }), "{text}: {error}");
        }
        assert_eq!(
            read("./none.tar").unwrap_err().to_string(),
            "./none.tar not found: there is no such file or folder"
        );
    }

    #[test]
    fn a_reference_may_end_as_an_archive_does() {
        for text in ["none.tar", "localhost:5000/x.tar", "registry.test/x.tar.gz"] {
            let no_such_file = Some(PathBuf::from(text));
            assert_eq!(
                read(text).unwrap(),
                Name::Registry { reference: text.to_owned(), is_prefixed: false, no_such_file }
            );
        }
    }

    #[test]
    fn what_cannot_be_an_image_says_what_to_write() {
        for (text, help) in [
            ("registry://", "registry://REFERENCE"),
            ("local://", "local://REFERENCE"),
            ("archive://", "archive://FILE"),
            ("archive://#app", "archive://FILE"),
            ("-#app:1", "write archive://-#app:1 for"),
            ("oci-dir://", "oci-dir://DIR"),
            ("oci-dir://:tag", "oci-dir://DIR"),
            ("https://ghcr.io/o/app", "leave out the scheme"),
            ("docker://app", "leave out the scheme"),
            ("oci://layout", "oci-dir://DIR"),
            ("docker-archive://x.tar", "archive://FILE"),
            ("docker-daemon://app", "local://REFERENCE"),
            ("podman://app", "registry://, local://, archive:// or oci-dir://"),
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, SourceError::InvalidReference { .. }), "{text}");
            assert!(error.to_string().contains(help), "{text}: {error}");
        }
    }
}
