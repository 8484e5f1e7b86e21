//! What the program works with: the arguments read, checked and freed of clap.

mod copy_binary;
mod get;
mod label;
mod ls;

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;

pub use copy_binary::CopyBinaryOptions;
pub use get::GetOptions;
pub use label::{LabelOptions, Output};
pub use ls::{LsOptions, TypedFormat, What, may_be_name};

use super::arguments::{self, Arguments, Command, ProgressMode, Stop, UsageError};
use super::format::{Columns, Format};
use crate::image::platform::Choice;
use crate::plugin::Invocation;

/// Everything that a run needs to know.
#[derive(Debug)]
pub struct Options {
    /// The command as a person types it, such as `docker artifact get`; it begins every error message.
    pub command: String,
    /// Whether causes are shown below errors, and what is going on is logged.
    pub debug: bool,
    /// What to do.
    pub action: Action,
}

/// The commands, with their options.
#[derive(Debug)]
pub enum Action {
    /// Get files and directories.
    Get(GetOptions),
    /// Name artifacts.
    Label(LabelOptions),
    /// List what is there.
    Ls(LsOptions),
    /// Copy a file into an image that is being built.
    CopyBinary(CopyBinaryOptions),
}

/// What is shown on standard error besides errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisplayMode {
    /// Bars.
    Bars,
    /// Lines.
    Lines,
    /// Notices and the closing line alone.
    Notices,
    /// Nothing.
    Quiet,
}

impl Options {
    /// Reads a command line.
    pub fn parse(invocation: Invocation) -> Result<Self, Stop> {
        let program = invocation.program();
        let Arguments { debug, command, .. } = arguments::parse(&invocation.words, program)?;
        let debug = debug || invocation.globals.debug;
        let Some(command) = command else { return Err(Stop::Print(String::new())) };
        let surroundings = Surroundings::here(debug, invocation.globals.config);
        let (name, action) = match command {
            Command::Get(typed) => ("get", GetOptions::new(typed, &surroundings).map(Action::Get)),
            Command::Label(typed) => ("label", LabelOptions::new(typed, &surroundings).map(Action::Label)),
            Command::Ls(typed) => ("ls", LsOptions::new(typed, &surroundings).map(Action::Ls)),
        };
        let usage = || arguments::usage(name, program);
        Options::of(format!("{program} {name}"), debug, action, usage)
    }

    /// Reads what stands after `copy_binary`.
    pub fn copy_binary(words: &[OsString]) -> Result<Self, Stop> {
        let typed = arguments::parse_copy_binary(words)?;
        let debug = typed.debug;
        let action = CopyBinaryOptions::new(typed, &Surroundings::here(debug, None)).map(Action::CopyBinary);
        Options::of(arguments::COPY_BINARY.to_owned(), debug, action, arguments::copy_binary_usage)
    }

    fn of(
        command: String,
        debug: bool,
        action: Result<Action, Problem>,
        usage: impl FnOnce() -> String,
    ) -> Result<Self, Stop> {
        match action {
            Ok(action) => Ok(Options { command, debug, action }),
            Err(problem) => {
                let usage = matches!(problem, Problem::Operands(_)).then(usage);
                Err(Stop::Usage(UsageError { message: problem.message(&command), command, usage }))
            }
        }
    }
}

/// What counts besides what was typed.
struct Surroundings {
    default_platform: Option<OsString>,
    /// Whether standard error is a terminal.
    terminal: bool,
    /// Whether bars would stay whole there: log lines tear them, and so does a terminal that cannot move its cursor.
    undisturbed: bool,
    /// The folder of Docker's `config.json`, where one was named.
    docker_config: Option<PathBuf>,
}

impl Surroundings {
    fn here(debug: bool, docker_config: Option<PathBuf>) -> Self {
        let smart = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Surroundings {
            default_platform: std::env::var_os("DOCKER_DEFAULT_PLATFORM"),
            terminal: stderr().is_terminal(),
            undisturbed: smart && !debug,
            docker_config,
        }
    }

    fn display_mode(&self, progress: ProgressMode, quiet: bool) -> DisplayMode {
        match progress {
            _ if quiet => DisplayMode::Quiet,
            ProgressMode::None => DisplayMode::Notices,
            ProgressMode::Auto if self.terminal && self.undisturbed => DisplayMode::Bars,
            ProgressMode::Tty if self.terminal => DisplayMode::Bars,
            ProgressMode::Auto | ProgressMode::Tty | ProgressMode::Plain => DisplayMode::Lines,
        }
    }

    /// The platform that was typed, else Docker's `DOCKER_DEFAULT_PLATFORM` (empty is unset), else none in particular.
    fn platform(&self, typed: Option<String>) -> Result<Choice, Problem> {
        let default = self.default_platform.as_deref();
        let (from, text) = match (typed, default.filter(|default| !default.is_empty())) {
            (Some(typed), _) => ("--platform", typed),
            (None, Some(default)) => ("DOCKER_DEFAULT_PLATFORM", default.to_string_lossy().into_owned()),
            (None, None) => return Ok(Choice::Host),
        };
        text.parse().map(Choice::Asked).map_err(|invalid| Problem::Other(format!("{from}: {invalid}")))
    }
}

/// What is wrong with the arguments of a command.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// This is missing, or there is too much.
    Operands(&'static str),
    Other(String),
}

impl Problem {
    fn message(self, command: &str) -> String {
        match self {
            Problem::Operands(needed) => format!("'{command}' requires {needed}"),
            Problem::Other(message) => message,
        }
    }
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Problem::Other(message)
    }
}

/// The argument of `--format`, for rows of these columns.
fn format(typed: &str, columns: &'static Columns) -> Result<Format, Problem> {
    Format::parse(typed, columns).map_err(|invalid| Problem::Other(invalid.to_string()))
}

/// A flag's value, or an operand, as text.
fn text(typed: &OsStr) -> Result<&str, Problem> {
    typed.to_str().ok_or_else(|| Problem::Other(format!("\"{}\" is not UTF-8", typed.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Call;

    /// What `docker artifact` makes of `line`.
    pub fn action(line: &[&[u8]]) -> Result<Action, UsageError> {
        use std::os::unix::ffi::OsStringExt;
        let words = [b"docker-artifact".as_slice(), b"artifact"].into_iter().chain(line.iter().copied());
        let Ok(Call::Command(invocation)) = Call::parse(words.map(|word| OsString::from_vec(word.to_vec()))) else {
            panic!("a command")
        };
        match Options::parse(invocation) {
            Ok(Options { action, .. }) => Ok(action),
            Err(Stop::Usage(error)) => Err(error),
            Err(Stop::Print(text)) => panic!("{text}"),
        }
    }

    /// What is wrong with `line`.
    pub fn message(line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        action(&words).unwrap_err().message
    }

    fn surroundings(default_platform: Option<&str>, terminal: bool, undisturbed: bool) -> Surroundings {
        let default_platform = default_platform.map(OsString::from);
        Surroundings { default_platform, terminal, undisturbed, docker_config: None }
    }

    #[test]
    fn the_platform_is_the_typed_one_then_dockers_then_the_hosts() {
        let platform =
            |typed: Option<&str>, default| surroundings(default, false, false).platform(typed.map(str::to_owned));
        let asked = |platform: &str| Ok(Choice::Asked(platform.parse().unwrap()));
        assert_eq!(platform(Some("linux/arm/v7"), Some("linux/s390x")), asked("linux/arm/v7"));
        assert_eq!(platform(None, Some("linux/s390x")), asked("linux/s390x"));
        assert_eq!(platform(None, Some("")), Ok(Choice::Host));
        assert_eq!(platform(None, None), Ok(Choice::Host));
        assert!(platform(None, Some("vax")).unwrap_err().message("").starts_with("DOCKER_DEFAULT_PLATFORM: "));
        assert!(message("get --platform vax alpine /x").starts_with("--platform: \"vax\" is not a platform"));
    }

    #[test]
    fn bars_are_for_terminals_and_quiet_wins() {
        let mode = |progress, quiet, terminal, undisturbed| {
            surroundings(None, terminal, undisturbed).display_mode(progress, quiet)
        };
        assert_eq!(mode(ProgressMode::Auto, false, true, true), DisplayMode::Bars);
        assert_eq!(mode(ProgressMode::Auto, false, true, false), DisplayMode::Lines);
        assert_eq!(mode(ProgressMode::Auto, false, false, true), DisplayMode::Lines);
        assert_eq!(mode(ProgressMode::Plain, false, true, true), DisplayMode::Lines);
        assert_eq!(mode(ProgressMode::Tty, false, true, false), DisplayMode::Bars);
        assert_eq!(mode(ProgressMode::Tty, false, false, true), DisplayMode::Lines);
        assert_eq!(mode(ProgressMode::None, false, true, true), DisplayMode::Notices);
        assert_eq!(mode(ProgressMode::Tty, true, true, true), DisplayMode::Quiet);
    }

    #[test]
    fn an_unreadable_format_is_wrong_usage() {
        assert!(message("get --format {{.Nope}} alpine /x").contains("Nope"));
        assert!(message("label --format {{.Nope}} alpine /x").contains("Nope"));
    }
}
