//! Help that reads like Docker's own: the same order, the same columns, a type word after each flag.
//!
//! clap's templates cannot leave out the brackets around a value's name, so the page is laid out here from clap's
//! description of the command.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

/// Docker's width where the output is no terminal.
const DEFAULT_WIDTH: usize = 80;

/// Gives `command`, and each of its subcommands, the name that a person types and its page of help.
pub fn dress(command: Command, program: &'static str) -> Command {
    let width = terminal_width();
    let mut command = command.bin_name(program);
    // Building hands the global flags down to the subcommands.
    command.build();
    with_pages(command, program, width)
}

fn with_pages(mut command: Command, program: &str, width: usize) -> Command {
    let names: Vec<String> = visible_subcommands(&command).map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |sub| with_pages(sub, program, width));
    }
    let page = page(&command, program, width);
    command.override_help(page)
}

fn terminal_width() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => DEFAULT_WIDTH,
    }
}

/// How `command` is called, such as `docker artifact ls [OPTIONS] IMAGE [PATH...]`: a line for each way, aligned with
/// the first as `Usage:` will push it to the right.
pub fn usage(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_default();
    match command.get_overridden_usage() {
        Some(operands) => {
            let operands = operands.to_string();
            operands.lines().map(|line| format!("{name} {line}")).collect::<Vec<_>>().join("\n        ")
        }
        None => name.to_owned(),
    }
}

/// The page of help of `command`, no wider than `width` columns.
fn page(command: &Command, program: &str, width: usize) -> String {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let mut page = format!("Usage:  {}\n\n{about}\n", usage(command));
    if let Some(examples) = command.get_before_help() {
        let examples = examples.to_string().replace("docker artifact", program);
        section(&mut page, "Examples", &format!("  {}", examples.replace('\n', "\n  ")));
    }
    section(&mut page, "Options", &options(command, width));
    let subcommands: Vec<(String, String)> = visible_subcommands(command)
        .map(|sub| (format!("  {}", sub.get_name()), sub.get_about().map(ToString::to_string).unwrap_or_default()))
        .collect();
    section(&mut page, "Commands", &columns(&subcommands, width));
    if !subcommands.is_empty() {
        let name = command.get_bin_name().unwrap_or(program);
        let _ = write!(page, "\nRun '{name} COMMAND --help' for more information on a command.\n");
    }
    page
}

fn section(page: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(page, "\n{title}:\n{}\n", body.trim_end());
    }
}

/// The subcommands of `command` that are listed.
pub fn visible_subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set())
}

/// The flags of `command`, but for `--help`, which Docker does not list either.
pub fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_long().is_some_and(|long| long != "help"))
}

/// The same, in the order of their names.
pub fn sorted_flags(command: &Command) -> Vec<&Arg> {
    let mut flags: Vec<&Arg> = flags(command).collect();
    flags.sort_by_key(|flag| flag.get_long());
    flags
}

fn options(command: &Command, width: usize) -> String {
    let rows: Vec<(String, String)> = sorted_flags(command).into_iter().map(row).collect();
    columns(&rows, width)
}

fn row(flag: &Arg) -> (String, String) {
    let short = flag.get_short().map_or("    ".to_owned(), |short| format!("-{short}, "));
    let mut name = format!("  {short}--{}", flag.get_long().unwrap_or_default());
    if let Some(kind) = kind_of_value(flag) {
        let _ = write!(name, " {kind}");
    }
    (name, meaning(flag))
}

/// The word that stands for a flag's value, where it takes one.
pub fn kind_of_value(flag: &Arg) -> Option<&str> {
    let takes_value = matches!(flag.get_action(), ArgAction::Set | ArgAction::Append);
    flag.get_value_names().and_then(<[_]>::first).filter(|_| takes_value).map(clap::builder::Str::as_str)
}

/// What a flag does, with its default.
pub fn meaning(flag: &Arg) -> String {
    let mut help = flag.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some(default) = flag.get_default_values().first().filter(|_| kind_of_value(flag).is_some()) {
        let _ = write!(help, " (default \"{}\")", default.to_string_lossy());
    }
    help
}

/// Two aligned columns, the second wrapped between words.
fn columns(rows: &[(String, String)], width: usize) -> String {
    let indent = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0) + 3;
    // Docker leaves the last column of a terminal free, and wraps to no less than 24.
    let room = width.saturating_sub(indent + 1).max(24);
    let mut text = String::new();
    for (left, right) in rows {
        let mut line = format!("{left:indent$}");
        let mut used = 0;
        for word in right.split(' ') {
            if used > 0 && used + 1 + word.len() > room {
                text.push_str(&line);
                text.push('\n');
                line = " ".repeat(indent);
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += word.len();
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;

    fn help(words: &[&str], program: &'static str) -> String {
        let words: Vec<_> = words.iter().map(std::ffi::OsString::from).collect();
        match arguments::parse(&words, program) {
            Err(arguments::Stop::Print(text)) => text,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn help_is_the_same_however_it_is_asked_for() {
        let root = help(&[], "docker artifact");
        assert!(root.starts_with("Usage:  docker artifact [OPTIONS] COMMAND\n\nGet files out of an image"), "{root}");
        for words in [&["--help"][..], &["-h"], &["help"]] {
            assert_eq!(help(words, "docker artifact"), root);
        }
        let get = help(&["get", "--help"], "docker artifact");
        assert_eq!(help(&["help", "get"], "docker artifact"), get);
        assert_eq!(help(&["get", "-h"], "docker artifact"), get);
    }

    #[test]
    fn help_of_a_command_reads_like_dockers() {
        let get = help(&["get", "--help"], "docker artifact");
        let usage = "Usage:  docker artifact get [OPTIONS] IMAGE NAME|PATH...
        docker artifact get [OPTIONS] IMAGE:PATH... [DEST]

Get files";
        assert!(get.starts_with(usage), "{get}");
        for line in [
            "Examples:",
            "  docker artifact get debian:12",
            "Options:",
            "  -D, --debug               Show",
            "      --format string       Print",
        ] {
            assert!(get.lines().any(|found| found.starts_with(line)), "{line}\n{get}");
        }
        let flags: Vec<&str> = get.lines().filter_map(|line| line.get(6..)?.strip_prefix("--")).collect();
        assert!(flags.is_sorted(), "{flags:?}");
        for command in ["get", "label", "ls"] {
            let page = help(&[command, "--help"], "docker artifact");
            let examples = page.split("\nExamples:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
            // What may be copied is not wrapped.
            assert!(page.replace(examples, "").lines().all(|line| line.len() < DEFAULT_WIDTH), "{page}");
        }
        assert!(!get.contains("--help"), "{get}");
    }

    #[test]
    fn standing_alone_the_program_goes_by_its_own_name() {
        let get = help(&["get", "--help"], "docker-artifact");
        assert!(get.starts_with("Usage:  docker-artifact get "), "{get}");
        assert!(!get.contains("docker artifact"), "{get}");
    }

    #[test]
    fn only_what_exists_is_advertised() {
        let root = help(&[], "docker artifact");
        for present in ["\n  get ", "\n  label ", "\n  ls "] {
            assert!(root.contains(present), "{root}");
        }
        assert!(!root.contains("copy_binary"), "{root}");
    }
}
