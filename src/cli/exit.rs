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
