//! `build` and the Docker that it runs: who has the terminal, whose exit code it is, and who is told to stop.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use crate::support::*;
use rustix::process::Signal;

/// A directory with a Dockerfile, and a `docker` on the PATH that has buildx and builds as `build` says, a piece of a shell script.
pub fn with_docker(build: &str) -> WorkDir {
    let dir = WorkDir::new();
    fs::write(dir.path("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
    let script = format!(
        "#!/bin/sh
        case \"$1 $2\" in
        'buildx version') echo github.com/docker/buildx v0.13.1 1a2b3c ;;
        'buildx inspect') printf 'Name: x\\nDriver: docker-container\\n\\nNodes:\\nName: x0\\nPlatforms: linux/amd64\\n' ;;
        'buildx build') {build} ;;
        *) exit 1 ;;
        esac\n"
    );
    dir.script("docker", &script);
    dir
}

/// What a build does that takes a while to stop, and says so by a file in the home directory.
const CLEANS_UP: &str = "trap 'sleep 0.3; touch \"$HOME/cleaned\"; exit 7' HUP INT TERM
    touch \"$HOME/started\"
    while :; do sleep 0.01; done";

/// A build that is running. It is in a session of its own, so that no terminal is its own.
fn running(dir: &WorkDir, environment: &[(&str, &str)]) -> program::Running {
    let program = artifact(&["build", "."]).heeding_signals();
    let program = if cfg!(target_os = "linux") { program.under(&["/usr/bin/setsid"]) } else { program };
    let program = environment.iter().fold(program, |program, (name, value)| program.env(name, value));
    let running = program.start_in(dir);
    let until = Instant::now() + Duration::from_secs(60);
    while !dir.home("started").exists() {
        assert!(Instant::now() < until, "docker was never run: {:?}", listing(&dir.home("")));
        std::thread::sleep(Duration::from_millis(10));
    }
    running
}

#[test]
fn docker_has_the_words_the_streams_and_the_last_word() {
    let dir = with_docker("cat; echo \"$@\"; echo said >&2; exit 7");
    let words = ["build", "--no-label", "-t", "app", ".", "--build-arg", "A=b c"];
    let run = artifact(&words).stdin_pipe(b"typed\n".to_vec()).run_in(&dir).exits(7).says("said");
    assert_eq!(run.out(), "typed\nbuildx build -t app . --build-arg A=b c\n");
}

#[test]
fn a_dockerfile_that_was_read_from_standard_input_is_passed_on() {
    let dir = with_docker("cat");
    let text = "FROM scratch\nCOPY a /\n";
    let run = artifact(&["build", "-f", "-", "."]).stdin_pipe(text.into()).run_in(&dir).exits(0);
    assert_eq!(run.out(), text);
}

#[test]
fn dockers_global_flags_are_passed_on() {
    let dir = WorkDir::new();
    dir.script("docker", "#!/bin/sh\nfor last; do :; done\n[ \"$last\" = . ] && echo \"$@\"\n");
    let run = artifact(&["--config=/nonexistent", "-c", "ctx", "artifact", "build", "."]).run_in(&dir).exits(0);
    assert_eq!(run.out(), "--config=/nonexistent --context=ctx build .\n", "there is no buildx");
}

#[test]
fn whoever_stops_a_build_stops_docker_which_ends_first() {
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        let dir = with_docker(CLEANS_UP);
        let running = running(&dir, &[]);
        running.signal(signal);
        running.wait().exits(7);
        assert!(dir.home("cleaned").exists(), "{signal:?}");
    }
}

#[test]
fn dockers_socket_stops_a_build_too() {
    let dir = with_docker(CLEANS_UP);
    let path = dir.outside("plugin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let running = running(&dir, &[("DOCKER_CLI_PLUGIN_SOCKET", path.to_str().unwrap())]);
    drop(listener.accept().unwrap());
    running.wait().exits(7);
    assert!(dir.home("cleaned").exists());
}

#[test]
fn a_build_that_was_stopped_has_not_succeeded() {
    let dir = with_docker("touch \"$HOME/started\"; trap 'exit 0' TERM; while :; do sleep 0.01; done");
    let running = running(&dir, &[]);
    running.signal(Signal::TERM);
    running.wait().exits(143);
}

#[test]
fn a_build_profits_from_layers_that_were_read_and_so_do_others_from_what_it_read() {
    let tool = noise(5, 100_000);
    let layer = [file("a", noise(1, 3_000_000)), file("tool", tool.clone()), file("z", noise(2, 3_000_000))];
    let (registry, reference, image) = Registry::serving(&Image::new().layer(layer));
    let dir = with_docker(":");
    fs::write(dir.path("Dockerfile"), format!("FROM scratch\nCOPY --from={reference} /tool /\n")).unwrap();
    let cost = |words: &[&str]| {
        let before = registry.log().len();
        artifact(words).run_in(&dir).exits(0);
        registry.log()[before..].iter().map(|request| request.sent()).sum::<u64>()
    };
    let layer = image.layers[0].bytes.len() as u64;
    assert!(cost(&["build", "."]) >= layer, "nothing was known");
    assert!(cost(&["get", &reference, "/tool"]) < 1_300_000, "the build read the layer");
    assert!(cost(&["build", "--pull", "."]) < 1_300_000, "and the next one need not");
    assert!(dir.read("tool") == tool);
}
