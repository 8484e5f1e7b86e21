//! The two streams that a person reads.

use std::io::{self, Write as _};

/// So many bytes of rows are written at a time.
const BUFFER: usize = 64 << 10;

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

/// Writes a result to standard output as it comes, so that it is never held as a whole.
pub fn write_rows(rows: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<()> {
    let mut stdout = io::BufWriter::with_capacity(BUFFER, io::stdout().lock());
    rows(&mut stdout)?;
    stdout.flush()
}
