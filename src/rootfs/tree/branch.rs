//! What a tree is made of: its nodes, with their labels, content and marks, and the numbers by which they name one another.
//!
//! Every number has four bytes, and so a node takes 32.

/// A node of the tree, for as long as the tree is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::rootfs) struct NodeId(pub(super) u32);

impl NodeId {
    pub(super) const ROOT: NodeId = NodeId(0);
    /// No node.
    pub(super) const NONE: NodeId = NodeId(u32::MAX);

    pub(super) fn get(self) -> Option<NodeId> {
        (self != NodeId::NONE).then_some(self)
    }
}

/// What an entry of the layer says, for as long as the tree is there. Hard links share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rootfs) struct EntryId(pub(super) u32);

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rootfs) enum Content {
    /// Nothing, though there may be a mark.
    Nothing,
    /// A directory that has no entry of its own.
    Implied,
    /// What its entry says.
    Entry(EntryId),
}

/// A [`Content`] in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed(u32);

impl Packed {
    pub(super) const NOTHING: Packed = Packed(u32::MAX);
    pub(super) const IMPLIED: Packed = Packed(u32::MAX - 1);

    pub(super) fn of(content: Content) -> Self {
        match content {
            Content::Nothing => Packed::NOTHING,
            Content::Implied => Packed::IMPLIED,
            Content::Entry(EntryId(entry)) => Packed(entry),
        }
    }

    pub(super) fn content(self) -> Content {
        match self {
            Packed::NOTHING => Content::Nothing,
            Packed::IMPLIED => Content::Implied,
            Packed(entry) => Content::Entry(EntryId(entry)),
        }
    }
}

/// More of anything than this cannot be counted: greater numbers have meanings of their own.
const MOST: u32 = u32::MAX - 2;

/// More entries, or bytes of names, than can be counted.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rootfs) struct Full;

/// `count` as one of the numbers by which the tree counts.
pub(super) fn number(count: usize) -> Result<u32, Full> {
    u32::try_from(count).ok().filter(|count| *count <= MOST).ok_or(Full)
}

/// What the layer says about a path in the layers below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rootfs) struct Marks {
    /// Whether a whiteout deletes it.
    pub(in crate::rootfs) deleted: bool,
    /// Whether an opaque whiteout empties it.
    pub(in crate::rootfs) opaque: bool,
}

/// A node. Those below one parent are a list in both directions, the latest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch {
    pub(super) parent: NodeId,
    pub(super) first_child: NodeId,
    pub(super) previous: NodeId,
    pub(super) next: NodeId,
    pub(super) content: Packed,
    pub(super) label: Label,
    pub(super) marks: Marks,
}

impl Branch {
    /// What stands where a node has been removed, or is not linked yet.
    pub(super) fn new(content: Content) -> Self {
        Branch {
            parent: NodeId::NONE,
            first_child: NodeId::NONE,
            previous: NodeId::NONE,
            next: NodeId::NONE,
            content: Packed::of(content),
            label: Label::default(),
            marks: Marks::default(),
        }
    }

    /// The length of its label in bytes.
    pub(super) fn length(&self) -> usize {
        self.label.length as usize
    }
}

/// The names from a parent's to a node's own; empty for the root, and where the node has been removed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Label {
    /// Where it begins in the bytes of all names.
    pub(super) start: u32,
    /// Its length in bytes.
    pub(super) length: u32,
}

impl Label {
    /// Its bytes, where `names` are those of all labels.
    pub(super) fn of(self, names: &[u8]) -> &[u8] {
        &names[self.start as usize..][..self.length as usize]
    }
}
