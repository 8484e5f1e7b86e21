//! Which paths of a layer an index keeps.

use std::collections::HashMap;

use super::near::Sought;
use super::path::{components, join, next_component};

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

    /// Hands each path to `each` on whose way all others lie, and whether all that is below it is in the set, too.
    pub fn each(&self, each: &mut impl FnMut(&[u8], bool)) {
        let mut pending = vec![(Vec::new(), 0)];
        while let Some((path, at)) = pending.pop() {
            let node = &self.nodes[at];
            if node.all || node.below.is_empty() {
                each(&path, node.all);
            } else {
                pending.extend(node.below.iter().map(|(name, below)| (join(&path, name), *below)));
            }
        }
    }

    /// Those that `other` has not, with the directories on their way; `None` where there are none.
    pub(super) fn without(&self, other: &Kept) -> Option<Kept> {
        let mut rest: Option<Kept> = None;
        let mut pending = vec![(Vec::new(), 0, Some(0))];
        while let Some((path, at, there)) = pending.pop() {
            let (node, there) = (&self.nodes[at], there.map(|there| &other.nodes[there]));
            if there.is_some_and(|there| there.all) {
                continue;
            }
            if node.all {
                rest.get_or_insert_default().add_all(&path);
                continue;
            }
            if there.is_none() {
                rest.get_or_insert_default().add(&path);
            }
            pending.extend(node.below.iter().map(|(name, below)| {
                let there = there.and_then(|there| there.below.get(name)).copied();
                (join(&path, name), *below, there)
            }));
        }
        rest
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
    fn what_one_set_has_and_another_has_not_is_what_has_to_be_asked_for() {
        let set = |paths: &[&str], below: &[&str]| {
            let mut kept = Kept::default();
            paths.iter().for_each(|path| kept.add(path.as_bytes()));
            below.iter().for_each(|path| kept.add_all(path.as_bytes()));
            kept
        };
        let told = |kept: &Kept| {
            let mut told = Vec::new();
            kept.each(&mut |path, all| told.push(format!("{}{}", path.escape_ascii(), if all { "/**" } else { "" })));
            told.sort();
            told
        };
        let one = set(&["usr/bin/ls", "usr/lib/x/y", "opt/a/b"], &["etc", "usr/share/doc"]);
        assert_eq!(told(&one), ["etc/**", "opt/a/b", "usr/bin/ls", "usr/lib/x/y", "usr/share/doc/**"]);
        assert_eq!(told(&Kept::default()), [""]);
        let other = set(&["usr/bin/ls/z", "usr/lib", "usr/share/doc"], &["opt"]);
        let rest = one.without(&other).unwrap();
        assert_eq!(told(&rest), ["etc/**", "usr/lib/x/y", "usr/share/doc/**"]);
        assert!(one.without(&one).is_none() && one.without(&Kept::everything()).is_none());
        assert_eq!(told(&Kept::everything().without(&one).unwrap()), ["/**"]);
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
