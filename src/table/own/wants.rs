//! What of a table is wanted, as keys.

use super::row::Wanted;

/// Sorted keys: of paths with all directories on their way, and of directories with all that is below them.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants {
    /// All of them.
    keys: Vec<Vec<u8>>,
    /// Those with what is below them, of which none is below another.
    below: Vec<Vec<u8>>,
}

impl Wants {
    pub(super) fn new(wanted: Wanted) -> Self {
        let Wanted { paths, below } = wanted;
        let mut below = keys(below);
        below.dedup_by(|later, earlier| is_at_or_below(later, earlier));
        let mut all = keys(paths);
        all.extend(below.iter().cloned());
        all.sort_unstable();
        all.dedup();
        Wants { keys: all, below }
    }

    /// Everything.
    pub(super) fn everything() -> Self {
        Wants { keys: vec![Vec::new()], below: vec![Vec::new()] }
    }

    pub(super) fn is_everything(&self) -> bool {
        self.below.first().is_some_and(Vec::is_empty)
    }

    /// Whether `key` is one of those, or on the way to one.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        let next = self.keys.partition_point(|wanted| wanted.as_slice() < key);
        self.keys.get(next).is_some_and(|wanted| is_at_or_below(wanted, key)) || self.has_below(key)
    }

    /// Whether `key` is one of those with what is below them, or is below one.
    pub(super) fn has_below(&self, key: &[u8]) -> bool {
        let at = self.below.partition_point(|wanted| wanted.as_slice() <= key).checked_sub(1);
        at.and_then(|at| self.below.get(at)).is_some_and(|above| is_at_or_below(key, above))
    }

    /// Which of `count` children that follow one another may hold what is wanted; `first` says the least key that a child may have.
    pub(super) fn children<'a>(&self, count: usize, first: impl Fn(usize) -> &'a [u8]) -> Vec<usize> {
        let behind = |is_behind: &dyn Fn(&[u8]) -> bool| {
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = low + (high - low) / 2;
                if is_behind(first(middle)) { high = middle } else { low = middle + 1 }
            }
            low
        };
        let mut children = Vec::new();
        for key in &self.keys {
            let end = behind(&|first| first > key.as_slice());
            let from = end.saturating_sub(1);
            let to = match self.has_below(key) {
                true => behind(&|first| first > key.as_slice() && !is_at_or_below(first, key)),
                false => end,
            };
            let from = children.last().map_or(from, |last: &usize| from.max(last + 1));
            children.extend(from..to);
        }
        children
    }
}

/// The keys of canonical paths, sorted.
fn keys(paths: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut keys = paths;
    for byte in keys.iter_mut().flatten().filter(|byte| **byte == b'/') {
        *byte = 0;
    }
    keys.sort_unstable();
    keys
}

/// Whether `key` is that of what is at or below the one of `above`.
fn is_at_or_below(key: &[u8], above: &[u8]) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.is_empty() || above.is_empty() || rest.first() == Some(&0))
}
