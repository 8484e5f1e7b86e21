//! The rootfs: all layers as the one tree that a container would see.
//!
//! Each layer's entries go into a [`LayerIndex`]; a [`View`] merges indexes from the top down and knows what it
//! does not know while lower layers are missing; [`walk`] resolves paths in it; a [`Pattern`] is what a person asked for.

#[cfg(test)]
mod adversaries;
mod index;
pub mod nearest;
mod pattern;
mod placing;
mod tree;
mod view;
pub mod walk;
mod ways;

pub use index::{DataOffset, Inserted, LayerIndex, MAX_SYMLINKS, Node, NodeKind, Refused, components, join, split};
pub use pattern::{Candidates, InvalidPattern, Pattern};
pub use view::{Child, Directory, View};
