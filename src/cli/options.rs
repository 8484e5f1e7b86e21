//! What the program works with: the arguments read, checked and freed of clap.

mod build;
mod cache;
mod copy_binary;
mod get;
mod index;
mod label;
mod ls;
mod problem;
mod surroundings;

use std::ffi::OsString;
use std::path::PathBuf;

pub use build::BuildOptions;
pub use cache::CacheOptions;
pub use copy_binary::CopyBinaryOptions;
pub use get::GetOptions;
pub use index::{IndexOptions, IndexOutput};
pub use label::{LabelOptions, Output};
pub use ls::{LsOptions, TypedFormat, What};
use problem::Problem;
use surroundings::Surroundings;

use super::arguments::{
    self, Arguments, CacheArguments, Command, CompletionArguments, HookArguments, HookState, ManArguments, Shell, Stop,
    UsageError,
};
use crate::image::platform::Choice;
use crate::plugin::Invocation;
use crate::source::engine::EngineOptions;

/// The platform that was typed, else Docker's `DOCKER_DEFAULT_PLATFORM`, else none in particular. Fails with what is wrong with it.
pub fn platform(typed: Option<String>) -> Result<Choice, String> {
    Surroundings::here(false, EngineOptions::default()).platform(typed).map_err(|problem| problem.message(""))
}

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

/// The options of `hook`.
#[derive(Debug)]
pub struct HookOptions {
    /// Whether there are to be hints.
    pub on: bool,
    /// The folder of Docker's `config.json`, where one was named.
    pub folder: Option<PathBuf>,
}

/// The commands, with their options.
#[derive(Debug)]
pub enum Action {
    /// Get files and directories.
    Get(GetOptions),
    /// Name artifacts.
    Label(LabelOptions),
    /// Keep tables beside an image.
    Index(IndexOptions),
    /// List what is there.
    Ls(LsOptions),
    /// Build an image.
    Build(Box<BuildOptions>),
    /// Show or empty the cache.
    Cache(CacheOptions),
    /// Switch hints after `docker cp` on or off.
    Hook(HookOptions),
    /// Print what completes this program in a shell.
    Completion(Shell),
    /// Write the manual pages into this folder.
    Man(PathBuf),
    /// Copy a file into an image that is being built.
    CopyBinary(CopyBinaryOptions),
}

impl Options {
    /// Reads a command line.
    pub fn parse(invocation: Invocation) -> Result<Self, Stop> {
        let program = invocation.program();
        let Arguments { debug, command, .. } = arguments::parse(&invocation.words, program)?;
        let debug = debug || invocation.globals.debug;
        let Some(command) = command else { return Err(Stop::Print(String::new())) };
        let surroundings = Surroundings::here(debug, invocation.globals.engine);
        let (name, action) = match command {
            Command::Get(typed) => ("get", GetOptions::new(typed, &surroundings).map(Action::Get)),
            Command::Label(typed) => ("label", LabelOptions::new(typed, &surroundings).map(Action::Label)),
            Command::Index(typed) => ("index", IndexOptions::new(typed, &surroundings).map(Action::Index)),
            Command::Ls(typed) => ("ls", LsOptions::new(typed, &surroundings).map(Action::Ls)),
            Command::Build(typed) => {
                let build = BuildOptions::new(&typed.words, debug, &surroundings);
                ("build", build.map(|build| Action::Build(Box::new(build))))
            }
            Command::Cache(CacheArguments { command: None }) => return Err(arguments::help("cache", program)),
            Command::Cache(CacheArguments { command: Some(typed) }) => {
                (typed.name(), CacheOptions::new(typed).map(Action::Cache))
            }
            Command::Completion(CompletionArguments { shell }) => ("completion", Ok(Action::Completion(shell))),
            Command::Man(ManArguments { folder }) => ("man", Ok(Action::Man(folder))),
            Command::Hook(HookArguments { state }) => {
                let folder = surroundings.engine.docker_config;
                ("hook", Ok(Action::Hook(HookOptions { on: state == HookState::On, folder })))
            }
        };
        let usage = || arguments::usage(name, program);
        Options::of(format!("{program} {name}"), debug, action, usage)
    }

    /// Reads what stands after `copy_binary`.
    pub fn copy_binary(words: &[OsString]) -> Result<Self, Stop> {
        let typed = arguments::parse_copy_binary(words)?;
        let debug = typed.debug;
        let action =
            CopyBinaryOptions::new(typed, &Surroundings::here(debug, EngineOptions::default())).map(Action::CopyBinary);
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

    #[test]
    fn an_unreadable_format_is_wrong_usage() {
        assert!(message("get --format {{.Nope}} alpine /x").contains("Nope"));
        assert!(message("label --format {{.Nope}} alpine /x").contains("Nope"));
    }
}
