//! What a person types and sees: arguments, help, progress, tables, errors, and the exit code.
//!
//! clap's types stay in this folder. [`run`] is the whole way: arguments become [`options`], the library does the work,
//! and whatever failed becomes one line and one [`Exit`].

pub(crate) mod access;
pub mod arguments;
mod build;
mod cache;
mod columns;
pub mod completion;
mod copy_binary;
pub mod exit;
mod failure;
mod file_mode;
mod file_row;
pub mod format;
mod get;
mod help;
mod hook;
mod index;
mod label;
pub(crate) mod local_cache;
mod ls;
mod manual;
mod metadata_file;
pub mod options;
mod output;
mod paint;
pub mod progress;
mod running;
pub mod sanitize;
pub mod time_style;
mod timestamp;
mod tree;

use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use exit::Exit;
use failure::{Failure, causes};
use options::{Action, Options};
use output::{complain, write_out};
use progress::{Display, DisplayMode};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::build::temporary;
use crate::cache as kept;
use crate::extract;
use crate::plugin::{self, Invocation};
use crate::source::engine;

/// Runs a command, reports how it went, and gives the exit code.
pub fn run(invocation: Invocation) -> Exit {
    carry_out(Options::parse(invocation))
}

/// Runs `copy_binary`, of which `words` were typed after its name.
pub fn copy_binary(words: &[OsString]) -> Exit {
    carry_out(Options::copy_binary(words))
}

fn carry_out(options: Result<Options, arguments::Stop>) -> Exit {
    let options = match options {
        Ok(options) => options,
        Err(arguments::Stop::Print(text)) => return print(&text),
        Err(arguments::Stop::Usage(error)) => return misused(&error),
    };
    if options.debug {
        log();
    }
    let Options { command, debug, action } = options;
    let command = (command.as_str(), debug);
    match action {
        Action::Get(get) => perform(command, get.display, |display| done(get::run(get, display))),
        Action::Label(label) => perform(command, label.display, |display| done(label::run(label, display))),
        Action::Index(index) => perform(command, index.display, |display| done(index::run(index, display))),
        Action::Ls(ls) => perform(command, ls.display, |display| done(ls::run(ls, display))),
        Action::Build(build) => perform(command, build.display, |display| build::run(*build, display)),
        Action::Cache(cache) => perform(command, DisplayMode::Notices, |display| done(cache::run(cache, display))),
        Action::Hook(hook) => perform(command, DisplayMode::Notices, |_| done(hook::run(hook))),
        Action::Completion(shell) => print(completion::script::script(shell)),
        Action::Man(folder) => perform(command, DisplayMode::Notices, |_| done(manual::write(folder))),
        Action::CopyBinary(copy) => perform(command, copy.display, |display| done(copy_binary::run(copy, display))),
    }
}

/// Runs the command of this name, with a display.
fn perform<F: Future<Output = Result<Exit, Failure>>>(
    (command, debug): (&str, bool),
    mode: DisplayMode,
    run: impl FnOnce(Arc<Display>) -> F,
) -> Exit {
    let display = Arc::new(Display::new(mode));
    match work(display.clone(), run(display.clone())) {
        Ok(exit) => exit,
        Err(failure) => {
            display.clear();
            if !failure.is_broken_pipe() {
                report(command, &failure, debug);
            }
            failure.exit()
        }
    }
}

/// Nothing but success is left to tell of a command that has ended without a failure.
async fn done(command: impl Future<Output = Result<(), Failure>>) -> Result<Exit, Failure> {
    command.await.map(|()| Exit::Done)
}

/// Does the work until it is done, or until the program is asked to stop, which ends it at once, except while another program runs
/// in its place: that one is asked then, and waited for. Whatever is half-written is gone in either case.
fn work(display: Arc<Display>, command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let stopping = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stopping);
    plugin::on_stop(move |why| {
        if running::pass_on(why) {
            return;
        }
        told.store(true, Ordering::SeqCst);
        extract::discard_all();
        temporary::discard_all();
        kept::discard_all();
        display.clear();
        engine::discard_all();
        std::process::exit(Exit::from(why).code().into());
    })
    .map_err(Failure::Start)?;
    // One worker: what it does costs a fraction of the decoding, and two would wake each other for every piece.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(Failure::Start)?;
    let outcome = runtime.block_on(command);
    // A thread may still wait for bytes that nobody wants any more.
    runtime.shutdown_background();
    if outcome.is_err() {
        // Work whose ground was taken away fails, which is no news: the thread that took it ends the program.
        while stopping.load(Ordering::SeqCst) {
            std::thread::park();
        }
        engine::discard_all();
    }
    // Also where all went well, the reading of a layer that turned out not to matter may not have noticed yet.
    extract::discard_all();
    outcome
}

/// Logs what is going on to standard error: this crate's own doings, and others' only where something is amiss, for
/// what they tell at lower levels may hold a secret.
fn log() {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false).without_time();
    let targets = Targets::new().with_default(LevelFilter::WARN).with_target("docker_artifact", LevelFilter::DEBUG);
    tracing_subscriber::registry().with(layer).with(targets).init();
}

/// One line for whoever typed `command`; with `debug`, the causes below it.
fn report(command: &str, failure: &Failure, debug: bool) {
    let mut text = format!("{command}: {}\n", sanitize::for_terminal(failure.to_string()));
    if debug {
        for cause in causes(failure) {
            text.push_str(&format!("  caused by: {}\n", sanitize::for_terminal(cause.to_string())));
        }
    }
    complain(&text);
}

fn misused(error: &arguments::UsageError) -> Exit {
    let mut text = format!("{}: {}\n", error.command, sanitize::for_terminal(&error.message));
    if let Some(usage) = &error.usage {
        text.push_str(&format!("\nUsage:  {usage}\n"));
    }
    text.push_str(&format!("\nRun '{} --help' for more information\n", error.command));
    complain(&text);
    Exit::Usage
}

/// Says that `program` cannot be used so.
pub fn refuse(program: &str, message: &str) -> Exit {
    complain(&format!("{program}: {}\n", sanitize::for_terminal(message)));
    Exit::Usage
}

/// Prints what was asked for.
pub fn print(text: &str) -> Exit {
    match write_out(text).map_err(Failure::Output) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if !failure.is_broken_pipe() {
                report("docker-artifact", &failure, false);
            }
            failure.exit()
        }
    }
}
