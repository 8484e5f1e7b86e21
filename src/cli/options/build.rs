//! The options of `docker artifact build`.

use std::ffi::OsString;

use super::problem::Problem;
use super::surroundings::Surroundings;
use crate::build::NotUnderstood;
use crate::build::command_line::{self, CommandLine, Own, Parsed};
use crate::cli::access::Access;
use crate::cli::arguments::{ProgressMode, RegistryArguments};
use crate::cli::local_cache::LocalCache;
use crate::cli::progress::DisplayMode;
use crate::source::engine::EngineOptions;

/// The options of `build`.
#[derive(Debug)]
pub struct BuildOptions {
    /// This program's own flags.
    pub own: Own,
    /// What Docker is given.
    pub words: Vec<OsString>,
    /// What these words ask for, or why nobody here knows.
    pub understood: Result<CommandLine, NotUnderstood>,
    /// What is shown while files are fetched.
    pub display: DisplayMode,
    /// How to reach registries and the engine.
    pub access: Access,
    /// Which engine is meant, for Docker.
    pub engine: EngineOptions,
    /// Whether Docker is to tell more.
    pub debug: bool,
}

impl BuildOptions {
    /// Reads the words after `build`.
    pub(super) fn new(words: &[OsString], debug: bool, surroundings: &Surroundings) -> Result<Self, Problem> {
        let Parsed { own, passed_on, understood } = command_line::parse(words).map_err(Problem::Other)?;
        let (progress, quiet) = match &understood {
            // Whoever reads JSON from standard error reads nothing else there.
            Ok(line) => {
                let is_json = line.progress.as_deref() == Some("rawjson");
                (progress(line), is_json || line.prints_id(|name| std::env::var_os(name)))
            }
            Err(_) => (ProgressMode::Auto, false),
        };
        let typed = RegistryArguments { plain_http: false, insecure: false };
        Ok(BuildOptions {
            display: surroundings.display_mode(progress, quiet),
            access: Access::new(typed, surroundings.engine.clone(), LocalCache::new(true)),
            engine: surroundings.engine.clone(),
            own,
            words: passed_on,
            understood,
            debug,
        })
    }
}

/// How progress is shown here where BuildKit is to show it so.
fn progress(line: &CommandLine) -> ProgressMode {
    match line.progress.as_deref() {
        Some("plain") => ProgressMode::Plain,
        Some("tty") => ProgressMode::Tty,
        _ => ProgressMode::Auto,
    }
}
