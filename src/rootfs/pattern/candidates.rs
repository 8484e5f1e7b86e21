//! Which entries of an unseen layer could belong to what was asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Pattern;
use super::places::{Place, Places};
use super::states::States;
use crate::rootfs::depth::Depth;
use crate::rootfs::kept::Kept;
use crate::rootfs::path::{components, split};
use crate::rootfs::view::View;
use crate::rootfs::walk::{Found, leaf, resolve};

/// Places farther down than any path that could be opened (`PATH_MAX`) are not looked out for: what is there is found when all
/// layers are read, and costs one reading more.
const MAX_PLACE: usize = 4096;

/// The entries of a layer that could belong to what was asked for: what lies where a pattern leads, as far as is known,
/// and what lies where links lead that have passed by. One place for each pattern and each such link.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    patterns: Arc<[Pattern]>,
    /// Whether a link that is itself what was asked for is followed.
    follow: bool,
    /// Where the patterns begin.
    begin: Places,
    /// The same paths in order, so that it can be told what leads through a link.
    ways: BTreeSet<Vec<u8>>,
    /// Where links lead.
    linked: Places,
    /// Files of lower layers that hard links lead to: the content counts although a layer between may have deleted the name.
    kept: HashMap<Vec<u8>, BTreeSet<usize>>,
    /// The base names of what globs matched, with the paths, as far as they are asked for by [`Candidates::namesake`].
    names: HashMap<Vec<u8>, Vec<u8>>,
}

impl Candidates {
    /// Looks out for what `patterns` match; `follow` says whether a link that one of them names is followed.
    pub fn new(patterns: Arc<[Pattern]>, follow: bool) -> Self {
        Candidates {
            patterns,
            follow,
            begin: Places::default(),
            ways: BTreeSet::new(),
            linked: Places::default(),
            kept: HashMap::new(),
            names: HashMap::new(),
        }
    }

    /// Says where the patterns begin, as far as lower layers may have something of them: each by its position, with a canonical path
    /// and how many of its parts lead there.
    pub fn begin(&mut self, places: impl IntoIterator<Item = (usize, Vec<u8>, usize)>) {
        self.begin = Places::default();
        self.ways.clear();
        for (position, at, parts) in places {
            let Some(pattern) = self.patterns.get(position) else { continue };
            self.begin.add(&at, position, &pattern.states_at(parts));
            self.ways.insert(at);
        }
    }

    /// The positions of the patterns that the entry at the canonical `path` could belong to: as the thing itself, or inside it.
    pub fn wanting(&self, path: &[u8]) -> Vec<usize> {
        self.follow_path(path).matched.into_iter().collect()
    }

    /// The positions of the patterns that want the file at the canonical `path` by a hard link of an upper layer,
    /// whatever became of the name.
    pub fn wanting_by_hard_link(&self, path: &[u8]) -> Vec<usize> {
        self.kept.get(path).into_iter().flatten().copied().collect()
    }

    /// Where the entry at the canonical `path` is, or lies in, a match of a glob that has the base name of an earlier
    /// match at another path: that one and this one. What is matched by a link that leads there has another name, and
    /// is not compared.
    pub fn namesake(&mut self, path: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        for end in self.follow_path(path).ends {
            let matched = &path[..end];
            match self.names.get(split(matched).1) {
                Some(other) if other != matched => return Some((other.clone(), matched.to_vec())),
                Some(_) => {}
                None => drop(self.names.insert(split(matched).1.to_vec(), matched.to_vec())),
            }
        }
        None
    }

    /// Whether a link at `path` lies on the way to where a pattern begins.
    pub fn lead_through(&self, path: &[u8]) -> bool {
        let inside = [path, b"/"].concat();
        self.ways.contains(path) || self.ways.range(inside.clone()..).next().is_some_and(|way| way.starts_with(&inside))
    }

    /// Whether a link at the canonical `path` matters, so that it should be taken note of.
    pub fn concern(&self, path: &[u8]) -> bool {
        let arrival = self.follow_path(path);
        !arrival.matched.is_empty() || !arrival.leading.is_empty()
    }

    /// The paths of a layer that what is looked out for can come to, as far as is known.
    pub fn keep(&self) -> Kept {
        let mut kept = Kept::default();
        self.begin.keep(&mut kept);
        self.linked.keep(&mut kept);
        self.kept.keys().for_each(|path| kept.add(path));
        kept
    }

    /// Where the symlink at the canonical `path`, which `view` has, leads, where it lies on the way to matches, or is one.
    pub fn symlink(&self, view: &View<'_>, path: &[u8]) -> Option<Linked> {
        let Arrival { inside, mut leading, .. } = self.follow_path(path);
        leading.retain(|position, states| {
            let pattern = &self.patterns[*position];
            !inside.contains(position) && (self.follow || *states != pattern.matched())
        });
        if leading.is_empty() {
            return None;
        }
        let target = match resolve(view, path, true) {
            Found::Unknown { path } => path,
            Found::Directory(directory) => directory.path,
            Found::Leaf(leaf) => leaf.path,
            _ => return None,
        };
        (target.len() <= MAX_PLACE).then_some(Linked::Place { target, leading })
    }

    /// Where the hard link at the canonical `path` of the layer at `depth` from the top, which `view` has, leads, where it is wanted and its
    /// target lies in a lower layer.
    pub fn hard_link(&self, view: &View<'_>, depth: Depth, path: &[u8]) -> Option<Linked> {
        let wanting = self.wanting(path);
        if !wanting.is_empty()
            && let Found::Unknown { path: target } = leaf(view, depth, path)
            && target.len() <= MAX_PLACE
        {
            return Some(Linked::File { target, wanting });
        }
        None
    }

    /// Looks out for what a link leads to, too.
    pub fn note(&mut self, link: Linked) {
        match link {
            Linked::Place { target, leading } => {
                leading.iter().for_each(|(position, states)| self.linked.add(&target, *position, states));
            }
            Linked::File { target, wanting } => self.kept.entry(target).or_default().extend(wanting),
        }
    }

    /// Takes in what `other` has taken note of.
    pub fn absorb(&mut self, other: Candidates) {
        self.linked.absorb(other.linked);
        for (path, patterns) in other.kept {
            self.kept.entry(path).or_default().extend(patterns);
        }
        self.names.extend(other.names);
    }

    /// Goes down to `path` with all that has matched on the way.
    fn follow_path(&self, path: &[u8]) -> Arrival {
        let mut arrival = Arrival::default();
        let mut active = BTreeMap::new();
        let mut places = [self.begin.root(), self.linked.root()];
        self.begin_at(&places, &mut active, &mut arrival);
        let mut end = 0;
        for name in components(path) {
            // Canonical paths have one slash between two names.
            end += usize::from(end > 0) + name.len();
            arrival.inside.extend(&arrival.matched);
            arrival.leading.clear();
            let mut next = BTreeMap::new();
            for (position, states) in &active {
                let pattern = &self.patterns[*position];
                let step = pattern.step(states, name);
                if !step.named.is_empty() {
                    arrival.leading.insert(*position, step.named);
                }
                if pattern.is_match(&step.states) {
                    if arrival.matched.insert(*position) {
                        arrival.ends.push(end);
                    }
                } else if !step.states.is_empty() {
                    next.insert(*position, step.states);
                }
            }
            active = next;
            places = places.map(|place| place?.below(name));
            self.begin_at(&places, &mut active, &mut arrival);
        }
        arrival
    }

    /// Adds the patterns that begin, or go on behind a link, at `places`.
    fn begin_at(&self, places: &[Option<Place<'_>>; 2], active: &mut BTreeMap<usize, States>, arrival: &mut Arrival) {
        for (position, states) in places.iter().flatten().flat_map(Place::patterns) {
            arrival.leading.entry(*position).or_default().absorb(states);
            if self.patterns[*position].is_match(states) {
                arrival.matched.insert(*position);
            } else {
                active.entry(*position).or_default().absorb(states);
            }
        }
    }
}

/// Where a link leads that what is looked out for can come through.
#[derive(Debug)]
pub enum Linked {
    /// Patterns go on there, with these states.
    Place {
        /// The canonical path.
        target: Vec<u8>,
        /// The states, by the patterns' positions.
        leading: BTreeMap<usize, States>,
    },
    /// The content of the file there is wanted by these patterns.
    File {
        /// The canonical path.
        target: Vec<u8>,
        /// The patterns' positions.
        wanting: Vec<usize>,
    },
}

/// What was known on arrival at a path. Patterns are named by their positions.
#[derive(Default)]
struct Arrival {
    /// Those that the path matches, or lies in a match of.
    matched: BTreeSet<usize>,
    /// Those of them that it lies in a match of.
    inside: BTreeSet<usize>,
    /// Where in the path the matches of globs end.
    ends: Vec<usize>,
    /// Those that would go on where the path leads, should it be a link, with the states that they would have there.
    leading: BTreeMap<usize, States>,
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{file, hard_link, index, symlink};
    use super::*;

    /// Candidates of one pattern, so many parts of which lead to `at`.
    fn beginning(pattern: &str, at: &str, parts: usize) -> Candidates {
        let mut candidates = Candidates::new([Pattern::parse(pattern.as_bytes()).unwrap()].into(), true);
        candidates.begin([(0, at.into(), parts)]);
        candidates
    }

    fn want(candidates: &Candidates, path: &str) -> bool {
        !candidates.wanting(path.as_bytes()).is_empty()
    }

    #[test]
    fn candidates_are_the_thing_and_what_is_inside_it() {
        let ls = beginning("/bin/ls", "usr/bin/ls", 2);
        assert!(want(&ls, "usr/bin/ls") && want(&ls, "usr/bin/ls/x") && !want(&ls, "usr/bin/lsblk"));
        assert!(ls.lead_through(b"usr/bin") && ls.lead_through(b"usr/bin/ls") && !ls.lead_through(b"usr/bi"));
        let globbed = beginning("/bin/l*/x", "usr/bin", 1);
        assert!(want(&globbed, "usr/bin/ls/x/deep") && !want(&globbed, "usr/bin/ls"));
        let deep = beginning("/**/so", "", 0);
        assert!(want(&deep, "so") && want(&deep, "a/b/so/c") && !want(&deep, "a/b"));
        assert!(want(&beginning("/", "", 0), "anything"));
    }

    #[test]
    fn where_a_link_leads_is_looked_out_for_when_it_has_passed_by() {
        let layer =
            index(&[symlink("etc/os-release", "../usr/lib/os"), symlink("usr/lib/os", "os2"), symlink("d", "e")]);
        let view = View::new(vec![&layer], false);
        let mut candidates = beginning("/etc/*-release", "etc", 1);
        assert!(candidates.concern(b"etc/os-release") && !candidates.concern(b"d"));
        candidates.note(candidates.symlink(&view, b"etc/os-release").unwrap());
        assert!(want(&candidates, "usr/lib/os2") && !want(&candidates, "usr/lib/os3"));
        let mut candidates = beginning("/?/x*", "", 0);
        candidates.note(candidates.symlink(&view, b"d").unwrap());
        assert!(want(&candidates, "e/x1") && !want(&candidates, "e/y"));
    }

    #[test]
    fn links_inside_a_match_stay_links_and_lead_nowhere() {
        let layer = index(&[symlink("etc/app/link", "/usr/x")]);
        let view = View::new(vec![&layer], false);
        let candidates = beginning("/etc/*", "etc", 1);
        assert!(candidates.symlink(&view, b"etc/app/link").is_none());
        assert!(!want(&candidates, "usr/x"));
    }

    #[test]
    fn a_hard_link_to_a_lower_layers_file_makes_that_a_candidate() {
        let layer = index(&[hard_link("dir/b", "old/a"), file("dir/c")]);
        let view = View::new(vec![&layer], false);
        let mut candidates = beginning("/dir", "dir", 1);
        candidates.note(candidates.hard_link(&view, Depth::TOP, b"dir/b").unwrap());
        assert_eq!(candidates.wanting_by_hard_link(b"old/a"), [0]);
        let mut all = beginning("/dir", "dir", 1);
        all.absorb(candidates);
        assert_eq!(all.wanting_by_hard_link(b"old/a"), [0]);
    }
}
