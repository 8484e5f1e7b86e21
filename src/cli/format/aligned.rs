//! Columns one below the other: what stands between tabs, as Go's `tabwriter` has it, numbers to the right.

use super::template::{Piece, heading, sizes};

/// Blanks between the columns of a table, as in Docker's.
const GAP: usize = 3;

/// What changes colours begins with this; it ends with an `m` (ECMA-48, *SGR*).
const ESCAPE: char = '\x1b';

/// What stands between tabs.
fn cells(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        // Cells are short: looking at each byte is faster than a search that gets ready for long ones.
        let (cell, after) = match line.bytes().position(|byte| byte == b'\t') {
            Some(tab) => (&line[..tab], Some(&line[tab + 1..])),
            None => (line, None),
        };
        rest = after;
        Some(cell)
    })
}

/// How many characters of `cell` are seen: all but what changes colours.
pub(super) fn width(cell: &str) -> usize {
    let count = |text: &str| if text.is_ascii() { text.len() } else { text.chars().count() };
    if !cell.contains(ESCAPE) {
        return count(cell);
    }
    let mut painted = cell.split(ESCAPE);
    let first = painted.next().map_or(0, count);
    first + painted.map(|part| part.split_once('m').map_or(0, |(_, text)| count(text))).sum::<usize>()
}

/// How wide the columns of a table are, in characters, as Go's `tabwriter` counts what stands between tabs.
pub(super) struct Widths {
    widths: Vec<usize>,
    /// Which columns are sizes.
    right: Vec<bool>,
}

impl Widths {
    /// The widths of the columns of `pieces`, as wide as their headings.
    pub(super) fn of(pieces: &[Piece]) -> Self {
        let mut widths = Widths { widths: Vec::new(), right: sizes(pieces) };
        widths.widen(&heading(pieces));
        widths
    }

    pub(super) fn widen(&mut self, line: &str) {
        for (column, cell) in cells(line).enumerate() {
            let width = width(cell);
            match self.widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => self.widths.push(width),
            }
        }
    }

    /// Takes in a row of so many columns, each as wide as `width` says. The last one's width does not matter: nothing stands behind it.
    pub(super) fn widen_by(&mut self, columns: usize, mut width: impl FnMut(usize) -> usize) {
        self.widths.resize(columns.max(self.widths.len()), 0);
        let all_but_last = columns.saturating_sub(1);
        for (column, widest) in self.widths.iter_mut().take(all_but_last).enumerate() {
            *widest = width(column).max(*widest);
        }
    }

    /// Appends `line` to `text`, its cells below those of the other lines.
    pub(super) fn align(&self, line: &str, text: &mut String) {
        let columns = self.widths.iter().zip(self.right.iter().chain(std::iter::repeat(&false)));
        for (cell, (widest, right)) in cells(line).zip(columns) {
            let blanks = widest.saturating_sub(width(cell));
            let (before, behind) = if *right { (blanks, 0) } else { (0, blanks) };
            text.extend(std::iter::repeat_n(' ', before));
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', behind + GAP));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room() {
        assert_eq!(width("\x1b[01;34m/bin\x1b[0m -> usr/bin"), "/bin -> usr/bin".len());
        assert_eq!(width("\x1b[0mé\x1b[m"), 1);
        assert_eq!(width("plain"), 5);
    }
}
