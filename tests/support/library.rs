//! Gets in this process what the program would get, where there are too many cases to start it for each.

use std::path::Path;
use std::sync::Arc;

use docker_artifact::artifact::get::{Report, Request, get};
use docker_artifact::artifact::{Error, Tables, Verify};
use docker_artifact::extract::Destination;
use docker_artifact::image::platform::Choice;
use docker_artifact::progress::{Progress, Silent};
use docker_artifact::source::Source;

/// A directory of its own: in memory, where there is such a place, as flushing every file of every case takes most of the time.
pub fn directory_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory")
}

/// Gets `path` into `directory`, with owners and all modes if `preserve`.
pub async fn get_into(directory: &Path, source: Arc<dyn Source>, path: &str, preserve: bool) -> Result<Report, Error> {
    get_by(directory, source, &[path], preserve, Tables::carried(), Arc::new(Silent)).await
}

/// Gets `paths` into `directory`, by these tables.
pub async fn get_by(
    directory: &Path,
    source: Arc<dyn Source>,
    paths: &[&str],
    preserve: bool,
    tables: Tables,
    progress: Arc<dyn Progress>,
) -> Result<Report, Error> {
    let request = Request {
        paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
        platform: Choice::Host,
        destination: Destination::Directory(directory.to_owned()),
        parents: false,
        dereference: true,
        verify: Verify::WhereRead,
        preserve,
        trust_attached: false,
        tables,
        digests: true,
        step: None,
    };
    get(source, request, progress).await
}
