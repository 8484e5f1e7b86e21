//! What can be wrong with a layer. Messages name the place in the stream, and show names from the image escaped.

use std::io;

use crate::image::digest::DiffId;

/// Why a layer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The source of the blob failed. The error is the source's own, unwrapped, so that the caller can downcast it.
    #[error(transparent)]
    Io(io::Error),
    /// The blob is compressed in a way that layers may not be, or that needs more memory than is given to it.
    #[error("the layer cannot be decompressed: {0}")]
    Compression(String),
    /// The compressed stream is damaged or ends too early.
    #[error("the layer's {format} stream is damaged at compressed byte {offset}: {problem}")]
    Damaged {
        /// The compression.
        format: &'static str,
        /// How many bytes of the blob had been decoded.
        offset: u64,
        /// What the decoder said.
        problem: String,
    },
    /// The uncompressed stream ends inside an entry.
    #[error("the layer's tar ends too early, at uncompressed byte {offset}, inside {within}")]
    Truncated {
        /// Where the stream ends.
        offset: u64,
        /// What is incomplete.
        within: &'static str,
    },
    /// The uncompressed stream is not a tar.
    #[error("the layer's tar is malformed at uncompressed byte {offset}: {problem}")]
    Malformed {
        /// Where the header at fault begins.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A name or a hard link's target climbs above the image's root. Docker refuses such layers, too.
    #[error("the layer's tar names {name} at uncompressed byte {offset}, which leads out of the image: refused")]
    Escapes {
        /// Where the entry's header begins.
        offset: u64,
        /// The name, escaped and shortened.
        name: String,
    },
    /// The uncompressed stream is another one than the config promises.
    #[error("the layer does not match its diff ID: expected {}, got {}; the content was discarded", .expected.0, .actual.0)]
    Mismatch {
        /// The diff ID that the config lists.
        expected: DiffId,
        /// That of what was read.
        actual: DiffId,
    },
    /// The tar uses something that image layers do not.
    #[error("the layer's tar has {what} at uncompressed byte {offset}, which container images cannot hold")]
    Unsupported {
        /// Where the entry's header begins.
        offset: u64,
        /// What it is.
        what: String,
    },
    /// The tar has more of something than is kept in memory.
    #[error("the layer's tar has more than {most} by uncompressed byte {offset}, which is the most that is kept{hint}")]
    TooMuch {
        /// Where the header of the entry that is too much begins.
        offset: u64,
        /// How much of what is kept.
        most: String,
        /// How to do without; begins with its own punctuation.
        hint: &'static str,
    },
}

impl From<io::Error> for LayerError {
    /// Takes back an error that went through [`io::Read`]; any other is the source's.
    fn from(error: io::Error) -> Self {
        error.downcast::<LayerError>().unwrap_or_else(LayerError::Io)
    }
}

impl From<LayerError> for io::Error {
    fn from(error: LayerError) -> Self {
        let kind = match &error {
            LayerError::Io(_) => io::ErrorKind::Other,
            LayerError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            LayerError::Compression(_) | LayerError::Unsupported { .. } | LayerError::TooMuch { .. } => {
                io::ErrorKind::Unsupported
            }
            LayerError::Damaged { .. }
            | LayerError::Malformed { .. }
            | LayerError::Escapes { .. }
            | LayerError::Mismatch { .. } => io::ErrorKind::InvalidData,
        };
        match error {
            LayerError::Io(error) => error,
            error => io::Error::new(kind, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_source_goes_through_unchanged() {
        let source = io::Error::new(io::ErrorKind::ConnectionReset, "the wire");
        let back = io::Error::from(LayerError::from(source));
        assert_eq!((back.kind(), back.to_string().as_str()), (io::ErrorKind::ConnectionReset, "the wire"));
    }

    #[test]
    fn a_layers_error_survives_a_reader() {
        let error = io::Error::from(LayerError::Truncated { offset: 7, within: "a header" });
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(matches!(LayerError::from(error), LayerError::Truncated { offset: 7, .. }));
    }
}
