//! A second look at a layer: a link led to content that had passed by when the layer was read.
//!
//! While a layer is read, places are noted where it can be begun again ([`Restarts`]), and what its hash had come to ([`Trail`]). From
//! these, each content is one short part of the blob, which is compared with what the layer's digest has covered.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use super::error::Error;
use crate::image::Layer;
use crate::layer::checkpoint::ExtentReader;
use crate::layer::content::{FileContent, Section};
use crate::layer::restarts::{Restarts, WayBack};
use crate::layer::{Content, LayerError};
use crate::source::{BlobReader, LayerBlob, Part, Trail};

/// Parts that lie no more than so many bytes apart are read as one. More would cost longer than another request.
const JOINED: u64 = 1 << 20;

/// How many checkpoints are kept of all layers of an image together: windows of 4 MiB.
const MAX_CHECKPOINTS: usize = 128;

/// What was noted of a layer as it was read.
#[derive(Clone, Debug)]
pub struct Noted {
    pub(super) restarts: Arc<Restarts>,
    trail: Arc<Trail>,
}

/// One part of a layer that is read again.
#[derive(Debug)]
pub struct Stretch {
    way: WayBack,
    /// Which bytes of the blob the decoder needs.
    needed: Range<u64>,
    /// The part that is compared; `None` where nothing is.
    part: Option<Part>,
    /// What is in it, in the order of the tar.
    wanted: Vec<FileContent>,
}

impl Noted {
    /// What will be noted of the layer in `blob`.
    pub fn of(blob: &LayerBlob) -> Self {
        let trail = match blob {
            LayerBlob::Stream(_, trail) => Arc::clone(trail),
            LayerBlob::Stored(blob) => blob.trail(),
        };
        Noted { restarts: Arc::default(), trail }
    }

    /// The parts of `layer` that hold the contents `wanted`; `None` where it has to be read from its start. Unless it was read to be
    /// `compared`, the parts are not either.
    pub fn stretches(&self, layer: &Layer, mut wanted: Vec<FileContent>, compared: bool) -> Option<Vec<Stretch>> {
        let (digest, size) = (layer.digest()?, layer.size());
        wanted.sort_by_key(|content| content.data);
        let mut stretches: Vec<Stretch> = Vec::new();
        for content in wanted {
            if content.sparse {
                return None;
            }
            let end = content.data.0.checked_add(content.size)?;
            let way = self.restarts.way_back(&(content.data.0..end))?;
            let needed = way.compressed.0..way.compressed.1.unwrap_or(size);
            match stretches.last_mut() {
                Some(last) if needed.start <= last.needed.end.saturating_add(JOINED) => {
                    last.needed.end = last.needed.end.max(needed.end);
                    last.wanted.push(content);
                }
                _ => stretches.push(Stretch { way, needed, part: None, wanted: vec![content] }),
            }
        }
        if compared {
            for stretch in &mut stretches {
                stretch.part = Some(self.trail.around(stretch.needed.clone(), (digest, size))?);
            }
        }
        Some(stretches)
    }

    /// Hands the contents of `stretch`, whose bytes come from `blob`, to `each`, in the order of the tar, and sees that the layer, which
    /// messages call `name`, still has there what it had.
    pub fn read(
        &self,
        stretch: Stretch,
        blob: BlobReader,
        name: &str,
        each: &mut dyn FnMut(FileContent, &mut dyn Content) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let in_layer = |error| Error::in_layer(name, error);
        let range = stretch.range();
        let before = stretch.needed.start - range.start;
        let Some(part) = &stretch.part else { return self.contents(&stretch, blob, name, each) };
        let mut blob = part.clone().compared(blob, format!("{name}, read again from byte {}", range.start));
        skip(&mut blob, before).map_err(in_layer)?;
        let read = self.contents(&stretch, &mut blob, name, each);
        match &read {
            // That other bytes came is the better explanation for what cannot be decoded.
            Ok(()) | Err(Error::Layer { error: LayerError::Damaged { .. } | LayerError::Truncated { .. }, .. }) => {
                io::copy(&mut blob, &mut io::sink()).map_err(|error| in_layer(error.into()))?;
                read
            }
            Err(_) => read,
        }
    }

    fn contents(
        &self,
        stretch: &Stretch,
        bytes: impl Read,
        name: &str,
        each: &mut dyn FnMut(FileContent, &mut dyn Content) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let in_layer = |error| Error::in_layer(name, error);
        let checkpoint = self.restarts.checkpoint(&stretch.way);
        let checkpoint = checkpoint.ok_or_else(|| Error::Bug(format!("{name} cannot be begun where it could")))?;
        let mut tar = ExtentReader::new(&checkpoint, bytes).map_err(in_layer)?;
        let mut position = stretch.way.uncompressed;
        for &content in &stretch.wanted {
            skip(&mut tar, content.data.0 - position).map_err(in_layer)?;
            let mut section = Section::new(&mut tar, content);
            each(content, &mut section)?;
            // As a rule there is nothing left.
            io::copy(&mut section, &mut io::sink()).map_err(|error| in_layer(error.into()))?;
            position = content.data.0 + content.size;
        }
        Ok(())
    }
}

impl Stretch {
    /// The bytes of the blob that it takes to read it.
    pub fn range(&self) -> Range<u64> {
        self.part.as_ref().map_or(&self.needed, |part| &part.range).clone()
    }

    /// What is in it.
    pub fn wanted(&self) -> &[FileContent] {
        &self.wanted
    }
}

/// Keeps the checkpoints of all layers within bounds: those that have most lose every second one.
pub fn thin(noted: &[Option<Noted>]) {
    let of_all = || noted.iter().flatten().map(|noted| &noted.restarts);
    while of_all().map(|restarts| restarts.count()).sum::<usize>() > MAX_CHECKPOINTS {
        match of_all().max_by_key(|restarts| restarts.count()) {
            // A layer's first one is always kept.
            Some(most) if most.count() > 1 => most.thin(),
            _ => return,
        }
    }
}

fn skip(reader: &mut impl Read, amount: u64) -> Result<(), LayerError> {
    io::copy(&mut reader.take(amount), &mut io::sink()).map_err(LayerError::from)?;
    Ok(())
}
