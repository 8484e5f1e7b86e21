//! The cache of this machine as commands take it: opened once, where it is wanted at all.

use std::sync::{Arc, OnceLock};

use crate::cache::Cache;
use crate::progress::Progress;

/// The cache, unless nothing is to be kept.
#[derive(Clone, Debug, Default)]
pub struct LocalCache {
    /// `None` where it is not wanted.
    opened: Option<Arc<OnceLock<Option<Arc<Cache>>>>>,
}

impl LocalCache {
    /// The one that the environment names; none where it is not wanted.
    pub fn new(is_wanted: bool) -> Self {
        LocalCache { opened: is_wanted.then(Arc::default) }
    }

    /// Opens it. A place that cannot be used is told once.
    pub fn open(&self, progress: &dyn Progress) -> Option<Arc<Cache>> {
        let opened = self.opened.as_ref()?;
        opened.get_or_init(|| Cache::open(&|name| std::env::var_os(name), progress)).clone()
    }
}

impl PartialEq for LocalCache {
    fn eq(&self, other: &Self) -> bool {
        self.opened.is_some() == other.opened.is_some()
    }
}

impl Eq for LocalCache {}
