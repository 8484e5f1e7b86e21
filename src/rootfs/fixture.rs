//! Layers as tests write them down.

use super::LayerIndex;
use crate::layer::entry::{Entry, Kind};

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
