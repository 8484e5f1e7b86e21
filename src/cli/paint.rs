//! The colours of names, as `ls` has them: by `LS_COLORS`, else by the colours that GNU `ls` has without it.

use std::ffi::OsStr;
use std::io::{IsTerminal as _, stdout};

use lscolors::{Indicator, LsColors, Style};

use super::arguments::ColorMode;
use crate::artifact::list_files::FileKind;
use crate::layer::entry::Special;

/// What ends a colour (ECMA-48, *SGR*).
const RESET: &str = "\x1b[0m";

/// Paints names.
#[derive(Debug)]
pub struct Paint(LsColors);

impl Paint {
    /// The colours of this user's `ls`, if names are painted at all: always, never, or where a terminal shows them that can, and
    /// nobody said [`NO_COLOR`](https://no-color.org).
    pub fn wanted(mode: ColorMode) -> Option<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_wanted = match mode {
            ColorMode::Always => true,
            ColorMode::Never => false,
            ColorMode::Auto => {
                let is_dumb = set("TERM").is_none_or(|term| term == "dumb");
                stdout().is_terminal() && set("NO_COLOR").is_none() && !is_dumb
            }
        };
        is_wanted.then(|| Paint::of(set("LS_COLORS").as_deref()))
    }

    fn of(colors: Option<&OsStr>) -> Self {
        Paint(colors.map(|colors| LsColors::from_string(&colors.to_string_lossy())).unwrap_or_default())
    }

    /// Paints what stands in `text` from `start` to `end`: the name of a file of this kind, with this mode, at this path.
    pub fn paint(
        &self,
        (kind, mode, path): (&FileKind<'_>, u32, &[u8]),
        text: &mut String,
        (start, end): (usize, usize),
    ) {
        let Some(style) = self.style(kind, mode, path) else { return };
        let prefix = style.to_nu_ansi_term_style().prefix().to_string();
        if !prefix.is_empty() && text.is_char_boundary(start) && text.is_char_boundary(end) {
            text.insert_str(end, RESET);
            text.insert_str(start, &prefix);
        }
    }

    fn style(&self, kind: &FileKind<'_>, mode: u32, path: &[u8]) -> Option<&Style> {
        let indicator = match kind {
            FileKind::Directory => match mode & 0o1002 {
                0o1002 => Indicator::StickyAndOtherWritable,
                0o1000 => Indicator::Sticky,
                0o0002 => Indicator::OtherWritable,
                _ => Indicator::Directory,
            },
            FileKind::Symlink(_) => Indicator::SymbolicLink,
            FileKind::Special(Special::Fifo) => Indicator::FIFO,
            FileKind::Special(Special::CharDevice(..)) => Indicator::CharacterDevice,
            FileKind::Special(Special::BlockDevice(..)) => Indicator::BlockDevice,
            FileKind::File { .. } if mode & 0o4000 != 0 => Indicator::Setuid,
            FileKind::File { .. } if mode & 0o2000 != 0 => Indicator::Setgid,
            FileKind::File { .. } if mode & 0o111 != 0 => Indicator::ExecutableFile,
            FileKind::File { .. } => {
                let by_suffix = std::str::from_utf8(path).ok().and_then(|path| self.0.style_for_str(path));
                return by_suffix.or_else(|| self.0.style_for_indicator(Indicator::RegularFile));
            }
        };
        self.0.style_for_indicator(indicator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(colors: &str, kind: FileKind<'_>, mode: u32, path: &str) -> String {
        let mut text = path.to_owned();
        Paint::of(Some(OsStr::new(colors))).paint((&kind, mode, path.as_bytes()), &mut text, (0, path.len()));
        text.replace('\x1b', "")
    }

    #[test]
    fn colours_are_those_of_ls() {
        let file = || FileKind::File { size: 1 };
        let colors = "di=01;34:ln=01;36:ex=01;32:su=37;41:tw=30;42:pi=33:*.tar=38;5;9:fi=";
        for (kind, mode, path, expected) in [
            (FileKind::Directory, 0o755, "/bin", "[1;34m/bin[0m"),
            (FileKind::Directory, 0o1777, "/tmp", "[42;30m/tmp[0m"),
            (FileKind::Symlink(b"x"), 0o777, "/l", "[1;36m/l[0m"),
            (file(), 0o755, "/bin/ls", "[1;32m/bin/ls[0m"),
            (file(), 0o4755, "/bin/su", "[41;37m/bin/su[0m"),
            (file(), 0o644, "/a.tar", "[38;5;9m/a.tar[0m"),
            (file(), 0o644, "/plain", "/plain"),
            (FileKind::Special(Special::Fifo), 0o644, "/pipe", "[33m/pipe[0m"),
        ] {
            assert_eq!(painted(colors, kind, mode, path), expected);
        }
    }
}
