//! The part of an image that a build copies from, to stand in for the image: as a folder that is a named context of the build, or
//! as an image layout that is one.
//!
//! What is asked for is looked up and verified as `get` does it. Each thing then goes under the path that it is copied by, what is
//! in the folder is read as BuildKit will read it, and what it finds has to be what it finds in the image. Whatever would come out of a folder
//! otherwise than out of the image, or may, leaves the image to BuildKit ([`Unfit`]).

mod asked;
mod by_label;
mod fit;
mod folder;
mod layout;
mod outcome;
mod reading;
mod request;
mod take;
mod times;
mod unfit;
mod wildcard;

use std::path::Path as FilePath;
use std::sync::Arc;

use self::asked::Asked;
use self::fit::Form;
use self::layout::Layout;
use self::outcome::Stop;
use self::take::Taking;
use super::blocking::blocking;
use super::error::Error;
use crate::extract::{self, Destination, ExtractError, Item, Node, PublishOptions, Staging};
use crate::image::Image;
use crate::progress::Progress;
use crate::rootfs::UNDESCRIBED;
use crate::source::{LayersFor, Source};

pub use outcome::{Failure, Outcome, Report, Taken};
pub use request::{Path, Request, Wanted};
pub use unfit::Unfit;

/// Writes what `request` names of `image`, which is in `source`, as a folder.
pub async fn context(
    source: Arc<dyn Source>,
    image: Arc<Image>,
    request: &Request,
    progress: Arc<dyn Progress>,
) -> Result<Outcome, Failure> {
    Outcome::of(taking(Form::Folder, source, image, request, progress).await)
}

/// Writes what `request` names of `image`, which is in `source`, as an OCI image layout with one layer, which keeps owners,
/// extended attributes and all modes.
pub async fn layout(
    source: Arc<dyn Source>,
    image: Arc<Image>,
    request: &Request,
    progress: Arc<dyn Progress>,
) -> Result<Outcome, Failure> {
    Outcome::of(taking(Form::Layout, source, image, request, progress).await)
}

async fn taking(
    form: Form,
    source: Arc<dyn Source>,
    image: Arc<Image>,
    request: &Request,
    progress: Arc<dyn Progress>,
) -> Result<Report, Stop> {
    if request.is_stage && !image.config.config.on_build.is_empty() {
        return Err(Unfit::OnBuild.into());
    }
    let mut asked = Vec::new();
    for (instruction, wanted) in request.wanted.iter().enumerate() {
        for (number, path) in wanted.paths.iter().enumerate() {
            asked.push(Asked::read(wanted, path, (instruction, number))?);
        }
    }
    if request.folder.symlink_metadata().is_ok() {
        return Err(ExtractError::DirectoryInTheWay { path: request.folder.clone() }.into());
    }
    let image = source.with_layers(&image, LayersFor::Reading).await?;
    for layer in &image.layers {
        progress.name(&layer.task(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let staging = Arc::new(Staging::new(&Destination::File(request.folder.clone()))?);
    let taking = Taking {
        form,
        source: &source,
        image: &image,
        staging: &staging,
        progress: &progress,
        tables: &request.tables.clone().with_soci(&image, !source.is_pinned(), &progress),
        is_stage: request.is_stage,
    };
    let (folder, things) = taking.folder(&asked).await?;
    let platform = image.platform();
    let (staging, path, digest) = (Arc::clone(&staging), request.folder.clone(), image.digest.clone());
    let written = blocking(move || {
        let mut items = folder.into_items();
        match form {
            Form::Folder => {
                if let Some(digest) = &digest {
                    times::mark(&mut items, digest);
                }
                let root = Item { metadata: UNDESCRIBED, node: Node::Directory(items) };
                Ok(write(&staging, root, &path)?.map(|()| None))
            }
            Form::Layout => {
                let Layout { item, digest, warnings } = Layout::of(items, &platform, &staging)?;
                match warnings.into_iter().next() {
                    Some(problem) => Ok(Err(Unfit::Folder { problem })),
                    None => Ok(write(&staging, item, &path)?.map(|()| Some(digest))),
                }
            }
        }
    });
    Ok(Report {
        layout: written.await??,
        image: source.address(image.digest.as_ref()),
        digest: image.digest.clone(),
        things,
        fetched_bytes: source.bytes_fetched(),
        image_bytes: image.size(),
    })
}

/// Writes `root` as `folder`; what it could not keep as it is makes it unfit, and nothing of it stays.
fn write(staging: &Staging, root: Item, folder: &FilePath) -> Result<Result<(), Unfit>, Error> {
    let options = PublishOptions { preserve: false, special_bits: true };
    match extract::publish(staging, vec![(b"context".to_vec(), root)], &options) {
        Ok(published) => match published.warnings.into_iter().next() {
            None => Ok(Ok(())),
            Some(problem) => {
                extract::remove(folder)?;
                Ok(Err(Unfit::Folder { problem }))
            }
        },
        // Names that this machine's file system takes for one.
        Err(error @ ExtractError::SameName { .. }) => Ok(Err(Unfit::Folder { problem: error.to_string() })),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
