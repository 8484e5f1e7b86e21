//! The tools of the next Debian, and its engines: Docker's with its own store of images, Docker's with containerd's, and podman behind
//! its compatible socket. tests/newer-debian makes them, in a root file system of their own.

use std::io::{BufRead, BufReader};
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

    /// Puts the image that the engine here has built into it as `saved.tar`, under a name that only this test has: another one may put the
    /// same image into the same engine, and remove it by its name. Gives the name.
    pub fn save(&self, test: &str) -> String {
        let name = format!("docker-artifact-test-newer:{test}-{}", std::process::id());
        run(Command::new("docker").args(["tag", &crate::engine::built().tag, &name]));
        run(Command::new("docker").arg("save").arg("--output").arg(self.here("saved.tar")).arg(&name));
        run(Command::new("docker").args(["rmi", "--no-prune", &name]));
        name
    }
}

/// Which engine.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Docker's, with its own store of images.
    Classic,
    /// Docker's, with containerd's store.
    Containerd,
    /// podman, which speaks as Docker's does.
    Podman,
}

/// The newer engine of this kind, started once for all tests of a run: what `DOCKER_HOST` has to be. It ends with this process, as its
/// standard input does.
pub fn engine(kind: Kind) -> &'static str {
    static ENGINES: [OnceLock<String>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
    let name = match kind {
        Kind::Classic => "classic",
        Kind::Containerd => "containerd",
        Kind::Podman => "podman",
    };
    ENGINES[kind as usize].get_or_init(|| {
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

/// The newer docker command, with the engine of this kind.
pub fn docker(kind: Kind) -> Command {
    let host = engine(kind).replace(&root().unwrap().display().to_string(), "");
    let mut docker = command("docker");
    docker.args(["--host", &host]);
    docker
}

/// Loads what is saved in `file` into the engine of this kind.
pub fn load(kind: Kind, file: &str) {
    run(docker(kind).args(["load", "--quiet", "--input", file]));
}
