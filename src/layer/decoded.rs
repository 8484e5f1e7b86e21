//! What one call of a decoder did, in the terms that all decoders share.

/// What one call of a decoder did. Where it did nothing, it needs more input, or is at the end.
#[derive(Default)]
pub(super) struct Decoded {
    /// Bytes taken from the input.
    pub(super) consumed: usize,
    /// Bytes written to the output.
    pub(super) produced: usize,
    /// Set if decoding could begin here.
    pub(super) boundary: Option<Boundary>,
}

/// A place where decoding could begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundary {
    /// A zstd frame begins, or the stream ends.
    ZstdFrame,
    /// A deflate block begins.
    DeflateBlock {
        /// How many (0 to 7) of the last byte's highest bits belong to it.
        unused_bits: u8,
        /// How many bytes of what was decoded last it may refer back to.
        history: usize,
    },
}

impl Boundary {
    /// Where in the blob the first byte is that is needed from here on, `taken` bytes into which the decoder is.
    pub(super) fn begins_at(self, taken: u64) -> u64 {
        match self {
            Boundary::DeflateBlock { unused_bits: 1.., .. } => taken.saturating_sub(1),
            _ => taken,
        }
    }
}
