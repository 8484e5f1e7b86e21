//! What can go wrong between here and an image. Exit codes follow from the variant, never from the text.

use crate::image::digest::Digest;
use crate::image::manifest::ManifestError;
use crate::image::platform::NoSuchPlatform;

/// A failure to get at an image. Every message says what failed, where, and what to try.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The reference itself is no reference.
    #[error("\"{}\" is not an image reference: {problem}", .text.escape_debug())]
    InvalidReference {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The place has no such image, manifest or blob.
    #[error("{what} not found: {detail}")]
    NotFound {
        /// The image or the blob.
        what: String,
        /// What the source said, and what to check.
        detail: String,
    },
    /// Several images are there that could be meant.
    #[error("{place} has {images} images that match ({choices}); name one, as in {example}")]
    Ambiguous {
        /// The archive or the layout.
        place: String,
        /// How many images fit.
        images: usize,
        /// Their names.
        choices: String,
        /// What to type for one of them.
        example: String,
    },
    /// The manifest is there but is not one of an image.
    #[error("{image} is not an image that can be read: {error}")]
    NotAnImage {
        /// The reference.
        image: String,
        /// What it is instead.
        #[source]
        error: ManifestError,
    },
    /// The image is there, but not for this platform.
    #[error("{image}: {error}")]
    NoSuchPlatform {
        /// The reference.
        image: String,
        /// What there is.
        #[source]
        error: NoSuchPlatform,
    },
    /// Credentials were missing, wrong or not enough.
    #[error("{message}")]
    Denied {
        /// Which registry refused, which credentials were used, and what to type.
        message: String,
    },
    /// The Docker config, a certificate or a credential helper is broken.
    #[error("{message}")]
    Credentials {
        /// Which file or helper, and what is wrong with it.
        message: String,
    },
    /// A setting says where the engine is, and cannot be used.
    #[error("{message}")]
    Setting {
        /// Which flag, variable or context it is, and what is wrong with it.
        message: String,
    },
    /// Content did not have the digest or the size that its descriptor promises.
    #[error("{what} does not match its digest: expected {expected}, got {actual}; the content was discarded")]
    Mismatch {
        /// Which manifest or blob, and from where.
        what: String,
        /// The digest (or the size) that the reference, the manifest or the label promises.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The network failed, and kept failing when retried.
    #[error("{what}: {problem}")]
    Network {
        /// What was being fetched, with the host.
        what: String,
        /// How it failed, how often it was tried, and what to try.
        problem: String,
    },
    /// The source answered something that the specification does not allow.
    #[error("{what}: {problem}")]
    Protocol {
        /// What was asked, with the host.
        what: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The source gives blobs only whole.
    #[error("{digest}: the source does not give parts of a blob")]
    RangeIgnored {
        /// The blob.
        digest: Digest,
    },
    /// Reading or writing on this machine failed.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// The operating system's reason.
        #[source]
        error: std::io::Error,
    },
}

impl From<SourceError> for std::io::Error {
    fn from(error: SourceError) -> Self {
        std::io::Error::other(error)
    }
}

impl From<std::io::Error> for SourceError {
    /// Takes back the error that a [`BlobReader`](super::BlobReader) wrapped; any other is one of this machine.
    fn from(error: std::io::Error) -> Self {
        match error.downcast::<SourceError>() {
            Ok(error) => error,
            Err(error) => SourceError::Io { what: "reading a blob".to_owned(), error },
        }
    }
}
