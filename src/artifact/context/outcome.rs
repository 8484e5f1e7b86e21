//! What comes of standing in for an image: it is written, or the image is left to BuildKit, or it cannot be had at all.

use super::unfit::Unfit;
use crate::artifact::error::Error;
use crate::image::digest::Digest;

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// It is written.
    Written(Report),
    /// It cannot stand in for the image, and nothing is written.
    Unfit(Unfit),
}

/// What was written.
#[derive(Debug)]
pub struct Report {
    /// The reference in full, with the digest of the image manifest where there is one.
    pub image: String,
    /// The digest of the image manifest, where there is one.
    pub digest: Option<Digest>,
    /// The digest of the manifest in the layout, where a layout was written.
    pub layout: Option<Digest>,
    /// What is in it, in the order asked for.
    pub things: Vec<Taken>,
    /// The bytes of content that came from the source.
    pub fetched_bytes: u64,
    /// The length of all the image's layers in bytes, as stored.
    pub image_bytes: u64,
}

/// Something that the build copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The position in [`Request::wanted`](super::Request::wanted), and of the path there.
    pub at: (usize, usize),
    /// The path that it is copied by, for display.
    pub path: String,
    /// Its path in the image without links, for display.
    pub real_path: String,
    /// Its length in bytes; of a directory, all its files'.
    pub size: u64,
}

/// Why it could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Which path is at fault, if one is: the position in [`Request::wanted`](super::Request::wanted), and of the path there.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub error: Box<Error>,
}

impl Outcome {
    /// What is to be said of what was `written`, or was not.
    pub(super) fn of(written: Result<Report, Stop>) -> Result<Self, Failure> {
        match written {
            Ok(report) => Ok(Outcome::Written(report)),
            Err(Stop::Unfit(unfit)) => Ok(Outcome::Unfit(unfit)),
            Err(Stop::Failed(failure)) => Err(failure),
        }
    }
}

/// Why the work ends before its end.
pub enum Stop {
    /// It cannot stand in for the image.
    Unfit(Unfit),
    /// It cannot be had.
    Failed(Failure),
}

impl From<Unfit> for Stop {
    fn from(unfit: Unfit) -> Self {
        Stop::Unfit(unfit)
    }
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(Failure { at: None, error: Box::new(error.into()) })
    }
}
