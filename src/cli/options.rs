//! What the program works with: the arguments read, checked and freed of clap.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;

use super::arguments::{self, Arguments, Command, GetArguments, ProgressMode, Stop, UsageError};
use super::format::Format;
use crate::extract::Destination;
use crate::image::platform::Platform;
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
}

/// The options of `get`.
#[derive(Debug)]
pub struct GetOptions {
    /// Where the image is.
    pub image: Location,
    /// What to get: paths or globs inside the image, as raw bytes.
    pub paths: Vec<Vec<u8>>,
    /// The platform whose image is meant.
    pub platform: Platform,
    /// Where to put it, as typed.
    pub output: Option<OsString>,
    /// Whether a symbolic link named by a path is followed.
    pub dereference: bool,
    /// Whether layers are read to their end and checked.
    pub verify: bool,
    /// Whether ownership and setuid bits are kept.
    pub preserve: bool,
    /// What is shown while it goes on.
    pub display: DisplayMode,
    /// How to print what was written; `None` prints nothing.
    pub format: Option<Format>,
    /// How to reach the registry.
    pub access: Access,
}

/// How to reach a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// HTTP without TLS.
    pub plain_http: bool,
    /// TLS without checking the certificate.
    pub insecure: bool,
    /// The folder of Docker's `config.json`, where one was named.
    pub docker_config: Option<PathBuf>,
}

/// Where an image is, by Docker's own prefixes. Each place that images can be got from is one variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `registry://REF`, or no prefix.
    Registry(String),
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
        match command {
            Some(Command::Get(get)) => {
                let command = format!("{program} get");
                let default_platform = std::env::var_os("DOCKER_DEFAULT_PLATFORM");
                let smart = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
                let surroundings =
                    Surroundings { default_platform, terminal: stderr().is_terminal(), undisturbed: smart && !debug };
                let mut get = GetOptions::new(get, &surroundings).map_err(|problem| {
                    let usage = matches!(problem, Problem::Operands).then(|| arguments::usage("get", program));
                    Stop::Usage(UsageError { message: problem.message(&command), command: command.clone(), usage })
                })?;
                get.access.docker_config = invocation.globals.config;
                Ok(Options { command, debug, action: Action::Get(get) })
            }
            None => Err(Stop::Print(String::new())),
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
}

/// What is wrong with the arguments of `get`.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Operands,
    Other(String),
}

impl Problem {
    fn message(self, command: &str) -> String {
        match self {
            Problem::Operands => format!("'{command}' requires an IMAGE and at least one PATH"),
            Problem::Other(message) => message,
        }
    }
}

impl GetOptions {
    fn new(typed: GetArguments, surroundings: &Surroundings) -> Result<Self, Problem> {
        let display = display_mode(&typed, surroundings);
        let mut operands = typed.operands.into_iter();
        let image = operands.next().ok_or(Problem::Operands)?;
        let paths: Vec<Vec<u8>> = operands.map(OsString::into_encoded_bytes).collect();
        if paths.is_empty() {
            return Err(Problem::Operands);
        }
        if paths.iter().any(Vec::is_empty) {
            return Err(Problem::Other("a PATH is empty; write / for the whole image".to_owned()));
        }
        if is_stdout(typed.output.as_deref()) && typed.format.is_some() {
            let problem = "--format prints to standard output, which --output - gives to the content; use one of them";
            return Err(Problem::Other(problem.to_owned()));
        }
        if typed.output.as_ref().is_some_and(|output| output.is_empty()) {
            return Err(Problem::Other("--output is empty; write . for the current directory".to_owned()));
        }
        Ok(GetOptions {
            image: Location::parse(&image).map_err(Problem::Other)?,
            paths,
            platform: platform(typed.platform, surroundings.default_platform.as_deref()).map_err(Problem::Other)?,
            output: typed.output,
            dereference: !typed.no_dereference,
            verify: !typed.no_verify,
            preserve: typed.preserve,
            display,
            format: typed
                .format
                .as_deref()
                .map(Format::parse)
                .transpose()
                .map_err(|invalid| Problem::Other(invalid.to_string()))?,
            access: Access { plain_http: typed.plain_http, insecure: typed.insecure, docker_config: None },
        })
    }

    /// Whether the content goes to standard output.
    pub fn to_stdout(&self) -> bool {
        is_stdout(self.output.as_deref())
    }
}

fn is_stdout(output: Option<&OsStr>) -> bool {
    matches!(Destination::parse(output), Ok(Destination::Stdout))
}

fn display_mode(typed: &GetArguments, surroundings: &Surroundings) -> DisplayMode {
    match typed.progress {
        _ if typed.quiet => DisplayMode::Quiet,
        ProgressMode::None => DisplayMode::Notices,
        ProgressMode::Auto if surroundings.terminal && surroundings.undisturbed => DisplayMode::Bars,
        ProgressMode::Tty if surroundings.terminal => DisplayMode::Bars,
        ProgressMode::Auto | ProgressMode::Tty | ProgressMode::Plain => DisplayMode::Lines,
    }
}

/// The platform that was typed, else Docker's `DOCKER_DEFAULT_PLATFORM` (empty is unset), else the host's.
fn platform(typed: Option<String>, default: Option<&OsStr>) -> Result<Platform, String> {
    let (from, text) = match (typed, default.filter(|default| !default.is_empty())) {
        (Some(typed), _) => ("--platform", typed),
        (None, Some(default)) => ("DOCKER_DEFAULT_PLATFORM", default.to_string_lossy().into_owned()),
        (None, None) => return Ok(Platform::host()),
    };
    text.parse().map_err(|invalid| format!("{from}: {invalid}"))
}

impl Location {
    /// Reads an IMAGE.
    fn parse(typed: &OsStr) -> Result<Self, String> {
        let text = typed.to_str().ok_or_else(|| format!("\"{}\" is not an image reference", typed.display()))?;
        let (prefix, rest) = match text.split_once("://") {
            Some((prefix, rest)) => (Some(prefix), rest),
            None => (None, text),
        };
        match prefix {
            None | Some("registry") if rest.is_empty() => {
                Err("IMAGE is empty; write a reference such as debian:12".to_owned())
            }
            None | Some("registry") => Ok(Location::Registry(rest.to_owned())),
            Some("local" | "archive" | "oci-dir") => Err(format!(
                "\"{text}\": images at {}:// are not supported yet; use one in a registry",
                prefix.unwrap_or_default()
            )),
            Some("http" | "https" | "docker") => Err(format!(
                "\"{text}\" is not an image reference; leave out the \"{}://\"",
                prefix.unwrap_or_default()
            )),
            Some(_) => {
                Err(format!("\"{text}\" is not an image reference; write registry://REFERENCE, or REFERENCE alone"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::plugin::Call;

    fn options(line: &[&[u8]]) -> Result<GetOptions, UsageError> {
        let words = [b"docker-artifact".as_slice(), b"artifact", b"get"].into_iter().chain(line.iter().copied());
        let Ok(Call::Command(invocation)) = Call::parse(words.map(|word| OsString::from_vec(word.to_vec()))) else {
            panic!("a command")
        };
        match Options::parse(invocation) {
            Ok(Options { action: Action::Get(get), .. }) => Ok(get),
            Err(Stop::Usage(error)) => Err(error),
            Err(Stop::Print(text)) => panic!("{text}"),
        }
    }

    fn message(line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        options(&words).unwrap_err().message
    }

    #[test]
    fn paths_arrive_as_raw_bytes() {
        let get = options(&[b"alpine", b"/caf\xe9", b"--", b"-x"]).unwrap();
        assert_eq!(get.image, Location::Registry("alpine".into()));
        assert_eq!(get.paths, [b"/caf\xe9".to_vec(), b"-x".to_vec()]);
        assert!(get.verify && get.dereference && !get.preserve);
    }

    #[test]
    fn an_image_and_a_path_are_needed() {
        for line in [&[][..], &[b"alpine".as_slice()]] {
            let error = options(line).unwrap_err();
            assert_eq!(error.message, "'docker artifact get' requires an IMAGE and at least one PATH");
            assert!(error.usage.is_some());
        }
        assert!(options(&[b"alpine", b""]).unwrap_err().message.contains("PATH is empty"));
    }

    #[test]
    fn the_registry_prefix_is_taken_off_and_other_places_are_not_built_yet() {
        assert_eq!(Location::parse("registry://a/b:c".as_ref()), Ok(Location::Registry("a/b:c".into())));
        for image in ["local://alpine", "archive://image.tar", "oci-dir://layout:tag"] {
            assert!(message(&format!("{image} /x")).contains("not supported yet"), "{image}");
        }
        assert!(message("https://ghcr.io/a/b /x").contains("leave out the \"https://\""));
        assert!(message("registry:// /x").contains("IMAGE is empty"));
    }

    #[test]
    fn the_platform_is_the_typed_one_then_dockers_then_the_hosts() {
        let default = Some(OsStr::new("linux/s390x"));
        assert_eq!(platform(Some("linux/arm/v7".into()), default).unwrap().to_string(), "linux/arm/v7");
        assert_eq!(platform(None, default).unwrap().to_string(), "linux/s390x");
        assert_eq!(platform(None, Some(OsStr::new(""))).unwrap(), Platform::host());
        assert_eq!(platform(None, None).unwrap(), Platform::host());
        assert!(platform(None, Some(OsStr::new("vax"))).unwrap_err().starts_with("DOCKER_DEFAULT_PLATFORM: "));
        assert!(message("--platform vax alpine /x").starts_with("--platform: \"vax\" is not a platform"));
    }

    #[test]
    fn standard_output_serves_one_purpose() {
        assert!(message("-o - --format json alpine /x").contains("use one of them"));
        assert!(options(&[b"-o", b"-", b"alpine", b"/x"]).unwrap().to_stdout());
        assert!(!options(&[b"-o", b"./-", b"alpine", b"/x"]).unwrap().to_stdout());
    }

    #[test]
    fn bars_are_for_terminals_and_quiet_wins() {
        let mode = |progress, quiet, terminal, undisturbed| {
            let words = ["get", "alpine", "/x"].map(OsString::from);
            let Ok(Arguments { command: Some(Command::Get(get)), .. }) = arguments::parse(&words, "docker artifact")
            else {
                panic!("arguments")
            };
            let surroundings = Surroundings { default_platform: None, terminal, undisturbed };
            display_mode(&GetArguments { progress, quiet, ..get }, &surroundings)
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
        assert!(message("--format {{.Nope}} alpine /x").contains("Nope"));
    }
}
