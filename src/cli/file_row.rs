//! The files of an image as rows. Each is made of what the image says when it is its turn, and of it only the fields that are printed.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use serde_json::{Value, json};

use super::format::{Held, Row, Rows};
use super::paint::Paint;
use super::time_style::TimeStyle;
use super::{file_mode, sanitize, timestamp};
use crate::artifact::list_files::{FileKind, FileListing, ListedFile};
use crate::image::digest::Digest;

/// The rows of a listing.
pub struct FileRows {
    /// The files.
    pub listing: FileListing,
    /// How times are shown.
    pub time: TimeStyle,
    /// How names are painted, if they are.
    pub paint: Option<Paint>,
}

impl Rows for FileRows {
    fn each(&self, row: &mut dyn FnMut(&dyn Row) -> io::Result<()>) -> io::Result<()> {
        let FileRows { listing, time, paint } = self;
        let image = &listing.image;
        let show = |file: &ListedFile<'_>| row(&FileRow { file, image, time, paint: paint.as_ref() });
        listing.each(&mut { show }).map_err(io::Error::other)?
    }
}

/// A file of `image`.
struct FileRow<'a> {
    file: &'a ListedFile<'a>,
    image: &'a str,
    time: &'a TimeStyle,
    paint: Option<&'a Paint>,
}

impl FileRow<'_> {
    fn size(&self) -> u64 {
        match self.file.kind {
            FileKind::File { size } => size,
            // As `ls` has it, a link is as long as its target.
            FileKind::Symlink(target) => target.len() as u64,
            FileKind::Directory | FileKind::Special(_) => 0,
        }
    }

    /// What `field`, which is text or nothing, holds.
    fn text(&self, field: &str) -> Option<Cow<'_, str>> {
        let file = self.file;
        match field {
            "Name" => match target(file) {
                Some(target) => Some(format!("{} -> {target}", shown(file.path)).into()),
                None => Some(shown(file.path)),
            },
            "Path" => Some(shown(file.path)),
            "Target" => target(file),
            "Type" => Some(file_mode::kind(&file.kind).into()),
            "Permissions" => Some(file_mode::text(&file.kind, file.mode).into()),
            "Mode" => Some(format!("{:04o}", file.mode).into()),
            "Modified" => Some(self.time.show(file.mtime).into()),
            "Read" => file.read.map(|offer| offer.to_string().into()),
            "Step" => file.step.map(Cow::Borrowed),
            "Image" => Some(self.image.into()),
            _ => None,
        }
    }
}

impl Row for FileRow<'_> {
    fn field(&self, field: &str, text: &mut String) -> Held {
        let number = match field {
            "Size" => self.size(),
            "Uid" => self.file.uid,
            "Gid" => self.file.gid,
            "Owner" => {
                let _ = write!(text, "{}/{}", self.file.uid, self.file.gid);
                return Held::Text;
            }
            "Layer" => {
                let Some(layer) = self.file.layer else { return Held::Nothing };
                text.push_str(layer.as_str());
                return Held::Digest;
            }
            _ => {
                let Some(held) = self.text(field) else { return Held::Nothing };
                text.push_str(&held);
                return Held::Text;
            }
        };
        let _ = write!(text, "{number}");
        Held::Number(number)
    }

    fn width(&self, field: &str, whole: bool) -> Option<usize> {
        match field {
            "Permissions" => Some("-rwxr-xr-x".len()),
            "Owner" => Some(digits(self.file.uid) + "/".len() + digits(self.file.gid)),
            "Size" if self.size() < 1000 => Some(digits(self.size()) + " B".len()),
            "Modified" if *self.time == TimeStyle::Utc => {
                timestamp::has_four_digits(self.file.mtime).then_some("2023-11-14T22:13:20Z".len())
            }
            "Layer" if !whole => Some(self.file.layer.map_or(0, |_| Digest::SHORT)),
            _ => None,
        }
    }

    fn paint(&self, field: &str, text: &mut String, start: usize) {
        let file = self.file;
        if let (Some(paint), "Name" | "Path") = (self.paint, field) {
            // What a link leads to may be anything.
            let end = start + displayed(file.path).len();
            paint.paint((&file.kind, file.mode, file.path), text, (start, end));
        }
    }

    fn json(&self) -> Cow<'_, Value> {
        let file = self.file;
        Cow::Owned(json!({
            "Permissions": self.text("Permissions"),
            "Owner": format!("{}/{}", file.uid, file.gid),
            "Size": self.size(),
            "Modified": timestamp::utc(file.mtime),
            "Layer": file.layer,
            "Name": self.text("Name"),
            "Path": self.text("Path"),
            "Target": target(file),
            "Type": self.text("Type"),
            "Mode": self.text("Mode"),
            "Uid": file.uid,
            "Gid": file.gid,
            "Read": self.text("Read"),
            "Step": file.step,
            "Image": self.image,
        }))
    }
}

/// How many digits `number` has.
fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// What a link leads to.
pub fn target<'a>(file: &ListedFile<'a>) -> Option<Cow<'a, str>> {
    match file.kind {
        FileKind::Symlink(target) => Some(shown(target)),
        FileKind::File { .. } | FileKind::Directory | FileKind::Special(_) => None,
    }
}

/// A path as a terminal shows it.
pub fn displayed(path: &[u8]) -> String {
    sanitize::for_terminal(&*shown(path))
}

/// A path that is not UTF-8 has no exact form in JSON.
pub fn shown(path: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(path) {
        Ok(path) => path.into(),
        Err(_) => sanitize::for_terminal(path).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::columns::FILES;
    use crate::cli::format::Format;

    fn file<'a>(path: &'a [u8], kind: FileKind<'a>) -> ListedFile<'a> {
        ListedFile { path, kind, mode: 0o644, uid: 1000, gid: 50, mtime: 0, layer: None, read: None, step: None }
    }

    /// Files as rows.
    struct Files<'a>(Vec<ListedFile<'a>>);

    impl Rows for Files<'_> {
        fn each(&self, row: &mut dyn FnMut(&dyn Row) -> io::Result<()>) -> io::Result<()> {
            self.0.iter().try_for_each(|file| row(&FileRow { file, image: "a:1", time: &TimeStyle::Utc, paint: None }))
        }
    }

    fn written(format: &str, files: &[ListedFile<'_>], whole: bool) -> String {
        let mut text = Vec::new();
        Format::parse(format, FILES.0).unwrap().write(&Files(files.to_vec()), whole, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_whatever_that_holds() {
        let digest = Digest::of(b"layer");
        let usual = || file(b"/usual", FileKind::Directory);
        let mut odd = Vec::new();
        for size in [0, 9, 10, 999, 1000, 1_234_567, u64::MAX] {
            odd.push(file(b"/odd", FileKind::File { size }));
        }
        for mtime in [-62_167_219_201, -62_167_219_200, 253_402_300_799, 253_402_300_800, i64::MAX, i64::MIN] {
            odd.push(ListedFile { mtime, ..usual() });
        }
        for id in [0, 9, 10, 99_999, u64::MAX] {
            odd.push(ListedFile { uid: id, ..usual() });
            odd.push(ListedFile { gid: id, ..usual() });
        }
        odd.push(ListedFile { layer: Some(&digest), ..usual() });
        let columns = FILES.0.table.replace("\\t", "|");
        for odd in odd {
            for whole in [false, true] {
                let files = [odd, usual()];
                // The same cells, which nobody has aligned.
                let cells = written(&format!("table {columns}"), &files, whole);
                let rows: Vec<Vec<&str>> = cells.lines().map(|line| line.split('|').collect()).collect();
                let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap();
                let size = rows[0].iter().position(|heading| *heading == "SIZE").unwrap();
                let mut expected = String::new();
                for row in &rows {
                    let cell = |column: usize| match (row[column], width(column)) {
                        (cell, width) if column == size => format!("{cell:>width$}   "),
                        (cell, width) => format!("{cell:width$}   "),
                    };
                    let line: String = (0..row.len()).map(cell).collect();
                    expected += &format!("{}\n", line.trim_end());
                }
                assert_eq!(written("table", &files, whole), expected);
            }
        }
    }

    #[test]
    fn a_field_by_itself_is_what_the_object_has() {
        for kind in [FileKind::Directory, FileKind::Symlink(b"x"), FileKind::File { size: 7 }] {
            let file = file(b"/x", kind);
            let row = FileRow { file: &file, image: "a:1", time: &TimeStyle::Utc, paint: None };
            let object = row.json();
            let mut found: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
            let mut fields = FILES.0.fields.to_vec();
            for field in &fields {
                let (mut own, mut of_object) = (String::new(), String::new());
                assert_eq!(row.field(field, &mut own), object.field(field, &mut of_object), "{field}");
                assert_eq!(own, of_object, "{field}");
            }
            found.sort_unstable();
            fields.sort_unstable();
            assert_eq!(found, fields);
        }
        Format::parse("table", FILES.0).unwrap();
        Format::parse(FILES.1, FILES.0).unwrap();
    }

    #[test]
    fn a_link_shows_where_it_leads_and_a_name_is_never_obeyed() {
        let link = file(b"/bin/sh", FileKind::Symlink(b"da\xffsh"));
        let row = FileRow { file: &link, image: "a:1", time: &TimeStyle::Utc, paint: None };
        assert_eq!(row.json()["Name"], "/bin/sh -> da\\xffsh");
        assert_eq!((&row.json()["Path"], &row.json()["Size"]), (&json!("/bin/sh"), &json!(5)));
        let table = written("table", &[file(b"/e\x1b[2Jvil", FileKind::File { size: 3 })], false);
        assert!(
            table.ends_with("-rw-r--r--    1000/50    3 B   1970-01-01T00:00:00Z           /e\\x1b[2Jvil\n"),
            "{table}"
        );
    }
}
