//! Words with variables, as BuildKit expands them: `$A`, `${A}`, with a default or a replacement, quotes, escapes.
//!
//! This follows `frontend/dockerfile/shell/lex.go` (`ProcessWord`). Substrings and replacements by pattern (`${A#p}`, `${A%p}`,
//! `${A/p/r}`) are not done here: such a word is unknown, and so is one with a variable that only the base image may set.

use std::iter::Peekable;
use std::str::Chars;

/// No word may grow longer, in bytes: variables that hold variables twice double with each line.
const MAX_WORD: usize = 64 << 10;
/// How deep `${A:-${B:-…}}` may go.
const MAX_DEPTH: usize = 16;

/// What a variable is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding<'a> {
    /// A value.
    Value(&'a str),
    /// Nothing: it is the empty text.
    Unset,
    /// The Dockerfile does not tell.
    Unknown,
}

/// Why a word has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// A variable that the Dockerfile does not tell.
    Variable(String),
    /// Something that is not understood, or that BuildKit refuses.
    Syntax,
    /// It is longer than 64 KiB, or all words together are too long.
    TooLong,
}

/// How many bytes may still be made by expanding words.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// Enough for any real Dockerfile: 16 MiB.
    pub(super) fn new() -> Self {
        Budget(16 << 20)
    }

    /// Takes `bytes` away, if that many are left.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Unknown> {
        self.0 = self.0.checked_sub(bytes).ok_or(Unknown::TooLong)?;
        Ok(())
    }
}

/// The value of `word`.
pub(super) fn expand<'a>(
    word: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Binding<'a>,
    budget: &mut Budget,
) -> Result<String, Unknown> {
    let mut reader = Reader { chars: word.chars().peekable(), escape, lookup, budget, depth: 0 };
    let text = reader.until(None)?;
    text.unknown.map_or(Ok(text.value), |name| Err(Unknown::Variable(name)))
}

/// What was read so far. An unknown variable does not end the reading: what comes of it may turn out not to matter.
#[derive(Default)]
struct Text {
    value: String,
    unknown: Option<String>,
}

impl Text {
    fn push(&mut self, c: char) -> Result<(), Unknown> {
        self.value.push(c);
        self.check()
    }

    fn append(&mut self, other: Text) -> Result<(), Unknown> {
        self.value.push_str(&other.value);
        self.unknown = self.unknown.take().or(other.unknown);
        self.check()
    }

    fn check(&self) -> Result<(), Unknown> {
        if self.value.len() > MAX_WORD { Err(Unknown::TooLong) } else { Ok(()) }
    }
}

struct Reader<'r, 'v> {
    chars: Peekable<Chars<'r>>,
    escape: char,
    lookup: &'r dyn Fn(&str) -> Binding<'v>,
    budget: &'r mut Budget,
    depth: usize,
}

impl Reader<'_, '_> {
    /// Reads to the end, or past `stop`.
    fn until(&mut self, stop: Option<char>) -> Result<Text, Unknown> {
        if self.depth > MAX_DEPTH {
            return Err(Unknown::Syntax);
        }
        let mut text = Text::default();
        while let Some(&c) = self.chars.peek() {
            match c {
                c if Some(c) == stop => {
                    self.chars.next();
                    self.budget.take(text.value.len())?;
                    return Ok(text);
                }
                '\'' => self.single_quoted(&mut text)?,
                '"' => self.double_quoted(&mut text)?,
                '$' => text.append(self.variable()?)?,
                _ => {
                    self.chars.next();
                    // An escape character at the end is dropped.
                    let c = if c == self.escape { self.chars.next() } else { Some(c) };
                    c.map_or(Ok(()), |c| text.push(c))?;
                }
            }
        }
        self.budget.take(text.value.len())?;
        if stop.is_none() { Ok(text) } else { Err(Unknown::Syntax) }
    }

    fn single_quoted(&mut self, text: &mut Text) -> Result<(), Unknown> {
        self.chars.next();
        loop {
            match self.chars.next().ok_or(Unknown::Syntax)? {
                '\'' => return Ok(()),
                c => text.push(c)?,
            }
        }
    }

    fn double_quoted(&mut self, text: &mut Text) -> Result<(), Unknown> {
        self.chars.next();
        loop {
            match *self.chars.peek().ok_or(Unknown::Syntax)? {
                '"' => {
                    self.chars.next();
                    return Ok(());
                }
                '$' => text.append(self.variable()?)?,
                c => {
                    self.chars.next();
                    let escape = self.escape;
                    let is_escaped = |next: &char| matches!(*next, '"' | '$') || *next == escape;
                    let escaped = if c == escape { self.chars.next_if(is_escaped) } else { None };
                    text.push(escaped.unwrap_or(c))?;
                }
            }
        }
    }

    /// Reads what begins with `$`.
    fn variable(&mut self) -> Result<Text, Unknown> {
        self.chars.next();
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name()?;
            return if name.is_empty() { Ok(known("$")) } else { Ok(self.value(&name)) };
        }
        let name = self.name()?;
        if name.is_empty() {
            return Err(Unknown::Syntax);
        }
        let mut operator = self.chars.next().ok_or(Unknown::Syntax)?;
        if operator == '}' {
            return Ok(self.value(&name));
        }
        let empty_is_unset = operator == ':';
        if empty_is_unset {
            operator = self.chars.next().ok_or(Unknown::Syntax)?;
        }
        if !matches!(operator, '-' | '+' | '?') {
            return Err(Unknown::Syntax);
        }
        self.depth += 1;
        let word = self.until(Some('}'))?;
        self.depth -= 1;
        let is_set = match (self.lookup)(&name) {
            Binding::Unknown => return Ok(Text { value: String::new(), unknown: Some(name) }),
            Binding::Unset => false,
            Binding::Value(value) => !(empty_is_unset && value.is_empty()),
        };
        match (operator, is_set) {
            ('-', false) | ('+', true) => Ok(word),
            ('+', false) => Ok(Text::default()),
            // BuildKit says that the variable has to be set.
            ('?', false) => Err(Unknown::Syntax),
            _ => Ok(self.value(&name)),
        }
    }

    fn value(&self, name: &str) -> Text {
        match (self.lookup)(name) {
            Binding::Value(value) => known(value),
            Binding::Unset => Text::default(),
            Binding::Unknown => Text { value: String::new(), unknown: Some(name.to_owned()) },
        }
    }

    /// Reads the name of a variable. Those of a shell's parameters (`$1`, `$@`) are names of nothing.
    fn name(&mut self) -> Result<String, Unknown> {
        let mut name = String::new();
        match self.chars.peek().copied() {
            Some(c) if c.is_ascii_digit() => name.extend(self.take_while(|c| c.is_ascii_digit())),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.chars.next()),
            _ => name.extend(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')),
        }
        // Which letters of other scripts may be in a name is for BuildKit to say.
        let is_other = |c: &char| !c.is_ascii() && c.is_alphanumeric();
        if self.chars.peek().is_some_and(is_other) { Err(Unknown::Syntax) } else { Ok(name) }
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> impl Iterator<Item = char> {
        std::iter::from_fn(move || self.chars.next_if(|c| is_part(*c)))
    }
}

fn known(value: &str) -> Text {
    Text { value: value.to_owned(), unknown: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Binding<'static> {
        match name {
            "A" => Binding::Value("1"),
            "EMPTY" => Binding::Value(""),
            "LONG_1" => Binding::Value("long"),
            "BASE" => Binding::Unknown,
            _ => Binding::Unset,
        }
    }

    fn value(word: &str) -> Result<String, Unknown> {
        expand(word, '\\', &lookup, &mut Budget::new())
    }

    #[test]
    fn a_word_is_expanded_as_buildkit_does() {
        for (word, expected) in [
            ("/usr/bin/*", "/usr/bin/*"),
            ("", ""),
            ("$A", "1"),
            ("/x$A.y", "/x1.y"),
            ("${A}B", "1B"),
            ("$LONG_1-$A", "long-1"),
            ("$UNSET", ""),
            ("$", "$"),
            ("a$/b", "a$/b"),
            ("$1x$@y${0}", "xy"),
            // Defaults and replacements.
            ("${UNSET:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${A:-d}", "1"),
            ("${UNSET-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${A:+r}", "r"),
            ("${EMPTY:+r}", ""),
            ("${EMPTY+r}", "r"),
            ("${UNSET+r}", ""),
            ("${A:?message}", "1"),
            ("${UNSET:-${A:-x}$A}", "11"),
            ("${UNSET:-}", ""),
            ("${UNSET:-'}'}", "}"),
            ("${UNSET:-\\}}", "}"),
            // Quotes and escapes.
            ("\"a b\"'$A'", "a b$A"),
            ("\"$A'\\\"\\$\\\\\\x\"", "1'\"$\\\\x"),
            ("\\$A\\a\\\\", "$Aa\\"),
            ("a\\", "a"),
            // What the value of an unknown variable would be does not matter.
            ("${A:-$BASE}", "1"),
            ("${UNSET:+$BASE}", ""),
        ] {
            assert_eq!(value(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn a_backquote_may_be_the_escape_character() {
        assert_eq!(expand("C:\\$A`$A", '`', &lookup, &mut Budget::new()).as_deref(), Ok("C:\\1$A"));
    }

    #[test]
    fn a_variable_of_the_base_image_makes_a_word_unknown() {
        for word in ["$BASE", "/x/${BASE}/y", "${BASE:-d}", "${BASE:+r}", "${UNSET:-$BASE}", "\"$BASE\"", "${A:+$BASE}"]
        {
            assert_eq!(value(word), Err(Unknown::Variable("BASE".to_owned())), "{word}");
        }
    }

    #[test]
    fn what_is_not_done_here_makes_a_word_unknown() {
        for word in [
            "${A#x}",
            "${A%%x}",
            "${A/x/y}",
            "${A//x/y}",
            "${A=x}",
            "${A:x}",
            "${A",
            "${A:-",
            "${}",
            "${",
            "${:A}",
            "${UNSET:?m}",
            "${UNSET?}",
            "'a",
            "\"a",
            "$é",
            "${UNSET:-'}",
            "${A:",
        ] {
            assert_eq!(value(word), Err(Unknown::Syntax), "{word}");
        }
    }

    #[test]
    fn a_word_that_grows_too_long_or_too_deep_is_not_expanded() {
        let long = "x".repeat(MAX_WORD);
        let double = |_: &str| Binding::Value(&long);
        let result = |word: &str| expand(word, '\\', &double, &mut Budget::new()).map(|text| text.len());
        assert_eq!(result("$A"), Ok(MAX_WORD));
        assert_eq!(result("$A$A"), Err(Unknown::TooLong));
        assert_eq!(value(&"${UNSET:-".repeat(100_000)), Err(Unknown::Syntax));
        let mut budget = Budget(MAX_WORD);
        assert!(expand("$A", '\\', &double, &mut budget).is_ok());
        assert_eq!(expand("$A", '\\', &double, &mut budget), Err(Unknown::TooLong));
    }
}
