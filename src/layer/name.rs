//! Names as tars write them, made canonical: the one form in which the rootfs compares them.

/// The longest name that is accepted. No Linux path is longer than 4,096 bytes, though a tree may be deeper than one path.
pub(crate) const MAX_NAME: usize = 64 * 1024;

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    /// It is longer than [`MAX_NAME`].
    TooLong,
    /// It climbs above the root.
    Escapes,
}

/// What a `..` at the root does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtRoot {
    /// Nothing where the name is absolute, as in the kernel; it is refused where the name is relative. So Docker treats
    /// the names of entries.
    Stay,
    /// It is refused. So Docker treats the targets of hard links, absolute or not.
    Refuse,
}

/// `raw` without a leading `/`, `.`, empty components and a trailing slash, each `..` resolved against the component before it
/// (by name alone, whatever that component is, as Docker does it).
pub(crate) fn canonical(raw: &[u8], at_root: AtRoot) -> Result<Vec<u8>, NameError> {
    if raw.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    let stays = at_root == AtRoot::Stay && raw.starts_with(b"/");
    let mut path = Vec::with_capacity(raw.len());
    for component in raw.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if path.is_empty() && stays => {}
            b".." if path.is_empty() => return Err(NameError::Escapes),
            b".." => path.truncate(path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_form_however_it_is_written() {
        for raw in
            ["usr/bin", "/usr/bin", "./usr/bin/", "//usr//.//bin/.", "usr/lib/../bin", "/../usr/bin", "x/../usr/bin"]
        {
            assert_eq!(canonical(raw.as_bytes(), AtRoot::Stay), Ok(b"usr/bin".to_vec()), "{raw}");
        }
    }

    #[test]
    fn the_root_is_empty() {
        for raw in ["", "/", ".", "./", "a/..", "/.."] {
            assert_eq!(canonical(raw.as_bytes(), AtRoot::Stay), Ok(Vec::new()), "{raw}");
        }
    }

    #[test]
    fn names_that_climb_above_the_root_are_refused() {
        for raw in ["..", "../x", "a/../../x", "./../x", "a/b/../../../x"] {
            assert_eq!(canonical(raw.as_bytes(), AtRoot::Stay), Err(NameError::Escapes), "{raw}");
        }
        assert_eq!(canonical(b"/../etc/passwd", AtRoot::Refuse), Err(NameError::Escapes));
    }

    #[test]
    fn dots_that_are_part_of_a_name_stay() {
        assert_eq!(canonical(b"...//..a/.b", AtRoot::Refuse), Ok(b".../..a/.b".to_vec()));
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        assert_eq!(canonical(b"/\xff\xfe/\x80", AtRoot::Refuse), Ok(b"\xff\xfe/\x80".to_vec()));
    }

    #[test]
    fn endless_names_are_refused() {
        assert_eq!(canonical(&vec![b'a'; MAX_NAME + 1], AtRoot::Stay), Err(NameError::TooLong));
    }
}
