//! Copies of places of this machine, in which an image has become another one. Everything else stays as it is.

use std::collections::BTreeMap;

use super::super::Source as _;
use super::super::SourceError;
use super::super::archive::{Selected, renew, write};
use super::super::copied::{Assembled, Copied, Exchange, Identity};
use super::super::files::Files;
use super::super::layout::blob_name;
use super::super::local::{LocalConfig, LocalImage, malformed};
use super::super::renamed::NewName;
use super::{LocalSource, Place};
use crate::image::Image;
use crate::image::digest::Digest;
use crate::image::mend::Moved;

/// An image of a place that keeps no manifests.
pub struct BareImage {
    /// The image.
    pub image: Image,
    /// Its config, as written.
    pub config: String,
    /// Whether its config is as the place has it: what Docker wrote before version 1.10 has none, and is converted.
    pub has_config: bool,
}

impl LocalSource {
    /// The image that was chosen, where it has no manifest.
    pub fn bare_image(&self) -> Result<Option<BareImage>, SourceError> {
        let Selected::Image(chosen) = &self.chosen else { return Ok(None) };
        let image = self.image_without_manifest(chosen)?;
        let LocalConfig { bytes, file, .. } = &chosen.config;
        let not_utf8 = |_| malformed(&self.name(), "its config is not UTF-8");
        let config = String::from_utf8(bytes.to_vec()).map_err(not_utf8)?;
        Ok(Some(BareImage { image, config, has_config: file.is_some() }))
    }

    /// Which file or folder the place is; `None` where it came through a pipe.
    pub fn identity(&self) -> Result<Option<Identity>, SourceError> {
        match &self.place {
            Place::Archive(archive) => Ok(archive.identity()),
            Place::Layout(_, directory) => directory.identity().map(Some),
        }
    }

    /// Whether it is a folder, and so is a copy of it.
    pub fn is_folder(&self) -> bool {
        matches!(self.place, Place::Layout(..))
    }

    /// A copy in which the documents that `moved` have become others, those of the image that was chosen. That one keeps its names,
    /// or has none but `name`.
    pub fn copied(&self, moved: &Moved, name: Option<&NewName>) -> Result<Copied, SourceError> {
        let exchanges = self.exchanges(moved, name)?;
        match &self.place {
            Place::Archive(archive) => Ok(Copied::Archive(archive.exchanged(&exchanges)?)),
            Place::Layout(_, directory) => {
                let mut files = Vec::new();
                for file in directory.layout_files()? {
                    let (old, new): (Option<&Exchange>, _) = (
                        exchanges.iter().find(|exchange| exchange.old == file),
                        exchanges.iter().any(|exchange| exchange.new == file),
                    );
                    let stays = !new && old.is_none_or(|exchange| exchange.keeps_old);
                    if stays && let Some(stored) = directory.find(&file)? {
                        files.push((file, Assembled::from(stored)));
                    }
                    if let Some(exchange) = old {
                        files.push((exchange.new.clone(), Assembled::from(exchange.content.clone())));
                    }
                }
                Ok(Copied::Layout(files))
            }
        }
    }

    /// An archive of nothing but what has changed, which is the image for a reader that has its layers; `None` where the place names
    /// layers by the digests of their blobs.
    pub fn only_changed(&self, moved: &Moved, name: Option<&NewName>) -> Result<Option<Assembled>, SourceError> {
        match &self.chosen {
            Selected::Image(_) => write::packed(&self.exchanges(moved, name)?).map(Some),
            Selected::Manifest(_) => Ok(None),
        }
    }

    fn exchanges(&self, moved: &Moved, name: Option<&NewName>) -> Result<Vec<Exchange>, SourceError> {
        let files: &dyn Files = match &self.place {
            Place::Archive(archive) => archive.files(),
            Place::Layout(_, directory) => &**directory,
        };
        match &self.chosen {
            Selected::Manifest(root) => {
                let layout = self.as_layout()?;
                let mut exchanges = layout.renewed(moved.clone(), root, name)?;
                // Docker lists the same images in its own way, too.
                let renewed = |old: Digest| {
                    let new = moved.get(&old).map_or(old.clone(), |now| Digest::of(now.as_bytes()));
                    (blob_name(&old), blob_name(&new))
                };
                let configs = layout.configs_of(root)?.into_iter().map(renewed).collect();
                exchanges.extend(renew::renewed(files, &configs, name)?);
                Ok(exchanges)
            }
            Selected::Image(LocalImage { config: LocalConfig { bytes, file: Some(old), .. }, .. }) => {
                let now = moved.get(&Digest::of(bytes));
                let new = now.map_or(old.clone(), |now| renew::file_of(old, &Digest::of(now.as_bytes())));
                let configs = BTreeMap::from([(old.clone(), new.clone())]);
                let mut exchanges = renew::renewed(files, &configs, name)?;
                let content = now.map(|now| now.to_owned().into());
                exchanges.extend(content.map(|content| Exchange { old: old.clone(), new, content, keeps_old: false }));
                Ok(exchanges)
            }
            Selected::Image(_) => Err(malformed(&self.name(), "its config was converted, and cannot be exchanged")),
        }
    }
}
