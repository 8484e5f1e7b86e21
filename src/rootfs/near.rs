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
    /// The path taken in last: what the next one shares with it need not be looked at.
    last: Vec<u8>,
}

impl Near {
    pub(super) fn new(sought: &Sought) -> Self {
        Near { sought: sought.clone(), alike: BTreeSet::new(), elsewhere: BTreeSet::new(), last: Vec::new() }
    }

    /// Takes in the canonical path of an entry, which says that there are directories above it, too.
    pub(super) fn take(&mut self, path: &[u8]) {
        let rest = match self.sought.directory.as_slice() {
            b"" => Some(path),
            directory => path.strip_prefix(directory).and_then(|rest| rest.strip_prefix(b"/")),
        };
        let shared = path.iter().zip(&self.last).take_while(|(one, other)| one == other).count();
        let mut start = path[..shared].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        self.last.truncate(shared);
        self.last.extend_from_slice(&path[shared..]);
        if let Some(rest) = rest
            && let Some(name) = rest.split(|byte| *byte == b'/').next()
            && path.len() - rest.len() + name.len() >= start
        {
            self.take_name(name);
        }
        for name in path[start..].split(|byte| *byte == b'/') {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::random::Random;

    #[test]
    fn what_a_path_shares_with_the_one_before_is_found_all_the_same() {
        let mut random = Random::new(5);
        for directory in ["", "ab", "ab/a"] {
            let (name, base) = (b"abc".to_vec(), b"a".to_vec());
            let sought = Sought { directory: directory.into(), name, base };
            let (mut near, mut plain) = (Near::new(&sought), Near::new(&sought));
            for _ in 0..2_000 {
                let names: Vec<&str> =
                    (0..=random.below(5)).map(|_| ["a", "ab", "abcd", "b", "abc1"][random.below(5)]).collect();
                let path = names.join("/");
                near.take(path.as_bytes());
                plain.last.clear();
                plain.take(path.as_bytes());
                assert_eq!((&near.alike, &near.elsewhere), (&plain.alike, &plain.elsewhere), "{path}");
            }
            assert!(near.alike.len() > 1 && near.elsewhere.len() == MAX_GATHERED);
        }
    }
}
