//! Files by their names, wherever they lie: an archive's members, a folder's files. What is found is a [`Stored`]: a run of bytes
//! in one file of this machine, read by place, so that any number of threads read it side by side.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::SourceError;
use crate::image::manifest::MAX_MANIFEST_BYTES;

/// A place that holds files under names such as `blobs/sha256/…`: relative, with slashes, without `.` and `..`.
pub trait Files: Send + Sync {
    /// The place, as messages name it: `myimage.tar`.
    fn place(&self) -> &str;

    /// What a person types for the image that is called `image` there: `archive://myimage.tar#app:1`.
    fn address(&self, image: &str) -> String;

    /// The regular file `name`, or `None` where there is none. Links are followed inside the place, and never out of it.
    fn find(&self, name: &str) -> Result<Option<Stored>, SourceError>;

    /// How many bytes have been read from the place so far, as stored.
    fn bytes_read(&self) -> u64;
}

/// The whole of the small file `name`: a manifest, a config, a list of images. Fails where it has more bytes than any of these may have.
pub(super) fn read_small(files: &dyn Files, name: &str) -> Result<Option<Bytes>, SourceError> {
    files.find(name)?.map(|stored| stored.read_small(files.place(), name)).transpose()
}

/// Counts the bytes that are read from a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Count(Arc<AtomicU64>);

impl Count {
    /// The bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A run of bytes in a file of this machine.
#[derive(Clone, Debug)]
pub struct Stored {
    file: Arc<File>,
    start: u64,
    length: u64,
    count: Count,
}

impl Stored {
    /// The bytes of `file` from `start` to its end. What is read is added to `count`.
    pub(super) fn new(file: File, start: u64, count: Count) -> io::Result<Self> {
        let length = file.metadata()?.len().saturating_sub(start);
        Ok(Stored { file: Arc::new(file), start, length, count })
    }

    /// Where the run begins, in bytes from the file's start.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many bytes have been read so far from the place that it belongs to.
    pub(super) fn bytes_read(&self) -> u64 {
        self.count.bytes()
    }

    /// `length` of its bytes from `start` on, or `None` where it does not have as many.
    pub fn part(&self, start: u64, length: u64) -> Option<Self> {
        let end = start.checked_add(length)?;
        (end <= self.length).then(|| Stored { start: self.start + start, length, ..self.clone() })
    }

    /// Reads at `offset`, in bytes from the run's start; fewer bytes than there is room for only at its end. Fails where the
    /// file has become shorter.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let mut filled = 0;
        while filled < wanted {
            match self.file.read_at(&mut buffer[filled..wanted], self.start + offset + filled as u64) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the file has become shorter while it was read",
                    ));
                }
                Ok(read) => {
                    filled += read;
                    self.count.0.fetch_add(read as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Reads it from its start. Each reader has a place of its own.
    pub fn reader(&self) -> StoredReader {
        StoredReader { stored: self.clone(), position: 0 }
    }

    /// All of it, for something small: `name` in `place`.
    pub(super) fn read_small(&self, place: &str, name: &str) -> Result<Bytes, SourceError> {
        if self.length > MAX_MANIFEST_BYTES {
            let problem =
                format!("{} has {} bytes, more than any manifest or config may have", shown(name), self.length);
            return Err(SourceError::Protocol { what: place.to_owned(), problem });
        }
        // No more than MAX_MANIFEST_BYTES, and no more than the file has.
        let mut bytes = vec![0; self.length as usize];
        self.read_at(&mut bytes, 0).map_err(|error| reading(place, name, error))?;
        Ok(bytes.into())
    }
}

/// A name for a message: no escape sequences, and not all of it where it is endless.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 200;
    let start: String = name.chars().take(MOST).collect();
    format!("{}{}", start.escape_debug(), if start.len() < name.len() { "…" } else { "" })
}

/// A failure to read `name` in `place`.
pub(super) fn reading(place: &str, name: &str, error: io::Error) -> SourceError {
    SourceError::Io { what: format!("reading {} of {place}", shown(name)), error }
}

/// A reader of a [`Stored`].
#[derive(Debug)]
pub struct StoredReader {
    stored: Stored,
    position: u64,
}

impl Read for StoredReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stored.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for StoredReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.stored.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn stored(bytes: &[u8], start: u64) -> Stored {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Stored::new(file, start, Count::default()).unwrap()
    }

    #[test]
    fn a_part_has_its_own_bytes_and_no_others() {
        let part = stored(b"0123456789", 1).part(2, 3).unwrap();
        let mut text = String::new();
        let mut reader = part.reader();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), part.start(), part.length()), ("345", 3, 3));
        assert_eq!(part.count.bytes(), 3);
        for (to, place) in [(SeekFrom::End(-1), 2), (SeekFrom::Current(-2), 0), (SeekFrom::Start(9), 9)] {
            assert_eq!(reader.seek(to).unwrap(), place);
        }
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        assert!(reader.seek(SeekFrom::Current(-10)).is_err());
    }

    #[test]
    fn there_is_no_part_beyond_the_end() {
        let stored = stored(b"0123", 0);
        assert!(stored.part(4, 0).is_some());
        assert!(stored.part(2, 3).is_none());
        assert!(stored.part(u64::MAX, 2).is_none());
    }

    #[test]
    fn threads_read_side_by_side() {
        let stored = stored(&(0..=255).cycle().take(1 << 16).collect::<Vec<u8>>(), 0);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let part = stored.part(thread * 1000, 20_000).unwrap();
                scope.spawn(move || {
                    let mut bytes = Vec::new();
                    part.reader().read_to_end(&mut bytes).unwrap();
                    assert!(bytes.iter().zip(thread * 1000..).all(|(&byte, at)| byte == at as u8));
                });
            }
        });
        assert_eq!(stored.count.bytes(), 80_000);
    }

    #[test]
    fn an_endless_name_is_cut_in_messages() {
        assert_eq!(shown("a\x1bb"), "a\\u{1b}b");
        assert_eq!(shown(&"é".repeat(1 << 20)), format!("{}…", "é".repeat(200)));
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_no_end() {
        let stored = stored(b"0123456789", 0);
        stored.file.set_len(4).unwrap();
        let error = stored.reader().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
