//! The programs around us: which are installed, how they are run, and what is cleaned up when the tests are over.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use crate::newer;

/// What a real test may need. Everything but these is the name of a program on the `PATH`.
pub const ENGINE: &str = "a Docker engine";
pub const BUILDKIT: &str = "BuildKit";
pub const ROOT: &str = "root";
pub const STATIC_BINARY: &str = "a static binary";
pub const YAML: &str = "python3 with yaml";
pub const REFERRERS_REGISTRY: &str = "go-containerregistry's registry";
pub const ESTARGZ: &str = "stargz-snapshotter's library";
pub const SOCI: &str = "soci-snapshotter's library";
pub const TYPING_CRANE: &str = "crane 0.22";
/// What Docker's script for bash calls.
pub const BASH_COMPLETION: &str = "bash's completion package";
pub const NEWER_DEBIAN: &str = "a newer Debian's tools";

/// Whether `test` can run: true where every one of `needs` is there. Otherwise says which is missing.
///
/// # Panics
/// Where one is missing and `DOCKER_ARTIFACT_REQUIRE_REAL` is set.
pub fn can_run(test: &str, needs: &[&str]) -> bool {
    let Some(missing) = needs.iter().find(|need| !is_there(need)) else { return true };
    let reason = match *missing {
        ENGINE => "no Docker engine answers".to_owned(),
        BUILDKIT => "no docker command here can build with BuildKit".to_owned(),
        ROOT => "only root can".to_owned(),
        STATIC_BINARY => format!("{} is not there; run make dist", static_binary().display()),
        YAML => "python3 cannot import yaml".to_owned(),
        REFERRERS_REGISTRY => "go is not installed, or cannot build tests/real/referrers".to_owned(),
        ESTARGZ => "go is not installed, or cannot build tests/real/estargz".to_owned(),
        SOCI => "go, gcc or zlib's headers are not installed, or go cannot build tests/real/soci".to_owned(),
        TYPING_CRANE => {
            "crane is not installed, or older than 0.22, which writes no artifact types into indexes".to_owned()
        }
        NEWER_DEBIAN => "target/newer-debian is not there; run tests/newer-debian make target/newer-debian".to_owned(),
        BASH_COMPLETION => "bash-completion is not installed".to_owned(),
        tool => format!("{tool} is not installed"),
    };
    assert!(std::env::var_os("DOCKER_ARTIFACT_REQUIRE_REAL").is_none(), "{test} must run here, but {reason}");
    // Straight to the descriptor: the test harness swallows what eprintln! says in a test that passes.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {reason}");
    false
}

fn is_there(need: &str) -> bool {
    match need {
        ROOT => rustix::process::geteuid().is_root(),
        ENGINE => {
            is_there("docker")
                && Command::new("docker").arg("version").output().is_ok_and(|answer| answer.status.success())
        }
        BUILDKIT => docker_with_buildkit().is_some(),
        STATIC_BINARY => static_binary().is_file(),
        YAML => {
            Command::new("python3").args(["-c", "import yaml"]).output().is_ok_and(|answer| answer.status.success())
        }
        REFERRERS_REGISTRY => referrers_registry().is_some(),
        ESTARGZ => estargz().is_some(),
        SOCI => soci().is_some(),
        NEWER_DEBIAN => newer::root().is_some(),
        BASH_COMPLETION => Path::new("/usr/share/bash-completion/bash_completion").is_file(),
        TYPING_CRANE => crane_version().is_some_and(|version| version >= [0, 22]),
        tool => {
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(tool).is_file())
        }
    }
}

/// The first two numbers of the version of the crane on the `PATH`.
fn crane_version() -> Option<[u32; 2]> {
    let answer = Command::new("crane").arg("version").output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let mut numbers = text.trim().trim_start_matches('v').split('.').map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
}

/// What `make dist` makes.
pub fn static_binary() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/docker-artifact")
}

/// The first docker command on the `PATH` that can build with BuildKit: some have it inside, some need a plugin that may be missing.
pub fn docker_with_buildkit() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|dir| dir.join("docker")).filter(|docker| docker.is_file()).find(|docker| {
            let mut build = Command::new(docker);
            build.env("DOCKER_BUILDKIT", "1").args(["build", "--quiet", "-"]);
            feed(&mut build, b"FROM scratch\nLABEL a=b\n").status.success()
        })
    });
    found.as_deref()
}

/// The registry of `tests/real/referrers`, where it can be built. The first time needs the Go module proxy.
pub fn referrers_registry() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| go_program("referrers", "referrers-registry")).as_deref()
}

/// The program of `tests/real/estargz`, where it can be built. The first time needs the Go module proxy.
pub fn estargz() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| go_program("estargz", "estargz")).as_deref()
}

/// The program of `tests/real/soci`, where it can be built: with gcc and zlib's headers. The first time needs the Go module proxy.
pub fn soci() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| go_program("soci", "soci")).as_deref()
}

/// Builds the Go program in `folder`.
fn go_program(folder: &str, name: &str) -> Option<PathBuf> {
    let program = cache().join(name);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real").join(folder);
    let mut build = Command::new("go");
    build.args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(".").current_dir(sources);
    let is_built = build.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success());
    is_built.then_some(program)
}

/// Runs `command` to its end and gives back its standard output.
///
/// # Panics
/// Where it fails, with all that it said.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = finish(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs `command` to its end, however it ends.
pub fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// How many JSON values there are in what a program wrote.
pub fn json_lines(written: &[u8]) -> usize {
    let values = serde_json::Deserializer::from_slice(written).into_iter::<serde_json::Value>();
    values.map(Result::unwrap).count()
}

/// Runs `command` with `input` as its standard input.
pub fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Runs `command` and hands its standard output to `reader` while it runs.
pub fn stream<T>(command: &mut Command, reader: impl FnOnce(&mut dyn Read) -> T) -> T {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut output = child.stdout.take().unwrap();
    let result = reader(&mut output);
    std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    result
}

/// Has `script` run by a shell once this process is gone, however it went: at the latest then the shell's standard input ends.
/// Statics are never dropped, and a container or a registry must not outlive the tests.
pub fn at_exit(script: &str) {
    let shell = Command::new("sh")
        .args(["-c", &format!("trap '' INT TERM HUP; read -r end; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::mem::forget(shell);
}

/// A folder that stays from one run to the next, under `target/`.
pub fn cache() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// The folder of scripts and Dockerfiles that the images are made from.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/image")
}

/// skopeo, copying `from` to `to`, where either may be a registry that speaks plain HTTP.
pub fn skopeo_copy<S: AsRef<OsStr>>(options: &[S], from: &str, to: &str) {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]);
    run(skopeo.args(options).args([from, to]));
}

/// A folder as a web server on loopback gives it, by python3.
pub struct WebServer {
    pub url: String,
    server: Child,
}

impl WebServer {
    pub fn of(folder: &Path) -> Self {
        let mut server = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"])
            .arg(folder)
            .arg("0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // "Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ..."
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split(['(', ')']).nth(1).unwrap().trim_end_matches('/').to_owned();
        WebServer { url, server }
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
