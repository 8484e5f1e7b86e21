//! The two streams that a person reads.

use std::io::{self, Write as _};

/// Writes a result to standard output, all of it.
pub fn write_out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Standard error may be closed; the exit code says it all the same.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
