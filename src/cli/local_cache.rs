//! The cache of this machine as commands take it: opened once, where it is wanted at all.

use std::fs::File;
use std::io;
use std::sync::{Arc, OnceLock};

use crate::artifact::remember::{Remember, Room, TableStore};
use crate::artifact::{Cached, Tables};
use crate::cache::Cache;
use crate::image::digest::Digest;
use crate::progress::Progress;

/// The cache, unless nothing is to be kept.
#[derive(Clone, Debug, Default)]
pub struct LocalCache {
    /// `None` where it is not wanted.
    opened: Option<Arc<OnceLock<Option<Arc<Cache>>>>>,
    /// Whether nothing of it is changed.
    is_read_only: bool,
}

impl LocalCache {
    /// The one that the environment names; none where it is not wanted.
    pub fn new(is_wanted: bool) -> Self {
        LocalCache { opened: is_wanted.then(Arc::default), is_read_only: false }
    }

    /// The one that the environment names, of which nothing is changed; none where it is not wanted.
    pub fn to_read(is_wanted: bool) -> Self {
        LocalCache { is_read_only: true, ..LocalCache::new(is_wanted) }
    }

    /// Opens it. A place that cannot be used is told once.
    pub fn open(&self, progress: &dyn Progress) -> Option<Arc<Cache>> {
        let opened = self.opened.as_ref()?;
        let environment = |name: &str| std::env::var_os(name);
        let open = || match self.is_read_only {
            true => Cache::open_to_read(&environment),
            false => Cache::open(&environment, progress),
        };
        opened.get_or_init(open).clone()
    }
}

impl PartialEq for LocalCache {
    fn eq(&self, other: &Self) -> bool {
        (self.opened.is_some(), self.is_read_only) == (other.opened.is_some(), other.is_read_only)
    }
}

impl Eq for LocalCache {}

impl LocalCache {
    /// What may tell of an image's layers beside them: those tables that the image brings, if they are `believed`, and those of this machine,
    /// which also remembers the layers that are read.
    pub fn tables(&self, believed: bool, progress: &dyn Progress) -> Tables {
        let carried = if believed { Tables::carried() } else { Tables::default() };
        let Some(cache) = self.open(progress) else { return carried };
        let kept = Arc::new(KeptTables(cache));
        let remember = (!self.is_read_only).then(|| Remember::new(kept.clone(), |why| tracing::debug!("{why}")));
        let cached = believed.then_some(kept as Arc<dyn Cached>);
        Tables { cached, remember: remember.map(Arc::new), ..carried }
    }
}

/// The cache, as a place for tables.
struct KeptTables(Arc<Cache>);

impl Cached for KeptTables {
    fn table(&self, layer: &Digest) -> Option<File> {
        self.0.table(layer)
    }

    fn drop_table(&self, layer: &Digest) {
        self.0.drop_table(layer);
    }
}

impl TableStore for KeptTables {
    fn room(&self, blob: &Digest) -> io::Result<Option<Room>> {
        if self.0.table(blob).is_some() {
            return Ok(None);
        }
        let table = self.0.new_table()?;
        let (file, scratch, blob) = (table.file.try_clone()?, Box::new(table.scratches()), blob.clone());
        Ok(Some(Room { file, scratch, keep: Box::new(move || table.keep(&blob)) }))
    }
}
