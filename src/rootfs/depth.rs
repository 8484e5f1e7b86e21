//! Which layer, counted as they are looked at.

/// A layer's place from the top of an image: 0 is the uppermost. Its position in a manifest is counted from the bottom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Depth(pub usize);

impl Depth {
    /// The uppermost layer.
    pub const TOP: Depth = Depth(0);

    /// The next layer down.
    pub fn below(self) -> Depth {
        Depth(self.0 + 1)
    }
}
