//! Decoders, one interface to all of them: a step takes some input, gives some output, and may say that decoding could begin behind it.

use super::compression::Compression;
use super::decoded::{Boundary, Decoded};
use super::error::LayerError;
use super::extent::Checkpoint;
use super::gzip::Gzip;
use super::zstd::Zstd;

/// A decoder of a blob, or of a part of one.
pub(super) enum Decoder {
    /// Of a plain tar, which needs none: it is read out of the input.
    Plain,
    /// Of gzip.
    Gzip(Gzip),
    /// Of zstd.
    Zstd(Zstd),
}

impl Decoder {
    /// A decoder of a whole blob.
    pub(super) fn new(compression: Compression) -> Result<Self, LayerError> {
        match compression {
            Compression::None => Ok(Decoder::Plain),
            Compression::Gzip => Gzip::new().map(Decoder::Gzip).map_err(LayerError::Compression),
            Compression::Zstd => Zstd::new().map(Decoder::Zstd).map_err(LayerError::Compression),
        }
    }

    /// A decoder of what begins at a checkpoint.
    pub(super) fn resume(checkpoint: &Checkpoint) -> Result<Self, LayerError> {
        match checkpoint {
            Checkpoint::Plain => Self::new(Compression::None),
            Checkpoint::ZstdFrame => Self::new(Compression::Zstd),
            Checkpoint::DeflateBlock { skipped_bits, window } => {
                Gzip::resume(*skipped_bits, window).map(Decoder::Gzip).map_err(LayerError::Compression)
            }
        }
    }

    /// What it decodes.
    pub(super) fn compression(&self) -> Compression {
        match self {
            Decoder::Plain => Compression::None,
            Decoder::Gzip(_) => Compression::Gzip,
            Decoder::Zstd(_) => Compression::Zstd,
        }
    }

    /// Decodes some of `input` into `output`, which has room. Given `stops`, it does not go past a [`Boundary`] without saying so.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8], stops: bool) -> Result<Decoded, String> {
        match self {
            Decoder::Plain => Ok(Decoded::default()),
            Decoder::Gzip(gzip) => gzip.step(input, output, stops),
            Decoder::Zstd(zstd) => zstd.step(input, output),
        }
    }

    /// What a decoder must know to begin where this one is, which has just said that this is a `boundary`.
    pub(super) fn checkpoint(&self, boundary: Boundary) -> Result<Checkpoint, String> {
        Ok(match (self, boundary) {
            (Decoder::Gzip(gzip), Boundary::DeflateBlock { unused_bits, .. }) => {
                Checkpoint::DeflateBlock { skipped_bits: (8 - unused_bits) % 8, window: gzip.window()? }
            }
            _ => Checkpoint::ZstdFrame,
        })
    }

    /// Whether the stream may end here.
    pub(super) fn may_end(&self) -> bool {
        match self {
            Decoder::Plain => true,
            Decoder::Gzip(gzip) => gzip.may_end(),
            Decoder::Zstd(zstd) => zstd.may_end(),
        }
    }
}
