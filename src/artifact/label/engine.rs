//! Labelling an image of the engine: it exports the image, and loads the same layers with the new config under the same name. No
//! layer is added and no history written, as a build or a commit would.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;

use super::copy::prepare_local;
use super::prepare::Prepared;
use super::request::{Labelled, Request};
use crate::artifact::error::Error;
use crate::image::digest::Digest;
use crate::progress::Progress;
use crate::source::copied::{Assembled, AssembledReader, Copied};
use crate::source::engine::Engine;
use crate::source::renamed::NewName;
use crate::source::{Source, SourceError};

/// How many bytes are sent at a time.
const PIECE: usize = 256 * 1024;

/// Labels the image `in_engine` as `request` says, and gives the result the name that it has, or `name`. The image before stays,
/// without a name, as after a build.
pub async fn label_in_engine(
    in_engine: Arc<Engine>,
    name: Option<NewName>,
    request: Request,
    progress: Arc<dyn Progress>,
) -> Result<Labelled, Error> {
    let is_own = name.is_none();
    let name = match name {
        Some(name) => name,
        None => in_engine.own_name().await?.ok_or_else(|| {
            Error::Usage("IMAGE is an ID or a digest, not a name; name the result with --tag".to_owned())
        })?,
    };
    let from = Arc::clone(in_engine.export().await?);
    let prepared = prepare_local(&from, &request, &progress).await?;
    if request.dry_run || (is_own && !prepared.is_changed()) {
        let old = id(&in_engine, in_engine.id().await?)?;
        let new = prepared.moved.get(&old).map_or_else(|| old.clone(), |now| Digest::of(now.as_bytes()));
        return Ok(Labelled { old, new, ..prepared.outcome(false) });
    }
    if is_own {
        in_engine.check_own_name().await?;
    }
    if !prepared.is_changed() {
        let (repository, tag) = name.short().rsplit_once(':').unwrap_or((name.short(), name.tag()));
        in_engine.api().await?.tag(in_engine.id().await?, repository, tag).await?;
        return outcome(&in_engine, &prepared, &name).await;
    }
    // An engine that keeps layers by their diff IDs, as all do that export no manifests, takes those that it has by that alone.
    if let Some(changed) = from.only_changed(&prepared.moved, Some(&name))?
        && load(&in_engine, changed, "without its layers", &*progress).await.is_ok()
    {
        return outcome(&in_engine, &prepared, &name).await;
    }
    let Copied::Archive(archive) = from.copied(&prepared.moved, Some(&name))? else {
        return Err(Error::Bug("an engine exported a folder".to_owned()));
    };
    load(&in_engine, archive, "with its layers", &*progress).await?;
    outcome(&in_engine, &prepared, &name).await
}

/// What became of it, by the engine's own IDs.
async fn outcome(in_engine: &Engine, prepared: &Prepared, name: &NewName) -> Result<Labelled, Error> {
    let new = in_engine.id_of_same_layers(name.short()).await?;
    let old = id(in_engine, in_engine.id().await?)?;
    Ok(Labelled { old, new: id(in_engine, &new)?, ..prepared.outcome(true) })
}

/// What the engine calls an image: the digest of its config, or, in some stores, of its manifest or index.
fn id(in_engine: &Engine, id: &str) -> Result<Digest, Error> {
    let no_digest = |error| SourceError::Protocol { what: in_engine.name(), problem: format!("its ID {id}: {error}") };
    Ok(id.parse().map_err(no_digest)?)
}

async fn load(to: &Engine, archive: Assembled, how: &str, progress: &dyn Progress) -> Result<(), SourceError> {
    let task = format!("loading {} {how}", to.name());
    progress.start(&task, &task, Some(archive.length()));
    let loaded = to.api().await?.load(reqwest::Body::wrap_stream(pieces(archive.reader()))).await;
    progress.finish(&task);
    loaded.map(drop)
}

/// What `reader` gives, piece by piece, each read on a thread that may block.
fn pieces(reader: AssembledReader) -> impl stream::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            let read = reader.read(&mut piece);
            read.map(|length| {
                piece.truncate(length);
                (Bytes::from(piece), reader)
            })
        });
        match read.await {
            Ok(Ok((piece, _))) if piece.is_empty() => None,
            Ok(Ok((piece, reader))) => Some((Ok(piece), Some(reader))),
            Ok(Err(error)) => Some((Err(error), None)),
            Err(panic) => Some((Err(std::io::Error::other(panic)), None)),
        }
    })
}
