//! The exit codes, the program's only ones. They follow from what failed, never from a message's text.

use std::process::ExitCode;

use crate::artifact::Error;
use crate::extract::ExtractError;
use crate::source::SourceError;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for is there.
    Done = 0,
    /// Something failed that none of the others names: the network, the disk, a malformed image.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// There is no such image, artifact or path.
    NotFound = 3,
    /// The registry refused these credentials, or wants some.
    Denied = 4,
    /// Content did not match its digest; none of it was kept.
    Mismatch = 5,
    /// A signal, or Docker, asked to stop. 128 + SIGINT, as shells count.
    Interrupted = 130,
}

impl Exit {
    /// The number that the operating system is given.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error {
            Error::Source(error) => error.into(),
            Error::NotFound { .. } => Exit::NotFound,
            Error::Usage(_) | Error::Pattern(_) => Exit::Usage,
            Error::Extract(ExtractError::Interrupted) => Exit::Interrupted,
            Error::Extract(error) if error.is_usage() => Exit::Usage,
            Error::Extract(_) | Error::Layer { .. } | Error::Unfetchable { .. } => Exit::Failed,
        }
    }
}

impl From<&SourceError> for Exit {
    fn from(error: &SourceError) -> Self {
        match error {
            SourceError::InvalidReference { .. } => Exit::Usage,
            SourceError::NotFound { .. } | SourceError::NoSuchPlatform { .. } => Exit::NotFound,
            SourceError::Denied { .. } => Exit::Denied,
            SourceError::Mismatch { .. } => Exit::Mismatch,
            SourceError::NotAnImage { .. }
            | SourceError::Credentials { .. }
            | SourceError::Network { .. }
            | SourceError::Protocol { .. }
            | SourceError::RangeIgnored { .. }
            | SourceError::Io { .. } => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_follows_from_what_failed() {
        let text = String::new;
        let cases = [
            (Error::Usage(text()), 2),
            (Error::NotFound { image: text(), path: text(), hint: text() }, 3),
            (Error::Unfetchable { image: text(), path: text(), problem: text() }, 1),
            (SourceError::InvalidReference { text: text(), problem: text() }.into(), 2),
            (SourceError::NotFound { what: text(), detail: text() }.into(), 3),
            (SourceError::Denied { message: text() }.into(), 4),
            (SourceError::Credentials { message: text() }.into(), 1),
            (SourceError::Mismatch { what: text(), expected: text(), actual: text() }.into(), 5),
            (SourceError::Network { what: text(), problem: text() }.into(), 1),
            (ExtractError::PreserveNeedsRoot.into(), 2),
            (ExtractError::Output(std::io::ErrorKind::BrokenPipe.into()).into(), 1),
        ];
        for (error, code) in cases {
            assert_eq!(Exit::from(&error).code(), code, "{error:?}");
        }
    }
}
