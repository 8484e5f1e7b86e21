//! Getting paths from a place that shows an image's rootfs by itself, without its layers: the engine.
//!
//! Links are followed here, name by name, as the kernel would inside a container. What the place says of each name goes into a
//! [`LayerIndex`], as though it were the entry of a layer, so that what is wrong with a path is said as it is of layers. What the
//! place shows and is not the image's own is left to the layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::absent::{self, Context};
use super::blocking::blocking;
use super::error::Error;
use super::labelled::mismatch;
use super::layers::{self, Proof, Verify};
use super::look_up::{Fetched, Thing};
use super::names::ByPath;
use super::place::{self, Origin, Placed};
use super::request::Request;
use super::shown::{show, show_path};
use crate::extract::{Hashing, Item, MAX_DEPTH, Metadata, Node as ItemNode, Staging};
use crate::image::digest::Digest;
use crate::layer::entry::{Entry, Kind, Special};
use crate::layer::{Content, Flow, LayerError};
use crate::rootfs::lookup::Lookup;
use crate::rootfs::{LayerIndex, MAX_SYMLINKS, NodeKind, UNDESCRIBED, View, components, join, split};
use crate::source::merged::{Merged, Seen, Stat, StatKind};
use crate::source::{BlobReader, LayerBlob, Source};

/// The place, where what `request` asks for may be taken from what `source` shows: neither a digest has to be compared nor more
/// kept than it tells, and no layer is named.
pub fn of<'a>(source: &'a dyn Source, request: &Request) -> Option<&'a dyn Merged> {
    let is_enough = request.verify.of(source) != Verify::Always && !request.preserve && request.step.is_none();
    source.merged().filter(|_| is_enough)
}

/// Gets what stands at the paths that were `asked` for, and gives what only the layers can tell besides: globs, what a label says of
/// one layer, and what is not the image's in `merged`.
pub async fn things(
    merged: &dyn Merged,
    (image, request, staging): (&str, &Request, &Arc<Staging>),
    asked: Vec<ByPath>,
) -> Result<(Vec<Thing>, Vec<ByPath>), Error> {
    let (known, altered) = Default::default();
    let mut shown = Shown { merged, image, request, staging, known, altered };
    let (mut things, mut left) = (Vec::new(), Vec::new());
    for asked in asked {
        let path = asked.pattern.literal().filter(|_| asked.only_in.is_none());
        let thing = match path {
            Some(path) => shown.thing(&asked, &path).await?,
            None => None,
        };
        match thing {
            Some(thing) => things.push(thing),
            None => left.push(asked),
        }
    }
    Ok((things, left))
}

/// What a place has shown so far.
struct Shown<'a> {
    merged: &'a dyn Merged,
    /// What messages call the image.
    image: &'a str,
    request: &'a Request,
    staging: &'a Arc<Staging>,
    /// The names that it was asked for: as many as the paths and the links on their ways have.
    known: LayerIndex,
    /// The directories, by their canonical paths, that the place has put something into.
    altered: Vec<Vec<u8>>,
}

impl Shown<'_> {
    /// Gets what stands at `path`; `None` where the layers have to tell.
    async fn thing(&mut self, asked: &ByPath, path: &[u8]) -> Result<Option<Thing>, Error> {
        let request = self.request;
        let Some((real_path, kind)) = self.find(asked, path, request.dereference).await? else { return Ok(None) };
        if kind == StatKind::Special {
            return Err(self.refusal(asked, request.dereference));
        }
        let named = asked.path.as_deref().unwrap_or(path);
        let base = asked.name.clone().unwrap_or_else(|| asked.pattern.base_name(path));
        let place = place::place(named, &real_path, &base, request.parents);
        let parents: Arc<[Metadata]> = if request.parents {
            if self.altered.iter().any(|directory| is_above(directory, &place)) {
                return Ok(None);
            }
            place::parents(&View::new(vec![&self.known], true), &place)
        } else {
            Arc::default()
        };
        let Seen::There(tar) = self.merged.tree(&real_path).await? else { return Ok(None) };
        let (name, staging) = (self.image.to_owned(), Arc::clone(self.staging));
        let hashing = match kind == StatKind::File && (request.digests || asked.digest.is_some()) {
            true => Hashing::Sha256,
            false => Hashing::Skipped,
        };
        let item = blocking(move || read_tree(tar, &name, &staging, hashing)).await?;
        // Podman follows a link that is to be kept, and Docker gives nothing of some names that are no UTF-8.
        let Some(item) = item.filter(|item| kind_of(&item.node) == kind) else { return Ok(None) };
        let digest = match &item.node {
            ItemNode::File(staged) => staged.digest.clone(),
            _ => None,
        };
        let kind = match kind {
            StatKind::File => "file",
            StatKind::Directory => "directory",
            StatKind::Symlink => "symlink",
            StatKind::Special => "special",
        };
        if let Some(expected) = asked.digest.as_ref().filter(|expected| Some(*expected) != digest.as_ref()) {
            return Err(mismatch(self.image, expected, digest.as_ref().map_or(kind, Digest::as_str)));
        }
        let fetched = Fetched {
            path: show_path(named),
            destination: None,
            kind,
            size: size_of(&item),
            mode: item.metadata.mode,
            digest,
            layer: None,
            proof: if asked.digest.is_some() { Proof::File } else { Proof::Engine },
        };
        let path = named.to_vec();
        let placed = Placed { path, real_path, place, parents, origin: Origin::default(), item };
        Ok(Some(Thing { position: asked.position, placed, fetched }))
    }

    /// Where `path` leads: a canonical path, and what stands there; `None` where the layers have to tell. Asks the place for each
    /// name on the way once.
    async fn find(&mut self, asked: &ByPath, path: &[u8], follow: bool) -> Result<Option<(Vec<u8>, StatKind)>, Error> {
        let must_be_directory = path.ends_with(b"/") || path.ends_with(b"/.");
        // What is left of the path, and of the targets of links in it, the next name last.
        let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let (mut here, mut links) = (Vec::new(), 0);
        while let Some(name) = pending.pop() {
            if name == b".." {
                here.truncate(split(&here).0.len());
                continue;
            }
            let at = join(&here, &name);
            if self.known.get(&at).is_none() {
                match self.merged.stat(&at).await? {
                    Seen::There(stat) => {
                        if !self.learn(at.clone(), stat).await? {
                            return Ok(None);
                        }
                    }
                    Seen::Absent => return Err(self.refusal(asked, follow)),
                    Seen::NotTheImages => return Ok(None),
                }
            }
            let is_last = pending.is_empty();
            let kind = match self.known.get(&at).map(|node| &node.kind) {
                Some(NodeKind::Directory { .. }) => {
                    here = at;
                    continue;
                }
                Some(NodeKind::Symlink(target)) if !is_last || follow || must_be_directory => {
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(self.refusal(asked, follow));
                    }
                    if target.starts_with(b"/") {
                        here.clear();
                    }
                    pending.extend(components(target).rev().map(<[u8]>::to_vec));
                    continue;
                }
                Some(NodeKind::Symlink(_)) => StatKind::Symlink,
                Some(NodeKind::File(_)) => StatKind::File,
                _ => StatKind::Special,
            };
            if !is_last || must_be_directory {
                return Err(self.refusal(asked, follow));
            }
            return Ok(Some((at, kind)));
        }
        Ok(Some((here, StatKind::Directory)))
    }

    /// Takes in what stands at the canonical `path`. Gives whether the place could tell all of it.
    async fn learn(&mut self, path: Vec<u8>, stat: Stat) -> Result<bool, Error> {
        if !stat.is_the_images {
            self.altered.push(path.clone());
        }
        let kind = match stat.kind {
            StatKind::File => Kind::File { size: 0, sparse: false },
            StatKind::Directory => Kind::Directory,
            StatKind::Special => Kind::Special(Special::Fifo),
            StatKind::Symlink => {
                let Seen::There(tar) = self.merged.tree(&path).await? else { return Ok(false) };
                let name = self.image.to_owned();
                match blocking(move || read_link(tar, &name)).await?.or(stat.leads_to) {
                    Some(target) => Kind::Symlink(target),
                    None => return Ok(false),
                }
            }
        };
        let (mode, mtime) = (stat.mode, stat.mtime);
        let (uid, gid, xattrs, header_offset, data_offset) = Default::default();
        let entry = Entry { path, kind, mode, uid, gid, mtime, xattrs, header_offset, data_offset };
        let inserted = self.known.insert(&entry);
        inserted.map_err(|refused| Error::in_layer(self.image, refused.at(0)))?;
        Ok(true)
    }

    /// Why what was `asked` for cannot be got, as far as the place was asked.
    fn refusal(&self, asked: &ByPath, follow: bool) -> Error {
        let view = View::new(vec![&self.known], true);
        let patterns = [asked.pattern.clone()].into();
        match (Lookup { patterns, follow, needs_content: true, ..Lookup::default() }).next(&view) {
            Err(missing) => {
                let context = Context { image: self.image, view: &view, describe: &|_| String::new() };
                absent::error(&context, &asked.pattern, &missing)
            }
            Ok(_) => Error::Bug(format!("{} is there, and was not taken", show(asked.pattern.text()))),
        }
    }
}

fn is_above(directory: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

fn kind_of(node: &ItemNode) -> StatKind {
    match node {
        ItemNode::File(_) => StatKind::File,
        ItemNode::Directory(_) => StatKind::Directory,
        ItemNode::Symlink(_) => StatKind::Symlink,
        ItemNode::Special => StatKind::Special,
    }
}

fn size_of(item: &Item) -> u64 {
    match &item.node {
        ItemNode::File(staged) => staged.size,
        ItemNode::Directory(children) => children.values().map(size_of).fold(0, u64::saturating_add),
        ItemNode::Symlink(_) | ItemNode::Special => 0,
    }
}

/// The target of the link that `tar` holds; `None` where it holds something else.
fn read_link(tar: BlobReader, image: &str) -> Result<Option<Vec<u8>>, Error> {
    let mut target = None;
    layers::scan(LayerBlob::Stream(tar, Arc::default()), image, Verify::Never, false, &mut |entry, _| {
        if let Kind::Symlink(to) = &entry.kind {
            target = Some(to.clone());
        }
        Ok(Flow::Stop)
    })?;
    Ok(target)
}

/// Stages what `tar` holds: one thing, with all that is below it, or nothing.
fn read_tree(tar: BlobReader, image: &str, staging: &Staging, hashing: Hashing) -> Result<Option<Item>, Error> {
    let mut root = Item { metadata: UNDESCRIBED, node: ItemNode::Directory(BTreeMap::new()) };
    layers::scan(LayerBlob::Stream(tar, Arc::default()), image, Verify::Never, false, &mut |entry, data| {
        let node = node_of(entry, data, &root, (staging, hashing)).map_err(|problem| problem.of(image))?;
        put(&mut root, entry, node).map_err(|problem| Problem::Entry(entry, problem).of(image))?;
        Ok(Flow::Continue)
    })?;
    let ItemNode::Directory(mut children) = root.node else { return Ok(None) };
    match children.len() {
        // Docker's name is not always the one that was asked for: bytes that are no UTF-8 do not survive on its way.
        0 | 1 => Ok(children.pop_first().map(|(_, item)| item)),
        several => {
            let problem = format!("it has {several} names at its top, and one was asked for");
            Err(Error::in_layer(image, LayerError::Malformed { offset: 0, problem }))
        }
    }
}

/// What is wrong with an entry, or with its content.
enum Problem<'a> {
    Entry(&'a Entry, &'static str),
    Content(crate::extract::StageError),
}

impl Problem<'_> {
    fn of(self, image: &str) -> Error {
        match self {
            Problem::Content(error) => Error::staging(image, error),
            Problem::Entry(entry, problem) => {
                let problem = format!("{} {problem}", show_path(&entry.path));
                Error::in_layer(image, LayerError::Malformed { offset: entry.header_offset, problem })
            }
        }
    }
}

fn node_of<'a>(
    entry: &'a Entry,
    data: &mut dyn Content,
    root: &Item,
    (staging, hashing): (&Staging, Hashing),
) -> Result<ItemNode, Problem<'a>> {
    Ok(match &entry.kind {
        Kind::File { size, sparse } => {
            let staged = match sparse {
                true => staging.stage_sparse(data, hashing),
                false => staging.stage_as(data, *size, None, hashing),
            };
            ItemNode::File(staged.map_err(Problem::Content)?)
        }
        Kind::Directory => ItemNode::Directory(BTreeMap::new()),
        Kind::Symlink(target) => ItemNode::Symlink(target.clone()),
        Kind::Special(_) => ItemNode::Special,
        Kind::HardLink(target) => match at(root, target).map(|item| &item.node) {
            Some(ItemNode::File(staged)) => ItemNode::File(Arc::clone(staged)),
            Some(ItemNode::Symlink(target)) => ItemNode::Symlink(target.clone()),
            Some(ItemNode::Special) => ItemNode::Special,
            Some(ItemNode::Directory(_)) | None => {
                return Err(Problem::Entry(entry, "is a hard link to nothing before it"));
            }
        },
    })
}

/// What stands at the canonical `path` below `root`.
fn at<'a>(root: &'a Item, path: &[u8]) -> Option<&'a Item> {
    components(path).try_fold(root, |item, name| match &item.node {
        ItemNode::Directory(children) => children.get(name),
        _ => None,
    })
}

/// Puts what `entry` is below `root`, or says why not. A directory that is there already keeps what is in it.
fn put(root: &mut Item, entry: &Entry, node: ItemNode) -> Result<(), &'static str> {
    // What is as deep costs a frame of the stack for each level, and could not be written.
    if components(&entry.path).count() > MAX_DEPTH {
        return Err("lies deeper than can be written");
    }
    let (uid, gid, xattrs) = (entry.uid, entry.gid, Vec::new());
    let metadata = Metadata { mode: entry.mode, uid, gid, mtime: entry.mtime, xattrs };
    let mut item = root;
    for name in components(&entry.path) {
        let ItemNode::Directory(children) = &mut item.node else { return Err("lies below a file") };
        let new = || Item { metadata: UNDESCRIBED, node: ItemNode::Directory(BTreeMap::new()) };
        item = children.entry(name.to_vec()).or_insert_with(new);
    }
    item.metadata = metadata;
    if !matches!((&item.node, &node), (ItemNode::Directory(_), ItemNode::Directory(_))) {
        item.node = node;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::extract::Destination;
    use crate::support::block::{Block, END};

    /// What comes of the tar that a place shows of a path.
    fn shown(members: &[Vec<u8>]) -> Result<Option<Item>, String> {
        let scratch = tempfile::tempdir().unwrap();
        let staging = Staging::new(&Destination::Directory(scratch.path().to_owned())).unwrap();
        let tar = [members.concat(), END.to_vec()].concat();
        read_tree(Box::new(Cursor::new(tar)), "local://app", &staging, Hashing::Skipped)
            .map_err(|error| error.to_string())
    }

    fn file(name: &str) -> Vec<u8> {
        Block::new(name, b'0', 1).with("x")
    }

    #[test]
    fn what_a_place_shows_is_one_thing_with_all_that_is_below_it() {
        let members = [
            Block::new("srv/", b'5', 0).with(""),
            file("srv/a"),
            Block::new("srv/link", b'2', 0).link("a").with(""),
            Block::new("srv/hard", b'1', 0).link("srv/a").with(""),
        ];
        let item = shown(&members).unwrap().unwrap();
        assert_eq!((kind_of(&item.node), size_of(&item)), (StatKind::Directory, 2));
        let (Some(first), Some(second)) = (at(&item, b"a"), at(&item, b"hard")) else { panic!("{item:?}") };
        let (ItemNode::File(first), ItemNode::File(second)) = (&first.node, &second.node) else { panic!("{item:?}") };
        assert!(Arc::ptr_eq(first, second), "a hard link is the file itself");
        assert!(shown(&[]).unwrap().is_none());
    }

    #[test]
    fn what_no_path_of_an_image_can_be_is_refused() {
        let deep = vec!["d"; MAX_DEPTH + 1].join("/");
        let long = Block::new("././@LongLink", b'L', deep.len() as u64).gnu().with(&deep);
        for (members, problem) in [
            (vec![file("../etc/passwd")], "leads out of the image: refused"),
            (vec![file("srv/../../x")], "leads out of the image: refused"),
            (vec![file("a"), file("a/b")], "lies below a file"),
            (vec![file("a"), file("b")], "it has 2 names at its top"),
            (vec![Block::new("a", b'1', 0).link("/etc/passwd").with("")], "is a hard link to nothing before it"),
            (vec![long, file("x")], "lies deeper than can be written"),
        ] {
            let error = shown(&members).map(|item| item.is_some()).unwrap_err();
            assert!(error.contains("local://app") && error.contains(problem), "{error} does not say: {problem}");
        }
    }
}
