//! The cheapest honest table of each layer: the one that this machine keeps, else the one that the image carries, else one that is attached to
//! it. One that turned out to be of no use is not taken again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::blocking::blocking;
use super::collect::NamedLayer;
use super::error::Error;
use super::soci::SociIndex;
use super::tables::{AttachedTable, Tables};
use super::told::{BlobParts, By, NotTold, Origin, Own, Parts, Told, carried};
use crate::image::Layer;
use crate::image::digest::Digest;
use crate::source::{Source, SourceError};
use crate::table::own::{OwnTable, Trailer};
use crate::table::{Format, Unusable, own_members};

/// A layer of fewer bytes, as stored, is read: asking for its table would take as long.
const WORTHWHILE: u64 = 64 << 10;

/// Which tables there are, and which of them are believed.
pub(super) struct Origins {
    tables: Tables,
    /// Whether contents are to be found with them, and not only what there is.
    locates: bool,
    /// Whether the place gives no parts of blobs.
    gives_none: AtomicBool,
    /// Tables that are not believed any more.
    doubted: Mutex<HashSet<(Digest, Origin)>>,
    /// The tables that this machine keeps, as far as it was asked.
    cached: Mutex<HashMap<Digest, Option<Arc<File>>>>,
    attached: OnceCell<HashMap<Digest, AttachedTable>>,
}

impl Origins {
    /// All of `tables`. With `locates`, contents are to be found with them.
    pub(super) fn new(tables: Tables, locates: bool) -> Self {
        Origins {
            tables,
            locates,
            gives_none: AtomicBool::new(false),
            doubted: Mutex::default(),
            cached: Mutex::default(),
            attached: OnceCell::new(),
        }
    }

    /// Whether there is a table of `layer`, as far as is known.
    pub(super) fn is_told(&self, source: &dyn Source, layer: &Layer) -> bool {
        self.is_told_surely(source, layer) || self.soci(source, layer).is_some()
    }

    /// Whether there is one, and nobody need be asked for that first.
    pub(super) fn is_told_surely(&self, source: &dyn Source, layer: &Layer) -> bool {
        self.cached(layer).is_some()
            || self.is_carried(source, layer)
            || self.soci(source, layer).is_some_and(|soci| soci.origin() == Origin::Covered)
            || self.attached(source, layer).is_some()
    }

    /// Finds out which tables are attached to the image, where that matters for `layer`.
    pub(super) async fn find(&self, source: &dyn Source, layer: &Layer) -> Result<(), Error> {
        if let Some(attached) = &self.tables.attached
            && !self.attached.initialized()
            && self.gives_parts(source, layer)
            && !self.is_told_surely(source, layer)
        {
            self.attached.get_or_try_init(|| attached.tables()).await?;
        }
        Ok(())
    }

    /// The table of `layer`, where there is one that is believed.
    pub(super) async fn open(&self, source: &Arc<dyn Source>, layer: &NamedLayer) -> Result<Option<Told>, Failed> {
        if let Some(file) = self.cached(&layer.layer) {
            let (blob, locates) = (blob(&layer.layer), self.locates);
            let own = blocking(move || Ok(cached(&file, blob, locates)));
            let own = own.await.map_err(NotTold::Failed).and_then(|own| own);
            let own = own.map_err(|why| (Some(Origin::Cached), why))?;
            let own = own.hiding(own_members(&layer.layer));
            return Ok(Some(Told { origin: Origin::Cached, by: By::Own(Arc::new(own)) }));
        }
        if self.is_carried(&**source, &layer.layer) {
            let table = carried(&**source, layer).await.map_err(|why| (Some(Origin::Covered), why))?;
            return Ok(Some(Told { origin: Origin::Covered, by: By::Whole(table) }));
        }
        if let Some(told) = self.by_soci(&**source, layer, Origin::Covered).await? {
            return Ok(Some(told));
        }
        self.find(&**source, &layer.layer).await.map_err(|error| (None, NotTold::Failed(error)))?;
        if let Some(table) = self.attached(&**source, &layer.layer).cloned() {
            let origin = origin_of(&table);
            let own = own(source, table, blob(&layer.layer), self.locates).await;
            let own = own.map_err(|why| (Some(origin), why))?.hiding(own_members(&layer.layer));
            return Ok(Some(Told { origin, by: By::Own(Arc::new(own)) }));
        }
        self.by_soci(&**source, layer, Origin::Attached).await
    }

    /// The zTOC of `layer`, where it is from there.
    async fn by_soci(&self, source: &dyn Source, layer: &NamedLayer, origin: Origin) -> Result<Option<Told>, Failed> {
        let Some(soci) = self.soci(source, &layer.layer).filter(|soci| soci.origin() == origin) else {
            return Ok(None);
        };
        let ztoc = soci.ztoc(source, layer).await.map_err(|why| (Some(origin), why))?;
        Ok(ztoc.map(|ztoc| Told { origin, by: By::Whole(ztoc) }))
    }

    /// Does not believe the table of `layer` from there any more. One that this machine keeps is forgotten where it is `wrong`.
    pub(super) fn doubt(&self, layer: &Layer, origin: Origin, wrong: bool) {
        let Some(digest) = layer.digest() else { return };
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner).insert((digest.clone(), origin));
        if let (Origin::Cached, true, Some(cached)) = (origin, wrong, &self.tables.cached) {
            cached.drop_table(digest);
        }
    }

    /// Takes note that the place gives no parts of blobs; says whether that is new.
    pub(super) fn give_none(&self) -> bool {
        !self.gives_none.swap(true, Ordering::Relaxed)
    }

    fn is_doubted(&self, layer: &Layer, origin: Origin) -> bool {
        let doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        layer.digest().is_none_or(|digest| doubted.contains(&(digest.clone(), origin)))
    }

    /// Whether the place may give parts of `layer`, and of its table, and it is worth asking for them.
    fn gives_parts(&self, source: &dyn Source, layer: &Layer) -> bool {
        layer.size() >= WORTHWHILE && source.store().is_some() && !self.gives_none.load(Ordering::Relaxed)
    }

    fn cached(&self, layer: &Layer) -> Option<Arc<File>> {
        let (tables, digest) = self.tables.cached.as_ref().zip(layer.digest())?;
        if self.is_doubted(layer, Origin::Cached) {
            return None;
        }
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let file = cached.entry(digest.clone()).or_insert_with(|| tables.table(digest).map(Arc::new));
        file.clone()
    }

    fn is_carried(&self, source: &dyn Source, layer: &Layer) -> bool {
        self.tables.carried
            && self.gives_parts(source, layer)
            && Format::of(layer).is_some()
            && !self.is_doubted(layer, Origin::Covered)
    }

    /// The SOCI index, where it may tell of `layer`.
    fn soci(&self, source: &dyn Source, layer: &Layer) -> Option<&SociIndex> {
        let soci = self.tables.soci.as_deref().filter(|_| self.tables.carried && self.gives_parts(source, layer))?;
        (soci.may_tell(source, layer) && !self.is_doubted(layer, soci.origin())).then_some(soci)
    }

    fn attached(&self, source: &dyn Source, layer: &Layer) -> Option<&AttachedTable> {
        let table = self.attached.get()?.get(layer.digest()?)?;
        (self.gives_parts(source, layer) && !self.is_doubted(layer, origin_of(table))).then_some(table)
    }
}

/// Why a layer is not told by a table, and which table that was.
pub(super) type Failed = (Option<Origin>, NotTold);

fn origin_of(table: &AttachedTable) -> Origin {
    if table.is_covered { Origin::Covered } else { Origin::Attached }
}

fn blob(layer: &Layer) -> Option<(Digest, u64)> {
    Some((layer.digest()?.clone(), layer.size()))
}

/// The table in a file of this machine.
fn cached(file: &File, blob: Option<(Digest, u64)>, locates: bool) -> Result<Own, NotTold> {
    let local = |error: io::Error| NotTold::Failed(SourceError::from(error).into());
    let short = || NotTold::Unusable(Unusable::new("it is cut off"));
    let blob = blob.ok_or_else(|| NotTold::Failed(Error::Bug("a table is of a layer without a digest".to_owned())))?;
    let length = file.metadata().map_err(local)?.len();
    let mut last = [0; Trailer::LENGTH];
    let start = length.checked_sub(Trailer::LENGTH as u64).ok_or_else(short)?;
    file.read_exact_at(&mut last, start).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => short(),
        _ => local(error),
    })?;
    let Trailer { top, trail } = Trailer::read(&last, length).map_err(NotTold::Unusable)?;
    let bytes = file.read(std::slice::from_ref(&top))?.pop().unwrap_or_default();
    let table = OwnTable::of(&bytes, &top, (&blob.0, blob.1)).map_err(NotTold::Unusable)?;
    let (file, trailed) = (file.try_clone().map_err(local)?, file.try_clone().map_err(local)?);
    Ok(Own::new(blob, table, Box::new(file), Some((trailed, trail)), locates))
}

/// The table in a blob of the place where the image is.
async fn own(
    source: &Arc<dyn Source>,
    AttachedTable { blob: descriptor, top, top_bytes, .. }: AttachedTable,
    blob: Option<(Digest, u64)>,
    locates: bool,
) -> Result<Own, NotTold> {
    let blob = blob.ok_or_else(|| NotTold::Failed(Error::Bug("a table is of a layer without a digest".to_owned())))?;
    let parts = BlobParts::new(source, descriptor);
    let opened = blocking(move || {
        let bytes = match top_bytes {
            Some(bytes) => Ok(bytes),
            None => parts.read(std::slice::from_ref(&top)).map(|mut read| read.pop().unwrap_or_else(Bytes::new)),
        };
        Ok(bytes.and_then(|bytes| {
            let table = OwnTable::of(&bytes, &top, (&blob.0, blob.1)).map_err(NotTold::Unusable)?;
            Ok(Own::new(blob, table, Box::new(parts), None, locates))
        }))
    });
    opened.await.map_err(NotTold::Failed)?
}
