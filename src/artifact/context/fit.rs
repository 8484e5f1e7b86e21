//! Whether what is copied comes out of a folder, or out of a layout, as it would out of the image.
//!
//! BuildKit's client sends a folder with all owners 0:0, and the builder writes each file after it has given it its mode, which
//! takes setuid and setgid off where the builder is not root of the machine. A layout is unpacked as any image is.
//! Spec: `docker/buildx`, `build/opt.go`; `tonistiigi/fsutil`, `diskwriter.go`; write(2).

use super::unfit::Unfit;
use crate::artifact::shown::{show, show_path};
use crate::extract::{Item, Metadata, Node};
use crate::rootfs::join;

/// What stands in for the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A folder, sent to the builder file by file.
    Folder,
    /// An OCI image layout, whose layer the builder unpacks.
    Layout,
}

const SET_ID: u32 = 0o6000;
/// What the owner of a file, and of a directory, needs to send it.
const READABLE: u32 = 0o400;
const LISTABLE: u32 = 0o500;

impl Form {
    /// Checks `item`, which is at the canonical `path` of the image, and all that is below it.
    pub fn check(self, item: &Item, path: &[u8], keeps_owner: bool) -> Result<(), Unfit> {
        let mut waiting = vec![(path.to_vec(), item)];
        while let Some((path, item)) = waiting.pop() {
            self.check_metadata(&item.metadata, &path, keeps_owner)?;
            self.check_node(item, &path)?;
            if let Node::Directory(children) = &item.node {
                waiting.extend(children.iter().map(|(name, child)| (join(&path, name), child)));
            }
        }
        Ok(())
    }

    /// Checks what is said of the directory at the canonical `path`, which is copied without all that is in it.
    pub fn check_directory(self, metadata: &Metadata, path: &[u8], keeps_owner: bool) -> Result<(), Unfit> {
        self.check_metadata(metadata, path, keeps_owner)?;
        self.check_mode(metadata.mode, path, LISTABLE)
    }

    fn check_metadata(self, metadata: &Metadata, path: &[u8], keeps_owner: bool) -> Result<(), Unfit> {
        if self == Form::Layout {
            return Ok(());
        }
        let Metadata { uid, gid, xattrs, .. } = metadata;
        if keeps_owner && (*uid, *gid) != (0, 0) {
            return Err(Unfit::Owner { path: show_path(path), uid: *uid, gid: *gid });
        }
        match xattrs.first() {
            Some((name, _)) => Err(Unfit::Attribute { path: show_path(path), name: show(name) }),
            None => Ok(()),
        }
    }

    fn check_node(self, item: &Item, path: &[u8]) -> Result<(), Unfit> {
        let mode = item.metadata.mode;
        let is_text = std::str::from_utf8(path).is_ok();
        let is_text = is_text && !matches!(&item.node, Node::Symlink(target) if std::str::from_utf8(target).is_err());
        if self == Form::Folder && !is_text {
            return Err(Unfit::Name { path: show_path(path) });
        }
        match item.node {
            Node::Special => Err(Unfit::Special { path: show_path(path) }),
            Node::Symlink(_) => Ok(()),
            Node::Directory(_) => self.check_mode(mode, path, LISTABLE),
            Node::File(_) if self == Form::Folder && mode & SET_ID != 0 => {
                let problem = "it would lose setuid and setgid unless the builder runs as root";
                Err(Unfit::Mode { path: show_path(path), mode, problem })
            }
            Node::File(_) => self.check_mode(mode, path, READABLE),
        }
    }

    fn check_mode(self, mode: u32, path: &[u8], needed: u32) -> Result<(), Unfit> {
        if self == Form::Layout || mode & needed == needed {
            return Ok(());
        }
        Err(Unfit::Mode { path: show_path(path), mode, problem: "only root could send it" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::extract::{Destination, Staging};
    use crate::rootfs::UNDESCRIBED;

    fn link(target: &[u8]) -> Item {
        Item { metadata: UNDESCRIBED, node: Node::Symlink(target.to_vec()) }
    }

    fn directory(name: &[u8], item: Item) -> Item {
        Item { metadata: UNDESCRIBED, node: Node::Directory(BTreeMap::from([(name.to_vec(), item)])) }
    }

    fn with(metadata: Metadata) -> Item {
        directory(b"l", Item { metadata, ..link(b"x") })
    }

    #[test]
    fn what_a_folder_would_lose_is_found_wherever_it_is() {
        let owned = with(Metadata { uid: 1, ..UNDESCRIBED });
        assert_eq!(
            Form::Folder.check(&owned, b"opt/d", true),
            Err(Unfit::Owner { path: "/opt/d/l".to_owned(), uid: 1, gid: 0 })
        );
        assert_eq!(Form::Folder.check(&owned, b"opt/d", false), Ok(()));
        let capability = vec![(b"security.capability".to_vec(), b"x".to_vec())];
        let capable = with(Metadata { xattrs: capability, ..UNDESCRIBED });
        let unfit = Form::Folder.check(&capable, b"d", false).unwrap_err();
        assert_eq!(unfit.to_string(), "/d/l has file capabilities, which a folder would lose");
        for item in [directory(b"\xff", link(b"x")), directory(b"l", link(b"\xff"))] {
            assert!(matches!(Form::Folder.check(&item, b"d", true), Err(Unfit::Name { .. })));
            assert_eq!(Form::Layout.check(&item, b"d", true), Ok(()));
        }
        for item in [owned, capable] {
            assert_eq!(Form::Layout.check(&item, b"d", true), Ok(()));
        }
        let special = directory(b"null", Item { metadata: UNDESCRIBED, node: Node::Special });
        for form in [Form::Folder, Form::Layout] {
            assert_eq!(form.check(&special, b"dev", true), Err(Unfit::Special { path: "/dev/null".to_owned() }));
        }
    }

    #[test]
    fn a_mode_that_a_folder_does_not_keep_is_found_and_sticky_is_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let staging = Staging::new(&Destination::Directory(scratch.path().to_owned())).unwrap();
        let content = staging.stage(&mut &b"x"[..], 1).unwrap();
        let file = |mode| Item { metadata: Metadata { mode, ..UNDESCRIBED }, node: Node::File(content.clone()) };
        for (item, is_fit) in [
            (file(0o4755), false),
            (file(0o2755), false),
            (file(0o111), false),
            (file(0o400), true),
            (Item { metadata: Metadata { mode: 0o3777, ..UNDESCRIBED }, ..directory(b"l", link(b"x")) }, true),
            (Item { metadata: Metadata { mode: 0o311, ..UNDESCRIBED }, ..directory(b"l", link(b"x")) }, false),
        ] {
            assert_eq!(Form::Folder.check(&item, b"d", true).is_ok(), is_fit, "{:04o}", item.metadata.mode);
            assert_eq!(Form::Layout.check(&item, b"d", true), Ok(()));
        }
    }
}
