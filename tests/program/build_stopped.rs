//! `build` that is told to stop: nothing of it stays, whatever it was at.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::build_docker::with_docker;
use crate::support::*;

const SIGNALS: [(Signal, i32); 3] = [(Signal::HUP, 129), (Signal::INT, 130), (Signal::TERM, 143)];

/// A registry that stops in the middle of a layer, and a directory with a Dockerfile that copies from it.
fn stalling() -> (Registry, WorkDir) {
    let image = Image::new().layer(Layer::new([file("big", vec![9; 4 << 20]), file("small", "s")]).plain());
    let (registry, reference, packed) = Registry::serving(&image);
    registry.requests_for(&packed.layers[0].digest()).fail(Fault::StallAfter(3 << 20));
    let dir = with_docker("exit 9");
    fs::write(dir.path("Dockerfile"), format!("FROM scratch\nCOPY --from={reference} /big /\n")).unwrap();
    (registry, dir)
}

/// Files and links below a directory. A folder for the image may stay in the cache, and so may what is whole of what it keeps under
/// digests; that is used again.
fn files(directory: &std::path::Path) -> Vec<String> {
    let is_kept = |line: &str| line.contains("/sha256/") || line.starts_with("cache/tables/pruned ");
    listing(directory).into_iter().filter(|line| !line.contains("/ ") && !is_kept(line)).collect()
}

#[test]
fn a_signal_while_files_are_fetched_leaves_nothing() {
    for cache in ["off", "cache"] {
        for (signal, code) in SIGNALS {
            let (registry, dir) = stalling();
            let build = artifact(&["build", "."]).env("DOCKER_ARTIFACT_CACHE", cache).heeding_signals();
            let running = build.start_in(&dir);
            registry.wait_for_stall();
            running.signal(signal);
            running.wait().exits(code);
            assert_eq!(listing(&dir.tmp()), [] as [&str; 0], "{cache}");
            assert_eq!(files(&dir.path("")).len(), 1, "{:?}", dir.listing());
        }
    }
}

#[test]
fn a_signal_while_the_result_is_labelled_leaves_nothing() {
    for (signal, code) in SIGNALS {
        let image = Image::new()
            .layer(Layer::new([file("big", vec![9; 4 << 20])]).plain())
            .label("org.docker-artifact.big", "/big");
        let (registry, reference, packed) = Registry::serving(&image);
        registry.requests_for(&packed.layers[0].digest()).fail(Fault::StallAfter(3 << 20));
        let metadata = serde_json::json!({ "containerimage.digest": packed.digest(), "image.name": reference });
        let dir =
            with_docker(&format!("while [ \"$1\" != --metadata-file ]; do shift; done; echo '{metadata}' > \"$2\""));
        fs::write(dir.path("Dockerfile"), "FROM scratch\nCOPY big /\nLABEL org.docker-artifact.big=/big\n").unwrap();
        let running = artifact(&["build", "--push", "-t", &reference, "."]).heeding_signals().start_in(&dir);
        registry.wait_for_stall();
        running.signal(signal);
        running.wait().exits(code);
        assert_eq!(listing(&dir.tmp()), [] as [&str; 0]);
    }
}

#[test]
fn a_signal_while_docker_is_asked_something_ends_what_asks() {
    let dir = WorkDir::new();
    fs::write(dir.path("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
    let script = "#!/bin/sh
        [ \"$2\" = version ] && echo v0.13.1 && exit
        echo $$ > \"$HOME/pid.new\" && mv \"$HOME/pid.new\" \"$HOME/pid\"
        exec sleep 600\n";
    dir.script("docker", script);
    let running = artifact(&["build", "."]).heeding_signals().start_in(&dir);
    let until = Instant::now() + Duration::from_secs(60);
    while !dir.home("pid").exists() {
        assert!(Instant::now() < until, "docker was never asked");
        std::thread::sleep(Duration::from_millis(10));
    }
    running.signal(Signal::TERM);
    running.wait().exits(143);
    let pid = fs::read_to_string(dir.home("pid")).unwrap();
    let is_gone = || fs::read_to_string(format!("/proc/{}/comm", pid.trim())).map_or(true, |name| name != "sleep\n");
    let until = Instant::now() + Duration::from_secs(5);
    while !is_gone() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(is_gone(), "process {pid} still runs");
}
