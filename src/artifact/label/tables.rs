//! The tables of the images that are labelled: made, and named in the config, where that was asked for. Otherwise what is attached to an
//! image goes along with it when its digest becomes another one.

use std::collections::HashMap;
use std::sync::Arc;

use super::prepare::Prepared;
use super::relabel::Relabelled;
use crate::artifact::candidate::{Candidate, media_type_of};
use crate::artifact::error::Error;
use crate::artifact::table_index::{
    Subject, Tables, Workshop, attach_tables, attached, fitting, named, send, send_list,
};
use crate::image::Image;
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::progress::Progress;
use crate::source::SourceError;
use crate::source::registry::Registry;

/// The tables that were made.
#[derive(Default)]
pub struct AllTables {
    workshop: Workshop,
    /// Those of each image, by the digest that its manifest had, with the list that its config names now.
    images: HashMap<Digest, (Tables, String)>,
}

impl AllTables {
    /// Makes tables of all layers of `images`, and has each image's config name them. Only what the config names already is not made again:
    /// the new digest is to vouch for the tables, and no digest vouches for what is attached.
    pub async fn make(
        from: &Arc<Registry>,
        images: &mut [Candidate],
        progress: &Arc<dyn Progress>,
    ) -> Result<Self, Error> {
        let mut all = AllTables::default();
        for candidate in images {
            let (image, subject) = (Arc::clone(&candidate.image), candidate.digest());
            let known = fitting(&named_by(from, &image).await?, &image);
            all.workshop.make(from, (&image, &candidate.name), &known, progress).await?;
            let tables = all.workshop.tables(&image);
            let list = named::list_of(&image, &tables);
            candidate.also.push((named::LABEL.to_owned(), named::label(&named::descriptor(&list))));
            all.images.insert(subject, (tables, list));
        }
        Ok(all)
    }

    /// Attaches to each image that was `prepared` what was made of it, or what was attached to it before. Whether anything was sent.
    pub async fn attach(
        &self,
        (from, to): (&Registry, &Registry),
        prepared: &Prepared,
        progress: &dyn Progress,
    ) -> Result<bool, Error> {
        let mut sent = false;
        for image in &prepared.images {
            let before = image.before.digest();
            if let Some((tables, list)) = self.images.get(&before) {
                sent |= self.attach_made((from, to), image, (tables, list), progress).await?;
            } else if image.digest() != before || !to.shares_repository(from) {
                match self.carry_over((from, to), image, progress).await {
                    Ok(()) => {}
                    Err(error) if error.is_local() => return Err(error),
                    Err(error) => {
                        let name = &image.before.name;
                        progress.notice(&format!("{name}: its table index cannot be carried over: {error}"));
                    }
                }
            }
        }
        Ok(sent)
    }

    async fn attach_made(
        &self,
        (from, to): (&Registry, &Registry),
        image: &Relabelled,
        (tables, list): (&Tables, &str),
        progress: &dyn Progress,
    ) -> Result<bool, Error> {
        let subject = subject(image)?;
        let earlier = attached(to, &subject.digest(), progress).await?;
        if earlier.newest.is_some() && earlier.tables.is_same(tables) && to.has(&named::descriptor(list)).await? {
            return Ok(false);
        }
        send(from, to, tables, &self.workshop).await?;
        let list = send_list(to, list.to_owned()).await?;
        attach_tables(to, &subject, tables, Some(&list), &earlier).await?;
        Ok(true)
    }

    async fn carry_over(
        &self,
        (from, to): (&Registry, &Registry),
        image: &Relabelled,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let attached_before = attached(from, &image.before.digest(), progress).await?;
        if attached_before.newest.is_none() {
            return Ok(());
        }
        let subject = subject(image)?;
        let earlier = attached(to, &subject.digest(), progress).await?;
        let tables = fitting(&attached_before.tables, &image.before.image);
        if earlier.newest.is_some() && earlier.tables.is_same(&tables) {
            return Ok(());
        }
        send(from, to, &tables, &self.workshop).await?;
        let list = self.list_there((from, to), image).await?;
        attach_tables(to, &subject, &tables, list.as_ref(), &earlier).await
    }

    /// The list that the image's config names, where there is one, brought along.
    async fn list_there(
        &self,
        (from, to): (&Registry, &Registry),
        image: &Relabelled,
    ) -> Result<Option<Descriptor>, SourceError> {
        let Some(list) = named::named_by(&image.before.image) else { return Ok(None) };
        if !from.has(&list).await? {
            return Ok(None);
        }
        if !to.shares_repository(from) {
            to.take_blob(from, &list).await?;
        }
        Ok(Some(list))
    }
}

/// The tables that `image` itself names, as far as they can be read: others take their place.
async fn named_by(from: &Registry, image: &Image) -> Result<Tables, SourceError> {
    match named::read(from, image).await {
        Ok(named) => Ok(named.unwrap_or_default()),
        Err(SourceError::NotFound { .. } | SourceError::Protocol { .. } | SourceError::Mismatch { .. }) => {
            Ok(Tables::default())
        }
        Err(error) => Err(error),
    }
}

fn subject(image: &Relabelled) -> Result<Subject<'_>, Error> {
    let Some((own, document)) = image.before.manifest.as_ref().zip(image.manifest.as_ref()) else {
        return Err(Error::Bug(format!("{} has no manifest", image.before.name)));
    };
    Ok(Subject { media_type: media_type_of(&own.raw), document: document.as_bytes() })
}
