//! Why something could not be got. Each variant has one exit code; the command line decides by the variant alone.

use super::range_index::InvalidPart;
use crate::extract::{ExtractError, StageError};
use crate::image::platform::Choice;
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
    /// Nothing promises what a layer holds, and something has to.
    #[error(
        "{layer} has no digest to check it against, as in what docker save wrote before version 1.10; leave out --verify"
    )]
    NoDigest {
        /// Which layer.
        layer: String,
    },
    /// The history does not tell which step made which layer.
    #[error(
        "the history of {image} has {steps} steps that made a layer, but the image has {layers} layers, so steps cannot be matched to layers; name a layer with --layer"
    )]
    History {
        /// The reference.
        image: String,
        /// How many steps are said to have made a layer.
        steps: usize,
        /// How many layers there are.
        layers: usize,
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
    /// A symlink on the way, or the path itself, leads to nothing.
    #[error("{link} in {image} is a symlink to {target}, which the image does not have{hint}")]
    Dangling {
        /// The reference.
        image: String,
        /// The path of the link.
        link: String,
        /// Its target as written, and where that leads.
        target: String,
        /// Whether the link is itself what was asked for, and not only on the way.
        is_last: bool,
        /// What to try; begins with its own punctuation.
        hint: String,
    },
    /// Several things are there that could be meant.
    #[error("{what} {fits}: {choices}; {hint}")]
    Ambiguous {
        /// What was typed.
        what: String,
        /// How many things that fits, and how.
        fits: String,
        /// What they are.
        choices: String,
        /// How to name one of them.
        hint: String,
    },
    /// A name is given by a record alone that the digest in the reference does not cover.
    #[error(
        "only a record attached to {image} names {name}, and the digest that you gave does not cover it; use its path ({path}){hint}"
    )]
    NotCovered {
        /// The artifact.
        name: String,
        /// The reference.
        image: String,
        /// The path that the record is of.
        path: String,
        /// What else to try; begins with its own punctuation.
        hint: String,
    },
    /// It is there, and can have no label.
    #[error("{what} {problem}")]
    Unlabelable {
        /// The path, or the image.
        what: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// A label says which layers its image has, and the config does not.
    #[error("the image's config lists no diff IDs, so nothing can be labelled")]
    NoDiffIds,
    /// Two things would be written as one.
    #[error("both {first} and {second} would be written as {name}{hint}")]
    Clash {
        /// The path of the one.
        first: String,
        /// The path of the other.
        second: String,
        /// What both would be written as, below the destination.
        name: String,
        /// What to try; begins with its own punctuation.
        hint: String,
    },
    /// What cannot happen did.
    #[error("{0}; this is a bug in docker-artifact, please report it")]
    Bug(String),
    /// What was typed contradicts itself, or makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A glob that is not valid.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    /// A range index that does not tell where an artifact is.
    #[error(transparent)]
    Part(#[from] InvalidPart),
    /// Writing failed.
    #[error(transparent)]
    Extract(#[from] ExtractError),
}

/// What kind of failure it is: what a program that runs this one can decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitClass {
    /// None of the others: the network, the disk, a malformed image.
    Failed,
    /// The command line makes no sense, or names several things where one is meant.
    Usage,
    /// There is no such image, artifact or path.
    NotFound,
    /// The registry refused these credentials, or wants some.
    Denied,
    /// Content did not match its digest.
    Mismatch,
}

impl Error {
    /// The failure's kind.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Error::Source(error) => match error {
                SourceError::InvalidReference { .. } | SourceError::Ambiguous { .. } | SourceError::Setting { .. } => {
                    ExitClass::Usage
                }
                SourceError::NotFound { .. } | SourceError::NoSuchPlatform { .. } => ExitClass::NotFound,
                SourceError::Denied { .. } | SourceError::Credentials { .. } => ExitClass::Denied,
                SourceError::Mismatch { .. } => ExitClass::Mismatch,
                SourceError::NotAnImage { .. }
                | SourceError::Network { .. }
                | SourceError::Protocol { .. }
                | SourceError::RangeIgnored { .. }
                | SourceError::Io { .. } => ExitClass::Failed,
            },
            Error::Layer { error: LayerError::Mismatch { .. }, .. } => ExitClass::Mismatch,
            Error::NotFound { .. } | Error::Dangling { .. } => ExitClass::NotFound,
            Error::Usage(_) | Error::Ambiguous { .. } | Error::Clash { .. } | Error::Pattern(_) => ExitClass::Usage,
            Error::Extract(error) if error.is_usage() => ExitClass::Usage,
            Error::Layer { .. }
            | Error::NoDigest { .. }
            | Error::History { .. }
            | Error::Unfetchable { .. }
            | Error::NotCovered { .. }
            | Error::Unlabelable { .. }
            | Error::NoDiffIds
            | Error::Part(_)
            | Error::Bug(_)
            | Error::Extract(_) => ExitClass::Failed,
        }
    }

    /// Whether this machine is at fault: its disk, its memory, its descriptors. No other way to the bytes is any better then.
    pub fn is_local(&self) -> bool {
        match self {
            Error::Extract(_) | Error::Source(SourceError::Io { .. }) => true,
            Error::Layer { error: LayerError::Io(error), .. } => error.raw_os_error().is_some(),
            _ => false,
        }
    }

    /// The same about the image for `platform`, where one was asked for.
    pub fn for_platform(mut self, platform: &Choice) -> Self {
        if let (
            Choice::Asked(platform),
            Error::NotFound { image, .. }
            | Error::Unfetchable { image, .. }
            | Error::Dangling { image, .. }
            | Error::NotCovered { image, .. }
            | Error::History { image, .. },
        ) = (platform, &mut self)
        {
            image.push_str(&format!(" for {platform}"));
        }
        self
    }

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
