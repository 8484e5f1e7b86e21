//! What a shell may offer next: answers to Docker's completion requests, in cobra's form: one candidate a line, a tab
//! before its description, and last `:` with what else the shell may do.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, ValueHint};

use super::{arguments, help};

/// cobra's `ShellCompDirectiveDefault`: the shell may offer file names.
const FILES: &str = ":0";

/// cobra's `ShellCompDirectiveNoFileComp`.
const NO_FILES: &str = ":4";

/// The platforms that most images are built for.
const PLATFORMS: &[&str] = &[
    "linux/386",
    "linux/amd64",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
    "windows/amd64",
];

/// The answer for a command line of `words` after the program's name, the last of them under the cursor.
pub fn answer(words: &[OsString], describe: bool) -> String {
    let command = arguments::command("docker artifact");
    let (current, before) = match words.split_last() {
        Some((current, before)) => (current.to_str().unwrap_or_default(), before),
        None => ("", words),
    };
    let (candidates, directive) = candidates(&command, before, current);
    let mut text = String::new();
    for (candidate, description) in candidates {
        if describe && !description.is_empty() {
            let _ = writeln!(text, "{candidate}\t{description}");
        } else {
            let _ = writeln!(text, "{candidate}");
        }
    }
    text.push_str(directive);
    text.push('\n');
    text
}

type Candidates = Vec<(String, String)>;

fn candidates(root: &Command, before: &[OsString], current: &str) -> (Candidates, &'static str) {
    let command = arguments::descend(root, before);
    if before.iter().any(|word| word == "--") {
        return (Vec::new(), NO_FILES);
    }
    if let Some((name, value)) = current.split_once('=').filter(|(name, _)| name.starts_with("--")) {
        // The shell puts the name before the candidates by itself.
        return named(command, OsStr::new(name)).map_or((Vec::new(), NO_FILES), |flag| values(flag, value));
    }
    if let Some(flag) = before.last().and_then(|word| named(command, word)) {
        return values(flag, current);
    }
    if current.starts_with('-') {
        let flags =
            help::flags(command).map(|flag| (format!("--{}", flag.get_long().unwrap_or_default()), about(flag)));
        return (flags.filter(|(flag, _)| flag.starts_with(current)).collect(), NO_FILES);
    }
    let commands = help::visible_subcommands(command)
        .map(|sub| (sub.get_name().to_owned(), sub.get_about().map(ToString::to_string).unwrap_or_default()));
    (commands.filter(|(name, _)| name.starts_with(current)).collect(), NO_FILES)
}

/// The flag that `word` names, where it takes a value.
fn named<'a>(command: &'a Command, word: &OsStr) -> Option<&'a Arg> {
    let word = word.to_str()?;
    help::flags(command).filter(|flag| matches!(flag.get_action(), ArgAction::Set | ArgAction::Append)).find(|flag| {
        word.strip_prefix("--").is_some_and(|long| flag.get_long() == Some(long))
            || flag.get_short().is_some_and(|short| word == format!("-{short}"))
    })
}

fn values(flag: &Arg, current: &str) -> (Candidates, &'static str) {
    if flag.get_value_hint() == ValueHint::AnyPath {
        return (Vec::new(), FILES);
    }
    let known: Vec<String> = match flag.get_id().as_str() {
        "platform" => PLATFORMS.iter().map(ToString::to_string).collect(),
        "format" => vec!["json".to_owned(), "table".to_owned()],
        _ => flag.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
    };
    let fitting = known.into_iter().filter(|value| value.starts_with(current));
    (fitting.map(|value| (value, String::new())).collect(), NO_FILES)
}

fn about(flag: &Arg) -> String {
    flag.get_help().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        answer(&words, false).lines().map(str::to_owned).collect()
    }

    #[test]
    fn commands_come_first() {
        assert_eq!(offered(""), ["get", "label", "index", "ls", "build", "cache", ":4"]);
        assert_eq!(offered("g"), ["get", ":4"]);
        assert_eq!(offered("l"), ["label", "ls", ":4"]);
        assert_eq!(offered("x"), [":4"]);
        assert_eq!(offered("cache "), ["ls", "rm", "prune", ":4"]);
        assert_eq!(offered("cache p"), ["prune", ":4"]);
        assert_eq!(offered("cache prune --a"), ["--all", ":4"]);
        assert_eq!(answer(&["g".into()], true), "get\tGet files and directories out of an image\n:4\n");
        assert_eq!(answer(&[], false), "get\nlabel\nindex\nls\nbuild\ncache\n:4\n");
    }

    #[test]
    fn flags_of_the_command_and_the_global_ones() {
        assert_eq!(offered("get --no"), ["--no-verify", "--no-dereference", "--no-index", "--no-cache", ":4"]);
        assert_eq!(offered("get --deb"), ["--debug", ":4"]);
        assert_eq!(offered("get alpine /bin/ls --ou"), ["--output", ":4"]);
    }

    #[test]
    fn values_that_are_known() {
        assert_eq!(offered("get --progress p"), ["plain", ":4"]);
        assert_eq!(offered("get --progress=t"), ["tty", ":4"]);
        assert_eq!(offered("get --platform linux/arm6"), ["linux/arm64", ":4"]);
        assert_eq!(offered("get --format "), ["json", "table", ":4"]);
        assert_eq!(offered("get -o "), [":0"]);
        assert_eq!(offered("get --output=fo"), [":0"]);
        assert_eq!(offered("label --metadata-file "), [":0"]);
    }

    #[test]
    fn nothing_where_nothing_is_known() {
        assert_eq!(offered("get alp"), [":4"]);
        assert_eq!(offered("get -- --no"), [":4"]);
        assert_eq!(offered("get --nope=x"), [":4"]);
        assert_eq!(offered("get -q -"), offered("get -"));
    }
}
