//! What walks through a view have found out: the directories that they came through, and where symlinks lead. So each name on
//! the way is looked up in the layers once, and each link is followed once, however many paths lead through them.

use std::collections::HashMap;

use super::depth::Depth;
use super::spread::Spread;
use super::tree::{NodeId, Place};

/// How many places in layers the directories may take, at 16 bytes each, before all is forgotten and begun anew.
const MAX_PLACES: usize = 1 << 21;

/// A directory that a walk came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirectoryId(usize);

/// A symlink: the layer that the walk began at, the layer that has the link, and its node there.
pub(super) type LinkId = (Depth, Depth, NodeId);

#[derive(Debug)]
struct Passed {
    /// The directory above and the name in it; none for a root.
    above: Option<(DirectoryId, Box<[u8]>)>,
    spread: Spread,
    below: HashMap<Box<[u8]>, DirectoryId>,
}

/// Where following a symlink came to, and what that took of a path's allowance.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) end: End,
    /// How many further links were followed; of [`End::Loop`], how many had been.
    pub(super) links: usize,
    /// How many names of targets were walked; of [`End::Loop`], how many had been.
    pub(super) steps: usize,
}

/// Where a symlink leads, whatever comes after it in a path.
#[derive(Clone, Debug)]
pub(super) enum End {
    Directory(DirectoryId),
    Leaf {
        directory: DirectoryId,
        name: Box<[u8]>,
        layer: Depth,
        place: Place,
    },
    Absent {
        directory: DirectoryId,
        name: Box<[u8]>,
        deleted_by: Option<Depth>,
    },
    NotADirectory {
        path: Box<[u8]>,
    },
    /// Too far, for a path that has used this much of its allowance, or more.
    Loop,
}

/// All of it, for one view.
#[derive(Debug, Default)]
pub(super) struct Ways {
    passed: Vec<Passed>,
    /// How many places the directories take.
    places: usize,
    roots: HashMap<Depth, DirectoryId>,
    followed: HashMap<LinkId, Followed>,
}

impl Ways {
    /// The root of the layers from `top` down, which `spread` makes.
    pub(super) fn root(&mut self, top: Depth, spread: impl FnOnce() -> Spread) -> DirectoryId {
        if self.places > MAX_PLACES {
            *self = Ways::default();
        }
        match self.roots.get(&top) {
            Some(root) => *root,
            None => {
                let root = self.pass(None, spread());
                self.roots.insert(top, root);
                root
            }
        }
    }

    /// What is known as `name` in `directory`.
    pub(super) fn below(&self, directory: DirectoryId, name: &[u8]) -> Option<DirectoryId> {
        self.passed[directory.0].below.get(name).copied()
    }

    /// Takes in that `name` in `directory` is a directory.
    pub(super) fn add(&mut self, directory: DirectoryId, name: &[u8], spread: Spread) -> DirectoryId {
        let added = self.pass(Some((directory, name.into())), spread);
        self.passed[directory.0].below.insert(name.into(), added);
        added
    }

    /// The directory above; none above a root.
    pub(super) fn above(&self, directory: DirectoryId) -> Option<DirectoryId> {
        self.passed[directory.0].above.as_ref().map(|(above, _)| *above)
    }

    pub(super) fn spread(&self, directory: DirectoryId) -> &Spread {
        &self.passed[directory.0].spread
    }

    /// The directory's canonical path.
    pub(super) fn path(&self, directory: DirectoryId) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut here = &self.passed[directory.0];
        while let Some((above, name)) = &here.above {
            names.push(name);
            here = &self.passed[above.0];
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Where `link` leads, if that is known.
    pub(super) fn followed(&self, link: LinkId) -> Option<&Followed> {
        self.followed.get(&link)
    }

    /// Remembers where `link` leads.
    pub(super) fn follow(&mut self, link: LinkId, followed: Followed) {
        self.followed.insert(link, followed);
    }

    fn pass(&mut self, above: Option<(DirectoryId, Box<[u8]>)>, spread: Spread) -> DirectoryId {
        // What else a directory takes is worth some places, too.
        self.places += spread.places() + 8;
        self.passed.push(Passed { above, spread, below: HashMap::new() });
        DirectoryId(self.passed.len() - 1)
    }
}
