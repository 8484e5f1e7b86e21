//! Getting files and directories out of an image: the main job, from a source and paths to written files.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::Error;
use super::plan::{self, Planned, TreeKind, show_path};
use super::survey::{Collect, Survey, Wanted, blocking};
use crate::extract::{self, Destination, Item, Node, PublishOptions, Published, StageError, Staged, Staging};
use crate::image::Layer;
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::layer::Content;
use crate::layer::entry::{Entry, Kind};
use crate::progress::Progress;
use crate::rootfs::Pattern;
use crate::source::{self, Source};

/// What to get, and where to put it.
#[derive(Debug)]
pub struct Request {
    /// Paths and globs, as typed: raw bytes, absolute or relative to the root.
    pub paths: Vec<Vec<u8>>,
    /// The platform to choose from an image index.
    pub platform: Platform,
    /// Where the results go.
    pub destination: Destination,
    /// Whether a symlink that a path names is followed.
    pub dereference: bool,
    /// Whether layers are read to their end and checked against their digest before anything appears.
    pub verify: bool,
    /// Whether ownership, setuid and extended attributes are kept.
    pub preserve: bool,
}

/// What was got.
#[derive(Debug)]
pub struct Report {
    /// The reference, in full.
    pub image: String,
    /// The digest of the image manifest.
    pub digest: Digest,
    /// What was written, in the order asked for.
    pub files: Vec<Fetched>,
    /// The length of all the image's layers in bytes, as stored.
    pub image_bytes: u64,
    /// The bytes of content that came from the source.
    pub fetched_bytes: u64,
    /// Whether every byte was checked against a digest.
    pub verified: bool,
}

/// One thing that was got.
#[derive(Debug)]
pub struct Fetched {
    /// The path in the image, for display.
    pub path: String,
    /// Where it was written; `None` for standard output.
    pub destination: Option<PathBuf>,
    /// `file`, `directory` or `symlink`.
    pub kind: &'static str,
    /// Its length in bytes; of a directory, all its files'.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// The SHA-256 of a file's content.
    pub digest: Option<Digest>,
    /// The blob digest of the layer that holds it.
    pub layer: Option<Digest>,
}

/// Gets what `request` names out of the image that `source` names. Nothing appears under its final name before all of it is
/// there and, unless `verify` is off, checked.
pub async fn get(source: Arc<dyn Source>, request: Request, progress: Arc<dyn Progress>) -> Result<Report, Error> {
    let options = PublishOptions { preserve: request.preserve };
    options.check(&request.destination)?;
    let patterns = request.paths.iter().map(|path| Pattern::parse(path)).collect::<Result<Vec<_>, _>>()?;
    let image = Arc::new(source::resolve(&*source, &request.platform).await?);
    for layer in &image.layers {
        progress.name(layer.digest.as_str(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let staging = Arc::new(Staging::new(&request.destination)?);
    let wanted = Arc::new(Wanted { patterns, follow: request.dereference, verify: request.verify });
    let mut survey = Survey::new(Arc::clone(&source), Arc::clone(&image), Arc::clone(&staging), Arc::clone(&wanted));

    let name = source.name();
    let planned = loop {
        let view = survey.view();
        if let Some(planned) = plan::plan((&name, &image), &view, &wanted.patterns, wanted.follow)? {
            break planned;
        }
        let independent = wanted.patterns.iter().all(|pattern| plan::is_settled(&view, pattern, wanted.follow));
        survey.read_further(independent).await?;
    };
    let missing = plan::missing(&planned, &survey);
    if !missing.is_empty() {
        survey.read_again(missing).await?;
    }

    let mut files: Vec<Fetched> = planned.iter().map(|thing| fetched(thing, &survey)).collect();
    let items = with_contents(planned, &survey, &request.destination)?;
    drop(survey);
    let published = blocking(move || match request.destination {
        Destination::Stdout => {
            let warnings = extract::write_stdout(&items, &options, &mut std::io::stdout().lock())?;
            Ok(Published { warnings, ..Published::default() })
        }
        _ => match Arc::into_inner(staging) {
            Some(staging) => Ok(extract::publish(staging, items, &options)?),
            None => Err(Error::Usage("content is still being staged; this is a bug".to_owned())),
        },
    })
    .await?;
    published.warnings.iter().for_each(|warning| progress.notice(warning));
    for (file, path) in files.iter_mut().zip(published.written) {
        file.destination = Some(path);
    }
    Ok(Report {
        image: name,
        digest: image.digest.clone(),
        files,
        image_bytes: image.size(),
        fetched_bytes: source.bytes_fetched(),
        verified: request.verify,
    })
}

impl Collect for Staging {
    type Kept = Arc<Staged>;
    const TRACKS: bool = false;

    fn collect(
        &self,
        _: &Layer,
        _: &[usize],
        entry: &Entry,
        data: &mut dyn Content,
    ) -> Result<Arc<Staged>, StageError> {
        match entry.kind {
            Kind::File { size, sparse } => self.stage(data, size, sparse),
            _ => self.stage(&mut std::io::empty(), 0, false),
        }
    }
}

fn fetched(thing: &Planned, survey: &Survey<Staging>) -> Fetched {
    let digest = match (&thing.tree.kind, thing.tree.layer) {
        (TreeKind::File { data, .. }, Some(layer)) => survey.content(layer, *data).map(|staged| staged.digest.clone()),
        _ => None,
    };
    let kind = match thing.tree.kind {
        TreeKind::File { .. } => "file",
        TreeKind::Directory(_) => "directory",
        TreeKind::Symlink(_) => "symlink",
        TreeKind::Special => "special",
    };
    Fetched {
        path: show_path(&thing.path),
        destination: None,
        kind,
        size: thing.tree.size(),
        mode: thing.tree.metadata.mode,
        digest,
        layer: thing.tree.layer.and_then(|depth| survey.layer(depth)).map(|layer| layer.digest.clone()),
    }
}

/// The planned things with their contents. What has no name of its own (the root, `DIR/.`) is taken apart, unless the
/// destination gives it a name.
fn with_contents(
    planned: Vec<Planned>,
    survey: &Survey<Staging>,
    destination: &Destination,
) -> Result<Vec<(Vec<u8>, Item)>, Error> {
    let mut items = Vec::with_capacity(planned.len());
    for thing in planned {
        let path = show_path(&thing.path);
        let item = plan::item(thing.tree, survey)
            .ok_or_else(|| Error::Usage(format!("the content of {path} did not come; this is a bug")))?;
        match item.node {
            Node::Directory(children) if thing.name.is_empty() => match destination {
                // Named by the destination, so any name does.
                Destination::File(_) => {
                    items.push((b"root".to_vec(), Item { node: Node::Directory(children), ..item }))
                }
                _ => items.extend(children),
            },
            node => items.push((thing.name, Item { node, ..item })),
        }
    }
    Ok(items)
}
