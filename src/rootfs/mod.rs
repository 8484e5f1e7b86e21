//! The rootfs: all layers as the one tree that a container would see.
//!
//! Each layer's entries go into a [`LayerIndex`], of all paths or of those that can matter ([`Known`]); a [`View`] merges indexes from the top down and knows what it
//! does not know while lower layers are missing; [`walk`] resolves paths in it; a [`Pattern`] is what a person asked for, and
//! [`lookup`] says what is to be read next for it, or what it comes to.

#[cfg(test)]
mod adversaries;
pub mod below;
mod depth;
#[cfg(test)]
pub(crate) mod fixture;
mod index;
mod journal;
mod kept;
mod known;
mod likeness;
pub mod lookup;
mod more;
mod near;
pub mod nearest;
mod node;
mod path;
mod pattern;
mod placing;
mod refused;
mod spread;
pub mod trail;
mod tree;
mod view;
pub mod walk;
mod ways;

pub use depth::Depth;
pub use index::{Inserted, LayerIndex};
pub use kept::Kept;
pub use known::{Known, KnownLayer, ask};
pub use more::{Each, More, Said};
pub use node::{Node, NodeKind, UNDESCRIBED};
pub use path::{MAX_SYMLINKS, components, join, split};
pub use pattern::{Candidates, InvalidPattern, Pattern};
pub use refused::Refused;
pub use spread::Directory;
pub use view::{Child, View};
