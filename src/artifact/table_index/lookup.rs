//! The tables that are kept beside an image, for whoever looks something up in it: those that the image itself names first, and then
//! those that are attached to it, where these may be believed.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::attached::attached;
use super::list::{self, LayerTable};
use super::make::is_worthwhile;
use super::named;
use crate::artifact::error::Error;
use crate::artifact::tables::{Attached, AttachedTable, Tables};
use crate::image::Image;
use crate::image::digest::Digest;
use crate::progress::Progress;
use crate::source::{Source, SourceError};

/// Where all layers together have fewer bytes, as stored, they are read: asking what is attached would take as long.
const WORTH_ASKING: u64 = 1 << 20;

/// Whether it is worth asking for the tables of an image with layers of these sizes.
pub fn is_worth_asking(sizes: impl Iterator<Item = u64>) -> bool {
    sizes.fold(0, u64::saturating_add) >= WORTH_ASKING
}

/// The `tables` that are believed, and, where they are not none, those beside the `image`; of these, what its digest does not cover only
/// where that is trusted. Where they have been looked for already, they are not again.
pub fn beside(
    tables: Tables,
    (source, image): (&Arc<dyn Source>, &Arc<Image>),
    trusts_attached: bool,
    progress: &Arc<dyn Progress>,
) -> Tables {
    if !tables.carried || source.store().is_none() || tables.attached.is_some() {
        return tables;
    }
    let (source, image, progress) = (Arc::clone(source), Arc::clone(image), Arc::clone(progress));
    let found = OnceCell::new();
    Tables { attached: Some(Arc::new(Beside { source, image, trusts_attached, progress, found })), ..tables }
}

/// The tables beside an image.
struct Beside {
    source: Arc<dyn Source>,
    image: Arc<Image>,
    trusts_attached: bool,
    progress: Arc<dyn Progress>,
    /// What was found.
    found: OnceCell<HashMap<Digest, AttachedTable>>,
}

impl Attached for Beside {
    fn tables(&self) -> BoxFuture<'_, Result<HashMap<Digest, AttachedTable>, Error>> {
        Box::pin(async { self.found.get_or_try_init(|| self.find()).await.cloned() })
    }
}

impl Beside {
    async fn find(&self) -> Result<HashMap<Digest, AttachedTable>, Error> {
        let mut found = HashMap::new();
        let Some(store) = self.source.store() else { return Ok(found) };
        match named::read(store, &self.image).await {
            Ok(named) => add(&mut found, named.unwrap_or_default(), true),
            // A copy of the image need not have brought it along.
            Err(SourceError::NotFound { .. }) => {}
            Err(error) => self.without(error)?,
        }
        let layers = || self.image.layers.iter();
        let is_missing = |digest: &Digest| !found.contains_key(digest);
        if self.trusts_attached
            && is_worth_asking(layers().map(|layer| layer.size()))
            && layers().any(|layer| is_worthwhile(layer) && layer.digest().is_some_and(is_missing))
            && let Some(subject) = &self.image.digest
        {
            match attached(store, subject, &*self.progress).await {
                Ok(attached) => add(&mut found, attached.tables, false),
                // Nobody need have heard of any.
                Err(error) => {
                    tracing::debug!(%error, "cannot tell which tables are attached");
                    Some(Error::from(error)).filter(Error::is_local).map_or(Ok(()), Err)?;
                }
            }
        }
        Ok(found)
    }

    /// Goes on without tables that cannot be read, unless this machine is at fault.
    fn without(&self, error: SourceError) -> Result<(), Error> {
        let error = Error::from(error);
        if error.is_local() {
            return Err(error);
        }
        self.progress.notice(&format!("cannot read the table index ({error}); reading layers instead"));
        Ok(())
    }
}

fn add(found: &mut HashMap<Digest, AttachedTable>, tables: list::Tables, is_covered: bool) {
    for table in tables.told {
        let blob = table.descriptor();
        let LayerTable { layer, top, embedded, .. } = table;
        let table = AttachedTable { blob, top, top_bytes: embedded.map(Into::into), is_covered };
        found.entry(layer).or_insert(table);
    }
}
