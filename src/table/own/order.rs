//! Whether rows come in the order in which a table has them, each once, and no more of them than can be held where they have to be: whoever
//! writes a table can name one leaf many times, and can repeat a row for next to no bytes.

use super::layout::MAX_NOT_SIMPLE;
use super::leaf::Read;
use super::record::{IMPLIED, OPAQUE, SUPERSEDED, WHITEOUT};
use super::row::Part;
use super::shelf::may_have;
use crate::table::Unusable;

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Where in the table the last leaf ends.
    end: u64,
    /// The key of the last row of a leaf.
    key: Vec<u8>,
    /// Whether no row of the leaf has come.
    is_first: bool,
    /// What is known of the path at hand: an entry, a whiteout, an opaque mark.
    seen: u8,
    /// How many rows have come of a layer that is not simple, without those that are implied.
    rows: u64,
    /// Bytes of all rows that are of no fixed length, and of leaves as stored.
    text: u64,
    stored: u64,
}

impl Order {
    /// Goes on to the leaf in `part`.
    pub(super) fn begin(&mut self, part: &Part) -> Result<(), Unusable> {
        if part.range.0 < self.end {
            return Err(Unusable::new("parts of the table lie over one another"));
        }
        (self.end, self.is_first) = (part.range.1, true);
        self.stored = self.stored.saturating_add(part.length());
        Ok(())
    }

    /// Takes in the next row of the leaf, of those that are not repeated, which has this `key`.
    pub(super) fn row(&mut self, key: &[u8], read: &Read<'_>, is_simple: bool) -> Result<(), Unusable> {
        let is_same = match std::mem::take(&mut self.is_first) {
            true if key < self.key.as_slice() => {
                return Err(Unusable::new("the rows of the table are not in their order"));
            }
            true => key == self.key,
            false => read.is_same,
        };
        if !is_same {
            self.seen = 0;
        }
        self.text += read.record.text(key);
        if !may_have(self.text, self.stored) {
            return Err(Unusable::new("the table has longer names than so short a one can have"));
        }
        if !is_simple {
            self.rows += u64::from(read.record.mark() != IMPLIED);
            return match self.rows <= MAX_NOT_SIMPLE {
                true => Ok(()),
                false => Err(Unusable::new("the table has too many rows for one of a layer that is not simple")),
            };
        }
        let what = match read.record.mark() {
            WHITEOUT => 1,
            OPAQUE => 2,
            _ => 4,
        };
        if read.record.what & SUPERSEDED != 0 {
            return Ok(());
        }
        if self.seen & what != 0 {
            return Err(Unusable::new("a path is there twice in the table of a simple layer"));
        }
        self.seen |= what;
        Ok(())
    }

    /// Is done with the leaf, whose last row has this `key`.
    pub(super) fn end(&mut self, key: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(key);
    }
}
