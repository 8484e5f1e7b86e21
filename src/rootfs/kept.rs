//! Which paths of a layer an index keeps.

use std::collections::HashMap;

use super::near::Sought;
use super::path::{components, next_component};

/// What was asked of a layer whose index does not know it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) paths: Kept,
    /// Names that are asked for because there is none of another.
    pub(super) names: Option<Sought>,
}

/// A set of canonical paths. With a path all directories on its way are in it, the root always. A path costs the names that it does
/// not share with others, about 100 bytes each.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The first one is the root.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    below: HashMap<Box<[u8]>, usize>,
    /// Whether everything below is in the set.
    all: bool,
}

impl Default for Kept {
    /// The root alone.
    fn default() -> Self {
        Kept { nodes: vec![Node::default()] }
    }
}

impl Kept {
    /// Every path.
    pub fn everything() -> Self {
        let mut kept = Kept::default();
        kept.add_all(b"");
        kept
    }

    /// Whether every path is in it.
    pub fn is_everything(&self) -> bool {
        self.nodes[0].all
    }

    /// Adds a path, as it is typed: where it goes up with `..`, also the directories that it comes through before.
    pub fn add(&mut self, path: &[u8]) {
        self.node(path);
    }

    /// The same, with all that is below it.
    pub fn add_all(&mut self, path: &[u8]) {
        let node = self.node(path);
        self.nodes[node].all = true;
    }

    /// Adds all that `other` has.
    pub fn absorb(&mut self, other: &Kept) {
        let mut pending = vec![(0, 0)];
        while let Some((at, from)) = pending.pop() {
            self.nodes[at].all |= other.nodes[from].all;
            if self.nodes[at].all {
                continue;
            }
            for (name, from) in &other.nodes[from].below {
                pending.push((self.below(at, name), *from));
            }
        }
    }

    /// Whether the canonical `path` is in it.
    pub fn contains(&self, path: &[u8]) -> bool {
        self.reach(path, b"").1.is_some()
    }

    /// Whether `name` in the directory with the canonical path `directory` is in it.
    pub(super) fn contains_in(&self, directory: &[u8], name: &[u8]) -> bool {
        self.reach(directory, name).1.is_some()
    }

    /// Whether all that is below the canonical `path` is in it.
    pub(super) fn contains_all(&self, path: &[u8]) -> bool {
        self.reach(path, b"").1 == Some(true)
    }

    /// How many bytes of the canonical `path` lead to the last thing on its way that is in the set.
    pub(super) fn reaches(&self, path: &[u8]) -> usize {
        self.reach(path, b"").0
    }

    /// How many bytes of `path` lead to the last thing in the set; and whether all below it is in the set, where `path` is itself. A
    /// `name` that is not empty comes behind `path`.
    fn reach(&self, path: &[u8], name: &[u8]) -> (usize, Option<bool>) {
        let (mut at, mut reached, mut rest) = (0, 0, path);
        loop {
            let (next, behind, is_last) = match next_component(rest) {
                Some((next, behind)) => (next, behind, false),
                None if name.is_empty() => return (path.len(), Some(self.nodes[at].all)),
                None => (name, &b""[..], true),
            };
            if self.nodes[at].all {
                return (path.len(), Some(true));
            }
            match self.nodes[at].below.get(next) {
                Some(below) => at = *below,
                None => return (reached, None),
            }
            if is_last {
                return (path.len(), Some(self.nodes[at].all));
            }
            rest = behind;
            reached = path.len() - rest.len() - usize::from(!rest.is_empty());
        }
    }

    /// The node of `path`, which is made where it was not there; one above that has everything stands for all below it.
    fn node(&mut self, path: &[u8]) -> usize {
        let mut way = vec![0];
        for name in components(path) {
            let at = way.last().copied().unwrap_or_default();
            if name == b".." {
                way.pop();
                if way.is_empty() {
                    way.push(0);
                }
            } else if !self.nodes[at].all {
                way.push(self.below(at, name));
            } else {
                // Below what is there whole, `..` must still come back out.
                way.push(at);
            }
        }
        way.last().copied().unwrap_or_default()
    }

    fn below(&mut self, at: usize, name: &[u8]) -> usize {
        if let Some(below) = self.nodes[at].below.get(name) {
            return *below;
        }
        let fresh = self.nodes.len();
        self.nodes[at].below.insert(name.into(), fresh);
        self.nodes.push(Node::default());
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_with_the_directories_on_its_way_and_nothing_beside_it() {
        let mut kept = Kept::default();
        kept.add(b"/usr/lib/os-release");
        kept.add_all(b"etc/app");
        for path in ["", "usr", "usr/lib", "usr/lib/os-release", "etc", "etc/app", "etc/app/x/y"] {
            assert!(kept.contains(path.as_bytes()), "{path}");
        }
        for path in ["bin", "usr/li", "usr/lib/x", "usr/lib/os-release/x", "etc/apps"] {
            assert!(!kept.contains(path.as_bytes()), "{path}");
        }
        assert!(
            kept.contains_in(b"usr", b"lib") && !kept.contains_in(b"usr", b"bin") && kept.contains_in(b"etc/app", b"x")
        );
        assert!(
            kept.contains_all(b"etc/app/x") && !kept.contains_all(b"etc") && !kept.contains_all(b"usr/lib/os-release")
        );
        assert!(!kept.is_everything() && Kept::everything().contains(b"anything/at/all"));
    }

    #[test]
    fn it_is_told_how_far_a_path_is_kept() {
        let mut kept = Kept::default();
        kept.add(b"usr/lib/os");
        kept.add_all(b"etc");
        let reached = |path: &str| path[..kept.reaches(path.as_bytes())].to_owned();
        assert_eq!(reached("usr/lib/os/x"), "usr/lib/os");
        assert_eq!(reached("usr/lib/x/y"), "usr/lib");
        assert_eq!(reached("usr/x"), "usr");
        assert_eq!(reached("x/lib"), "");
        assert_eq!(reached("etc/x/y"), "etc/x/y");
    }

    #[test]
    fn a_path_that_goes_up_keeps_what_it_comes_through() {
        let mut kept = Kept::default();
        kept.add(b"/a/b/../../c/../../d");
        for path in ["a", "a/b", "c", "d"] {
            assert!(kept.contains(path.as_bytes()), "{path}");
        }
        let mut other = Kept::everything();
        other.add(b"x/../y");
        assert!(other.is_everything());
        kept.absorb(&other);
        assert!(kept.is_everything());
    }
}
