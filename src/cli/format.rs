//! What `--format` prints: rows as a table, as JSON, or by a Go template as in Docker's own commands.
//!
//! Of Go's templates this reads fields and `json`: what people write after `--format`. Anything else is refused with the
//! list of what there is, never printed as an empty string.

mod aligned;
mod template;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use indicatif::DecimalBytes;
use serde_json::Value;

use self::aligned::{Widths, width};
pub use self::template::Piece;
use self::template::{columns, heading, pieces};
use super::sanitize;
use crate::image::digest::Digest;

/// What a command prints rows of. A row is a JSON object; a field that it lacks is printed as nothing.
#[derive(Debug)]
pub struct Columns {
    /// The template of `table`.
    pub table: &'static str,
    /// The names of the fields.
    pub fields: &'static [&'static str],
}

/// How many characters a table shows of a build step, as `docker history` does.
const STEP_WIDTH: usize = 45;

/// How to print rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `table`, or `table TEMPLATE`: aligned columns under a heading, with sizes for people.
    Table(Vec<Piece>),
    /// `json`: one object a line.
    Json,
    /// `TEMPLATE`: one line each, with sizes in bytes.
    Template(Vec<Piece>),
}

/// A template that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidFormat {
    /// There is nothing to print.
    #[error("--format is empty; write table, json, or a template such as \"{{{{.Path}}}}\"")]
    Empty,
    /// `{{` without its `}}`.
    #[error("--format: \"{{{{\" without its \"}}}}\" in \"{0}\"")]
    Unclosed(String),
    /// Something in `{{` and `}}` that is no field.
    #[error("--format: \"{{{{{action}}}}}\" is not known; use {fields}, {{{{json .}}}} or {{{{json .Field}}}}")]
    Unknown {
        /// What it is.
        action: String,
        /// The fields that there are.
        fields: String,
    },
}

impl Format {
    /// Reads the argument of `--format`.
    pub fn parse(text: &str, columns: &'static Columns) -> Result<Self, InvalidFormat> {
        match text.trim() {
            "" => Err(InvalidFormat::Empty),
            "table" => pieces(columns.table, columns).map(Format::Table),
            "json" => Ok(Format::Json),
            _ => match text.trim_start().strip_prefix("table ") {
                Some(template) => pieces(template.trim(), columns).map(Format::Table),
                None => pieces(text, columns).map(Format::Template),
            },
        }
    }

    /// The text that standard output gets for `rows`. Digests are shortened in a table, unless it is to be `whole`.
    pub fn render(&self, rows: &Vec<Value>, whole: bool) -> String {
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = self.write(rows, whole, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Writes `rows` to `out`, one after another, as [`Format::render`] does. For a table they are gone through twice, first for its
    /// columns' widths.
    pub fn write(&self, rows: &dyn Rows, whole: bool, out: &mut dyn Write) -> io::Result<()> {
        let mut text = String::new();
        match self {
            Format::Json => rows.each(&mut |row| writeln!(out, "{}", sanitize::json(&row.json().to_string()))),
            Format::Template(pieces) => rows.each(&mut |row| {
                text.clear();
                line(pieces, row, Reader::Program, &mut text);
                text.push('\n');
                out.write_all(text.as_bytes())
            }),
            Format::Table(pieces) => {
                let reader = if whole { Reader::Person } else { Reader::Glancer };
                let mut widths = Widths::of(pieces);
                let columns = columns(pieces);
                rows.each(&mut |row| {
                    match &columns {
                        Some(fields) => widths.widen_by(fields.len(), |column| {
                            let Some(field) = fields.get(column) else { return 0 };
                            row.width(field, whole).unwrap_or_else(|| {
                                text.clear();
                                append_field(field, row, reader, &mut text);
                                width(&text)
                            })
                        }),
                        None => {
                            text.clear();
                            line(pieces, row, reader, &mut text);
                            widths.widen(&text);
                        }
                    }
                    Ok(())
                })?;
                let mut aligned = String::new();
                widths.align(&heading(pieces), &mut aligned);
                out.write_all(aligned.as_bytes())?;
                rows.each(&mut |row| {
                    text.clear();
                    line(pieces, row, reader, &mut text);
                    aligned.clear();
                    widths.align(&text, &mut aligned);
                    out.write_all(aligned.as_bytes())
                })
            }
        }
    }
}

/// What is printed: rows that come one after another, the same each time.
pub trait Rows {
    /// Calls `row` with each, and ends with its first error.
    fn each(&self, row: &mut dyn FnMut(&dyn Row) -> io::Result<()>) -> io::Result<()>;
}

/// One row.
pub trait Row {
    /// Appends what `field` holds to `text`, as it is, and says what it is.
    fn field(&self, field: &str, text: &mut String) -> Held;

    /// How many characters a table shows of `field`, of a digest the `whole` or not, where that is known without writing it.
    fn width(&self, _field: &str, _whole: bool) -> Option<usize> {
        None
    }

    /// Gives what a person is shown of `field`, which begins at `start` of `text`, its colours.
    fn paint(&self, _field: &str, _text: &mut String, _start: usize) {}

    /// All fields, as a JSON object.
    fn json(&self) -> Cow<'_, Value>;
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    Nothing,
    /// Text, which may come from an image.
    Text,
    /// A digest.
    Digest,
    /// A number.
    Number(u64),
    /// Anything else that JSON has.
    Other,
}

impl Rows for Vec<Value> {
    fn each(&self, row: &mut dyn FnMut(&dyn Row) -> io::Result<()>) -> io::Result<()> {
        self.iter().try_for_each(|value| row(value))
    }
}

impl Row for Value {
    fn field(&self, field: &str, text: &mut String) -> Held {
        match &self[field] {
            Value::Null => Held::Nothing,
            Value::String(held) => {
                text.push_str(held);
                Held::Text
            }
            other => {
                let _ = write!(text, "{other}");
                match other {
                    Value::Number(number) => Held::Number(number.as_u64().unwrap_or(0)),
                    _ => Held::Other,
                }
            }
        }
    }

    fn json(&self) -> Cow<'_, Value> {
        Cow::Borrowed(self)
    }
}

/// For whom a field is printed.
#[derive(Clone, Copy, PartialEq)]
enum Reader {
    /// Everything is exact.
    Program,
    /// Sizes are rounded.
    Person,
    /// Digests and build steps are shortened, too.
    Glancer,
}

/// Appends the line of `row` to `text`.
fn line(pieces: &[Piece], row: &dyn Row, reader: Reader, text: &mut String) {
    for piece in pieces {
        append(piece, row, reader, text);
    }
}

/// Appends what `piece` is of `row` to `text`.
fn append(piece: &Piece, row: &dyn Row, reader: Reader, text: &mut String) {
    match piece {
        Piece::Text(constant) => text.push_str(constant),
        Piece::JsonAll => text.push_str(&sanitize::json(&row.json().to_string())),
        Piece::JsonField(field) => text.push_str(&sanitize::json(&row.json()[*field].to_string())),
        Piece::Field(field) => append_field(field, row, reader, text),
    }
}

fn append_field(field: &str, row: &dyn Row, reader: Reader, text: &mut String) {
    let start = text.len();
    match row.field(field, text) {
        Held::Text => {
            if reader == Reader::Glancer
                && let Some(short) = shortened(field, &text[start..])
            {
                text.truncate(start);
                text.push_str(&short);
            }
            if !text.as_bytes()[start..].iter().all(|byte| matches!(byte, b' '..=b'~')) {
                let shown = sanitize::for_terminal(&text[start..]);
                text.truncate(start);
                text.push_str(&shown);
            }
        }
        Held::Digest if reader == Reader::Glancer => {
            let digits = start + Digest::ALGORITHM;
            text.truncate(digits + Digest::SHORT);
            text.drain(start..digits);
        }
        Held::Number(bytes) if reader != Reader::Program && field.ends_with("Size") => match bytes {
            // It has its digits already.
            0..1000 => text.push_str(" B"),
            _ => {
                text.truncate(start);
                let _ = write!(text, "{}", DecimalBytes(bytes));
            }
        },
        Held::Nothing | Held::Digest | Held::Number(_) | Held::Other => {}
    }
    if reader != Reader::Program {
        row.paint(field, text, start);
    }
}

/// A digest's first digits, each where there are several, and the beginning of a build step; nothing where the text stays as it is.
fn shortened(field: &str, text: &str) -> Option<String> {
    match digests(text) {
        Some(digests) => Some(digests),
        None if field == "Step" && text.chars().count() > STEP_WIDTH => {
            Some(text.chars().take(STEP_WIDTH - 1).chain(['…']).collect())
        }
        None => None,
    }
}

/// The first digits of what `text` lists, where that is digests.
fn digests(text: &str) -> Option<String> {
    // Any of them is longer than most other texts, of which a listing has very many.
    if text.len() < "sha256:".len() + 64 {
        return None;
    }
    let mut all = String::new();
    for part in text.split(',') {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(Digest::shortened(part)?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: Columns = Columns {
        table: "{{.Path}}\\t{{.Destination}}\\t{{.Size}}\\t{{.Mode}}",
        fields: &["Path", "Destination", "Size", "Mode", "Digest", "Index", "Step"],
    };

    fn rows() -> Vec<Value> {
        let digest = Digest::of(b"content");
        vec![
            json!({"Path": "/bin/ls", "Destination": "ls", "Size": 138_208, "Mode": "0755", "Digest": digest, "Index": 12}),
            json!({"Path": "/e\\x1bvil", "Destination": "e\x1bvil\u{202e}", "Size": 3, "Mode": "0755", "Digest": null}),
        ]
    }

    fn rendered(format: &str) -> String {
        Format::parse(format, &COLUMNS).unwrap().render(&rows(), false)
    }

    #[test]
    fn a_table_has_a_heading_and_sizes_for_people() {
        assert_eq!(
            rendered("table"),
            "PATH        DESTINATION             SIZE   MODE\n\
             /bin/ls     ls                 138.21 kB   0755\n\
             /e\\x1bvil   e\\x1bvil\\u{202e}         3 B   0755\n"
        );
        assert_eq!(rendered("table {{.Index}}\\t{{.Mode}}").lines().nth(1), Some("12      0755"));
    }

    #[test]
    fn a_table_shortens_what_is_long_unless_it_is_to_be_whole() {
        let format = Format::parse("table {{.Digest}}", &COLUMNS).unwrap();
        let digest = Digest::of(b"content");
        assert_eq!(format.render(&rows(), false).lines().nth(1), Some(digest.short()));
        assert_eq!(format.render(&rows(), true).lines().nth(1), Some(digest.as_str()));
        assert_eq!(rendered("{{.Digest}}").lines().next(), Some(digest.as_str()));
        assert_eq!(shortened("Layer", &format!("{digest},{digest}")), Some(format!("{0},{0}", digest.short())));
        assert_eq!(shortened("Step", &"x".repeat(50)), Some(format!("{}…", "x".repeat(44))));
        assert_eq!(shortened("Path", &"x".repeat(50)), None);
    }

    #[test]
    fn json_is_one_exact_object_a_line() {
        let text = rendered("json");
        let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, rows());
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
    }

    #[test]
    fn a_template_prints_fields_and_text() {
        assert_eq!(rendered("{{.Path}} {{ .Size }}\\t{{.Step}}|"), "/bin/ls 138208\t|\n/e\\x1bvil 3\t|\n");
        assert_eq!(rendered("{{json .Path}}").lines().next(), Some("\"/bin/ls\""));
        assert_eq!(rendered("{{json .}}"), rendered("json"));
        assert_eq!(rendered("{{.Destination}}").lines().nth(1), Some("e\\x1bvil\\u{202e}"));
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_there_is() {
        for action in ["{{.Nope}}", "{{Path}}", "{{range .}}", "{{json .Nope}}", "{{upper .Path}}", "{{}}"] {
            let error = Format::parse(action, &COLUMNS).unwrap_err();
            assert!(matches!(error, InvalidFormat::Unknown { .. }), "{action}");
            let text = error.to_string();
            assert!(text.contains(action) && text.contains("{{.Path}}, {{.Destination}}"), "{text}");
        }
        assert_eq!(Format::parse("{{.Path", &COLUMNS), Err(InvalidFormat::Unclosed("{{.Path".into())));
        assert_eq!(Format::parse(" ", &COLUMNS), Err(InvalidFormat::Empty));
    }
}
