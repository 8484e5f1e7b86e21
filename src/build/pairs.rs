//! The words of `ARG`, and the pairs of `ENV` and `LABEL`, as BuildKit takes them apart (`frontend/dockerfile/parser/line_parsers.go`).
//!
//! Quotes and escapes are kept in the words: they go where variables are expanded.

/// A key and a value, as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
}

/// The pairs of `ENV` or `LABEL`: `KEY=VALUE …`, or the old form `KEY VALUE`. `None` where BuildKit refuses them.
pub(super) fn parse(text: &str, escape: char) -> Option<Vec<Pair>> {
    let pair = |(key, value): (&str, &str)| Pair { key: key.to_owned(), value: value.to_owned() };
    let words = words(text, escape);
    // `ENV` and `LABEL` know no flags.
    if words.first().is_none_or(|word| word.starts_with("--")) {
        return None;
    }
    if !words[0].contains('=') {
        let (key, value) = text.split_once([' ', '\t'])?;
        return Some(vec![pair((key, value.trim_start_matches([' ', '\t'])))]);
    }
    words.iter().map(|word| word.split_once('=').map(pair)).collect()
}

/// The words of `text`: what is quoted holds together, and so does an escape character with what follows.
pub(super) fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if matches!(c, ' ' | '\t') && quote.is_none() {
            words.extend(word.take());
            continue;
        }
        let is_escape = c == escape && quote != Some('\'');
        let escaped = if is_escape { chars.next() } else { None };
        if is_escape && escaped.is_none() {
            // An escape character at the end is dropped.
            break;
        }
        match (c, quote) {
            _ if is_escape => {}
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if open == c => quote = None,
            _ => {}
        }
        let word = word.get_or_insert_default();
        word.push(c);
        word.extend(escaped);
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Option<Vec<(String, String)>> {
        Some(parse(text, '\\')?.into_iter().map(|pair| (pair.key, pair.value)).collect())
    }

    #[test]
    fn words_keep_their_quotes_and_escapes() {
        for (text, expected) in [
            ("A B=1 C=", &["A", "B=1", "C="][..]),
            ("A=\"x y\" \t B='x y'z", &["A=\"x y\"", "B='x y'z"]),
            ("A=x\\ y B='\\' C=\"\\\" \"", &["A=x\\ y", "B='\\'", "C=\"\\\" \""]),
            ("A=\"open  B", &["A=\"open  B"]),
            ("A=1\\", &["A=1"]),
            ("''", &["''"]),
            ("", &[]),
        ] {
            assert_eq!(words(text, '\\'), expected, "{text}");
        }
    }

    #[test]
    fn pairs_are_of_the_new_or_the_old_form() {
        let one = |key: &str, value: &str| Some(vec![(key.to_owned(), value.to_owned())]);
        assert_eq!(pairs("A=1"), one("A", "1"));
        assert_eq!(pairs("PATH /x:$PATH  y"), one("PATH", "/x:$PATH  y"));
        assert_eq!(pairs("A \t B=1"), one("A", "B=1"));
        assert_eq!(pairs("\"A B\"=\"c=d\""), one("\"A B\"", "\"c=d\""));
        assert_eq!(pairs("A=1 B=2").map(|pairs| pairs.len()), Some(2));
        for text in ["A", "A=1 B", "--x A=1", ""] {
            assert_eq!(pairs(text), None, "{text}");
        }
    }
}
