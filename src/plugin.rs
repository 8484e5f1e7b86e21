//! Docker's contract with its CLI plugins: the handshake, the global flags before the plugin's name, completion
//! requests, and being told to stop. It decides what is being asked; answering is up to [`cli`](crate::cli).
//!
//! Docker runs `docker-artifact` with its own arguments unchanged: `docker -D artifact get …` arrives as `docker-artifact
//! -D artifact get …`. Without the word `artifact` the program was started by its own name, and works the same.
//! Spec: docker/cli, `cli-plugins/metadata`, `cli-plugins/manager` and `cli-plugins/socket`.

pub mod hook;
pub mod hook_switch;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::thread;

use futures_util::future::{BoxFuture, select_all};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::source::engine::endpoint::EngineOptions;

/// The answer to the handshake, but for the version, which is the crate's.
const METADATA: &str = include_str!("../plugin-metadata/metadata.json");

/// Names the socket whose end of file means that Docker wants the plugin to stop.
pub const SOCKET_VARIABLE: &str = "DOCKER_CLI_PLUGIN_SOCKET";

/// What the program was started for.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// The handshake: print [`metadata`] and nothing else.
    Metadata,
    /// The shell asks, perhaps through Docker, how the last of the words may go on.
    Complete(Unfinished),
    /// A command of Docker's has run: print what there is to say ([`hook::answer`]).
    Hook(OsString),
    /// A command to run.
    Command(Invocation),
    /// Started under the name `copy_binary`, with these words after it.
    CopyBinary(Vec<OsString>),
}

/// A command line, with what is Docker's taken off.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The flags that stood before the command and concern this program.
    pub globals: Globals,
    /// Whether Docker started the program, so that a person types `docker artifact` and not `docker-artifact`.
    pub by_docker: bool,
    /// The command and what belongs to it.
    pub words: Vec<OsString>,
}

/// A command line that ends in the word under the cursor.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The command line. That word is the last of its words.
    pub invocation: Invocation,
    /// Whether it is `copy_binary` that is to be run.
    pub is_copy_binary: bool,
    /// Whether candidates come with a description.
    pub describe: bool,
}

/// What Docker's global flags say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// Which engine is meant, and with `--config` the folder of Docker's `config.json`.
    pub engine: EngineOptions,
    /// `--debug`, or `--log-level debug`.
    pub debug: bool,
}

/// A global flag that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlobal {
    /// The flag stands last, and its value is not there.
    #[error("flag needs an argument: {0}")]
    NoValue(String),
    /// A flag that is on or off was given something else.
    #[error("invalid argument \"{}\" for \"{flag}\": write true or false", .value.escape_debug())]
    NotBoolean {
        /// The flag, with its dashes.
        flag: String,
        /// What was typed.
        value: String,
    },
    /// The engine's address or a context's name is not UTF-8, as no such thing is.
    #[error("invalid argument \"{value}\" for \"{flag}\": it is not UTF-8")]
    NotText {
        /// The flag, with its dashes.
        flag: String,
        /// What was typed, as far as it can be shown.
        value: String,
    },
    /// Both say which engine is meant.
    #[error("conflicting options: {0}")]
    Conflict(&'static str),
}

/// One of Docker's global flags (docker/cli, `cli/flags/options.go`).
struct GlobalFlag {
    long: &'static str,
    short: Option<u8>,
    takes_value: bool,
}

const fn flag(long: &'static str, short: Option<u8>, takes_value: bool) -> GlobalFlag {
    GlobalFlag { long, short, takes_value }
}

const GLOBAL_FLAGS: &[GlobalFlag] = &[
    flag("config", None, true),
    flag("context", Some(b'c'), true),
    flag("debug", Some(b'D'), false),
    flag("host", Some(b'H'), true),
    flag("log-level", Some(b'l'), true),
    flag("tls", None, false),
    flag("tlscacert", None, true),
    flag("tlscert", None, true),
    flag("tlskey", None, true),
    flag("tlsverify", None, false),
];

impl Call {
    /// Reads a command line, the program's own name first.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, InvalidGlobal> {
        let mut arguments = arguments.into_iter();
        let program = arguments.next().unwrap_or_default();
        let is_copy_binary = Path::new(&program).file_name() == Some(OsStr::new("copy_binary"));
        let words: Vec<OsString> = arguments.collect();
        match words.first().and_then(|word| word.to_str()) {
            // What cobra, and so Docker, calls the completion request, with and without descriptions.
            Some(request @ ("__complete" | "__completeNoDesc")) => {
                let words = &words[1..];
                let invocation = match is_copy_binary {
                    true => Invocation { words: words.to_vec(), ..Invocation::default() },
                    false => Invocation::unfinished(words),
                };
                Ok(Call::Complete(Unfinished { invocation, is_copy_binary, describe: request == "__complete" }))
            }
            _ if is_copy_binary => Ok(Call::CopyBinary(words)),
            Some("docker-cli-plugin-metadata") => Ok(Call::Metadata),
            _ => match words.as_slice() {
                [plugin, request, told] if plugin == "artifact" && request == hook::REQUEST => {
                    Ok(Call::Hook(told.clone()))
                }
                words => Invocation::parse(words).map(Call::Command),
            },
        }
    }
}

impl Invocation {
    fn parse(words: &[OsString]) -> Result<Self, InvalidGlobal> {
        let mut globals = Globals::default();
        let mut words = globals.take(words)?.to_vec();
        // `docker help artifact` and `docker --help artifact` arrive as they are.
        let is_help = words.first().is_some_and(|word| word == "help" || word == "--help");
        let position = usize::from(is_help);
        let by_docker = words.get(position).is_some_and(|word| word == "artifact");
        if by_docker {
            words.remove(position);
        }
        Ok(Invocation { globals, by_docker, words })
    }

    /// Reads a command line of which the last word is under the cursor, and so is the command's, whatever it looks like. So is what
    /// cannot be read.
    fn unfinished(words: &[OsString]) -> Self {
        let Some((current, before)) = words.split_last() else { return Invocation::default() };
        let unread = || Invocation { words: before.to_vec(), ..Invocation::default() };
        let mut invocation = Invocation::parse(before).unwrap_or_else(|_| unread());
        invocation.words.push(current.clone());
        invocation
    }

    /// What a person types to run the program.
    pub fn program(&self) -> &'static str {
        if self.by_docker { "docker artifact" } else { "docker-artifact" }
    }
}

impl Globals {
    /// Takes the global flags off the front of `words`, and gives back the rest. A flag that is not Docker's ends
    /// them: it may be the command's.
    fn take<'a>(&mut self, mut words: &'a [OsString]) -> Result<&'a [OsString], InvalidGlobal> {
        while let Some((word, rest)) = words.split_first() {
            let Some(found) = recognise(word.as_bytes()) else { break };
            words = rest;
            for (flag, attached) in found {
                let dashed = format!("--{}", flag.long);
                let value = match attached {
                    Some(value) => value,
                    None if !flag.takes_value => OsString::from("true"),
                    None => {
                        let (value, rest) = words.split_first().ok_or(InvalidGlobal::NoValue(dashed.clone()))?;
                        words = rest;
                        value.clone()
                    }
                };
                self.set(flag, dashed, value)?;
            }
        }
        // As in Docker, an empty context name counts as no context.
        if self.engine.host.is_some() && self.engine.context.as_ref().is_some_and(|name| !name.is_empty()) {
            return Err(InvalidGlobal::Conflict("--host and --context both choose the engine; use one of them"));
        }
        Ok(words)
    }

    fn set(&mut self, flag: &GlobalFlag, dashed: String, value: OsString) -> Result<(), InvalidGlobal> {
        let shown = value.to_string_lossy().into_owned();
        let is_on = match boolean(&value) {
            None if !flag.takes_value => return Err(InvalidGlobal::NotBoolean { flag: dashed, value: shown }),
            is_on => is_on,
        };
        let text = |value: OsString| {
            value.into_string().map(Some).map_err(|_| InvalidGlobal::NotText { flag: dashed, value: shown })
        };
        let Globals { engine, debug } = self;
        let tls = &mut engine.tls;
        match flag.long {
            "config" => engine.docker_config = Some(PathBuf::from(value)),
            "context" => engine.context = text(value)?,
            "debug" => *debug = is_on == Some(true),
            "host" if engine.host.is_some() => return Err(InvalidGlobal::Conflict("--host may be given only once")),
            "host" => engine.host = text(value)?,
            "log-level" => *debug |= value == "debug",
            "tls" => tls.tls = is_on,
            "tlscacert" => tls.ca = Some(PathBuf::from(value)),
            "tlscert" => tls.cert = Some(PathBuf::from(value)),
            "tlskey" => tls.key = Some(PathBuf::from(value)),
            "tlsverify" => tls.verify = is_on,
            _ => {}
        }
        Ok(())
    }
}

/// The global flags that `word` holds, each with the value attached to it: `--name`, `--name=value`, `-n`, `-nvalue`,
/// `-n=value`, or several short ones together. `None` where any of it is not Docker's.
fn recognise(word: &[u8]) -> Option<Vec<(&'static GlobalFlag, Option<OsString>)>> {
    let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    if let Some(word) = word.strip_prefix(b"--") {
        let mut parts = word.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        let flag = GLOBAL_FLAGS.iter().find(|flag| flag.long.as_bytes() == name)?;
        return Some(vec![(flag, parts.next().map(owned))]);
    }
    let mut letters = word.strip_prefix(b"-").filter(|letters| !letters.is_empty())?;
    let mut found = Vec::new();
    while let Some((letter, rest)) = letters.split_first() {
        let flag = GLOBAL_FLAGS.iter().find(|flag| flag.short == Some(*letter))?;
        let value = rest.strip_prefix(b"=");
        if flag.takes_value || value.is_some() {
            let value = value.unwrap_or(rest);
            found.push((flag, (!rest.is_empty()).then(|| owned(value))));
            break;
        }
        found.push((flag, None));
        letters = rest;
    }
    Some(found)
}

/// As Go's `strconv.ParseBool`, which reads Docker's own.
pub fn boolean(value: &OsStr) -> Option<bool> {
    match value.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The answer to the handshake: JSON, with a line break at its end.
pub fn metadata() -> String {
    let mut metadata: serde_json::Value = serde_json::from_str(METADATA).unwrap_or_default();
    metadata["Version"] = env!("CARGO_PKG_VERSION").into();
    format!("{metadata:#}\n")
}

/// Who asked the program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A signal, with its number.
    Signal(i32),
    /// Docker, by closing its socket.
    Docker,
}

/// The signals that ask a program to stop: a terminal's end, Ctrl-C, Ctrl-\, and `kill`.
const STOP_SIGNALS: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Runs `action` on a thread of its own whenever the program is asked to stop: by a signal, or by Docker, which closes its socket.
/// A signal that whoever started the program has it ignore (`nohup`, a shell's background job) stays ignored. Signals count
/// from the moment that this returns, however busy everything else is.
///
/// From then on, a file that grows beyond `ulimit -f` is an error of the write, not the program's sudden end.
pub fn on_stop(mut action: impl FnMut(Stop) + Send + 'static) -> io::Result<()> {
    // Where there are not enough descriptors for its first runtime, tokio panics.
    let _ = [(); 3].map(|()| std::os::unix::net::UnixStream::pair()).into_iter().collect::<Result<Vec<_>, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let ignored = ignored_signals();
    let mut signals = Vec::new();
    for kind in STOP_SIGNALS.map(Signal::as_raw).into_iter().filter(|kind| !is_in(ignored, *kind)) {
        signals.push((kind, signal(SignalKind::from_raw(kind))?));
    }
    // It is enough that there is a handler (setrlimit(2), RLIMIT_FSIZE).
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    // Docker's own plugins, too, go on without a socket that they cannot reach.
    let mut socket = std::env::var_os(SOCKET_VARIABLE).and_then(|address| connect(&address).ok());
    drop(guard);
    thread::Builder::new().name("stop".to_owned()).spawn(move || {
        loop {
            let why = runtime.block_on(async {
                let mut asked: Vec<BoxFuture<'_, Stop>> = Vec::new();
                for (kind, signal) in &mut signals {
                    asked.push(Box::pin(async move {
                        signal.recv().await;
                        Stop::Signal(*kind)
                    }));
                }
                asked.push(Box::pin(async {
                    closed(&mut socket).await;
                    Stop::Docker
                }));
                select_all(asked).await.0
            });
            action(why);
        }
    })?;
    Ok(())
}

/// Whether a set of signals, as the kernel writes it, has the one of this number: the lowest bit is signal 1.
fn is_in(set: u64, signal: i32) -> bool {
    u32::try_from(signal - 1).is_ok_and(|bit| set.checked_shr(bit).is_some_and(|set| set & 1 == 1))
}

/// The signals that are ignored now, which is how they were when the program was started (proc(5), `SigIgn`).
#[cfg(target_os = "linux")]
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default()
}

/// No other system tells. `nohup` leaves no terminal on standard error, so that there SIGHUP keeps whatever meaning it has.
#[cfg(not(target_os = "linux"))]
fn ignored_signals() -> u64 {
    if io::IsTerminal::is_terminal(&io::stderr()) { 0 } else { 1 << (Signal::HUP.as_raw() - 1) }
}

/// Connects to the socket that Docker named. A leading `@` marks Linux' abstract namespace, as in Go's `net` package.
fn connect(address: &OsStr) -> io::Result<UnixStream> {
    let stream = match address.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            std::os::unix::net::UnixStream::connect_addr(&address)?
        }
        _ => std::os::unix::net::UnixStream::connect(address)?,
    };
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Waits until the other side closes the socket, which is then gone; for ever where there is none.
async fn closed(socket: &mut Option<UnixStream>) {
    let Some(open) = socket else { return std::future::pending().await };
    let mut ignored = [0; 64];
    // Docker says nothing on it; a reset means as much as an end of file.
    while matches!(open.read(&mut ignored).await, Ok(1..)) {}
    *socket = None;
}

#[cfg(test)]
mod tests;
