//! The program as Docker's plugin, and as one of its own: handshake, global flags, help, being stopped, installing.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use crate::support::*;
use rustix::process::Signal;
use serde_json::Value;

// The handshake

#[test]
fn the_handshake_is_the_json_that_docker_wants() {
    let run = artifact(&["docker-cli-plugin-metadata"]).run().exits(0);
    let metadata: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(metadata["SchemaVersion"], "0.1.0");
    assert_eq!(metadata["Version"], env!("CARGO_PKG_VERSION"));
    for field in ["Vendor", "ShortDescription", "URL"] {
        assert!(metadata[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {metadata}");
    }
    assert!(run.stderr.is_empty());
}

// Docker's own arguments

#[test]
fn dockers_global_flags_may_stand_before_the_name() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer([file("tool", "hello")]));
    let get = ["get", reference.as_str(), "/tool", "-o", "-"];
    for globals in [
        &["artifact"][..],
        &[],
        &["--config", "/nonexistent", "artifact"],
        &["--config=/nonexistent", "-D", "artifact"],
        &["-c", "default", "--log-level", "error", "artifact"],
        &["-Dcdefault", "-l=warn", "artifact"],
        &[
            "-H",
            "tcp://127.0.0.1:1",
            "--tls",
            "--tlscacert=a",
            "--tlscert",
            "b",
            "--tlskey",
            "c",
            "--tlsverify",
            "artifact",
        ],
        &["--tlsverify=false", "--debug=true", "artifact"],
    ] {
        assert_eq!(artifact(globals).args(&get).run().exits(0).out(), "hello", "{globals:?}");
    }
}

#[test]
fn an_unknown_flag_is_wrong_usage() {
    artifact(&["--nope", "artifact", "get", "a", "/b"]).run().exits(2).says("--nope");
}

// Help

#[test]
fn help_is_the_same_by_every_road() {
    let root = artifact(&["artifact", "--help"]).run().exits(0).out();
    assert!(root.starts_with("Usage:  docker artifact ") && root.contains("\nCommands:\n  get "), "{root}");
    for words in [&["artifact"][..], &["artifact", "-h"], &["artifact", "help"], &["help", "artifact"]] {
        assert_eq!(artifact(words).run().exits(0).out(), root, "{words:?}");
    }
    let get = artifact(&["artifact", "get", "--help"]).run().exits(0).out();
    assert!(get.starts_with("Usage:  docker artifact get [OPTIONS] IMAGE"), "{get}");
    for part in ["Examples:", "docker artifact get debian:12 /bin/ls", "--platform", "--no-verify", "-o, --output"] {
        assert!(get.contains(part), "no {part:?} in {get}");
    }
    let alone = artifact(&["get", "--help"]).run().exits(0).out();
    assert!(alone.starts_with("Usage:  docker-artifact get"), "{alone}");
}

// Being stopped

/// A `get` that hangs half way through its layer.
fn hanging(dir: &WorkDir, registry: &Registry, environment: &[(&str, &str)]) -> program::Running {
    hanging_under(&[], dir, registry, environment)
}

/// The same, started by another program with these words before it.
fn hanging_under(words: &[&str], dir: &WorkDir, registry: &Registry, environment: &[(&str, &str)]) -> program::Running {
    let layer = Layer::new([file("big", vec![9; 1 << 20]), file("bigger", vec![8; 4 << 20])]).plain();
    let reference = registry.push("team/app:1", &Image::new().layer(layer.clone()));
    let digest = Image::new().layer(layer).pack().layers[0].digest();
    registry.requests_for(&digest).fail(Fault::StallAfter(3 << 20));
    let program = artifact(&["get", &reference, "/big", "/bigger"]).under(words).heeding_signals();
    let program = environment.iter().fold(program, |program, (name, value)| program.env(name, value));
    let running = program.start_in(dir);
    registry.wait_for_stall();
    running
}

#[track_caller]
fn stopped_cleanly(dir: &WorkDir, running: program::Running, code: i32) {
    running.wait().exits(code).never_says("panicked");
    assert!(dir.listing().is_empty() && listing(&dir.tmp()).is_empty(), "{:?}", dir.listing());
}

#[test]
fn every_signal_that_asks_to_stop_does_so_at_once_and_leaves_nothing() {
    for (signal, code) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131), (Signal::TERM, 143)] {
        let (dir, registry) = (WorkDir::new(), Registry::start());
        let running = hanging(&dir, &registry, &[]);
        running.signal(signal);
        stopped_cleanly(&dir, running, code);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_as_by_nohup_stays_ignored() {
    let (dir, registry) = (WorkDir::new(), Registry::start());
    // What `nohup` does; of a job in the background, a shell makes it ignore SIGINT and SIGQUIT.
    let ignoring = ["/bin/sh", "-c", "trap '' HUP INT QUIT; exec \"$0\" \"$@\""];
    let running = hanging_under(&ignoring, &dir, &registry, &[]);
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        running.signal(signal);
    }
    stopped_cleanly(&dir, running, 143);
}

#[test]
fn the_end_of_dockers_socket_means_stop() {
    let (dir, registry) = (WorkDir::new(), Registry::start());
    let path = dir.outside("plugin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let running = hanging(&dir, &registry, &[("DOCKER_CLI_PLUGIN_SOCKET", path.to_str().unwrap())]);
    drop(listener.accept().unwrap());
    stopped_cleanly(&dir, running, 130);
}

#[test]
fn dockers_socket_may_be_an_abstract_one() {
    let (dir, registry) = (WorkDir::new(), Registry::start());
    let name = format!("docker_cli_test_{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let running = hanging(&dir, &registry, &[("DOCKER_CLI_PLUGIN_SOCKET", &format!("@{name}"))]);
    drop(listener.accept().unwrap());
    stopped_cleanly(&dir, running, 130);
}

#[test]
fn a_socket_that_is_not_there_stops_nothing() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer([file("tool", "hello")]));
    artifact(&["get", &reference, "/tool"]).env("DOCKER_CLI_PLUGIN_SOCKET", "/nonexistent/socket").run().exits(0);
}

#[test]
fn a_reader_of_standard_output_that_goes_away_ends_it_quietly_as_it_ends_cat() {
    let registry = Registry::start();
    let files = (0..3000).map(|n| file(format!("many/{n:05}{}", "x".repeat(90)), "")).collect::<Vec<_>>();
    let image = Image::new().layer([file("big", vec![7; 8 << 20])]).layer(Layer::new(files));
    let reference = registry.push("team/app:1", &image);
    for words in [
        &["get", &reference, "/big", "-o", "-"][..],
        &["get", &reference, "/big", "/many", "-o", "-"],
        &["ls", "-a", &reference],
    ] {
        let mut child = std::process::Command::new(program::binary())
            .args(words)
            .env_clear()
            .env("HOME", "/nonexistent")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0; 100]).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(141), "{words:?}: {said}");
        assert!(!said.contains("ipe"), "{words:?}: {said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_said() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer([file("tool", "hello")]));
    for words in [&["get", &reference, "/tool", "-o", "-"][..], &["ls", "-a", &reference], &["--help"]] {
        let to_full = ["/bin/sh", "-c", "exec \"$0\" \"$@\" > /dev/full"];
        artifact(words).under(&to_full).run().exits(1).says("standard output").says("No space left on device");
    }
}

// Installing

fn install_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh")
}

/// `install.sh` with these arguments, taking the binary that is built already.
fn install(arguments: &[&str]) -> Program {
    Program::new("/bin/sh").args(&[install_script()]).args(arguments)
}

#[test]
fn install_puts_the_plugin_where_docker_looks_and_uninstall_takes_away_exactly_that() {
    let dir = WorkDir::new();
    let binary = program::binary();
    let bin = dir.home("bin");
    dir.write_home("bin/other", "kept");
    let own = ".local/share/zsh/site-functions/_other";
    dir.write_home(own, "kept, too");
    let arguments = ["--binary", binary.to_str().unwrap(), "--bin-dir", bin.to_str().unwrap()];
    let said = install(&arguments).run_in(&dir).exits(0).out();
    assert!(said.contains("docker artifact"), "it says what to type next: {said}");
    for program in [
        ".docker/cli-plugins/docker-artifact",
        "bin/docker-artifact",
        "bin/copy_binary",
        ".local/share/bash-completion/completions/docker-artifact",
        ".local/share/bash-completion/completions/copy_binary",
        ".local/share/zsh/site-functions/_docker-artifact",
        ".config/fish/completions/docker-artifact.fish",
        ".config/fish/completions/copy_binary.fish",
        ".local/share/man/man1/docker-artifact-get.1",
        ".local/share/man/man1/copy_binary.1",
    ] {
        assert!(dir.home(program).exists(), "{program}: {:?}", listing(&dir.home("")));
    }
    Program::new(dir.home("bin/docker-artifact")).args(&["get", "--help"]).run_in(&dir).exits(0);
    install(&arguments).run_in(&dir).exits(0);
    install(&["--uninstall", "--bin-dir", bin.to_str().unwrap()]).run_in(&dir).exits(0);
    let left: Vec<String> = listing(&dir.home("")).into_iter().filter(|line| !line.contains("/ ")).collect();
    assert_eq!(left, [format!("{own} 644 \"kept, too\""), r#"bin/other 644 "kept""#.to_owned()]);
    assert!(!dir.home(".local/share/man").exists() && !dir.home(".config").exists());
}

#[test]
fn install_leaves_a_completion_alone_that_somebody_else_put_there() {
    let dir = WorkDir::new();
    let binary = program::binary();
    let other = ".config/fish/completions/docker-artifact.fish";
    dir.write_home(other, "# mine");
    let install_it = || install(&["--binary", binary.to_str().unwrap()]).env("XDG_DATA_HOME", dir.home("data"));
    let said = install_it().run_in(&dir).exits(0).out();
    assert!(said.contains(&format!("{other} alone: this script did not put it there")), "{said}");
    assert!(dir.home("data/man/man1/docker-artifact.1").exists() && !dir.home(".local/share").exists());
    install(&["--uninstall"]).run_in(&dir).exits(0);
    let left: Vec<String> = listing(&dir.home("")).into_iter().filter(|line| !line.contains("/ ")).collect();
    assert_eq!(left, [format!("{other} 644 \"# mine\"")]);
}

#[test]
fn install_honours_docker_config() {
    let dir = WorkDir::new();
    let binary = program::binary();
    let bin = dir.home("bin");
    let run = install(&["--binary", binary.to_str().unwrap(), "--bin-dir", bin.to_str().unwrap()]);
    run.env("DOCKER_CONFIG", dir.home("config")).run_in(&dir).exits(0);
    assert!(dir.home("config/cli-plugins/docker-artifact").exists());
    assert!(!dir.home(".docker").exists());
}

#[test]
fn install_refuses_what_it_does_not_understand() {
    assert_ne!(install(&["--nope"]).run().says("--nope").code, 0);
    assert_ne!(install(&["--binary", "/nonexistent"]).run().says("/nonexistent").code, 0);
}

#[test]
fn hooks_are_switched_on_only_when_asked_for_and_off_again() {
    let dir = WorkDir::new();
    let (binary, bin) = (program::binary(), dir.home("bin"));
    let config = || std::fs::read_to_string(dir.home(".docker/config.json")).unwrap();
    let held = "{\n\t\"credsStore\": \"none\"\n}";
    dir.write_home(".docker/config.json", held);
    let arguments = ["--binary", binary.to_str().unwrap(), "--bin-dir", bin.to_str().unwrap()];
    install(&arguments).run_in(&dir).exits(0);
    assert_eq!(config(), held);
    install(&[&arguments[..], &["--hooks"]].concat()).run_in(&dir).exits(0).out();
    assert!(config().contains("\"error-hooks\": \"cp\"") && config().contains("credsStore"), "{}", config());
    // An upgrade keeps them.
    install(&arguments).run_in(&dir).exits(0);
    install(&["--uninstall"]).run_in(&dir).exits(0);
    assert_eq!(config(), held);
}

#[test]
fn docker_is_answered_only_where_a_copy_found_no_container() {
    let asked = |request: &str| artifact(&["artifact", "docker-cli-plugin-hooks", request]).run().exits(0).out();
    let failed =
        r#"{"RootCmd":"cp","Flags":{},"CommandError":"Error response from daemon: No such container: alpine"}"#;
    assert!(asked(failed).contains("docker artifact get {{arg . 0}} {{arg . 1}}"));
    assert_eq!(asked(r#"{"RootCmd":"cp","Flags":{},"CommandError":""}"#), "");
    assert_eq!(asked("no JSON"), "");
}
