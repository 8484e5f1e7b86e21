//! Patterns as BuildKit matches the names of an image: Go's `path.Match`, component by component.
//!
//! A folder goes through two more matchers on its way: the paths that a build copies select what is sent, as the patterns of a
//! `.dockerignore` do. What those two do not read alike, or what could match a slash, is refused here.
//! Spec: Go's `path` package, *Match*; `moby/patternmatcher`.

/// One component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A name, as it is.
    Literal(String),
    /// A pattern of names.
    Wild(Wildcard),
    /// `**`: any number of directories, none included.
    AnyDepth,
}

/// A pattern of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    AnyChar,
    /// `*`
    Any,
    /// `[...]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// Whether `name` has a character that begins a pattern.
pub fn is_wild(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

impl Part {
    /// Reads a component. Where `**` is more than two stars, which it is for `--parents` alone, `is_deep` says so.
    ///
    /// # Errors
    ///
    /// Why it is not read.
    pub fn parse(name: &str, is_deep: bool) -> Result<Self, &'static str> {
        match name {
            "**" if is_deep => Ok(Part::AnyDepth),
            "**" => Ok(Part::Wild(Wildcard(vec![Token::Any]))),
            _ if name.contains("**") => Err("has ** within a name, which BuildKit does not read the same everywhere"),
            _ if is_wild(name) => Wildcard::parse(name).map(Part::Wild),
            _ if name.contains([']', '^']) => Err("has characters of a pattern outside a pattern"),
            _ => Ok(Part::Literal(name.to_owned())),
        }
    }

    /// Whether a name matches. One that is not UTF-8 does, as nobody can say.
    pub fn is_match(&self, name: &[u8]) -> bool {
        match (self, std::str::from_utf8(name)) {
            (Part::Literal(literal), _) => literal.as_bytes() == name,
            (Part::AnyDepth, _) | (_, Err(_)) => true,
            (Part::Wild(wildcard), Ok(name)) => wildcard.is_match(name),
        }
    }

    /// The component as [`Pattern`](crate::rootfs::Pattern) reads it, with `*` for whatever there is besides: that matches bytes
    /// where Go matches characters.
    pub fn loose(&self) -> String {
        let Part::Wild(Wildcard(tokens)) = self else {
            return match self {
                Part::Literal(name) => name.clone(),
                _ => "**".to_owned(),
            };
        };
        let mut loose = String::new();
        for token in tokens {
            match token {
                Token::Char(char) => loose.push(*char),
                // Two would mean something else.
                _ if loose.ends_with('*') => {}
                _ => loose.push('*'),
            }
        }
        loose
    }
}

impl Wildcard {
    fn parse(name: &str) -> Result<Self, &'static str> {
        let mut tokens = Vec::new();
        let mut rest = name.chars();
        while let Some(char) = rest.next() {
            tokens.push(match char {
                '*' => Token::Any,
                '?' => Token::AnyChar,
                '[' => {
                    let class = class(&mut rest)?;
                    if !tokens.is_empty() && class.takes('/') {
                        return Err("has a class that also matches a slash");
                    }
                    class
                }
                ']' | '^' => return Err("has characters of a class outside a class"),
                char => Token::Char(char),
            });
        }
        Ok(Wildcard(tokens))
    }

    /// Goes back to the last `*` alone, as whatever an earlier one could take that one can, too.
    fn is_match(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at, mut star) = (0, 0, None);
        while let Some(char) = name.get(at) {
            match (self.0.get(token), star) {
                (Some(Token::Any), _) => {
                    token += 1;
                    star = Some((token, at));
                }
                (Some(one), _) if one.takes(*char) => (token, at) = (token + 1, at + 1),
                (_, Some((behind, from))) => {
                    (token, at) = (behind, from + 1);
                    star = Some((behind, at));
                }
                (_, None) => return false,
            }
        }
        self.0[token..].iter().all(|token| *token == Token::Any)
    }
}

impl Token {
    fn takes(&self, char: char) -> bool {
        match self {
            Token::Char(own) => *own == char,
            Token::AnyChar => char != '/',
            Token::Any => false,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&char)) != *negated
            }
        }
    }
}

/// What is behind a `[`, up to its `]`.
fn class(rest: &mut std::str::Chars<'_>) -> Result<Token, &'static str> {
    const MALFORMED: &str = "has a class that is not closed or not valid";
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next() {
            Some(']') if !ranges.is_empty() => return Ok(Token::Class { negated, ranges }),
            Some('[' | '\\') => {
                return Err("has a class with [ or \\ in it, which BuildKit does not read the same everywhere");
            }
            None | Some('-' | ']') => return Err(MALFORMED),
            Some(first) => first,
        };
        let last = match rest.as_str().starts_with('-') {
            false => first,
            true => match rest.nth(1) {
                None | Some('-' | ']' | '[' | '\\') => return Err(MALFORMED),
                Some(last) => last,
            },
        };
        if first > last {
            return Err("has a range that ends before it begins");
        }
        ranges.push((first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, name: &str) -> bool {
        Part::parse(pattern, false).unwrap().is_match(name.as_bytes())
    }

    #[test]
    fn names_match_as_in_go() {
        for (pattern, matches, others) in [
            ("*.so", &["a.so", ".so", "a.so.so"][..], &["a.so.1", "so"][..]),
            ("lib?.so*", &["libz.so", "libé.so.1"], &["lib.so", "libzz.so"]),
            ("[a-cx]*", &["a", "cd", "x"], &["d", ""]),
            ("[^a]b", &["bb", "éb"], &["ab", "b"]),
            ("[!a]b", &["!b", "ab"], &["bb"]),
            ("a*b*c", &["abc", "axbxbxc"], &["acb", "ab"]),
            ("**", &["a", ""], &[]),
        ] {
            matches.iter().for_each(|name| assert!(is_match(pattern, name), "{pattern} {name}"));
            others.iter().for_each(|name| assert!(!is_match(pattern, name), "{pattern} {name}"));
        }
        assert!(Part::parse("é*", false).unwrap().is_match(b"\xff"), "nobody can say");
    }

    #[test]
    fn what_is_not_read_alike_everywhere_is_refused() {
        for pattern in
            ["a**b", "x[", "[]a]", "[a-]", "[b-a]", "[a[b]", "a]*", "a^*", "a[^b]", "x[+-9]*", "[a\\]]", "a]"]
        {
            assert!(Part::parse(pattern, true).is_err(), "{pattern}");
        }
        assert!(Part::parse("[^.]*", false).is_ok(), "no name begins with a slash");
    }

    #[test]
    fn what_is_looked_for_is_never_less_than_what_matches() {
        for (pattern, loose) in
            [("lib?.so", "lib*.so"), ("??", "*"), ("[ab]*x?", "*x*"), ("**", "*"), ("plain", "plain")]
        {
            assert_eq!(Part::parse(pattern, false).unwrap().loose(), loose);
        }
        assert_eq!(Part::parse("**", true).unwrap().loose(), "**");
    }

    #[test]
    fn many_stars_cost_no_more_than_the_name_times_the_pattern() {
        let (pattern, name) = ("*a".repeat(60), "a".repeat(60_000) + "b");
        assert!(!is_match(&pattern, &name));
    }
}
