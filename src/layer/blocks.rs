//! Gzip decoded block by block: where each deflate block begins, and decoding from there alone.
//!
//! The ordinary decoder ([`super::gzip`]) is faster but cannot say where it is. This one stops at every block boundary, so that a
//! checkpoint can be taken, and starts at one. Specs: RFC 1951 (deflate blocks), RFC 1952 (gzip members).

use flate2::Crc;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};

/// How far back a deflate block may refer, in bytes (RFC 1951, section 2).
pub const WINDOW: usize = 32 * 1024;

/// The decoder's ring of output: a power of two, and enough for the window and as much again.
const RING: usize = 2 * WINDOW;

/// Decodes a sequence of gzip members, or the rest of one from a block boundary on.
pub struct Blocks {
    place: Place,
    core: Box<DecompressorOxide>,
    ring: Vec<u8>,
    /// Where in the ring the next byte goes.
    at: usize,
    /// Bytes of the current member decoded so far, or known from the window.
    history: u64,
    /// The member's checksum, unless decoding began inside it.
    check: Option<Crc>,
}

/// What one step of decoding did.
pub struct Step {
    /// Bytes taken from the input.
    pub consumed: usize,
    /// What was decoded, as a range of [`Blocks::output`].
    pub produced: std::ops::Range<usize>,
    /// Set when the step ended where a deflate block begins: how many bits (0 to 7) of the last byte taken belong to it.
    pub boundary: Option<u8>,
}

enum Place {
    Header(MemberHeader),
    /// At a member's first block, which is a boundary that needs no window.
    FirstBlock,
    Deflate,
    Trailer(Vec<u8>),
    Between,
    Padding,
}

impl Blocks {
    /// A decoder for a whole gzip stream.
    pub fn new() -> Self {
        Blocks {
            place: Place::Header(MemberHeader::default()),
            core: Box::default(),
            ring: vec![0; RING],
            at: 0,
            history: 0,
            check: Some(Crc::new()),
        }
    }

    /// A decoder that goes on at a block boundary: the block begins after the `skipped` (0 to 7) lowest bits of `first`, the
    /// first byte of the input, which is taken here and must not be given to [`Blocks::step`] unless `skipped` is 0.
    /// `window` is what had been decoded before it, at most [`WINDOW`] bytes.
    pub fn resume(skipped: u8, first: u8, window: &[u8]) -> Self {
        let num_bits = if skipped == 0 { 0 } else { 8 - skipped };
        let bit_buf = if skipped == 0 { 0 } else { first >> skipped };
        let state = BlockBoundaryState { num_bits, bit_buf, ..BlockBoundaryState::default() };
        let mut ring = vec![0; RING];
        let window = &window[window.len().saturating_sub(WINDOW)..];
        ring[WINDOW - window.len()..WINDOW].copy_from_slice(window);
        Blocks {
            place: Place::Deflate,
            core: Box::new(DecompressorOxide::from_block_boundary_state(&state)),
            ring,
            at: WINDOW,
            history: window.len() as u64,
            check: None,
        }
    }

    /// Whether the stream may end here.
    pub fn may_end(&self) -> bool {
        matches!(self.place, Place::Between | Place::Padding)
    }

    /// What has been decoded lately; [`Step::produced`] says where the last step's bytes are.
    pub fn output(&self) -> &[u8] {
        &self.ring
    }

    /// The last bytes decoded of this member, as a block that follows may refer to them.
    pub fn window(&self) -> Vec<u8> {
        let length = self.history.min(WINDOW as u64) as usize;
        let start = (self.at + RING - length) % RING;
        let mut window = Vec::with_capacity(length);
        window.extend_from_slice(&self.ring[start..(start + length).min(RING)]);
        window.extend_from_slice(&self.ring[..length - window.len()]);
        window
    }

    /// Decodes some of `input`: until it is used up, a block ends or the ring is full. An empty `input` is never needed.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, String> {
        let nothing = |consumed| Step { consumed, produced: 0..0, boundary: None };
        match &mut self.place {
            Place::Header(header) => {
                let (consumed, complete) = header.read(input)?;
                if complete {
                    self.place = Place::FirstBlock;
                }
                Ok(nothing(consumed))
            }
            Place::FirstBlock => {
                *self.core = DecompressorOxide::new();
                self.history = 0;
                self.check = Some(Crc::new());
                self.place = Place::Deflate;
                Ok(Step { boundary: Some(0), ..nothing(0) })
            }
            Place::Deflate => self.inflate(input),
            Place::Trailer(trailer) => {
                let consumed = input.len().min(8 - trailer.len());
                trailer.extend_from_slice(&input[..consumed]);
                if let [c0, c1, c2, c3, l0, l1, l2, l3] = trailer[..] {
                    let stated = (u32::from_le_bytes([c0, c1, c2, c3]), u32::from_le_bytes([l0, l1, l2, l3]));
                    if self.check.as_ref().is_some_and(|check| (check.sum(), check.amount()) != stated) {
                        return Err("a gzip member does not match its checksum".to_owned());
                    }
                    self.place = Place::Between;
                }
                Ok(nothing(consumed))
            }
            Place::Between => {
                self.place = match input.first() {
                    Some(0) => Place::Padding,
                    Some(_) => Place::Header(MemberHeader::default()),
                    None => Place::Between,
                };
                Ok(nothing(0))
            }
            Place::Padding if input.iter().all(|byte| *byte == 0) => Ok(nothing(input.len())),
            Place::Padding => Err("something follows the zero bytes behind the gzip stream's end".to_owned()),
        }
    }

    fn inflate(&mut self, input: &[u8]) -> Result<Step, String> {
        let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
        let start = self.at;
        let (status, consumed, produced) = decompress(&mut self.core, input, &mut self.ring, start, flags);
        let boundary = match status {
            TINFLStatus::Done => {
                self.place = Place::Trailer(Vec::with_capacity(8));
                None
            }
            TINFLStatus::BlockBoundary => self.core.block_boundary_state().map(|state| state.num_bits),
            TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput => None,
            _ => return Err("the deflate data is damaged".to_owned()),
        };
        let produced = start..start + produced;
        if let Some(check) = &mut self.check {
            check.update(&self.ring[produced.clone()]);
        }
        self.history += produced.len() as u64;
        self.at = produced.end % RING;
        Ok(Step { consumed, produced, boundary })
    }
}

/// A gzip member's header, read byte by byte (RFC 1952, section 2.3).
#[derive(Default)]
struct MemberHeader {
    fixed: Vec<u8>,
    part: Part,
}

#[derive(Default)]
enum Part {
    #[default]
    Fixed,
    ExtraLength(Option<u8>),
    Extra(u16),
    Name,
    Comment,
    Checksum(u8),
    Complete,
}

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;

impl MemberHeader {
    /// Takes what belongs to the header from the front of `input`: how many bytes, and whether it is complete.
    fn read(&mut self, input: &[u8]) -> Result<(usize, bool), String> {
        for (consumed, byte) in input.iter().enumerate() {
            self.take(*byte)?;
            if matches!(self.part, Part::Complete) {
                return Ok((consumed + 1, true));
            }
        }
        Ok((input.len(), false))
    }

    fn take(&mut self, byte: u8) -> Result<(), String> {
        match &mut self.part {
            Part::Fixed => {
                self.fixed.push(byte);
                let expected = [0x1f, 0x8b, 8];
                if expected.get(self.fixed.len() - 1).is_some_and(|expected| *expected != byte) {
                    return Err("something that is no gzip member follows the last one".to_owned());
                }
                if self.fixed.len() == 10 {
                    self.next(FEXTRA);
                }
            }
            Part::ExtraLength(None) => self.part = Part::ExtraLength(Some(byte)),
            Part::ExtraLength(Some(low)) => match u16::from_le_bytes([*low, byte]) {
                0 => self.next(FNAME),
                length => self.part = Part::Extra(length),
            },
            Part::Extra(left) => {
                *left -= 1;
                if *left == 0 {
                    self.next(FNAME);
                }
            }
            Part::Name if byte == 0 => self.next(FCOMMENT),
            Part::Comment if byte == 0 => self.next(FHCRC),
            Part::Checksum(2) => self.part = Part::Checksum(1),
            Part::Checksum(_) => self.part = Part::Complete,
            Part::Name | Part::Comment | Part::Complete => {}
        }
        Ok(())
    }

    /// Goes to the first part from `flag` on that the flags say is there.
    fn next(&mut self, flag: u8) {
        let flags = self.fixed.get(3).copied().unwrap_or_default();
        let parts = [
            (FEXTRA, Part::ExtraLength(None)),
            (FNAME, Part::Name),
            (FCOMMENT, Part::Comment),
            (FHCRC, Part::Checksum(2)),
        ];
        // The parts' order is that of their flags but for the last.
        let from = parts.iter().position(|(part, _)| *part == flag).unwrap_or(parts.len());
        let there = parts.into_iter().skip(from).find(|(part, _)| flags & part != 0);
        self.part = there.map_or(Part::Complete, |(_, part)| part);
    }
}
