//! What may be typed: the commands and their flags, for clap. Nothing outside this folder sees these types; the options
//! that the program works with are made of them in [`options`](super::options).

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

mod build;
mod cache;
mod completion;
mod copy_binary;
mod flags;
mod get;
mod hook;
mod index;
mod label;
mod ls;
mod man;

pub use build::BuildArguments;
pub use cache::{CacheArguments, CacheCommand, CacheLsArguments, CachePruneArguments, CacheRmArguments};
pub use completion::{CompletionArguments, Shell};
pub use copy_binary::CopyBinaryArguments;
pub use flags::{ColorMode, ProgressMode, RegistryArguments};
pub use get::GetArguments;
pub use hook::{HookArguments, HookState};
pub use index::IndexArguments;
pub use label::LabelArguments;
pub use ls::LsArguments;
pub use man::ManArguments;

use super::help;

/// Get files out of an image without pulling it
#[derive(Debug, Parser)]
#[command(
    name = "artifact",
    override_usage = "[OPTIONS] COMMAND",
    disable_version_flag = true,
    args_override_self = true
)]
pub struct Arguments {
    /// Show the causes of errors, and a log
    #[arg(short = 'D', long, global = true)]
    pub debug: bool,
    /// Print version information and quit
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub version: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get files and directories out of an image
    #[command(
        override_usage = "[OPTIONS] IMAGE NAME|PATH...\n[OPTIONS] IMAGE:PATH... [DEST]",
        long_about = get::LONG_ABOUT,
        before_help = get::EXAMPLES,
        args_override_self = true
    )]
    Get(GetArguments),
    /// Name artifacts in an image, and make them cheap to get
    #[command(
        override_usage = "[OPTIONS] IMAGE [[NAME=]PATH...]",
        long_about = label::LONG_ABOUT,
        before_help = label::EXAMPLES,
        args_override_self = true
    )]
    Label(LabelArguments),
    /// Make every file of an image cheap to get
    #[command(
        override_usage = "[OPTIONS] IMAGE",
        long_about = index::LONG_ABOUT,
        before_help = index::EXAMPLES,
        args_override_self = true
    )]
    Index(IndexArguments),
    /// List the artifacts of an image, its files or its layers
    #[command(
        override_usage = "[OPTIONS] IMAGE [NAME|PATH...]",
        long_about = ls::LONG_ABOUT,
        before_help = ls::EXAMPLES,
        args_override_self = true
    )]
    Ls(LsArguments),
    /// Build an image without pulling those that it only copies files from
    #[command(
        override_usage = "[OPTIONS] PATH",
        long_about = build::LONG_ABOUT,
        before_help = build::EXAMPLES
    )]
    Build(BuildArguments),
    /// Show and empty what this machine keeps of images
    #[command(
        override_usage = "COMMAND",
        long_about = cache::LONG_ABOUT,
        before_help = cache::EXAMPLES,
        args_override_self = true
    )]
    Cache(CacheArguments),
    /// Turn hints after a failed "docker cp" on or off
    #[command(
        override_usage = "on|off",
        long_about = hook::LONG_ABOUT,
        before_help = hook::EXAMPLES,
        hide = true,
        args_override_self = true
    )]
    Hook(HookArguments),
    /// Print the script that completes this program in a shell
    #[command(
        override_usage = "bash|zsh|fish",
        long_about = completion::LONG_ABOUT,
        before_help = completion::EXAMPLES,
        hide = true,
        args_override_self = true
    )]
    Completion(CompletionArguments),
    /// Write the manual pages
    #[command(
        override_usage = "DIR",
        long_about = man::LONG_ABOUT,
        before_help = man::EXAMPLES,
        hide = true,
        args_override_self = true
    )]
    Man(ManArguments),
}

/// Why there are no arguments to work with.
#[derive(Debug)]
pub enum Stop {
    /// This was asked for, and all that was: help, the version.
    Print(String),
    /// What was typed makes no sense.
    Usage(UsageError),
}

/// A command line that makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError {
    /// The command as a person types it, such as `docker artifact get`.
    pub command: String,
    /// What is wrong, in one line.
    pub message: String,
    /// How the command is called, where that is what was got wrong.
    pub usage: Option<String>,
}

/// The commands and flags, with help that reads like Docker's. `program` is what a person types to get here.
pub fn command(program: &'static str) -> clap::Command {
    let mut command = Arguments::command();
    if program == "docker-artifact" {
        // Read before clap by the plugin contract; listed for people without `docker --help` to look it up in.
        let config = Arg::new("config").long("config").value_name("string");
        // Docker has a command of that name for its own.
        command = command.mut_subcommand("completion", |completion| completion.hide(false));
        command =
            command.arg(config.help("Location of client config files (default \"$DOCKER_CONFIG\", or \"~/.docker\")"));
    }
    help::dress(command, program)
}

/// Reads `words`, what was typed after `program`.
pub fn parse(words: &[OsString], program: &'static str) -> Result<Arguments, Stop> {
    if let Some((debug, words)) = build::words(words) {
        let command = Some(Command::Build(BuildArguments::of(words)));
        return Ok(Arguments { debug, version: false, command });
    }
    let mut command = command(program);
    match read(&mut command, words, program)? {
        Arguments { version: true, .. } => Err(version(program)),
        Arguments { command: None, .. } => Err(Stop::Print(command.render_help().to_string())),
        arguments => Ok(arguments),
    }
}

/// Reads `words`, what was typed after `copy_binary`.
pub fn parse_copy_binary(words: &[OsString]) -> Result<CopyBinaryArguments, Stop> {
    let arguments: CopyBinaryArguments = read(&mut copy_binary(), words, COPY_BINARY)?;
    if arguments.version { Err(version(COPY_BINARY)) } else { Ok(arguments) }
}

/// What a person types to get a file while an image is being built.
pub const COPY_BINARY: &str = "copy_binary";

/// The flags of `copy_binary`, with help that reads like Docker's.
pub fn copy_binary() -> clap::Command {
    help::dress(CopyBinaryArguments::command(), COPY_BINARY)
}

fn read<T: FromArgMatches>(command: &mut clap::Command, words: &[OsString], program: &'static str) -> Result<T, Stop> {
    let line = std::iter::once(OsString::from(program)).chain(words.iter().cloned());
    match command.try_get_matches_from_mut(line).and_then(|matches| T::from_arg_matches(&matches)) {
        Ok(arguments) => Ok(arguments),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Err(Stop::Print(error.to_string())),
        Err(error) => Err(Stop::Usage(explain(&error, command, words, program))),
    }
}

fn version(program: &str) -> Stop {
    Stop::Print(format!("{program} version {}\n", env!("CARGO_PKG_VERSION")))
}

/// How `copy_binary` is called, as help shows it.
pub fn copy_binary_usage() -> String {
    help::usage(&copy_binary())
}

/// The usage line of the subcommand `name`, such as `cache ls`, as help shows it.
pub fn usage(name: &str, program: &'static str) -> String {
    help::usage(descend(&command(program), name.split(' ')))
}

/// The page of help of the subcommand `name`.
pub fn help(name: &str, program: &'static str) -> Stop {
    Stop::Print(descend(&command(program), name.split(' ')).clone().render_help().to_string())
}

/// The innermost subcommand of `command` that `words` name one after another, with anything in between.
pub fn descend<S: AsRef<OsStr>>(command: &clap::Command, words: impl IntoIterator<Item = S>) -> &clap::Command {
    words.into_iter().fold(command, |command, word| command.find_subcommand(word.as_ref()).unwrap_or(command))
}

/// Puts a complaint of clap's into Docker's words, in one line.
fn explain(error: &clap::Error, command: &clap::Command, words: &[OsString], program: &str) -> UsageError {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    // "--output <string>" is how clap names a flag that takes a value.
    let flag = context(ContextKind::InvalidArg).split(' ').next().unwrap_or_default().to_owned();
    let mut message = match error.kind() {
        ErrorKind::UnknownArgument if flag == "-#" => {
            "unknown flag: -#; write archive://-#REFERENCE for one of several images on standard input".to_owned()
        }
        ErrorKind::UnknownArgument => format!("unknown flag: {flag}"),
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            format!("flag needs an argument: {flag}")
        }
        ErrorKind::InvalidValue => {
            let (value, valid) = (context(ContextKind::InvalidValue), context(ContextKind::ValidValue));
            format!("invalid argument \"{value}\" for {flag}: choose one of {valid}")
        }
        ErrorKind::InvalidSubcommand => {
            format!("unknown command: {}", context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::TooManyValues => format!("{flag} takes no value"),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    let suggestions = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    if let Some(suggestion) = suggestions.into_iter().map(context).find(|suggestion| !suggestion.is_empty()) {
        message = format!("{message}; did you mean {suggestion}?");
    }
    let meant = descend(command, words);
    let name = meant.get_bin_name().unwrap_or(program).to_owned();
    UsageError { command: name, message, usage: Some(help::usage(meant)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage_error(line: &str) -> UsageError {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match parse(&words, "docker artifact") {
            Err(Stop::Usage(error)) => error,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn clap_finds_no_fault_with_the_arguments() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wrong_flag_is_said_in_dockers_words() {
        let error = usage_error("get --qiet alpine /etc/passwd");
        assert_eq!(error.message, "unknown flag: --qiet; did you mean --quiet?");
        assert_eq!(error.command, "docker artifact get");
        let usage = "docker artifact get [OPTIONS] IMAGE NAME|PATH...\n        docker artifact get [OPTIONS] IMAGE:PATH... [DEST]";
        assert_eq!(error.usage.unwrap(), usage);
        assert_eq!(usage_error("get -x").message, "unknown flag: -x");
        assert!(usage_error("get -#app:1 /x").message.contains("write archive://-#REFERENCE"));
        assert_eq!(usage_error("get --output").message, "flag needs an argument: --output");
        assert_eq!(usage_error("get --quiet=1").message, "--quiet takes no value");
        assert_eq!(
            usage_error("get --progress=bars a b").message,
            "invalid argument \"bars\" for --progress: choose one of auto, tty, plain, none"
        );
    }

    #[test]
    fn an_unknown_command_is_said_and_unbuilt_ones_are_unknown() {
        let error = usage_error("gets alpine");
        assert_eq!(error.message, "unknown command: gets; did you mean get?");
        assert_eq!(error.command, "docker artifact");
        assert_eq!(usage_error("pull alpine").message, "unknown command: pull");
    }

    #[test]
    fn the_last_of_a_repeated_flag_counts_as_in_docker() {
        let words = ["get", "-o", "a", "--output=b", "-q", "-q", "alpine", "/x"].map(OsString::from);
        let Ok(Arguments { command: Some(Command::Get(get)), .. }) = parse(&words, "docker artifact") else {
            panic!("arguments")
        };
        assert_eq!(get.output, Some("b".into()));
    }

    #[test]
    fn the_version_is_the_crates() {
        let Err(Stop::Print(text)) = parse(&["--version".into()], "docker-artifact") else { panic!("a version") };
        assert_eq!(text, format!("docker-artifact version {}\n", env!("CARGO_PKG_VERSION")));
    }
}
