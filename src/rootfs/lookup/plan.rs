//! From what the layers say to what there is: each pattern resolved, each directory listed, each file's content named.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lookup, Missing, Why};
use crate::layer::content::FileContent;
use crate::layer::entry::{Metadata, Special};
use crate::rootfs::below::{self, Thing as Below};
use crate::rootfs::depth::Depth;
use crate::rootfs::node::NodeKind;
use crate::rootfs::path::{join, split};
use crate::rootfs::pattern::Pattern;
use crate::rootfs::spread::Directory;
use crate::rootfs::view::{Child, View};
use crate::rootfs::walk::{Found, Leaf, leaf, resolve};

/// A glob that matches links to directories repeats what is in them. So many times, on average, may it repeat each name of the
/// image, so that an image of a few bytes does not become a tree of any size.
const MAX_REPEATED: usize = 16;

/// So many things may be planned of any image.
const MIN_PLANNED: usize = 100_000;

/// All that was asked for.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is there, in the order of the patterns.
    pub planned: Vec<Planned>,
    /// What need not be there, and is not.
    pub missing: Vec<Missing>,
    /// Hard links to nothing, which are left out.
    pub left_out: Vec<BrokenLink>,
}

/// One thing that is there.
#[derive(Debug)]
pub struct Planned {
    /// The position of the pattern that named it.
    pub pattern: usize,
    /// The path in the image, as named; absolute.
    pub path: Vec<u8>,
    /// The canonical path of what it leads to.
    pub real_path: Vec<u8>,
    /// The base name that it has by itself.
    pub name: Vec<u8>,
    /// What it is; without what is in it where that is [only listed](Lookup::lists).
    pub tree: Tree,
    /// If it is a link that should be followed but leads to nothing: why.
    pub kept: Option<KeptLink>,
}

/// A link that a glob matched and that leads to nothing: it stays a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLink {
    /// Its target, as written.
    pub target: Vec<u8>,
    /// Whether it leads in a circle.
    pub is_loop: bool,
}

/// A hard link to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLink {
    /// Its canonical path.
    pub path: Vec<u8>,
    /// Its target.
    pub target: Vec<u8>,
}

/// A tree of the rootfs, with contents named but not there.
#[derive(Debug)]
pub struct Tree {
    /// Mode, owner and times.
    pub metadata: Metadata,
    /// The layer that it comes from.
    pub layer: Option<Depth>,
    /// What it is.
    pub kind: TreeKind,
}

/// What a node of a [`Tree`] is.
#[derive(Debug)]
pub enum TreeKind {
    /// A regular file, whose content is in [`Tree::layer`].
    File(FileContent),
    /// A directory.
    Directory(BTreeMap<Vec<u8>, Tree>),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A device node or FIFO.
    Special(Special),
}

impl Tree {
    /// The length in bytes of all files in the tree.
    pub fn size(&self) -> u64 {
        match &self.kind {
            TreeKind::File(content) => content.size,
            TreeKind::Directory(children) => children.values().map(Tree::size).fold(0, u64::saturating_add),
            TreeKind::Symlink(_) | TreeKind::Special(_) => 0,
        }
    }

    /// Calls `each` with each file in the tree: its layer, its content in it, and what is said of it.
    pub fn files(&self, each: &mut impl FnMut(Depth, FileContent, &Metadata)) {
        match (&self.kind, self.layer) {
            (TreeKind::File(content), Some(layer)) => each(layer, *content, &self.metadata),
            (TreeKind::Directory(children), _) => children.values().for_each(|child| child.files(each)),
            _ => {}
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

/// What a pattern names, before its trees are made.
pub(super) struct There<'a> {
    things: Vec<Thing<'a>>,
    left_out: Vec<BrokenLink>,
}

struct Thing<'a> {
    path: Vec<u8>,
    name: Vec<u8>,
    found: Found<'a>,
    kept: Option<KeptLink>,
}

impl Lookup {
    /// What `pattern` names; `None` where layers that are not in the view may say otherwise. It is a directory or a leaf, all of it.
    pub(super) fn look<'v>(&self, view: &View<'v>, pattern: &Pattern) -> Result<Option<There<'v>>, Why> {
        match pattern.literal() {
            Some(path) => self.look_at(view, pattern, path),
            None => self.look_for(view, pattern),
        }
    }

    fn look_at<'v>(&self, view: &View<'v>, pattern: &Pattern, path: Vec<u8>) -> Result<Option<There<'v>>, Why> {
        let found = resolve(view, &path, self.follow);
        match &found {
            Found::Directory(directory) if !view.is_listable(directory) => return Ok(None),
            Found::Unknown { .. } => return Ok(None),
            Found::Directory(_) | Found::Leaf(_) => {}
            _ => {
                return match Lookup::why(view, &path, found) {
                    Some(why) => Err(why),
                    None => Ok(None),
                };
            }
        }
        let name = pattern.base_name(&path);
        Ok(Some(There { things: vec![Thing { path, name, found, kept: None }], left_out: Vec::new() }))
    }

    /// What a glob matches. A link that leads to nothing stays a link.
    fn look_for<'v>(&self, view: &View<'v>, pattern: &Pattern) -> Result<Option<There<'v>>, Why> {
        let Some(paths) = pattern.expand(view) else { return Ok(None) };
        let mut there = There { things: Vec::new(), left_out: Vec::new() };
        for path in paths {
            let mut kept = None;
            let mut found = resolve(view, &path, self.follow);
            if let Found::Absent { .. } | Found::NotADirectory { .. } | Found::Loop = found {
                kept = kept_link(view, &path, &found);
                found = resolve(view, &path, false);
            }
            match found {
                Found::Unknown { .. } => return Ok(None),
                Found::BrokenLink { path, target } => {
                    there.left_out.push(BrokenLink { path, target: target.to_vec() });
                }
                Found::Directory(_) | Found::Leaf(_) => {
                    let name = split(&path).1.to_vec();
                    there.things.push(Thing { path: [b"/".as_slice(), &path].concat(), name, found, kept });
                }
                _ => {}
            }
        }
        match there.things.is_empty() {
            false => Ok(Some(there)),
            true if there.left_out.is_empty() => Err(Lookup::no_match(view, pattern)),
            true => Err(Why::AllBroken),
        }
    }

    /// Makes trees of what is `there`; `None` where layers that are not in the view may have a part in one. What is `missing` already
    /// comes with them.
    pub(super) fn plan(
        &self,
        view: &View<'_>,
        there: Vec<(usize, There<'_>)>,
        missing: Vec<Missing>,
    ) -> Result<Option<Outcome>, Missing> {
        let mut outcome = Outcome { missing, ..Outcome::default() };
        let names: usize = view.layers().iter().map(|layer| layer.nodes()).sum();
        let most = names.saturating_mul(MAX_REPEATED).saturating_add(MIN_PLANNED);
        for (position, There { things, left_out }) in there {
            outcome.left_out.extend(left_out);
            let is_glob = !self.patterns[position].is_literal();
            let (mut count, first) = (0_usize, outcome.planned.len());
            for Thing { path, name, found, kept } in things {
                let (real_path, tree) = match found {
                    Found::Directory(directory) if self.lists => {
                        let tree = listed_tree(view, &directory, &mut outcome.left_out);
                        (directory.path, tree)
                    }
                    Found::Directory(directory) => {
                        let tree = directory_tree(view, &directory, &mut outcome.left_out);
                        (directory.path, tree.map(|tree| (tree.count(), tree)))
                    }
                    Found::Leaf(leaf) => (leaf.path.clone(), Some((1, leaf_tree(&leaf)))),
                    _ => continue,
                };
                let Some((things, tree)) = tree else { return Ok(None) };
                count = count.saturating_add(things);
                if is_glob && count > most {
                    outcome.planned.truncate(first);
                    self.miss(position, Why::TooMany, &mut outcome.missing)?;
                    break;
                }
                outcome.planned.push(Planned { pattern: position, path, real_path, name, tree, kept });
            }
        }
        if self.needs_content {
            self.refuse_special(&mut outcome)?;
        }
        outcome.missing.sort_by_key(|missing| missing.pattern);
        Ok(Some(outcome))
    }

    /// Takes a pattern that names nothing but device nodes and FIFOs for missing. What a glob matches besides those is wanted all the
    /// same.
    fn refuse_special(&self, outcome: &mut Outcome) -> Result<(), Missing> {
        let is_special = |thing: &Planned| matches!(thing.tree.kind, TreeKind::Special(_));
        let served: BTreeSet<usize> =
            outcome.planned.iter().filter(|thing| !is_special(thing)).map(|thing| thing.pattern).collect();
        let is_alone = |thing: &mut Planned| is_special(thing) && !served.contains(&thing.pattern);
        let alone: Vec<Planned> = outcome.planned.extract_if(.., is_alone).collect();
        alone.into_iter().try_for_each(|special| {
            self.miss(special.pattern, Why::Special { path: special.path }, &mut outcome.missing)
        })
    }
}

/// Why the link at the canonical `path`, which a glob matched, is kept, as `found` is all that it leads to.
fn kept_link(view: &View<'_>, path: &[u8], found: &Found<'_>) -> Option<KeptLink> {
    let Found::Leaf(link) = resolve(view, path, false) else { return None };
    let NodeKind::Symlink(target) = &link.node.kind else { return None };
    Some(KeptLink { target: target.to_vec(), is_loop: matches!(found, Found::Loop) })
}

fn directory_tree(view: &View<'_>, directory: &Directory, left_out: &mut Vec<BrokenLink>) -> Option<Tree> {
    let mut children = BTreeMap::new();
    for (name, child) in view.list(directory)? {
        let tree = match child {
            Child::Directory(below) => directory_tree(view, &below, left_out)?,
            Child::Leaf { layer } => match leaf(view, layer, &join(&directory.path, &name)) {
                Found::Leaf(leaf) => leaf_tree(&leaf),
                Found::BrokenLink { path, target } => {
                    left_out.push(BrokenLink { path, target: target.to_vec() });
                    continue;
                }
                Found::Unknown { .. } => return None,
                _ => continue,
            },
            Child::Absent { .. } | Child::Unknown => continue,
        };
        children.insert(name, tree);
    }
    let metadata = view.metadata(directory);
    Some(Tree { metadata, layer: directory.described_by, kind: TreeKind::Directory(children) })
}

/// What [`directory_tree`] makes of `directory`, and how many things that is, without what is in it.
fn listed_tree(view: &View<'_>, directory: &Directory, left_out: &mut Vec<BrokenLink>) -> Option<(usize, Tree)> {
    if !view.is_listable(directory) {
        return None;
    }
    let mut count: usize = 1;
    let is_known = below::walk(view, directory, &mut |path, thing| {
        count += 1;
        match thing {
            Below::Unknown | Below::Directory { is_listable: false, .. } => return Err(()),
            Below::Broken { target } => {
                count -= 1;
                left_out.push(BrokenLink { path: path.to_vec(), target: target.to_vec() });
            }
            Below::Directory { .. } | Below::Leaf { .. } => {}
        }
        Ok(true)
    });
    is_known.ok()?;
    let kind = TreeKind::Directory(BTreeMap::new());
    Some((count, Tree { metadata: view.metadata(directory), layer: directory.described_by, kind }))
}

fn leaf_tree(leaf: &Leaf<'_>) -> Tree {
    let kind = match &leaf.node.kind {
        NodeKind::File(content) => TreeKind::File(*content),
        NodeKind::Symlink(target) => TreeKind::Symlink(target.to_vec()),
        NodeKind::Special(special) => TreeKind::Special(*special),
        // A leaf is none of these.
        NodeKind::Directory { .. } | NodeKind::LinkBelow(_) | NodeKind::LinkNowhere(_) => {
            TreeKind::Special(Special::Fifo)
        }
    };
    Tree { metadata: leaf.node.metadata(), layer: Some(leaf.layer), kind }
}
