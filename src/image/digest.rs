//! Digests, as the OCI image-spec's *Digests* section writes them: `algorithm:encoded`.
//!
//! A [`Digest`] names a blob as stored; a [`DiffId`] names a layer's uncompressed tar. They look alike and must never
//! be mistaken for each other, so they are different types. A [`Hasher`] computes and checks them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState as _, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

/// The digest of some bytes as they are stored: a manifest, a config, a layer's (often compressed) blob, a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The digest of a layer's *uncompressed* tar, as the image config's `rootfs.diff_ids` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// The digest of a stack of layers, from the base up to one of them (image-spec, *Layer ChainID*).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The ChainID of all layers with these diff IDs, bottom first; `None` where there is no layer.
    pub fn of(diff_ids: &[DiffId]) -> Option<Self> {
        let (base, above) = diff_ids.split_first()?;
        let applied = |chain: Digest, diff_id: &DiffId| Digest::of(format!("{chain} {diff_id}").as_bytes());
        Some(ChainId(above.iter().fold(base.0.clone(), applied)))
    }
}

/// A string that is no digest this program can verify.
#[derive(Debug, thiserror::Error)]
#[error("\"{}\" is not a digest of the form sha256:<64 hex digits> or sha512:<128 hex digits>", .0.escape_debug())]
pub struct InvalidDigest(pub String);

impl Digest {
    /// How many bytes of its text name the algorithm, with the colon: as many for each algorithm there is.
    pub const ALGORITHM: usize = "sha256:".len();

    /// How many of its digits are shown where there is no room for all.
    pub const SHORT: usize = 12;

    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(format!("sha256:{}", hex(&Sha256::digest(bytes))))
    }

    /// The whole digest, `algorithm:encoded`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hex digits, as Docker abbreviates a digest.
    pub fn short(&self) -> &str {
        &self.encoded()[..Digest::SHORT]
    }

    /// What stands behind the algorithm: hex digits alone, fit for the name of a file.
    pub fn encoded(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, encoded)| encoded)
    }

    /// The same of `text`, where that is a digest.
    pub fn shortened(text: &str) -> Option<&str> {
        encoded(text).map(|encoded| &encoded[..Digest::SHORT])
    }

    /// The 32 bytes of a SHA-256; `None` of another digest.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        let digits = self.0.strip_prefix("sha256:")?.as_bytes();
        for (byte, digits) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(bytes)
    }

    /// The digest with these 32 bytes of a SHA-256.
    pub fn of_sha256(bytes: [u8; 32]) -> Self {
        Digest(format!("sha256:{}", hex(&bytes)))
    }

    /// Whether it is the digest of no bytes at all.
    pub fn is_of_nothing(&self) -> bool {
        self.hasher().finish() == *self
    }

    /// A hasher for this digest's algorithm.
    pub fn hasher(&self) -> Hasher {
        if self.0.starts_with("sha512:") { Hasher::Sha512(Box::default()) } else { Hasher::Sha256(Sha256::new()) }
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        match encoded(text) {
            Some(_) => Ok(Digest(text.to_owned())),
            None => Err(InvalidDigest(text.to_owned())),
        }
    }
}

/// What stands behind the algorithm in `text`, where that is a digest.
fn encoded(text: &str) -> Option<&str> {
    let (length, encoded) = match text.split_once(':')? {
        ("sha256", encoded) => (64, encoded),
        ("sha512", encoded) => (128, encoded),
        _ => return None,
    };
    let is_hex = encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (encoded.len() == length && is_hex).then_some(encoded)
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The length of a block of SHA-256 in bytes.
const SHA256_BLOCK: u64 = 64;

/// Computes a digest piece by piece.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256, the algorithm of every registry in use.
    Sha256(Sha256),
    /// SHA-512, the image-spec's other registered algorithm.
    Sha512(Box<Sha512>),
}

impl Default for Hasher {
    fn default() -> Self {
        Hasher::Sha256(Sha256::new())
    }
}

impl Hasher {
    /// Takes in the next `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// How many bytes a SHA-256 has taken in, and the eight words of its state, each little-endian (FIPS 180-4, section 6.2.2). `None` of
    /// another algorithm, and within a block of 64 bytes.
    pub fn state(&self) -> Option<(u64, [u8; 32])> {
        let Hasher::Sha256(hasher) = self else { return None };
        let state = hasher.serialize();
        let (words, rest) = state.split_first_chunk()?;
        let (blocks, rest) = rest.split_first_chunk()?;
        let is_between_blocks = rest.first() == Some(&0);
        is_between_blocks.then_some((u64::from_le_bytes(*blocks).checked_mul(SHA256_BLOCK)?, *words))
    }

    /// A SHA-256 that has taken in so many bytes and has come to this state, as [`Hasher::state`] tells it.
    pub fn resumed(bytes: u64, words: &[u8; 32]) -> Option<Self> {
        let mut state = SerializedState::<Sha256>::default();
        state.get_mut(..32)?.copy_from_slice(words);
        state.get_mut(32..40)?.copy_from_slice(&(bytes / SHA256_BLOCK).to_le_bytes());
        let hasher = Sha256::deserialize(&state).ok()?;
        // It counts bits, in 64 of them.
        (bytes.is_multiple_of(SHA256_BLOCK) && bytes < 1 << 60).then_some(Hasher::Sha256(hasher))
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hasher) => Digest(format!("sha256:{}", hex(&hasher.finalize()))),
            Hasher::Sha512(hasher) => Digest(format!("sha512:{}", hex(&hasher.finalize()))),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_hash_of_its_bytes() {
        let digest = Digest::of(b"");
        assert_eq!(digest.as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.short(), "e3b0c44298fc");
        let mut hasher = digest.hasher();
        hasher.update(b"");
        assert_eq!(hasher.finish(), digest);
    }

    #[test]
    fn a_hash_goes_on_from_what_it_had_come_to() {
        let bytes = crate::support::random::Random::new(1).bytes(10_000);
        for position in (0..bytes.len()).step_by(64) {
            let mut hasher = Hasher::default();
            hasher.update(&bytes[..position]);
            let (hashed, state) = hasher.state().unwrap();
            assert_eq!(hashed, position as u64);
            let mut resumed = Hasher::resumed(hashed, &state).unwrap();
            resumed.update(&bytes[position..]);
            assert_eq!(resumed.finish(), Digest::of(&bytes));
            hasher.update(b"x");
            assert!(hasher.state().is_none() && Hasher::resumed(hashed + 1, &state).is_none());
        }
        assert!(Hasher::Sha512(Box::default()).state().is_none());
        let digest = Digest::of(b"x");
        assert_eq!(digest.sha256().map(Digest::of_sha256), Some(digest));
    }

    #[test]
    fn a_chain_id_is_of_the_layers_and_their_order() {
        let [a, b, c] = ["a", "b", "c"].map(|layer| DiffId(Digest::of(layer.as_bytes())));
        let of = |layers: &[&DiffId]| ChainId::of(&layers.iter().copied().cloned().collect::<Vec<_>>());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[&a]), Some(ChainId(a.0.clone())));
        // printf '%s %s' DIFF_ID_OF_A DIFF_ID_OF_B | sha256sum, and so on.
        let expected = |text: &str| Some(ChainId(text.parse().unwrap()));
        assert_eq!(of(&[&a, &b]), expected("sha256:51c0c8ace48498d6f5fee6b0592cc06f2da0f3cbe09c5a34a97dce85c3889676"));
        assert_eq!(
            of(&[&a, &b, &c]),
            expected("sha256:2fce7f8ce91bcf0a1428b36e1024639fdbd9469eea762dba98aa749631885106")
        );
        assert_ne!(of(&[&b, &a]), of(&[&a, &b]));
    }

    #[test]
    fn what_cannot_be_verified_is_no_digest() {
        let long = "a".repeat(64);
        for text in ["", "sha256:", "sha256:abc", "md5:abc", &long, &format!("sha256:{}", "A".repeat(64)), "sha256:é"]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert!(format!("sha256:{long}").parse::<Digest>().is_ok());
        assert!(format!("sha512:{long}{long}").parse::<Digest>().is_ok());
    }
}
