//! What one layer says about the rootfs: its entries by path, its whiteouts and its opaque directories.
//!
//! Entries go in, in the order of the tar, as an extraction into an empty directory would take them: a later entry replaces
//! an earlier one of the same name, a parent that is a symlink of this layer is followed, missing parents are implied.
//! Spec: OCI image-spec *Representing Changes* and *Whiteouts*.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::layer::entry::{Entry, Kind, Special};

/// The deepest path that is taken from a tar, in components. The kernel's `PATH_MAX` allows no useful path beyond.
const MAX_DEPTH: usize = 1024;

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
    /// Extended attributes.
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
    /// A device node or FIFO.
    Special(Special),
}

/// A path that no file system could hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry's path has {depth} components, more than the {MAX_DEPTH} that are read")]
pub struct TooDeep {
    depth: usize,
}

/// One layer's entries by path.
#[derive(Debug, Default)]
pub struct LayerIndex {
    nodes: BTreeMap<Vec<u8>, Node>,
    whiteouts: HashSet<Vec<u8>>,
    opaque: BTreeSet<Vec<u8>>,
    /// The parent last made sure of, as named and as it really is: entries come directory by directory.
    last_parent: Option<(Vec<u8>, Vec<u8>)>,
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
    /// Takes in the next entry of the tar.
    pub fn insert(&mut self, entry: &Entry) -> Result<Inserted, TooDeep> {
        let depth = entry.path.iter().filter(|byte| **byte == b'/').count() + 1;
        if depth > MAX_DEPTH {
            return Err(TooDeep { depth });
        }
        let (parent, base) = split(&entry.path);
        if base.starts_with(b".wh.") {
            let parent = self.make_parent(parent);
            match &base[4..] {
                b".wh..opq" => drop(self.opaque.insert(parent)),
                // Other names of this form are AUFS' own bookkeeping.
                name if name.starts_with(b".wh.") || name.is_empty() => {}
                name => drop(self.whiteouts.insert(join(&parent, name))),
            }
            return Ok(Inserted::Mark);
        }
        let path = if entry.path.is_empty() { Vec::new() } else { join(&self.make_parent(parent), base) };
        let mut node = Node {
            kind: NodeKind::Directory { implied: false },
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
        };
        match &entry.kind {
            Kind::Directory => {}
            // The root is a directory whatever a tar says.
            _ if path.is_empty() => return Ok(Inserted::Mark),
            Kind::File { size, sparse } => {
                node.kind = NodeKind::File { size: *size, sparse: *sparse, data: DataOffset(entry.data_offset) };
            }
            Kind::Symlink(target) => node.kind = NodeKind::Symlink(target.clone().into()),
            Kind::Special(special) => node.kind = NodeKind::Special(*special),
            Kind::HardLink(target) => {
                let (target_parent, target_base) = split(target);
                let target = join(&self.real_directory(target_parent), target_base);
                match self.nodes.get(&target) {
                    Some(linked) if target != path && !matches!(linked.kind, NodeKind::Directory { .. }) => {
                        node = linked.clone();
                    }
                    _ => node.kind = NodeKind::LinkBelow(target.into()),
                }
            }
        }
        self.put(path.clone(), node);
        Ok(Inserted::Name(path))
    }

    /// The node of exactly this path.
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Whether the layer hides `path` in the layers below it, but for what it holds there itself.
    pub fn hides_below(&self, path: &[u8]) -> bool {
        self.whiteouts.contains(path) || self.opaque.contains(path)
    }

    /// The names in the directory `path`, in byte order.
    pub fn children<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let prefix = if path.is_empty() { Vec::new() } else { join(path, b"") };
        let prefix_length = prefix.len();
        let mut from = prefix;
        std::iter::from_fn(move || {
            loop {
                let (key, _) = self.nodes.range(from.clone()..).next()?;
                let rest = key.get(prefix_length..).filter(|_| key[..prefix_length] == from[..prefix_length])?;
                let name = rest.split(|byte| *byte == b'/').next().unwrap_or(rest);
                // The next key that is not below this one: '0' is the byte after '/'.
                from.truncate(prefix_length);
                from.extend_from_slice(name);
                from.push(if rest.len() == name.len() { 0 } else { b'0' });
                if !name.is_empty() && rest.len() == name.len() {
                    return Some(&key[prefix_length..]);
                }
            }
        })
    }

    /// All paths of the layer, in byte order.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.keys().map(Vec::as_slice)
    }

    /// Puts `node` at `path`, as an extraction would: a directory keeps what is in it, anything else replaces it all.
    fn put(&mut self, path: Vec<u8>, node: Node) {
        let was_directory = self.nodes.get(&path).is_some_and(|there| matches!(there.kind, NodeKind::Directory { .. }));
        let is_directory = matches!(node.kind, NodeKind::Directory { .. });
        if was_directory && !is_directory {
            let below = join(&path, b"");
            let inside: Vec<Vec<u8>> = self
                .nodes
                .range(below.clone()..)
                .map(|(key, _)| key)
                .take_while(|key| key.starts_with(&below))
                .cloned()
                .collect();
            for key in inside {
                self.nodes.remove(&key);
            }
        }
        if !is_directory {
            // A file or link may stand where the remembered parent leads through.
            self.last_parent = None;
        }
        self.nodes.insert(path, node);
    }

    /// Makes sure that the directory `path` exists, following this layer's symlinks, and gives its real path.
    fn make_parent(&mut self, path: &[u8]) -> Vec<u8> {
        if let Some((named, real)) = &self.last_parent
            && named == path
        {
            return real.clone();
        }
        let real = self.real_directory(path);
        for end in ends(&real) {
            let ancestor = &real[..end];
            let is_directory =
                self.nodes.get(ancestor).is_some_and(|node| matches!(node.kind, NodeKind::Directory { .. }));
            if !is_directory {
                let implied = Node {
                    kind: NodeKind::Directory { implied: true },
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                    mtime: (0, 0),
                    xattrs: Vec::new(),
                };
                self.put(ancestor.to_vec(), implied);
            }
        }
        self.last_parent = Some((path.to_vec(), real.clone()));
        real
    }

    /// Where the directory `path` really is when this layer's own symlinks are followed. A loop, or a path through more
    /// than [`MAX_SYMLINKS`] links, stays as it is named.
    fn real_directory(&self, path: &[u8]) -> Vec<u8> {
        let mut links = 0;
        let mut real: Vec<u8> = Vec::new();
        let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        while let Some(component) = pending.pop() {
            if component == b".." {
                real.truncate(split(&real).0.len());
                continue;
            }
            let next = join(&real, &component);
            match self.nodes.get(&next).map(|node| &node.kind) {
                Some(NodeKind::Symlink(target)) => {
                    links += 1;
                    if links > MAX_SYMLINKS || pending.len() > MAX_DEPTH {
                        return path.to_vec();
                    }
                    if target.starts_with(b"/") {
                        real.clear();
                    }
                    pending.extend(components(target).rev().map(<[u8]>::to_vec));
                }
                _ => real = next,
            }
        }
        real
    }
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
    if !parent.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Where each component of a canonical path ends, so that `path[..end]` is each ancestor in turn and then the path.
fn ends(path: &[u8]) -> impl Iterator<Item = usize> {
    let inner = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    inner.chain((!path.is_empty()).then_some(path.len()))
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

    fn paths(index: &LayerIndex) -> Vec<String> {
        index.paths().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }

    #[test]
    fn children_are_the_direct_ones_in_order() {
        let index = index(&[file("a/b/c"), file("a/b-c"), file("a/b0"), file("ab"), directory("a/z")]);
        let names =
            |path: &[u8]| index.children(path).map(|n| String::from_utf8_lossy(n).into_owned()).collect::<Vec<_>>();
        assert_eq!(names(b""), ["a", "ab"]);
        let mut in_a = names(b"a");
        in_a.sort();
        assert_eq!(in_a, ["b", "b-c", "b0", "z"]);
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
        assert!(matches!(index.get(b"d").unwrap().kind, NodeKind::LinkBelow(_)));
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
