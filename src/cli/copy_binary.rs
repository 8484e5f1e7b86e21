//! `copy_binary`: a `get` that puts things where `COPY --from` would.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;
use std::time::Instant;

use super::failure::Failure;
use super::get::summary;
use super::options::CopyBinaryOptions;
use super::progress::Display;
use crate::artifact::get::{Request, get_from};
use crate::artifact::list::list_artifacts;
use crate::artifact::{Error, Tables, Verify, may_be_name};
use crate::extract::{Destination, ExtractError};
use crate::image::Image;
use crate::image::label::{Artifact, Label, artifacts};
use crate::rootfs::Pattern;
use crate::source::Source;

/// Copies what `options` say.
pub async fn run(options: CopyBinaryOptions, display: Arc<Display>) -> Result<(), Failure> {
    let begin = Instant::now();
    let CopyBinaryOptions { image, what, destination, platform, access, .. } = options;
    let source = access.open(&image, display.clone()).await?;
    let image = Arc::new(source.image(&platform, &*display).await.map_err(Error::from)?);
    let destination = match destination {
        Some(destination) => destination,
        None => same_place(&*source, &image, &what, &display).await.map_err(|error| error.for_platform(&platform))?,
    };
    let destination = parse(&destination).map_err(Error::from)?;
    let request = Request {
        paths: vec![what],
        platform: platform.clone(),
        destination,
        parents: false,
        dereference: true,
        verify: Verify::WhereRead,
        preserve: false,
        trust_attached: false,
        tables: Tables::carried(),
        digests: false,
        step: None,
    };
    let report = get_from(source, image, request, display.clone()).await;
    let report = report.map_err(|error| error.for_platform(&platform))?;
    display.close(&summary(&report, begin.elapsed(), false));
    Ok(())
}

/// What DEST means: as in `get`, except that missing directories above a file's new name are no error. They are made with the
/// staging directory, and go with it where nothing comes of it.
fn parse(destination: &OsStr) -> Result<Destination, ExtractError> {
    match Destination::parse(Some(destination)) {
        Err(ExtractError::NoParent { path, .. }) => Ok(Destination::File(path)),
        parsed => parsed,
    }
}

/// Where in this file system `what` is in the image: for a path, the directory that holds it; for an artifact's name, the path.
async fn same_place(source: &dyn Source, image: &Image, what: &[u8], display: &Display) -> Result<OsString, Error> {
    if what.contains(&b'/') {
        return directory_of(what);
    }
    let labels = artifacts(image);
    let path = match labels.into_iter().find(|artifact| artifact.name.as_bytes() == what) {
        Some(Artifact { label: Label::Resolved(record) | Label::Inherited(record), .. }) => {
            Some(record.path().to_owned())
        }
        Some(Artifact { label: Label::Declared { path }, .. }) => Some(path),
        Some(Artifact { label: Label::Legacy { .. } | Label::Malformed { .. }, .. }) => None,
        None => {
            let word: &[&[u8]] = if may_be_name(what) { &[what] } else { &[] };
            let attached = list_artifacts(source, image, word, display).await?.items;
            match attached.into_iter().find(|artifact| artifact.name.as_bytes() == what) {
                Some(artifact) => artifact.path,
                None => return directory_of(what),
            }
        }
    };
    path.map(OsString::from).ok_or_else(|| {
        let problem = "has a label that does not say where it is; add DEST".to_owned();
        Error::Unfetchable { image: source.name(), path: what.escape_ascii().to_string(), problem }
    })
}

/// The directory that holds the path `what`, from the root, with a slash at its end. What `DIR/.` holds goes into DIR.
fn directory_of(what: &[u8]) -> Result<OsString, Error> {
    let not_one = || Error::Usage(format!("\"{}\" does not name a single path; add DEST", what.escape_ascii()));
    let is_dots = what.split(|byte| *byte == b'/').any(|part| part == b"..");
    let path = Pattern::parse(what)?.literal().filter(|_| !is_dots).ok_or_else(not_one)?;
    let path = path.strip_suffix(b"/").unwrap_or(&path);
    let slash = path.iter().rposition(|byte| *byte == b'/').filter(|_| path.len() > 1).ok_or_else(not_one)?;
    let directory = if what.ends_with(b"/.") { [path, b"/"].concat() } else { path[..=slash].to_vec() };
    Ok(OsString::from_vec(directory))
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
    fn directories_above_a_new_name_need_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/tool");
        assert_eq!(parse(path.as_os_str()).unwrap(), Destination::File(path));
        assert!(!folder.path().join("a").exists(), "nothing is made yet");
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = parse(folder.path().join("file/below").as_os_str()).unwrap_err();
        assert!(matches!(error, ExtractError::NotADirectory { .. }), "{error}");
    }
}
