//! What is offered to the shell, and how it is told: one candidate a line, a tab before its description, and last `:` with what else
//! the shell may do. That is cobra's protocol, which Docker speaks.

use std::fmt::Write as _;

use crate::cli::sanitize;

/// The longest description, in characters: a terminal has not much more room.
const MAX_DESCRIPTION: usize = 100;

/// What the word under the cursor may become.
#[derive(Debug, Default)]
pub struct Candidates {
    list: Vec<(String, String)>,
    then: Then,
}

/// What the shell does with the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Then {
    /// It offers nothing else.
    #[default]
    NothingElse,
    /// It offers names of files where no candidate fits.
    Files,
    /// It writes no space behind a candidate, which may go on.
    NoSpace,
}

/// What must not be in a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// The shell's scripts are ours, which quote what a shell would take for something else.
    OwnScript,
    /// The scripts are Docker's, of which many versions hand candidates to the `compgen -W` of bash. That expands them: a name such as
    /// `$(reboot)` would be run.
    Docker,
}

impl Candidates {
    /// Names of files alone.
    pub fn files() -> Self {
        Candidates { list: Vec::new(), then: Then::Files }
    }

    /// Those of `known` that go on from what is `typed`, with their descriptions.
    pub fn known(known: impl IntoIterator<Item = (String, String)>, typed: &str) -> Self {
        let list = known.into_iter().filter(|(candidate, _)| candidate.starts_with(typed)).collect();
        Candidates { list, then: Then::default() }
    }

    /// Names and paths that somebody else has chosen, with their descriptions. Those that go on from what is `typed` are left, but for
    /// what no shell could be given. Where the only one that is left ends in a slash, it goes on.
    pub fn foreign(found: impl IntoIterator<Item = (String, String)>, typed: &str, asking: Asking) -> Self {
        let found = found.into_iter().filter(|(candidate, _)| is_harmless(candidate, asking));
        let mut candidates = Candidates::known(found, typed);
        if let [(only, _)] = &*candidates.list
            && only.ends_with('/')
        {
            candidates.then = Then::NoSpace;
        }
        candidates
    }

    /// The same, and names of files where there is none.
    pub fn or_files(self) -> Self {
        Candidates { then: Then::Files, ..self }
    }

    /// The same, with this before each.
    pub fn behind(mut self, before: &str) -> Self {
        self.list.iter_mut().for_each(|(candidate, _)| candidate.insert_str(0, before));
        self
    }

    /// As the shell is told, with descriptions or without.
    pub fn to_text(&self, describe: bool) -> String {
        let mut text = String::new();
        for (candidate, description) in &self.list {
            let shown: String = sanitize::for_terminal(description).chars().take(MAX_DESCRIPTION).collect();
            let _ = match describe && !shown.is_empty() {
                true => writeln!(text, "{candidate}\t{shown}"),
                false => writeln!(text, "{candidate}"),
            };
        }
        // cobra's ShellCompDirectiveNoSpace is 2, and ShellCompDirectiveNoFileComp 4.
        text.push_str(match self.then {
            Then::Files => ":0\n",
            Then::NothingElse => ":4\n",
            Then::NoSpace => ":6\n",
        });
        text
    }
}

/// Whether a shell, and this program after it, will take `candidate` for what it is.
fn is_harmless(candidate: &str, asking: Asking) -> bool {
    // The terminal would not show it, or it would mean a pattern when it comes back.
    let is_plain = candidate == sanitize::for_terminal(candidate) && !candidate.contains(['*', '?', '[', '\\']);
    let is_safe = |character: char| character.is_alphanumeric() || "/._-+:@,=%^".contains(character);
    is_plain && !candidate.is_empty() && (asking == Asking::OwnScript || candidate.chars().all(is_safe))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(found: &[&str], typed: &str, asking: Asking) -> String {
        let found = found.iter().map(|name| ((*name).to_owned(), String::new()));
        Candidates::foreign(found, typed, asking).to_text(true).replace('\n', " ").trim_end().to_owned()
    }

    #[test]
    fn what_goes_on_is_offered_and_a_directory_alone_goes_on() {
        let own = |found: &[&str], typed: &str| offered(found, typed, Asking::OwnScript);
        assert_eq!(own(&["/bin/", "/boot/", "/etc/"], "/b"), "/bin/ /boot/ :4");
        assert_eq!(own(&["/bin/", "/etc/"], "/b"), "/bin/ :6");
        assert_eq!(own(&["/bin", "/etc/"], "/b"), "/bin :4");
        assert_eq!(own(&[], ""), ":4");
    }

    #[test]
    fn what_a_terminal_or_a_pattern_would_take_for_something_else_is_left_out() {
        let names = ["a\nb", "a\tb", "a\x1b[2J", "a\u{202e}b", "a*", "a?", "a[b]", "a\\b", "a b", "a'b", "a$b", "añ"];
        assert_eq!(offered(&names, "", Asking::OwnScript), "a b a'b a$b añ :4");
    }

    #[test]
    fn dockers_scripts_get_nothing_that_a_shell_would_run_or_split() {
        let names =
            ["$(id)", "`id`", "a b", "a;b", "~a", "a'b", "\"", "{a,b}", "<(id)", "a&", "!x", "a#b", "/ok_-+.@:=,%^é"];
        assert_eq!(offered(&names, "", Asking::Docker), "/ok_-+.@:=,%^é :4");
    }

    #[test]
    fn a_description_is_one_short_line() {
        let long = Candidates::known([("a".to_owned(), format!("x\ny\t{}", "z".repeat(200)))], "");
        let text = long.to_text(true);
        assert_eq!(text, format!("a\tx\\x0ay\\x09{}\n:4\n", "z".repeat(MAX_DESCRIPTION - 10)));
        assert_eq!(long.to_text(false), "a\n:4\n");
    }
}
