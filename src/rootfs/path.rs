//! Paths inside an image, as raw bytes: taken apart and put together.

/// How many symlinks one path may lead through, as in the kernel (path_resolution(7)).
pub const MAX_SYMLINKS: usize = 40;

/// The first component of `path`, and what is behind it.
pub(super) fn next_component(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = path;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        rest = behind.get(1..).unwrap_or_default();
        if !name.is_empty() && name != b"." {
            return Some((name, rest));
        }
    }
    None
}

/// A path's components, without empty ones and `.`; `..` is kept.
pub fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// A canonical path's parent (empty for the root) and base name.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// The canonical path of `name` in the directory `parent`.
pub fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(parent.len() + 1 + name.len());
    path.extend_from_slice(parent);
    push(&mut path, name);
    path
}

/// Makes the canonical path of a directory that of `name` in it.
pub(super) fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
