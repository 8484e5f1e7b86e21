//! Reading a table, without doing so: what is to be read next, and what came of it.

use std::collections::{BTreeSet, HashSet};
use std::mem::take;
use std::sync::Arc;

use super::leaf::{self, Context, Leaf};
use super::node::{self, Child, Head, MAX_TOP};
use super::order::Order;
use super::record::{HARD_LINK, MARK, SUPERSEDED};
use super::row::{Blob, Part, Row, Wanted};
use super::wants::Wants;
use crate::image::digest::Digest;
use crate::layer::Compression;
use crate::table::Unusable;

/// How many parts are asked for at a time, and of how many bytes in all if there are several.
const MAX_PARTS: usize = 64;
const MAX_BYTES: u64 = 1 << 20;

/// How many bytes of middle nodes are kept for links that lead elsewhere in the table.
const MAX_KEPT: usize = 1 << 20;

/// How many bytes of targets are remembered that hard links lead to, elsewhere in the table.
const MAX_TARGETS: usize = 4 << 20;

/// A table whose top node has been read.
#[derive(Clone, Debug)]
pub struct OwnTable {
    head: Head,
    children: Arc<[Child]>,
    /// Where all else of the table ends.
    end: u64,
}

impl OwnTable {
    /// The table with this top node, which has to be what `part` says; it has to be one of the layer in `blob`.
    pub fn of(top: &[u8], part: &Part, blob: (&Digest, u64)) -> Result<Self, Unusable> {
        let table = OwnTable::of_any(top, part)?;
        if (&table.head.blob.digest, table.head.blob.size) != blob {
            return Err(Unusable::new("the table is of another layer"));
        }
        Ok(table)
    }

    /// The same, of whatever layer it says.
    pub fn of_any(top: &[u8], part: &Part) -> Result<Self, Unusable> {
        if part.length() > MAX_TOP {
            return Err(Unusable::new("the top node of the table is too long"));
        }
        part.check(top)?;
        let (head, children) = node::top(top, part.range.0)?;
        Ok(OwnTable { head, children: children.into(), end: part.range.0 })
    }

    /// The layer's blob.
    pub fn blob(&self) -> &Blob {
        &self.head.blob
    }

    /// How the layer is compressed.
    pub fn compression(&self) -> Compression {
        self.head.blob.compression
    }

    /// How many rows it says that it has. Where others come, that is an error.
    pub fn rows(&self) -> u64 {
        self.head.rows
    }

    /// Whether rows may be taken in the order in which they come, hard links after all others. Otherwise all rows come, whatever is asked
    /// for, and are to be sorted by [`Entry::header_offset`](crate::layer::Entry::header_offset) first, without those that are implied.
    pub fn is_simple(&self) -> bool {
        self.head.is_simple
    }

    /// Asks for what is `wanted`. With a hard link comes what it leads to.
    pub fn query(&self, wanted: Wanted) -> Query {
        let wants = if self.is_simple() { Wants::new(wanted) } else { Wants::everything() };
        let mut query = Query {
            table: self.clone(),
            wants,
            earlier: Wants::default(),
            has_followed: false,
            middles: Vec::new(),
            leaves: Vec::new(),
            pending: Vec::new(),
            kept: Vec::new(),
            kept_bytes: 0,
            handed: HashSet::new(),
            targets: BTreeSet::new(),
            targets_bytes: 0,
            rows: 0,
            order: Order::default(),
        };
        query.begin();
        query
    }
}

/// A question to a table: which parts are to be read, and what is in them.
#[derive(Debug)]
pub struct Query {
    table: OwnTable,
    wants: Wants,
    /// What was wanted before, when now it is what links lead to.
    earlier: Wants,
    has_followed: bool,
    /// What is to be read, the last one first: middle nodes, and leaves.
    middles: Vec<Part>,
    leaves: Vec<Part>,
    /// What has been asked for, and has not come yet.
    pending: Vec<(Part, Level)>,
    /// Middle nodes that have come.
    kept: Vec<(Part, Vec<Child>)>,
    kept_bytes: usize,
    /// Keys whose rows have been handed on, other than those where all below is wanted.
    handed: HashSet<Vec<u8>>,
    /// What hard links lead to, elsewhere.
    targets: BTreeSet<Vec<u8>>,
    targets_bytes: usize,
    /// How many rows have come, where all are asked for.
    rows: u64,
    order: Order,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Middle,
    Leaf,
}

/// What is to be done for a [`Query`].
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// These parts are to be read, in any order, and given to the query in this one. So rows come in the order of their keys.
    Read(Vec<Part>),
    /// All rows have come.
    Done,
}

impl Query {
    /// What is to be done next.
    pub fn step(&mut self) -> Step {
        loop {
            if !self.pending.is_empty() {
                return Step::Read(self.pending.iter().map(|(part, _)| part.clone()).collect());
            }
            let mut bytes = 0;
            let mut fits = |part: &Part| {
                bytes += part.length();
                bytes <= MAX_BYTES
            };
            if !self.leaves.is_empty() {
                while let Some(part) = self.leaves.pop_if(|part| fits(part) || self.pending.is_empty()) {
                    self.pending.push((part, Level::Leaf));
                    if self.pending.len() == MAX_PARTS {
                        break;
                    }
                }
            } else if !self.middles.is_empty() {
                while let Some(part) = self.middles.pop_if(|part| fits(part) || self.pending.is_empty()) {
                    match self.kept.iter().find(|(kept, _)| *kept == part) {
                        Some((_, children)) => {
                            let leaves = wanted(&self.wants, children);
                            self.leaves.extend(leaves);
                        }
                        None => self.pending.push((part, Level::Middle)),
                    }
                    if self.pending.len() == MAX_PARTS {
                        break;
                    }
                }
                self.sort();
            } else if !self.has_followed && !self.targets.is_empty() {
                self.has_followed = true;
                let paths = take(&mut self.targets).into_iter().collect();
                let wants = Wants::new(Wanted { paths, below: Vec::new() });
                self.earlier = std::mem::replace(&mut self.wants, wants);
                self.begin();
            } else {
                return Step::Done;
            }
        }
    }

    /// Takes in the `bytes` of a part that it asked for, and hands on the rows that are wanted. Rows that nobody asked for may come too; no
    /// row comes twice.
    pub fn give(
        &mut self,
        part: &Part,
        bytes: &[u8],
        each: &mut dyn FnMut(Row) -> Result<(), Unusable>,
    ) -> Result<(), Unusable> {
        let at = self.pending.iter().position(|(pending, _)| pending == part);
        let at = at.ok_or_else(|| Unusable::new("nobody asked for this part of the table"))?;
        part.check(bytes)?;
        let (_, level) = self.pending.remove(at);
        match level {
            Level::Middle => self.middle(part, bytes),
            Level::Leaf => self.leaf(part, bytes, each),
        }
    }

    /// Looks up what is wanted in the top node.
    fn begin(&mut self) {
        self.order = Order::default();
        self.middles = wanted(&self.wants, &self.table.children).collect();
        self.middles.reverse();
    }

    fn middle(&mut self, part: &Part, bytes: &[u8]) -> Result<(), Unusable> {
        let children = node::middle(bytes, self.table.end, leaf::MAX_STORED)?;
        self.leaves.extend(wanted(&self.wants, &children));
        if self.pending.is_empty() {
            self.sort();
        }
        let bytes = children.iter().map(|child| size_of::<Child>() + child.key.len()).sum::<usize>();
        if !self.wants.is_everything() && self.kept_bytes + bytes <= MAX_KEPT {
            self.kept_bytes += bytes;
            self.kept.push((part.clone(), children));
        }
        Ok(())
    }

    /// Puts the leaves in their order, the last one first.
    fn sort(&mut self) {
        self.leaves.sort_unstable_by_key(|leaf| std::cmp::Reverse(leaf.range));
    }

    fn leaf(
        &mut self,
        part: &Part,
        bytes: &[u8],
        each: &mut dyn FnMut(Row) -> Result<(), Unusable>,
    ) -> Result<(), Unusable> {
        self.order.begin(part)?;
        let OwnTable { head, end, .. } = &self.table;
        let context = Context { compression: head.blob.compression, size: head.blob.size, end: *end };
        let leaf = Leaf::of(bytes, context)?;
        if self.wants.is_everything() {
            return self.all(&leaf, each);
        }
        let targets = if self.has_followed { Vec::new() } else { self.targets(&leaf)? };
        let near = Wants::new(Wanted { paths: targets.clone(), below: Vec::new() });
        let mut rows = leaf.rows()?;
        let (mut last, mut is_wanted) = (None, false);
        while let Some(read) = rows.next()? {
            if !read.is_repeated {
                self.order.row(rows.key(), &read, self.table.head.is_simple)?;
            }
            if read.record.what & SUPERSEDED != 0 {
                continue;
            }
            if last.as_ref().is_none_or(|last: &(Vec<u8>, bool)| last.0 != rows.key() || last.1 != read.is_repeated) {
                last = Some((rows.key().to_vec(), read.is_repeated));
                is_wanted = self.is_wanted(rows.key(), read.is_repeated, &near);
            }
            if is_wanted {
                each(rows.row(&read)?)?;
            }
        }
        self.order.end(rows.key());
        for target in targets.into_iter().filter(|target| !self.handed.contains(target)) {
            self.targets_bytes += target.len() + size_of::<Vec<u8>>();
            self.targets.insert(target);
        }
        match self.targets_bytes <= MAX_TARGETS {
            true => Ok(()),
            false => Err(Unusable::new("too many hard links of the table lead elsewhere")),
        }
    }

    /// Hands on all rows of a leaf.
    fn all(&mut self, leaf: &Leaf<'_>, each: &mut dyn FnMut(Row) -> Result<(), Unusable>) -> Result<(), Unusable> {
        let mut rows = leaf.rows()?;
        while let Some(read) = rows.next()? {
            if read.is_repeated {
                continue;
            }
            self.order.row(rows.key(), &read, self.table.head.is_simple)?;
            self.rows += 1;
            if self.rows > self.table.head.rows {
                return Err(Unusable::new("the table has more rows than it says"));
            }
            if !(self.table.head.is_simple && read.record.what & SUPERSEDED != 0) {
                each(rows.row(&read)?)?;
            }
        }
        self.order.end(rows.key());
        Ok(())
    }

    /// What hard links lead to that are wanted: keys that are not wanted themselves.
    fn targets(&self, leaf: &Leaf<'_>) -> Result<Vec<Vec<u8>>, Unusable> {
        let (mut targets, mut rows) = (Vec::new(), leaf.rows()?);
        while let Some(read) = rows.next()? {
            if read.record.kind() != HARD_LINK || read.record.what & MARK != 0 || !self.wants.has(rows.key()) {
                continue;
            }
            let mut key = read.record.target.to_vec();
            for byte in key.iter_mut().filter(|byte| **byte == b'/') {
                *byte = 0;
            }
            if !self.wants.has(&key) {
                targets.push(key);
            }
        }
        Ok(targets)
    }

    /// Whether the rows of `key` are to be handed on now.
    fn is_wanted(&mut self, key: &[u8], is_repeated: bool, near: &Wants) -> bool {
        if self.earlier.has(key) {
            return false;
        }
        if self.wants.has_below(key) {
            // They are in a leaf of their own, too, and that is wanted.
            return !is_repeated;
        }
        (self.wants.has(key) || near.has(key)) && self.handed.insert(key.to_vec())
    }
}

/// Those of `children` that may hold what is wanted.
fn wanted<'a>(wants: &Wants, children: &'a [Child]) -> impl Iterator<Item = Part> + use<'a> {
    let wanted = wants.children(children.len(), |at| children[at].key.as_slice());
    wanted.into_iter().map(|at| children[at].part.clone())
}
