//! Hints for a path that does not exist: what a person may have meant.

use super::path::{join, split};
use super::spread::Directory;
use super::view::{Child, View};

/// How many hints are given at most.
const MAX_HINTS: usize = 3;

/// How many places of the same base name are looked at, as all but a few may have been deleted.
const MAX_TRIED: usize = 100;

/// Names longer than this many bytes are not compared.
const MAX_COMPARED: usize = 128;

/// The existing paths nearest to `missing` (a canonical path, whose first missing component is `name` in `parent`): names
/// like it in the same directory, then the same base name elsewhere in the image.
pub fn nearest(view: &View<'_>, parent: &Directory, name: &[u8], missing: &[u8]) -> Vec<Vec<u8>> {
    let mut alike: Vec<(usize, Vec<u8>)> = view
        .list_seen(parent)
        .into_iter()
        .filter_map(|(candidate, _)| Some((likeness(name, &candidate)?, join(&parent.path, &candidate))))
        .collect();
    alike.sort();
    let mut hints: Vec<Vec<u8>> = alike.into_iter().map(|(_, path)| path).collect();
    let base = split(missing).1;
    let elsewhere = view.named(base);
    for path in elsewhere.filter(|path| !path.is_empty()).take(MAX_TRIED) {
        if hints.len() >= MAX_HINTS {
            break;
        }
        if !hints.contains(&path) && exists(view, &path) {
            hints.push(path);
        }
    }
    hints.truncate(MAX_HINTS);
    hints
}

/// Whether the canonical `path` is in the merged view as it is, without following a symlink.
pub fn exists(view: &View<'_>, path: &[u8]) -> bool {
    let mut directory = view.root();
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        match view.child(&directory, name) {
            Child::Directory(child) => directory = child,
            Child::Leaf { .. } => return names.peek().is_none(),
            _ => return false,
        }
    }
    true
}

/// How far `candidate` is from the `wanted` name, or `None` where a person would not take one for the other.
pub fn likeness(wanted: &[u8], candidate: &[u8]) -> Option<usize> {
    if wanted.len() > MAX_COMPARED || candidate.len() > MAX_COMPARED {
        return None;
    }
    if wanted.eq_ignore_ascii_case(candidate) {
        return Some(0);
    }
    // A version or a suffix left out: `python` for `python3.11`, `app` for `app.jar`.
    if wanted.len() >= 3 && candidate.starts_with(wanted) {
        return Some(1);
    }
    let allowed = (wanted.len() / 3).clamp(1, 3);
    if wanted.len() < 2 || wanted.len().abs_diff(candidate.len()) > allowed {
        return None;
    }
    Some(edit_distance(wanted, candidate)).filter(|distance| *distance <= allowed)
}

/// The Levenshtein distance in bytes.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{file, index};
    use super::*;

    #[test]
    fn names_alike_come_first_then_the_same_name_elsewhere() {
        let base = index(&[file("usr/bin/python3.11"), file("usr/local/bin/pyhton"), file("usr/bin/perl")]);
        let view = View::new(vec![&base], true);
        let Child::Directory(usr) = view.child(&view.root(), b"usr") else { panic!("a directory") };
        let Child::Directory(bin) = view.child(&usr, b"bin") else { panic!("a directory") };
        assert_eq!(nearest(&view, &bin, b"python", b"usr/bin/python"), [b"usr/bin/python3.11".to_vec()]);
        assert_eq!(nearest(&view, &bin, b"pyhton", b"usr/bin/pyhton"), [b"usr/local/bin/pyhton".to_vec()]);
        assert!(nearest(&view, &bin, b"x", b"usr/bin/x").is_empty());
    }
}
