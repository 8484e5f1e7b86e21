//! What `docker build` was asked to do: its command line, read as buildx reads it, as far as that decides which files the build needs
//! and what becomes of the result. This program's own flags stand among Docker's, and are taken out. Nothing is looked up here, and
//! what is not understood is passed on word for word.

mod flags;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use self::flags::{Flag, PLAN, PRINT, What};
use super::NotUnderstood;
use crate::plugin::boolean;

/// A command line, with this program's own flags apart from Docker's.
#[derive(Debug)]
pub struct Parsed {
    /// This program's flags.
    pub own: Own,
    /// All other words, as they were typed: what Docker is to be given.
    pub passed_on: Vec<OsString>,
    /// What these words ask of Docker, or why that cannot be known.
    pub understood: Result<CommandLine, NotUnderstood>,
}

/// This program's own flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// `--print`: build nothing, and print this.
    pub print: Option<Print>,
    /// `--leave`: images and stages that are left to BuildKit, as typed.
    pub leave: Vec<String>,
    /// `--keep-owners`: hand over image layouts, which keep owners.
    pub keep_owners: bool,
    /// `--no-label`: label nothing.
    pub no_label: bool,
    /// `--help` or `-h`, which is Docker's as well and stays among its words.
    pub help: bool,
}

/// What is printed instead of building.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Print {
    /// What would run, and why.
    Plan,
    /// The arguments for `docker buildx build`.
    Flags,
    /// A file for `docker buildx bake`, for the target of this name if one was given.
    Bake(Option<String>),
    /// A file for `docker compose`, for the service of this name if one was given.
    Compose(Option<String>),
}

/// What Docker is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// `--file`: where the Dockerfile is, from the working directory; `-` is standard input. `None`: in the build context, under
    /// its usual name.
    pub file: Option<PathBuf>,
    /// The build context.
    pub context: ContextPath,
    /// `--build-arg`, as typed and in order: see [`CommandLine::arguments`] for what counts.
    pub build_arguments: Vec<(String, Option<String>)>,
    /// `--target`: the stage to build.
    pub target: Option<String>,
    /// `--platform`, lists taken apart: see [`CommandLine::platforms`] for what counts.
    pub platforms: Vec<String>,
    /// The names of `--build-context`, as typed.
    pub contexts: Vec<String>,
    /// `--builder`; the empty name, if it was typed, means the builder that is used by default, whatever `BUILDX_BUILDER` says.
    pub builder: Option<String>,
    /// `--metadata-file`: where the build's metadata are to be written.
    pub metadata_file: Option<PathBuf>,
    /// `--iidfile`: where the image's ID is to be written.
    pub iidfile: Option<PathBuf>,
    /// `--push`: the result goes to a registry.
    pub push: bool,
    /// `--load`: the result goes to the engine.
    pub load: bool,
    /// `--output`: where else the result goes, as typed.
    pub outputs: Vec<String>,
    /// `--tag`: the names of the result, as typed.
    pub tags: Vec<String>,
    /// `--label`, in order; the last of a name wins.
    pub labels: Vec<(String, String)>,
    /// `--pull`: no files that are there already are used.
    pub pull: bool,
    /// `--quiet`: Docker prints the image's ID alone.
    pub quiet: bool,
    /// `--debug`.
    pub debug: bool,
    /// `--progress`, as typed.
    pub progress: Option<String>,
    /// Whether nothing is built, as with `--check`, and with any `--call` but `build`.
    pub check_only: bool,
}

/// Where the build context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextPath {
    /// A folder, from the working directory.
    Local(PathBuf),
    /// Something else, as it was typed, and why nothing in it can be known before the build.
    Other(String, NotUnderstood),
}

/// Reads the words that were typed after `build`.
///
/// # Errors
///
/// A flag of this program's own that makes no sense: what is wrong with it.
pub fn parse(words: &[OsString]) -> Result<Parsed, String> {
    let mut own = Own::default();
    let mut passed_on = Vec::new();
    let mut operands = Vec::new();
    let mut settings = Vec::new();
    let mut problem = None;
    for said in flags::read(words) {
        match said.what {
            What::Flags(flags) => {
                // Those of this program have no letters, and so none of Docker's beside them.
                if let [(flag, value)] = flags.as_slice()
                    && own.take(flag, value)?
                {
                    continue;
                }
                // It says nothing, and would hide one before it, such as this program's own.
                let is_nothing = |(flag, value): &(&Flag, &OsStr)| flag.long == "metadata-file" && value.is_empty();
                if flags.iter().all(is_nothing) {
                    continue;
                }
                own.help |= flags.iter().any(|(flag, value)| flag.long == "help" && boolean(value) != Some(false));
                settings.extend(flags);
            }
            What::Operand(operand) => operands.push(operand),
            What::EndOfFlags => {}
            What::Unknown(flag) => {
                problem.get_or_insert_with(|| NotUnderstood(format!("{flag} is not known here")));
            }
            What::NoValue(flag) if flag.is_own => return Err(format!("flag needs an argument: --{}", flag.long)),
            What::NoValue(flag) => {
                problem.get_or_insert_with(|| NotUnderstood(format!("--{} has no value", flag.long)));
            }
        }
        passed_on.extend_from_slice(said.words);
    }
    let understood = match problem {
        Some(problem) => Err(problem),
        None => CommandLine::of(&settings, &operands),
    };
    Ok(Parsed { own, passed_on, understood })
}

impl Own {
    /// Takes a flag if it is this program's, and gives whether it is.
    fn take(&mut self, flag: &Flag, value: &OsStr) -> Result<bool, String> {
        let on = || {
            let problem =
                || format!("invalid argument \"{}\" for \"--{}\": write true or false", value.display(), flag.long);
            boolean(value).ok_or_else(problem)
        };
        match flag.long {
            "keep-owners" => self.keep_owners = on()?,
            "no-label" => self.no_label = on()?,
            "leave" => match value.to_str().filter(|name| !name.is_empty()) {
                Some(name) => self.leave.push(name.to_owned()),
                None => return Err(format!("invalid argument \"{}\" for \"--leave\": name an image", value.display())),
            },
            PRINT => match Print::parse(value) {
                Some(print) => self.print = Some(print),
                // buildx's, such as `outline`.
                None => return Ok(false),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Print {
    fn parse(value: &OsStr) -> Option<Self> {
        let value = value.to_str()?;
        let (kind, name) = match value.split_once(':') {
            Some((kind, name)) => (kind, Some(name.to_owned()).filter(|name| !name.is_empty())),
            None => (value, None),
        };
        match (kind, value == kind) {
            (PLAN, true) => Some(Print::Plan),
            ("flags", true) => Some(Print::Flags),
            ("bake", _) => Some(Print::Bake(name)),
            ("compose", _) => Some(Print::Compose(name)),
            _ => None,
        }
    }
}

impl CommandLine {
    fn of(settings: &[(&Flag, &OsStr)], operands: &[&OsStr]) -> Result<Self, NotUnderstood> {
        let context = match operands {
            [context] => ContextPath::of(context),
            [] => return Err(NotUnderstood("no build context is given".to_owned())),
            [first, second, ..] => {
                let (first, second) = (first.display(), second.display());
                return Err(NotUnderstood(format!("there are two build contexts, {first} and {second}")));
            }
        };
        let mut line = CommandLine {
            file: None,
            context,
            build_arguments: Vec::new(),
            target: None,
            platforms: Vec::new(),
            contexts: Vec::new(),
            builder: None,
            metadata_file: None,
            iidfile: None,
            push: false,
            load: false,
            outputs: Vec::new(),
            tags: Vec::new(),
            labels: Vec::new(),
            pull: false,
            quiet: false,
            debug: false,
            progress: None,
            check_only: false,
        };
        for (flag, value) in settings {
            line.set(flag, value)?;
        }
        Ok(line)
    }

    /// Sets what `flag` says. Those that decide nothing here are not looked at.
    fn set(&mut self, flag: &Flag, value: &OsStr) -> Result<(), NotUnderstood> {
        let name = flag.long;
        let text = || text(format!("--{name}"), value);
        let on = || {
            let problem = || NotUnderstood(format!("--{name}={} is neither true nor false", value.display()));
            boolean(value).ok_or_else(problem)
        };
        let path = || (!value.is_empty()).then(|| PathBuf::from(value));
        match name {
            "file" => self.file = path(),
            "iidfile" => self.iidfile = path(),
            // One without a name is not among Docker's words.
            "metadata-file" => self.metadata_file = path().or(self.metadata_file.take()),
            "build-arg" => self.build_arguments.push(pair(name, text()?)?),
            "label" => {
                let (label, value) = pair(name, text()?)?;
                self.labels.push((label, value.unwrap_or_default()));
            }
            "build-context" => match pair(name, text()?)? {
                (name, Some(_)) => self.contexts.push(name),
                (name, None) => return Err(NotUnderstood(format!("--build-context {name} has no value"))),
            },
            "builder" => self.builder = Some(text()?),
            "output" => self.outputs.push(text()?),
            "platform" => self.platforms.extend(text()?.split(',').map(str::to_owned)),
            "progress" => self.progress = Some(text()?),
            "tag" => self.tags.push(text()?),
            "target" => self.target = Some(text()?).filter(|target| !target.is_empty()),
            // It may allow one image and no other.
            "policy" => return Err(NotUnderstood("a --policy decides which images the build may use".to_owned())),
            "debug" => self.debug = on()?,
            "load" => self.load = on()?,
            "pull" => self.pull = on()?,
            "push" => self.push = on()?,
            "quiet" => self.quiet = on()?,
            // `--check` is a short form of `--call check`, which the opposite does not take back.
            "check" => self.check_only |= on()?,
            "call" | PRINT => self.check_only = !matches!(text()?.as_str(), "" | "build"),
            _ => {}
        }
        if name == "file" && is_url(value) {
            return Err(NotUnderstood(format!("the Dockerfile, {}, is not a local file", value.display())));
        }
        Ok(())
    }

    /// The build arguments that count: the last of a name, and of one without a value what `environment` says, if anything.
    ///
    /// # Errors
    ///
    /// A variable that counts is not UTF-8.
    pub fn arguments(
        &self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<BTreeMap<String, String>, NotUnderstood> {
        let variable =
            |name: &str| environment(name).map(|value| text(format!("the variable {name}"), &value)).transpose();
        let mut arguments = BTreeMap::new();
        for (name, value) in &self.build_arguments {
            let value = match value {
                Some(value) => Some(value.clone()),
                None => variable(name)?,
            };
            // As in buildx, one that is not in the environment takes nothing back.
            if let Some(value) = value {
                arguments.insert(name.clone(), value);
            }
        }
        if !arguments.contains_key(EPOCH)
            && let Some(epoch) = variable(EPOCH)?.filter(|epoch| !epoch.is_empty())
        {
            arguments.insert(EPOCH.to_owned(), epoch);
        }
        Ok(arguments)
    }

    /// The platforms that count: those that were typed, else those of `DOCKER_DEFAULT_PLATFORM`, else none in particular, which is
    /// the builder's own.
    ///
    /// # Errors
    ///
    /// The variable counts, and is not UTF-8.
    pub fn platforms(&self, environment: impl Fn(&str) -> Option<OsString>) -> Result<Vec<String>, NotUnderstood> {
        if !self.platforms.is_empty() {
            return Ok(self.platforms.clone());
        }
        let Some(default) = environment(DEFAULT_PLATFORM).filter(|default| !default.is_empty()) else {
            return Ok(Vec::new());
        };
        Ok(text(format!("the variable {DEFAULT_PLATFORM}"), &default)?.split(',').map(str::to_owned).collect())
    }

    /// Whether Docker shows no progress and prints the ID of the result, as `environment` may say as well.
    pub fn prints_id(&self, environment: impl Fn(&str) -> Option<OsString>) -> bool {
        let is_quiet = match &self.progress {
            Some(typed) => typed == QUIET,
            None => environment(PROGRESS).is_some_and(|value| value == QUIET),
        };
        self.quiet || is_quiet
    }

    /// The folder of the build context.
    ///
    /// # Errors
    ///
    /// It is not a folder of this machine.
    pub fn folder(&self) -> Result<&Path, NotUnderstood> {
        match &self.context {
            ContextPath::Local(folder) => Ok(folder),
            ContextPath::Other(_, why) => Err(why.clone()),
        }
    }
}

/// A build argument that buildx adds by itself.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The variable that stands for `--progress`, and the value that is as much as `--quiet`.
const PROGRESS: &str = "BUILDKIT_PROGRESS";
const QUIET: &str = "quiet";

/// The variable that stands for `--platform`.
const DEFAULT_PLATFORM: &str = "DOCKER_DEFAULT_PLATFORM";

impl ContextPath {
    /// Tells a folder from what BuildKit fetches by itself. As buildx prefers a folder that is there to an address, what looks like
    /// an address may still be a folder; then it is not looked into, which costs no more than the build itself.
    fn of(typed: &OsStr) -> Self {
        let shown = || typed.display().to_string();
        let other = |why: &str| ContextPath::Other(shown(), NotUnderstood(why.to_owned()));
        // `ssh://`, `docker-image://`, `oci-layout://` and the like.
        let scheme = typed.to_str().and_then(|text| text.split_once("://")).map(|(scheme, _)| scheme);
        let bytes = typed.as_bytes();
        match scheme {
            _ if bytes.is_empty() => other("no build context is given"),
            _ if bytes == b"-" => other("its context, or its Dockerfile, comes on standard input"),
            Some(scheme) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
                other(&format!("its context, {}, is not a folder", shown()))
            }
            _ if bytes.starts_with(b"github.com/") || is_scp_like(bytes) => {
                other(&format!("its context, {}, is a Git repository", shown()))
            }
            _ => ContextPath::Local(PathBuf::from(typed)),
        }
    }
}

/// Whether this is an address as scp has it, such as `git@host:path` (moby/buildkit, `util/sshutil/scpurl.go`): what stands before the
/// colon has no slash. `target:…` of a bake file looks the same.
fn is_scp_like(typed: &[u8]) -> bool {
    let Some(colon) = typed.iter().position(|byte| *byte == b':') else { return false };
    let host = typed[..colon].rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    !host.is_empty() && typed[..colon].iter().all(|byte| byte.is_ascii_alphanumeric() || b"@_-.".contains(byte))
}

/// Whether a Dockerfile of this name is fetched by BuildKit.
fn is_url(file: &OsStr) -> bool {
    let file = file.as_bytes();
    file.starts_with(b"https://") || file.starts_with(b"http://")
}

/// `NAME=VALUE` or `NAME`, of the flag of this name.
fn pair(flag: &str, text: String) -> Result<(String, Option<String>), NotUnderstood> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(NotUnderstood(format!("a --{flag} has no name")));
    }
    Ok((name, value))
}

/// A value as text. Messages call it `what`.
fn text(what: String, value: &OsStr) -> Result<String, NotUnderstood> {
    value.to_str().map(str::to_owned).ok_or_else(|| NotUnderstood(format!("the value of {what} is not UTF-8")))
}

#[cfg(test)]
mod tests;
