//! The names of one layer as a tree, in memory that the layer's own length bounds.
//!
//! A chain of directories that the layer only implies (`a/b/c` of a lone entry `a/b/c/file`) is no chain of nodes: the node at
//! its end bears all its names as one label, which is divided when something branches off. So an entry adds two nodes at
//! most, whatever its depth, and their labels hold no byte twice: about 300 bytes, where its header alone takes 512.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::node::{Node, NodeKind, UNDESCRIBED};

/// What a parent without an entry of its own is, as far as its layer can tell.
static IMPLIED: Node = Node { kind: NodeKind::Directory { implied: true }, metadata: UNDESCRIBED };

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

/// A node of the tree, for as long as the tree is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

impl NodeId {
    const ROOT: NodeId = NodeId(0);
}

/// What a path is.
#[derive(Clone, Debug, Default)]
pub(super) enum Content {
    /// Nothing, though there may be a mark.
    #[default]
    Nothing,
    /// A directory that has no entry of its own.
    Implied,
    /// What its entry says; hard links share it.
    Entry(Arc<Node>),
}

/// What the layer says about a path in the layers below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Whether a whiteout deletes it.
    pub(super) deleted: bool,
    /// Whether an opaque whiteout empties it.
    pub(super) opaque: bool,
}

#[derive(Debug, Default)]
struct Branch {
    parent: Option<NodeId>,
    /// The names from the parent's to the node's own; empty for the root, and where the node has been removed.
    label: Box<[u8]>,
    content: Content,
    marks: Marks,
}

/// The tree. Its root is always there.
#[derive(Debug)]
pub(super) struct Tree {
    branches: Vec<Branch>,
    /// Nodes by their parent and the first name of their label, as [`key`] puts it: in byte order below each parent.
    children: BTreeMap<Box<[u8]>, NodeId>,
}

/// More entries than can be counted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Default for Tree {
    fn default() -> Self {
        let root = Branch { content: Content::Implied, ..Branch::default() };
        Tree { branches: vec![root], children: BTreeMap::new() }
    }
}

impl Tree {
    /// The path `name` in the directory `place`, where there is anything, if only a mark.
    pub(super) fn child(&self, place: Place, name: &[u8]) -> Option<Place> {
        match self.on_the_way(place) {
            Some((next, within)) => (next == name).then_some(Place { within, ..place }),
            None => {
                let node = *self.children.get(key(place.node, name).as_slice())?;
                Some(Place { node, within: name.len() })
            }
        }
    }

    /// The directory `place`'s names, in byte order.
    pub(super) fn children(&self, place: Place) -> impl Iterator<Item = (&[u8], Place)> {
        let implied = self.on_the_way(place);
        let one = implied.map(|(name, within)| (name, Place { within, ..place }));
        let all = implied.is_none().then(|| self.children_of(place.node));
        one.into_iter().chain(all.into_iter().flatten())
    }

    /// What is at `place`; nothing where there is only a mark.
    pub(super) fn get(&self, place: Place) -> Option<&Node> {
        let branch = self.branch(place.node);
        match &branch.content {
            _ if place.within < branch.label.len() => Some(&IMPLIED),
            Content::Nothing => None,
            Content::Implied => Some(&IMPLIED),
            Content::Entry(node) => Some(node),
        }
    }

    /// What the entry at `place` says, to be shared; nothing where the place has no entry of its own.
    pub(super) fn entry(&self, place: Place) -> Option<&Arc<Node>> {
        let branch = self.branch(place.node);
        match &branch.content {
            Content::Entry(node) if place.within == branch.label.len() => Some(node),
            _ => None,
        }
    }

    /// The marks at `place`.
    pub(super) fn marks(&self, place: Place) -> Marks {
        let branch = self.branch(place.node);
        if place.within == branch.label.len() { branch.marks } else { Marks::default() }
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
        if let Content::Nothing = self.branch(parent).content {
            self.branch_mut(parent).content = Content::Implied;
        }
        self.add(Branch { parent: Some(parent), label: rest.into(), ..Branch::default() })
    }

    /// Puts `content` at `node`, as an extraction would: a directory keeps what is in it, anything else replaces it all.
    pub(super) fn put(&mut self, node: NodeId, content: Content) {
        let is_directory = match &content {
            Content::Nothing => false,
            Content::Implied => true,
            Content::Entry(entry) => matches!(entry.kind, NodeKind::Directory { .. }),
        };
        if !is_directory {
            self.clear(node);
        }
        self.branch_mut(node).content = content;
    }

    /// Marks `node`.
    pub(super) fn mark(&mut self, node: NodeId, marks: impl FnOnce(&mut Marks)) {
        marks(&mut self.branch_mut(node).marks);
    }

    /// The node's own place.
    pub(super) fn place(&self, node: NodeId) -> Place {
        Place { node, within: self.branch(node).label.len() }
    }

    /// Whether something can be put below `place`; what has been deleted can be made anew.
    pub(super) fn is_directory(&self, place: Place) -> bool {
        self.get(place).is_none_or(|node| matches!(node.kind, NodeKind::Directory { .. }))
    }

    /// The paths of everything whose own name is `name`.
    pub(super) fn named<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
        self.branches.iter().flat_map(move |branch| {
            let mut end = 0;
            let names = branch.label.split(|byte| *byte == b'/').map(move |part| {
                end += part.len() + 1;
                (part, end - 1)
            });
            let alike = names.filter(move |(part, _)| *part == name);
            let there =
                alike.filter(|(_, end)| *end < branch.label.len() || !matches!(branch.content, Content::Nothing));
            there.map(|(_, end)| self.path(branch.parent, &branch.label[..end]))
        })
    }

    /// How many nodes the tree has.
    pub(super) fn nodes(&self) -> usize {
        self.branches.len()
    }

    /// How many nodes the tree has, and how many bytes of names.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.branches.len(), self.branches.iter().map(|branch| branch.label.len()).sum())
    }

    /// The path of `label` below `parent`.
    fn path(&self, parent: Option<NodeId>, label: &[u8]) -> Vec<u8> {
        let mut labels = vec![label];
        let mut above = parent;
        while let Some(node) = above {
            let branch = self.branch(node);
            labels.push(&branch.label);
            above = branch.parent;
        }
        labels.retain(|label| !label.is_empty());
        labels.reverse();
        labels.join(&b'/')
    }

    /// Where `place` is inside a label: the one name in it, and how much of the label that leads to.
    fn on_the_way(&self, place: Place) -> Option<(&[u8], usize)> {
        let label = &self.branch(place.node).label;
        let rest = label.get(place.within..)?.strip_prefix(b"/")?;
        let name = rest.split(|byte| *byte == b'/').next().unwrap_or(rest);
        Some((name, place.within + 1 + name.len()))
    }

    fn children_of(&self, node: NodeId) -> impl Iterator<Item = (&[u8], Place)> {
        let from: Box<[u8]> = key(node, b"").into();
        let prefix = from.clone();
        let below = self.children.range(from..).take_while(move |(key, _)| key.starts_with(&prefix));
        below.map(|(key, child)| {
            let name = &key[KEY_PREFIX..];
            (name, Place { node: *child, within: name.len() })
        })
    }

    /// Makes `place` a node of its own, by dividing the label that it is in. The part below keeps its node.
    fn own(&mut self, place: Place) -> Result<NodeId, Full> {
        let Some((name, after)) = self.on_the_way(place) else { return Ok(place.node) };
        let start = after - name.len();
        let branch = self.branch(place.node);
        let above = Branch {
            parent: branch.parent,
            label: branch.label[..place.within].into(),
            content: Content::Implied,
            marks: Marks::default(),
        };
        let below: Box<[u8]> = branch.label[start..].into();
        // Takes the place of the divided node below its parent.
        let above = self.add(above)?;
        self.children.insert(key(above, first(&below)).into(), place.node);
        let branch = self.branch_mut(place.node);
        branch.parent = Some(above);
        branch.label = below;
        Ok(above)
    }

    fn add(&mut self, branch: Branch) -> Result<NodeId, Full> {
        let id = NodeId(u32::try_from(self.branches.len()).map_err(|_| Full)?);
        if let Some(parent) = branch.parent {
            self.children.insert(key(parent, first(&branch.label)).into(), id);
        }
        self.branches.push(branch);
        Ok(id)
    }

    /// Removes all that is below `node`, with the marks there.
    fn clear(&mut self, node: NodeId) {
        let mut pending = vec![node];
        while let Some(parent) = pending.pop() {
            let children: Vec<(Box<[u8]>, NodeId)> =
                self.children_of(parent).map(|(name, child)| (key(parent, name).into(), child.node)).collect();
            for (key, child) in children {
                self.children.remove(&key);
                *self.branch_mut(child) = Branch::default();
                pending.push(child);
            }
        }
    }

    fn branch(&self, node: NodeId) -> &Branch {
        &self.branches[node.0 as usize]
    }

    fn branch_mut(&mut self, node: NodeId) -> &mut Branch {
        &mut self.branches[node.0 as usize]
    }
}

/// How many bytes of a [`key`] name the parent.
const KEY_PREFIX: usize = size_of::<u32>();

/// One key for a parent and a name, so that a name can be looked up without owning it.
fn key(parent: NodeId, name: &[u8]) -> Vec<u8> {
    [&parent.0.to_be_bytes(), name].concat()
}

/// The first name of a label.
fn first(label: &[u8]) -> &[u8] {
    label.split(|byte| *byte == b'/').next().unwrap_or(label)
}
