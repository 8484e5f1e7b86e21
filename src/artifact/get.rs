//! Getting files and directories out of an image: the main job, from a source and paths to written files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::Error;
use super::labelled::{ByLabel, Got, mismatch};
use super::names;
use super::plan::{self, Planned, TreeKind, show_path};
use super::survey::{Collect, Survey, Wanted, blocking};
use crate::extract::{self, Destination, Item, Node, PublishOptions, Published, StageError, Staged, Staging};
use crate::image::digest::Digest;
use crate::image::label::Record;
use crate::image::platform::Platform;
use crate::image::{Image, Layer};
use crate::layer::Content;
use crate::layer::entry::{Entry, Kind};
use crate::progress::Progress;
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
    /// Whether a record that is only attached, and so not covered by the image's digest, is taken as the source of a digest even
    /// where the reference names a digest.
    pub trust_attached: bool,
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
}

/// What vouches for the content of something that was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its own digest, which a label has: a file's, or that of a directory's listing.
    File,
    /// The digests of the layers that it was read from.
    Layer,
    /// Its place alone: layers were not read to their end.
    Place,
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
    /// What vouches for its content.
    pub proof: Proof,
}

impl Fetched {
    /// Whether every byte of it was checked against a digest.
    pub fn is_verified(&self) -> bool {
        self.proof != Proof::Place
    }
}

/// Gets what `request` names out of the image that `source` names. Nothing appears under its final name before all of it is
/// there and, unless `verify` is off, checked.
pub async fn get(source: Arc<dyn Source>, request: Request, progress: Arc<dyn Progress>) -> Result<Report, Error> {
    let options = PublishOptions { preserve: request.preserve };
    options.check(&request.destination)?;
    let image = Arc::new(source::resolve(&*source, &request.platform).await?);
    for layer in &image.layers {
        progress.name(layer.digest.as_str(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let asked = names::sort(&*source, &image, &request, &*progress).await?;
    let staging = Arc::new(Staging::new(&request.destination)?);
    let mut things = Vec::new();
    let by_label =
        ByLabel { source: &source, image: &image, index: &asked.index, staging: &staging, progress: &*progress };
    let mut by_path = asked.by_path;
    for labelled in asked.by_label {
        match by_label.get(&labelled.record).await? {
            Some(got) => things.push(Thing::by_label(labelled, got)),
            None => {
                let path = labelled.record.path();
                progress.notice(&format!("{} cannot be got by its label alone; looking for {path}", labelled.name));
                by_path.push(names::ByPath::of_label(labelled));
            }
        }
    }
    let name = source.name();
    let (legacy, by_path): (Vec<_>, Vec<_>) = by_path.into_iter().partition(|wanted| wanted.only_in.is_some());
    for wanted in legacy {
        // A legacy label names one layer; what else the image holds does not matter.
        let alone = Arc::new(image.only(wanted.only_in.as_ref()));
        things.extend(look_up(&source, (&name, &alone), vec![wanted], &staging, &request, &*progress).await?);
    }
    if !by_path.is_empty() {
        things.extend(look_up(&source, (&name, &image), by_path, &staging, &request, &*progress).await?);
    }
    let things = distinct(things)?;

    let (mut files, mut items) = (Vec::new(), Vec::new());
    for Thing { name, item, fetched, .. } in things {
        files.push(fetched);
        match item.node {
            Node::Directory(children) if name.is_empty() => match request.destination {
                // Named by the destination, so any name does.
                Destination::File(_) => {
                    items.push((b"root".to_vec(), Item { node: Node::Directory(children), ..item }))
                }
                _ => items.extend(children),
            },
            node => items.push((name, Item { node, ..item })),
        }
    }
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
    })
}

/// One thing that was got, ready to be written.
struct Thing {
    position: usize,
    name: Vec<u8>,
    path: Vec<u8>,
    item: Item,
    fetched: Fetched,
}

impl Thing {
    fn by_label(labelled: names::Labelled, got: Got) -> Self {
        let names::Labelled { position, name, path, record } = labelled;
        let digest = matches!(record, Record::File { .. }).then(|| record.digest().clone());
        let kind = if digest.is_some() { "file" } else { "directory" };
        let (size, mode) = (record.size(), got.item.metadata.mode);
        let layer = got.layer;
        let fetched =
            Fetched { path: path.clone(), destination: None, kind, size, mode, digest, layer, proof: Proof::File };
        Thing { position, name: name.into_bytes(), path: path.into_bytes(), item: got.item, fetched }
    }
}

/// Gets what stands at paths, by reading layers until they have decided it.
async fn look_up(
    source: &Arc<dyn Source>,
    image: (&str, &Arc<Image>),
    asked: Vec<names::ByPath>,
    staging: &Arc<Staging>,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Vec<Thing>, Error> {
    let patterns = asked.iter().map(|asked| asked.pattern.clone()).collect();
    let wanted = Arc::new(Wanted { patterns, follow: request.dereference, verify: request.verify });
    let mut survey = Survey::new(Arc::clone(source), Arc::clone(image.1), Arc::clone(staging), Arc::clone(&wanted))
        .keeping_xattrs(request.preserve);
    let planned = plan::complete((image.0, image.1), &mut survey, &wanted).await?;
    survey.notices().iter().for_each(|notice| progress.notice(notice));
    let mut things = Vec::with_capacity(planned.len());
    for thing in planned {
        let Some(asked) = asked.get(thing.pattern) else { continue };
        let proof = match (&asked.digest, request.verify) {
            (Some(_), _) => Proof::File,
            (None, true) => Proof::Layer,
            (None, false) => Proof::Place,
        };
        let fetched = fetched(&thing, &survey, proof);
        if let Some(expected) = asked.digest.as_ref().filter(|expected| Some(*expected) != fetched.digest.as_ref()) {
            // What is no file, and stands where a label promises one, is as wrong as another file.
            let actual = fetched.digest.as_ref().map_or(fetched.kind, Digest::as_str);
            return Err(mismatch(image.0, expected, actual));
        }
        let path = show_path(&thing.path);
        let item = plan::item(thing.tree, &survey)
            .ok_or_else(|| Error::Usage(format!("the content of {path} did not come; this is a bug")))?;
        let name = asked.name.clone().unwrap_or(thing.name);
        things.push(Thing { position: asked.position, name, path: thing.path, item, fetched });
    }
    Ok(things)
}

/// `things` in the order asked for, without what is named twice. Two things of one name cannot both be written.
fn distinct(mut things: Vec<Thing>) -> Result<Vec<Thing>, Error> {
    things.sort_by_key(|thing| thing.position);
    let mut named: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut distinct = Vec::with_capacity(things.len());
    for thing in things {
        match named.get(&thing.name) {
            Some(path) if *path == thing.path => {}
            Some(path) => {
                let (first, second, name) = (show_path(path), show_path(&thing.path), plan::show(&thing.name));
                return Err(Error::Usage(format!(
                    "both {first} and {second} would be written as {name}; get them one at a time"
                )));
            }
            None => {
                named.insert(thing.name.clone(), thing.path.clone());
                distinct.push(thing);
            }
        }
    }
    Ok(distinct)
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

fn fetched(thing: &Planned, survey: &Survey<Staging>, proof: Proof) -> Fetched {
    let digest = match (&thing.tree.kind, thing.tree.layer) {
        (TreeKind::File { data, .. }, Some(layer)) => survey.content(layer, *data).map(|staged| staged.digest.clone()),
        _ => None,
    };
    let kind = match thing.tree.kind {
        TreeKind::File { .. } => "file",
        TreeKind::Directory(_) => "directory",
        TreeKind::Symlink(_) => "symlink",
        TreeKind::Special(_) => "special",
    };
    Fetched {
        path: show_path(&thing.path),
        destination: None,
        kind,
        size: thing.tree.size(),
        mode: thing.tree.metadata.mode,
        digest,
        layer: thing.tree.layer.and_then(|depth| survey.layer(depth)).map(|layer| layer.digest.clone()),
        proof,
    }
}
