//! Looking up what stands at paths, in all of an image's layers or in some of them, and staging what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::absent;
use super::collect::{Collect, File, NoContent};
use super::error::Error;
use super::labelled::mismatch;
use super::layers::{Proof, Vouched};
use super::names;
use super::origins::Origins;
use super::place::{self, Origin, Placed};
use super::request::Request;
use super::shown::show_path;
use super::survey::Survey;
use crate::extract::{Hashing, Item, Node, StageError, Staged, Staging};
use crate::image::digest::Digest;
use crate::image::label::Record;
use crate::image::{Image, Layer, LayerPosition};
use crate::layer::Content;
use crate::progress::Progress;
use crate::rootfs::lookup::{Lookup, Planned, Tree, TreeKind};
use crate::rootfs::walk::{Found, resolve};
use crate::rootfs::{Depth, LayerIndex, View, join};
use crate::source::Source;

/// Why nothing but its place vouches for something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unverified {
    /// The layers that no digest was compared with, by their positions, with their lengths in bytes, as stored.
    pub layers: BTreeMap<LayerPosition, u64>,
    /// Whether there is a layer without a digest.
    pub has_no_digest: bool,
    /// Whether it is the engine's word, as no layer was read.
    pub by_engine: bool,
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
    /// The SHA-256 of a file's content, where it was asked for, or a label gives it.
    pub digest: Option<Digest>,
    /// The blob digest of the layer that holds it.
    pub layer: Option<Digest>,
    /// What vouches for its content.
    pub proof: Proof,
}

impl Fetched {
    /// Whether every byte of it was checked against a digest.
    pub fn is_verified(&self) -> bool {
        !matches!(self.proof, Proof::Place | Proof::Engine)
    }
}

/// One thing that was got, ready to be written.
pub(super) struct Thing {
    pub(super) position: usize,
    pub(super) placed: Placed,
    pub(super) fetched: Fetched,
}

/// Which layers are looked at.
pub(super) enum Scope {
    /// All of them.
    Image,
    /// The one with this blob.
    Blob(Digest),
    /// The one at this position.
    Alone(LayerPosition),
    /// What that one has, reached by links of the layers below it too.
    UpTo(LayerPosition),
}

/// Where something is, that is not got.
pub(super) struct Sighting {
    /// Where the path stands among what was asked for.
    pub(super) position: usize,
    /// The path, for display.
    pub(super) path: String,
    /// The canonical path of what it leads to.
    pub(super) real_path: Vec<u8>,
}

/// Looking up what stands at paths.
pub(super) struct LookUp<'a> {
    pub(super) source: &'a Arc<dyn Source>,
    /// What messages call the image.
    pub(super) name: &'a str,
    pub(super) image: &'a Arc<Image>,
    pub(super) staging: &'a Arc<Staging>,
    pub(super) request: &'a Request,
    pub(super) progress: &'a Arc<dyn Progress>,
}

impl LookUp<'_> {
    /// Gets what stands at paths, by reading layers until they have decided it.
    pub(super) async fn things(
        &self,
        scope: &Scope,
        asked: &[names::ByPath],
        unverified: &mut Unverified,
    ) -> Result<Vec<Thing>, Error> {
        self.find(scope, asked, BTreeSet::new(), unverified).await
    }

    /// The same, of as much as is there.
    pub(super) async fn optional_things(
        &self,
        scope: &Scope,
        asked: &[names::ByPath],
        unverified: &mut Unverified,
    ) -> Result<Vec<Thing>, Error> {
        self.find(scope, asked, (0..asked.len()).collect(), unverified).await
    }

    /// Gets a labelled file where a table tells of its layer; `None` where none does, or not of the file that the label promises.
    pub(super) async fn told(
        &self,
        labelled: &names::Labelled,
        unverified: &mut Unverified,
    ) -> Result<Option<Thing>, Error> {
        let Record::File { layer, path, .. } = &labelled.record else { return Ok(None) };
        let Some(layer) = self.image.layer_of(layer) else { return Ok(None) };
        let Some(blob) = layer.digest() else { return Ok(None) };
        let origins = Origins::new(self.request.tables.clone(), true);
        origins.find(&**self.source, layer).await?;
        if !origins.is_told_surely(&**self.source, layer) {
            return Ok(None);
        }
        let asked = names::ByPath { only_in: Some(blob.clone()), ..names::ByPath::of_label(labelled.clone()) };
        match self.optional_things(&Scope::Blob(blob.clone()), &[asked], unverified).await {
            Err(error) if !error.is_local() => {
                self.progress.notice(&format!("{path}: {error}; reading its layer instead"));
                Ok(None)
            }
            things => Ok(things?.pop()),
        }
    }

    /// Where as much of it is as is there, without any content.
    pub(super) async fn sightings(&self, scope: &Scope, asked: &[names::ByPath]) -> Result<Vec<Sighting>, Error> {
        let mut survey = self.survey(scope, asked, (0..asked.len()).collect(), Arc::new(NoContent));
        let mut planned = survey.outline(self.name).await?.planned;
        if let Scope::UpTo(_) = scope {
            retain_own(&mut planned, &survey)?;
        }
        planned.retain(|thing| !matches!(thing.tree.kind, TreeKind::Special(_)));
        let sightings = planned.into_iter().filter_map(|thing| {
            let asked = asked.get(thing.pattern)?;
            let path = show_path(asked.path.as_ref().unwrap_or(&thing.path));
            Some(Sighting { position: asked.position, path, real_path: thing.real_path })
        });
        Ok(sightings.collect())
    }

    fn survey<C: Collect>(
        &self,
        scope: &Scope,
        asked: &[names::ByPath],
        optional: BTreeSet<usize>,
        collector: Arc<C>,
    ) -> Survey<C> {
        let LookUp { source, image, request, progress, .. } = *self;
        let patterns = asked.iter().map(|asked| asked.pattern.clone()).collect();
        let lookup = Lookup { patterns, follow: request.dereference, optional, needs_content: true, lists: false };
        let verify = request.verify.of(&**source);
        let survey = Survey::new(Arc::clone(source), image, collector, lookup, verify);
        let survey = survey.keeping_xattrs(request.preserve).telling(progress).told_by(request.tables.clone());
        match scope {
            Scope::Image => survey,
            Scope::Blob(blob) => survey.only_in(blob),
            Scope::Alone(layer) => survey.alone(*layer),
            Scope::UpTo(layer) => survey.up_to(*layer),
        }
    }

    async fn find(
        &self,
        scope: &Scope,
        asked: &[names::ByPath],
        optional: BTreeSet<usize>,
        unverified: &mut Unverified,
    ) -> Result<Vec<Thing>, Error> {
        let LookUp { name, staging, request, progress, .. } = *self;
        let hashing = match request.digests || asked.iter().any(|asked| asked.digest.is_some()) {
            true => Hashing::Sha256,
            false => Hashing::Skipped,
        };
        let mut survey = self.survey(scope, asked, optional, Arc::new(Stage { staging: Arc::clone(staging), hashing }));
        if !request.parents && matches!(scope, Scope::Image | Scope::Blob(_)) {
            survey = survey.with_names_apart();
        }
        let found = survey.complete(name).await?;
        let mut planned = found.planned;
        if let Scope::UpTo(_) = scope {
            retain_own(&mut planned, &survey)?;
        }
        found.notices.iter().for_each(|notice| progress.notice(notice));
        let mut things = Vec::with_capacity(planned.len());
        for mut thing in planned {
            let Some(asked) = asked.get(thing.pattern) else { continue };
            if let Some(link) = &thing.kept {
                progress.notice(&absent::kept(&thing.path, link));
            }
            thing.path = asked.path.clone().unwrap_or(thing.path);
            if let TreeKind::Special(_) = thing.tree.kind {
                progress
                    .notice(&format!("skipped {}: device nodes and FIFOs are never created", show_path(&thing.path)));
                continue;
            }
            let proof = match (&asked.digest, survey.vouched()) {
                (Some(_), _) => Proof::File,
                (None, Vouched::ByDigest) => Proof::Layer,
                (None, Vouched::ByTable) => Proof::Table,
                (None, Vouched::ByAttached) => Proof::Attached,
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
            let item =
                item(thing.tree, &survey).ok_or_else(|| Error::Bug(format!("the content of {path} did not come")))?;
            let base = asked.name.as_ref().unwrap_or(&thing.name);
            let place = place::place(&thing.path, &thing.real_path, base, request.parents);
            let parents = match request.parents {
                true => survey.ask(|view| place::parents(view, &place))?,
                false => Arc::default(),
            };
            let file_in = fetched.layer.clone().filter(|_| fetched.kind == "file");
            let origin = Origin { only_in: asked.only_in.clone(), file_in };
            let placed = Placed { path: thing.path, real_path: thing.real_path, place, parents, origin, item };
            things.push(Thing { position: asked.position, placed, fetched });
        }
        unverified.add(&survey);
        Ok(things)
    }
}

impl Unverified {
    fn add(&mut self, survey: &Survey<Stage>) {
        self.layers.extend(survey.not_compared().map(|layer| (layer.position(), layer.size())));
        self.has_no_digest |= survey.vouched() == Vouched::NoDigest;
    }
}

/// Stages what passes by.
pub(super) struct Stage {
    pub(super) staging: Arc<Staging>,
    pub(super) hashing: Hashing,
}

impl Collect for Stage {
    type Kept = Arc<Staged>;
    const TRACKS: bool = false;

    fn collect(&self, _: &Layer, _: &[usize], file: File, data: &mut dyn Content) -> Result<Arc<Staged>, StageError> {
        match file.content.sparse {
            true => self.staging.stage_sparse(data, self.hashing),
            false => self.staging.stage_as(data, file.content.size, Some(file.stamp), self.hashing),
        }
    }
}

/// `tree` with its contents, ready to be written; `None` if one of them was never staged.
pub(super) fn item(tree: Tree, survey: &Survey<Stage>) -> Option<Item> {
    let node = match tree.kind {
        TreeKind::File(content) => Node::File(Arc::clone(survey.content(tree.layer?, content.data)?)),
        TreeKind::Symlink(target) => Node::Symlink(target),
        TreeKind::Special(_) => Node::Special,
        TreeKind::Directory(children) => {
            let children = children.into_iter().map(|(name, child)| Some((name, item(child, survey)?)));
            Node::Directory(children.collect::<Option<_>>()?)
        }
    };
    Some(Item { metadata: tree.metadata, node })
}

fn fetched(thing: &Planned, survey: &Survey<Stage>, proof: Proof) -> Fetched {
    let digest = match (&thing.tree.kind, thing.tree.layer) {
        (TreeKind::File(content), Some(layer)) => {
            survey.content(layer, content.data).and_then(|staged| staged.digest.clone())
        }
        _ => None,
    };
    let kind = match thing.tree.kind {
        TreeKind::File(_) => "file",
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

/// Leaves of what is `planned` what the uppermost layer has itself.
fn retain_own<C: Collect>(planned: &mut Vec<Planned>, survey: &Survey<C>) -> Result<(), Error> {
    // Once this is known, the answer that counts is the first.
    survey.ask(|view| planned.iter().for_each(|thing| drop(resolve(view, &thing.path, false))))?;
    survey.ask(|view| planned.retain_mut(|thing| is_own(thing, view)))
}

/// Whether the uppermost layer of `view` has `thing` itself, and not only layers below it. Of a directory, what other layers have in
/// it is left out.
fn is_own(thing: &mut Planned, view: &View<'_>) -> bool {
    let Some(layer) = view.layer(Depth::TOP) else { return false };
    let named = match resolve(view, &thing.path, false) {
        Found::Directory(directory) => directory.path,
        Found::Leaf(leaf) => leaf.path,
        _ => return false,
    };
    prune(&mut thing.tree, &thing.real_path, layer);
    layer.get(&named).is_some()
}

fn prune(tree: &mut Tree, path: &[u8], layer: &LayerIndex) {
    if let TreeKind::Directory(children) = &mut tree.kind {
        children.retain(|name, child| {
            let path = join(path, name);
            prune(child, &path, layer);
            layer.get(&path).is_some()
        });
    }
}
