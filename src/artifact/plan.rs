//! From what the layers say to what is to be written: each pattern resolved, each directory listed, each file's content named.
//!
//! Planning takes a [`View`] and gives trees without contents; [`None`] where a layer that has not been read could change
//! them. It reads nothing and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::Error;
use super::survey::{Collect, Missing, Survey, Wanted, describe};
use crate::extract::{Item, Metadata, Node as ItemNode, Staging};
use crate::image::Image;
use crate::layer::entry::Special;
use crate::rootfs::nearest::nearest;
use crate::rootfs::walk::{Found, Leaf, leaf, resolve};
use crate::rootfs::{Child, DataOffset, Directory, Node, NodeKind, Pattern, View, join, split};

/// One thing to be written, with the name it gets.
#[derive(Debug)]
pub struct Planned {
    /// The position of the pattern that named it.
    pub pattern: usize,
    /// The path in the image, as named.
    pub path: Vec<u8>,
    /// The canonical path of what it leads to.
    pub real_path: Vec<u8>,
    /// The base name it is written under.
    pub name: Vec<u8>,
    /// What it is.
    pub tree: Tree,
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

/// Reads as many layers as it takes to plan what `wanted` names in `image`, and what of its content had passed by. Fails where
/// that is a device node or a FIFO, which has none.
pub async fn complete<C: Collect>(
    image: (&str, &Image),
    survey: &mut Survey<C>,
    wanted: &Wanted,
) -> Result<Vec<Planned>, Error> {
    let planned = outline(image, survey, wanted).await?;
    if let Some(special) = planned.iter().find(|thing| matches!(thing.tree.kind, TreeKind::Special(_))) {
        return Err(Error::Unfetchable {
            image: image.0.to_owned(),
            path: show_path(&special.path),
            problem: "is a device node or a FIFO, which is never created".to_owned(),
        });
    }
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
    loop {
        let view = survey.view();
        let mut broken = Vec::new();
        if let Some(planned) = plan(image, &view, &wanted.patterns, wanted.follow, &mut broken)? {
            survey.note(broken.iter().map(BrokenLink::notice));
            return Ok(planned);
        }
        let independent = wanted.patterns.iter().all(|pattern| is_settled(&view, pattern, wanted.follow));
        survey.read_further(independent).await?;
    }
}

/// A hard link to nothing, which is left out.
struct BrokenLink {
    path: Vec<u8>,
    target: Vec<u8>,
}

impl BrokenLink {
    fn notice(&self) -> String {
        format!("{} is left out: it {}", show_path(&self.path), broken(&self.target))
    }
}

/// What is wrong with a hard link to `target`.
fn broken(target: &[u8]) -> String {
    format!("is a hard link to {}, which is neither before it in its layer nor in a layer below", show_path(target))
}

/// Plans what `patterns` name in `image`, as `view` shows it. Fails with [`Error::NotFound`] as soon as something is known not
/// to be there.
fn plan(
    image: (&str, &Image),
    view: &View<'_>,
    patterns: &[Pattern],
    follow: bool,
    broken: &mut Vec<BrokenLink>,
) -> Result<Option<Vec<Planned>>, Error> {
    let mut planned: Vec<Planned> = Vec::new();
    let mut complete = true;
    for (position, pattern) in patterns.iter().enumerate() {
        match plan_one(image, view, (position, pattern), follow, broken)? {
            Some(found) => planned.extend(found),
            None => complete = false,
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

fn plan_one(
    image: (&str, &Image),
    view: &View<'_>,
    (position, pattern): (usize, &Pattern),
    follow: bool,
    broken: &mut Vec<BrokenLink>,
) -> Result<Option<Vec<Planned>>, Error> {
    let Some(literal) = pattern.literal() else {
        let Some(paths) = pattern.expand(view) else { return Ok(None) };
        if paths.is_empty() {
            return Err(not_found(image.0, pattern, "; nothing matches the pattern".to_owned()));
        }
        let mut planned = Vec::with_capacity(paths.len());
        for path in paths {
            let found = resolve(view, &path, follow);
            if let Found::BrokenLink { path, target } = found {
                broken.push(BrokenLink { path, target: target.to_vec() });
                continue;
            }
            let Some((real_path, tree)) = tree(image, view, pattern, found, broken)? else { return Ok(None) };
            planned.push(Planned { pattern: position, name: split(&path).1.to_vec(), path, real_path, tree });
        }
        if planned.is_empty() {
            return Err(not_found(image.0, pattern, "; all that matches are hard links to nothing".to_owned()));
        }
        return Ok(Some(planned));
    };
    let found = resolve(view, &literal, follow);
    let Some((real_path, tree)) = tree(image, view, pattern, found, broken)? else { return Ok(None) };
    let text = pattern.text();
    let last = text.split(|byte| *byte == b'/').rfind(|part| !part.is_empty()).unwrap_or_default();
    // As in `docker cp`, `DIR/.` is what DIR holds; the root and `..` have no name of their own either.
    let name = match last {
        b"" | b"." | b".." => Vec::new(),
        _ => split(literal.strip_suffix(b"/").unwrap_or(&literal)).1.to_vec(),
    };
    Ok(Some(vec![Planned { pattern: position, path: literal, real_path, name, tree }]))
}

/// What stands at the end of a path, whole, with its canonical path.
fn tree(
    image: (&str, &Image),
    view: &View<'_>,
    pattern: &Pattern,
    found: Found<'_>,
    broken_links: &mut Vec<BrokenLink>,
) -> Result<Option<(Vec<u8>, Tree)>, Error> {
    let unfetchable = |problem: &str| Error::Unfetchable {
        image: image.0.to_owned(),
        path: show(pattern.text()),
        problem: problem.to_owned(),
    };
    match found {
        Found::Unknown { .. } => Ok(None),
        Found::Directory(directory) => {
            Ok(directory_tree(view, &directory, broken_links).map(|tree| (directory.path, tree)))
        }
        Found::Leaf(leaf) => Ok(Some((leaf.path.clone(), leaf_tree(&leaf)))),
        Found::BrokenLink { target, .. } => Err(unfetchable(&broken(target))),
        Found::Loop => Err(unfetchable("leads through more than 40 symlinks; it is a loop")),
        Found::NotADirectory { path } => {
            Err(not_found(image.0, pattern, format!("; {} is not a directory", show_path(&path))))
        }
        Found::Absent { parent, name, deleted_by } => {
            let hint = match deleted_by {
                Some(depth) => deleted(image.1, depth, &join(&parent.path, &name)),
                None => did_you_mean(&nearest(view, &parent, &name, &pattern.literal().unwrap_or_default())),
            };
            Err(not_found(image.0, pattern, hint))
        }
    }
}

fn directory_tree(view: &View<'_>, directory: &Directory, broken: &mut Vec<BrokenLink>) -> Option<Tree> {
    let mut children = BTreeMap::new();
    for (name, child) in view.list(directory)? {
        let tree = match child {
            Child::Directory(below) => directory_tree(view, &below, broken)?,
            Child::Leaf { layer } => match leaf(view, layer, &join(&directory.path, &name)) {
                Found::Leaf(leaf) => leaf_tree(&leaf),
                Found::BrokenLink { path, target } => {
                    broken.push(BrokenLink { path, target: target.to_vec() });
                    continue;
                }
                Found::Unknown { .. } => return None,
                _ => continue,
            },
            Child::Absent { .. } | Child::Unknown => continue,
        };
        children.insert(name, tree);
    }
    let described = directory.described_by.and_then(|layer| view.node(layer, &directory.path));
    let metadata = match described {
        Some(node) => metadata(node),
        None => Metadata { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() },
    };
    Some(Tree { metadata, layer: directory.described_by, kind: TreeKind::Directory(children) })
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

fn not_found(image: &str, pattern: &Pattern, hint: String) -> Error {
    Error::NotFound { image: image.to_owned(), path: show(pattern.text()), hint }
}

fn deleted(image: &Image, depth: usize, path: &[u8]) -> String {
    let layers = image.layers.len();
    let Some(layer) = image.layers.iter().rev().nth(depth) else { return String::new() };
    let step = layer.created_by.as_ref().map(|step| format!(": `{}`", step.trim())).unwrap_or_default();
    format!("; {} was deleted by {}{step}", show_path(path), describe(layer, layers))
}

fn did_you_mean(hints: &[Vec<u8>]) -> String {
    match hints {
        [] => String::new(),
        hints => format!("; did you mean {}?", hints.iter().map(|path| show_path(path)).collect::<Vec<_>>().join(", ")),
    }
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
