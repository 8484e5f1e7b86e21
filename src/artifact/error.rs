//! Why something could not be got. Each variant has one exit code; the command line decides by the variant alone.

use crate::extract::{ExtractError, StageError};
use crate::layer::LayerError;
use crate::rootfs::InvalidPattern;
use crate::source::SourceError;

/// A failure of a whole command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image could not be reached, read or trusted.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A layer is not what a layer should be.
    #[error("{layer}: {error}")]
    Layer {
        /// Which layer, by position, digest and build step.
        layer: String,
        /// What is wrong with it.
        #[source]
        error: LayerError,
    },
    /// The image has no such path.
    #[error("{image} has no {path}{hint}")]
    NotFound {
        /// The reference.
        image: String,
        /// The path as typed.
        path: String,
        /// Why, or what there is instead; begins with its own punctuation.
        hint: String,
    },
    /// The path is there, but is nothing that can be fetched.
    #[error("{path} in {image} {problem}")]
    Unfetchable {
        /// The reference.
        image: String,
        /// The path as typed.
        path: String,
        /// What it is.
        problem: String,
    },
    /// What was asked for contradicts itself.
    #[error("{0}")]
    Usage(String),
    /// A glob that is none.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    /// Writing failed.
    #[error(transparent)]
    Extract(#[from] ExtractError),
}

impl Error {
    /// What is wrong with `layer`; a failure of its source keeps its own kind.
    pub fn in_layer(layer: impl Into<String>, error: LayerError) -> Self {
        match error {
            LayerError::Io(error) => match error.downcast::<SourceError>() {
                Ok(error) => Error::Source(error),
                Err(error) => Error::Layer { layer: layer.into(), error: LayerError::Io(error) },
            },
            error => Error::Layer { layer: layer.into(), error },
        }
    }

    /// What went wrong while content of `layer` was being staged.
    pub fn staging(layer: impl Into<String>, error: StageError) -> Self {
        match error {
            StageError::Read(error) => Error::in_layer(layer, LayerError::from(error)),
            StageError::Write(error) => Error::Extract(error),
        }
    }
}
