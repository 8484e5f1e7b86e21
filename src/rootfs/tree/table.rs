//! Where a tree looks up a name: a table of its nodes, by their parent and the first name of their label.
//!
//! A node takes 10 to 20 bytes of it. It holds no names: where two hashes are the same, whoever asks compares the names.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use hashbrown::HashTable;

use super::branch::NodeId;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table {
    listed: HashTable<Listed>,
    /// Keyed anew for each table, so that no layer can choose names that meet in one place of it.
    hasher: RandomState,
}

/// A node in the table, with its hash, so that a table that grows need not look at the node.
#[derive(Debug)]
struct Listed {
    hash: u32,
    node: NodeId,
}

impl Listed {
    /// Its hash, with as many bits as the table wants.
    fn spread(&self) -> u64 {
        spread(self.hash)
    }
}

impl Table {
    /// What `parent` has under `name`: of the nodes with the same hash, the one that `is_it` tells by its parent and its name.
    pub(super) fn find(&self, parent: NodeId, name: &[u8], is_it: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let hash = self.hash(parent, name);
        let listed = self.listed.find(spread(hash), |listed| listed.hash == hash && is_it(listed.node))?;
        Some(listed.node)
    }

    /// Puts in `node`, which `parent` has under `name` and which is not there yet.
    pub(super) fn insert(&mut self, parent: NodeId, name: &[u8], node: NodeId) {
        let hash = self.hash(parent, name);
        self.listed.insert_unique(spread(hash), Listed { hash, node }, Listed::spread);
    }

    /// Takes out `node`, which `parent` has under `name`.
    pub(super) fn remove(&mut self, parent: NodeId, name: &[u8], node: NodeId) {
        let hash = self.hash(parent, name);
        if let Ok(entry) = self.listed.find_entry(spread(hash), |listed| listed.node == node) {
            entry.remove();
        }
    }

    /// How many bytes of memory it takes, spare room and all.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.listed.allocation_size()
    }

    /// Where the table has what `parent` has under a name.
    fn hash(&self, NodeId(parent): NodeId, name: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(parent);
        hasher.write(name);
        hasher.finish() as u32
    }
}

/// A hash whose upper bits, which the table looks at too, differ where its own do (Fibonacci hashing).
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
