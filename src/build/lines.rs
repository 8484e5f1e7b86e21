//! The lines of a Dockerfile, one for each instruction: comments dropped, lines that go on joined, the bodies of here-documents
//! taken away.
//!
//! BuildKit does this first of all (`frontend/dockerfile/parser/parser.go`, `Parse`), and the crate `parse-dockerfile` does it
//! otherwise in a few places: a here-document anywhere but at the beginning of a command, a backslash before the one that ends a
//! line, a carriage return alone. So it gets lines in which none of these is left. What BuildKit's versions read differently is not
//! understood here.

use std::iter::Enumerate;
use std::str::Split;

use super::NotUnderstood;

/// A Dockerfile may have so many bytes; no real one comes near it.
const MAX_BYTES: usize = 1 << 20;

/// What a Dockerfile says, line by line.
#[derive(Debug)]
pub(super) struct Lines {
    /// What escapes a character, and the end of a line: a backslash unless `# escape=` says a backquote.
    pub escape: char,
    /// What `# syntax=` names.
    pub syntax: Option<String>,
    /// One for each instruction.
    pub lines: Vec<Line>,
}

/// One instruction.
#[derive(Debug)]
pub(super) struct Line {
    /// The line of the file that it begins in, from 1.
    pub number: usize,
    /// All of it, without line ends. Where [`Line::has_here_document`], `<_` is in the place of each `<<`.
    pub text: String,
    /// Whether it has, or seems to have, here-documents.
    pub has_here_document: bool,
}

/// A here-document whose body is to come.
#[derive(Debug, PartialEq, Eq)]
struct HereDocument {
    /// The line that ends it.
    end: String,
    /// Whether tabs before that line do not count (`<<-`).
    strips_tabs: bool,
}

/// The lines of the file, each with its number counted from 0.
type Physical<'a> = Enumerate<Split<'a, char>>;

/// Reads the lines of `text`.
pub(super) fn read(text: &str) -> Result<Lines, NotUnderstood> {
    if text.len() > MAX_BYTES {
        return Err(NotUnderstood("the Dockerfile is larger than 1 MiB".to_owned()));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.starts_with("#!") {
        return Err(NotUnderstood("the Dockerfile begins with \"#!\"".to_owned()));
    }
    let mut physical = text.split('\n').enumerate();
    let mut directives = Directives::default();
    let mut lines = Vec::new();
    while let Some((index, line)) = physical.next() {
        let number = index + 1;
        let line = without_end(line).trim_start();
        directives.read(line, number)?;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let escape = directives.escape();
        let text = joined(line, number, escape, &mut physical)?;
        let has_here_document = has_here_document(&text);
        if has_here_document {
            for document in here_documents(&text, number)? {
                skip(&document, number, &mut physical)?;
            }
        }
        let text = if has_here_document { text.replace("<<", "<_") } else { text };
        lines.push(Line { number, text, has_here_document });
    }
    Ok(Lines { escape: directives.escape(), syntax: directives.syntax, lines })
}

/// Parser directives: comments in a row at the beginning of the file, each with a name and a value (BuildKit's
/// `parser/directives.go`).
#[derive(Default)]
struct Directives {
    syntax: Option<String>,
    escape: Option<char>,
    has_check: bool,
    are_over: bool,
}

impl Directives {
    fn escape(&self) -> char {
        self.escape.unwrap_or('\\')
    }

    fn read(&mut self, line: &str, number: usize) -> Result<(), NotUnderstood> {
        if self.are_over {
            return Ok(());
        }
        let is_again = match directive(line) {
            Some((name, value)) if name == "syntax" => {
                // More words are arguments of the frontend.
                self.syntax.replace(value.split_whitespace().next().unwrap_or(value).to_owned()).is_some()
            }
            Some((name, value)) if name == "escape" => {
                // Older versions of BuildKit know no `check`, and stop there to look for directives.
                if self.has_check {
                    return not_understood(
                        number,
                        "has an escape directive after another one that not all versions know",
                    );
                }
                let escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => return not_understood(number, "has an escape directive that is neither \\ nor `"),
                };
                self.escape.replace(escape).is_some()
            }
            Some((name, _)) if name == "check" => std::mem::replace(&mut self.has_check, true),
            _ => {
                self.are_over = true;
                false
            }
        };
        if is_again { not_understood(number, "has a parser directive for the second time") } else { Ok(()) }
    }
}

/// The name, in lower case, and the value of a line that is written as a directive.
fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name =
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

fn without_end(line: &str) -> &str {
    line.trim_end_matches('\r')
}

/// The instruction that begins with `first`, with the lines that it goes on in.
fn joined(first: &str, number: usize, escape: char, physical: &mut Physical<'_>) -> Result<String, NotUnderstood> {
    let mut text = String::new();
    let mut part = first;
    while let Some(start) = goes_on(part, number, escape)? {
        text.push_str(start);
        // Comments and empty lines are left out. An instruction may go on behind the end of the file.
        let next = physical.by_ref().map(|(_, line)| without_end(line)).find(|line| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with('#')
        });
        part = next.unwrap_or_default();
        if next.is_none() {
            break;
        }
    }
    text.push_str(part);
    let text = text.trim();
    if text.is_empty() || text.ends_with(escape) {
        return not_understood(number, "has an escape character where it means nothing");
    }
    if text.contains(|c: char| c.is_whitespace() && c != ' ' && c != '\t') {
        return not_understood(number, "has white space other than spaces and tabs");
    }
    Ok(text.to_owned())
}

/// What a line says before the escape character at its end, if there is one.
fn goes_on(line: &str, number: usize, escape: char) -> Result<Option<&str>, NotUnderstood> {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        // The line goes on for some versions of BuildKit, and ends for others.
        Some(start) if start.ends_with(escape) => not_understood(number, "ends a line with two escape characters"),
        start => Ok(start),
    }
}

/// Whether an instruction is one that takes here-documents, and looks as if it had one.
fn has_here_document(text: &str) -> bool {
    let takes = |word: &str| ["RUN", "COPY", "ADD"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword));
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let keyword = if first.eq_ignore_ascii_case("ONBUILD") { words.next().unwrap_or_default() } else { first };
    takes(keyword) && text.contains("<<")
}

/// The here-documents of an instruction, as BuildKit's `heredocsFromLine` finds them: words that are `<<`, perhaps with digits before
/// and `-` behind, and a word that may be quoted.
fn here_documents(text: &str, number: usize) -> Result<Vec<HereDocument>, NotUnderstood> {
    let unclear = || not_understood(number, "has a here-document that is not understood");
    // In a JSON array there are none, and whether it is one is not clear yet.
    let is_keyword = |word: &&str| word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let mut arguments = text.split_ascii_whitespace().skip_while(is_keyword).skip_while(|word| word.starts_with("--"));
    if arguments.next().is_some_and(|word| word.starts_with('[')) {
        return unclear();
    }
    let Some(words) = words(text) else { return unclear() };
    let mut documents = Vec::new();
    for word in words {
        let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else { continue };
        let (strips_tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        if rest.contains('<') {
            continue;
        }
        if rest.contains(['$', '\\']) || (rest.contains('"') && rest.contains('\'')) {
            return unclear();
        }
        let end = rest.replace(['"', '\''], "");
        if !end.is_empty() {
            documents.push(HereDocument { end, strips_tabs });
        }
    }
    Ok(documents)
}

/// The words of a command, with their quotes: what is quoted holds together. `None` where quotes are not closed, or variables are
/// not written simply: BuildKit then sees no words at all.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut chars = text.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                words.last_mut()?.push(c);
                words.last_mut()?.extend(chars.next());
                continue;
            }
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if open == c => quote = None,
            ('$', None | Some('"')) if chars.peek() == Some(&'{') => {
                words.last_mut()?.push('$');
                words.last_mut()?.extend(chars.next());
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                if name.is_empty() || chars.peek() != Some(&'}') {
                    return None;
                }
                words.last_mut()?.push_str(&name);
                continue;
            }
            (' ' | '\t', None) => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        words.last_mut()?.push(c);
    }
    quote.is_none().then_some(words)
}

/// Goes past the body of a here-document.
fn skip(document: &HereDocument, number: usize, physical: &mut Physical<'_>) -> Result<(), NotUnderstood> {
    let is_end = |line: &str| {
        let line = without_end(line);
        let line = if document.strips_tabs { line.trim_start_matches('\t') } else { line };
        line == document.end
    };
    if physical.any(|(_, line)| is_end(line)) {
        Ok(())
    } else {
        not_understood(number, "has a here-document without an end")
    }
}

/// Says what of which line is not understood.
pub(super) fn not_understood<T>(number: usize, what: &str) -> Result<T, NotUnderstood> {
    Err(NotUnderstood(format!("line {number} of the Dockerfile {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, String)> {
        read(text).unwrap().lines.into_iter().map(|line| (line.number, line.text)).collect()
    }

    fn one(text: &str) -> String {
        let mut lines = texts(text);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0).1
    }

    #[test]
    fn comments_and_empty_lines_are_left_out() {
        let text = "\u{feff}# one\r\n\r\n  FROM a\r\n\t# two\n \nRUN b # c\n";
        assert_eq!(texts(text), [(3, "FROM a".to_owned()), (6, "RUN b # c".to_owned())]);
    }

    #[test]
    fn a_line_goes_on_over_comments_and_empty_lines() {
        assert_eq!(
            texts("RUN a \\\n  # comment \\\n\n   b \\  \n\tc\nRUN d"),
            [(1, "RUN a    b \tc".to_owned()), (6, "RUN d".to_owned())]
        );
        assert_eq!(one("COPY a b \\"), "COPY a b");
        assert_eq!(one("COPY a b \\\n\n"), "COPY a b");
        assert_eq!(one("CO\\\nPY a b"), "COPY a b");
        assert_eq!(texts("\\\nFROM a"), [(1, "FROM a".to_owned())]);
    }

    #[test]
    fn the_escape_character_is_that_of_the_directive() {
        let text = "# escape=`\n# syntax=docker/dockerfile:1 more\nRUN dir C:\\\nRUN a `\n b";
        let lines = read(text).unwrap();
        assert_eq!((lines.escape, lines.syntax.as_deref()), ('`', Some("docker/dockerfile:1")));
        assert_eq!(lines.lines[0].text, "RUN dir C:\\");
        assert_eq!(lines.lines[1].text, "RUN a  b");
    }

    #[test]
    fn a_directive_stands_before_all_other_lines() {
        for text in
            ["\n# syntax=x\nFROM a", "# a comment\n# syntax=x\nFROM a", "FROM a\n# syntax=x\n", "# syntax=\nFROM a"]
        {
            assert_eq!(read(text).unwrap().syntax, None, "{text:?}");
        }
        for text in [
            "#syntax=x\nFROM a",
            " #  SYNTAX = x \nFROM a",
            "# escape=\\\n# syntax=x\n",
            "# check=skip=all\n# syntax=x\n",
        ] {
            assert_eq!(read(text).unwrap().syntax.as_deref(), Some("x"), "{text:?}");
        }
    }

    #[test]
    fn what_versions_of_buildkit_read_differently_is_not_understood() {
        for text in [
            "#!/usr/bin/env docker\nFROM a",
            "# escape=x\nFROM a",
            "# escape=`\n# escape=`\nFROM a",
            "# syntax=a\n# syntax=a\nFROM a",
            "# check=skip=all\n# escape=`\nFROM a",
            "FROM a\nRUN b \\\\\nRUN c",
            "FROM a\nRUN b\\ \\",
            "FROM a\nRUN b\u{a0}c",
            "FROM a\nRUN b\rRUN c",
            "\\\n\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(read(&"#\n".repeat(MAX_BYTES)).is_err());
    }

    #[test]
    fn the_body_of_a_here_document_is_taken_away() {
        for (text, line) in [
            ("RUN <<EOF\nCOPY --from=x / /\nEOF", "RUN <_EOF"),
            ("RUN cat <<EOF > /x && cat <<'b c'\n1\nEOF\n2\nb c\n", "RUN cat <_EOF > /x && cat <_'b c'"),
            ("RUN <<-\"EOF\" sh\n\tEOF \n\t\tEOF", "RUN <_-\"EOF\" sh"),
            ("run --mount=type=cache,target=/c 3<<E\nE", "run --mount=type=cache,target=/c 3<_E"),
            ("ONBUILD RUN <<EOF\nEOF", "ONBUILD RUN <_EOF"),
            ("COPY <<a.txt <<b.txt /x/\na.txt\nb.txt", "COPY <_a.txt <_b.txt /x/"),
            ("RUN \\\n  <<EOF\nEOF\n", "RUN   <_EOF"),
            ("RUN echo $(( 1 <<2 ))\n2\n", "RUN echo $(( 1 <_2 ))"),
            ("RUN echo \"<<EOF\" '<<EOF' \\<<EOF", "RUN echo \"<_EOF\" '<_EOF' \\<_EOF"),
            ("RUN cat <<<\"here\"", "RUN cat <_<\"here\""),
            ("RUN cat << EOF", "RUN cat <_ EOF"),
            ("RUN cat ${A} <<EOF\r\nEOF\r\n", "RUN cat ${A} <_EOF"),
        ] {
            assert_eq!(one(text), line, "{text:?}");
        }
        assert_eq!(one("ENV A=<<EOF"), "ENV A=<<EOF");
    }

    #[test]
    fn a_here_document_that_is_not_clear_is_not_understood() {
        for text in [
            "RUN <<EOF\nEOF ",
            "RUN echo don't <<EOF\nEOF",
            "RUN [\"cat\", \"<<EOF\"]\nEOF",
            "RUN cat ${A:-b} <<EOF\nEOF",
            "RUN cat <<$A\n$A",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
