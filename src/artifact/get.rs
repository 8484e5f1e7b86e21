//! Getting files and directories out of an image: the main job, from a source and paths to written files.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::labelled::{ByLabel, Got, mismatch};
pub use super::layers::Proof;
use super::layers::{Verify, Vouched};
use super::names;
use super::of_layer;
use super::place::{self, Placed};
use super::plan::{self, Optional, Planned, TreeKind, show_path};
use super::step::Step;
use super::survey::{Collect, Survey, Wanted, blocking};
use crate::extract::{self, Destination, ExtractError, PublishOptions, Published, StageError, Staged, Staging};
use crate::image::digest::Digest;
use crate::image::label::Record;
use crate::image::platform::Choice;
use crate::image::{Image, Layer};
use crate::layer::Content;
use crate::layer::entry::{Entry, Kind};
use crate::progress::Progress;
use crate::source::Source;

/// What to get, and where to put it.
#[derive(Debug)]
pub struct Request {
    /// Paths and globs, as typed: raw bytes, absolute or relative to the root.
    pub paths: Vec<Vec<u8>>,
    /// The platform to choose from an image index.
    pub platform: Choice,
    /// Where the results go.
    pub destination: Destination,
    /// Whether the directories of each path are kept below the destination.
    pub parents: bool,
    /// Whether a symlink that a path names is followed.
    pub dereference: bool,
    /// How much is read to check layers against their digests before anything appears.
    pub verify: Verify,
    /// Whether ownership, setuid and extended attributes are kept.
    pub preserve: bool,
    /// Whether a record that is only attached, and so not covered by the image's digest, is taken as the source of a digest even
    /// where the reference names a digest.
    pub trust_attached: bool,
    /// The layers whose own copies are wanted, whatever layers above did to them.
    pub step: Option<Step>,
}

impl Request {
    /// Whether it makes sense whatever is in the image, so that nobody is asked for what could not be written.
    fn check(&self) -> Result<(), Error> {
        PublishOptions { preserve: self.preserve }.check(&self.destination)?;
        match &self.destination {
            Destination::File(path) if self.parents => Err(Error::Usage(format!(
                "--parents needs a directory to write to, and {} is none; end it with /",
                path.display()
            ))),
            _ => Ok(()),
        }
    }
}

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

/// Why nothing but its place vouches for something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unverified {
    /// The layers that no digest was compared with, by their positions from the bottom, with their lengths in bytes, as stored.
    pub layers: BTreeMap<usize, u64>,
    /// Whether there is a layer without a digest.
    pub has_no_digest: bool,
    /// Whether it was asked for.
    pub was_asked: bool,
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
    request.check()?;
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
    let options = PublishOptions { preserve: request.preserve };
    for layer in &image.layers {
        progress.name(&layer.task(), &format!("layer {} of {}", layer.index + 1, image.layers.len()));
    }
    let name = source.name();
    let (asked, layers) = match &request.step {
        Some(step) => (of_layer::sort(&request.paths)?, step.layers(&image, &name)?),
        None => (names::sort(&*source, &image, &request, &*progress).await?, Vec::new()),
    };
    check_places(&asked, &request)?;
    let staging = Arc::new(Staging::new(&request.destination)?);
    let mut things = Vec::new();
    let by_label =
        ByLabel { source: &source, image: &image, index: &asked.index, staging: &staging, progress: &*progress };
    let mut by_path = asked.by_path;
    for labelled in asked.by_label {
        match by_label.get(&labelled.record).await? {
            Some(got) => things.push(Thing::by_label(labelled, got, request.parents)),
            None => {
                let path = labelled.record.path();
                progress.notice(&format!("{} cannot be got by its label alone; looking for {path}", labelled.name));
                by_path.push(names::ByPath::of_label(labelled));
            }
        }
    }
    let mut unverified = Unverified { was_asked: request.verify == Verify::Never, ..Unverified::default() };
    let (legacy, by_path): (Vec<_>, Vec<_>) = by_path.into_iter().partition(|wanted| wanted.only_in.is_some());
    // A legacy label names one layer; what else the image holds does not matter.
    let rounds = legacy.into_iter().map(|wanted| vec![wanted]).chain((!by_path.is_empty()).then_some(by_path));
    let look_up = LookUp {
        source: &source,
        name: &name,
        image: &image,
        staging: &staging,
        request: &request,
        progress: &*progress,
    };
    for asked in rounds {
        let found = match layers.as_slice() {
            [] => {
                let scope = match asked.as_slice() {
                    [names::ByPath { only_in: Some(blob), .. }] => Scope::Blob(blob.clone()),
                    _ => Scope::Image,
                };
                look_up.things(&scope, &asked, &mut Optional::default(), &mut unverified).await?
            }
            layers => of_layer::things(&look_up, layers, &asked, &mut unverified).await?,
        };
        things.extend(found);
    }
    things.sort_by_key(|thing| thing.position);
    let mut files: Vec<Fetched> = Vec::with_capacity(things.len());
    let mut placed = Vec::with_capacity(things.len());
    let mut seen = HashSet::new();
    for Thing { mut fetched, placed: thing, .. } in things {
        // What is named twice is written, and told, once.
        if seen.insert((thing.place.clone(), thing.real_path.clone())) {
            fetched.destination = destination_of(&request.destination, &thing.place);
            files.push(fetched);
            placed.push(thing);
        }
    }
    let items = place::arrange(placed, matches!(request.destination, Destination::File(_)))?;
    let published = blocking(move || match request.destination {
        Destination::Stdout => {
            let warnings = extract::write_stdout(&items, &options, &mut std::io::stdout().lock())?;
            Ok(Published { warnings, ..Published::default() })
        }
        _ => match Arc::into_inner(staging) {
            Some(staging) => Ok(extract::publish(staging, items, &options)?),
            None => Err(Error::Bug("content is still being staged".to_owned())),
        },
    })
    .await?;
    published.warnings.iter().for_each(|warning| progress.notice(warning));
    Ok(Report {
        image: source.address(image.digest.as_ref()),
        files,
        image_bytes: image.size(),
        fetched_bytes: source.bytes_fetched(),
        unverified,
    })
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
        let name = wanted.name.clone().unwrap_or_else(|| plan::base_name(&wanted.pattern, &path));
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

/// One thing that was got, ready to be written.
pub(super) struct Thing {
    pub(super) position: usize,
    pub(super) placed: Placed,
    pub(super) fetched: Fetched,
}

impl Thing {
    fn by_label(labelled: names::Labelled, got: Got, parents: bool) -> Self {
        let names::Labelled { position, name, path, record } = labelled;
        let digest = matches!(record, Record::File { .. }).then(|| record.digest().clone());
        let kind = if digest.is_some() { "file" } else { "directory" };
        let (size, mode) = (record.size(), got.item.metadata.mode);
        let layer = got.layer;
        let real_path = place::clean(record.real_path().as_bytes());
        let place = place::place(path.as_bytes(), &real_path, name.as_bytes(), parents);
        let placed =
            Placed { path: path.clone().into_bytes(), real_path, place, parents: Arc::default(), item: got.item };
        let fetched = Fetched { path, destination: None, kind, size, mode, digest, layer, proof: Proof::File };
        Thing { position, placed, fetched }
    }
}

/// Which layers are looked at.
pub(super) enum Scope {
    /// All of them.
    Image,
    /// The one with this blob.
    Blob(Digest),
    /// The one at this position, from the bottom.
    Alone(usize),
    /// What that one has, reached by links of the layers below it too.
    UpTo(usize),
}

/// Looking up what stands at paths.
pub(super) struct LookUp<'a> {
    source: &'a Arc<dyn Source>,
    /// What messages call the image.
    pub(super) name: &'a str,
    pub(super) image: &'a Arc<Image>,
    staging: &'a Arc<Staging>,
    request: &'a Request,
    progress: &'a dyn Progress,
}

impl LookUp<'_> {
    /// Gets what stands at paths, by reading layers until they have decided it. What is `optional` need not be there.
    pub(super) async fn things(
        &self,
        scope: &Scope,
        asked: &[names::ByPath],
        optional: &mut Optional,
        unverified: &mut Unverified,
    ) -> Result<Vec<Thing>, Error> {
        let LookUp { source, name, image, staging, request, progress } = *self;
        let patterns = asked.iter().map(|asked| asked.pattern.clone()).collect();
        let verify = request.verify.of(&**source);
        let wanted = Arc::new(Wanted { patterns, follow: request.dereference, verify });
        let mut survey = Survey::new(Arc::clone(source), Arc::clone(image), Arc::clone(staging), Arc::clone(&wanted))
            .keeping_xattrs(request.preserve);
        survey = match scope {
            Scope::Image => survey,
            Scope::Blob(blob) => survey.only_in(blob),
            Scope::Alone(index) => survey.alone(*index),
            Scope::UpTo(index) => survey.up_to(*index),
        };
        if !request.parents && matches!(scope, Scope::Image | Scope::Blob(_)) {
            survey = survey.with_names_apart();
        }
        let mut planned = plan::complete((name, image), &mut survey, &wanted, optional).await?;
        if let Scope::UpTo(_) = scope {
            planned.retain_mut(|thing| of_layer::is_own(thing, &survey.view()));
        }
        survey.notices().iter().for_each(|notice| progress.notice(notice));
        let mut things = Vec::with_capacity(planned.len());
        for mut thing in planned {
            let Some(asked) = asked.get(thing.pattern) else { continue };
            thing.path = asked.path.clone().unwrap_or(thing.path);
            thing.notice.iter().for_each(|notice| progress.notice(notice));
            if let TreeKind::Special(_) = thing.tree.kind {
                progress
                    .notice(&format!("skipped {}: device nodes and FIFOs are never created", show_path(&thing.path)));
                continue;
            }
            let proof = match (&asked.digest, survey.vouched()) {
                (Some(_), _) => Proof::File,
                (None, Vouched::ByDigest) => Proof::Layer,
                (None, Vouched::NotCompared | Vouched::NoDigest) => Proof::Place,
            };
            let fetched = fetched(&thing, &survey, proof);
            if let Some(expected) = asked.digest.as_ref().filter(|expected| Some(*expected) != fetched.digest.as_ref())
            {
                // What is no file, and stands where a label promises one, is as wrong as another file.
                let actual = fetched.digest.as_ref().map_or(fetched.kind, Digest::as_str);
                return Err(mismatch(name, expected, actual));
            }
            let path = show_path(&thing.path);
            let item = plan::item(thing.tree, &survey)
                .ok_or_else(|| Error::Bug(format!("the content of {path} did not come")))?;
            let base = asked.name.as_ref().unwrap_or(&thing.name);
            let place = place::place(&thing.path, &thing.real_path, base, request.parents);
            let parents = if request.parents { place::parents(&survey.view(), &place) } else { Arc::default() };
            let placed = Placed { path: thing.path, real_path: thing.real_path, place, parents, item };
            things.push(Thing { position: asked.position, placed, fetched });
        }
        unverified.add(&survey);
        Ok(things)
    }
}

impl Unverified {
    fn add(&mut self, survey: &Survey<Staging>) {
        self.layers.extend(survey.not_compared().map(|layer| (layer.index, layer.size())));
        self.has_no_digest |= survey.vouched() == Vouched::NoDigest;
    }
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
            Kind::File { sparse: true, .. } => self.stage_sparse(data),
            Kind::File { size, sparse: false } => self.stage(data, size),
            _ => self.stage(&mut std::io::empty(), 0),
        }
    }
}

fn fetched(thing: &Planned, survey: &Survey<Staging>, proof: Proof) -> Fetched {
    let digest = match (&thing.tree.kind, thing.tree.layer) {
        (TreeKind::File { data, .. }, Some(layer)) => {
            survey.content(layer, *data).and_then(|staged| staged.digest.clone())
        }
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
        layer: thing.tree.layer.and_then(|depth| survey.layer(depth)?.digest().cloned()),
        proof,
    }
}
