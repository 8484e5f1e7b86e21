//! Getting files and directories out of an image: the main job, from a source and paths to written files.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::blocking::blocking;
use super::error::Error;
use super::expected::expecting;
use super::labelled::{ByLabel, Got};
pub use super::layers::Proof;
use super::layers::Verify;
pub use super::look_up::{Fetched, Unverified};
use super::look_up::{LookUp, Scope, Thing};
use super::place::{self, Origin, Placed};
pub use super::request::Request;
use super::table_index::beside;
use super::{merged, names, of_layer};
use crate::extract::{self, Destination, ExtractError, PublishOptions, Published, Staging};
use crate::image::Image;
use crate::image::label::Record;
use crate::progress::Progress;
use crate::source::{LayersFor, Source};

/// What was got.
#[derive(Debug)]
pub struct Report {
    /// The reference in full, with the digest of the image manifest where there is one.
    pub image: String,
    /// What was written, in the order asked for.
    pub files: Vec<Fetched>,
    /// The length of all the image's layers in bytes, as stored.
    pub image_bytes: u64,
    /// The bytes of content that came from the source.
    pub fetched_bytes: u64,
    /// Why the place alone vouches for some of the files.
    pub unverified: Unverified,
}

/// Gets what `request` names out of the image that `source` names. Nothing appears under its final name before all of it is
/// there and, unless `verify` is off, checked.
pub async fn get(source: Arc<dyn Source>, request: Request, progress: Arc<dyn Progress>) -> Result<Report, Error> {
    request.check()?;
    if let Some(store) = source.store() {
        let attached = may_trust_attached(&*source, &request);
        store.expect(expecting(names::may_need_index(&request), attached, &request.tables));
    }
    let image = Arc::new(source.image(&request.platform, &*progress).await?);
    get_from(source, image, request, progress).await
}

/// The same out of `image`, which `source` was asked for already.
pub async fn get_from(
    source: Arc<dyn Source>,
    image: Arc<Image>,
    request: Request,
    progress: Arc<dyn Progress>,
) -> Result<Report, Error> {
    request.check()?;
    let trusts_attached = !source.is_pinned() || request.trust_attached;
    let tables = request.tables.clone().with_soci(&image, trusts_attached, &progress);
    let request = Request { tables, ..request };
    let options = PublishOptions { preserve: request.preserve, ..PublishOptions::default() };
    let trusts_attached = may_trust_attached(&*source, &request);
    let tables = beside(request.tables.clone(), (&source, &image), trusts_attached, &progress);
    let request = Request { tables, ..request };
    let merged = merged::of(&*source, &request);
    let mut image = match merged {
        Some(_) => image,
        None => source.with_layers(&image, LayersFor::Reading).await?,
    };
    for layer in &image.layers {
        progress.name(&layer.task(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let name = source.name();
    let (mut asked, layers) = match &request.step {
        Some(step) => (of_layer::sort(&request.paths)?, step.layers(&image, &name)?),
        None => (names::sort(&*source, &image, &request, &*progress).await?, Vec::new()),
    };
    check_places(&asked, &request)?;
    let staging = Arc::new(Staging::new(&request.destination)?);
    let mut unverified = Unverified { was_asked: request.verify == Verify::Never, ..Unverified::default() };
    let mut things = Vec::new();
    let mut shown_bytes = None;
    if let Some(merged) = merged {
        let labelled = asked.by_label.drain(..).map(names::ByPath::of_label);
        let all = labelled.chain(std::mem::take(&mut asked.by_path)).collect();
        (things, asked.by_path) = merged::things(merged, (&name, &request, &staging), all).await?;
        unverified.by_engine = things.iter().any(|thing| thing.fetched.proof == Proof::Engine);
        match asked.by_path.is_empty() {
            true => shown_bytes = Some(merged.image_bytes()),
            false => image = source.with_layers(&image, LayersFor::Reading).await?,
        }
    }
    let by_label = ByLabel {
        source: &source,
        image: &image,
        index: &asked.index,
        attached: OnceCell::new(),
        staging: &staging,
        progress: &*progress,
    };
    let look_up = LookUp {
        source: &source,
        name: &name,
        image: &image,
        staging: &staging,
        request: &request,
        progress: &progress,
    };
    let mut by_path = asked.by_path;
    for labelled in asked.by_label {
        let mut got = by_label.indexed(&labelled.record).await?;
        if got.is_none() {
            if let Some(thing) = look_up.told(&labelled, &mut unverified).await? {
                things.push(thing);
                continue;
            }
            got = by_label.read(&labelled.record).await?;
        }
        match got {
            Some(got) => things.push(thing_of_label(labelled, got, request.parents)),
            None => {
                let path = labelled.record.path();
                progress.notice(&format!("cannot get {} by its label alone; looking up {path}", labelled.name));
                by_path.push(names::ByPath::of_label(labelled));
            }
        }
    }
    let (legacy, by_path): (Vec<_>, Vec<_>) = by_path.into_iter().partition(|wanted| wanted.only_in.is_some());
    // A legacy label names one layer; what else the image holds does not matter.
    let rounds = legacy.into_iter().map(|wanted| vec![wanted]).chain((!by_path.is_empty()).then_some(by_path));
    for asked in rounds {
        let found = match layers.as_slice() {
            [] => {
                let scope = match asked.as_slice() {
                    [names::ByPath { only_in: Some(blob), .. }] => Scope::Blob(blob.clone()),
                    _ => Scope::Image,
                };
                look_up.things(&scope, &asked, &mut unverified).await?
            }
            layers => of_layer::things(&look_up, layers, &asked, &mut unverified).await?,
        };
        things.extend(found);
    }
    things.sort_by_key(|thing| thing.position);
    let mut files: Vec<Fetched> = Vec::with_capacity(things.len());
    let mut placed = Vec::with_capacity(things.len());
    let mut seen: HashMap<(Vec<u8>, Vec<u8>), Origin> = HashMap::new();
    for Thing { mut fetched, placed: thing, .. } in things {
        // What is named twice is written, and told, once.
        match seen.entry((thing.place.clone(), thing.real_path.clone())) {
            Entry::Occupied(other) if thing.origin.is_same(other.get()) => continue,
            Entry::Occupied(_) => return Err(place::clash_of_layers(&thing.path, &thing.place)),
            Entry::Vacant(new) => drop(new.insert(thing.origin.clone())),
        }
        fetched.destination = destination_of(&request.destination, &thing.place);
        files.push(fetched);
        placed.push(thing);
    }
    let items = place::arrange(placed, matches!(request.destination, Destination::File(_)))?;
    // A root is a directory, also where all that it holds is one file.
    let is_one_file = matches!(files.as_slice(), [file] if file.kind == "file");
    let published = blocking(move || match request.destination {
        Destination::Stdout => {
            let write = if is_one_file { extract::write_stdout } else { extract::write_tar };
            let warnings = write(&items, &options, &mut std::io::stdout().lock())?;
            Ok(Published { warnings, ..Published::default() })
        }
        _ => Ok(extract::publish(staging, items, &options)?),
    })
    .await?;
    published.warnings.iter().for_each(|warning| progress.notice(warning));
    Ok(Report {
        image: source.address(image.digest.as_ref()),
        files,
        image_bytes: shown_bytes.unwrap_or_else(|| image.size()),
        fetched_bytes: source.bytes_fetched(),
        unverified,
    })
}

/// Whether what is attached to the image, which its digest does not cover, is believed.
fn may_trust_attached(source: &dyn Source, request: &Request) -> bool {
    !source.is_pinned() || request.trust_attached
}

/// Fails where what was asked for by name or path cannot all be written where it is to go, before anything is read for it.
fn check_places(asked: &names::Asked, request: &Request) -> Result<(), Error> {
    let labelled = asked.by_label.iter().map(|labelled| {
        let path = labelled.path.as_bytes();
        (path.to_vec(), place::place(path, path, labelled.name.as_bytes(), request.parents))
    });
    let paths = asked.by_path.iter().filter(|wanted| wanted.only_in.is_none());
    let paths = paths.filter_map(|wanted| {
        let path = wanted.path.clone().or_else(|| wanted.pattern.literal())?;
        let name = wanted.name.clone().unwrap_or_else(|| wanted.pattern.base_name(&path));
        let place = place::place(&path, &path, &name, request.parents);
        Some((path, place))
    });
    let named: Vec<(Vec<u8>, Vec<u8>)> = labelled.chain(paths).collect();
    place::check(named.iter().map(|(path, place)| (path.as_slice(), place.clone())))?;
    let distinct: BTreeSet<&[u8]> = named.iter().map(|(_, place)| place.as_slice()).collect();
    match &request.destination {
        Destination::File(path) if distinct.len() > 1 => Err(ExtractError::SeveralThings { path: path.clone() }.into()),
        _ => Ok(()),
    }
}

/// Where what goes to `place` will be; `None` for standard output.
fn destination_of(destination: &Destination, place: &[u8]) -> Option<PathBuf> {
    let place = Path::new(OsStr::from_bytes(place));
    match destination {
        Destination::Stdout => None,
        Destination::File(path) => Some(path.clone()),
        Destination::Directory(directory) if place.as_os_str().is_empty() => Some(directory.clone()),
        // Without a `./` that nobody typed.
        Destination::Directory(directory) if directory == Path::new(".") => Some(place.to_owned()),
        Destination::Directory(directory) => Some(directory.join(place)),
    }
}

/// What a label led to, ready to be written.
fn thing_of_label(labelled: names::Labelled, got: Got, parents: bool) -> Thing {
    let names::Labelled { position, name, path, record } = labelled;
    let digest = matches!(record, Record::File { .. }).then(|| record.digest().clone());
    let kind = if digest.is_some() { "file" } else { "directory" };
    let (size, mode) = (record.size(), got.item.metadata.mode);
    let layer = got.layer;
    let real_path = place::clean(record.real_path().as_bytes());
    let place = place::place(path.as_bytes(), &real_path, name.as_bytes(), parents);
    let origin = Origin { only_in: None, file_in: layer.clone() };
    let (parents, item) = (Arc::default(), got.item);
    let placed = Placed { path: path.clone().into_bytes(), real_path, place, parents, origin, item };
    let fetched = Fetched { path, destination: None, kind, size, mode, digest, layer, proof: Proof::File };
    Thing { position, placed, fetched }
}
