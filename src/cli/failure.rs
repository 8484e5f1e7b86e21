//! Why a command failed, and which exit code follows from that.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use super::exit::Exit;
use crate::artifact;
use crate::extract::ExtractError;
use crate::plugin::hook_switch::HookError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The work failed.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
    /// Standard output took no more.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// The work for a line of a Dockerfile failed.
    #[error("{place}: {error}")]
    InDockerfile {
        /// The file, the line and the instruction.
        place: String,
        /// What is wrong.
        #[source]
        error: Box<artifact::Error>,
    },
    /// What was fetched for a build, or a file that tells of its result, cannot be written.
    #[error("cannot keep what the build needs: {0}")]
    Kept(#[source] io::Error),
    /// Docker cannot be run.
    #[error("cannot run docker: {0}")]
    Docker(#[source] io::Error),
    /// What was asked of a build cannot be done.
    #[error("{0}")]
    Build(String),
    /// The result of a build could not be labelled, and is there all the same.
    #[error("the image is {done}, but not labelled: {failure}")]
    Unlabelled {
        /// Where it is: `pushed` or `loaded`.
        done: &'static str,
        /// Why.
        #[source]
        failure: Box<Failure>,
    },
    /// What was to be forgotten is still there.
    #[error("{0} cannot be removed from the cache; are its files yours?")]
    NotRemoved(String),
    /// Who was asked did not agree.
    #[error("nothing was removed; to remove it without being asked, add --force")]
    Declined,
    /// Docker's `config.json` was not changed.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// A manual page cannot be written.
    #[error("{}: {error}", .path.display())]
    Manual {
        /// Where it was to be.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: io::Error,
    },
    /// The machine does not let the program work.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
}

impl Failure {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            _ if self.is_broken_pipe() => Exit::BrokenPipe,
            Failure::Artifact(error) => error.exit_class().into(),
            Failure::InDockerfile { error, .. } => error.exit_class().into(),
            Failure::Unlabelled { failure, .. } => failure.exit(),
            Failure::Output(_)
            | Failure::Kept(_)
            | Failure::Docker(_)
            | Failure::Build(_)
            | Failure::Declined
            | Failure::NotRemoved(_)
            | Failure::Hook(_)
            | Failure::Manual { .. }
            | Failure::Start(_) => Exit::Failed,
        }
    }

    /// Whether whoever read standard output has gone, as in `… | head`: there is nobody to tell.
    pub fn is_broken_pipe(&self) -> bool {
        match self {
            Failure::Output(error) | Failure::Artifact(artifact::Error::Extract(ExtractError::Output(error))) => {
                error.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }
}

/// What lies below `error`, the nearest cause first.
pub fn causes(error: &dyn StdError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}
