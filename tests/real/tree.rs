//! A tree of files as plain data, read from a tar stream or from a directory, so that two views of one image can be compared path by path.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Paths without leading or trailing slashes, and what is at each. The root itself is not among them.
#[derive(Clone, Default)]
pub struct Tree(pub BTreeMap<Vec<u8>, Node>);

/// What is at one path.
#[derive(Clone)]
pub struct Node {
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub owner: (u64, u64),
    /// Seconds since the epoch.
    pub modified: i64,
    /// The same number for all the names of one inode.
    pub inode: u64,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Kind {
    File { bytes: u64, digest: [u8; 32] },
    Directory,
    Symlink(Vec<u8>),
    Fifo,
    Device,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { bytes, digest } => {
                write!(
                    f,
                    "file of {bytes} bytes, sha256 {:02x}{:02x}{:02x}{:02x}…",
                    digest[0], digest[1], digest[2], digest[3]
                )
            }
            Self::Directory => f.write_str("directory"),
            Self::Symlink(target) => write!(f, "link to {}", target.escape_ascii()),
            Self::Fifo => f.write_str("fifo"),
            Self::Device => f.write_str("device"),
        }
    }
}

/// Which metadata counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// Read, write and execute permissions: what an ordinary `get` keeps.
    Permissions,
    /// Also setuid, setgid, sticky and the owner: what `get --preserve` keeps.
    Everything,
}

impl Tree {
    /// Reads a tar stream to its end. Hard links get the inode of what they name.
    pub fn from_tar(stream: &mut dyn Read) -> Self {
        let mut tree = Self::default();
        let mut archive = tar::Archive::new(stream);
        for (number, entry) in archive.entries().unwrap().enumerate() {
            let mut entry = entry.unwrap();
            let path = normal(&entry.path_bytes());
            let target = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
            let header = entry.header().clone();
            let kind = match header.entry_type() {
                tar::EntryType::Directory => Kind::Directory,
                tar::EntryType::Symlink => Kind::Symlink(target),
                tar::EntryType::Fifo => Kind::Fifo,
                tar::EntryType::Char | tar::EntryType::Block => Kind::Device,
                tar::EntryType::Link => {
                    let node = tree
                        .0
                        .get(&normal(&target))
                        .unwrap_or_else(|| panic!("{}: hard link to what is not there", show(&path)));
                    let node = node.clone();
                    tree.0.insert(path, node);
                    continue;
                }
                _ => content(&mut entry),
            };
            let node = Node {
                kind,
                mode: header.mode().unwrap() & 0o7777,
                owner: (header.uid().unwrap(), header.gid().unwrap()),
                modified: header.mtime().unwrap() as i64,
                inode: number as u64,
            };
            tree.0.insert(path, node);
        }
        tree.0.remove(&b""[..]);
        tree
    }

    /// Reads everything below `dir`.
    pub fn from_directory(dir: &Path) -> Self {
        let mut tree = Self::default();
        let mut open = vec![dir.to_owned()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let file_type = metadata.file_type();
                let kind = if file_type.is_dir() {
                    open.push(path.clone());
                    Kind::Directory
                } else if file_type.is_symlink() {
                    Kind::Symlink(fs::read_link(&path).unwrap().into_os_string().into_vec())
                } else if file_type.is_file() {
                    content(&mut fs::File::open(&path).unwrap())
                } else if metadata.mode() & 0o170000 == 0o010000 {
                    Kind::Fifo
                } else {
                    Kind::Device
                };
                let node = Node {
                    kind,
                    mode: metadata.mode() & 0o7777,
                    owner: (metadata.uid().into(), metadata.gid().into()),
                    modified: metadata.mtime(),
                    inode: metadata.ino(),
                };
                tree.0.insert(path.strip_prefix(dir).unwrap().as_os_str().as_bytes().to_vec(), node);
            }
        }
        tree
    }

    /// The same tree without the paths that `drop` picks.
    pub fn without(mut self, drop: impl Fn(&[u8], &Node) -> bool) -> Self {
        self.0.retain(|path, node| !drop(path, node));
        self
    }

    /// # Panics
    /// Where `self`, which `what` names, is not the same as `expected`: with up to forty of the differences, one a line.
    pub fn assert_same(&self, expected: &Self, metadata: Metadata, what: &str) {
        let differences = self.differences(expected, metadata);
        let shown: Vec<&str> = differences.iter().take(40).map(String::as_str).collect();
        assert!(differences.is_empty(), "{what}: {} differences\n{}", differences.len(), shown.join("\n"));
        assert!(!expected.0.is_empty(), "{what}: nothing was compared");
    }

    fn differences(&self, expected: &Self, metadata: Metadata) -> Vec<String> {
        let mut all = Vec::new();
        let paths: BTreeSet<_> = self.0.keys().chain(expected.0.keys()).collect();
        for path in paths {
            let name = show(path);
            match (self.0.get(path), expected.0.get(path)) {
                (None, Some(there)) => all.push(format!("{name}: missing, should be a {:?}", there.kind)),
                (Some(ours), None) => all.push(format!("{name}: should not be there, is a {:?}", ours.kind)),
                (Some(ours), Some(theirs)) => compare(&name, ours, theirs, metadata, &mut all),
                (None, None) => {}
            }
        }
        let (ours, theirs) = (self.hard_links(), expected.hard_links());
        all.extend(
            theirs.difference(&ours).map(|group| format!("not one inode, but should be: {}", group.join(" = "))),
        );
        all.extend(
            ours.difference(&theirs).map(|group| format!("one inode, but should not be: {}", group.join(" = "))),
        );
        all
    }

    /// The groups of regular files that are one inode.
    fn hard_links(&self) -> BTreeSet<Vec<String>> {
        let mut groups: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (path, node) in self.0.iter().filter(|(_, node)| matches!(node.kind, Kind::File { .. })) {
            groups.entry(node.inode).or_default().push(show(path));
        }
        groups.into_values().filter(|names| names.len() > 1).collect()
    }
}

fn compare(name: &str, ours: &Node, theirs: &Node, metadata: Metadata, all: &mut Vec<String>) {
    if ours.kind != theirs.kind {
        return all.push(format!("{name}: is a {:?}, should be a {:?}", ours.kind, theirs.kind));
    }
    let everything = metadata == Metadata::Everything;
    if everything && ours.owner != theirs.owner {
        all.push(format!("{name}: belongs to {:?}, should to {:?}", ours.owner, theirs.owner));
    }
    if matches!(ours.kind, Kind::Symlink(_)) {
        return;
    }
    let expected = if everything { theirs.mode } else { theirs.mode & 0o777 };
    if ours.mode != expected {
        all.push(format!("{name}: has mode {:04o}, should have {expected:04o}", ours.mode));
    }
    // The engine keeps nanoseconds and rounds them when it writes a layer.
    if matches!(ours.kind, Kind::File { .. }) && (ours.modified - theirs.modified).abs() > 1 {
        all.push(format!("{name}: was modified at {}, should have been at {}", ours.modified, theirs.modified));
    }
}

fn content(reader: &mut dyn Read) -> Kind {
    let mut hash = Sha256::new();
    let (mut bytes, mut buffer) = (0, [0; 64 * 1024]);
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => return Kind::File { bytes, digest: hash.finalize().into() },
            count => {
                hash.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

/// A path as a person can read it, whatever bytes it is made of.
pub fn show(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

fn normal(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&OsStr> = Path::new(OsStr::from_bytes(path))
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>().join(&b'/')
}

impl Kind {
    /// A regular file with this content.
    pub fn of(mut bytes: &[u8]) -> Self {
        content(&mut bytes)
    }
}
