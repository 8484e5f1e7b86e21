//! What a file is and who may do what with it, in the ten characters of `ls -l` (POSIX, *ls*, STDOUT).

use crate::artifact::list_files::FileKind;
use crate::layer::entry::Special;

/// Such as `-rwxr-xr-x`.
pub fn text(kind: &FileKind<'_>, mode: u32) -> String {
    let letter = match kind {
        FileKind::File { .. } => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink(_) => 'l',
        FileKind::Special(Special::CharDevice(..)) => 'c',
        FileKind::Special(Special::BlockDevice(..)) => 'b',
        FileKind::Special(Special::Fifo) => 'p',
    };
    let mut text = String::from(letter);
    // For the owner, the group and the others: the three bits, the bit that shows in place of the x, and how.
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => set,
            (true, false) => unset,
        });
    }
    text
}

/// What it is, in a word.
pub fn kind(kind: &FileKind<'_>) -> &'static str {
    match kind {
        FileKind::File { .. } => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink(_) => "symlink",
        FileKind::Special(Special::CharDevice(..) | Special::BlockDevice(..)) => "device",
        FileKind::Special(Special::Fifo) => "fifo",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_in_ls() {
        let file = FileKind::File { size: 0 };
        for (mode, expected) in [
            (0o755, "-rwxr-xr-x"),
            (0o640, "-rw-r-----"),
            (0o4755, "-rwsr-xr-x"),
            (0o4644, "-rwSr--r--"),
            (0o2755, "-rwxr-sr-x"),
            (0o1776, "-rwxrwxrwT"),
            (0, "----------"),
        ] {
            assert_eq!(text(&file, mode), expected);
        }
        assert_eq!(text(&FileKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(text(&FileKind::Symlink(b""), 0o777), "lrwxrwxrwx");
        assert_eq!(text(&FileKind::Special(Special::CharDevice(1, 3)), 0o666), "crw-rw-rw-");
    }
}
