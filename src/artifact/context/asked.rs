//! What a build copies, path by path, as BuildKit reads it: cleaned by its text alone, with or without a pattern, and with links
//! followed or not.
//!
//! `COPY` cleans a path as text first (`a/../b` is `b`, whatever `a` is). Without `--parents` it follows all links of a path without
//! a pattern; of one with a pattern those in front of the first component that has one, and what a match is, but none on the way
//! to a match. With `--parents` it follows those in front of `/./` alone, and copies a match that is a link as the link that it
//! is. `RUN --mount` reads its source as `COPY` a path without a pattern.
//! Spec: `moby/buildkit`, `dockerfile2llb/convert_copy.go`, and `tonistiigi/fsutil`, `copy/copy.go`.

use super::request::{Path, Wanted};
use super::unfit::Unfit;
use super::wildcard::{Part, is_wild};
use crate::rootfs::{InvalidPattern, Pattern, components};

/// A path of a build, read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which instruction it is from, and which of its paths it is.
    pub at: (usize, usize),
    /// Its text, as the Dockerfile has it.
    pub text: String,
    /// Whether what is copied keeps its owner.
    pub keeps_owner: bool,
    /// Whether the directories above are copied too.
    pub with_parents: bool,
    /// Whether patterns leave some of it out.
    pub excludes: bool,
    /// All of it.
    parts: Vec<Part>,
    /// How many of them come before the first that is no plain name.
    literals: usize,
    /// Of how many, from the first on, links are followed on the way to what it names.
    followed: usize,
}

impl Asked {
    /// Reads `path`, which is one of those of `wanted`.
    ///
    /// # Errors
    ///
    /// [`Unfit::Whole`] where it is the root, and [`Unfit::Pattern`] where not all of BuildKit reads it alike.
    pub fn read(wanted: &Wanted, path: &Path, at: (usize, usize)) -> Result<Self, Unfit> {
        let text = path.text.as_str();
        let unread = |problem| Unfit::Pattern { text: text.to_owned(), problem };
        let (above, below) = match wanted.with_parents {
            true => text.split_once("/./").unwrap_or(("", text)),
            false => ("", text),
        };
        let (above, below) = (clean(above), clean(below));
        let names: Vec<&str> = above.iter().chain(&below).copied().collect();
        if names.is_empty() {
            return Err(Unfit::Whole);
        }
        if below.is_empty() {
            return Err(unread("has nothing after /./"));
        }
        if text.contains('\\') {
            return Err(unread("has a backslash, which BuildKit does not read the same everywhere"));
        }
        // Behind /./ is a pattern of its own.
        if [&names, &below].into_iter().any(|names| is_no_name(names)) {
            return Err(unread("begins with ! or has blanks at an end, which BuildKit takes off"));
        }
        let literals = names.iter().position(|name| is_wild(name)).unwrap_or(names.len());
        if literals < names.len() && !path.is_pattern {
            return Err(unread("has wildcard characters, but is not a pattern here"));
        }
        if literals < above.len() {
            return Err(unread("has a pattern before /./"));
        }
        let parts = names.iter().map(|name| Part::parse(name, wanted.with_parents).map_err(unread));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let followed = if wanted.with_parents { above.len() } else { literals };
        Ok(Asked {
            at,
            text: text.to_owned(),
            keeps_owner: wanted.keeps_owner,
            with_parents: wanted.with_parents,
            excludes: wanted.excludes,
            parts,
            literals,
            followed,
        })
    }

    /// The canonical form of the path that it is; `None` where it is a pattern.
    pub fn literal(&self) -> Option<Vec<u8>> {
        (self.literals == self.parts.len()).then(|| self.path(self.literals))
    }

    /// The names that links are followed of, whatever it names.
    pub fn followed(&self) -> Vec<u8> {
        self.path(self.followed)
    }

    /// How many names [`followed`](Self::followed) has.
    pub fn followed_names(&self) -> usize {
        self.followed
    }

    /// Whether a match may be any number of directories down.
    pub fn is_deep(&self) -> bool {
        self.parts.contains(&Part::AnyDepth)
    }

    /// Whether `path`, which [`pattern`](Self::pattern) matches, is a match.
    pub fn is_match(&self, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = components(path).collect();
        // What lies in a match that is none may be one, which nobody has looked for: where it can be, all of them stay.
        self.is_deep()
            || (names.len() == self.parts.len() && self.parts.iter().zip(names).all(|(part, name)| part.is_match(name)))
    }

    /// What to look for: all that it names, and maybe more.
    pub fn pattern(&self) -> Result<Pattern, InvalidPattern> {
        match self.literal() {
            Some(path) => Ok(Pattern::exactly(&[b"/", path.as_slice()].concat())),
            None => {
                let loose: String = self.parts.iter().map(|part| format!("/{}", part.loose())).collect();
                Pattern::parse(loose.as_bytes())
            }
        }
    }

    /// The first `count` names, which are plain ones.
    fn path(&self, count: usize) -> Vec<u8> {
        let names = self.parts.iter().take(count).map(|part| match part {
            Part::Literal(name) => name.as_bytes(),
            Part::Wild(_) | Part::AnyDepth => b"",
        });
        names.collect::<Vec<_>>().join(&b'/')
    }
}

/// The names of a path, as Go's `path.Clean` has them: no links are looked at, and nothing leads above the root.
fn clean(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

/// Whether the pattern of these names means something else to the matcher of `.dockerignore` files, by which BuildKit selects what
/// is sent of a folder.
fn is_no_name(names: &[&str]) -> bool {
    let first_and_last = names.first().zip(names.last());
    first_and_last.is_some_and(|(first, last)| {
        first.starts_with('!') || first.starts_with(char::is_whitespace) || last.ends_with(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, is_pattern: bool, with_parents: bool) -> Result<Asked, Unfit> {
        let path = Path { text: text.to_owned(), is_pattern };
        Asked::read(&Wanted { paths: Vec::new(), keeps_owner: true, with_parents, excludes: false }, &path, (0, 0))
    }

    fn followed(asked: &Asked) -> String {
        String::from_utf8(asked.followed()).unwrap()
    }

    #[test]
    fn a_path_is_cleaned_by_its_text_alone() {
        for (text, path) in [("/usr/bin/tool", "usr/bin/tool"), ("a//b/./c/", "a/b/c"), ("/a/../../b", "b"), ("é", "é")]
        {
            let asked = read(text, false, false).unwrap();
            assert_eq!(asked.literal().unwrap(), path.as_bytes(), "{text}");
            assert_eq!(followed(&asked), path, "{text}");
        }
        for root in ["/", "", ".", "/a/..", "a/../.."] {
            assert_eq!(read(root, false, false).unwrap_err(), Unfit::Whole, "{root}");
        }
    }

    #[test]
    fn links_are_followed_up_to_the_first_pattern_and_with_parents_up_to_the_pivot() {
        let asked = read("/usr/lib*/x/*.so", true, false).unwrap();
        assert_eq!((followed(&asked).as_str(), asked.literal()), ("usr", None));
        let asked = read("/usr/./lib/*.so", true, true).unwrap();
        assert_eq!((followed(&asked).as_str(), asked.literal()), ("usr", None));
        let asked = read("/usr/lib/x", false, true).unwrap();
        assert_eq!((asked.literal(), followed(&asked).as_str()), (Some(b"usr/lib/x".to_vec()), ""));
    }

    #[test]
    fn what_is_looked_for_is_all_that_could_match_and_what_matches_is_less() {
        let asked = read("/lib/[ab]?.so", true, false).unwrap();
        assert_eq!(asked.pattern().unwrap().text(), b"/lib/*.so");
        assert!(asked.is_match(b"lib/a1.so") && !asked.is_match(b"lib/c1.so") && !asked.is_match(b"lib/a1/x.so"));
        assert!(!asked.is_deep() && read("/**/*.so", true, true).unwrap().is_deep());
        assert!(!read("/**/*.so", true, false).unwrap().is_deep());
    }

    #[test]
    fn what_buildkit_does_not_read_alike_everywhere_is_refused() {
        for (text, is_pattern, with_parents) in [
            ("/a\\*", true, false),
            ("/!a", false, false),
            ("/a ", false, false),
            ("/usr/[", false, false),
            ("/a[^b]c*", true, false),
            ("/l*/./x", true, true),
            ("/a/./", false, true),
            ("/a/./!b", false, true),
        ] {
            let unfit = read(text, is_pattern, with_parents).unwrap_err();
            assert!(matches!(unfit, Unfit::Pattern { .. }), "{text}: {unfit}");
        }
    }
}
