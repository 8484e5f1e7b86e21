//! A streaming tar reader that knows where in the stream it is: V7, ustar, PAX, GNU and star headers become [`Entry`]s, one at a
//! time, in memory that no archive can make it exceed. Where dialects leave room, it decides as Go's `archive/tar`, by which every
//! container engine reads layers.

use std::io::{self, BufRead, Read};

use super::checkpoint::Extent;
use super::entry::{Entry, Kind, Special};
use super::error::LayerError;
use super::name::{AtRoot, MAX_NAME, NameError, canonical};
use super::stream::{Content, Stream};
use crate::tar::header::{BLOCK, Extension, Header};
use crate::tar::preceding::{Preceding, Role};
use crate::tar::shown::shown;
use crate::tar::sparse::{self, Cursor, MapReader, Run, Segment};

/// Reads a tar's entries in their order.
pub struct TarReader<R> {
    inner: R,
    offset: u64,
    state: State,
    body: Body,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed,
}

/// What is left of the current entry.
#[derive(Default)]
struct Body {
    /// Bytes that the tar stores.
    stored: u64,
    /// Bytes up to the next block behind them.
    padding: u64,
    /// Where the stored bytes belong, if the entry is sparse.
    sparse: Option<Cursor>,
}

impl Body {
    fn new(stored: u64) -> Self {
        Body { stored, padding: stored.next_multiple_of(BLOCK as u64) - stored, sparse: None }
    }
}

impl<R: Stream> TarReader<R> {
    /// Starts at the front of an uncompressed tar.
    pub fn new(inner: R) -> Self {
        TarReader { inner, offset: 0, state: State::Reading, body: Body::default() }
    }

    /// The next entry, or none at the archive's end: behind two blocks of zeros, or where the stream ends between two
    /// entries. Data of the current entry that was not read is skipped.
    #[expect(clippy::should_implement_trait, reason = "an entry's data borrows the reader, which no iterator allows")]
    pub fn next(&mut self) -> Result<Option<Entry>, LayerError> {
        match self.state {
            State::Reading => {}
            State::Ended => return Ok(None),
            State::Failed => return Err(self.malformed(self.offset, "what is behind an earlier error cannot be read")),
        }
        let entry = self.read_entry();
        self.state = match &entry {
            Ok(Some(_)) => State::Reading,
            Ok(None) => State::Ended,
            Err(_) => State::Failed,
        };
        entry
    }

    /// The content of the current entry, or what is left of it: exactly as many bytes as its size says, holes as zeros, or
    /// an error. Anything but a regular file is empty.
    pub fn data(&mut self) -> EntryData<'_, R> {
        EntryData { tar: self }
    }

    /// How many uncompressed bytes have been consumed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the archive turned out to be malformed or cut short.
    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// The stream, at [`offset`](Self::offset).
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Tells the stream where `entry`, whose headers have just been read, begins and ends.
    pub(super) fn begin_entry(&mut self, entry: &Entry) {
        let next = self.offset.saturating_add(self.body.stored).saturating_add(self.body.padding);
        self.inner.begin_entry(entry.header_offset, next);
    }

    fn read_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        self.skip_body()?;
        let (mut preceding, mut start) = (Preceding::default(), None);
        let mut block = [0; BLOCK];
        loop {
            let at = self.offset;
            if !self.read_block(&mut block, "a header")? || self.is_end(&mut block)? {
                return match start {
                    None => Ok(None),
                    Some(_) => Err(LayerError::Truncated { offset: at, within: "an entry's headers" }),
                };
            }
            let header = Header(&block);
            let malformed = |problem: String| LayerError::Malformed { offset: at, problem };
            header.check().map_err(malformed)?;
            match Role::of(header.kind()) {
                Role::Preceding => {
                    start.get_or_insert(at);
                    let body = self.read_body(Preceding::body_size(&header).map_err(malformed)?)?;
                    preceding.take(header.kind(), &body).map_err(malformed)?;
                }
                Role::Skipped => {
                    self.body = Body::new(Preceding::default().size(&header).map_err(malformed)?);
                    self.skip_body()?;
                }
                Role::Member => return self.finish_entry(&header, preceding, start.unwrap_or(at)).map(Some),
            }
        }
    }

    /// Whether a block is the end's first, and then consumes the second.
    fn is_end(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, LayerError> {
        if !Header(block).is_zero() {
            return Ok(false);
        }
        let at = self.offset;
        if self.read_block(block, "the mark of its end")? && !Header(block).is_zero() {
            return Err(self.malformed(at, "a block of zeros is followed by something else"));
        }
        Ok(true)
    }

    /// The entry with this header and those preceding, of which the first began at `start`.
    fn finish_entry(&mut self, header: &Header<'_>, mut preceding: Preceding, start: u64) -> Result<Entry, LayerError> {
        let malformed = |problem: &str| LayerError::Malformed { offset: start, problem: problem.to_owned() };
        let (raw_name, raw_link) = (preceding.name(header), preceding.link(header));
        let named = |raw: &[u8], at_root| {
            canonical(raw, at_root).map_err(|error| match error {
                NameError::Escapes => LayerError::Escapes { offset: start, name: shown(raw) },
                NameError::TooLong => malformed(&format!("a name has {} bytes", raw.len())),
            })
        };
        let path = named(&raw_name, AtRoot::Stay)?;
        let unsigned = |value: Option<i64>, field| {
            let value = value.and_then(|value| u64::try_from(value).ok());
            value.ok_or_else(|| malformed(&format!("its field {field} is no number that can be one")))
        };
        let mut stored = 0;
        let mut map = None;
        let kind = match header.kind() {
            // Before POSIX, a slash at the end was all that told a directory from a file.
            0 if raw_name.ends_with(b"/") => Kind::Directory,
            // '7' asks for contiguous blocks, which nobody gives.
            kind @ (0 | b'0' | b'7' | b'S') => {
                stored = preceding.size(header).map_err(|problem| malformed(&problem))?;
                let mut size = stored;
                if let Some(found) = self.sparse_map(header, &mut preceding, &mut stored, start)? {
                    size = match kind {
                        b'S' => unsigned(header.real_size(), "real size")?,
                        _ => preceding.pax.sparse.size.unwrap_or(size),
                    };
                    sparse::check(&found, size, stored).map_err(malformed)?;
                    map = Some(Cursor::new(found, size));
                }
                Kind::File { size, sparse: map.is_some() }
            }
            b'1' => Kind::HardLink(named(&raw_link, AtRoot::Refuse)?),
            b'2' if raw_link.len() > MAX_NAME => return Err(malformed("a symbolic link's target is too long")),
            b'2' => Kind::Symlink(raw_link),
            kind @ (b'3' | b'4') => {
                let (major, minor) = header.device().ok_or_else(|| malformed("its device number is no number"))?;
                let special = if kind == b'3' { Special::CharDevice } else { Special::BlockDevice };
                Kind::Special(special(major, minor))
            }
            b'5' => Kind::Directory,
            b'6' => Kind::Special(Special::Fifo),
            kind => {
                let what = match kind {
                    b'D' => format!("a directory {} of an incremental dump", shown(&raw_name)),
                    b'M' => format!("the continuation of a file {} from another volume", shown(&raw_name)),
                    kind => format!("an entry {} of unknown type '{}'", shown(&raw_name), kind.escape_ascii()),
                };
                return Err(LayerError::Unsupported { offset: start, what });
            }
        };
        if path.is_empty() && kind != Kind::Directory {
            return Err(malformed("an entry that is no directory has the root's name, or none"));
        }
        self.body = Body { sparse: map, ..Body::new(stored) };
        let mode = header.mode().ok_or_else(|| malformed("its field mode is no number"))?;
        let pax = preceding.pax;
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => (header.mtime().ok_or_else(|| malformed("its field mtime is no number"))?, 0),
        };
        Ok(Entry {
            path,
            kind,
            mode: (mode & 0o7777) as u32,
            uid: pax.uid.map_or_else(|| unsigned(header.uid(), "uid"), Ok)?,
            gid: pax.gid.map_or_else(|| unsigned(header.gid(), "gid"), Ok)?,
            mtime,
            xattrs: pax.xattrs.into_iter().collect(),
            header_offset: start,
            data_offset: self.offset,
        })
    }

    /// The map of a sparse file, in whichever of the formats; takes what it reads of the data off `stored`.
    fn sparse_map(
        &mut self,
        header: &Header<'_>,
        preceding: &mut Preceding,
        stored: &mut u64,
        at: u64,
    ) -> Result<Option<Vec<Segment>>, LayerError> {
        let sparse = &mut preceding.pax.sparse;
        match (sparse.major, sparse.minor, sparse.map.take()) {
            _ if header.kind() == b'S' && header.has_sparse_map() => self.gnu_map(header, at).map(Some),
            _ if header.kind() == b'S' => Err(self.malformed(at, "it is sparse as only GNU's headers can say")),
            (None, None, None) => Ok(None),
            (None, None, Some(map)) | (Some(0), Some(0 | 1), Some(map)) => Ok(Some(map)),
            // A file that is one hole.
            (Some(0), Some(0 | 1), None) => Ok(Some(Vec::new())),
            (Some(1), Some(0), _) => self.read_map(stored, at).map(Some),
            _ => Err(LayerError::Unsupported { offset: at, what: "a sparse file of an unknown version".to_owned() }),
        }
    }

    /// The map of a `S` header and its extensions.
    fn gnu_map(&mut self, header: &Header<'_>, at: u64) -> Result<Vec<Segment>, LayerError> {
        let mut map = Vec::new();
        sparse::push_gnu_entries(&mut map, header.sparse_entries()).map_err(|problem| self.malformed(at, problem))?;
        let mut is_extended = header.is_extended();
        let mut block = [0; BLOCK];
        while is_extended {
            if !self.read_block(&mut block, "a sparse map")? {
                return Err(LayerError::Truncated { offset: self.offset, within: "a sparse map" });
            }
            let extension = Extension(&block);
            let pushed = sparse::push_gnu_entries(&mut map, extension.sparse_entries());
            pushed.map_err(|problem| self.malformed(at, problem))?;
            is_extended = extension.is_extended();
        }
        Ok(map)
    }

    /// The map that stands in front of the data.
    fn read_map(&mut self, stored: &mut u64, at: u64) -> Result<Vec<Segment>, LayerError> {
        let mut reader = MapReader::default();
        let mut block = [0; BLOCK];
        loop {
            let Some(left) = stored.checked_sub(BLOCK as u64) else {
                return Err(self.malformed(at, "its sparse map is longer than its data"));
            };
            *stored = left;
            if !self.read_block(&mut block, "a sparse map")? {
                return Err(LayerError::Truncated { offset: self.offset, within: "a sparse map" });
            }
            if reader.push(&block).map_err(|problem| self.malformed(at, problem))? {
                return Ok(reader.into_map());
            }
        }
    }

    /// The `size` bytes that follow a header, and not more of them than [`Preceding::body_size`] allows.
    fn read_body(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        self.body = Body::new(size);
        let mut body = Vec::new();
        self.data().read_to_end(&mut body)?;
        self.skip_body()?;
        Ok(body)
    }

    /// Skips what is left of the current entry. The last entry's padding may be missing, as it may for Go.
    fn skip_body(&mut self) -> Result<(), LayerError> {
        let body = std::mem::take(&mut self.body);
        if self.skip(body.stored)? < body.stored {
            return Err(LayerError::Truncated { offset: self.offset, within: "a file's data" });
        }
        self.skip(body.padding)?;
        Ok(())
    }

    /// Skips so many bytes, or fewer where the stream ends.
    fn skip(&mut self, amount: u64) -> Result<u64, LayerError> {
        let skipped = self.inner.skip(amount)?;
        self.offset += skipped;
        Ok(skipped)
    }

    /// Reads a block; false where the stream ends in front of it.
    fn read_block(&mut self, block: &mut [u8; BLOCK], within: &'static str) -> Result<bool, LayerError> {
        let mut filled = 0;
        while filled < BLOCK {
            let ready = self.inner.fill_buf()?;
            let amount = ready.len().min(BLOCK - filled);
            if amount == 0 {
                break;
            }
            block[filled..filled + amount].copy_from_slice(&ready[..amount]);
            self.inner.consume(amount);
            self.offset += amount as u64;
            filled += amount;
        }
        match filled {
            BLOCK => Ok(true),
            0 => Ok(false),
            _ => Err(LayerError::Truncated { offset: self.offset, within }),
        }
    }

    fn malformed(&self, offset: u64, problem: impl Into<String>) -> LayerError {
        LayerError::Malformed { offset, problem: problem.into() }
    }
}

/// The content of a [`TarReader`]'s current entry.
pub struct EntryData<'a, R> {
    tar: &'a mut TarReader<R>,
}

impl<S: Stream> Content for EntryData<'_, S> {
    fn next_run(&mut self) -> Option<Run> {
        let Body { stored, sparse, .. } = &mut self.tar.body;
        match sparse {
            Some(cursor) => cursor.next_run(),
            None => (*stored > 0).then_some(Run::Data(*stored)),
        }
    }

    fn extent(&self) -> Option<Extent> {
        self.tar.inner.extent(self.tar.offset)
    }
}

impl<R: BufRead> Read for EntryData<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let TarReader { inner, offset, state, body } = &mut *self.tar;
        let run = match &body.sparse {
            Some(cursor) => cursor.run(),
            None => (body.stored > 0).then_some(Run::Data(body.stored)),
        };
        let (Some(Run::Hole(length) | Run::Data(length)), false) = (run, buffer.is_empty()) else {
            return Ok(0);
        };
        let length = usize::try_from(length).map_or(buffer.len(), |length| length.min(buffer.len()));
        let buffer = &mut buffer[..length];
        let amount = if let Some(Run::Hole(_)) = run {
            buffer.fill(0);
            length
        } else {
            let read = inner.read(buffer)?;
            if read == 0 {
                *state = State::Failed;
                return Err(LayerError::Truncated { offset: *offset, within: "a file's data" }.into());
            }
            *offset += read as u64;
            body.stored -= read as u64;
            read
        };
        if let Some(cursor) = &mut body.sparse {
            cursor.advance(amount as u64);
        }
        Ok(amount)
    }
}

#[cfg(test)]
mod sparse_tests;
#[cfg(test)]
mod tests;
