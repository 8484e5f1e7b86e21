//! `copy_binary`: a `get` that puts things where `COPY --from` would.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::Failure;
use super::get::summary;
use super::options::CopyBinaryOptions;
use super::progress::Display;
use crate::artifact::Error;
use crate::artifact::get::{Request, get};
use crate::artifact::list::list_artifacts;
use crate::extract::{Destination, ExtractError};
use crate::image::platform::Choice;
use crate::rootfs::Pattern;
use crate::source::Source;

/// Copies what `options` say.
pub async fn run(options: CopyBinaryOptions, display: Arc<Display>) -> Result<(), Failure> {
    let begin = Instant::now();
    let CopyBinaryOptions { image, what, destination, platform, access, .. } = options;
    let source = access.open(&image, display.clone()).map_err(Error::from)?;
    let destination = match destination {
        Some(destination) => destination,
        None => same_place(&*source, &what, &platform, &display).await?,
    };
    let made = make_parents(Path::new(&destination)).map_err(Error::from)?;
    let copied = async {
        let request = Request {
            paths: vec![what],
            platform,
            destination: Destination::parse(Some(&destination))?,
            dereference: true,
            verify: true,
            preserve: false,
            trust_attached: false,
        };
        get(source, request, display.clone()).await
    };
    match copied.await {
        Ok(report) => {
            display.close(&summary(&report, begin.elapsed()));
            Ok(())
        }
        Err(error) => {
            // What else came to be in there meanwhile stays, and so does the directory.
            made.iter().rev().for_each(|directory| drop(fs::remove_dir(directory)));
            Err(error.into())
        }
    }
}

/// Where in this file system `what` is in the image: for a path, the directory that holds it; for an artifact's name, the path.
async fn same_place(source: &dyn Source, what: &[u8], platform: &Choice, display: &Display) -> Result<OsString, Error> {
    if !what.contains(&b'/') {
        let listing = list_artifacts(source, platform, display).await?;
        let found = listing.items.into_iter().find(|artifact| artifact.name.as_bytes() == what);
        if let Some(artifact) = found {
            return artifact.path.map(OsString::from).ok_or_else(|| {
                let (name, image) = (artifact.name, listing.image);
                Error::Usage(format!("the label of {name} in {image} does not say where it is; say where to with DEST"))
            });
        }
    }
    directory_of(what)
}

/// The directory that holds the path `what`, from the root, with a slash at its end. What `DIR/.` holds goes into DIR.
fn directory_of(what: &[u8]) -> Result<OsString, Error> {
    let not_one = || Error::Usage(format!("\"{}\" is no one place; say where to with DEST", what.escape_ascii()));
    let is_dots = what.split(|byte| *byte == b'/').any(|part| part == b"..");
    let path = Pattern::parse(what)?.literal().filter(|_| !is_dots).ok_or_else(not_one)?;
    let path = path.strip_suffix(b"/").unwrap_or(&path);
    let slash = path.iter().rposition(|byte| *byte == b'/').filter(|_| path.len() > 1).ok_or_else(not_one)?;
    let directory = if what.ends_with(b"/.") { [path, b"/"].concat() } else { path[..=slash].to_vec() };
    Ok(OsString::from_vec(directory))
}

/// Makes the directories that are missing above the file name `path`, and gives those that it made, the uppermost first. A
/// directory is made by who writes into it.
fn make_parents(path: &Path) -> Result<Vec<PathBuf>, ExtractError> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Ok(Vec::new());
    }
    let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    let missing: Vec<&Path> = parents.take_while(|parent| !parent.exists()).collect();
    let mut made = Vec::new();
    for parent in missing.into_iter().rev() {
        match fs::create_dir(parent) {
            Ok(()) => made.push(parent.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ExtractError::Write { path: parent.to_owned(), error }),
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_to_the_directory_that_it_is_in() {
        for (what, directory) in [
            ("/usr/bin/tool", "/usr/bin/"),
            ("usr/bin//tool", "/usr/bin/"),
            ("/tool", "/"),
            ("tool", "/"),
            ("/opt/app/", "/opt/"),
            ("/opt/app/.", "/opt/app/"),
        ] {
            assert_eq!(directory_of(what.as_bytes()).unwrap(), directory, "{what}");
        }
        for what in ["/", ".", "/a/..", "/bin/*"] {
            assert!(matches!(directory_of(what.as_bytes()), Err(Error::Usage(_))), "{what}");
        }
    }

    #[test]
    fn missing_parents_are_made_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/tool");
        assert_eq!(make_parents(&path).unwrap(), [folder.path().join("a"), folder.path().join("a/b")]);
        assert!(make_parents(&path).unwrap().is_empty());
        assert!(make_parents(Path::new("tool")).unwrap().is_empty());
        assert!(make_parents(Path::new("missing/directory/")).unwrap().is_empty());
        fs::write(&path, "").unwrap();
        assert!(make_parents(&path.join("below/tool")).is_err());
    }
}
