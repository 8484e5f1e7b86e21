//! Stacks of layers from a seed, with names so few that they collide all the time.

use std::collections::{BTreeMap, BTreeSet};

use super::{StackEntry, What};
use crate::support::Random;

/// Names that sort before and after a slash, hide, and are no ASCII.
const NAMES: [&str; 7] = ["a", "b", "a.", "a0", "-", "ü", ".wx"];

/// Two to six layers, the lowest first: the same for the same seed, always.
pub fn generate(seed: u64) -> Vec<Vec<StackEntry>> {
    let mut generator = Generator { random: Random::new(seed), merged: BTreeMap::new(), contents: 0 };
    let layers = 2 + generator.random.below(5);
    (0..layers).map(|layer| generator.layer(layer == 0)).collect()
}

/// The kinds that matter to what may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Directory,
    Implied,
    File,
    Other,
}

impl Type {
    fn is_directory(self) -> bool {
        matches!(self, Type::Directory | Type::Implied)
    }
}

struct Generator {
    random: Random,
    /// The tree as the layers so far make it.
    merged: BTreeMap<String, Type>,
    contents: u64,
}

/// A layer in the making.
#[derive(Default)]
struct Layer {
    entries: Vec<StackEntry>,
    tree: BTreeMap<String, Type>,
    modes: BTreeMap<String, u32>,
    whiteouts: BTreeSet<String>,
    opaque: BTreeSet<String>,
    /// Where a directory was replaced: nothing further happens there.
    sealed: BTreeSet<String>,
}

/// One of `from`, if there is one.
fn pick<T: Clone>(random: &mut Random, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| random.one_of(from).clone())
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(slash, _)| &path[..slash])
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a link at one path would take the place of the other, or make a directory of it.
fn are_on_one_line(path: &str, other: &str) -> bool {
    path == other || is_below(path, other) || is_below(other, path)
}

impl Layer {
    /// Whether an entry's parents can be there: as directories, made by earlier entries or implied.
    fn may_hold(&self, path: &str) -> bool {
        ancestors(path).all(|ancestor| match self.tree.get(ancestor) {
            Some(kind) => kind.is_directory() && !self.sealed.contains(ancestor),
            None => !self.whiteouts.contains(ancestor),
        }) && !self.sealed.contains(path)
    }

    fn is_in_opaque(&self, path: &str) -> bool {
        ancestors(path).any(|ancestor| self.opaque.contains(ancestor))
    }

    /// Whether the layer leaves a lower layer's path as it is.
    fn leaves_alone(&self, path: &str) -> bool {
        !self.tree.contains_key(path)
            && !self.whiteouts.contains(path)
            && !self.is_in_opaque(path)
            && ancestors(path).all(|ancestor| {
                !self.whiteouts.contains(ancestor) && self.tree.get(ancestor).is_none_or(|kind| kind.is_directory())
            })
    }

    fn put(&mut self, path: &str, what: What, mode: u32) {
        for ancestor in ancestors(path) {
            self.tree.entry(ancestor.to_owned()).or_insert(Type::Implied);
        }
        let kind = match what {
            What::Directory => Type::Directory,
            What::File(_) => Type::File,
            _ => Type::Other,
        };
        if !kind.is_directory() && self.tree.get(path).is_some_and(|there| there.is_directory()) {
            self.tree.retain(|there, _| !is_below(there, path));
            self.sealed.insert(path.to_owned());
        }
        self.tree.insert(path.to_owned(), kind);
        self.modes.insert(path.to_owned(), mode);
        self.entries.push(StackEntry { path: path.to_owned(), what, mode });
    }
}

impl Generator {
    fn layer(&mut self, is_base: bool) -> Vec<StackEntry> {
        let mut layer = Layer::default();
        let steps = if is_base { 6 + self.random.below(20) } else { 1 + self.random.below(14) };
        for _ in 0..steps {
            match self.random.below(20) {
                0..4 => self.add_directory(&mut layer),
                4..9 => self.add_file(&mut layer),
                9..12 => self.add_symlink(&mut layer),
                12..14 => self.add_hard_link(&mut layer),
                14 => self.add_hard_link_below(&mut layer),
                15 => self.add_fifo(&mut layer),
                16..19 => self.add_whiteout(&mut layer),
                _ => self.add_opaque(&mut layer),
            }
        }
        self.merge(&layer);
        layer.entries
    }

    /// A path: mostly in or at something that is there already.
    fn path(&mut self, layer: &Layer) -> String {
        let known: Vec<&String> = self.merged.keys().chain(layer.tree.keys()).collect();
        let known: Vec<String> = known.into_iter().cloned().collect();
        let name = NAMES[self.random.below(NAMES.len())];
        match (self.random.below(4), pick(&mut self.random, &known)) {
            (0, Some(there)) => there,
            (1 | 2, Some(there)) if there.matches('/').count() < 4 => format!("{there}/{name}"),
            _ => {
                let parents: Vec<&str> =
                    (0..self.random.below(3)).map(|_| NAMES[self.random.below(NAMES.len())]).collect();
                parents.into_iter().chain([name]).collect::<Vec<_>>().join("/")
            }
        }
    }

    /// A path where the layer may put something that is no directory.
    fn leaf_path(&mut self, layer: &Layer) -> Option<String> {
        let path = self.path(layer);
        layer.may_hold(&path).then_some(path)
    }

    fn add_directory(&mut self, layer: &mut Layer) {
        let path = self.path(layer);
        if layer.may_hold(&path) && !layer.whiteouts.contains(&path) {
            let mode = [0o755, 0o700, 0o1777, 0o2750][self.random.below(4)];
            layer.put(&path, What::Directory, mode);
        }
    }

    fn add_file(&mut self, layer: &mut Layer) {
        let Some(path) = self.leaf_path(layer) else { return };
        self.contents += 1;
        let content = format!("content {} ", self.contents).repeat([0, 1, 3, 200][self.random.below(4)]);
        let mode = [0o644, 0o755, 0o600, 0o4755, 0o444][self.random.below(5)];
        layer.put(&path, What::File(content.into_bytes()), mode);
        if self.random.one_in(2) {
            self.delete_what_was_in(&path, layer);
        }
    }

    /// The whiteouts that `umoci repack` writes behind a file that takes the place of a full directory.
    fn delete_what_was_in(&mut self, path: &str, layer: &mut Layer) {
        let inside = self.merged.keys().filter(|there| is_below(there, path));
        layer.entries.extend(inside.map(|there| StackEntry { path: there.clone(), what: What::Whiteout, mode: 0o644 }));
    }

    fn add_symlink(&mut self, layer: &mut Layer) {
        let Some(path) = self.leaf_path(layer) else { return };
        let to = self.path(layer);
        let target = match self.random.below(6) {
            0 | 1 => format!("/{to}"),
            2 => to,
            3 => format!("../{to}"),
            4 => format!("./{to}/.."),
            _ => NAMES[self.random.below(NAMES.len())].to_owned(),
        };
        layer.put(&path, What::Symlink(target), 0o777);
    }

    fn add_hard_link(&mut self, layer: &mut Layer) {
        let leaves = layer.tree.iter().filter(|(_, kind)| !kind.is_directory());
        let targets: Vec<String> = leaves.map(|(path, _)| path.clone()).collect();
        let (Some(path), Some(target)) = (self.leaf_path(layer), pick(&mut self.random, &targets)) else { return };
        if !are_on_one_line(&path, &target) {
            let mode = layer.modes[&target];
            layer.put(&path, What::HardLink(target), mode);
        }
    }

    fn add_hard_link_below(&mut self, layer: &mut Layer) {
        let files = self.merged.iter().filter(|(path, kind)| **kind == Type::File && layer.leaves_alone(path));
        let targets: Vec<String> = files.map(|(path, _)| path.clone()).collect();
        let (Some(path), Some(target)) = (self.leaf_path(layer), pick(&mut self.random, &targets)) else { return };
        if !are_on_one_line(&path, &target) {
            layer.put(&path, What::HardLink(target), 0o644);
        }
    }

    fn add_fifo(&mut self, layer: &mut Layer) {
        if let Some(path) = self.leaf_path(layer) {
            layer.put(&path, What::Fifo, 0o640);
        }
    }

    fn add_whiteout(&mut self, layer: &mut Layer) {
        let below: Vec<String> = self.merged.keys().cloned().collect();
        let path = match pick(&mut self.random, &below) {
            Some(path) if !self.random.one_in(5) => path,
            _ => self.path(layer),
        };
        if layer.may_hold(&path) && !layer.tree.contains_key(&path) && !layer.whiteouts.contains(&path) {
            for ancestor in ancestors(&path) {
                layer.tree.entry(ancestor.to_owned()).or_insert(Type::Implied);
            }
            layer.entries.push(StackEntry { path: path.clone(), what: What::Whiteout, mode: 0o644 });
            layer.whiteouts.insert(path);
        }
    }

    /// An opaque directory: its mark before or behind its own entry, or alone.
    fn add_opaque(&mut self, layer: &mut Layer) {
        let path = self.path(layer);
        if !layer.may_hold(&path) || layer.whiteouts.contains(&path) {
            return;
        }
        let mark = StackEntry { path: path.clone(), what: What::Opaque, mode: 0o644 };
        let there = layer.tree.get(&path).copied();
        if there.is_none_or(Type::is_directory) && self.random.one_in(3) {
            for ancestor in ancestors(&path).chain([path.as_str()]) {
                layer.tree.entry(ancestor.to_owned()).or_insert(Type::Implied);
            }
            layer.entries.push(mark);
            layer.opaque.insert(path);
            return;
        }
        let is_there = there == Some(Type::Directory);
        let mark_first = !is_there && there.is_none_or(Type::is_directory) && self.random.one_in(2);
        if mark_first {
            layer.entries.push(mark.clone());
        }
        if !is_there {
            layer.put(&path, What::Directory, 0o711);
        }
        if !mark_first {
            layer.entries.push(mark);
        }
        layer.opaque.insert(path);
    }

    /// Lays a layer over the tree so far.
    fn merge(&mut self, layer: &Layer) {
        self.merged.retain(|path, _| {
            let deleted = |path: &str| layer.whiteouts.contains(path);
            !deleted(path) && !ancestors(path).any(deleted) && !layer.is_in_opaque(path)
        });
        for (path, kind) in &layer.tree {
            let was_directory = self.merged.get(path).is_some_and(|there| there.is_directory());
            if !kind.is_directory() || !was_directory {
                self.merged.retain(|there, _| !is_below(there, path));
            }
            // That a parent was only implied matters within its layer alone.
            let kind = if kind.is_directory() { Type::Directory } else { *kind };
            self.merged.insert(path.clone(), kind);
        }
    }
}
