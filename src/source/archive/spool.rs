//! A copy of an archive in a temporary file: of one that is compressed as a whole, or comes through a pipe, neither of which can be
//! read by place.
//!
//! The file has no name from the start, so nothing is left of it however the program ends. It takes as many bytes as the
//! archive has once decompressed. How the archive is compressed is told by its first bytes, whatever it is called.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;

use indicatif::DecimalBytes;

use super::super::SourceError;
use super::super::local::malformed;
use super::walk::short;
use crate::progress::Progress;
use crate::tar::header::{BLOCK, Header};

/// Room for compressed bytes, and for decompressed ones.
const BUFFER: usize = 128 * 1024;

/// The largest window of zstd that is accepted, as its logarithm: 128 MiB, what `zstd -d` accepts too.
const MAX_ZSTD_WINDOW: u32 = 27;

/// The most memory that xz may take, in KiB: a dictionary of 128 MiB (`xz -9` makes one of 64 MiB) and what comes with it.
const MAX_XZ_KIB: u32 = 129 * 1024;

/// How a whole archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "plain",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
        })
    }
}

impl Compression {
    /// What begins with these bytes, ten of which are enough. A tar begins with a name, which none of these marks can be.
    pub(super) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame (RFC 8878, section 3.1.2) in front.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            // With the first block's mark, as "BZh" alone may begin a name.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Compression::Bzip2,
            _ => Compression::None,
        }
    }
}

/// Why an archive that is not compressed is copied.
pub(super) const NOT_BY_PLACE: &str = "cannot be read by place";

/// Copies the archive that `reader` gives, decompressed, to a temporary file, and tells `progress` how much it was. `length` is
/// how many bytes `reader` has, where that is known; `why` says why one that is not compressed has to be copied.
pub(super) fn spool(
    reader: impl Read,
    place: &str,
    length: Option<u64>,
    why: &str,
    progress: &dyn Progress,
) -> Result<File, SourceError> {
    let failed = Rc::new(Cell::new(false));
    progress.start(place, place, length);
    let input = Input { reader, failed: failed.clone(), place, progress };
    let copied = copy(BufReader::with_capacity(BUFFER, input), &failed, place, why, progress);
    progress.finish(place);
    copied
}

fn copy<R: Read>(
    mut input: BufReader<Input<'_, R>>,
    failed: &Cell<bool>,
    place: &str,
    why: &str,
    progress: &dyn Progress,
) -> Result<File, SourceError> {
    // The marks have ten bytes at most, and a first read may bring fewer.
    let mut start = Vec::with_capacity(BLOCK);
    input.by_ref().take(BLOCK as u64).read_to_end(&mut start).map_err(|error| reading(place, error))?;
    if start.is_empty() {
        return Err(malformed(place, "it is empty"));
    }
    let compression = Compression::of(&start);
    let input = BufReader::with_capacity(BUFFER, io::Cursor::new(start).chain(input));
    let mut decoder: Box<dyn Read + '_> = match decoder(compression, input) {
        Ok(decoder) => decoder,
        Err(error) => return Err(damaged(place, compression, failed, error)),
    };
    let folder = std::env::temp_dir();
    let writing = |error| SourceError::Io {
        what: format!("copying {place} to a temporary file in {} (TMPDIR names another folder)", folder.display()),
        error,
    };
    let mut file = tempfile::tempfile_in(&folder).map_err(writing)?;
    let mut buffer = vec![0; BUFFER];
    let mut total = 0_u64;
    let mut filled = 0;
    loop {
        let read = match decoder.read(&mut buffer[filled..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(place, compression, failed, error)),
        };
        filled += read;
        if read == 0 || filled == buffer.len() {
            // The first block tells whether it is worth going on.
            if total == 0 {
                check_start(&buffer[..filled], place, compression)?;
            }
            file.write_all(&buffer[..filled]).map_err(writing)?;
            total += filled as u64;
            filled = 0;
        }
        if read == 0 {
            break;
        }
    }
    let how = match compression {
        Compression::None => why.to_owned(),
        compression => format!("is {compression}-compressed"),
    };
    progress.notice(&format!("{place} {how}; copied {} of it to a temporary file", DecimalBytes(total)));
    Ok(file)
}

fn decoder<'a>(compression: Compression, input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, MAX_XZ_KIB)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
    })
}

/// Checks that what is copied, which begins with these bytes, can be a tar.
fn check_start(start: &[u8], place: &str, compression: Compression) -> Result<(), SourceError> {
    let what = match (start.first_chunk::<BLOCK>(), compression) {
        (None, _) => return Err(malformed(place, short(start.len()))),
        (Some(block), _) if Header(block).is_zero() || Header(block).check().is_ok() => return Ok(()),
        (Some(_), Compression::None) => "it does not begin with a tar header".to_owned(),
        (Some(_), compression) => format!("its {compression}-compressed content is not a tar"),
    };
    Err(malformed(place, format!("it is not an archive: {what}")))
}

/// Why reading stopped: the reader itself, or what came from it.
fn damaged(place: &str, compression: Compression, failed: &Cell<bool>, error: io::Error) -> SourceError {
    if failed.get() || compression == Compression::None {
        return reading(place, error);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => malformed(
            place,
            format!("the archive is truncated: its {compression} stream ends too early; save or copy it again"),
        ),
        _ => malformed(place, format!("its {compression} stream is damaged: {error}")),
    }
}

/// The reader's own failure, which may be one of a source behind it.
fn reading(place: &str, error: io::Error) -> SourceError {
    match error.downcast::<SourceError>() {
        Ok(error) => error,
        Err(error) => SourceError::Io { what: format!("reading {place}"), error },
    }
}

/// What is copied: counts for the progress, and remembers that an error was its own and not the decoder's.
struct Input<'a, R> {
    reader: R,
    failed: Rc<Cell<bool>>,
    place: &'a str,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Input<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer);
        match &read {
            Ok(read) => self.progress.advance(self.place, *read as u64),
            Err(error) => self.failed.set(error.kind() != io::ErrorKind::Interrupted),
        }
        read
    }
}

#[cfg(test)]
mod tests;
