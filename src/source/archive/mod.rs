//! Archives of images, as `docker save`, podman, skopeo, buildah and buildx write them: an OCI layout, Docker's form with a
//! `manifest.json` (since 1.10), or the one from before.
//!
//! A plain archive in a file is read by place: its headers, and then what is asked for. One that is compressed as a whole, or
//! that comes through a pipe, is first copied to a temporary file.

mod docker;
#[cfg(test)]
pub(super) mod fixture;
mod legacy;
mod members;
pub(super) mod renew;
mod spool;
mod walk;
pub(super) mod write;

use std::fs::File;
use std::io::{IsTerminal, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use self::docker::DockerImages;
use self::legacy::LegacyImages;
use self::members::Members;
use self::spool::{Compression, NOT_BY_PLACE, spool};
use super::copied::{Assembled, Exchange, Identity};
use super::files::{Count, Files, Stored};
use super::layout::{INDEX, Layout, MARKER};
use super::local::{LocalImage, malformed};
use super::{RawManifest, SourceError};
use crate::progress::Progress;

/// An archive of images.
pub struct Archive {
    members: Arc<Members>,
    form: Form,
    /// Which file it is in; `None` where it came through a pipe.
    identity: Option<Identity>,
}

/// In which of its forms an archive is.
enum Form {
    Layout(Layout),
    Docker(DockerImages),
    Legacy(LegacyImages),
}

/// An image that was chosen.
pub enum Selected {
    /// A manifest, or an index of manifests, whose parts the archive's [`Layout`] has by their digests.
    Manifest(RawManifest),
    /// An image that has no manifest.
    Image(LocalImage),
}

impl Archive {
    /// The archive in the file `path`. Fails with [`SourceError::NotFound`] where there is none.
    pub fn open(path: &Path, progress: &dyn Progress) -> Result<Self, SourceError> {
        let place = path.display().to_string();
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                SourceError::NotFound { what: place.clone(), detail: "there is no such file".to_owned() }
            }
            _ => SourceError::Io { what: format!("opening {place}"), error },
        })?;
        let address = format!("archive://{place}");
        Archive::from_file(file, place, address, progress)
    }

    /// The archive on standard input. A regular file is read by place, from where it stands; anything else is copied.
    pub fn from_stdin(progress: &dyn Progress) -> Result<Self, SourceError> {
        let place = "standard input".to_owned();
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            return Err(malformed(&place, "it is a terminal; redirect an archive to it, as in < myimage.tar"));
        }
        let file = stdin.as_fd().try_clone_to_owned();
        let file = file.map_err(|error| SourceError::Io { what: format!("opening {place}"), error })?;
        Archive::from_file(file.into(), place, "archive://-".to_owned(), progress)
    }

    /// The archive that `reader` gives, which messages call `place`; all of it is copied to a temporary file. `why` goes into the
    /// notice of that: `cannot be read by place`.
    pub fn from_reader(
        reader: impl Read,
        place: &str,
        why: &str,
        progress: &dyn Progress,
    ) -> Result<Self, SourceError> {
        let file = spool(reader, place, None, why, progress)?;
        Archive::from_plain(file, 0, place.to_owned(), place.to_owned())
    }

    fn from_file(mut file: File, place: String, address: String, progress: &dyn Progress) -> Result<Self, SourceError> {
        let reading = |error| SourceError::Io { what: format!("reading {place}"), error };
        let metadata = file.metadata().map_err(reading)?;
        if metadata.is_dir() {
            return Err(malformed(&place, "it is a folder; write oci-dir://DIR for an OCI layout"));
        }
        if !metadata.is_file() {
            let file = spool(file, &place, None, NOT_BY_PLACE, progress)?;
            return Archive::from_plain(file, 0, place, address);
        }
        let identity = Some(Identity::of(&metadata));
        let start = file.stream_position().map_err(reading)?;
        let stored = Stored::new(file.try_clone().map_err(reading)?, start, Count::default()).map_err(reading)?;
        let mut magic = [0; 10];
        let read = stored.read_at(&mut magic, 0).map_err(reading)?;
        match Compression::of(&magic[..read]) {
            _ if read == 0 => Err(malformed(&place, "it is empty")),
            Compression::None => Ok(Archive { identity, ..Archive::from_plain(file, start, place, address)? }),
            _ => {
                let copy = spool(stored.reader(), &place, Some(stored.length()), NOT_BY_PLACE, progress)?;
                Ok(Archive { identity, ..Archive::from_plain(copy, 0, place, address)? })
            }
        }
    }

    /// The uncompressed archive in `file`, `start` bytes behind its front.
    fn from_plain(file: File, start: u64, place: String, address: String) -> Result<Self, SourceError> {
        let stored = Stored::new(file, start, Count::default());
        let stored = stored.map_err(|error| SourceError::Io { what: format!("reading {place}"), error })?;
        let members = Arc::new(Members::read(stored, place, address)?);
        // Docker writes the same images in both forms since version 25, and only the layout tells their manifests. Something
        // else may well be called index.json, which is why the marker decides where both could be meant.
        let form = if members.contains(MARKER) && members.contains(INDEX) {
            Form::Layout(Layout::new(members.clone())?)
        } else if members.contains(docker::MANIFEST) {
            Form::Docker(DockerImages::read(members.clone())?)
        } else if members.contains(legacy::REPOSITORIES) || legacy::has_image(&members) {
            Form::Legacy(LegacyImages::read(members.clone())?)
        } else if members.contains(INDEX) {
            Form::Layout(Layout::new(members.clone())?)
        } else {
            let problem = "it is a tar, but not an archive of images: it has neither manifest.json nor index.json \
                           (docker save writes an image, docker export only a container's files)";
            return Err(malformed(members.place(), problem));
        };
        Ok(Archive { members, form, identity: None })
    }

    /// The image `wanted`: one of its names, with or without the registry and the tag, or its digest or its config's. Without
    /// `wanted` the only image. Fails with [`SourceError::NotFound`] or [`SourceError::Ambiguous`], which list what is there.
    pub fn select(&self, wanted: Option<&str>) -> Result<Selected, SourceError> {
        match &self.form {
            Form::Layout(layout) => layout.select(wanted).map(Selected::Manifest),
            Form::Docker(images) => images.select(wanted).map(Selected::Image),
            Form::Legacy(images) => images.select(wanted).map(Selected::Image),
        }
    }

    /// The OCI layout, in an archive of that form.
    pub fn layout(&self) -> Option<&Layout> {
        match &self.form {
            Form::Layout(layout) => Some(layout),
            Form::Docker(_) | Form::Legacy(_) => None,
        }
    }

    /// Which file it is in; `None` where it came through a pipe.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Its members, as files.
    pub(super) fn files(&self) -> &dyn Files {
        &*self.members
    }

    /// The archive with these files exchanged.
    pub(super) fn exchanged(&self, exchanges: &[Exchange]) -> Result<Assembled, SourceError> {
        self.members.exchanged(exchanges)
    }

    /// The archive, as messages name it.
    pub fn place(&self) -> &str {
        self.members.place()
    }

    /// What a person types for it: `archive://myimage.tar`.
    pub fn address(&self) -> &str {
        self.members.archive_address()
    }

    /// How many bytes have been read from the archive so far, or from the copy of it.
    pub fn bytes_read(&self) -> u64 {
        self.members.bytes_read()
    }
}

#[cfg(test)]
mod tests;
