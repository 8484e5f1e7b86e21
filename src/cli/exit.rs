//! The exit codes, the program's only ones. They follow from what failed, never from a message's text.

use std::process::ExitCode;

use rustix::process::Signal;

use crate::artifact::ExitClass;
use crate::plugin::Stop;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for is there.
    Done,
    /// Something failed that none of the others names: the network, the disk, a malformed image.
    Failed,
    /// The command line makes no sense, or names several things where one is meant.
    Usage,
    /// There is no such image, artifact or path.
    NotFound,
    /// The registry refused these credentials, or wants some.
    Denied,
    /// Content did not match its digest; none of it was kept.
    Mismatch,
    /// A signal of this number asked to stop.
    Signal(i32),
    /// A build ended with this code of its own.
    Build(u8),
    /// Whoever read standard output has gone.
    BrokenPipe,
}

impl Exit {
    /// The number that the operating system is given.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Denied => 4,
            Exit::Mismatch => 5,
            // As shells count a program that a signal ended.
            Exit::Signal(signal) => u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128)),
            Exit::Build(code) => code,
            // What ends other programs in a pipe; this one, like any in Rust, is not sent it.
            Exit::BrokenPipe => Exit::Signal(Signal::PIPE.as_raw()).code(),
        }
    }
}

impl From<Stop> for Exit {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Signal(signal) => Exit::Signal(signal),
            // It does so when it is interrupted itself.
            Stop::Docker => Exit::Signal(Signal::INT.as_raw()),
        }
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
            (Error::Ambiguous { what: text(), fits: text(), choices: text(), hint: text() }, 2),
            (Error::NotCovered { name: text(), image: text(), path: text(), hint: text() }, 1),
            (Error::Unlabelable { what: text(), problem: text() }, 1),
            (Error::NoDiffIds, 1),
            (Error::Bug(text()), 1),
            (Error::NotFound { image: text(), path: text(), hint: text() }, 3),
            (Error::Unfetchable { image: text(), path: text(), problem: text() }, 1),
            (SourceError::InvalidReference { text: text(), problem: text() }.into(), 2),
            (SourceError::NotFound { what: text(), detail: text() }.into(), 3),
            (SourceError::Denied { message: text() }.into(), 4),
            (SourceError::Mismatch { what: text(), expected: text(), actual: text() }.into(), 5),
            (SourceError::Network { what: text(), problem: text() }.into(), 1),
            (ExtractError::PreserveNeedsRoot.into(), 2),
            (ExtractError::Output(std::io::ErrorKind::StorageFull.into()).into(), 1),
        ];
        for (error, code) in cases {
            assert_eq!(Exit::from(error.exit_class()).code(), code, "{error:?}");
        }
    }

    #[test]
    fn being_stopped_is_counted_as_shells_do() {
        for (signal, code) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131), (Signal::TERM, 143)] {
            assert_eq!(Exit::from(Stop::Signal(signal.as_raw())).code(), code);
        }
        assert_eq!(Exit::from(Stop::Docker).code(), 130);
        assert_eq!(Exit::BrokenPipe.code(), 141);
    }
}
