//! What `--format` prints of what was written: a table, JSON, or a Go template as in Docker's own commands.
//!
//! Of Go's templates this reads fields and `json`: what people write after `--format`. Anything else is refused with the
//! list of what there is, never printed as an empty string.

use std::fmt::Write as _;

use indicatif::DecimalBytes;
use serde::Serialize;
use serde_json::Value;

use super::sanitize;
use crate::artifact::get::{Fetched, Report};

/// The columns of `--format table`.
const TABLE: &str = "{{.Path}}\\t{{.Destination}}\\t{{.Size}}\\t{{.Mode}}";

/// Blanks between the columns of a table, as in Docker's.
const GAP: usize = 3;

/// How to print what was written.
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
    #[error("--format: \"{{{{{0}}}}}\" is not known; there is {fields}, {{{{json .}}}} and {{{{json .Field}}}}", fields = field_list())]
    Unknown(String),
}

/// One written thing, as JSON shows it. The names of the fields are those of the templates.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    path: &'a str,
    destination: Option<String>,
    r#type: &'a str,
    size: u64,
    mode: String,
    digest: Option<&'a str>,
    layer: Option<&'a str>,
    image: String,
    verified: bool,
}

const FIELDS: [&str; 9] = ["Path", "Destination", "Type", "Size", "Mode", "Digest", "Layer", "Image", "Verified"];

fn field_list() -> String {
    FIELDS.map(|field| format!("{{{{.{field}}}}}")).join(", ")
}

impl Format {
    /// Reads the argument of `--format`.
    pub fn parse(text: &str) -> Result<Self, InvalidFormat> {
        match text.trim() {
            "" => Err(InvalidFormat::Empty),
            "table" => pieces(TABLE).map(Format::Table),
            "json" => Ok(Format::Json),
            _ => match text.trim_start().strip_prefix("table ") {
                Some(template) => pieces(template.trim()).map(Format::Table),
                None => pieces(text).map(Format::Template),
            },
        }
    }

    /// The text that standard output gets for `report`.
    pub fn render(&self, report: &Report) -> String {
        let rows = report.files.iter().map(|file| values(report, file));
        let mut text = String::new();
        match self {
            Format::Json => {
                for row in rows {
                    let _ = writeln!(text, "{}", sanitize::json(&row.to_string()));
                }
            }
            Format::Template(pieces) => {
                for row in rows {
                    let _ = writeln!(text, "{}", line(pieces, &row, false));
                }
            }
            Format::Table(pieces) => {
                let mut lines = vec![heading(pieces)];
                lines.extend(rows.map(|row| line(pieces, &row, true)));
                align(&lines, &mut text);
            }
        }
        text
    }
}

fn pieces(template: &str) -> Result<Vec<Piece>, InvalidFormat> {
    // Docker, too, reads these two escapes outside of the template's language, for shells that cannot type them.
    let template = template.replace("\\t", "\t").replace("\\n", "\n");
    let mut rest = template.as_str();
    let mut pieces = Vec::new();
    while let Some((text, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").ok_or_else(|| InvalidFormat::Unclosed(template.clone()))?;
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        pieces.push(piece(action.trim()).ok_or_else(|| InvalidFormat::Unknown(action.trim().to_owned()))?);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn piece(action: &str) -> Option<Piece> {
    let field = |name: &str| FIELDS.into_iter().find(|field| name.strip_prefix('.') == Some(field));
    match action.strip_prefix("json ").map(str::trim) {
        Some(".") => Some(Piece::JsonAll),
        Some(name) => field(name).map(Piece::JsonField),
        None => field(action).map(Piece::Field),
    }
}

fn values(report: &Report, file: &Fetched) -> Value {
    let row = Row {
        path: &file.path,
        // A path that is not UTF-8 has no exact form in JSON.
        destination: file.destination.as_ref().map(|path| match path.to_str() {
            Some(path) => path.to_owned(),
            None => sanitize::for_terminal(path.as_os_str().as_encoded_bytes()),
        }),
        r#type: file.kind,
        size: file.size,
        mode: format!("{:04o}", file.mode),
        digest: file.digest.as_ref().map(|digest| digest.as_str()),
        layer: file.layer.as_ref().map(|digest| digest.as_str()),
        image: super::get::pinned(report),
        verified: report.verified,
    };
    // A struct of strings and numbers always serialises.
    serde_json::to_value(row).unwrap_or_default()
}

fn line(pieces: &[Piece], row: &Value, for_people: bool) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::JsonAll => sanitize::json(&row.to_string()),
            Piece::JsonField(field) => sanitize::json(&row[*field].to_string()),
            Piece::Field(field) => match &row[*field] {
                Value::String(text) => sanitize::for_terminal(text),
                Value::Null => String::new(),
                Value::Number(bytes) if for_people => DecimalBytes(bytes.as_u64().unwrap_or(0)).to_string(),
                other => other.to_string(),
            },
        })
        .collect()
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
    use super::*;
    use crate::image::digest::Digest;

    fn report() -> Report {
        let file = |path: &str, destination: Option<&str>, size| Fetched {
            path: path.to_owned(),
            destination: destination.map(Into::into),
            kind: "file",
            size,
            mode: 0o755,
            digest: Some(Digest::of(b"content")),
            layer: None,
        };
        Report {
            image: "registry.example/tools:1".to_owned(),
            digest: Digest::of(b"manifest"),
            files: vec![file("/bin/ls", Some("ls"), 138_208), file("/e\\x1bvil", Some("e\x1bvil\u{202e}"), 3)],
            image_bytes: 1000,
            fetched_bytes: 500,
            verified: true,
        }
    }

    fn rendered(format: &str) -> String {
        Format::parse(format).unwrap().render(&report())
    }

    #[test]
    fn a_table_has_a_heading_and_sizes_for_people() {
        assert_eq!(
            rendered("table"),
            "PATH        DESTINATION        SIZE        MODE\n\
             /bin/ls     ls                 138.21 kB   0755\n\
             /e\\x1bvil   e\\x1bvil\\u{202e}   3 B         0755\n"
        );
        assert_eq!(rendered("table {{.Type}}\\t{{.Mode}}").lines().next(), Some("TYPE   MODE"));
    }

    #[test]
    fn json_is_one_exact_object_a_line() {
        let text = rendered("json");
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0]["Path"], "/bin/ls");
        assert_eq!(rows[0]["Size"], 138_208);
        assert_eq!(rows[0]["Mode"], "0755");
        assert_eq!(rows[0]["Layer"], Value::Null);
        assert_eq!(rows[0]["Verified"], true);
        assert_eq!(rows[0]["Image"], format!("registry.example/tools:1@{}", Digest::of(b"manifest")));
        assert_eq!(rows[1]["Destination"], "e\x1bvil\u{202e}");
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
        let fields: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
        assert_eq!(fields, FIELDS);
    }

    #[test]
    fn a_template_prints_fields_and_text() {
        assert_eq!(rendered("{{.Path}} {{ .Size }}\\t{{.Layer}}|"), "/bin/ls 138208\t|\n/e\\x1bvil 3\t|\n");
        assert_eq!(rendered("{{json .Path}}").lines().next(), Some("\"/bin/ls\""));
        assert_eq!(rendered("{{json .}}"), rendered("json"));
        assert_eq!(rendered("{{.Destination}}").lines().nth(1), Some("e\\x1bvil\\u{202e}"));
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_there_is() {
        for action in ["{{.Nope}}", "{{Path}}", "{{range .}}", "{{json .Nope}}", "{{upper .Path}}", "{{}}"] {
            let error = Format::parse(action).unwrap_err();
            assert!(matches!(error, InvalidFormat::Unknown(_)), "{action}");
            let text = error.to_string();
            assert!(text.contains(action) && text.contains("{{.Path}}, {{.Destination}}"), "{text}");
        }
        assert_eq!(Format::parse("{{.Path"), Err(InvalidFormat::Unclosed("{{.Path".into())));
        assert_eq!(Format::parse(" "), Err(InvalidFormat::Empty));
    }
}
