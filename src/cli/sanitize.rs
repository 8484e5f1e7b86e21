//! The one way by which a name from an image or a registry reaches a terminal.
//!
//! A file may be called anything: a name can hold escape sequences that rewrite the screen, line breaks that forge a
//! message, or marks that reverse the reading order. Here they become visible text.

use std::fmt::Write as _;

/// `bytes` as one line that a terminal shows and never obeys: bytes that are no UTF-8 and control characters up to
/// U+009F as `\xNN`, other invisible or reordering characters as `\u{NNNN}`. What is printable stays as it is, so text
/// that went through here once is not changed by a second time.
pub fn for_terminal(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u32::from(character) {
                code if character.is_control() => push(&mut shown, format_args!("\\x{code:02x}")),
                code if is_deceptive(character) => push(&mut shown, format_args!("\\u{{{code:x}}}")),
                _ => shown.push(character),
            }
        }
        for byte in chunk.invalid() {
            push(&mut shown, format_args!("\\x{byte:02x}"));
        }
    }
    shown
}

/// JSON text with the characters that [`for_terminal`] would not show written as `\uNNNN`. In serialised JSON they can
/// stand only inside strings, so the value that a parser reads is exactly the same.
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_deceptive(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                push(&mut shown, format_args!("\\u{unit:04x}"));
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

fn push(text: &mut String, escaped: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(escaped);
}

/// Characters that are not control characters but show nothing, break the line, or change the order in which the rest
/// is read (Unicode TR36 section 3, "bidirectional text spoofing", and the tag characters of plane 14).
fn is_deceptive(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["/usr/bin/ls", "/srv/año/日本語.txt", "a b\\c", ""] {
            assert_eq!(for_terminal(name), name);
        }
    }

    #[test]
    fn no_escape_sequence_reaches_the_terminal() {
        assert_eq!(for_terminal("a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(for_terminal("bell\x07 line\nfeed\ttab\x7f"), "bell\\x07 line\\x0afeed\\x09tab\\x7f");
        assert_eq!(for_terminal("\u{9b}31m"), "\\x9b31m");
    }

    #[test]
    fn no_name_reverses_how_the_rest_is_read() {
        assert_eq!(for_terminal("evil\u{202e}gpj.exe"), "evil\\u{202e}gpj.exe");
        assert_eq!(for_terminal("a\u{200b}b\u{2066}"), "a\\u{200b}b\\u{2066}");
        assert_eq!(for_terminal("\u{e0041}"), "\\u{e0041}");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_by_number() {
        assert_eq!(for_terminal(b"caf\xe9"), "caf\\xe9");
        assert_eq!(for_terminal(b"\xff\xfe/ok"), "\\xff\\xfe/ok");
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let once = for_terminal(b"\x1b[1m\xff\\x");
        assert_eq!(for_terminal(&once), once);
    }

    #[test]
    fn json_keeps_its_value_and_loses_its_teeth() {
        let value = "a\u{7f}\u{9b}\u{202e}\u{e0041}\x1b\n";
        let shown = json(&serde_json::to_string(value).unwrap());
        assert!(shown.is_ascii() && !shown.contains('\x1b'), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), value);
    }
}
