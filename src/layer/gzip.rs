//! Gzip (RFC 1952) as layers have it: one member or many, each with its checksum and length checked.

use flate2::{Decompress, FlushDecompress, Status};

use super::compression::Step;

/// The largest window that deflate has, as its logarithm.
const WINDOW_BITS: u8 = 15;

/// Where in the stream the decoder is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a member's header, data or trailer.
    Member,
    /// Behind a member, where the stream may end or another one begin.
    Between,
    /// In the zero bytes that block devices and some writers leave behind the last member.
    Padding,
}

/// A decoder for a sequence of gzip members.
pub(super) struct Gzip {
    inflate: Decompress,
    place: Place,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Gzip { inflate: Decompress::new_gzip(WINDOW_BITS), place: Place::Member }
    }

    /// Whether the stream may end here.
    pub(super) fn may_end(&self) -> bool {
        self.place != Place::Member
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        match self.place {
            Place::Member => self.inflate(input, output),
            Place::Between => match input.first() {
                Some(0) => {
                    self.place = Place::Padding;
                    Ok(Step { consumed: 1, produced: 0 })
                }
                Some(_) => {
                    self.inflate.reset(true);
                    self.place = Place::Member;
                    self.inflate(input, output)
                }
                None => Ok(Step { consumed: 0, produced: 0 }),
            },
            Place::Padding if input.iter().all(|&byte| byte == 0) => Ok(Step { consumed: input.len(), produced: 0 }),
            Place::Padding => Err("something follows the zero bytes behind its end".to_owned()),
        }
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        let (consumed, produced) = (self.inflate.total_in(), self.inflate.total_out());
        let status =
            self.inflate.decompress(input, output, FlushDecompress::None).map_err(|error| match error.message() {
                Some(message) => message.to_owned(),
                None => error.to_string(),
            })?;
        if status == Status::StreamEnd {
            self.place = Place::Between;
        }
        Ok(Step {
            // Neither can exceed the slices' lengths.
            consumed: (self.inflate.total_in() - consumed) as usize,
            produced: (self.inflate.total_out() - produced) as usize,
        })
    }
}
