//! Words completed by real shells: what is typed, a tab, and what then stands on the line.
//!
//! Each shell runs behind a terminal of its own (script(1)). Once the tab is done, the cursor goes to the line's beginning (Ctrl-A), where
//! `say` is typed: that runs instead, with the words of the line as the shell understands them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::newer;
use crate::support::{Form, Image, Layer, Registry, archive, dir, file, symlink as link};
use crate::tools::{BASH_COMPLETION, NEWER_DEBIAN, can_run, run};

/// How long a shell may take for a line. An error is waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes its words where the test waits for them.
const SAY: &str = "#!/bin/sh\n{ for word; do printf '%s\\n' \"$word\"; done; } > \"$SAID\"\n";

/// A shell that waits for keys.
struct Shell {
    home: TempDir,
    child: Child,
    keys: ChildStdin,
}

/// A home with the program, `copy_binary` and `say` in its `bin`, and a folder to work in.
fn home() -> TempDir {
    let home = TempDir::new().unwrap();
    let path = |name: &str| home.path().join(name);
    for folder in ["bin", "work", "site-functions", ".config/fish"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    symlink(env!("CARGO_BIN_EXE_docker-artifact"), path("bin/docker-artifact")).unwrap();
    symlink("docker-artifact", path("bin/copy_binary")).unwrap();
    fs::write(path("bin/say"), SAY).unwrap();
    fs::set_permissions(path("bin/say"), fs::Permissions::from_mode(0o755)).unwrap();
    for pipe in ["said", "ready"] {
        mknodat(rustix::fs::CWD, path(pipe), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    home
}

impl Shell {
    /// Starts `shell`, which reads `script` before its first prompt.
    fn start(shell: &str, home: TempDir, script: &str) -> Self {
        let (file, words, at_prompt) = match shell {
            "bash" => {
                ("rc", "bash --noprofile --rcfile ~/rc -i", "PROMPT_COMMAND='echo > $READY; unset PROMPT_COMMAND'\n")
            }
            "zsh" => (".zshrc", "zsh -i", "precmd() { echo > $READY; unfunction precmd }\n"),
            "fish" => (
                ".config/fish/config.fish",
                "fish -i",
                "function ready --on-event fish_prompt\necho > $READY\nfunctions --erase ready\nend\n",
            ),
            other => panic!("{other} is no shell that is known here"),
        };
        fs::write(home.path().join(file), format!("{script}\n{at_prompt}")).unwrap();
        let mut path = home.path().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut child = Command::new("script")
            .args(["-qfec", &format!("stty rows 50 cols 200; exec {words}"), "/dev/null"])
            .current_dir(home.path().join("work"))
            .env_clear()
            .env("PATH", path)
            .env("HOME", home.path())
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("LANG", "C.UTF-8")
            .env("SAID", home.path().join("said"))
            .env("READY", home.path().join("ready"))
            .env("DOCKER_HOST", "unix:///nonexistent")
            .env("DOCKER_ARTIFACT_COMPLETION_TIMEOUT", "60")
            .stdin(Stdio::piped())
            .stdout(fs::File::create(home.path().join("screen")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let keys = child.stdin.take().unwrap();
        let shell = Shell { home, child, keys };
        shell.read("ready");
        shell
    }

    /// What comes through a pipe of the home.
    fn read(&self, pipe: &str) -> String {
        let (sender, receiver) = mpsc::channel();
        let path = self.home.path().join(pipe);
        std::thread::spawn(move || sender.send(fs::read_to_string(path)));
        match receiver.recv_timeout(PATIENCE) {
            Ok(said) => said.unwrap(),
            Err(_) => {
                let screen = fs::read(self.home.path().join("screen")).unwrap_or_default();
                panic!("nothing came through {pipe}; on the screen: {}", String::from_utf8_lossy(&screen))
            }
        }
    }

    /// The words of the line after `typed` and a tab.
    fn completed(&mut self, typed: &str) -> Vec<String> {
        self.keys.write_all(format!("{typed}\t\x01say \r").as_bytes()).unwrap();
        self.read("said").lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn completes(&mut self, typed: &str, expected: &[&str]) {
        assert_eq!(self.completed(typed), expected, "{typed}");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An image with names that a shell has to be careful with.
fn image() -> Image {
    let layer = Layer::new([
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/tool", ""),
        file("usr/bin/other", ""),
        link("bin", "usr/bin"),
        file("etc/odd name", ""),
        file("etc/it's", ""),
        file("etc/$(touch run)", ""),
        file("etc/a:b=c", ""),
        file("etc/pl\"us", ""),
        file("etc/`touch run`", ""),
    ]);
    Image::new().layer(layer).label("org.docker-artifact.tool", "/usr/bin/tool")
}

/// Completes what a user would, with the script of `shell`.
fn completes_as_a_user_expects(shell: &str, script: &str, home: TempDir) {
    let (_registry, reference, _) = Registry::serving(&image());
    let app = reference.as_str();
    let archived = archive(&image(), Form::Docker110, "app:1");
    fs::write(home.path().join("work/app.tar"), archived).unwrap();
    let mut shell = Shell::start(shell, home, script);
    for (typed, path) in [
        ("/usr/bi", "/usr/bin/"),
        ("/u", "/usr/"),
        ("/usr/bin/to", "/usr/bin/tool"),
        ("/bi", "/bin/"),
        ("to", "tool"),
        ("/etc/od", "/etc/odd name"),
        ("'/etc/od", "/etc/odd name"),
        ("\"/etc/od", "/etc/odd name"),
        ("/etc/i", "/etc/it's"),
        ("/etc/\\$", "/etc/$(touch run)"),
        ("/etc/a:", "/etc/a:b=c"),
        ("/etc/pl", "/etc/pl\"us"),
        ("\"/etc/pl", "/etc/pl\"us"),
        ("/etc/\\`", "/etc/`touch run`"),
        ("--progress=pl", "--progress=plain"),
        ("--output=ap", "--output=app.tar"),
    ] {
        shell.completes(&format!("docker-artifact get {app} {typed}"), &["docker-artifact", "get", app, path]);
    }
    let behind_colon = format!("{app}:/usr/bin/");
    shell.completes(&format!("docker-artifact get {app}:/usr/bi"), &["docker-artifact", "get", &behind_colon]);
    shell.completes(
        &format!("docker-artifact label {app} x=/usr/bi"),
        &["docker-artifact", "label", app, "x=/usr/bin/"],
    );
    let from = format!("--from={app}");
    shell.completes(&format!("copy_binary --from={app} /usr/bi"), &["copy_binary", &from, "/usr/bin/"]);
    shell.completes("docker-artifact get ./ap", &["docker-artifact", "get", "./app.tar"]);
    shell.completes("docker-artifact get ./app.tar /usr/bi", &["docker-artifact", "get", "./app.tar", "/usr/bin/"]);
    shell.completes("docker-artifact ca", &["docker-artifact", "cache"]);
    assert!(!shell.home.path().join("work/run").exists(), "the name of a file was run");
}

/// The script for `shell`, as the program prints it.
fn printed(shell: &str) -> Vec<u8> {
    run(Command::new(env!("CARGO_BIN_EXE_docker-artifact")).args(["completion", shell]))
}

#[test]
fn bash_completes_without_its_completion_package() {
    if can_run("bash_completes_without_its_completion_package", &["bash", "script"]) {
        completes_as_a_user_expects("bash", "source <(docker-artifact completion bash)", home());
    }
}

#[test]
fn zsh_completes_by_a_function_that_it_loads() {
    if can_run("zsh_completes_by_a_function_that_it_loads", &["zsh", "script"]) {
        let home = home();
        fs::write(home.path().join("site-functions/_docker-artifact"), printed("zsh")).unwrap();
        let script = "fpath+=(~/site-functions)\nautoload -Uz compinit\ncompinit -u";
        completes_as_a_user_expects("zsh", script, home);
    }
}

#[test]
fn zsh_completes_by_a_script_that_is_read_at_once() {
    if can_run("zsh_completes_by_a_script_that_is_read_at_once", &["zsh", "script"]) {
        let script = "autoload -Uz compinit\ncompinit -u\nsource <(docker-artifact completion zsh)";
        completes_as_a_user_expects("zsh", script, home());
    }
}

#[test]
fn fish_completes_by_a_file_in_its_folder() {
    if can_run("fish_completes_by_a_file_in_its_folder", &["fish", "script"]) {
        let home = home();
        let folder = home.path().join(".config/fish/completions");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("docker-artifact.fish"), printed("fish")).unwrap();
        symlink("docker-artifact.fish", folder.join("copy_binary.fish")).unwrap();
        completes_as_a_user_expects("fish", "set --global fish_greeting", home);
    }
}

// Through docker

/// Completes by the script of this `docker`, which `completion` prints.
fn docker_completes(shell: &str, docker: &Path, completion: &[u8]) {
    let (_registry, reference, _) = Registry::serving(&image());
    let home = home();
    symlink(docker, home.path().join("bin/docker")).unwrap();
    let plugins = home.path().join(".docker/cli-plugins");
    fs::create_dir_all(&plugins).unwrap();
    symlink(env!("CARGO_BIN_EXE_docker-artifact"), plugins.join("docker-artifact")).unwrap();
    fs::write(home.path().join("docker.completion"), completion).unwrap();
    let script = match shell {
        // The script wants the functions of the completion package.
        "bash" => "source /usr/share/bash-completion/bash_completion\nsource ~/docker.completion".to_owned(),
        "zsh" => "autoload -Uz compinit\ncompinit -u\nsource ~/docker.completion".to_owned(),
        _ => "source ~/docker.completion".to_owned(),
    };
    let mut shell = Shell::start(shell, home, &script);
    let app = reference.as_str();
    for (typed, path) in [
        ("/usr/bi", "/usr/bin/"),
        ("/usr/bin/to", "/usr/bin/tool"),
        ("to", "tool"),
        ("--progress=pl", "--progress=plain"),
        // What a script could run, or split, is not offered.
        ("/etc/od", "/etc/od"),
        ("/etc/", "/etc/a:b=c"),
    ] {
        let line = format!("docker artifact get {app} {typed}");
        shell.completes(&line, &["docker", "artifact", "get", app, path]);
    }
    assert!(!shell.home.path().join("work/run").exists(), "the name of a file was run");
}

/// Whether the docker at `path` asks plugins how a word goes on, as it does since version 23.
fn asks_plugins(docker: &Path) -> bool {
    let home = home();
    let plugins = home.path().join("cli-plugins");
    fs::create_dir(&plugins).unwrap();
    symlink(env!("CARGO_BIN_EXE_docker-artifact"), plugins.join("docker-artifact")).unwrap();
    let mut asked = Command::new(docker);
    asked.env("DOCKER_CONFIG", home.path()).args(["__complete", "artifact", "get", "--plat"]);
    asked.stdin(Stdio::null()).output().is_ok_and(|answer| answer.stdout.starts_with(b"--platform"))
}

fn completes_through(test: &str, docker: &Path) {
    if !asks_plugins(docker) {
        // No newer one need be here.
        let _ = writeln!(std::io::stderr(), "skipped {test}: {} asks no plugin how a word goes on", docker.display());
        return;
    }
    for shell in ["bash", "zsh", "fish"] {
        docker_completes(shell, docker, &run(Command::new(docker).args(["completion", shell])));
    }
}

#[test]
fn the_docker_here_completes_the_plugin_in_every_shell() {
    let test = "the_docker_here_completes_the_plugin_in_every_shell";
    if can_run(test, &["docker", "bash", "zsh", "fish", "script", BASH_COMPLETION]) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let docker = std::env::split_paths(&path).map(|folder| folder.join("docker")).find(|docker| docker.is_file());
        completes_through(test, &docker.unwrap());
    }
}

#[test]
fn a_newer_docker_completes_the_plugin_in_every_shell() {
    let test = "a_newer_docker_completes_the_plugin_in_every_shell";
    if can_run(test, &[NEWER_DEBIAN, "bash", "zsh", "fish", "script", BASH_COMPLETION]) {
        // It is run here, where the shells are, and needs no more than the C library.
        completes_through(test, &newer::root().unwrap().join("usr/bin/docker"));
    }
}
