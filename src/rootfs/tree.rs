//! The names of one layer as a tree, in memory that the layer's own length bounds.
//!
//! A chain of directories that the layer only implies (`a/b/c` of a lone entry `a/b/c/file`) is no chain of nodes: the node at
//! its end bears all its names as one label, which is divided when something branches off. So an entry adds two nodes at
//! most, whatever its depth, and their labels hold no byte twice.
//!
//! Everything lies in a few long vectors, so that an entry costs no allocation of its own, and the tree is gone at once: 32
//! bytes of a branch, 56 of what the entry says, 10 to 20 of the table, and its name. That is about 120 bytes for a usual entry,
//! of whose header alone the tar has 512. Beside that lie the targets of links, and extended attributes where they are kept.

mod branch;
mod table;

use self::branch::{Branch, Label, Packed, number};
pub(super) use self::branch::{Content, EntryId, Full, Marks, NodeId};
use self::table::Table;
use super::node::{Node, NodeKind};

/// What a parent without an entry of its own is, as far as its layer can tell.
static IMPLIED: Node = Node::IMPLIED;

/// A path of the tree: a node's own, or one of the implied directories in its label. Good until the tree changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    node: NodeId,
    /// How many bytes of the node's label lead here.
    within: usize,
}

impl Place {
    pub(super) const ROOT: Place = Place { node: NodeId::ROOT, within: 0 };

    /// The node whose label leads here: this place's own where it is not merely implied.
    pub(super) fn node(self) -> NodeId {
        self.node
    }
}

/// The tree. Its root is always there.
#[derive(Debug)]
pub(super) struct Tree {
    branches: Vec<Branch>,
    entries: Vec<Node>,
    /// The bytes of all labels.
    names: Vec<u8>,
    /// Nodes by their parent and the first name of their label.
    children: Table,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            branches: vec![Branch::new(Content::Implied)],
            entries: Vec::new(),
            names: Vec::new(),
            children: Table::default(),
        }
    }
}

impl Tree {
    /// The path `name` in the directory `place`, where there is anything, if only a mark.
    pub(super) fn child(&self, place: Place, name: &[u8]) -> Option<Place> {
        match self.on_the_way(place) {
            Some((next, within)) => (next == name).then_some(Place { within, ..place }),
            None => {
                let is_it = |child: NodeId| {
                    let branch = self.branch(child);
                    branch.parent == place.node && leads_with(self.label(branch), name)
                };
                let node = self.children.find(place.node, name, is_it)?;
                Some(Place { node, within: name.len() })
            }
        }
    }

    /// The directory `place`'s names, in byte order. Takes time for each of them, and for their order where the layer has them in
    /// another; four bytes for each are held.
    pub(super) fn children(&self, place: Place) -> Children<'_> {
        let on_the_way = self.on_the_way(place).map(|(name, within)| (name, Place { within, ..place }));
        let mut nodes: Vec<NodeId> = match on_the_way {
            Some(_) => Vec::new(),
            None => self.children_of(place.node).collect(),
        };
        nodes.reverse();
        nodes.sort_unstable_by_key(|node| first(self.label(self.branch(*node))));
        Children { tree: self, on_the_way, nodes: nodes.into_iter() }
    }

    /// What is at `place`; nothing where there is only a mark.
    pub(super) fn get(&self, place: Place) -> Option<&Node> {
        let branch = self.branch(place.node);
        match branch.content.content() {
            _ if place.within < branch.length() => Some(&IMPLIED),
            Content::Nothing => None,
            Content::Implied => Some(&IMPLIED),
            Content::Entry(entry) => Some(self.described(entry)),
        }
    }

    /// The entry at `place`, to be shared; nothing where the place has no entry of its own.
    pub(super) fn entry(&self, place: Place) -> Option<EntryId> {
        let branch = self.branch(place.node);
        match branch.content.content() {
            Content::Entry(entry) if place.within == branch.length() => Some(entry),
            _ => None,
        }
    }

    /// Takes in what an entry says, to be put somewhere.
    pub(super) fn describe(&mut self, node: Node) -> Result<EntryId, Full> {
        let entry = EntryId(number(self.entries.len())?);
        self.entries.push(node);
        Ok(entry)
    }

    /// What an entry says.
    pub(super) fn described(&self, EntryId(entry): EntryId) -> &Node {
        &self.entries[entry as usize]
    }

    /// The marks at `place`.
    pub(super) fn marks(&self, place: Place) -> Marks {
        let branch = self.branch(place.node);
        if place.within == branch.length() { branch.marks } else { Marks::default() }
    }

    /// Makes the canonical `path` below `place` a node of its own, whose content is nothing where it was not there. What was nothing on the
    /// way is an implied directory from now on.
    pub(super) fn make(&mut self, place: Place, path: &[u8]) -> Result<NodeId, Full> {
        let (mut place, mut rest) = (place, path);
        loop {
            if rest.is_empty() {
                return self.own(place);
            }
            let name = first(rest);
            let Some(child) = self.child(place, name) else { break };
            place = child;
            rest = rest.get(name.len() + 1..).unwrap_or_default();
        }
        let parent = self.own(place)?;
        self.append(parent, rest)
    }

    /// Adds a node of the canonical `path` below the node `parent`, which has nothing of its first name.
    pub(super) fn append(&mut self, parent: NodeId, path: &[u8]) -> Result<NodeId, Full> {
        if self.branch(parent).content == Packed::NOTHING {
            self.branch_mut(parent).content = Packed::IMPLIED;
        }
        let label = Label { start: number(self.names.len())?, length: number(path.len())? };
        number(self.names.len() + path.len())?;
        self.names.extend_from_slice(path);
        self.add(parent, Branch { label, ..Branch::new(Content::Nothing) })
    }

    /// Puts `content` at `node`, as an extraction would: a directory keeps what is in it, anything else replaces it all.
    pub(super) fn put(&mut self, node: NodeId, content: Content) {
        let is_directory = match content {
            Content::Nothing => false,
            Content::Implied => true,
            Content::Entry(entry) => matches!(self.described(entry).kind, NodeKind::Directory { .. }),
        };
        if !is_directory {
            self.clear(node);
        }
        self.branch_mut(node).content = Packed::of(content);
    }

    /// Marks `node`.
    pub(super) fn mark(&mut self, node: NodeId, marks: impl FnOnce(&mut Marks)) {
        marks(&mut self.branch_mut(node).marks);
    }

    /// The node's own place.
    pub(super) fn place(&self, node: NodeId) -> Place {
        Place { node, within: self.branch(node).length() }
    }

    /// The directory that `node` is in, if its label is one name.
    pub(super) fn parent(&self, node: NodeId) -> Option<NodeId> {
        let branch = self.branch(node);
        let is_one = !self.label(branch).contains(&b'/');
        branch.parent.get().filter(|_| is_one)
    }

    /// Whether something can be put below `place`; what has been deleted can be made anew.
    pub(super) fn is_directory(&self, place: Place) -> bool {
        self.get(place).is_none_or(|node| matches!(node.kind, NodeKind::Directory { .. }))
    }

    /// The paths of everything whose own name is `name`.
    pub(super) fn named<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
        self.branches.iter().flat_map(move |branch| {
            let (label, mut end) = (self.label(branch), 0);
            let names = label.split(|byte| *byte == b'/').map(move |part| {
                end += part.len() + 1;
                (part, end - 1)
            });
            let alike = names.filter(move |(part, _)| *part == name);
            let there = alike.filter(move |(_, end)| *end < label.len() || branch.content != Packed::NOTHING);
            there.map(move |(_, end)| self.path(branch.parent, &label[..end]))
        })
    }

    /// How many nodes the tree has.
    pub(super) fn nodes(&self) -> usize {
        self.branches.len()
    }

    /// How many nodes the tree has, and how many bytes of names.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.branches.len(), self.names.len())
    }

    /// How many bytes of memory the tree takes, spare room and all, except for the targets of links and extended attributes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let vectors = [
            self.branches.capacity() * size_of::<Branch>(),
            self.entries.capacity() * size_of::<Node>(),
            self.names.capacity(),
        ];
        vectors.iter().sum::<usize>() + self.children.bytes()
    }

    /// The path of `label` below `parent`.
    fn path(&self, parent: NodeId, label: &[u8]) -> Vec<u8> {
        let mut labels = vec![label];
        let mut above = parent.get();
        while let Some(node) = above {
            let branch = self.branch(node);
            labels.push(self.label(branch));
            above = branch.parent.get();
        }
        labels.retain(|label| !label.is_empty());
        labels.reverse();
        labels.join(&b'/')
    }

    /// Where `place` is inside a label: the one name in it, and how much of the label that leads to.
    fn on_the_way(&self, place: Place) -> Option<(&[u8], usize)> {
        let label = self.label(self.branch(place.node));
        let rest = label.get(place.within..)?.strip_prefix(b"/")?;
        let name = rest.split(|byte| *byte == b'/').next().unwrap_or(rest);
        Some((name, place.within + 1 + name.len()))
    }

    /// The nodes below `node`, the latest first.
    fn children_of(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(self.branch(node).first_child.get(), |child| self.branch(*child).next.get())
    }

    /// Makes `place` a node of its own, by dividing the label that it is in. The part below keeps its node.
    fn own(&mut self, place: Place) -> Result<NodeId, Full> {
        let Some((name, after)) = self.on_the_way(place) else { return Ok(place.node) };
        let start = number(after - name.len())?;
        let divided = *self.branch(place.node);
        let id = NodeId(number(self.branches.len())?);
        let above = Branch {
            parent: divided.parent,
            previous: divided.previous,
            next: divided.next,
            first_child: place.node,
            label: Label { length: number(place.within)?, ..divided.label },
            ..Branch::new(Content::Implied)
        };
        // Takes the place of the divided node below its parent.
        self.unlist(place.node);
        match above.previous.get() {
            Some(previous) => self.branch_mut(previous).next = id,
            None => self.branch_mut(above.parent).first_child = id,
        }
        if let Some(next) = above.next.get() {
            self.branch_mut(next).previous = id;
        }
        self.branches.push(above);
        let below = self.branch_mut(place.node);
        (below.parent, below.previous, below.next) = (id, NodeId::NONE, NodeId::NONE);
        below.label = Label { start: divided.label.start + start, length: divided.label.length - start };
        self.enlist(id);
        self.enlist(place.node);
        Ok(id)
    }

    /// Adds `branch` as the first below `parent`.
    fn add(&mut self, parent: NodeId, branch: Branch) -> Result<NodeId, Full> {
        let id = NodeId(number(self.branches.len())?);
        let next = std::mem::replace(&mut self.branch_mut(parent).first_child, id);
        if let Some(next) = next.get() {
            self.branch_mut(next).previous = id;
        }
        self.branches.push(Branch { parent, next, ..branch });
        self.enlist(id);
        Ok(id)
    }

    /// Puts a node that bears its label into the table.
    fn enlist(&mut self, node: NodeId) {
        let branch = &self.branches[node.0 as usize];
        self.children.insert(branch.parent, first(branch.label.of(&self.names)), node);
    }

    /// Takes a node that bears its label still out of the table.
    fn unlist(&mut self, node: NodeId) {
        let branch = &self.branches[node.0 as usize];
        self.children.remove(branch.parent, first(branch.label.of(&self.names)), node);
    }

    /// Removes all that is below `node`, with the marks there.
    fn clear(&mut self, node: NodeId) {
        let mut pending = vec![node];
        while let Some(parent) = pending.pop() {
            let mut next = std::mem::replace(&mut self.branch_mut(parent).first_child, NodeId::NONE).get();
            while let Some(child) = next {
                next = self.branch(child).next.get();
                self.unlist(child);
                pending.push(child);
            }
            if parent != node {
                *self.branch_mut(parent) = Branch::new(Content::Nothing);
            }
        }
    }

    fn label(&self, branch: &Branch) -> &[u8] {
        branch.label.of(&self.names)
    }

    fn branch(&self, node: NodeId) -> &Branch {
        &self.branches[node.0 as usize]
    }

    fn branch_mut(&mut self, node: NodeId) -> &mut Branch {
        &mut self.branches[node.0 as usize]
    }
}

/// The names of a directory, in byte order.
#[derive(Debug)]
pub(super) struct Children<'a> {
    tree: &'a Tree,
    on_the_way: Option<(&'a [u8], Place)>,
    nodes: std::vec::IntoIter<NodeId>,
}

impl<'a> Iterator for Children<'a> {
    type Item = (&'a [u8], Place);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(one) = self.on_the_way.take() {
            return Some(one);
        }
        let node = self.nodes.next()?;
        let name = first(self.tree.label(self.tree.branch(node)));
        Some((name, Place { node, within: name.len() }))
    }
}

/// Whether `name` is the first name of `label`.
fn leads_with(label: &[u8], name: &[u8]) -> bool {
    label.strip_prefix(name).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// The first name of a label.
fn first(label: &[u8]) -> &[u8] {
    label.split(|byte| *byte == b'/').next().unwrap_or(label)
}
