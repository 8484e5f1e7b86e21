//! Numbers and bytes that look random and are the same in every run, so that what a test found once it finds again.

/// A sequence of numbers from a seed (SplitMix64: Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed. Every seed is as good as another.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of `all`, which must not be empty.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Bytes that do not compress. More of them begin with the same ones.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Bytes that compress, with stretches that do not: noise, words, runs and copies of what came before.
    pub fn compressible(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 300);
        while bytes.len() < length {
            match self.below(5) {
                0 => bytes.extend_from_slice(&self.next().to_le_bytes()),
                1 => bytes.extend_from_slice(b"the quick brown fox jumps over the lazy dog "),
                2 => bytes.extend(std::iter::repeat_n(b'.', self.below(300))),
                _ => {
                    let from = bytes.len() - self.below(30_000).min(bytes.len());
                    let until = (from + self.below(200)).min(bytes.len());
                    bytes.extend_from_within(from..until);
                }
            }
        }
        bytes.truncate(length);
        bytes
    }
}

/// Bytes that do not compress, of this seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    Random::new(seed).bytes(length)
}
