//! What one layer says about the rootfs: its entries by path, its whiteouts and its opaque directories.
//!
//! Entries go in, in the order of the tar, as an extraction into an empty directory would take them: a later entry replaces
//! an earlier one of the same name, a parent that is a symlink of this layer is followed, missing parents are implied.
//!
//! An index may keep only what can matter to somebody: the paths of a [`Kept`] set, of which it then knows exactly what the whole layer says.
//! Of other paths it has what decides where entries really are: symlinks, and what took the place of one.
//! Spec: OCI image-spec *Representing Changes* and *Whiteouts*.

use std::borrow::Cow;

use super::kept::Kept;
use super::more::Said;
use super::near::{Near, Sought};
use super::node::{Node, NodeKind};
use super::path::{components, join, split};
use super::placing::{self, Linked, Parent};
use super::refused::{MAX_XATTRS, Refused, check};
use super::tree::{Content, NodeId, Place, Tree};
use crate::layer::content::{DataOffset, FileContent};
use crate::layer::entry::{Entry, Kind, Metadata};

/// What one extended attribute costs beside its bytes.
const XATTR_OVERHEAD: usize = 2 * size_of::<Vec<u8>>();

/// One layer's entries by path. What an entry costs here is bounded by what it costs in the tar.
#[derive(Debug, Default)]
pub struct LayerIndex {
    tree: Tree,
    /// How many bytes of extended attributes may still be kept, where any are.
    xattrs: Option<usize>,
    /// The paths that it knows; all of them where there is no set.
    kept: Option<Kept>,
    /// How many entries it was shown.
    entries: usize,
    /// Names that it does not keep, gathered because somebody was looking for one like them.
    near: Option<Near>,
    latest: Latest,
}

/// The directory that the latest entry went into, as the next one is likely to. No link leads to it, and as long as names are
/// only added to it, it is where its path says.
#[derive(Debug, Default)]
struct Latest {
    path: Vec<u8>,
    directory: Option<NodeId>,
}

/// What an entry turned out to be when it went into the index.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted<'e> {
    /// A name that can now be looked up under this path: the entry's, with symlinked parents followed.
    Name(Cow<'e, [u8]>),
    /// A mark for the layers below.
    Mark,
}

impl LayerIndex {
    /// An index that keeps extended attributes, or, as [`LayerIndex::default`], drops them.
    pub fn keeping_xattrs(keep: bool) -> Self {
        LayerIndex { xattrs: keep.then_some(MAX_XATTRS), ..LayerIndex::default() }
    }

    /// The same, that knows only these paths.
    pub(super) fn of(kept: &Kept, keeps_xattrs: bool) -> Self {
        let kept = (!kept.is_everything()).then(|| kept.clone());
        LayerIndex { kept, ..LayerIndex::keeping_xattrs(keeps_xattrs) }
    }

    /// The paths that it knows; none where it knows all.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// The same index, which from now on knows these paths, too, as soon as it has been told what there is of them.
    pub(super) fn set_kept(&mut self, kept: Kept) {
        self.kept = (!kept.is_everything()).then_some(kept);
    }

    /// Takes in what the layer says of a path that it was not told of before.
    pub(super) fn take<'s>(&mut self, said: Said<'s>) -> Result<Inserted<'s>, Refused> {
        if let Some(kept) = &mut self.kept
            && let path = said.path()
            && !kept.contains(&path)
        {
            kept.add(&path);
        }
        match said {
            Said::Entry(entry) => self.insert(entry),
            Said::Implied(path) => {
                check(path, path)?;
                if self.get(path).is_none() {
                    let node = self.tree.make(Place::ROOT, path)?;
                    self.tree.put(node, Content::Implied);
                }
                Ok(Inserted::Mark)
            }
        }
    }

    /// Takes in the next entry of the tar.
    pub fn insert<'e>(&mut self, entry: &'e Entry) -> Result<Inserted<'e>, Refused> {
        self.entries += 1;
        let (named, base) = split(&entry.path);
        let is_mark = base.starts_with(b".wh.");
        if let Some(directory) = self.latest.directory
            && named == self.latest.path
            && !is_mark
            && !base.is_empty()
            && self.knows(&entry.path)
            && self.tree.child(self.tree.place(directory), base).is_none()
        {
            check(&entry.path, &entry.path)?;
            self.gather(&entry.path);
            let content = self.content(entry, &entry.path)?;
            let node = self.tree.append(directory, base)?;
            self.tree.put(node, content);
            return Ok(Inserted::Name(Cow::Borrowed(&entry.path)));
        }
        self.latest.directory = None;
        let parent = placing::parent(&self.tree, named);
        if is_mark {
            check(&join(&parent.path, base), &entry.path)?;
            self.mark(&parent, &base[4..])?;
            return Ok(Inserted::Mark);
        }
        if entry.path.is_empty() {
            // The root is a directory whatever a tar says.
            if entry.kind != Kind::Directory {
                return Ok(Inserted::Mark);
            }
            let root = self.tree.make(Place::ROOT, b"")?;
            let content = self.content(entry, b"")?;
            self.tree.put(root, content);
            return Ok(Inserted::Name(Cow::Borrowed(b"")));
        }
        let path = join(&parent.path, base);
        check(&path, &entry.path)?;
        self.gather(&path);
        if !self.keeps(&parent, base, &path, &entry.kind) {
            self.charge(entry)?;
            self.imply_above(&path)?;
            return Ok(Inserted::Name(Cow::Owned(path)));
        }
        let content = self.content(entry, &path)?;
        let node = self.put(&parent, base, content)?;
        if parent.path == named {
            self.latest.path.clear();
            self.latest.path.extend_from_slice(named);
            self.latest.directory = self.tree.parent(node);
        }
        Ok(Inserted::Name(Cow::Owned(path)))
    }

    /// About how many names the layer has, kept or not.
    pub fn nodes(&self) -> usize {
        self.tree.nodes().max(self.entries)
    }

    /// The node of exactly this path.
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.tree.get(self.find(path)?)
    }

    /// Whether the layer hides `path` in the layers below it, except for what it holds there itself.
    pub fn hides_below(&self, path: &[u8]) -> bool {
        self.find(path).is_some_and(|place| {
            let marks = self.tree.marks(place);
            marks.deleted || marks.opaque
        })
    }

    /// The layer's names as a tree.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The place of exactly this path.
    pub(super) fn find(&self, path: &[u8]) -> Option<Place> {
        components(path).try_fold(Place::ROOT, |place, name| self.tree.child(place, name))
    }

    /// What `entry` puts at `path`, which is its own with links followed.
    fn content(&mut self, entry: &Entry, path: &[u8]) -> Result<Content, Refused> {
        let kind = match &entry.kind {
            Kind::Directory => NodeKind::Directory { implied: false },
            Kind::File { size, sparse } => {
                NodeKind::File(FileContent { data: DataOffset(entry.data_offset), size: *size, sparse: *sparse })
            }
            Kind::Symlink(target) => NodeKind::Symlink(target.clone().into()),
            Kind::Special(special) => NodeKind::Special(*special),
            Kind::HardLink(target) => match placing::link(&self.tree, path, target) {
                Linked::To(shared) => return Ok(Content::Entry(shared)),
                Linked::Below(target) => NodeKind::LinkBelow(target.into()),
                Linked::Nowhere => NodeKind::LinkNowhere(target.clone().into()),
            },
        };
        self.charge(entry)?;
        let xattrs = match entry.own_xattrs() {
            xattrs if self.xattrs.is_some() => xattrs.to_vec(),
            _ => Vec::new(),
        };
        let Entry { mode, uid, gid, mtime, .. } = *entry;
        let node = Node::new(kind, Metadata { mode, uid, gid, mtime, xattrs });
        Ok(Content::Entry(self.tree.describe(node)?))
    }

    /// What the layer has of the names that are `sought`; `None` where it does not know.
    pub(super) fn near(&self, sought: &Sought) -> Option<Near> {
        if self.kept.is_some() {
            return self.near.as_ref().filter(|near| near.sought == *sought).cloned();
        }
        let mut near = Near::new(sought);
        if let Some(directory) = self.find(&sought.directory) {
            self.tree.children(directory).for_each(|(name, _)| near.take_name(name));
        }
        self.tree.named(&sought.base).for_each(|path| near.take_path(&path));
        Some(near)
    }

    /// The names that were gathered for somebody.
    pub(super) fn gathered(&self) -> Option<&Near> {
        self.near.as_ref()
    }

    /// Has these names as those that were gathered.
    pub(super) fn set_near(&mut self, near: Near) {
        self.near = Some(near);
    }

    /// The same index, which gathers the names that are `sought` from the entries to come.
    pub(super) fn gathering(self, sought: Option<&Sought>) -> Self {
        LayerIndex { near: sought.map(Near::new), ..self }
    }

    /// Takes note of what is at `path`, if somebody looks for its name.
    fn gather(&mut self, path: &[u8]) {
        if let Some(near) = &mut self.near {
            near.take(path);
        }
    }

    /// Whether it knows what the layer says of the canonical `path`.
    pub(super) fn knows(&self, path: &[u8]) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.contains(path))
    }

    /// Whether it knows what the layer says of `name` in the directory at the canonical path `directory`.
    pub(super) fn knows_in(&self, directory: &[u8], name: &[u8]) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.contains_in(directory, name))
    }

    /// Whether it knows all that the layer has below the canonical `path`.
    pub(super) fn knows_below(&self, path: &[u8]) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.contains_all(path))
    }

    /// Whether an entry `name` in `parent`, whose canonical path is `path`, is to go into the tree: where the path is kept; where it is a
    /// symlink, which later entries may pass through; and where it takes the place of something that is in the tree.
    fn keeps(&self, parent: &Parent, name: &[u8], path: &[u8], kind: &Kind) -> bool {
        let is_symlink = |node: &Node| matches!(node.kind, NodeKind::Symlink(_));
        self.knows(path)
            || !self.tree.is_directory(parent.place)
            || (parent.is_there() && self.tree.child(parent.place, name).is_some())
            || match kind {
                Kind::Symlink(_) => true,
                Kind::HardLink(target) => {
                    matches!(placing::link(&self.tree, path, target), Linked::To(shared) if is_symlink(self.tree.described(shared)))
                }
                Kind::File { .. } | Kind::Directory | Kind::Special(_) => false,
            }
    }

    /// Takes note that there is something at `path`, which is not kept: what is kept above it is a directory.
    fn imply_above(&mut self, path: &[u8]) -> Result<(), Refused> {
        let reached = self.kept.as_ref().map_or(path.len(), |kept| kept.reaches(path));
        let above = &path[..reached];
        if self.get(above).is_none() {
            let node = self.tree.make(Place::ROOT, above)?;
            self.tree.put(node, Content::Implied);
        }
        Ok(())
    }

    /// Takes what the entry's extended attributes cost off what may be kept, whether or not it is kept itself.
    fn charge(&mut self, entry: &Entry) -> Result<(), Refused> {
        if let Some(left) = &mut self.xattrs {
            let size = entry.own_xattrs().iter().map(|(name, value)| XATTR_OVERHEAD + name.len() + value.len()).sum();
            *left = left.checked_sub(size).ok_or(Refused::TooManyXattrs)?;
        }
        Ok(())
    }

    /// Puts `content` under a name of `parent`. Whatever is no directory on the way there is replaced by one.
    fn put(&mut self, parent: &Parent, name: &[u8], content: Content) -> Result<NodeId, Refused> {
        if !self.tree.is_directory(parent.place) {
            self.tree.put(parent.place.node(), Content::Implied);
        }
        let id = self.tree.make(parent.place, &parent.rest(name))?;
        self.tree.put(id, content);
        Ok(id)
    }

    /// Takes in a whiteout. One below what the layer made a file of says what that has deleted anyway: `umoci repack`
    /// writes them so, where a file takes the place of a full directory.
    fn mark(&mut self, parent: &Parent, name: &[u8]) -> Result<(), Refused> {
        let is_opaque = name == b".wh..opq";
        // Other names of this form are AUFS' own bookkeeping.
        if !self.tree.is_directory(parent.place) || name.is_empty() || (name.starts_with(b".wh.") && !is_opaque) {
            return Ok(());
        }
        self.gather(&parent.path);
        let marked = if is_opaque { parent.path.clone() } else { join(&parent.path, name) };
        if !self.knows(&marked) {
            return self.imply_above(&marked);
        }
        let path = if is_opaque { parent.rest(b"") } else { parent.rest(name) };
        let id = self.tree.make(parent.place, path.strip_suffix(b"/").unwrap_or(&path))?;
        if is_opaque {
            if self.tree.get(self.tree.place(id)).is_none() {
                self.tree.put(id, Content::Implied);
            }
            self.tree.mark(id, |marks| marks.opaque = true);
        } else {
            self.tree.mark(id, |marks| marks.deleted = true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{directory, file, hard_link, index, symlink};
    use super::*;

    /// All names of the layer, in the byte order of their paths' components.
    fn paths(index: &LayerIndex) -> Vec<String> {
        let mut paths = Vec::new();
        let mut pending = vec![(String::new(), Place::ROOT)];
        while let Some((path, place)) = pending.pop() {
            for (name, child) in index.tree.children(place) {
                let name = String::from_utf8_lossy(name);
                let path = if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") };
                if index.tree.get(child).is_some() {
                    paths.push(path.clone());
                }
                pending.push((path, child));
            }
        }
        paths.sort();
        paths
    }

    #[test]
    fn children_are_the_direct_ones_in_order() {
        let index = index(&[file("a/b/c"), file("a/b-c"), file("a/b0"), file("ab"), directory("a/z")]);
        let names = |path: &[u8]| {
            let place = index.find(path).unwrap();
            index.tree.children(place).map(|(n, _)| String::from_utf8_lossy(n).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(b""), ["a", "ab"]);
        assert_eq!(names(b"a"), ["b", "b-c", "b0", "z"]);
        assert_eq!(names(b"a/b"), ["c"]);
        assert!(names(b"ab").is_empty());
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one_with_all_below_it() {
        let index = index(&[file("a/b/c"), symlink("a/b", "x")]);
        assert_eq!(paths(&index), ["a", "a/b"]);
        assert!(matches!(index.get(b"a/b").unwrap().kind, NodeKind::Symlink(_)));
    }

    #[test]
    fn an_entry_below_a_symlink_lands_where_the_link_leads() {
        let linked = index(&[directory("usr"), directory("usr/bin"), symlink("bin", "usr/bin"), file("bin/tool")]);
        assert!(linked.get(b"usr/bin/tool").is_some());
        assert!(linked.get(b"bin/tool").is_none());
        let held = index(&[symlink("up", "../../.."), file("up/etc/passwd")]);
        assert!(held.get(b"etc/passwd").is_some(), "{:?}", paths(&held));
    }

    #[test]
    fn a_symlink_loop_in_a_parent_is_no_endless_loop() {
        let index = index(&[symlink("a", "b"), symlink("b", "a"), file("a/c")]);
        assert!(index.get(b"a/c").is_some());
    }

    #[test]
    fn hard_links_share_the_data_and_those_to_nowhere_point_below() {
        let index = index(&[file("a"), hard_link("b", "a"), hard_link("c", "gone"), hard_link("d", "d")]);
        assert_eq!(index.get(b"b").unwrap().kind, index.get(b"a").unwrap().kind);
        assert!(matches!(&index.get(b"c").unwrap().kind, NodeKind::LinkBelow(target) if **target == *b"gone"));
        assert!(matches!(index.get(b"d").unwrap().kind, NodeKind::LinkNowhere(_)));
    }

    #[test]
    fn whiteouts_are_marks_not_names() {
        let index = index(&[file("d/.wh.gone"), file("o/.wh..wh..opq"), file(".wh..wh.plnk"), file("d/.wh.")]);
        assert!(index.hides_below(b"d/gone") && index.hides_below(b"o") && !index.hides_below(b"d"));
        assert_eq!(paths(&index), ["d", "o"]);
    }

    #[test]
    fn a_path_deeper_than_any_file_system_is_an_error() {
        let deep = vec!["d"; 2000].join("/");
        assert!(LayerIndex::default().insert(&file(&deep)).is_err());
    }

    #[test]
    fn an_entry_takes_little_more_than_a_quarter_of_its_header() {
        let mut index = LayerIndex::default();
        let entries = 120_000;
        for i in 0..entries {
            index.insert(&file(&format!("srv/data/d{:04}/file-{:04}.txt", i / 1000, i % 1000))).unwrap();
        }
        let bytes = index.tree.bytes();
        assert!(bytes <= 136 * entries, "{} bytes for each of {entries} entries", bytes / entries);
        assert!(index.tree.nodes() <= entries + 200);
    }

    #[test]
    fn names_that_follow_one_another_into_a_directory_are_what_they_would_be_alone() {
        let index = index(&[
            directory("d"),
            file("d/a"),
            symlink("d/b", "."),
            file("d/b/c"),
            file("d/c/x"),
            symlink("d/a", "/e"),
            file("d/a/y"),
            file("d/z"),
            symlink("d", "f"),
            file("d/z"),
            file("d/.wh.q"),
            file("d/q"),
            hard_link("d/r", "d/q"),
        ]);
        assert_eq!(paths(&index), ["d", "e", "e/y", "f", "f/q", "f/r", "f/z"]);
        assert_eq!(index.get(b"f/r"), index.get(b"f/q"));
    }

    #[test]
    fn an_owner_that_no_system_has_is_kept_all_the_same() {
        let entry = Entry { uid: u64::MAX, gid: 7, mtime: (-1, 999_999_999), mode: 0o4711, ..file("a") };
        let mut index = LayerIndex::default();
        index.insert(&entry).unwrap();
        let Metadata { mode, uid, gid, mtime, .. } = index.get(b"a").unwrap().metadata();
        assert_eq!((mode, uid, gid, mtime), (0o4711, u64::MAX, 7, (-1, 999_999_999)));
    }
}
