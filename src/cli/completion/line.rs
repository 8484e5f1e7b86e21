//! What stands on a command line, and what the word under the cursor is: a command, a flag, a flag's value, or an operand, and which.
//!
//! It reads as clap does, except that it never fails: what it cannot make sense of is passed over.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use crate::cli::help;

/// A command line up to the cursor.
#[derive(Debug)]
pub struct Line<'a> {
    /// The innermost command that it names.
    pub command: &'a Command,
    /// What stands before the word under the cursor, besides commands and flags.
    pub operands: Vec<OsString>,
    /// The word under the cursor.
    pub cursor: Cursor<'a>,
    /// The flags before that, by their IDs, with their values.
    flags: Vec<(&'a str, OsString)>,
}

/// The word under the cursor, as far as it is typed.
#[derive(Debug)]
pub enum Cursor<'a> {
    /// A command.
    Command(&'a str),
    /// A flag.
    Flag(&'a str),
    /// The value of a flag.
    Value(&'a Arg, &'a str),
    /// An operand.
    Operand(&'a str),
    /// Nothing that could go on.
    Nothing,
}

impl<'a> Line<'a> {
    /// Reads the words after the name of the program, the one under the cursor last.
    pub fn read(root: &'a Command, words: &'a [OsString]) -> Self {
        let (mut line, mut pending, mut is_over) = (Line::new(root), None, false);
        let Some((current, before)) = words.split_last() else {
            line.cursor = Cursor::Command("");
            return line;
        };
        for word in before {
            let text = word.to_str().unwrap_or_default();
            if let Some(flag) = pending.take() {
                line.set(flag, word.clone());
            } else if is_over {
                line.operands.push(word.clone());
            } else if text == "--" {
                is_over = true;
            } else if let Some(long) = text.strip_prefix("--") {
                pending = line.long(long);
            } else if let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                pending = line.short(letters);
            } else if let Some(command) = line.command.find_subcommand(word) {
                line.command = command;
            } else {
                line.operands.push(word.clone());
            }
        }
        line.cursor = match (current.to_str(), pending) {
            (None, _) => Cursor::Nothing,
            (Some(value), Some(flag)) => Cursor::Value(flag, value),
            (Some(operand), None) if is_over => Cursor::Operand(operand),
            (Some(word), None) => line.at_cursor(word),
        };
        line
    }

    fn new(command: &'a Command) -> Self {
        Line { command, operands: Vec::new(), cursor: Cursor::Nothing, flags: Vec::new() }
    }

    /// Whether a flag stands on the line.
    pub fn has(&self, id: &str) -> bool {
        self.flags.iter().any(|(known, _)| *known == id)
    }

    /// The last value of a flag.
    pub fn value(&self, id: &str) -> Option<&OsString> {
        self.flags.iter().rev().find(|(known, _)| *known == id).map(|(_, value)| value)
    }

    fn at_cursor(&self, word: &'a str) -> Cursor<'a> {
        match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => match self.find(|flag| flag.get_long() == name.get(2..)) {
                Some(flag) if takes_value(flag) => Cursor::Value(flag, value),
                _ => Cursor::Nothing,
            },
            _ if word.starts_with('-') => Cursor::Flag(word),
            _ if help::visible_subcommands(self.command).next().is_some() => Cursor::Command(word),
            _ => Cursor::Operand(word),
        }
    }

    /// Reads `--long` or `--long=value`, and gives the flag whose value is the next word.
    fn long(&mut self, long: &str) -> Option<&'a Arg> {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let flag = self.find(|flag| flag.get_long() == Some(name))?;
        match value {
            None if takes_value(flag) && !flag.is_require_equals_set() => Some(flag),
            value => {
                self.set(flag, value.unwrap_or_default().into());
                None
            }
        }
    }

    /// Reads `-abc` or `-ovalue`, and gives the flag whose value is the next word.
    fn short(&mut self, letters: &str) -> Option<&'a Arg> {
        for (position, letter) in letters.char_indices() {
            let flag = self.find(|flag| flag.get_short() == Some(letter))?;
            let rest = &letters[position + letter.len_utf8()..];
            match takes_value(flag) {
                true if rest.is_empty() => return Some(flag),
                true => {
                    self.set(flag, rest.strip_prefix('=').unwrap_or(rest).into());
                    return None;
                }
                false => self.set(flag, OsString::new()),
            }
        }
        None
    }

    fn find(&self, is_it: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
        help::flags(self.command).find(|flag| is_it(flag))
    }

    fn set(&mut self, flag: &'a Arg, value: OsString) {
        self.flags.push((flag.get_id().as_str(), value));
    }
}

fn takes_value(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Set | ArgAction::Append)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;

    /// What the line is taken for: the command, the operands, the flags and the word under the cursor.
    fn read(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let root = arguments::command("docker artifact");
        let Line { command, operands, cursor, flags } = Line::read(&root, &words);
        let operands: Vec<_> = operands.iter().map(|operand| operand.to_str().unwrap()).collect();
        let flags: Vec<_> = flags.iter().map(|(id, value)| format!("{id}={}", value.to_str().unwrap())).collect();
        let cursor = match cursor {
            Cursor::Value(flag, value) => format!("{} {value}", flag.get_id()),
            cursor => format!("{cursor:?}"),
        };
        format!("{} {operands:?} {flags:?} {cursor}", command.get_name()).replace('"', "")
    }

    #[test]
    fn the_word_under_the_cursor_is_known_by_what_stands_before_it() {
        for (line, expected) in [
            ("", "artifact [] [] Command()"),
            ("ge", "artifact [] [] Command(ge)"),
            ("cache ", "cache [] [] Command()"),
            ("cache rm ", "rm [] [] Operand()"),
            ("get ", "get [] [] Operand()"),
            ("get --pl", "get [] [] Flag(--pl)"),
            ("get -", "get [] [] Flag(-)"),
            ("get a /b", "get [a] [] Operand(/b)"),
            ("get a get ", "get [a, get] [] Operand()"),
            ("get -- -", "get [] [] Operand(-)"),
            ("get -- --x a ", "get [--x, a] [] Operand()"),
            ("get --platform ", "get [] [] platform "),
            ("get --platform=lin", "get [] [] platform lin"),
            ("get -o", "get [] [] Flag(-o)"),
            ("get -o ", "get [] [] output "),
            ("get --output=a b ", "get [b] [output=a] Operand()"),
            ("get -ob c ", "get [c] [output=b] Operand()"),
            ("get -qo b c ", "get [c] [quiet=, output=b] Operand()"),
            ("get -qo ", "get [] [quiet=] output "),
            ("get --created-by -x a ", "get [a] [created_by=-x] Operand()"),
            ("-D get a ", "get [a] [] Operand()"),
            ("get --nope a ", "get [a] [] Operand()"),
            ("get --nope=x", "get [] [] Nothing"),
            ("get --quiet=x", "get [] [] Nothing"),
            ("ls --color a ", "ls [a] [color=] Operand()"),
            ("ls --color=al", "ls [] [] color al"),
            ("ls --color=always a ", "ls [a] [color=always] Operand()"),
            ("build --print .", "build [] [print=] Operand(.)"),
            ("build -t app .", "build [app] [] Operand(.)"),
        ] {
            let found = read(line).replace(" [debug=]", " []");
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn the_last_value_of_a_flag_counts() {
        let words = ["get", "--platform", "a", "--plain-http", "--platform=b", "x"].map(OsString::from);
        let root = arguments::command("docker artifact");
        let line = Line::read(&root, &words);
        assert_eq!(line.value("platform"), Some(&"b".into()));
        assert!(line.has("plain_http") && !line.has("insecure"));
    }
}
