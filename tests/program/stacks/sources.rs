//! Stacks as images in every place that an image can be, and what `get` makes of them there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use docker_artifact::progress::Silent;
use docker_artifact::source::Source;
use docker_artifact::source::place::LocalSource;

use super::{Seen, StackEntry, write_tar};
use crate::support::labelled::client;
use crate::support::library::{directory_in_memory, get_into};
use crate::support::{
    FORMS, Form, Image, Layer, Registry, TableFormat, WorkDir, archive, artifact, sha256, write_layout,
};

/// A place that an image can be in.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Registry,
    /// A registry, and the image's layers carry tables of this kind.
    Tables(TableFormat),
    Archive(Form),
    Layout,
    Pipe,
}

impl Place {
    /// The place for a stack: all of them in turn.
    pub fn of(seed: u64) -> Place {
        match seed as usize % (FORMS.len() + 5) {
            0 => Place::Registry,
            1 => Place::Layout,
            2 => Place::Pipe,
            3 => Place::Tables(TableFormat::Estargz),
            4 => Place::Tables(TableFormat::ZstdChunked),
            form => Place::Archive(FORMS[form - 5]),
        }
    }
}

/// The stack as an image, its layers stored in different ways, or with tables where the image is for such a place.
pub fn image(stack: &[Vec<StackEntry>], place: Place) -> Image {
    stack.iter().enumerate().fold(Image::new(), |image, (number, layer)| {
        let layer = Layer::of_tar(write_tar(layer));
        image.layer(match (place, number % 3) {
            (Place::Tables(format), _) => layer.with_table(format),
            (_, 0) => layer.plain(),
            (_, 1) => layer,
            _ => layer.zstd(),
        })
    })
}

/// What `get` writes of the image's root, with all modes if `preserve`. Pipes are never written.
pub fn get(image: &Image, place: Place, preserve: bool) -> BTreeMap<Vec<u8>, Seen> {
    const TAG: &str = "random/stack:1";
    let (there, out) = (directory_in_memory(), directory_in_memory());
    let registry = Registry::start();
    let path = there.path().join("image");
    let source: Arc<dyn Source> = match place {
        Place::Registry | Place::Tables(_) => client(&registry.push(TAG, image)),
        Place::Layout => {
            write_layout(image, &path, TAG);
            Arc::new(LocalSource::layout(&path, None, Arc::new(Silent)).expect("a layout"))
        }
        Place::Archive(form) => {
            fs::write(&path, archive(image, form, TAG)).expect("a file of our own");
            Arc::new(LocalSource::archive(&path, None, Arc::new(Silent)).expect("an archive"))
        }
        Place::Pipe => {
            let flags: &[&str] = if preserve { &["--preserve"] } else { &[] };
            let program = artifact(&["get", "-", "/", "-o"]).args(&[out.path()]).args(flags);
            program.stdin_pipe(archive(image, Form::Docker25, TAG)).run_in(&WorkDir::new()).exits(0);
            return listing(out.path());
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(get_into(out.path(), source, "/", preserve)).unwrap_or_else(|error| panic!("{place:?}: {error}"));
    listing(out.path())
}

/// Everything below a directory, by path.
pub fn listing(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut listing = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(root.join(&directory)).expect("a directory that can be read") {
            let path = directory.join(entry.expect("a directory that can be read").file_name());
            let metadata = fs::symlink_metadata(root.join(&path)).expect("an entry that is there");
            let mode = metadata.mode() & 0o7777;
            let seen = if metadata.is_dir() {
                pending.push(path.clone());
                Seen::Directory { mode }
            } else if metadata.is_symlink() {
                let target = fs::read_link(root.join(&path)).expect("a link");
                Seen::Symlink(target.into_os_string().into_vec())
            } else {
                let content = fs::read(root.join(&path)).expect("a file that can be read");
                Seen::File { mode, sha256: sha256(&content)["sha256:".len()..].to_owned() }
            };
            listing.insert(path.into_os_string().into_vec(), seen);
        }
    }
    listing
}
