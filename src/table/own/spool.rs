//! Bytes that are put away and read once from the start: in memory, or in a scratch file where there are many.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::sorted::Scratch;

/// How many bytes are held in memory at most.
const LIMIT: usize = 256 << 10;

/// The bytes.
#[derive(Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
}

impl Spool {
    pub(super) fn push(&mut self, bytes: &[u8], scratch: &Scratch) -> io::Result<()> {
        self.memory.extend_from_slice(bytes);
        self.length += bytes.len() as u64;
        if self.memory.len() >= LIMIT {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(scratch()?),
            };
            file.write_all(&self.memory)?;
            self.memory.clear();
        }
        Ok(())
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// All bytes, from the first.
    pub(super) fn read(self) -> io::Result<Box<dyn Read>> {
        let memory = io::Cursor::new(self.memory);
        match self.file {
            None => Ok(Box::new(memory)),
            Some(mut file) => {
                file.seek(SeekFrom::Start(0))?;
                Ok(Box::new(io::BufReader::new(file).chain(memory)))
            }
        }
    }
}
