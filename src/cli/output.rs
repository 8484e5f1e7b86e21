//! The two streams that a person reads.

use std::io::{self, Write as _};

use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};

/// Writes a result to standard output, all of it.
pub fn write_out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Whether standard output was closed when the program was started, and what is written there would be lost in silence: Rust opens
/// `/dev/null` in its place, and so does Go in the docker CLI, both for reading and writing. A shell's `> /dev/null` is for writing
/// alone, and meant.
pub fn is_closed() -> bool {
    let stdout = io::stdout();
    let is_null = fstat(&stdout).is_ok_and(|out| stat("/dev/null").is_ok_and(|null| out.st_rdev == null.st_rdev));
    is_null && fcntl_getfl(&stdout).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR)
}

/// Standard error may be closed; the exit code says it all the same.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
