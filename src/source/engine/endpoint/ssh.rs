//! The engine of another machine: a socket here whose every connection is joined, by a run of `ssh`, to the engine's there.
//!
//! The docker CLI does the same, by the same words (docker/cli, `cli/connhelper`). The socket has no name: by the time that it is
//! used it is gone from the disk, so that nobody else finds it and nothing is left of it, however the program ends.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, copy};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::address::Destination;
use crate::source::http::shown::printable;

/// How much is kept of what ssh says: the end of it, which says why it gave up.
const MAX_SAID: usize = 2 << 10;
/// How long ssh may take to end once it has hung up; one that serves other connections, too, keeps standard error open.
const GOODBYE: Duration = Duration::from_secs(2);

/// A socket of this machine that leads to the engine of another. Closes with all its connections when it is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    socket: Socket,
    said: Said,
    connections: JoinHandle<()>,
}

/// What ssh said last when it failed.
type Said = Arc<Mutex<Option<String>>>;

impl Tunnel {
    /// Opens the socket; `ssh` is looked for in `search_path`, and first run for the first connection.
    pub fn open(destination: &Destination, search_path: Option<OsString>) -> io::Result<Self> {
        let (listener, socket) = Socket::listen()?;
        let (arguments, said) = (destination.arguments(), Said::default());
        let connections = tokio::spawn(serve(listener, arguments, search_path, said.clone()));
        Ok(Tunnel { socket, said, connections })
    }

    /// The path to connect to.
    pub fn socket(&self) -> &Path {
        &self.socket.path
    }

    /// What ssh said when it failed, if it did.
    pub fn said(&self) -> Option<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.connections.abort();
    }
}

/// The way to a socket.
#[derive(Debug)]
struct Socket {
    path: PathBuf,
    /// What keeps the path good.
    _held: Held,
}

#[cfg(target_os = "linux")]
type Held = std::os::fd::OwnedFd;

#[cfg(not(target_os = "linux"))]
type Held = TempDir;

impl Socket {
    /// Listens in a folder that only this user may enter. On Linux, a socket is reached by a descriptor of it as well as by its
    /// name (proc(5), `/proc/self/fd`), so that the folder can go at once.
    #[cfg(target_os = "linux")]
    fn listen() -> io::Result<(UnixListener, Self)> {
        use rustix::fs::{CWD, Mode, OFlags, openat};
        use std::os::fd::AsRawFd as _;
        let folder = private_folder()?;
        let of = |fd: &Held| PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let open = |path: &Path| openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        // By its descriptor, the folder's path is never too long for a socket's address.
        let directory = open(folder.path())?;
        let listener = UnixListener::bind(of(&directory).join("ssh"))?;
        let held = open(&folder.path().join("ssh"))?;
        folder.close()?;
        Ok((listener, Socket { path: of(&held), _held: held }))
    }

    /// Listens in a folder that only this user may enter, and that goes with the tunnel.
    #[cfg(not(target_os = "linux"))]
    fn listen() -> io::Result<(UnixListener, Self)> {
        let folder = private_folder()?;
        let path = folder.path().join("ssh");
        Ok((UnixListener::bind(&path)?, Socket { path, _held: folder }))
    }
}

fn private_folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("docker-artifact-").tempdir()
}

/// Joins each connection to a run of `ssh`. They end with this.
async fn serve(listener: UnixListener, arguments: Vec<String>, search_path: Option<OsString>, said: Said) {
    let mut connections = JoinSet::new();
    while let Ok((local, _)) = listener.accept().await {
        let mut command = Command::new("ssh");
        if let Some(path) = &search_path {
            command.env("PATH", path);
        }
        command.args(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let said = said.clone();
        connections.spawn(async move {
            let mut local = local;
            let failure = join(&mut local, command.spawn()).await;
            // Before `local` is closed, and so before whoever waits for an answer knows that there will be none.
            *said.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Copies both ways until `ssh` hangs up; gives what it said where it failed.
async fn join(local: &mut UnixStream, ssh: io::Result<Child>) -> Option<String> {
    let mut ssh = match ssh {
        Ok(ssh) => ssh,
        Err(error) => return Some(format!("ssh cannot be started: {error}")),
    };
    let (input, mut output, errors) = (ssh.stdin.take()?, ssh.stdout.take()?, ssh.stderr.take()?);
    let words = tokio::spawn(end_of(errors));
    let (mut from, mut to) = local.split();
    let there = async {
        let mut input = input;
        // Whichever side hangs up first: the other side's end of file is passed on, and its answer still awaited.
        let _ = copy(&mut from, &mut input).await;
        drop(input);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = there => {}
        _ = copy(&mut output, &mut to) => {}
    }
    let status = timeout(GOODBYE, ssh.wait()).await.ok()?.ok()?;
    if status.success() {
        return None;
    }
    let words = timeout(GOODBYE, words).await.ok().and_then(Result::ok).unwrap_or_default();
    Some(match words.is_empty() {
        true => format!("ssh ended with {status}, and did not say why"),
        false => format!("ssh: {words}"),
    })
}

/// The end of what comes, as a line of text.
async fn end_of(mut errors: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut piece = [0; 512];
    while let Ok(length @ 1..) = errors.read(&mut piece).await {
        kept.extend_from_slice(&piece[..length]);
        kept.drain(..kept.len().saturating_sub(MAX_SAID));
    }
    let text = String::from_utf8_lossy(&kept).into_owned();
    // What is printable is the beginning of a text, and the reason stands at its end.
    let from = text.char_indices().rev().nth(299).map_or(0, |(at, _)| at);
    printable(&text[from..])
}
