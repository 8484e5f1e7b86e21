//! What a person asked for: a path, or a glob of paths, and which entries of an unseen layer could belong to it.
//!
//! Globs are `*`, `?` and `[...]` within a component, and `**` for any number of directories; a backslash escapes a special
//! character. As in a Dockerfile's `COPY`, `*` matches names that begin with a dot, too.
//!
//! A path is matched component by component, with a set of [`States`](states::States) carried down the tree: a tree
//! costs its names times the pattern's parts, however many `**` there are.

mod candidates;
mod expand;
mod places;
mod states;

use globset::{GlobBuilder, GlobMatcher};

use super::path::{components, split};

pub use candidates::Candidates;

/// A path or a glob, as typed.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Vec<u8>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    /// A name, as it is.
    Literal(Vec<u8>),
    /// A glob of names.
    Glob(GlobMatcher),
    /// `**`: any number of directories, none included.
    AnyDepth,
}

/// A glob that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("\"{}\" is not a pattern: {problem}", .text.escape_debug())]
pub struct InvalidPattern {
    text: String,
    problem: String,
}

impl Pattern {
    /// Reads what a person typed.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidPattern> {
        let invalid = |problem: String| InvalidPattern { text: String::from_utf8_lossy(text).into_owned(), problem };
        let mut parts = Vec::new();
        for component in components(text) {
            parts.push(match component {
                b"**" if matches!(parts.last(), Some(Part::AnyDepth)) => continue,
                b"**" => Part::AnyDepth,
                _ if is_glob(component) => {
                    let glob = std::str::from_utf8(component).map_err(|_| invalid("it is not UTF-8".to_owned()))?;
                    // Braces are names here, as in `COPY`.
                    let glob = glob.replace('{', "[{]").replace('}', "[}]");
                    let built = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build();
                    Part::Glob(built.map_err(|error| invalid(error.kind().to_string()))?.compile_matcher())
                }
                _ => Part::Literal(unescape(component)),
            });
        }
        Ok(Pattern { text: text.to_vec(), parts })
    }

    /// The path `text`, in which no character has a meaning.
    pub fn exactly(text: &[u8]) -> Self {
        Pattern { text: text.to_vec(), parts: components(text).map(|name| Part::Literal(name.to_vec())).collect() }
    }

    /// Whatever has the base name `name`, wherever it is.
    pub fn named(name: &[u8]) -> Self {
        Pattern { text: name.to_vec(), parts: vec![Part::AnyDepth, Part::Literal(name.to_vec())] }
    }

    /// The text as typed.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The path this is, when it is not a glob.
    pub fn literal(&self) -> Option<Vec<u8>> {
        self.is_literal().then(|| self.beginning().0)
    }

    /// Whether it is a path, and no glob.
    pub fn is_literal(&self) -> bool {
        self.literals() == self.parts.len()
    }

    /// Its beginning without a glob, as an absolute path, and how many parts that is. A path ends in a slash where it has to be a
    /// directory.
    pub fn beginning(&self) -> (Vec<u8>, usize) {
        let literals = self.literals();
        let mut path = b"/".to_vec();
        for part in &self.parts[..literals] {
            let Part::Literal(name) = part else { break };
            if path.len() > 1 {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        if path.len() > 1 && self.is_literal() && (self.text.ends_with(b"/") || self.text.ends_with(b"/.")) {
            path.push(b'/');
        }
        (path, literals)
    }

    /// The name that what stands at `path`, which this is, gets by itself. As in `docker cp`, `DIR/.` is what DIR holds; the root and
    /// `..` have no name of their own either.
    pub fn base_name(&self, path: &[u8]) -> Vec<u8> {
        let last = self.text.split(|byte| *byte == b'/').rfind(|part| !part.is_empty()).unwrap_or_default();
        match last {
            b"" | b"." | b".." => Vec::new(),
            _ => split(path.strip_suffix(b"/").unwrap_or(path)).1.to_vec(),
        }
    }

    /// How many parts come before the first glob.
    fn literals(&self) -> usize {
        self.parts.iter().take_while(|part| matches!(part, Part::Literal(_))).count()
    }
}

/// Whether a component has an unescaped `*`, `?` or a closed `[...]`.
fn is_glob(component: &[u8]) -> bool {
    let mut bytes = component.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' => return true,
            // `[` alone is a name: /usr/bin/[ exists on every Debian.
            b'[' if component[at + 1..].iter().skip(1).any(|byte| *byte == b']') => return true,
            _ => {}
        }
    }
    false
}

fn unescape(component: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(component.len());
    let mut bytes = component.iter().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(b'*' | b'?' | b'[' | b']' | b'\\')) => name.extend(bytes.next()),
            _ => name.push(*byte),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{directory, file, index, symlink};
    use super::super::view::View;
    use super::*;

    fn expand(pattern: &str) -> Vec<String> {
        let base = index(&[
            file("usr/bin/ls"),
            file("usr/bin/lsblk"),
            file("usr/bin/["),
            symlink("bin", "usr/bin"),
            file("etc/.hidden"),
            file("etc/a{b}"),
            directory("usr/lib/x/y"),
            file("usr/lib/x/y/libc.so.6"),
        ]);
        let view = View::new(vec![&base], true);
        let paths = Pattern::parse(pattern.as_bytes()).unwrap().expand(&view).unwrap();
        paths.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn globs_match_names_through_symlinked_directories() {
        assert_eq!(expand("/bin/ls*"), ["bin/ls", "bin/lsblk"]);
        assert_eq!(expand("/usr/bin/l?"), ["usr/bin/ls"]);
        assert_eq!(expand("/usr/bin/[lx]s"), ["usr/bin/ls"]);
        assert_eq!(expand("**/libc.so.*"), ["usr/lib/x/y/libc.so.6"]);
        assert_eq!(expand("etc/*"), ["etc/.hidden", "etc/a{b}"]);
        assert_eq!(expand("etc/a{b}*"), ["etc/a{b}"]);
        assert!(expand("/nothing/*").is_empty());
    }

    #[test]
    fn what_is_no_glob_is_a_name() {
        for (typed, path) in [("/usr/bin/[", "/usr/bin/["), (r"a/\*b", "/a/*b"), ("x/", "/x/"), ("", "/")] {
            assert_eq!(Pattern::parse(typed.as_bytes()).unwrap().literal().unwrap(), path.as_bytes(), "{typed}");
        }
        assert!(Pattern::parse(b"a*").unwrap().literal().is_none());
        assert!(Pattern::parse(b"/usr/[b-a]").is_err());
    }

    #[test]
    fn what_lies_in_a_match_is_no_match_by_itself() {
        let base = index(&[file("opt/a/b/x"), file("opt/a/x/x"), file("opt/c")]);
        let view = View::new(vec![&base], true);
        let expand = |pattern: &str| Pattern::parse(pattern.as_bytes()).unwrap().expand(&view).unwrap();
        assert_eq!(expand("/opt/**"), [b"opt".to_vec()]);
        assert_eq!(expand("/opt/**/x"), [b"opt/a/b/x".to_vec(), b"opt/a/x".to_vec()]);
        assert!(expand("/opt/c/**").is_empty(), "a file has no directories");
    }

    #[test]
    fn dots_after_a_glob_lead_to_the_parent() {
        let base = index(&[file("a/b/x"), symlink("l", "a/b"), file("y")]);
        let view = View::new(vec![&base], true);
        let expand = |pattern: &str| Pattern::parse(pattern.as_bytes()).unwrap().expand(&view).unwrap();
        assert_eq!(expand("/?/../y"), [b"a/../y".to_vec()]);
        assert_eq!(expand("/l*/../b"), [b"l/../b".to_vec()]);
    }

    #[test]
    fn a_directory_that_several_links_lead_to_is_looked_into_once_by_its_own_name_if_that_matches() {
        let base = index(&[symlink("a", "lib"), file("lib/x"), symlink("lib64", "lib"), symlink("self", ".")]);
        let view = View::new(vec![&base], true);
        let expand = |pattern: &str| Pattern::parse(pattern.as_bytes()).unwrap().expand(&view).unwrap();
        assert_eq!(expand("/*/x"), [b"lib/x".to_vec()]);
        assert_eq!(expand("/a*/x"), [b"a/x".to_vec()]);
    }

    #[test]
    fn stars_on_a_deep_path_cost_the_names_times_the_parts() {
        // Tried one after the other, the ways to share 1,000 names among 20 stars would be more than there are atoms.
        let deep = index(&[file(&format!("{}/end", vec!["d"; 1000].join("/")))]);
        let view = View::new(vec![&deep], true);
        let stars = vec!["**/d"; 20].join("/");
        let expand = |pattern: String| Pattern::parse(pattern.as_bytes()).unwrap().expand(&view).unwrap();
        assert_eq!(expand(format!("{stars}/**/end")).len(), 1);
        assert!(expand(format!("{stars}/**/none")).is_empty());
        let mut candidates =
            Candidates::new([Pattern::parse(format!("{stars}/**/none").as_bytes()).unwrap()].into(), true);
        candidates.begin([(0, Vec::new(), 0)]);
        assert!(candidates.wanting(vec!["d"; 1000].join("/").as_bytes()).is_empty());
        assert_eq!(candidates.wanting(format!("{}/none", vec!["d"; 1000].join("/")).as_bytes()), [0]);
    }

    #[test]
    fn links_in_every_directory_do_not_multiply_the_walk() {
        // Each way through the links is a path of its own: 50 to the power of 12.
        let mut entries = vec![file("end")];
        entries.extend((0..50).map(|i| symlink(&format!("l{i}"), ".")));
        let linked = index(&entries);
        let view = View::new(vec![&linked], true);
        let pattern = Pattern::parse(format!("{}/end", ["*"; 12].join("/")).as_bytes()).unwrap();
        assert_eq!(pattern.expand(&view).unwrap().len(), 1);
    }
}
