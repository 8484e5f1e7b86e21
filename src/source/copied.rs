//! Copies of places: which of their files are exchanged, and the bytes that come of it, put together from runs of what is there.

use std::io::{self, Read};
use std::path::Path;
use std::vec::IntoIter;

use bytes::{Buf, Bytes};

use super::files::{Stored, StoredReader};

/// A file that is exchanged for another one in a copy of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The name of the file that was there.
    pub old: String,
    /// The name of the new one, which may be the same.
    pub new: String,
    /// What the new one holds.
    pub content: Bytes,
    /// Whether the old one stays beside it, as something else may name it.
    pub keeps_old: bool,
}

/// A copy of a place, not yet written.
pub enum Copied {
    /// An archive: one file.
    Archive(Assembled),
    /// The folder of a layout: its files by their names, in the order in which they are to appear.
    Layout(Vec<(String, Assembled)>),
}

/// Bytes put together from runs of files of this machine and from others of our own. Only the latter take memory.
#[derive(Clone, Debug, Default)]
pub struct Assembled(Vec<Run>);

#[derive(Clone, Debug)]
enum Run {
    Stored(Stored),
    Own(Bytes),
}

impl From<Stored> for Assembled {
    fn from(stored: Stored) -> Self {
        Assembled(vec![Run::Stored(stored)])
    }
}

impl From<Bytes> for Assembled {
    fn from(bytes: Bytes) -> Self {
        Assembled(vec![Run::Own(bytes)])
    }
}

impl Assembled {
    /// Appends what is stored.
    pub fn stored(&mut self, stored: Stored) {
        self.0.push(Run::Stored(stored));
    }

    /// Appends these bytes.
    pub fn own(&mut self, bytes: impl Into<Bytes>) {
        self.0.push(Run::Own(bytes.into()));
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        let length = |run: &Run| match run {
            Run::Stored(stored) => stored.length(),
            Run::Own(bytes) => bytes.len() as u64,
        };
        self.0.iter().map(length).sum()
    }

    /// Reads all of it, from the start.
    pub fn reader(&self) -> AssembledReader {
        AssembledReader { current: Current::Own(Bytes::new()), rest: self.0.clone().into_iter() }
    }
}

/// A reader of an [`Assembled`].
pub struct AssembledReader {
    current: Current,
    rest: IntoIter<Run>,
}

enum Current {
    Stored(StoredReader),
    Own(Bytes),
}

impl Read for AssembledReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.current {
                Current::Stored(reader) => reader.read(buffer)?,
                Current::Own(bytes) => bytes.reader().read(buffer)?,
            };
            if read > 0 {
                return Ok(read);
            }
            self.current = match self.rest.next() {
                Some(Run::Stored(stored)) => Current::Stored(stored.reader()),
                Some(Run::Own(bytes)) => Current::Own(bytes),
                None => return Ok(0),
            };
        }
    }
}

/// Which file or folder something is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    /// Its permission bits.
    pub mode: u32,
}

impl Identity {
    /// That of what has this metadata.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Identity { device: metadata.dev(), inode: metadata.ino(), mode: metadata.mode() & 0o777 }
    }

    /// Whether it is what `path` leads to.
    pub fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| {
            let there = Identity::of(&metadata);
            (there.device, there.inode) == (self.device, self.inode)
        })
    }

    /// Whether `path`, which may not be there yet, lies in it.
    pub fn is_above(&self, path: &Path) -> bool {
        let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let folder = folder.and_then(|folder| folder.canonicalize().ok());
        folder.is_some_and(|folder| folder.ancestors().any(|above| self.is_at(above)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::source::files::Count;

    #[test]
    fn runs_are_read_one_after_the_other_whatever_their_lengths() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let stored = Stored::new(file, 0, Count::default()).unwrap();
        let mut assembled = Assembled::default();
        assembled.stored(stored.part(0, 3).unwrap());
        assembled.own("");
        assembled.own("abc");
        assembled.stored(stored.part(3, 0).unwrap());
        assembled.stored(stored.part(8, 2).unwrap());
        assert_eq!(assembled.length(), 8);
        for _ in 0..2 {
            let mut text = String::new();
            assembled.reader().read_to_string(&mut text).unwrap();
            assert_eq!(text, "012abc89");
        }
    }
}
