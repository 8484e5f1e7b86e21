//! How messages show a name out of a tar.

/// How much of a name a message shows.
const SHOWN: usize = 96;

/// A name from the image as a message may show it: escaped, in quotes, and cut where it is long.
pub(crate) fn shown(name: &[u8]) -> String {
    match name.get(..SHOWN) {
        Some(start) if name.len() > SHOWN => format!("\"{}…\"", start.escape_ascii()),
        _ => format!("\"{}\"", name.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_messages_are_escaped_and_cut() {
        assert_eq!(shown(b"a\x1b[2Jb\n"), r#""a\x1b[2Jb\n""#);
        assert_eq!(shown(&[b'x'; 5000]).chars().count(), SHOWN + 3);
    }
}
