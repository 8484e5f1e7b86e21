//! How a layer is compressed, found out by its first bytes, whatever its media type says.

use std::fmt;

use super::error::LayerError;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        })
    }
}

/// How many of a blob's first bytes [`sniff`] looks at.
pub const MAGIC: usize = 10;

/// What a blob that begins with these bytes is, as Docker decides it, too.
pub fn sniff(start: &[u8]) -> Result<Compression, LayerError> {
    let refused = |name: &str| {
        Err(LayerError::Compression(format!(
            "it is {name}-compressed, and image layers may only be gzip, zstd or plain"
        )))
    };
    match start {
        [0x1f, 0x8b, 0x08, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        // A skippable frame (RFC 8878, section 3.1.2) in front.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => refused("xz"),
        // With the first block's mark, as "BZh" alone may begin a file's name.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] => refused("bzip2"),
        [0x04, 0x22, 0x4d, 0x18, ..] => refused("lz4"),
        _ => Ok(Compression::None),
    }
}
