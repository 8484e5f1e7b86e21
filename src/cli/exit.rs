//! The exit codes, the program's only ones. They follow from what failed, never from a message's text.

use std::process::ExitCode;

use crate::artifact::ExitClass;

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

impl From<ExitClass> for Exit {
    fn from(class: ExitClass) -> Self {
        match class {
            ExitClass::Failed => Exit::Failed,
            ExitClass::Usage => Exit::Usage,
            ExitClass::NotFound => Exit::NotFound,
            ExitClass::Denied => Exit::Denied,
            ExitClass::Mismatch => Exit::Mismatch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Error;
    use crate::extract::ExtractError;
    use crate::source::SourceError;

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
            (SourceError::Mismatch { what: text(), expected: text(), actual: text() }.into(), 5),
            (SourceError::Network { what: text(), problem: text() }.into(), 1),
            (ExtractError::PreserveNeedsRoot.into(), 2),
            (ExtractError::Output(std::io::ErrorKind::BrokenPipe.into()).into(), 1),
        ];
        for (error, code) in cases {
            assert_eq!(Exit::from(error.exit_class()).code(), code, "{error:?}");
        }
    }
}
