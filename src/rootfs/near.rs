//! Names of one layer like one that was asked for, gathered while its entries go by, so that nothing else need be kept for them.

use std::collections::BTreeSet;

use super::likeness::likeness;
use super::path::join;

/// How many names alike, and how many places of one base name, are gathered of a layer, as all but a few may have been deleted.
const MAX_GATHERED: usize = 100;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sought {
    /// The canonical path of a directory.
    pub(super) directory: Vec<u8>,
    /// The name that is not in it, which others there may be like.
    pub(super) name: Vec<u8>,
    /// The base name that may be elsewhere.
    pub(super) base: Vec<u8>,
}

/// What a layer has of it: 100 names and 100 paths at most.
#[derive(Clone, Debug)]
pub(super) struct Near {
    pub(super) sought: Sought,
    /// Paths in the directory, the likest first, with how far they are from the name.
    alike: BTreeSet<(usize, Vec<u8>)>,
    /// Paths that end in the base name, the first ones in byte order.
    elsewhere: BTreeSet<Vec<u8>>,
}

impl Near {
    pub(super) fn new(sought: &Sought) -> Self {
        Near { sought: sought.clone(), alike: BTreeSet::new(), elsewhere: BTreeSet::new() }
    }

    /// Takes in the canonical path of an entry, which says that there are directories above it, too.
    pub(super) fn take(&mut self, path: &[u8]) {
        let rest = match self.sought.directory.as_slice() {
            b"" => Some(path),
            directory => path.strip_prefix(directory).and_then(|rest| rest.strip_prefix(b"/")),
        };
        if let Some(name) = rest.and_then(|rest| rest.split(|byte| *byte == b'/').next()) {
            self.take_name(name);
        }
        let mut start = 0;
        for name in path.split(|byte| *byte == b'/') {
            let end = start + name.len();
            if name == self.sought.base {
                self.take_path(&path[..end]);
            }
            start = end + 1;
        }
    }

    /// Takes in a name of the directory.
    pub(super) fn take_name(&mut self, name: &[u8]) {
        if let Some(distance) = likeness(&self.sought.name, name) {
            self.alike.insert((distance, join(&self.sought.directory, name)));
            if self.alike.len() > MAX_GATHERED {
                self.alike.pop_last();
            }
        }
    }

    /// Takes in a path that ends in the base name.
    pub(super) fn take_path(&mut self, path: &[u8]) {
        if !path.is_empty() {
            self.elsewhere.insert(path.to_vec());
            if self.elsewhere.len() > MAX_GATHERED {
                self.elsewhere.pop_last();
            }
        }
    }

    /// Paths of the directory, with how far their names are from the one sought.
    pub(super) fn alike(&self) -> impl Iterator<Item = &(usize, Vec<u8>)> {
        self.alike.iter()
    }

    /// Paths that end in the base name.
    pub(super) fn elsewhere(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.elsewhere.iter()
    }
}
