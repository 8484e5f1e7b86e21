//! What can go wrong between a request and a written file.

use crate::source::SourceError;

/// A failure to get what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The request makes no sense.
    #[error("{0}")]
    Usage(String),
}

/// The kind of a failure, as the exit code tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitClass {
    /// Anything else.
    Failed,
    /// The request makes no sense.
    Usage,
    /// No such image, artifact or path.
    NotFound,
    /// Authentication or permission refused.
    Denied,
    /// Content did not match its digest.
    Mismatch,
}

impl Error {
    /// The kind of this failure.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Error::Source(SourceError::InvalidReference { .. }) | Error::Usage(_) => ExitClass::Usage,
            Error::Source(SourceError::NotFound { .. } | SourceError::NoSuchPlatform { .. }) => ExitClass::NotFound,
            Error::Source(SourceError::Denied { .. }) => ExitClass::Denied,
            Error::Source(SourceError::Mismatch { .. }) => ExitClass::Mismatch,
            Error::Source(_) => ExitClass::Failed,
        }
    }
}
