//! What is asked of [`get`](super::get): names and paths, and what becomes of them.

use super::error::Error;
use super::layers::Verify;
use super::step::Step;
use super::tables::Tables;
use crate::extract::{Destination, PublishOptions};
use crate::image::platform::Choice;

/// What to get, and where to put it.
#[derive(Debug)]
pub struct Request {
    /// Paths and globs, as typed: raw bytes, absolute or relative to the root.
    pub paths: Vec<Vec<u8>>,
    /// The platform to choose from an image index.
    pub platform: Choice,
    /// Where the results go.
    pub destination: Destination,
    /// Whether the directories of each path are kept below the destination.
    pub parents: bool,
    /// Whether a symlink that a path names is followed.
    pub dereference: bool,
    /// How much is read to check layers against their digests before anything appears.
    pub verify: Verify,
    /// Whether ownership, setuid and extended attributes are kept.
    pub preserve: bool,
    /// Whether a record that is only attached, and so not covered by the image's digest, is taken as the source of a digest even
    /// where the reference names a digest.
    pub trust_attached: bool,
    /// Whether the digests of files are to be told. Content is hashed only for that, or where a label promises a digest.
    pub digests: bool,
    /// The tables of contents that are believed, so that layers need not be read.
    pub tables: Tables,
    /// The layers whose own copies are wanted, whatever layers above did to them.
    pub step: Option<Step>,
}

impl Request {
    /// Whether it makes sense whatever is in the image, so that nobody is asked for what could not be written.
    pub(super) fn check(&self) -> Result<(), Error> {
        PublishOptions { preserve: self.preserve, ..PublishOptions::default() }.check(&self.destination)?;
        match &self.destination {
            Destination::File(path) if self.parents => Err(Error::Usage(format!(
                "--parents needs a directory to write to, and {} is not one; end it with /",
                path.display()
            ))),
            _ => Ok(()),
        }
    }
}
