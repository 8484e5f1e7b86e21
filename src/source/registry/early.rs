//! Referrers that are asked for before anybody needs them, so that their answer comes with the config's.
//!
//! Where a name is to be got, the range index will be needed as soon as the labels are read; what is asked for is known
//! earlier, with the manifest's digest. One list is asked for at a time, and given up where nobody takes it.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::task::JoinSet;

use super::Registry;
use crate::image::digest::Digest;
use crate::image::index::IndexEntry;
use crate::source::SourceError;

type Listed = Result<Vec<IndexEntry>, SourceError>;

/// What is expected to be asked for, and what is on its way.
#[derive(Default)]
pub(super) struct Early {
    /// The artifact type that will be wanted of the image's referrers; nothing is asked for without one.
    artifact_type: OnceLock<String>,
    /// The manifest that the list on its way is of. The set has that one task, which ends where the set is dropped.
    on_its_way: Mutex<Option<(Digest, JoinSet<Listed>)>>,
}

impl Early {
    /// Referrers of this artifact type will be wanted.
    pub fn expect(&self, artifact_type: &str) {
        // The first one stays: nobody asks for two.
        let _ = self.artifact_type.set(artifact_type.to_owned());
    }

    /// Asks `registry` for what refers to `subject`, if that is expected to be wanted.
    pub fn begin(&self, registry: Registry, subject: &Digest) {
        let Some(artifact_type) = self.artifact_type.get().cloned() else { return };
        let mut task = JoinSet::new();
        let wanted = subject.clone();
        task.spawn(async move { registry.list_referrers(&wanted, &artifact_type).await });
        *self.on_its_way.lock().unwrap_or_else(PoisonError::into_inner) = Some((subject.clone(), task));
    }

    /// The answer that is on its way, where it is to this question. It is given once.
    pub async fn take(&self, subject: &Digest, artifact_type: &str) -> Option<Listed> {
        let taken = self.on_its_way.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_expected = self.artifact_type.get().is_some_and(|expected| expected == artifact_type);
        let (_, mut task) = taken.filter(|(asked, _)| asked == subject && is_expected)?;
        task.join_next().await?.ok()
    }
}
