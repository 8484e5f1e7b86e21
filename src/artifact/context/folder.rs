//! The folder as it will be: each thing under the path that it is copied by, and no link on the way to it.
//!
//! A link that BuildKit would follow is not put there, but what it leads to, as what is copied has the name of the path all the
//! same. With the link, the file behind it would often not be sent: of an instruction's paths that lead through one link, BuildKit
//! follows the first alone when it selects what is sent of a folder (`tonistiigi/fsutil`, `followlinks.go`). A directory that is
//! copied is there with all below it, its links included, and what is copied out of it by itself is not put there again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Vacancy;

use crate::extract::{Item, Metadata, Node};
use crate::layer::entry::{Entry, Kind, Special};
use crate::rootfs::{LayerIndex, Refused, UNDESCRIBED, components, join, split};

/// The folder in the making.
#[derive(Debug, Default)]
pub struct Folder {
    items: BTreeMap<Vec<u8>, Item>,
    /// Where each thing is, with its canonical path in the image.
    placed: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Folder {
    /// Puts what is at the canonical path `real_path` of the image at `place`. Things are put in the order of their places. What is
    /// inside of something that is there already stays as that has it. Gives whether nothing else is in the way.
    pub fn put(&mut self, place: &[u8], real_path: &[u8], item: Item) -> bool {
        if let Some(other) = self.placed.get(place) {
            return other == real_path;
        }
        let (above, name) = split(place);
        let mut items = &mut self.items;
        let mut at = Vec::new();
        for name in components(above) {
            at = join(&at, name);
            if self.placed.contains_key(&at) {
                return true;
            }
            let new = || Item { metadata: UNDESCRIBED, node: Node::Directory(BTreeMap::new()) };
            match &mut items.entry(name.to_vec()).or_insert_with(new).node {
                Node::Directory(children) => items = children,
                _ => return false,
            }
        }
        match items.entry(name.to_vec()) {
            Vacancy::Vacant(vacant) => drop(vacant.insert(item)),
            Vacancy::Occupied(_) => return false,
        }
        self.placed.insert(place.to_vec(), real_path.to_vec());
        true
    }

    /// Gives the directory at `place` this `metadata`, where it is only there for what is in it.
    pub fn describe(&mut self, place: &[u8], metadata: Metadata) {
        if self.real_path(place).is_none()
            && let Some(item) = at(&mut self.items, place)
        {
            item.metadata = metadata;
        }
    }

    /// The canonical path in the image of what is at `path`; `None` where that is only there for what is in it, or not at all.
    pub fn real_path(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut end = path.len();
        loop {
            if let Some(real_path) = self.placed.get(&path[..end]) {
                return Some(components(&path[end..]).fold(real_path.clone(), |path, name| join(&path, name)));
            }
            end = path[..end].iter().rposition(|byte| *byte == b'/')?;
        }
    }

    /// Whether something is called `name` at its top.
    pub fn has_at_top(&self, name: &[u8]) -> bool {
        self.items.contains_key(name)
    }

    /// The symlinks at `place` and below.
    pub fn links(&self, place: &[u8]) -> Vec<Vec<u8>> {
        let (above, name) = split(place);
        let directory = components(above).try_fold(&self.items, |items, name| match &items.get(name)?.node {
            Node::Directory(children) => Some(children),
            _ => None,
        });
        let mut waiting: Vec<(Vec<u8>, &Item)> =
            directory.and_then(|items| items.get(name)).map(|item| (place.to_vec(), item)).into_iter().collect();
        let mut links = Vec::new();
        while let Some((path, item)) = waiting.pop() {
            match &item.node {
                Node::Symlink(_) => links.push(path),
                Node::Directory(children) => {
                    waiting.extend(children.iter().map(|(name, child)| (join(&path, name), child)));
                }
                _ => {}
            }
        }
        links
    }

    /// What is in it, as though it were a layer.
    pub fn index(&self) -> Result<LayerIndex, Refused> {
        let mut index = LayerIndex::default();
        // Each directory comes before what is in it.
        let mut waiting: Vec<(Vec<u8>, &Item)> = self.items.iter().map(|(name, item)| (name.clone(), item)).collect();
        while let Some((path, item)) = waiting.pop() {
            let kind = match &item.node {
                Node::File(staged) => Kind::File { size: staged.size, sparse: false },
                Node::Symlink(target) => Kind::Symlink(target.clone()),
                Node::Special => Kind::Special(Special::Fifo),
                Node::Directory(children) => {
                    waiting.extend(children.iter().map(|(name, child)| (join(&path, name), child)));
                    Kind::Directory
                }
            };
            let Metadata { mode, uid, gid, mtime, .. } = item.metadata;
            let (xattrs, header_offset, data_offset) = Default::default();
            index.insert(&Entry { path, kind, mode, uid, gid, mtime, xattrs, header_offset, data_offset })?;
        }
        Ok(index)
    }

    /// What is in it, ready to be written.
    pub fn into_items(self) -> BTreeMap<Vec<u8>, Item> {
        self.items
    }
}

fn at<'a>(items: &'a mut BTreeMap<Vec<u8>, Item>, place: &[u8]) -> Option<&'a mut Item> {
    let (above, name) = split(place);
    let directory = components(above).try_fold(items, |items, name| match &mut items.get_mut(name)?.node {
        Node::Directory(children) => Some(children),
        _ => None,
    });
    directory?.get_mut(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::View;
    use crate::rootfs::walk::{Found, resolve};

    fn link(target: &str) -> Item {
        Item { metadata: UNDESCRIBED, node: Node::Symlink(target.into()) }
    }

    fn directory(children: &[(&str, Item)]) -> Item {
        let children = children.iter().map(|(name, item)| (name.as_bytes().to_vec(), item.clone())).collect();
        Item { metadata: UNDESCRIBED, node: Node::Directory(children) }
    }

    #[test]
    fn what_is_in_a_directory_that_is_there_is_not_put_there_again() {
        let mut folder = Folder::default();
        assert!(folder.put(b"opt/app", b"srv/app", directory(&[("l", link("x"))])));
        assert!(folder.put(b"opt/app/l", b"srv/app/x", directory(&[])));
        assert!(folder.put(b"opt/other", b"other", directory(&[])));
        assert!(!folder.put(b"opt/other", b"another", directory(&[])), "something else is there");
        assert!(!folder.put(b"opt", b"opt", directory(&[])), "out of order");
        let index = folder.index().unwrap();
        let view = View::new(vec![&index], true);
        assert!(matches!(resolve(&view, b"opt/app/l", false), Found::Leaf(_)));
    }

    #[test]
    fn it_is_known_where_in_the_image_each_thing_is() {
        let mut folder = Folder::default();
        assert!(folder.put(b"bin", b"usr/bin", directory(&[("ls", link("x"))])));
        assert!(folder.put(b"opt/a", b"opt/a", link("x")));
        for (path, real_path) in [("bin/ls", Some("usr/bin/ls")), ("bin", Some("usr/bin")), ("opt", None), ("", None)] {
            assert_eq!(folder.real_path(path.as_bytes()), real_path.map(|path| path.as_bytes().to_vec()), "{path}");
        }
        folder.describe(b"opt", Metadata { mode: 0o700, ..UNDESCRIBED });
        folder.describe(b"bin", Metadata { mode: 0o700, ..UNDESCRIBED });
        let items = folder.into_items();
        let mode = |name: &str| items[name.as_bytes()].metadata.mode;
        assert_eq!((mode("opt"), mode("bin")), (0o700, 0o755), "what is copied stays as it is");
    }
}
