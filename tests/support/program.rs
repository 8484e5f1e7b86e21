//! Runs the program as a person would: in a directory of its own, with a home of its own and nothing else in its
//! environment, and shows what it said and what it left behind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long a run may take before it counts as hung.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The program, to be run with these arguments in a fresh directory.
pub fn artifact<S: AsRef<OsStr>>(arguments: &[S]) -> Program {
    Program::new(binary()).args(arguments)
}

/// Where the program was built.
pub fn binary() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_docker-artifact").map(PathBuf::from);
    built.or_else(beside_this_program).expect("cargo builds the program before its tests and examples")
}

/// An example lies in `target/PROFILE/examples`, the program in `target/PROFILE`.
fn beside_this_program() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let program = this.parent()?.parent()?.join("docker-artifact");
    program.exists().then_some(program)
}

/// A directory to work in and a home, both empty and both gone afterwards.
pub struct WorkDir {
    root: tempfile::TempDir,
}

impl Default for WorkDir {
    fn default() -> Self {
        WorkDir::new()
    }
}

impl WorkDir {
    /// A fresh one.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        for name in ["work", "home", "bin", "tmp"] {
            fs::create_dir(root.path().join(name)).expect("a directory of our own");
        }
        WorkDir { root }
    }

    /// The path of `name` in the directory the program runs in.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    /// The path of `name` in the home directory.
    pub fn home(&self, name: &str) -> PathBuf {
        self.root.path().join("home").join(name)
    }

    /// The temporary directory that the program sees.
    pub fn tmp(&self) -> PathBuf {
        self.root.path().join("tmp")
    }

    /// What lies beside the directory the program runs in: nothing may ever appear there.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file of the home directory.
    pub fn write_home(&self, name: &str, content: &str) {
        let path = self.home(name);
        fs::create_dir_all(path.parent().expect("a path below the home")).expect("a directory of our own");
        fs::write(path, content).expect("a file of our own");
    }

    /// Writes `~/.docker/config.json`.
    pub fn docker_config(&self, content: &serde_json::Value) {
        self.write_home(".docker/config.json", &content.to_string());
    }

    /// Puts a program on the PATH.
    pub fn script(&self, name: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.root.path().join("bin").join(name);
        fs::write(&path, content).expect("a file of our own");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file of our own");
    }

    /// Everything in the directory, sorted, a line each: see [`listing`].
    pub fn listing(&self) -> Vec<String> {
        listing(&self.path(""))
    }

    /// The content of a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}; there is {:?}", self.listing()))
    }

    /// The permission bits of a file.
    pub fn mode(&self, name: &str) -> u32 {
        self.metadata(name).mode() & 0o7777
    }

    /// The metadata of a file, not of what it links to.
    pub fn metadata(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// Everything below `directory`, sorted, a line each: `bin/ 755`, `bin/tool 755 "hello"`, `big 644 1048576 bytes`,
/// `bin/sh -> tool`, `pipe (fifo)`.
pub fn listing(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    collect(directory, "", &mut lines);
    lines.sort();
    lines
}

fn collect(directory: &Path, prefix: &str, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory that can be read") {
        let entry = entry.expect("a directory that can be read");
        let metadata = fs::symlink_metadata(entry.path()).expect("an entry that is there");
        let name = format!("{prefix}{}", entry.file_name().as_bytes().escape_ascii());
        let mode = metadata.mode() & 0o7777;
        let kind = metadata.file_type();
        if kind.is_dir() {
            lines.push(format!("{name}/ {mode:o}"));
            collect(&entry.path(), &format!("{name}/"), lines);
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).expect("a link");
            lines.push(format!("{name} -> {}", target.as_os_str().as_bytes().escape_ascii()));
        } else if kind.is_file() {
            let content = fs::read(entry.path()).unwrap_or_default();
            match content.len() {
                0..=60 => lines.push(format!("{name} {mode:o} \"{}\"", content.escape_ascii())),
                length => lines.push(format!("{name} {mode:o} {length} bytes")),
            }
        } else {
            let what = if kind.is_fifo() { "fifo" } else { "device" };
            lines.push(format!("{name} ({what})"));
        }
    }
}

/// A command line, with the directory and the environment it runs in.
pub struct Program {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdin: Stdin,
}

/// What a program reads from standard input.
enum Stdin {
    Nothing,
    File(PathBuf),
    Pipe(Vec<u8>),
}

/// What a run said, and how it ended.
#[derive(Debug)]
pub struct Run {
    /// The exit code; 128 plus the signal where one ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails the test unless the run ended with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- standard output\n{}\n--- standard error\n{}", self.out(), self.stderr);
        self
    }

    /// Fails the test unless standard error has `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in standard error:\n{}", self.stderr);
        self
    }

    /// Fails the test if standard error or output has `text`.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        let all = format!("{}{}", self.out(), self.stderr);
        assert!(!all.contains(text), "{text:?} is in what it said:\n{all}");
        self
    }
}

impl Program {
    /// Another program than ours.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Program { program: program.into(), arguments: Vec::new(), environment: Vec::new(), stdin: Stdin::Nothing }
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: &[S]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// The same, with no signal ignored: whatever runs the tests may ignore some, as `nohup` does, or a shell for its background jobs.
    pub fn heeding_signals(self) -> Self {
        let words: &[&str] =
            if cfg!(target_os = "linux") { &["/usr/bin/env", "--default-signal=HUP,INT,QUIT,TERM"] } else { &[] };
        self.under(words)
    }

    /// The same, started by another program with these words before it, such as a shell that sets a limit first.
    pub fn under(mut self, words: &[&str]) -> Self {
        let mut words = words.iter();
        if let Some(program) = words.next() {
            let own = std::mem::replace(&mut self.program, program.into());
            let before = words.map(OsString::from).chain([own.into()]);
            self.arguments.splice(..0, before);
        }
        self
    }

    /// One more variable in the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// With this file for its standard input.
    pub fn stdin_file(self, path: impl Into<PathBuf>) -> Self {
        Program { stdin: Stdin::File(path.into()), ..self }
    }

    /// With these bytes coming through a pipe to its standard input.
    pub fn stdin_pipe(self, bytes: Vec<u8>) -> Self {
        Program { stdin: Stdin::Pipe(bytes), ..self }
    }

    /// Runs it in `dir` until it ends.
    #[track_caller]
    pub fn run_in(self, dir: &WorkDir) -> Run {
        self.start_in(dir).wait()
    }

    /// Runs it in a directory that is gone afterwards, for what it says.
    #[track_caller]
    pub fn run(self) -> Run {
        self.run_in(&WorkDir::new())
    }

    /// Starts it in `dir`.
    pub fn start_in(self, dir: &WorkDir) -> Running {
        let mut path = OsString::from(dir.root.path().join("bin"));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(dir.path(""))
            .env_clear()
            .env("PATH", path)
            .env("HOME", dir.home(""))
            .env("TMPDIR", dir.tmp())
            .envs(self.environment)
            .stdin(match &self.stdin {
                Stdin::Nothing => Stdio::null(),
                Stdin::File(path) => fs::File::open(path).expect("a file of our own").into(),
                Stdin::Pipe(_) => Stdio::piped(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        if let (Some(mut pipe), Stdin::Pipe(bytes)) = (child.stdin.take(), self.stdin) {
            // A program that stops reading ends it.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let command_line = format!("{} {:?}", self.program.display(), self.arguments);
        Running { child, command_line }
    }
}

/// A program that was started and has not been waited for.
pub struct Running {
    child: Child,
    command_line: String,
}

impl Running {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our own child");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// How many bytes of memory it had taken at most when it began to write to standard output, more than a pipe holds of which
    /// was to come. Ends it.
    #[track_caller]
    pub fn peak_at_first_output(mut self) -> u64 {
        let mut stdout = self.child.stdout.take().expect("a pipe");
        let first = stdout.read_exact(&mut [0]);
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("our own child");
        let _ = self.child.kill();
        let _ = self.child.wait();
        first.unwrap_or_else(|error| panic!("{} wrote nothing: {error}", self.command_line));
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        1024 * peak.and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB")
    }

    /// Waits until it ends. One that takes longer than any run may is killed, and fails the test.
    #[track_caller]
    pub fn wait(mut self) -> Run {
        let pid = self.pid();
        let stdout = read_all(self.child.stdout.take().expect("a pipe"));
        let stderr = read_all(self.child.stderr.take().expect("a pipe"));
        let (sender, ended) = mpsc::channel();
        let mut child = self.child;
        std::thread::spawn(move || sender.send(child.wait()));
        let Ok(status) = ended.recv_timeout(TIMEOUT) else {
            let _ = kill_process(pid, Signal::KILL);
            let said = stderr.join().expect("a reader does not panic");
            panic!("{} still ran after {TIMEOUT:?}:\n{}", self.command_line, String::from_utf8_lossy(&said));
        };
        let status = status.expect("our own child");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        Run {
            code: status.code().or(signal.map(|signal| 128 + signal)).expect("an exit code or a signal"),
            stdout: stdout.join().expect("a reader does not panic"),
            stderr: String::from_utf8_lossy(&stderr.join().expect("a reader does not panic")).into_owned(),
        }
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a failure is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
