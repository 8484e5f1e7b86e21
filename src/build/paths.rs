//! Paths in an image that `COPY` and mounts name, made what BuildKit makes of them.
//!
//! BuildKit takes `.` and `..` away by the text alone, as Go's `path.Clean` does, before it looks at any file
//! (`dockerfile2llb/convert_copy.go`, `client/llb/fileop.go`).

use super::Path;

/// Why a path cannot be planned, as the end of a sentence that begins with what it is in.
type Problem = &'static str;

const WHOLE: Problem = "is copied as a whole";
const NOT_UNDERSTOOD: Problem = "is copied from by a path that is not understood";

/// The path of a `COPY`, relative to the root, with variables replaced.
pub(super) fn of_copy(text: &str, with_parents: bool) -> Result<Path, Problem> {
    check(text)?;
    let path = if with_parents { below_pivot(text)? } else { clean(text) };
    // `/*` is all but the name.
    if path == "/" || path[1..].bytes().all(|byte| byte == b'*') {
        return Err(WHOLE);
    }
    Ok(Path { is_pattern: is_pattern(&path), text: path })
}

/// The source of a mount, which is no pattern.
pub(super) fn of_mount(text: &str) -> Result<Path, Problem> {
    check(text)?;
    let text = clean(text);
    if text == "/" { Err("is mounted as a whole") } else { Ok(Path { text, is_pattern: false }) }
}

/// The path of a `COPY --parents`: `PARENT/./PATTERN`, or a pattern alone, which is relative to the root.
///
/// The pattern is one of `patternmatcher`'s there, which walks from PARENT and follows no links. For those without `**`, ranges,
/// escapes and `!`, what matches is also what `path.Match` finds.
fn below_pivot(text: &str) -> Result<String, Problem> {
    let (parent, pattern) = text.split_once("/./").unwrap_or(("", text));
    let (parent, pattern) = (clean(parent), clean(pattern));
    let is_simple = !pattern.contains("**") && !pattern.contains('[') && !pattern.starts_with("/!");
    if is_pattern(&parent) || !is_simple || pattern.ends_with(' ') || pattern.starts_with("/ ") {
        return Err("is copied from with --parents by a pattern that is not understood");
    }
    match (parent.as_str(), pattern.as_str()) {
        ("/", _) => Ok(pattern),
        (_, "/") => Err(NOT_UNDERSTOOD),
        _ => Ok(parent + &pattern),
    }
}

/// A backslash may escape a character of a pattern, or be one of a name. Which it is depends on the rest of the path.
fn check(text: &str) -> Result<(), Problem> {
    if text.contains(|c: char| c == '\\' || c.is_control()) { Err(NOT_UNDERSTOOD) } else { Ok(()) }
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Go's `path.Clean` of the absolute path.
fn clean(text: &str) -> String {
    let mut names = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_absolute_and_clean() {
        for (text, path) in [
            ("/usr/bin/jq", "/usr/bin/jq"),
            ("usr/bin/", "/usr/bin"),
            ("./a//b/./c/../d", "/a/b/d"),
            ("../../a", "/a"),
            ("/a b", "/a b"),
        ] {
            assert_eq!(of_copy(text, false), Ok(Path { text: path.to_owned(), is_pattern: false }), "{text}");
            assert_eq!(of_mount(text), Ok(Path { text: path.to_owned(), is_pattern: false }), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_one_for_copy_alone() {
        for text in ["/lib/*.so", "/lib/x.so.?", "/[ab]", "/*/bin"] {
            assert_eq!(of_copy(text, false), Ok(Path { text: text.to_owned(), is_pattern: true }), "{text}");
            assert_eq!(of_mount(text), Ok(Path { text: text.to_owned(), is_pattern: false }), "{text}");
        }
    }

    #[test]
    fn the_whole_image_is_not_planned() {
        for text in ["/", ".", "", "/.", "//", "./", "/..", "/a/..", "/*", "*", "/**"] {
            assert_eq!(of_copy(text, false), Err(WHOLE), "{text}");
            assert!(of_copy(text, true).is_err(), "{text}");
        }
        assert!(of_mount("/").is_err() && of_mount("").is_err());
    }

    #[test]
    fn a_backslash_is_not_understood() {
        for text in ["/a\\*", "\\", "/a\nb"] {
            assert_eq!(of_copy(text, false), Err(NOT_UNDERSTOOD), "{text}");
        }
    }

    #[test]
    fn parents_are_those_below_the_pivot() {
        let path = |text: &str| of_copy(text, true).map(|path| path.text);
        assert_eq!(path("/usr/./lib/x").as_deref(), Ok("/usr/lib/x"));
        assert_eq!(path("/usr/./../x").as_deref(), Ok("/usr/x"));
        assert_eq!(path("/./usr/lib").as_deref(), Ok("/usr/lib"));
        assert_eq!(path("usr/*/x").as_deref(), Ok("/usr/*/x"));
        for text in ["/usr/*/./lib", "/usr/**/x", "/usr/[ab]", "!usr", "/usr/./", "/a/./!b", "/a "] {
            assert!(path(text).is_err(), "{text}");
        }
    }
}
