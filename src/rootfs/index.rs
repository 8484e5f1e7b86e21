//! What one layer says about the rootfs: its entries by path, its whiteouts and its opaque directories.
//!
//! Entries go in, in the order of the tar, as an extraction into an empty directory would take them: a later entry replaces
//! an earlier one of the same name, a parent that is a symlink of this layer is followed, missing parents are implied.
//! Spec: OCI image-spec *Representing Changes* and *Whiteouts*.

use std::sync::Arc;

use super::placing::{Linked, Parent, check};
use super::tree::{Content, Full, Place, Tree};
use crate::layer::LayerError;
use crate::layer::entry::{Entry, Kind, Special};

/// The deepest path that is taken from a tar, in components. The kernel's `PATH_MAX` allows no useful path beyond.
pub(super) const MAX_DEPTH: usize = 1024;

/// The longest path that symlinks may make of a shorter one, in bytes: the kernel's `PATH_MAX`.
pub(super) const MAX_LINKED: usize = 4096;

/// How many bytes of extended attributes are kept of one layer at most.
const MAX_XATTRS: usize = 64 << 20;

/// What one extended attribute costs beside its bytes.
const XATTR_OVERHEAD: usize = 2 * size_of::<Vec<u8>>();

/// How many symlinks one path may lead through, as in the kernel (path_resolution(7)).
pub const MAX_SYMLINKS: usize = 40;

/// A file's place in the layer's tar: what makes two names hard links of one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataOffset(
    /// Bytes from the start of the uncompressed tar to the file's first data byte.
    pub u64,
);

/// One name of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u64,
    /// The owner's group ID.
    pub gid: u64,
    /// Modification time: seconds since the Unix epoch, and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes; none where the index does not keep them.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a name of a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file; hard links within the layer share the offset.
    File {
        /// The file's length in bytes, holes included.
        size: u64,
        /// Whether the tar stores it without its holes.
        sparse: bool,
        /// Where its data begins.
        data: DataOffset,
    },
    /// A directory.
    Directory {
        /// Whether the tar has no entry for it, only for something inside it.
        implied: bool,
    },
    /// A symbolic link, with its target as written.
    Symlink(Box<[u8]>),
    /// A hard link to a path that this layer does not hold, so that it must lie in a layer below.
    LinkBelow(Box<[u8]>),
    /// A hard link to what cannot be linked to: a directory, or what the link itself replaces. Engines refuse such a layer.
    LinkNowhere(Box<[u8]>),
    /// A device node or FIFO.
    Special(Special),
}

/// An entry that cannot be taken in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A path that no file system could hold.
    #[error("an entry's path has {depth} components, more than the {MAX_DEPTH} that are read")]
    TooDeep {
        /// How many it has, links followed.
        depth: usize,
    },
    /// A path that is long only because of the links in it, so that a short entry would cost much.
    #[error("an entry's path has {length} bytes when its links are followed, more than the {MAX_LINKED} that are read")]
    TooLong {
        /// How many it has.
        length: usize,
    },
    /// More extended attributes than are kept.
    #[error("a layer's extended attributes take more than {} MiB", MAX_XATTRS >> 20)]
    TooManyXattrs,
    /// More entries than can be counted.
    #[error("a layer has more than {} entries", u32::MAX)]
    TooMany,
}

impl Refused {
    /// The error of the layer whose entry with its header at `offset` (uncompressed bytes) was refused.
    pub fn at(&self, offset: u64) -> LayerError {
        match self {
            Refused::TooDeep { .. } | Refused::TooLong { .. } => {
                LayerError::Malformed { offset, problem: self.to_string() }
            }
            Refused::TooManyXattrs => LayerError::TooMuch {
                offset,
                most: format!("{} MiB of extended attributes", MAX_XATTRS >> 20),
                hint: "; without --preserve they are not needed",
            },
            Refused::TooMany => LayerError::TooMuch { offset, most: format!("{} entries", u32::MAX), hint: "" },
        }
    }
}

impl From<Full> for Refused {
    fn from(Full: Full) -> Self {
        Refused::TooMany
    }
}

/// One layer's entries by path. What an entry costs here is bounded by what it costs in the tar.
#[derive(Debug, Default)]
pub struct LayerIndex {
    tree: Tree,
    /// How many bytes of extended attributes may still be kept, where any are.
    xattrs: Option<usize>,
}

/// What an entry turned out to be when it went into the index.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    /// A name that can now be looked up under this path: the entry's, with symlinked parents followed.
    Name(Vec<u8>),
    /// A mark for the layers below.
    Mark,
}

impl LayerIndex {
    /// An index that keeps extended attributes, or, as [`LayerIndex::default`], drops them.
    pub fn keeping_xattrs(keep: bool) -> Self {
        LayerIndex { xattrs: keep.then_some(MAX_XATTRS), ..LayerIndex::default() }
    }

    /// Takes in the next entry of the tar.
    pub fn insert(&mut self, entry: &Entry) -> Result<Inserted, Refused> {
        let (parent, base) = split(&entry.path);
        let parent = self.parent(parent);
        if base.starts_with(b".wh.") {
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
            let node = self.node(entry, NodeKind::Directory { implied: false })?;
            self.tree.put(root, Content::Entry(node.into()));
            return Ok(Inserted::Name(Vec::new()));
        }
        let path = join(&parent.path, base);
        check(&path, &entry.path)?;
        let kind = match &entry.kind {
            Kind::Directory => NodeKind::Directory { implied: false },
            Kind::File { size, sparse } => {
                NodeKind::File { size: *size, sparse: *sparse, data: DataOffset(entry.data_offset) }
            }
            Kind::Symlink(target) => NodeKind::Symlink(target.clone().into()),
            Kind::Special(special) => NodeKind::Special(*special),
            Kind::HardLink(target) => match self.link(&path, target) {
                Linked::To(shared) => {
                    self.put(&parent, base, shared)?;
                    return Ok(Inserted::Name(path));
                }
                Linked::Below(target) => NodeKind::LinkBelow(target.into()),
                Linked::Nowhere => NodeKind::LinkNowhere(target.clone().into()),
            },
        };
        let node = self.node(entry, kind)?;
        self.put(&parent, base, node.into())?;
        Ok(Inserted::Name(path))
    }

    /// How many nodes its tree has: about as many as the layer has names.
    pub fn nodes(&self) -> usize {
        self.tree.nodes()
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

    fn node(&mut self, entry: &Entry, kind: NodeKind) -> Result<Node, Refused> {
        let mut xattrs = Vec::new();
        if let Some(left) = &mut self.xattrs {
            let size = entry.xattrs.iter().map(|(name, value)| XATTR_OVERHEAD + name.len() + value.len()).sum();
            *left = left.checked_sub(size).ok_or(Refused::TooManyXattrs)?;
            xattrs.clone_from(&entry.xattrs);
        }
        Ok(Node { kind, mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs })
    }

    /// Puts `node` under a name of `parent`. Whatever is no directory on the way there is replaced by one.
    fn put(&mut self, parent: &Parent, name: &[u8], node: Arc<Node>) -> Result<(), Refused> {
        if !self.is_directory(parent.place) {
            self.tree.put(parent.place.node(), Content::Implied);
        }
        let id = self.tree.make(parent.place, &parent.rest(name))?;
        self.tree.put(id, Content::Entry(node));
        Ok(())
    }

    /// Takes in a whiteout. One below what the layer made a file of says what that has deleted anyway: `umoci repack`
    /// writes them so, where a file takes the place of a full directory.
    fn mark(&mut self, parent: &Parent, name: &[u8]) -> Result<(), Refused> {
        let is_opaque = name == b".wh..opq";
        // Other names of this form are AUFS' own bookkeeping.
        if !self.is_directory(parent.place) || name.is_empty() || (name.starts_with(b".wh.") && !is_opaque) {
            return Ok(());
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

    /// Whether something can be put below `place`; what has been deleted can be made anew.
    pub(super) fn is_directory(&self, place: Place) -> bool {
        self.tree.get(place).is_none_or(|node| matches!(node.kind, NodeKind::Directory { .. }))
    }
}

/// The first component of `path`, and what is behind it.
pub(super) fn next_component(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = path;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        rest = behind.get(1..).unwrap_or_default();
        if !name.is_empty() && name != b"." {
            return Some((name, rest));
        }
    }
    None
}

/// A path's components, without empty ones and `.`; `..` is kept.
pub fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// A canonical path's parent (empty for the root) and base name.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// The canonical path of `name` in the directory `parent`.
pub fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(parent.len() + 1 + name.len());
    path.extend_from_slice(parent);
    push(&mut path, name);
    path
}

/// Makes the canonical path of a directory that of `name` in it.
pub(super) fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An entry as a tar would give it.
    pub fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            path: path.as_bytes().to_vec(),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: Vec::new(),
            header_offset: 0,
            data_offset: 512,
        }
    }

    pub fn file(path: &str) -> Entry {
        entry(path, Kind::File { size: 1, sparse: false })
    }

    pub fn directory(path: &str) -> Entry {
        entry(path, Kind::Directory)
    }

    pub fn symlink(path: &str, target: &str) -> Entry {
        entry(path, Kind::Symlink(target.into()))
    }

    pub fn hard_link(path: &str, target: &str) -> Entry {
        entry(path, Kind::HardLink(target.into()))
    }

    pub fn index(entries: &[Entry]) -> LayerIndex {
        let mut index = LayerIndex::default();
        for (i, entry) in entries.iter().enumerate() {
            let data_offset = (i as u64 + 1) * 1024;
            index.insert(&Entry { data_offset, ..entry.clone() }).unwrap();
        }
        index
    }

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
}
