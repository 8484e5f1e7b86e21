//! From a pattern to the paths that match it: one walk down the tree, which looks into a directory once for each part of the
//! pattern at most, however many names and links lead there.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::Pattern;
use super::states::States;
use crate::rootfs::node::NodeKind;
use crate::rootfs::path::join;
use crate::rootfs::spread::Directory;
use crate::rootfs::view::{Child, View};
use crate::rootfs::walk::{Found, leaf, resolve};

impl Pattern {
    /// The paths that match, in byte order, as they are reached (a link that leads to a directory on the way is part of
    /// the path); `None` while a layer that is not in the view could add one. What lies in a directory that matches
    /// belongs to that match, and is none by itself. A directory that several links lead to is looked into once, under
    /// its own path where that matches as well.
    pub fn expand(&self, view: &View<'_>) -> Option<Vec<Vec<u8>>> {
        let mut walk =
            Walk { pattern: self, view, seen: Seen::default(), jumps: VecDeque::new(), found: BTreeSet::new() };
        walk.jumps.push_back((Vec::new(), view.root(), self.states_at(0)));
        while let Some((path, directory, states)) = walk.jumps.pop_front() {
            walk.descend(path, directory, states)?;
        }
        Some(walk.found.into_iter().collect())
    }
}

struct Walk<'a, 'v> {
    pattern: &'a Pattern,
    view: &'a View<'v>,
    seen: Seen,
    /// Directories that are still to be looked into, with the paths that links or `..` lead there by.
    jumps: VecDeque<(Vec<u8>, Directory, States)>,
    found: BTreeSet<Vec<u8>>,
}

/// A directory that is being looked into.
struct Level {
    directory: Directory,
    /// Where its path, as reached, ends in the path of the deepest level.
    path_ends: usize,
    states: States,
    children: std::vec::IntoIter<(Vec<u8>, Child)>,
}

impl Walk<'_, '_> {
    /// Looks into `directory`, which is reached as `path`, and all below that can matter. No recursion: a tree may be deep.
    fn descend(&mut self, mut path: Vec<u8>, directory: Directory, states: States) -> Option<()> {
        let mut levels = Vec::new();
        levels.extend(self.enter(&path, directory, &states)?);
        while let Some(level) = levels.last_mut() {
            let Some((name, child)) = level.children.next() else {
                levels.pop();
                continue;
            };
            let step = self.pattern.step(&level.states, &name);
            path.truncate(level.path_ends);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            match child {
                Child::Directory(below) => levels.extend(self.enter(&path, below, &step.states)?),
                Child::Leaf { layer } if !step.named.is_empty() => {
                    let real = join(&level.directory.path, &name);
                    let is_link = match leaf(self.view, layer, &real) {
                        Found::Leaf(found) => matches!(found.node.kind, NodeKind::Symlink(_)),
                        Found::Unknown { .. } => return None,
                        // A hard link to nothing is told by whoever wants it.
                        _ => false,
                    };
                    if step.is_match {
                        self.found.insert(path.clone());
                    } else if is_link {
                        self.jump(&path, &real, step.named)?;
                    }
                }
                Child::Leaf { .. } | Child::Absent { .. } => {}
                Child::Unknown => return None,
            }
        }
        Some(())
    }

    /// Begins with a directory, unless all that `states` could find there was looked for before.
    fn enter(&mut self, path: &[u8], directory: Directory, states: &States) -> Option<Option<Level>> {
        let states = self.seen.add(&directory.path, states);
        if states.is_empty() {
            return Some(None);
        }
        if self.pattern.is_match(&states) {
            self.found.insert(path.to_vec());
            return Some(None);
        }
        let up = self.pattern.step_up(&states);
        if !up.is_empty() {
            let parent = join(&directory.path, b"..");
            self.jump(&join(path, b".."), &parent, up)?;
        }
        let children = match self.pattern.next_names(&states) {
            None => self.view.is_complete(&directory).then(|| self.view.list_seen(&directory))?,
            Some(names) => names.into_iter().map(|name| (name.to_vec(), self.view.child(&directory, name))).collect(),
        };
        Some(Some(Level { directory, path_ends: path.len(), states, children: children.into_iter() }))
    }

    /// Notes that the directory that `real` leads to is to be looked into as `path`.
    fn jump(&mut self, path: &[u8], real: &[u8], states: States) -> Option<()> {
        match resolve(self.view, real, true) {
            Found::Directory(directory) => self.jumps.push_back((path.to_vec(), directory, states)),
            Found::Unknown { .. } => return None,
            // A link to something else has nothing below it.
            _ => {}
        }
        Some(())
    }
}

/// What was looked for in which directory: a fixed number of bytes for each directory, however long its path. Paths are
/// told apart by a hash of 128 bits with a key that no image can know.
#[derive(Default)]
struct Seen {
    keys: [RandomState; 2],
    states: HashMap<[u64; 2], States>,
}

impl Seen {
    /// Those of `states` that are new to the directory.
    fn add(&mut self, directory: &[u8], states: &States) -> States {
        let key = [self.keys[0].hash_one(directory), self.keys[1].hash_one(directory)];
        self.states.entry(key).or_default().absorb(states)
    }
}
