//! The tools of the next Debian, and its engine, twice: with its own store of images and with containerd's. tests/newer-debian makes
//! them, in a root file system of their own.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::tools::run;

/// Where the root is, once it is complete.
pub fn root() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/newer-debian");
        root.join("complete").is_file().then_some(root)
    });
    root.as_deref()
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/newer-debian"))
}

/// `program` of the newer Debian.
pub fn command(program: &str) -> Command {
    let mut command = script();
    command.arg("run").arg(root().unwrap()).arg(program);
    command
}

/// podman or buildah, with one store of images for all tests.
pub fn with_store(program: &str) -> Command {
    let mut command = command(program);
    command.args(["--storage-driver", "overlay", "--root", "/containers", "--runroot", "/containers-run"]);
    command
}

/// A folder that both this machine and the newer Debian see.
pub struct Shared(TempDir);

impl Shared {
    pub fn new() -> Self {
        Shared(TempDir::new_in(root().unwrap()).unwrap())
    }

    /// `name` in it, as this machine sees it.
    pub fn here(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as the newer Debian sees it.
    pub fn there(&self, name: &str) -> String {
        format!("/{}/{name}", self.0.path().file_name().unwrap().display())
    }
}

/// Which store an engine keeps its images in.
#[derive(Clone, Copy)]
pub enum Store {
    Classic,
    Containerd,
}

/// The newer engine with this store, started once for all tests of a run: what `DOCKER_HOST` has to be. It ends with this process,
/// as its standard input does.
pub fn engine(store: Store) -> &'static str {
    static ENGINES: [OnceLock<String>; 2] = [OnceLock::new(), OnceLock::new()];
    let name = match store {
        Store::Classic => "classic",
        Store::Containerd => "containerd",
    };
    ENGINES[store as usize].get_or_init(|| {
        let mut script = script();
        script.arg("engine").arg(root().unwrap()).args([name, name]);
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut answer = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        assert!(answer.starts_with("answers"), "the newer engine does not start: {answer}");
        std::mem::forget(child);
        format!("unix://{}/{name}/docker.sock", root().unwrap().display())
    })
}

/// Podman's socket that speaks as Docker's, with the store of [`with_store`]: what `DOCKER_HOST` has to be. It ends once nobody has
/// asked for 60 seconds.
pub fn podman() -> &'static str {
    static PODMAN: OnceLock<String> = OnceLock::new();
    PODMAN.get_or_init(|| {
        let socket = root().unwrap().join("podman.sock");
        // One of an earlier run.
        let _ = std::fs::remove_file(&socket);
        let mut service = with_store("podman");
        service.args(["system", "service", "--time", "60", "unix:///podman.sock"]);
        std::mem::forget(service.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        while UnixStream::connect(&socket).is_err() {
            std::thread::yield_now();
        }
        format!("unix://{}", socket.display())
    })
}

/// The newer docker command, with the engine that has this store.
pub fn docker(store: Store) -> Command {
    let host = engine(store).replace(&root().unwrap().display().to_string(), "");
    let mut docker = command("docker");
    docker.args(["--host", &host]);
    docker
}

/// Loads what is saved in `file` into the engine with this store.
pub fn load(store: Store, file: &str) {
    run(docker(store).args(["load", "--quiet", "--input", file]));
}
