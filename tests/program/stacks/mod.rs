//! Random stacks of layers, and what the kernel makes of them: the oracle for the merged view.
//!
//! A stack is generated from a seed, written as tars for the program, and extracted for overlayfs as container engines extract
//! it. What is generated is what engines agree on. Where they differ, or refuse the layer, there is nothing to compare with,
//! and so these never come up within one layer:
//!
//! - A path both deleted and made a directory. OCI's image-spec hides the lower directory's content; containerd and Docker's
//!   overlay2 driver show it, as the whiteout is overwritten. (Deleted and made something else is generated.)
//! - A whiteout for what the layer has already put there, or anything below a whiteout: engines fail.
//! - A directory that is replaced and made again, and anything below what is no directory any more.
//! - Parents that are symlinks of the same layer: containerd follows them, older engines differ.
//! - An opaque root: overlayfs takes no notice of it.
//!
//! Parents without an entry get the mode of the directory that the layers below have there, as containerd gives it to them, also
//! inside an opaque directory, or where the opaque whiteout stands alone. And a whiteout below what the layer has made a file
//! of, as `umoci repack` writes it, changes nothing, as with `umoci unpack`; containerd refuses it.
//!
//! Hard links to a lower layer's file are generated although the overlay drivers of today fail on them, since layers extracted
//! one over another (graph drivers without layers of their own, umoci, an image built that way) have them: the link is the
//! lower layer's file, as it is without this layer.

// Each test binary uses a part of this.
#![allow(dead_code)]

mod generate;
#[cfg(target_os = "linux")]
mod kernel;

pub use generate::generate;
#[cfg(target_os = "linux")]
pub use kernel::{Merged, Resolved, why_not};

use tar::{Builder, EntryType, Header};

/// One entry of a layer.
#[derive(Clone, Debug)]
pub struct StackEntry {
    /// Its canonical path: what a whiteout deletes, and the directory that an opaque whiteout empties.
    pub path: String,
    /// What it is.
    pub what: What,
    /// Its permission bits; a hard link's are those of its target.
    pub mode: u32,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    /// A link to this path, of this layer or, where this layer has no such path, of the layers below.
    HardLink(String),
    Fifo,
    Whiteout,
    Opaque,
}

/// Something in the merged tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    File { mode: u32, sha256: String },
    Directory { mode: u32 },
    Symlink(Vec<u8>),
    Fifo { mode: u32 },
}

/// A layer as its tar.
pub fn write_tar(layer: &[StackEntry]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for entry in layer {
        let mut header = Header::new_ustar();
        header.set_mode(entry.mode);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        let (parent, base) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let beside = |name: String| if parent.is_empty() { name } else { format!("{parent}/{name}") };
        let (kind, name) = match &entry.what {
            What::File(_) => (EntryType::Regular, entry.path.clone()),
            What::Directory => (EntryType::Directory, format!("{}/", entry.path)),
            What::Symlink(_) => (EntryType::Symlink, entry.path.clone()),
            What::HardLink(_) => (EntryType::Link, entry.path.clone()),
            What::Fifo => (EntryType::Fifo, entry.path.clone()),
            What::Whiteout => (EntryType::Regular, beside(format!(".wh.{base}"))),
            What::Opaque => (EntryType::Regular, format!("{}/.wh..wh..opq", entry.path)),
        };
        header.set_entry_type(kind);
        let content: &[u8] = if let What::File(content) = &entry.what { content } else { &[] };
        header.set_size(content.len() as u64);
        header.set_path(name).expect("generated names fit a header");
        if let What::Symlink(target) | What::HardLink(target) = &entry.what {
            header.set_link_name_literal(target).expect("generated targets fit a header");
        }
        header.set_cksum();
        builder.append(&header, content).expect("writing to memory does not fail");
    }
    builder.into_inner().expect("writing to memory does not fail")
}
