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
mod sources;

pub use generate::generate;
#[cfg(target_os = "linux")]
pub use kernel::{Merged, Resolved, why_not};
pub use sources::{Place, get, image, listing};

use crate::support::{dir, fifo, file, hardlink, opaque, symlink, tar_of, whiteout};

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
    tar_of(layer.iter().map(|StackEntry { path, what, mode }| {
        let entry = match what {
            What::File(content) => file(path, content),
            What::Directory => dir(path),
            What::Symlink(target) => symlink(path, target),
            What::HardLink(target) => hardlink(path, target),
            What::Fifo => fifo(path),
            What::Whiteout => whiteout(path),
            What::Opaque => opaque(path),
        };
        entry.mode(*mode)
    }))
}
