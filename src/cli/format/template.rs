//! Go templates as people write them after `--format`: text and fields.

use super::{Columns, InvalidFormat};

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

/// Reads `template`, of rows with these columns.
pub(super) fn pieces(template: &str, columns: &'static Columns) -> Result<Vec<Piece>, InvalidFormat> {
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

/// The fields of a table whose columns are one field each.
pub(super) fn columns(pieces: &[Piece]) -> Option<Vec<&'static str>> {
    let is_tab = |piece: &Piece| matches!(piece, Piece::Text(text) if text == "\t");
    let field = |column: &[Piece]| match column {
        [Piece::Field(field)] => Some(*field),
        _ => None,
    };
    pieces.split(is_tab).map(field).collect()
}

/// The heading of a table of this template.
pub(super) fn heading(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(field) | Piece::JsonField(field) => field.to_uppercase(),
            Piece::JsonAll => "JSON".to_owned(),
        })
        .collect()
}

/// Which columns of a table of this template are sizes, which stand one below the other as numbers do.
pub(super) fn sizes(pieces: &[Piece]) -> Vec<bool> {
    let is_tab = |piece: &Piece| matches!(piece, Piece::Text(text) if text == "\t");
    let is_size = |column: &[Piece]| matches!(column, [Piece::Field(field)] if field.ends_with("Size"));
    pieces.split(is_tab).map(is_size).collect()
}
