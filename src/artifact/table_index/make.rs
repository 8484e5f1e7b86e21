//! Making the tables of an image's layers: those that are there are kept, and the other layers are read, each once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::list::{LayerTable, Tables};
use crate::artifact::blocking::blocking;
use crate::artifact::error::Error;
use crate::artifact::shown::describe;
use crate::artifact::tabulate::tabulate;
use crate::image::digest::Digest;
use crate::image::{Image, Layer};
use crate::progress::Progress;
use crate::source::registry::Registry;
use crate::source::{Source, SourceError};
use crate::table::own::{NotWritten, OwnTable, Written};

/// A layer of fewer bytes, as stored, is read: asking for nodes of its table would take as long.
pub const WORTHWHILE: u64 = 64 << 10;

/// How many bytes of a table are read at a time.
const PIECE: usize = 256 << 10;

/// The table that a layer has.
#[derive(Clone)]
pub enum Made {
    /// One that is in the repository already.
    There(LayerTable),
    /// One that was made, in a file without a name, with so many entries.
    New(LayerTable, Arc<File>, u64),
    /// None, for this reason.
    Untold(&'static str),
}

/// The tables that were made, or found, so far, by the layers' blobs. A layer that several platforms share is read once.
#[derive(Default)]
pub struct Workshop {
    made: HashMap<Digest, Made>,
}

impl Workshop {
    /// The table of the layer with this blob.
    pub fn get(&self, layer: &Digest) -> Option<&Made> {
        self.made.get(layer)
    }

    /// Sees that there are tables of all layers of `image`, which messages call `name`. Those in `known` that are still in the
    /// repository are not made.
    pub async fn make(
        &mut self,
        from: &Arc<Registry>,
        (image, name): (&Image, &str),
        known: &Tables,
        progress: &Arc<dyn Progress>,
    ) -> Result<(), Error> {
        for layer in image.layers.iter().filter(|layer| is_worthwhile(layer)) {
            progress.name(&layer.task(), &describe(layer, image.layers.len()));
            let Some(digest) = layer.digest().filter(|digest| !self.made.contains_key(*digest)) else { continue };
            let made = match known.of(digest) {
                Some(table) if from.has(&table.descriptor()).await? => Made::There(table.clone()),
                None if known.untold.contains(digest) => Made::Untold("the image's table index has none"),
                _ => {
                    let made = new(from, layer, image.layers.len()).await?;
                    if let Made::Untold(why) = &made {
                        let layer = describe(layer, image.layers.len());
                        progress.notice(&format!(
                            "{name}, {layer}: no table can be made ({why}); getting a file of it will read the layer"
                        ));
                    }
                    made
                }
            };
            self.made.insert(digest.clone(), made);
        }
        Ok(())
    }

    /// What there is of the layers of `image`.
    pub fn tables(&self, image: &Image) -> Tables {
        let mut tables = Tables::default();
        for digest in image.layers.iter().filter_map(Layer::digest) {
            match self.made.get(digest) {
                Some(Made::There(table) | Made::New(table, ..)) if tables.of(digest).is_none() => {
                    tables.told.push(table.clone());
                }
                Some(Made::Untold(_)) => drop(tables.untold.insert(digest.clone())),
                _ => {}
            }
        }
        tables
    }
}

/// Those of `tables` that are of layers of `image`, as far as their top nodes tell.
pub fn fitting(tables: &Tables, image: &Image) -> Tables {
    let layer = |digest: &Digest| image.layers.iter().find(|layer| layer.digest() == Some(digest));
    let fits = |table: &&LayerTable| {
        let Some(layer) = layer(&table.layer) else { return false };
        let top = table.embedded.as_ref();
        top.is_none_or(|top| OwnTable::of(top, &table.top, (&table.layer, layer.size())).is_ok())
    };
    Tables { told: tables.told.iter().filter(fits).cloned().collect(), untold: tables.untold.clone() }
}

/// Whether a table of `layer` is of use.
pub fn is_worthwhile(layer: &Layer) -> bool {
    layer.size() >= WORTHWHILE
}

/// Reads `layer`, one of `count`, and makes its table.
async fn new(from: &Registry, layer: &Layer, count: usize) -> Result<Made, Error> {
    let missing = || Error::NoDigest { layer: describe(layer, count) };
    let (layer, digest) = (layer.clone(), layer.digest().cloned().ok_or_else(missing)?);
    let blob = from.layer(&layer).await?;
    blocking(move || {
        let file = tempfile::tempfile().map_err(writing)?;
        let written = match tabulate(blob, (&layer, count), file, Box::new(tempfile::tempfile))? {
            Ok(written) => written,
            Err(NotWritten::Untold(why)) => return Ok(Made::Untold(why)),
            Err(NotWritten::Io(error)) => return Err(writing(error)),
        };
        let rows = written.rows;
        let (table, file) = described(digest, written).map_err(writing)?;
        Ok(Made::New(table, Arc::new(file), rows))
    })
    .await
}

fn writing(error: io::Error) -> Error {
    let what = format!("writing a table to a temporary file in {}", std::env::temp_dir().display());
    Error::Source(SourceError::Io { what, error })
}

/// What lists a table that has been written.
fn described(layer: Digest, written: Written) -> io::Result<(LayerTable, File)> {
    let Written { mut file, length, top, .. } = written;
    let mut hasher = Digest::of(b"").hasher();
    file.seek(SeekFrom::Start(0))?;
    let mut piece = vec![0; PIECE];
    let mut whole = (&mut file).take(length);
    loop {
        match whole.read(&mut piece)? {
            0 => break,
            read => hasher.update(&piece[..read]),
        }
    }
    let (start, end) = top.range;
    let mut embedded = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut embedded, start)?;
    Ok((LayerTable { layer, digest: hasher.finish(), size: length, top, embedded: Some(embedded) }, file))
}
