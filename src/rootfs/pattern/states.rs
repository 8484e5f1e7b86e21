//! How much of a pattern has matched on the way down to a path: a set of positions between its parts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{Part, Pattern};

/// A set of positions in a pattern: *i* is in it where the path so far matches the first *i* parts. One bit a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States(Vec<u64>);

impl States {
    fn insert(&mut self, position: usize) {
        let word = position / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (position % 64);
    }

    fn contains(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// Whether there is no position left from which anything could match.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn positions(&self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * 64).filter(|position| self.contains(*position))
    }

    /// Takes in `others`, and gives those of them that are new.
    pub fn absorb(&mut self, others: &States) -> States {
        if self.0.len() < others.0.len() {
            self.0.resize(others.0.len(), 0);
        }
        let new = States(self.0.iter().zip(&others.0).map(|(have, other)| other & !have).collect());
        self.0.iter_mut().zip(&new.0).for_each(|(have, new)| *have |= new);
        new
    }
}

/// Where one more component leads.
#[derive(Debug, Default)]
pub struct Step {
    /// All positions, as for a directory of this name.
    pub states: States,
    /// Those reached by a part that is a name or a glob of names, and so not by being passed over by `**`.
    pub named: States,
    /// Whether the name ends a match by itself, whatever it is: a directory, a file, a link.
    pub is_match: bool,
}

impl Pattern {
    /// The states after the first `parts` parts have matched.
    pub fn states_at(&self, parts: usize) -> States {
        let mut states = States::default();
        self.enter(&mut states, parts);
        states
    }

    /// The states of a path that matches whole.
    pub fn matched(&self) -> States {
        self.states_at(self.parts.len())
    }

    /// Whether the path that led to `states` matches.
    pub fn is_match(&self, states: &States) -> bool {
        states.contains(self.parts.len())
    }

    /// From the states of a directory to those of `name` in it.
    pub fn step(&self, from: &States, name: &[u8]) -> Step {
        let mut step = Step::default();
        for position in from.positions() {
            let matches = match self.parts.get(position) {
                Some(Part::AnyDepth) => {
                    self.enter(&mut step.states, position);
                    false
                }
                Some(Part::Literal(part)) => part == name,
                Some(Part::Glob(glob)) => glob.is_match(OsStr::from_bytes(name)),
                None => false,
            };
            if matches {
                step.is_match |= position + 1 == self.parts.len();
                self.enter(&mut step.named, position + 1);
            }
        }
        step.states.absorb(&step.named);
        step
    }

    /// The states of the parent of a directory with these states, where the pattern has a `..` next.
    pub fn step_up(&self, from: &States) -> States {
        let mut up = States::default();
        for position in from.positions() {
            if matches!(self.parts.get(position), Some(Part::Literal(name)) if name == b"..") {
                self.enter(&mut up, position + 1);
            }
        }
        up
    }

    /// The names that can follow on `states`; `None` where those are not known one by one.
    pub fn next_names(&self, states: &States) -> Option<Vec<&[u8]>> {
        let mut names = Vec::new();
        for position in states.positions() {
            match self.parts.get(position) {
                Some(Part::Literal(name)) if name == b".." => {}
                Some(Part::Literal(name)) => names.push(name.as_slice()),
                Some(Part::Glob(_) | Part::AnyDepth) => return None,
                None => {}
            }
        }
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// Adds `position`, and the next one too where `**` may stand for no directory.
    fn enter(&self, states: &mut States, position: usize) {
        states.insert(position);
        // Two of them never stand side by side.
        if matches!(self.parts.get(position), Some(Part::AnyDepth)) {
            states.insert(position + 1);
        }
    }
}
