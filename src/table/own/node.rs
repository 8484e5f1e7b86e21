//! The two levels of nodes above the leaves. A node names what is below it: the least key that each may have, its length and its digest.
//! What is below a node lies in the table without a gap, so that only where the first begins is said.

use super::block::{self, DIGEST};
use super::numbers::{Bytes, put, put_string, shared};
use super::row::{Blob, Part};
use crate::layer::{Compression, MAX_NAME};
use crate::table::Unusable;

/// The version of tables that is written and read.
const VERSION: u64 = 1;

/// The longest node, decoded without its digests, in bytes.
pub(super) const MAX_DECODED: usize = 4 << 20;
/// The longest top node, as it is stored.
pub(super) const MAX_TOP: u64 = 256 << 10;
/// The longest middle node, as it is stored.
pub(super) const MAX_MIDDLE: u64 = 4 << 20;

/// How many children a node has at most.
pub(super) const MAX_CHILDREN: u64 = 1 << 15;

/// A leaf or a node, as the node above it names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Child {
    /// No key in it is less than this.
    pub(super) key: Vec<u8>,
    pub(super) part: Part,
}

/// Puts a node together.
#[derive(Debug, Default)]
pub(super) struct NodeWriter {
    children: Vec<u8>,
    digests: Vec<u8>,
    count: u64,
    start: u64,
    key: Vec<u8>,
    keys: usize,
}

impl NodeWriter {
    /// How many bytes it has, decoded, and with its keys written out.
    pub(super) fn length(&self) -> usize {
        self.digests.len() + self.children.len().max(self.keys)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn push(&mut self, child: &Child) {
        if self.count == 0 {
            self.start = child.part.range.0;
        }
        let shared = shared(&self.key, &child.key);
        put(&mut self.children, shared as u64);
        put_string(&mut self.children, &child.key[shared..]);
        put(&mut self.children, child.part.length());
        self.digests.extend_from_slice(&child.part.digest);
        self.key.clone_from(&child.key);
        self.keys += child.key.len();
        self.count += 1;
    }

    /// The content of the block, behind what is in `head`, and its digests.
    pub(super) fn finish(self, head: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        let mut content = head;
        put(&mut content, self.count);
        put(&mut content, self.start);
        content.extend_from_slice(&self.children);
        (content, self.digests)
    }
}

/// What the top node tells of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) blob: Blob,
    pub(super) rows: u64,
    pub(super) is_simple: bool,
}

impl Head {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, VERSION);
        put_string(&mut out, self.blob.digest.as_str().as_bytes());
        put(&mut out, self.blob.size);
        out.push(match self.blob.compression {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Zstd => 2,
        });
        out.push(u8::from(self.is_simple));
        put(&mut out, self.rows);
        out
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<Self, Unusable> {
        let version = bytes.number()?;
        if version != VERSION {
            return Err(Unusable::new(format!("the table is of version {version}, which is not known here")));
        }
        let digest = std::str::from_utf8(bytes.string(256)?).ok().and_then(|digest| digest.parse().ok());
        let digest = digest.ok_or_else(|| Unusable::new("the table names its layer by no digest"))?;
        let size = bytes.number()?;
        let compression = match bytes.byte()? {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Zstd,
            _ => return Err(Unusable::new("the table is of a layer of an unknown compression")),
        };
        let is_simple = match bytes.byte()? {
            is @ (0 | 1) => is == 1,
            _ => return Err(Unusable::new("the table does not say in which order its rows may be taken")),
        };
        Ok(Head { blob: Blob { digest, size, compression }, rows: bytes.number()?, is_simple })
    }
}

/// The top node in `bytes`. What is below it ends where `end` is at the latest.
pub(super) fn top(bytes: &[u8], end: u64) -> Result<(Head, Vec<Child>), Unusable> {
    let (content, digests) = block::unpack(bytes, MAX_DECODED)?;
    let mut bytes = Bytes(&content);
    let head = Head::read(&mut bytes)?;
    Ok((head, children(bytes, digests, (end, MAX_MIDDLE))?))
}

/// The middle node in `bytes`. What is below it ends where `end` is at the latest, and none is longer than `most` bytes.
pub(super) fn middle(bytes: &[u8], end: u64, most: u64) -> Result<Vec<Child>, Unusable> {
    let (content, digests) = block::unpack(bytes, MAX_DECODED)?;
    children(Bytes(&content), digests, (end, most))
}

fn children(bytes: Bytes<'_>, digests: block::Digests<'_>, (end, most): (u64, u64)) -> Result<Vec<Child>, Unusable> {
    let (mut bytes, mut digests) = (bytes, digests);
    let (count, mut start) = (bytes.number()?, bytes.number()?);
    if count > MAX_CHILDREN || count != (digests.rest().len() / DIGEST) as u64 {
        return Err(Unusable::new("a node of the table has too much below it, or too few digests"));
    }
    let (mut all, mut key, mut keys) = (Vec::<Child>::new(), Vec::new(), 0);
    for _ in 0..count {
        let shared = usize::try_from(bytes.number()?).ok().filter(|shared| *shared <= key.len());
        let shared = shared.ok_or_else(|| Unusable::new("a name in the table shares more than there is"))?;
        let rest = bytes.string(MAX_NAME)?;
        if rest < &key[shared..] {
            return Err(Unusable::new("the nodes of the table are not in their order"));
        }
        key.truncate(shared);
        key.extend_from_slice(rest);
        keys += key.len();
        if key.len() > MAX_NAME || keys > MAX_DECODED {
            return Err(Unusable::new("the names in a node of the table are too long"));
        }
        let length = bytes.number()?;
        let child_end = start.checked_add(length).filter(|child_end| *child_end <= end && length <= most);
        let child_end = child_end.ok_or_else(|| Unusable::new("a part of the table is not where it can be"))?;
        all.push(Child { key: key.clone(), part: Part { range: (start, child_end), digest: digests.next()? } });
        start = child_end;
    }
    digests.end()?;
    match bytes.is_empty() {
        true => Ok(all),
        false => Err(Unusable::new("there is something behind the last child of a node")),
    }
}
