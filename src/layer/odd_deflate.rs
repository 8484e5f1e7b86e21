//! Gzip written bit by bit, for the tests of this folder: blocks of every kind and length at every bit, as no compressor makes
//! them all. Seeded, so that one number is always the same stream.

use super::inflate::WINDOW;
use crate::support::random::Random;

/// Where a block begins, in bits from the blob's start and bytes of its content, and where the content of its member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) bit: u64,
    pub(super) content: usize,
    pub(super) member: usize,
}

/// A stream, what it decompresses to, and where its blocks begin.
#[derive(Default)]
pub(super) struct Odd {
    pub(super) blob: Vec<u8>,
    pub(super) content: Vec<u8>,
    pub(super) starts: Vec<Start>,
    /// Bits of the blob's last byte that are not used yet.
    free: u32,
    member: usize,
}

impl Odd {
    /// A stream of some members with up to `blocks` blocks each.
    pub(super) fn new(seed: u64, blocks: usize) -> Self {
        let random = &mut Random::new(seed);
        let mut odd = Odd::default();
        for _ in 0..1 + random.below(3) {
            odd.begin_member();
            for _ in 0..random.below(blocks) {
                odd.any_block(false, random);
            }
            odd.any_block(true, random);
            odd.end_member();
        }
        odd
    }

    pub(super) fn begin_member(&mut self) {
        self.blob.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
        self.member = self.content.len();
    }

    pub(super) fn end_member(&mut self) {
        self.free = 0;
        let mut check = flate2::Crc::new();
        check.update(&self.content[self.member..]);
        self.blob.extend_from_slice(&check.sum().to_le_bytes());
        self.blob.extend_from_slice(&check.amount().to_le_bytes());
    }

    fn any_block(&mut self, last: bool, random: &mut Random) {
        match random.below(8) {
            0 => self.stored(last, &[]),
            1 => {
                let bound = if random.below(4) == 0 { 0x10000 } else { 300 };
                let length = random.below(bound);
                self.stored(last, &random.bytes(length));
            }
            2 | 3 => self.empty(last),
            4 | 5 => {
                let length = random.below(200);
                self.dynamic(last, &random.bytes(length));
            }
            _ => {
                let symbols = random.below(400);
                self.fixed(last, symbols, random);
            }
        }
    }

    /// Writes `count` bits of `value`, the lowest first.
    fn bits(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.free == 0 {
                self.blob.push(0);
                self.free = 8;
            }
            if value >> bit & 1 == 1 {
                *self.blob.last_mut().unwrap() |= 1 << (8 - self.free);
            }
            self.free -= 1;
        }
    }

    /// Writes a Huffman code: the highest bit first (RFC 1951, section 3.1.1).
    fn code(&mut self, code: u32, count: u32) {
        self.bits(code.reverse_bits() >> (32 - count), count);
    }

    fn begin(&mut self, last: bool, kind: u32) {
        let bit = self.blob.len() as u64 * 8 - u64::from(self.free);
        self.starts.push(Start { bit, content: self.content.len(), member: self.member });
        self.bits(last.into(), 1);
        self.bits(kind, 2);
    }

    /// A stored block (section 3.2.4).
    pub(super) fn stored(&mut self, last: bool, bytes: &[u8]) {
        self.begin(last, 0);
        self.free = 0;
        let length = bytes.len() as u16;
        self.blob.extend_from_slice(&length.to_le_bytes());
        self.blob.extend_from_slice(&(!length).to_le_bytes());
        self.blob.extend_from_slice(bytes);
        self.content.extend_from_slice(bytes);
    }

    /// A block of ten bits without data.
    pub(super) fn empty(&mut self, last: bool) {
        self.begin(last, 1);
        self.code(0, 7);
    }

    /// A block with fixed codes (section 3.2.6): literals, and matches of ten bytes from as far back as there is something.
    pub(super) fn fixed(&mut self, last: bool, symbols: usize, random: &mut Random) {
        self.begin(last, 1);
        for _ in 0..symbols {
            let known = WINDOW.min(self.content.len() - self.member);
            if known == 0 || random.below(3) > 0 {
                let literal = random.below(256) as u32;
                match literal {
                    0..144 => self.code(0x30 + literal, 8),
                    _ => self.code(0x190 + literal - 144, 9),
                }
                self.content.push(literal as u8);
            } else {
                // The farthest are the likeliest to be wrong.
                let distance = if random.below(2) == 0 { known } else { 1 + random.below(known) };
                self.code(264 - 256, 7);
                self.distance(distance as u32);
                for _ in 0..10 {
                    self.content.push(self.content[self.content.len() - distance]);
                }
            }
        }
        self.code(0, 7);
    }

    fn distance(&mut self, distance: u32) {
        let (mut code, mut base, mut extra) = (0, 1, 0);
        while distance >= base + (1 << extra) {
            base += 1 << extra;
            code += 1;
            extra = if code < 4 { 0 } else { code / 2 - 1 };
        }
        self.code(code, 5);
        self.bits(distance - base, extra);
    }

    /// A block with codes of its own (section 3.2.7): nine bits for each literal, one for its end, none for distances.
    pub(super) fn dynamic(&mut self, last: bool, literals: &[u8]) {
        self.begin(last, 2);
        self.bits(0, 5);
        self.bits(0, 5);
        // The code lengths' own, in the order 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1: 9 has one bit, 0 and 1 two.
        self.bits(18 - 4, 4);
        for length in [0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2] {
            self.bits(length, 3);
        }
        for _ in 0..256 {
            self.code(0, 1);
        }
        self.code(0b11, 2);
        self.code(0b10, 2);
        for &literal in literals {
            self.code(0x100 + u32::from(literal), 9);
        }
        self.code(0, 1);
        self.content.extend_from_slice(literals);
    }
}
