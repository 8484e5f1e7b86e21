//! What a shell may offer next: answers to the completion requests of Docker and of our own scripts.
//!
//! `line` says what the word under the cursor is, `image` and `machine` look for what it may become, `candidates` tells the shell. It
//! all takes `limit` at most, says nothing where something fails, starts no program, and changes nothing on this machine.

mod candidates;
mod image;
mod line;
mod machine;
pub mod script;

use std::ffi::OsStr;
use std::future::Future;
use std::time::Duration;

use clap::{Arg, Command, ValueHint};

use self::candidates::{Asking, Candidates};
use self::image::ImageOfLine;
use self::line::{Cursor, Line};
use self::machine::Machine;
use super::access::split_path;
use super::{arguments, help};
use crate::plugin::Unfinished;
use crate::source::engine::EngineOptions;

/// The variable that says how many seconds an answer may take.
pub const TIMEOUT_VARIABLE: &str = "DOCKER_ARTIFACT_COMPLETION_TIMEOUT";

/// So long an answer may take, where nobody has said. Somebody is waiting, and may only have wanted the name of a file.
const TIMEOUT: Duration = Duration::from_secs(2);

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

/// The styles of `ls --time-style`.
const TIME_STYLES: &[&str] = &["full-iso", "iso", "locale", "long-iso", "utc"];

/// What `build --print` may print.
const PRINTED: &[&str] = &["bake", "compose", "flags", "plan"];

/// The answer for this command line.
pub fn answer(unfinished: Unfinished) -> String {
    let Unfinished { invocation, is_copy_binary, describe } = unfinished;
    let root = if is_copy_binary { arguments::copy_binary() } else { arguments::command(invocation.program()) };
    let asking = if invocation.by_docker { Asking::Docker } else { Asking::OwnScript };
    let engine = EngineOptions { unattended: true, ..invocation.globals.engine };
    let line = Line::read(&root, &invocation.words);
    Answer { line: &line, engine, asking }.candidates().to_text(describe)
}

/// An answer that is being looked for.
struct Answer<'a> {
    line: &'a Line<'a>,
    engine: EngineOptions,
    asking: Asking,
}

impl Answer<'_> {
    fn candidates(&self) -> Candidates {
        match self.line.cursor {
            Cursor::Command(typed) => Candidates::known(commands(self.line.command), typed),
            Cursor::Flag(typed) => Candidates::known(flags(self.line.command), typed),
            Cursor::Value(flag, typed) => self.value(flag, typed),
            Cursor::Operand(typed) => self.operand(typed),
            Cursor::Nothing => Candidates::default(),
        }
    }

    fn value(&self, flag: &Arg, typed: &str) -> Candidates {
        let command = self.line.command.get_name();
        match flag.get_id().as_str() {
            "platform" => several(PLATFORMS, flag, typed),
            "format" => known(&["json", "table"], typed),
            "time_style" => known(TIME_STYLES, typed),
            "print" => known(PRINTED, typed),
            "config" => Candidates::files(),
            "from" | "leave" => self.images(typed),
            "remove" => self.within(|image| async move { image.names(typed).await }),
            "layer" => self.within(|image| async move { image.layers(typed).await }),
            "created_by" if command == "get" => self.within(|image| async move { image.steps(typed).await }),
            _ if flag.get_value_hint() == ValueHint::AnyPath => Candidates::files(),
            _ => Candidates::known(possible(flag), typed),
        }
    }

    fn operand(&self, typed: &str) -> Candidates {
        let Line { command, operands, .. } = self.line;
        match (command.get_name(), &**operands) {
            ("get", []) => match split_path(typed.as_ref()) {
                Some((image, _)) => self.path_of(image, typed),
                None => self.images(typed).or_files(),
            },
            // IMAGE:PATH again, or DEST.
            ("get", [first, ..]) if split_path(first).is_some() => match split_path(typed.as_ref()) {
                Some((image, _)) if !typed.starts_with(['/', '.']) => self.path_of(image, typed),
                _ => Candidates::files(),
            },
            ("label", _) if self.line.has("metadata_file") => Candidates::default(),
            ("ls" | "label", []) => self.images(typed).or_files(),
            ("index", []) => self.images(typed),
            ("get" | "ls", [_, ..]) | ("copy_binary", []) => {
                self.within(|image| async move { image.names_or_paths(typed).await })
            }
            ("label", [_, ..]) => match typed.split_once('=').filter(|(name, _)| !name.contains('/')) {
                Some((name, path)) => {
                    let paths = self.within(|image| async move { image.paths(path).await });
                    paths.behind(&format!("{name}="))
                }
                None => self.within(|image| async move { image.names_or_paths(typed).await }),
            },
            ("copy_binary", [_]) | ("build", _) | ("man", []) => Candidates::files(),
            ("rm", _) => Machine::new(self.engine.clone()).kept(typed),
            _ => {
                let operand = command.get_positionals().next().filter(|_| operands.is_empty());
                operand.map_or_else(Candidates::default, |operand| Candidates::known(possible(operand), typed))
            }
        }
    }

    /// The images of the engine that go on from what is `typed`.
    fn images(&self, typed: &str) -> Candidates {
        let machine = Machine::new(self.engine.clone());
        // What asks for an image of a registry takes no other one.
        let is_anywhere = matches!(self.line.command.get_name(), "get" | "ls" | "label");
        let (prefix, name) = match typed.strip_prefix("local://").filter(|_| is_anywhere) {
            Some(name) => ("local://", name),
            None => ("", typed),
        };
        if name.starts_with(['/', '.']) {
            return Candidates::default();
        }
        let names = within_limit(machine.images()).unwrap_or_default();
        let names = names.into_iter().map(|name| (name, String::new()));
        Candidates::foreign(names, name, self.asking).behind(prefix)
    }

    /// What is found in the image on the line, from what is typed in the word under the cursor.
    fn within<F>(&self, find: impl FnOnce(ImageOfLine) -> F) -> Candidates
    where
        F: Future<Output = Option<Candidates>>,
    {
        let image = match self.line.command.get_name() {
            "copy_binary" => self.line.value("from"),
            _ => self.line.operands.first(),
        };
        let image = image.map(|image| split_path(image).map_or(image.as_os_str(), |(image, _)| image));
        self.in_image(image, find)
    }

    /// What goes on from `typed`, which is a path behind `image` and a colon.
    fn path_of(&self, image: &OsStr, typed: &str) -> Candidates {
        let Some((before, path)) = typed.split_at_checked(image.len() + 1) else { return Candidates::default() };
        self.in_image(Some(image), |image| async move { image.paths(path).await }).behind(before)
    }

    fn in_image<F>(&self, image: Option<&OsStr>, find: impl FnOnce(ImageOfLine) -> F) -> Candidates
    where
        F: Future<Output = Option<Candidates>>,
    {
        let image = image.and_then(|image| ImageOfLine::new(image, self.line, self.engine.clone(), self.asking));
        image.and_then(|image| within_limit(find(image))).unwrap_or_default()
    }
}

/// Waits for what is looked for as long as an answer may take; `None` where it is not found by then.
fn within_limit<T>(looked_for: impl Future<Output = Option<T>>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().ok()?;
    let found = runtime.block_on(async { tokio::time::timeout(limit(), looked_for).await });
    // What a thread still waits for is of no use any more.
    runtime.shutdown_background();
    found.ok().flatten()
}

/// How long an answer may take.
fn limit() -> Duration {
    let said = std::env::var(TIMEOUT_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    said.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(TIMEOUT)
}

fn known(values: &[&str], typed: &str) -> Candidates {
    Candidates::known(values.iter().map(|value| ((*value).to_owned(), String::new())), typed)
}

/// Values of `flag`, which may be several with commas between them: what is typed goes on behind the last one.
fn several(values: &[&str], flag: &Arg, typed: &str) -> Candidates {
    match typed.rsplit_once(',').filter(|_| flag.get_value_delimiter().is_some()) {
        Some((before, last)) => known(values, last).behind(&format!("{before},")),
        None => known(values, typed),
    }
}

fn commands(command: &Command) -> impl Iterator<Item = (String, String)> {
    help::visible_subcommands(command)
        .map(|sub| (sub.get_name().to_owned(), sub.get_about().map(ToString::to_string).unwrap_or_default()))
}

fn flags(command: &Command) -> impl Iterator<Item = (String, String)> {
    help::flags(command).map(|flag| {
        let about = flag.get_help().map(ToString::to_string).unwrap_or_default();
        (format!("--{}", flag.get_long().unwrap_or_default()), about)
    })
}

fn possible(arg: &Arg) -> impl Iterator<Item = (String, String)> + use<> {
    arg.get_possible_values().into_iter().map(|value| (value.get_name().to_owned(), String::new()))
}

#[cfg(test)]
mod tests;
