//! What stands at the end of a table, so that whoever has the file finds the top node.

use std::ops::Range;

use super::node::MAX_TOP;
use super::numbers::Bytes;
use super::row::Part;
use crate::table::Unusable;

/// A table's last bytes. Before them come, eight bytes each, where the top node begins and how long it is, where the trail begins and how
/// long it is; and the SHA-256 of the top node.
const MAGIC: [u8; 8] = *b"DATABLE1";

/// What stands at the end of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the top node is.
    pub top: Part,
    /// Where the hashes of the blob are; empty where there are none.
    pub trail: Range<u64>,
}

impl Trailer {
    /// The length of a trailer in bytes.
    pub const LENGTH: usize = 72;

    /// The trailer in the last bytes of a table that is `length` bytes long.
    pub fn read(last: &[u8], length: u64) -> Result<Self, Unusable> {
        let none = || Unusable::new("the file does not end as a table does");
        let start = last.len().checked_sub(Trailer::LENGTH).ok_or_else(none)?;
        let mut bytes = Bytes(&last[start..]);
        let mut number = || bytes.array().map(u64::from_le_bytes);
        let (top, top_length, trail, trail_length) = (number()?, number()?, number()?, number()?);
        let digest = bytes.array()?;
        if bytes.array()? != MAGIC {
            return Err(none());
        }
        let all = length.checked_sub(Trailer::LENGTH as u64).ok_or_else(none)?;
        let within = |start: u64, length: u64| start.checked_add(length).filter(|end| *end <= all).ok_or_else(none);
        let (top_end, trail_end) = (within(top, top_length)?, within(trail, trail_length)?);
        if top_length > MAX_TOP {
            return Err(none());
        }
        Ok(Trailer { top: Part { range: (top, top_end), digest }, trail: trail..trail_end })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Trailer::LENGTH);
        for number in [self.top.range.0, self.top.length(), self.trail.start, self.trail.end - self.trail.start] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.top.digest);
        out.extend_from_slice(&MAGIC);
        out
    }
}
