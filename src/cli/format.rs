//! What `--format` prints: rows as a table, as JSON, or by a Go template as in Docker's own commands.
//!
//! Of Go's templates this reads fields and `json`: what people write after `--format`. Anything else is refused with the
//! list of what there is, never printed as an empty string.

use std::fmt::Write as _;

use indicatif::DecimalBytes;
use serde_json::Value;

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

/// Blanks between the columns of a table, as in Docker's.
const GAP: usize = 3;

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

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text printed as it is.
    Text(String),
    /// `{{.Field}}`
    Field(&'static str),
    /// `{{json .Field}}`
    JsonField(&'static str),
    /// `{{json .}}`
    JsonAll,
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
    #[error("--format: \"{{{{{action}}}}}\" is not known; there is {fields}, {{{{json .}}}} and {{{{json .Field}}}}")]
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
    pub fn render(&self, rows: &[Value], whole: bool) -> String {
        let mut text = String::new();
        match self {
            Format::Json => {
                for row in rows {
                    let _ = writeln!(text, "{}", sanitize::json(&row.to_string()));
                }
            }
            Format::Template(pieces) => {
                for row in rows {
                    let _ = writeln!(text, "{}", line(pieces, row, Reader::Program));
                }
            }
            Format::Table(pieces) => {
                let reader = if whole { Reader::Person } else { Reader::Glancer };
                let mut lines = vec![heading(pieces)];
                lines.extend(rows.iter().map(|row| line(pieces, row, reader)));
                align(&lines, &mut text);
            }
        }
        text
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

fn pieces(template: &str, columns: &'static Columns) -> Result<Vec<Piece>, InvalidFormat> {
    // Docker, too, reads these two escapes outside of the template's language, for shells that cannot type them.
    let template = template.replace("\\t", "\t").replace("\\n", "\n");
    let mut rest = template.as_str();
    let mut pieces = Vec::new();
    while let Some((text, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").ok_or_else(|| InvalidFormat::Unclosed(template.clone()))?;
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        pieces.push(piece(action.trim(), columns).ok_or_else(|| InvalidFormat::Unknown {
            action: action.trim().to_owned(),
            fields: columns.fields.iter().map(|field| format!("{{{{.{field}}}}}")).collect::<Vec<_>>().join(", "),
        })?);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn piece(action: &str, columns: &'static Columns) -> Option<Piece> {
    let field = |name: &str| columns.fields.iter().copied().find(|field| name.strip_prefix('.') == Some(field));
    match action.strip_prefix("json ").map(str::trim) {
        Some(".") => Some(Piece::JsonAll),
        Some(name) => field(name).map(Piece::JsonField),
        None => field(action).map(Piece::Field),
    }
}

fn line(pieces: &[Piece], row: &Value, reader: Reader) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::JsonAll => sanitize::json(&row.to_string()),
            Piece::JsonField(field) => sanitize::json(&row[*field].to_string()),
            Piece::Field(field) => match &row[*field] {
                Value::String(text) if reader == Reader::Glancer => sanitize::for_terminal(shorten(field, text)),
                Value::String(text) => sanitize::for_terminal(text),
                Value::Null => String::new(),
                Value::Number(bytes) if reader != Reader::Program && field.ends_with("Size") => {
                    DecimalBytes(bytes.as_u64().unwrap_or(0)).to_string()
                }
                other => other.to_string(),
            },
        })
        .collect()
}

/// A digest's first digits, each where there are several, and the beginning of a build step; else the text.
fn shorten(field: &str, text: &str) -> String {
    let digests: Option<Vec<Digest>> = text.split(',').map(|part| part.parse().ok()).collect();
    match digests {
        Some(digests) => digests.iter().map(Digest::short).collect::<Vec<_>>().join(","),
        None if field == "Step" && text.chars().count() > STEP_WIDTH => {
            text.chars().take(STEP_WIDTH - 1).chain(['…']).collect()
        }
        None => text.to_owned(),
    }
}

fn heading(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(field) | Piece::JsonField(field) => field.to_uppercase(),
            Piece::JsonAll => "JSON".to_owned(),
        })
        .collect()
}

/// Aligns what stands between tabs, counting characters as Go's `tabwriter` does.
fn align(lines: &[String], text: &mut String) {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        for (column, cell) in line.split('\t').enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    for line in lines {
        let mut aligned = String::new();
        for (cell, width) in line.split('\t').zip(&widths) {
            let blanks = width - cell.chars().count() + GAP;
            let _ = write!(aligned, "{cell}{:blanks$}", "");
        }
        let _ = writeln!(text, "{}", aligned.trim_end());
    }
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
            "PATH        DESTINATION        SIZE        MODE\n\
             /bin/ls     ls                 138.21 kB   0755\n\
             /e\\x1bvil   e\\x1bvil\\u{202e}   3 B         0755\n"
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
        assert_eq!(shorten("Layer", &format!("{digest},{digest}")), format!("{0},{0}", digest.short()));
        assert_eq!(shorten("Step", &"x".repeat(50)), format!("{}…", "x".repeat(44)));
        assert_eq!(shorten("Path", &"x".repeat(50)), "x".repeat(50));
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
