//! From where a table says that a blob can be begun to what a decoder takes.

use super::block;
use super::row::{Part, State};
use crate::layer::checkpoint::Checkpoint;
use crate::table::Unusable;

/// The longest window of deflate in bytes (RFC 1951, section 3.2.5).
const MAX_WINDOW: usize = 32 << 10;

impl State {
    /// The part of the table that must be read first, if there is one.
    pub fn window(&self) -> Option<&Part> {
        match self {
            State::DeflateBlock { window, .. } => window.as_ref(),
            State::Plain | State::ZstdFrame => None,
        }
    }

    /// What a decoder must know; `window` is what the table has where [`State::window`] says.
    pub fn checkpoint(&self, window: &[u8]) -> Result<Checkpoint, Unusable> {
        Ok(match self {
            State::Plain => Checkpoint::Plain,
            State::ZstdFrame => Checkpoint::ZstdFrame,
            State::DeflateBlock { skipped_bits, window: None } => {
                Checkpoint::DeflateBlock { skipped_bits: *skipped_bits, window: Vec::new() }
            }
            State::DeflateBlock { skipped_bits, window: Some(part) } => {
                part.check(window)?;
                Checkpoint::DeflateBlock { skipped_bits: *skipped_bits, window: block::decode(window, MAX_WINDOW)? }
            }
        })
    }
}
