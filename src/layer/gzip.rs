//! Gzip (RFC 1952) as layers have it: one member or many, each with its checksum and length checked; or the rest of one from
//! where a deflate block begins, and what follows it.

use super::decoded::{Boundary, Decoded};
use super::inflate::{At, Inflate, Inflated, WINDOW, Wrapper};

/// The length in bytes of a member's trailer, CRC32 and ISIZE (RFC 1952, section 2.3.1).
const TRAILER: usize = 8;

/// Where in the stream the decoder is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a member's header, data or trailer.
    Member,
    /// In front of a block inside a member; so many of the next byte's lowest bits belong to the block before.
    Resumed(u8),
    /// In the data of a member that decoding began inside of.
    Rest,
    /// So many bytes before the end of that member's trailer, which says nothing about a part of the data.
    Trailer(usize),
    /// Behind a member, where the stream may end or another one begin.
    Between,
    /// In the zero bytes that block devices and some writers leave behind the last member.
    Padding,
}

/// A decoder for a sequence of gzip members.
pub(super) struct Gzip {
    inflate: Inflate,
    place: Place,
    /// Bytes decoded of this member, up to [`WINDOW`].
    history: usize,
}

impl Gzip {
    /// A decoder for a whole stream.
    pub(super) fn new() -> Result<Self, String> {
        Ok(Gzip { inflate: Inflate::new(Wrapper::Gzip)?, place: Place::Member, history: 0 })
    }

    /// A decoder for a stream from where a deflate block begins: behind the `skipped_bits` (0 to 7) lowest bits of the first byte.
    /// `window` is what the member decoded to before, [`WINDOW`] bytes at most.
    pub(super) fn resume(skipped_bits: u8, window: &[u8]) -> Result<Self, String> {
        let mut inflate = Inflate::new(Wrapper::None)?;
        inflate.set_window(window)?;
        Ok(Gzip { inflate, place: Place::Resumed(skipped_bits % 8), history: window.len().min(WINDOW) })
    }

    /// Whether the stream may end here.
    pub(super) fn may_end(&self) -> bool {
        matches!(self.place, Place::Between | Place::Padding)
    }

    /// Decodes some of `input`, no further than to the next block's begin if `stops`.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8], stops: bool) -> Result<Decoded, String> {
        match (self.place, input.first()) {
            (Place::Member | Place::Rest, _) => self.inflate(input, output, stops),
            (_, None) => Ok(Decoded::default()),
            (Place::Resumed(0), _) => {
                self.place = Place::Rest;
                self.inflate(input, output, stops)
            }
            (Place::Resumed(skipped_bits), Some(first)) => {
                self.inflate.prime(8 - skipped_bits, first >> skipped_bits)?;
                self.place = Place::Rest;
                Ok(Decoded { consumed: 1, ..Decoded::default() })
            }
            (Place::Trailer(left), _) => {
                let consumed = left.min(input.len());
                self.place = if consumed == left { Place::Between } else { Place::Trailer(left - consumed) };
                Ok(Decoded { consumed, ..Decoded::default() })
            }
            (Place::Between, Some(0)) => {
                self.place = Place::Padding;
                Ok(Decoded { consumed: 1, ..Decoded::default() })
            }
            (Place::Between, Some(_)) => {
                self.inflate.reset(Wrapper::Gzip)?;
                self.place = Place::Member;
                self.history = 0;
                self.inflate(input, output, stops)
            }
            (Place::Padding, _) if input.iter().all(|&byte| byte == 0) => {
                Ok(Decoded { consumed: input.len(), ..Decoded::default() })
            }
            (Place::Padding, _) => Err("something follows the zero bytes behind its end".to_owned()),
        }
    }

    /// What the block that begins here may refer back to.
    pub(super) fn window(&self) -> Result<Vec<u8>, String> {
        let mut window = self.inflate.window()?;
        window.drain(..window.len().saturating_sub(self.history));
        Ok(window)
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8], stops: bool) -> Result<Decoded, String> {
        let Inflated { consumed, produced, at } = self.inflate.step(input, output, stops)?;
        self.history = WINDOW.min(self.history.saturating_add(produced));
        let boundary = match at {
            At::Block(unused_bits) => Some(Boundary::DeflateBlock { unused_bits, history: self.history }),
            At::Inside => None,
            At::End if self.place == Place::Rest => {
                self.place = Place::Trailer(TRAILER);
                // Its last bits were part of a byte that had been taken before.
                if consumed == 0 && produced == 0 {
                    return self.step(input, output, stops);
                }
                None
            }
            At::End => {
                self.place = Place::Between;
                None
            }
        };
        Ok(Decoded { consumed, produced, boundary })
    }
}
