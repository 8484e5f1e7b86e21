//! What counts besides what was typed: variables, the terminal.

use std::ffi::OsString;
use std::io::{IsTerminal as _, stderr};

use super::problem::Problem;
use crate::cli::arguments::ProgressMode;
use crate::cli::progress::DisplayMode;
use crate::image::platform::Choice;
use crate::source::engine::EngineOptions;

/// What counts besides what was typed.
pub(super) struct Surroundings {
    default_platform: Option<OsString>,
    /// Whether standard error is a terminal.
    terminal: bool,
    /// Whether bars would stay whole there: log lines tear them, and so does a terminal that cannot move its cursor.
    undisturbed: bool,
    /// Which engine is meant, and the folder of Docker's `config.json`, where one was named.
    pub(super) engine: EngineOptions,
}

impl Surroundings {
    pub(super) fn here(debug: bool, engine: EngineOptions) -> Self {
        let smart = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Surroundings {
            default_platform: std::env::var_os("DOCKER_DEFAULT_PLATFORM"),
            terminal: stderr().is_terminal(),
            undisturbed: smart && !debug,
            engine,
        }
    }

    pub(super) fn display_mode(&self, progress: ProgressMode, quiet: bool) -> DisplayMode {
        match progress {
            _ if quiet => DisplayMode::Quiet,
            ProgressMode::None => DisplayMode::Notices,
            ProgressMode::Auto if self.terminal && self.undisturbed => DisplayMode::Bars,
            ProgressMode::Tty if self.terminal => DisplayMode::Bars,
            ProgressMode::Auto | ProgressMode::Tty | ProgressMode::Plain => DisplayMode::Lines,
        }
    }

    /// The platform that was typed, else Docker's `DOCKER_DEFAULT_PLATFORM` (empty is unset), else none in particular.
    pub(super) fn platform(&self, typed: Option<String>) -> Result<Choice, Problem> {
        let default = self.default_platform.as_deref();
        let (from, text) = match (typed, default.filter(|default| !default.is_empty())) {
            (Some(typed), _) => ("--platform", typed),
            (None, Some(default)) => ("DOCKER_DEFAULT_PLATFORM", default.to_string_lossy().into_owned()),
            (None, None) => return Ok(Choice::Host),
        };
        text.parse().map(Choice::Asked).map_err(|invalid| Problem::Other(format!("{from}: {invalid}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(default_platform: Option<&str>, terminal: bool, undisturbed: bool) -> Surroundings {
        let default_platform = default_platform.map(OsString::from);
        Surroundings { default_platform, terminal, undisturbed, engine: EngineOptions::default() }
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
        let typed = platform(Some("vax"), None).unwrap_err().message("");
        assert!(typed.starts_with("--platform: \"vax\" is not a platform"), "{typed}");
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
}
