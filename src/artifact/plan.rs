//! From what the layers say to what is to be written: each pattern resolved, each directory listed, each file's content named.
//!
//! Planning takes a [`View`] and gives trees without contents; [`None`] where a layer that has not been read could change
//! them. It reads nothing and writes nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::absent;
use super::error::Error;
use super::survey::{Collect, Missing, Survey, Wanted};
use crate::extract::{Item, Metadata, Node as ItemNode, Staging};
use crate::image::Image;
use crate::layer::entry::Special;
use crate::rootfs::walk::{Found, Leaf, leaf, resolve};
use crate::rootfs::{Child, DataOffset, Directory, LayerIndex, Node, NodeKind, Pattern, View, join, split};

/// A glob that matches links to directories repeats what is in them. So many times, on average, may it repeat each name of the
/// image, so that an image of a few bytes does not become a tree of any size.
const MAX_REPEATED: usize = 16;

/// So many things may be planned of any image.
const MIN_PLANNED: usize = 100_000;

/// The metadata of a directory that no layer has an entry of.
pub const UNDESCRIBED: Metadata = Metadata { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() };

/// One thing to be written, with the name it gets.
#[derive(Debug)]
pub struct Planned {
    /// The position of the pattern that named it.
    pub pattern: usize,
    /// The path in the image, as named; absolute.
    pub path: Vec<u8>,
    /// The canonical path of what it leads to.
    pub real_path: Vec<u8>,
    /// The base name it is written under.
    pub name: Vec<u8>,
    /// What it is.
    pub tree: Tree,
    /// What a person should know about it: one line.
    pub notice: Option<String>,
}

/// A tree of the rootfs, with contents named but not there yet.
#[derive(Debug)]
pub struct Tree {
    /// Mode, owner and times.
    pub metadata: Metadata,
    /// The layer (from the top) that it comes from.
    pub layer: Option<usize>,
    /// What it is.
    pub kind: TreeKind,
}

impl Tree {
    /// The length in bytes of all files in the tree.
    pub fn size(&self) -> u64 {
        match &self.kind {
            TreeKind::File { size, .. } => *size,
            TreeKind::Directory(children) => children.values().map(Tree::size).fold(0, u64::saturating_add),
            TreeKind::Symlink(_) | TreeKind::Special(_) => 0,
        }
    }

    /// How many things the tree is made of, itself included.
    fn count(&self) -> usize {
        match &self.kind {
            TreeKind::Directory(children) => children.values().map(Tree::count).fold(1, usize::saturating_add),
            _ => 1,
        }
    }
}

/// What a node of a [`Tree`] is.
#[derive(Debug)]
pub enum TreeKind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// Where its content is, in [`Tree::layer`].
        data: DataOffset,
    },
    /// A directory.
    Directory(BTreeMap<Vec<u8>, Tree>),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A device node or FIFO.
    Special(Special),
}

/// Patterns that need not lead to anything, and why some of them did not.
#[derive(Debug, Default)]
pub struct Optional {
    /// Their positions.
    pub patterns: BTreeSet<usize>,
    /// Why nothing that could be fetched is there, by position.
    pub failures: BTreeMap<usize, Error>,
}

impl Optional {
    /// Keeps `error`, if it is about a pattern that need not lead to anything, and only says that it does not.
    fn keep(&mut self, position: usize, error: Error) -> Result<(), Error> {
        match error {
            Error::NotFound { .. } | Error::Dangling { .. } | Error::Unfetchable { .. }
                if self.patterns.contains(&position) =>
            {
                self.failures.insert(position, error);
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// Reads as many layers as it takes to plan what `wanted` names in `image`, and what of its content had passed by. Fails where
/// all that a pattern names is device nodes and FIFOs, which have none. What is `optional` need not lead to anything.
pub async fn complete<C: Collect>(
    image: (&str, &Image),
    survey: &mut Survey<C>,
    wanted: &Wanted,
    optional: &mut Optional,
) -> Result<Vec<Planned>, Error> {
    let mut planned = outline_but(image, survey, wanted, optional).await?;
    refuse_special(image.0, &mut planned, optional)?;
    let missing = missing(&planned, survey);
    if !missing.is_empty() {
        survey.read_again(missing).await?;
    }
    Ok(planned)
}

/// Reads as many layers as it takes to plan what `wanted` names in `image`, whatever has passed by.
pub async fn outline<C: Collect>(
    image: (&str, &Image),
    survey: &mut Survey<C>,
    wanted: &Wanted,
) -> Result<Vec<Planned>, Error> {
    outline_but(image, survey, wanted, &mut Optional::default()).await
}

async fn outline_but<C: Collect>(
    image: (&str, &Image),
    survey: &mut Survey<C>,
    wanted: &Wanted,
    optional: &mut Optional,
) -> Result<Vec<Planned>, Error> {
    loop {
        let view = survey.view();
        let broken = RefCell::default();
        let describe = |depth| {
            let step = survey.layer(depth).and_then(|layer| layer.created_by.as_ref());
            let step = step.map(|step| format!(": `{}`", step.trim())).unwrap_or_default();
            survey.describe(depth).unwrap_or_default() + &step
        };
        let context =
            Context { image: image.0, view: &view, follow: wanted.follow, describe: &describe, broken: &broken };
        if let Some(planned) = plan(&context, &wanted.patterns, optional)? {
            survey.note(broken.take().iter().map(BrokenLink::notice));
            return Ok(planned);
        }
        if survey.is_over() {
            return Err(Error::Bug("all layers are read, and do not tell what was asked for".to_owned()));
        }
        let independent = wanted.patterns.iter().all(|pattern| is_settled(&view, pattern, wanted.follow));
        survey.read_further(independent).await?;
    }
}

/// Fails where a pattern names nothing but device nodes and FIFOs. What a glob matches besides those is wanted all the same.
fn refuse_special(image: &str, planned: &mut Vec<Planned>, optional: &mut Optional) -> Result<(), Error> {
    let is_special = |thing: &Planned| matches!(thing.tree.kind, TreeKind::Special(_));
    let served: BTreeSet<usize> =
        planned.iter().filter(|thing| !is_special(thing)).map(|thing| thing.pattern).collect();
    for special in planned.extract_if(.., |thing| is_special(thing) && !served.contains(&thing.pattern)) {
        let unfetchable = Error::Unfetchable {
            image: image.to_owned(),
            path: show_path(&special.path),
            problem: "is a device node or a FIFO, which is never created".to_owned(),
        };
        optional.keep(special.pattern, unfetchable)?;
    }
    Ok(())
}

/// What planning takes.
pub(super) struct Context<'a, 'v> {
    /// The reference.
    pub image: &'a str,
    /// The layers that have been read.
    pub view: &'a View<'v>,
    /// Whether a symlink that a path names is followed.
    pub follow: bool,
    /// How messages name the layer at a depth, with its build step.
    pub describe: &'a dyn Fn(usize) -> String,
    /// Hard links to nothing that were met, and left out.
    broken: &'a RefCell<Vec<BrokenLink>>,
}

impl<'a, 'v> Context<'a, 'v> {
    /// What is known of an `image` that shows itself, and not its layers.
    pub fn merged(image: &'a str, view: &'a View<'v>, follow: bool, broken: &'a RefCell<Vec<BrokenLink>>) -> Self {
        Context { image, view, follow, describe: &|_| String::new(), broken }
    }

    fn leave_out(&self, path: Vec<u8>, target: &[u8]) {
        self.broken.borrow_mut().push(BrokenLink { path, target: target.to_vec() });
    }
}

/// A hard link to nothing, which is left out.
pub(super) struct BrokenLink {
    path: Vec<u8>,
    target: Vec<u8>,
}

impl BrokenLink {
    fn notice(&self) -> String {
        format!("{} is left out: it {}", show_path(&self.path), absent::broken(&self.target))
    }
}

/// Plans what `patterns` name. Fails with [`Error::NotFound`] as soon as something that is not `optional` is known not to be
/// there.
fn plan(
    context: &Context<'_, '_>,
    patterns: &[Pattern],
    optional: &mut Optional,
) -> Result<Option<Vec<Planned>>, Error> {
    let mut planned: Vec<Planned> = Vec::new();
    let mut complete = true;
    for (position, pattern) in patterns.iter().enumerate() {
        let found = match pattern.literal() {
            Some(path) => plan_path(context, position, pattern, path).map(|thing| thing.map(|thing| vec![thing])),
            None => plan_glob(context, position, pattern),
        };
        match found {
            Ok(Some(found)) => planned.extend(found),
            Ok(None) => complete = false,
            Err(error) => optional.keep(position, error)?,
        }
    }
    Ok(complete.then_some(planned))
}

/// Whether a pattern's directory is known, so that no layer can say any more that another place is to be looked at: layers
/// can then be read in any order. Whatever the view decides already is as good.
fn is_settled(view: &View<'_>, pattern: &Pattern, follow: bool) -> bool {
    match pattern.literal() {
        Some(path) => !matches!(resolve(view, &path, follow), Found::Unknown { .. }),
        None => false,
    }
}

/// The contents that `planned` names and the survey has not staged.
fn missing<C: Collect>(planned: &[Planned], survey: &Survey<C>) -> Missing {
    fn collect<C: Collect>(tree: &Tree, pattern: usize, survey: &Survey<C>, missing: &mut Missing) {
        match (&tree.kind, tree.layer) {
            (TreeKind::File { data, .. }, Some(layer)) if survey.content(layer, *data).is_none() => {
                missing.entry((layer, *data)).or_default().push(pattern);
            }
            (TreeKind::Directory(children), _) => {
                children.values().for_each(|child| collect(child, pattern, survey, missing));
            }
            _ => {}
        }
    }
    let mut contents = Missing::new();
    planned.iter().for_each(|thing| collect(&thing.tree, thing.pattern, survey, &mut contents));
    contents
}

/// `tree` with its contents, ready to be written; `None` if one of them was never staged.
pub fn item(tree: Tree, survey: &Survey<Staging>) -> Option<Item> {
    let node = match tree.kind {
        TreeKind::File { data, .. } => ItemNode::File(Arc::clone(survey.content(tree.layer?, data)?)),
        TreeKind::Symlink(target) => ItemNode::Symlink(target),
        TreeKind::Special(_) => ItemNode::Special,
        TreeKind::Directory(children) => {
            let children = children.into_iter().map(|(name, child)| Some((name, item(child, survey)?)));
            ItemNode::Directory(children.collect::<Option<_>>()?)
        }
    };
    Some(Item { metadata: tree.metadata, node })
}

/// Plans what stands at `path`, which `pattern` is.
fn plan_path(
    context: &Context<'_, '_>,
    position: usize,
    pattern: &Pattern,
    path: Vec<u8>,
) -> Result<Option<Planned>, Error> {
    let found = resolve(context.view, &path, context.follow);
    let (real_path, tree) = match existing(context, found) {
        Existing::Tree(real_path, tree) => (real_path, tree),
        Existing::Unknown => return Ok(None),
        Existing::Not(found) => return Err(absent::why(context, pattern, &path, found)),
    };
    let name = base_name(pattern, &path);
    Ok(Some(Planned { pattern: position, path, real_path, name, tree, notice: None }))
}

/// The name that what stands at `path`, which `pattern` is, gets by itself. As in `docker cp`, `DIR/.` is what DIR
/// holds; the root and `..` have no name of their own either.
pub fn base_name(pattern: &Pattern, path: &[u8]) -> Vec<u8> {
    let last = pattern.text().split(|byte| *byte == b'/').rfind(|part| !part.is_empty()).unwrap_or_default();
    match last {
        b"" | b"." | b".." => Vec::new(),
        _ => split(path.strip_suffix(b"/").unwrap_or(path)).1.to_vec(),
    }
}

/// Plans what a glob matches. A link that leads to nothing stays a link.
fn plan_glob(context: &Context<'_, '_>, position: usize, pattern: &Pattern) -> Result<Option<Vec<Planned>>, Error> {
    let view = context.view;
    let Some(paths) = pattern.expand(view) else { return Ok(None) };
    let names: usize = (0..view.depth()).filter_map(|layer| view.layer(layer)).map(LayerIndex::nodes).sum();
    let most = names.saturating_mul(MAX_REPEATED).saturating_add(MIN_PLANNED);
    let (mut planned, mut count) = (Vec::new(), 0_usize);
    for path in paths {
        let mut notice = None;
        let mut found = resolve(view, &path, context.follow);
        if let Found::Absent { .. } | Found::NotADirectory { .. } | Found::Loop = found {
            notice = absent::kept_link(view, &path, &found);
            found = resolve(view, &path, false);
        }
        let (real_path, tree) = match existing(context, found) {
            Existing::Tree(real_path, tree) => (real_path, tree),
            Existing::Unknown => return Ok(None),
            Existing::Not(Found::BrokenLink { path, target }) => {
                context.leave_out(path, target);
                continue;
            }
            Existing::Not(_) => continue,
        };
        count = count.saturating_add(tree.count());
        if count > most {
            return Err(absent::unfetchable(
                context,
                pattern,
                "matches too many links to the same directories; name them one by one",
            ));
        }
        let name = split(&path).1.to_vec();
        let path = [b"/".as_slice(), &path].concat();
        planned.push(Planned { pattern: position, path, real_path, name, tree, notice });
    }
    if planned.is_empty() {
        let nothing = match context.broken.borrow().is_empty() {
            true => format!("; nothing matches the pattern{}", absent::meant_literally(view, pattern)),
            false => "; all that matches are hard links to nothing".to_owned(),
        };
        return Err(absent::not_found(context, pattern, nothing));
    }
    Ok(Some(planned))
}

/// What was found, whole.
enum Existing<'a> {
    /// This, at this canonical path.
    Tree(Vec<u8>, Tree),
    /// Only a layer that has not been read can tell.
    Unknown,
    /// Nothing.
    Not(Found<'a>),
}

fn existing<'a>(context: &Context<'_, '_>, found: Found<'a>) -> Existing<'a> {
    match found {
        Found::Unknown { .. } => Existing::Unknown,
        Found::Directory(directory) => match directory_tree(context, &directory) {
            Some(tree) => Existing::Tree(directory.path, tree),
            None => Existing::Unknown,
        },
        Found::Leaf(leaf) => Existing::Tree(leaf.path.clone(), leaf_tree(&leaf)),
        found => Existing::Not(found),
    }
}

fn directory_tree(context: &Context<'_, '_>, directory: &Directory) -> Option<Tree> {
    let view = context.view;
    let mut children = BTreeMap::new();
    for (name, child) in view.list(directory)? {
        let tree = match child {
            Child::Directory(below) => directory_tree(context, &below)?,
            Child::Leaf { layer } => match leaf(view, layer, &join(&directory.path, &name)) {
                Found::Leaf(leaf) => leaf_tree(&leaf),
                Found::BrokenLink { path, target } => {
                    context.leave_out(path, target);
                    continue;
                }
                Found::Unknown { .. } => return None,
                _ => continue,
            },
            Child::Absent { .. } | Child::Unknown => continue,
        };
        children.insert(name, tree);
    }
    let metadata = directory_metadata(view, directory);
    Some(Tree { metadata, layer: directory.described_by, kind: TreeKind::Directory(children) })
}

/// What the layers say of a directory, as far as they are in the view.
pub fn directory_metadata(view: &View<'_>, directory: &Directory) -> Metadata {
    let described = directory.described_by.and_then(|layer| view.node(layer, &directory.path));
    described.map_or(UNDESCRIBED, metadata)
}

fn leaf_tree(leaf: &Leaf<'_>) -> Tree {
    let kind = match &leaf.node.kind {
        NodeKind::File { size, data, .. } => TreeKind::File { size: *size, data: *data },
        NodeKind::Symlink(target) => TreeKind::Symlink(target.to_vec()),
        NodeKind::Special(special) => TreeKind::Special(*special),
        // A leaf is none of these.
        NodeKind::Directory { .. } | NodeKind::LinkBelow(_) | NodeKind::LinkNowhere(_) => {
            TreeKind::Special(Special::Fifo)
        }
    };
    Tree { metadata: metadata(leaf.node), layer: Some(leaf.layer), kind }
}

fn metadata(node: &Node) -> Metadata {
    Metadata { mode: node.mode, uid: node.uid, gid: node.gid, mtime: node.mtime, xattrs: node.xattrs.clone() }
}

/// A canonical path as a person would type it.
pub fn show_path(path: &[u8]) -> String {
    format!("/{}", show(path.strip_prefix(b"/").unwrap_or(path)))
}

/// Raw bytes as text, each byte that is not UTF-8 as `\xNN`.
pub fn show(bytes: &[u8]) -> String {
    let chunks = bytes.utf8_chunks();
    chunks.fold(String::new(), |text, chunk| text + chunk.valid() + &chunk.invalid().escape_ascii().to_string())
}
