//! What a person asked for: a path, or a glob of paths, and which entries of an unseen layer could belong to it.
//!
//! Globs are `*`, `?` and `[...]` within a component, and `**` for any number of directories; a backslash takes the meaning
//! away. As in a Dockerfile's `COPY`, `*` matches names that begin with a dot, too.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{GlobBuilder, GlobMatcher};

use super::index::{components, join};
use super::view::{Child, Directory, View};
use super::walk::{Found, resolve};

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

/// The entries of a layer that could belong to what was asked for.
#[derive(Clone, Debug)]
pub struct Candidates {
    base: Vec<u8>,
    parts: Vec<Part>,
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
        let mut path = self.parts.iter().try_fold(b"/".to_vec(), |mut path, part| {
            let Part::Literal(name) = part else { return None };
            if path.len() > 1 {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            Some(path)
        })?;
        if self.text.ends_with(b"/") || self.text.ends_with(b"/.") {
            path.push(b'/');
        }
        Some(path)
    }

    /// The paths that match, in byte order; `None` while a layer that is not in the view could add one.
    pub fn expand(&self, view: &View<'_>) -> Option<Vec<Vec<u8>>> {
        let mut paths = BTreeSet::from([Vec::new()]);
        for part in &self.parts {
            let mut next = BTreeSet::new();
            for path in paths {
                if let Part::Literal(name) = part {
                    next.insert(join(&path, name));
                    continue;
                }
                let directory = match resolve(view, &path, true) {
                    Found::Directory(directory) => directory,
                    Found::Unknown { .. } => return None,
                    _ => continue,
                };
                match part {
                    Part::Glob(glob) => {
                        let names = view.list(&directory)?.into_iter().map(|(name, _)| name);
                        let names = names.filter(|name| glob.is_match(OsStr::from_bytes(name)));
                        next.extend(names.map(|name| join(&path, &name)));
                    }
                    _ => descend(view, path, directory, &mut next)?,
                }
            }
            paths = next;
        }
        let mut existing = Vec::new();
        for path in paths {
            match resolve(view, &path, false) {
                Found::Directory(_) | Found::Leaf(_) | Found::BrokenLink { .. } => existing.push(path),
                Found::Unknown { .. } => return None,
                _ => {}
            }
        }
        Some(existing)
    }

    /// Which entries could belong to this in the layers below those of `view`; `None` where the view decides already.
    pub fn candidates(&self, view: &View<'_>, follow: bool) -> Option<Candidates> {
        let literals = self.parts.iter().take_while(|part| matches!(part, Part::Literal(_))).count();
        let mut prefix = Vec::new();
        for part in &self.parts[..literals] {
            let Part::Literal(name) = part else { break };
            prefix = join(&prefix, name);
        }
        let whole = literals == self.parts.len();
        let follow = follow || !whole || self.text.ends_with(b"/");
        let base = match resolve(view, &prefix, follow) {
            Found::Unknown { path } => path,
            Found::Directory(directory) if !view.is_complete(&directory) => directory.path,
            Found::Directory(directory) if !whole => directory.path,
            _ => return None,
        };
        Some(Candidates { base, parts: self.parts[literals..].to_vec() })
    }
}

impl Candidates {
    /// Whether the entry at the canonical `path` could belong to what was asked for: as the thing itself, or inside it.
    pub fn contain(&self, path: &[u8]) -> bool {
        let Some(rest) = path.strip_prefix(self.base.as_slice()) else { return false };
        if !(rest.is_empty() || self.base.is_empty() || rest.starts_with(b"/")) {
            return false;
        }
        let names: Vec<&[u8]> = components(rest).collect();
        matches_prefix(&self.parts, &names)
    }

    /// Whether a symlink at `path` lies on the way to what was asked for.
    pub fn lead_through(&self, path: &[u8]) -> bool {
        self.base.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

/// Whether `parts` match some prefix of `names`.
fn matches_prefix(parts: &[Part], names: &[&[u8]]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, _) => true,
        // What is inside a match of `**` matches it as well.
        (Some((Part::AnyDepth, rest)), _) => (0..=names.len()).any(|skipped| matches_prefix(rest, &names[skipped..])),
        (Some(_), None) => false,
        (Some((Part::Literal(part), rest)), Some((name, names))) => part == name && matches_prefix(rest, names),
        (Some((Part::Glob(glob), rest)), Some((name, names))) => {
            glob.is_match(OsStr::from_bytes(name)) && matches_prefix(rest, names)
        }
    }
}

/// Adds `path` and all directories below it.
fn descend(view: &View<'_>, path: Vec<u8>, directory: Directory, found: &mut BTreeSet<Vec<u8>>) -> Option<()> {
    let mut pending = vec![(path, directory)];
    while let Some((path, directory)) = pending.pop() {
        for (name, child) in view.list(&directory)? {
            if let Child::Directory(below) = child {
                pending.push((join(&path, &name), below));
            }
        }
        found.insert(path);
    }
    Some(())
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
    use super::super::index::tests::{directory, file, index, symlink};
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
    fn candidates_are_the_thing_and_what_is_inside_it() {
        let top = index(&[symlink("bin", "usr/bin")]);
        let view = View::new(vec![&top], false);
        let candidates = |typed: &str| Pattern::parse(typed.as_bytes()).unwrap().candidates(&view, true).unwrap();
        let ls = candidates("/bin/ls");
        assert!(ls.contain(b"usr/bin/ls") && ls.contain(b"usr/bin/ls/x") && !ls.contain(b"usr/bin/lsblk"));
        assert!(ls.lead_through(b"usr/bin") && ls.lead_through(b"usr/bin/ls") && !ls.lead_through(b"usr/bi"));
        let globbed = candidates("/bin/l*/x");
        assert!(globbed.contain(b"usr/bin/ls/x/deep") && !globbed.contain(b"usr/bin/ls"));
        let deep = candidates("/**/so");
        assert!(deep.contain(b"so") && deep.contain(b"a/b/so/c") && !deep.contain(b"a/b"));
        assert!(candidates("/").contain(b"anything"));
    }

    #[test]
    fn what_the_view_decides_needs_no_further_layer() {
        let top = index(&[file("a"), file(".wh.b")]);
        let view = View::new(vec![&top], false);
        assert!(Pattern::parse(b"/a").unwrap().candidates(&view, true).is_none());
        assert!(Pattern::parse(b"/b").unwrap().candidates(&view, true).is_none());
        assert!(Pattern::parse(b"/b*").unwrap().candidates(&view, true).is_some());
    }
}
