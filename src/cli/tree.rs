//! Files as a tree, as `tree` draws one: each directory's name once, what is in it below.

use std::io::{self, Write};

use super::file_row::{displayed, target};
use super::paint::Paint;
use super::sanitize::for_terminal;
use crate::artifact::list_files::{FileKind, FileListing, ListedFile};
use crate::rootfs::split;

/// What the branches of a tree are drawn with: before a name, before the last name of a directory, below each of these.
struct Branches {
    name: &'static str,
    last: &'static str,
    below: &'static str,
    below_last: &'static str,
}

const DRAWN: Branches = Branches { name: "├── ", last: "└── ", below: "│   ", below_last: "    " };
const ASCII: Branches = Branches { name: "|-- ", last: "`-- ", below: "|   ", below_last: "    " };

/// Writes `listing` to `out` as a tree.
pub fn write(listing: &FileListing, paint: Option<&Paint>, out: &mut dyn Write) -> io::Result<()> {
    let each = |row: &mut dyn FnMut(&ListedFile<'_>) -> io::Result<()>| {
        listing.each(&mut |file: &ListedFile<'_>| row(file)).map_err(io::Error::other)?
    };
    draw(&each, paint, &branches(), out)
}

/// Box-drawing characters are for those whose locale can show them.
fn branches() -> Branches {
    let set = |name: &&str| std::env::var_os(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default();
    let locale = locale.to_string_lossy().to_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") { DRAWN } else { ASCII }
}

/// Calls what it is given with each file, in the same order each time.
type Each<'a> = dyn Fn(&mut dyn FnMut(&ListedFile<'_>) -> io::Result<()>) -> io::Result<()> + 'a;

/// The directories that the next file may be in, the outermost first.
#[derive(Default)]
struct Open(Vec<Vec<u8>>);

/// Where a file stands in the tree.
struct Place {
    /// How many directories it is in.
    depth: usize,
    /// Whether its directory was not open, and so begins a tree.
    is_new: bool,
}

impl Open {
    /// Closes the directories that the file at `path` is not in, and opens it. `path` begins with a slash.
    fn enter(&mut self, path: &[u8]) -> Place {
        let parent = parent(path);
        let open = self.0.iter().rposition(|open| open == parent);
        self.0.truncate(open.map_or(0, |open| open + 1));
        if open.is_none() {
            self.0.push(parent.to_vec());
        }
        let depth = self.0.len();
        self.0.push(path.to_vec());
        Place { depth, is_new: open.is_none() }
    }
}

/// The directory of the file at `path`.
fn parent(path: &[u8]) -> &[u8] {
    match split(path).0 {
        [] => b"/",
        parent => parent,
    }
}

fn draw(each: &Each<'_>, paint: Option<&Paint>, branches: &Branches, out: &mut dyn Write) -> io::Result<()> {
    // A name is the last one of its directory where none comes behind it, so all are gone through twice: one byte for each.
    let is_last = last_ones(each)?;
    let (mut open, mut at) = (Open::default(), 0);
    // Whether the file at each depth is the last one of its directory.
    let mut ends: Vec<bool> = Vec::new();
    let (mut directories, mut files) = (0_u64, 0_u64);
    each(&mut |file| {
        let Place { depth, is_new } = open.enter(file.path);
        if is_new {
            writeln!(out, "{}", displayed(parent(file.path)))?;
        }
        let is_last = is_last.get(at).copied().unwrap_or(true);
        at += 1;
        ends.truncate(depth - 1);
        let mut line = String::new();
        for end in &ends {
            line.push_str(if *end { branches.below_last } else { branches.below });
        }
        line.push_str(if is_last { branches.last } else { branches.name });
        ends.push(is_last);
        let start = line.len();
        line.push_str(&displayed(split(file.path).1));
        let end = line.len();
        if let Some(paint) = paint {
            paint.paint((&file.kind, file.mode, file.path), &mut line, (start, end));
        }
        if let Some(target) = target(file) {
            line.push_str(" -> ");
            line.push_str(&for_terminal(&*target));
        }
        match file.kind {
            FileKind::Directory => directories += 1,
            _ => files += 1,
        }
        writeln!(out, "{line}")
    })?;
    let plural = |count, one, many| if count == 1 { format!("1 {one}") } else { format!("{count} {many}") };
    let counts = [plural(directories, "directory", "directories"), plural(files, "file", "files")];
    writeln!(out, "\n{}", counts.join(", "))
}

/// Of each file, whether it is the last one of its directory.
fn last_ones(each: &Each<'_>) -> io::Result<Vec<bool>> {
    let (mut open, mut is_last) = (Open::default(), Vec::new());
    // Which file came last at each depth, of those whose directory is still open.
    let mut latest: Vec<usize> = Vec::new();
    each(&mut |file| {
        let Place { depth, is_new } = open.enter(file.path);
        if is_new {
            latest.clear();
        }
        latest.truncate(depth);
        if latest.len() == depth
            && let Some(before) = latest.pop().and_then(|before| is_last.get_mut(before))
        {
            *before = false;
        }
        latest.push(is_last.len());
        is_last.push(true);
        Ok(())
    })?;
    Ok(is_last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(files: &[(&str, FileKind<'static>)]) -> String {
        let each = |row: &mut dyn FnMut(&ListedFile<'_>) -> io::Result<()>| {
            files.iter().try_for_each(|(path, kind)| {
                row(&ListedFile {
                    path: path.as_bytes(),
                    kind: *kind,
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                    mtime: 0,
                    layer: None,
                    read: None,
                    step: None,
                })
            })
        };
        let mut out = Vec::new();
        draw(&each, None, &DRAWN, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const DIR: FileKind<'static> = FileKind::Directory;
    const FILE: FileKind<'static> = FileKind::File { size: 1 };

    #[test]
    fn a_directory_is_drawn_once_and_the_last_name_closes_it() {
        let files = [
            ("/bin", FileKind::Symlink(b"usr/bin")),
            ("/etc", DIR),
            ("/etc/apt", DIR),
            ("/etc/apt/sources", FILE),
            ("/etc/motd", FILE),
            ("/usr", DIR),
            ("/usr/b\x1bd", FILE),
        ];
        assert_eq!(
            drawn(&files),
            "/\n\
             ├── bin -> usr/bin\n\
             ├── etc\n\
             │   ├── apt\n\
             │   │   └── sources\n\
             │   └── motd\n\
             └── usr\n    └── b\\x1bd\n\
             \n3 directories, 4 files\n"
        );
    }

    #[test]
    fn each_place_that_was_asked_for_is_a_tree() {
        let files = [("/etc/a", FILE), ("/etc/d", DIR), ("/etc/d/x", FILE), ("/srv/app", FILE)];
        assert_eq!(drawn(&files), "/etc\n├── a\n└── d\n    └── x\n/srv\n└── app\n\n1 directory, 3 files\n");
        assert_eq!(drawn(&[]), "\n0 directories, 0 files\n");
    }
}
