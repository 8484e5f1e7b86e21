//! What can be wrong with the arguments of a command, and what finds it for every command.

use crate::cli::format::{Columns, Format};

/// What is wrong with the arguments of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// This is missing, or there is too much.
    Operands(&'static str),
    Other(String),
}

impl Problem {
    /// What is said of it.
    pub(super) fn message(self, command: &str) -> String {
        match self {
            Problem::Operands(needed) => format!("'{command}' requires {needed}"),
            Problem::Other(message) => message,
        }
    }
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Problem::Other(message)
    }
}

/// The argument of `--format`, for rows of these columns.
pub(super) fn format(typed: &str, columns: &'static Columns) -> Result<Format, Problem> {
    Format::parse(typed, columns).map_err(|invalid| Problem::Other(invalid.to_string()))
}
