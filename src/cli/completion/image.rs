//! What is in the image on a command line: its artifacts, its files, its layers.
//!
//! Each costs what the shell may spend without having been asked to: a registry's manifest and config, and tables of layers, as far as
//! the cache does not have them. A registry's layers are not read, except where all that no table tells of are small together; and the
//! engine is not asked for paths, as it would make a container for them.

use std::ffi::OsStr;
use std::sync::Arc;

use super::candidates::{Asking, Candidates};
use super::line::Line;
use crate::artifact::Tables;
use crate::artifact::list::list_artifacts;
use crate::artifact::list_files::{Depth, FileKind, list_files};
use crate::artifact::offers::{Offer, Offers};
use crate::cli::access::{Access, Location, location};
use crate::cli::local_cache::LocalCache;
use crate::cli::options::platform;
use crate::image::label::Name;
use crate::image::platform::Choice;
use crate::image::{Image, Layer};
use crate::progress::{Progress, Silent};
use crate::source::Source;
use crate::source::engine::EngineOptions;
use crate::source::name::Name as Place;
use crate::source::sparing::Sparing;

/// Layers that no table tells of are read where they have fewer bytes than this together, as stored.
const FEW_BYTES: u64 = 1 << 20;

/// The image that a command line names.
pub struct ImageOfLine {
    place: Location,
    access: Access,
    platform: Choice,
    asking: Asking,
    progress: Arc<dyn Progress>,
}

/// An image that was found.
struct Opened {
    source: Arc<dyn Source>,
    image: Arc<Image>,
    tables: Tables,
    is_registry: bool,
}

impl ImageOfLine {
    /// The one that is `typed`, with what `line` says of it. `None` where it is none that can be looked into.
    pub fn new(typed: &OsStr, line: &Line<'_>, engine: EngineOptions, asking: Asking) -> Option<Self> {
        let place = location(typed).ok()?;
        match &place {
            // What comes through a pipe comes once.
            Location::Named(Place::Archive { file, .. }) if !file.is_file() => return None,
            Location::Named(Place::Stdin { .. }) | Location::Missing { .. } => return None,
            Location::Named(_) => {}
        }
        let typed_platform = line.value("platform").and_then(|value| value.to_str());
        let first = typed_platform.and_then(|value| value.split(',').next()).map(str::to_owned);
        let is_building = line.command.get_name() == "copy_binary";
        Some(ImageOfLine {
            place,
            access: Access {
                plain_http: line.has("plain_http"),
                insecure: line.has("insecure"),
                engine,
                cache: LocalCache::to_read(!line.has("no_cache") && !is_building),
            },
            platform: platform(first).ok()?,
            asking,
            progress: Arc::new(Silent),
        })
    }

    /// The artifacts whose names go on from what is `typed`, or the paths, where that has a slash.
    pub async fn names_or_paths(&self, typed: &str) -> Option<Candidates> {
        if typed.contains('/') { self.paths(typed).await } else { self.names_and_root(typed).await }
    }

    /// The artifacts whose names go on from what is `typed`.
    pub async fn names(&self, typed: &str) -> Option<Candidates> {
        Some(self.foreign(self.named(&self.open().await?).await?, typed))
    }

    /// The same, and, while nothing is typed, the root, so that it can go on from there.
    async fn names_and_root(&self, typed: &str) -> Option<Candidates> {
        let opened = self.open().await?;
        let mut names = self.named(&opened).await.unwrap_or_default();
        if opened.source.merged().is_none() {
            names.push(("/".to_owned(), "the files of the image".to_owned()));
        }
        Some(self.foreign(names, typed))
    }

    async fn named(&self, opened: &Opened) -> Option<Vec<(String, String)>> {
        let listing = list_artifacts(&*opened.source, &opened.image, &[], &*self.progress).await.ok()?;
        let named = listing.items.into_iter().filter(|artifact| artifact.name.parse::<Name>().is_ok());
        Some(named.map(|artifact| (artifact.name, artifact.path.unwrap_or_default())).collect())
    }

    /// The paths that go on from what is `typed`, by one name: those of directories end in a slash.
    pub async fn paths(&self, typed: &str) -> Option<Candidates> {
        let (directory, _) = typed.split_at(typed.rfind('/')? + 1);
        if directory.contains(['*', '?', '[', '\\']) {
            return None;
        }
        let opened = self.open().await?.sparing(&self.progress).await?;
        let listed = self.listed(&opened, directory, Depth::Children).await?;
        let fitting = listed.into_iter().map(|(name, kind)| (format!("{directory}{name}"), kind));
        let mut fitting: Vec<(String, Kind)> = fitting.filter(|(path, _)| path.starts_with(typed)).collect();
        if let [(path, kind @ Kind::Link)] = &mut *fitting
            && self.listed(&opened, &format!("{path}/"), Depth::Itself).await.is_some()
        {
            *kind = Kind::Directory;
        }
        let paths = fitting.into_iter().map(|(mut path, kind)| {
            if kind == Kind::Directory {
                path.push('/');
            }
            (path, String::new())
        });
        Some(self.foreign(paths, typed))
    }

    /// The numbers of layers, or their digests, that go on from what is `typed`.
    pub async fn layers(&self, typed: &str) -> Option<Candidates> {
        let opened = self.open().await?;
        let name = |layer: &Layer| {
            let number = (layer.index + 1).to_string();
            if typed.is_empty() || number.starts_with(typed) {
                return Some(number);
            }
            let digest = layer.digest()?;
            Some(if typed.contains(':') { digest.to_string() } else { digest.encoded().to_owned() })
        };
        let layers = opened.image.layers.iter();
        let named = layers.filter_map(|layer| Some((name(layer)?, layer.created_by.clone().unwrap_or_default())));
        Some(self.foreign(named, typed))
    }

    /// The build steps that made a layer and go on from what is `typed`.
    pub async fn steps(&self, typed: &str) -> Option<Candidates> {
        let opened = self.open().await?;
        let mut steps: Vec<_> = opened.image.layers.iter().filter_map(|layer| layer.created_by.clone()).collect();
        steps.dedup();
        Some(self.foreign(steps.into_iter().map(|step| (step, String::new())), typed))
    }

    fn foreign(&self, found: impl IntoIterator<Item = (String, String)>, typed: &str) -> Candidates {
        Candidates::foreign(found, typed, self.asking)
    }

    async fn open(&self) -> Option<Opened> {
        let source = self.access.open(&self.place, Arc::clone(&self.progress)).await.ok()?;
        let image = Arc::new(source.image(&self.platform, &*self.progress).await.ok()?);
        let tables = self.access.cache.tables(true, &*self.progress);
        let is_registry = matches!(self.place, Location::Named(Place::Registry { .. }));
        Some(Opened { source, image, tables, is_registry })
    }

    /// The names of what is listed at `path`; `None` where there is nothing, or no name is text.
    async fn listed(&self, opened: &Opened, path: &str, depth: Depth) -> Option<Vec<(String, Kind)>> {
        let Opened { source, image, tables, .. } = opened;
        let (source, image, tables) = (Arc::clone(source), Arc::clone(image), tables.clone());
        let paths = [path.as_bytes().to_vec()];
        let listing = list_files(source, image, &paths, depth, tables, &self.progress).await.ok()?;
        let mut listed = Vec::new();
        let each = listing.each(&mut |file| {
            let name = file.path.rsplit(|byte| *byte == b'/').next().and_then(|name| std::str::from_utf8(name).ok());
            let kind = match file.kind {
                FileKind::Directory => Kind::Directory,
                FileKind::Symlink(_) => Kind::Link,
                FileKind::File { .. } | FileKind::Special(_) => Kind::Other,
            };
            listed.extend(name.map(|name| (name.to_owned(), kind)));
            Ok::<(), std::convert::Infallible>(())
        });
        each.ok().map(|_| listed)
    }
}

impl Opened {
    /// The same image, of which no layer is read that somebody should have asked for; `None` where that leaves nothing to be known.
    async fn sparing(self, progress: &Arc<dyn Progress>) -> Option<Self> {
        if self.source.merged().is_some() {
            return None;
        }
        if !self.is_registry {
            return Some(self);
        }
        let Opened { source, image, tables, is_registry } = self;
        let size = |is_counted: &dyn Fn(&Layer) -> bool| {
            let sizes = image.layers.iter().filter(|layer| is_counted(layer)).map(Layer::size);
            sizes.fold(0, u64::saturating_add)
        };
        let is_cached = |layer: &Layer| {
            layer.digest().zip(tables.cached.as_ref()).is_some_and(|(layer, cached)| cached.table(layer).is_some())
        };
        let tables = if size(&|layer| !is_cached(layer)) < FEW_BYTES {
            tables.clone()
        } else {
            let offers = Offers::ask((&source, &image), tables.clone(), progress).await.ok()?;
            // A zTOC comes as a whole, and may have as many bytes as a layer.
            let is_untold = |layer: &Layer| matches!(offers.of(layer), Offer::Plain | Offer::Soci);
            if size(&is_untold) >= FEW_BYTES {
                return None;
            }
            offers.tables().clone()
        };
        let source: Arc<dyn Source> = Arc::new(Sparing::new(source, FEW_BYTES));
        Some(Opened { source, image, tables, is_registry })
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    Link,
    Other,
}
