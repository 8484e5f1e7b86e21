//! Layers that have been read are remembered: each leaves a table behind, so that nobody need read it again.
//!
//! Where tables are kept is not known here ([`TableStore`]). That one cannot be written is of no consequence but that it is not there.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::filling::{Filling, Written};
use super::layers::Verify;
use crate::image::Layer;
use crate::image::digest::Digest;
use crate::layer::{Compression, MAGIC, sniff};
use crate::source::{LayerBlob, Promise, Trail};
use crate::table::own::{NotWritten, Writer};

/// Where tables are kept.
pub trait TableStore: Send + Sync {
    /// Room for a table of the layer with this blob digest; `None` where there is one already, or none is wanted.
    fn room(&self, blob: &Digest) -> io::Result<Option<Room>>;
}

/// Gives a file that is empty and of this process alone, and gone with it.
pub type Scratch = Box<dyn Fn() -> io::Result<File> + Send>;

/// Room for a table. Dropping it removes what was written.
pub struct Room {
    /// The file for the table, which is empty.
    pub file: File,
    /// Where files for what has to be sorted come from.
    pub scratch: Scratch,
    /// Keeps what the file has then.
    pub keep: Box<dyn FnOnce() -> io::Result<()> + Send>,
}

/// Remembers the layers that are read.
pub struct Remember {
    store: Arc<dyn TableStore>,
    /// Says why a table was not written, to somebody who looks for faults.
    tell: Box<dyn Fn(&str) + Send + Sync>,
    /// The tables of layers that have been read, as far as somebody may still be at work on them.
    at_work: Mutex<Vec<Written<()>>>,
}

impl Remember {
    /// Keeps tables in `store`, and says to `tell` why one is not written.
    pub fn new(store: Arc<dyn TableStore>, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Remember { store, tell: Box::new(tell), at_work: Mutex::default() }
    }

    /// Begins to remember `layer`, which is about to be read from `blob`; `None` where its digest would not be compared, or it is as good as
    /// known.
    pub(super) fn begin(self: &Arc<Self>, layer: &Layer, blob: &LayerBlob, verify: Verify) -> Option<Remembering> {
        let digest = layer.digest()?.clone();
        let trail = match blob {
            _ if verify == Verify::Never => return None,
            LayerBlob::Stream(_, trail) => Arc::clone(trail),
            LayerBlob::Stored(stored) => {
                let mut start = [0; MAGIC];
                let length = stored.start(&mut start).ok()?;
                // A plain layer in a file is stepped through as fast as any table.
                let is_compressed = sniff(&start[..length]).is_ok_and(|compression| compression != Compression::None);
                let is_promised = stored.promise() == Some(&Promise::Blob(digest.clone()));
                (is_compressed && is_promised).then(|| stored.trail())?
            }
        };
        let begun = self.begin_table((digest, layer.size()), trail);
        begun.unwrap_or_else(|error| {
            self.tell_why(&error.into());
            None
        })
    }

    fn begin_table(
        self: &Arc<Self>,
        (digest, size): (Digest, u64),
        trail: Arc<Trail>,
    ) -> io::Result<Option<Remembering>> {
        let Some(Room { file, scratch, keep }) = self.store.room(&digest)? else { return Ok(None) };
        let writer = |blob| Ok(Writer::new(file, scratch, blob));
        let (filling, written) = Filling::begin((digest, size), Some(trail), writer, |_| Ok(keep()?))?;
        Ok(Some(Remembering { filling, written, remember: Arc::clone(self) }))
    }

    /// Waits until all layers that were read to their ends have their tables.
    fn settle(&self) {
        let at_work = std::mem::take(&mut *self.at_work());
        for written in at_work {
            match written.join() {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => self.tell_why(&error),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }

    fn tell_why(&self, error: &NotWritten) {
        (self.tell)(&format!("no table of a layer was kept: {error}"));
    }

    fn at_work(&self) -> MutexGuard<'_, Vec<Written<()>>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who lets go of it last waits until all layers that were read to their ends have their tables.
impl Drop for Remember {
    fn drop(&mut self) {
        self.settle();
    }
}

/// A layer that is being remembered while it is read. Dropping it forgets it.
pub(super) struct Remembering {
    filling: Filling,
    written: Written<()>,
    remember: Arc<Remember>,
}

impl Remembering {
    /// What is told of the layer.
    pub(super) fn filling(&self) -> &Filling {
        &self.filling
    }

    /// Keeps the table: the layer was read to its end, and had its digest.
    pub(super) fn end(self) {
        self.filling.end();
        self.remember.at_work().push(self.written);
    }
}

#[cfg(test)]
mod tests;
