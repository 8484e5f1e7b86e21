//! Tars made to do harm. Nothing appears outside the destination and nothing crashes: an image is refused in one line, with
//! exit code 1 and nothing written, or what comes out is exactly what it would be with the harm left out.
//!
//! Each module is one kind of harm.

mod amounts;
mod headers;
mod paths;
mod shown;

use std::fs;

use crate::support::*;

/// What is said of a name or a link that climbs above the root.
const LEADS_OUT: &str = "which leads out of the image: refused";

/// What came of an image's whole root, fetched as files and as a tar stream.
struct Fetched {
    files: Run,
    left: Vec<String>,
    stream: Run,
    names: Vec<String>,
}

/// Fetches the whole root of an image of these layers both ways. Fails the test if anything except the destination was touched.
#[track_caller]
fn fetch(layers: Vec<Layer>) -> Fetched {
    let registry = Registry::start();
    let image = layers.into_iter().fold(Image::new(), Image::layer);
    let reference = registry.push("evil/app:1", &image);
    let dir = WorkDir::new();
    fs::write(dir.outside("canary"), "alive").unwrap();
    fs::write(dir.path("canary"), "alive").unwrap();
    let files = artifact(&["get", "--progress", "none", &reference, "/", "-o", "out"]).run_in(&dir);
    is_calm(&files);
    let left = if dir.path("out").exists() { listing(&dir.path("out")) } else { Vec::new() };
    let mut untouched = listing(&dir.outside(""));
    // What the cache keeps is named by digests, and by nothing that an image says.
    untouched.retain(|line| !line.starts_with("work/out/") && !line.starts_with("home/.cache/"));
    let expected =
        ["bin/ 755", r#"canary 644 "alive""#, "home/ 755", "tmp/ 755", "work/ 755", r#"work/canary 644 "alive""#];
    assert_eq!(untouched, expected);
    assert_eq!(dir.path("out").exists(), files.code == 0, "an error leaves nothing");

    let stream = artifact(&["get", "--progress", "none", &reference, "/", "-o", "-"]).run_in(&dir);
    is_calm(&stream);
    let mut names = Vec::new();
    for entry in tar::Archive::new(&stream.stdout[..]).entries().unwrap() {
        let name = entry.unwrap().path_bytes().into_owned();
        let is_plain = |part: &[u8]| part != b"..";
        assert!(!name.starts_with(b"/") && name.split(|byte| *byte == b'/').all(is_plain), "{}", name.escape_ascii());
        names.push(name.escape_ascii().to_string());
    }
    Fetched { files, left, stream, names }
}

#[track_caller]
fn is_calm(run: &Run) {
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let is_calm = |byte: char| byte == '\n' || !byte.is_control();
    assert!(run.stderr.chars().all(is_calm), "{:?}", run.stderr);
}

/// An image of these layers is refused in one line that has `words`, and nothing is written.
#[track_caller]
fn are_refused(layers: Vec<Layer>, words: &str) {
    let Fetched { files, stream, .. } = fetch(layers);
    for run in [files, stream] {
        let run = run.exits(1).says(words);
        assert_eq!((run.stderr.lines().count(), run.out().as_str()), (1, ""), "{}", run.stderr);
    }
}

/// An image of these layers is what is `expected`, both as files and in a tar stream. Gives what was said.
#[track_caller]
fn come_out_as(layers: Vec<Layer>, expected: &[&str]) -> Run {
    let Fetched { files, left, stream, names } = fetch(layers);
    let (files, _) = (files.exits(0), stream.exits(0));
    assert_eq!(left, expected);
    let expected: Vec<&str> = expected.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, expected, "the tar stream has the same");
    files
}

/// A layer of these entries is refused; see [`are_refused`].
#[track_caller]
fn is_refused<const N: usize>(entries: [Entry; N], words: &str) {
    are_refused(vec![Layer::new(entries)], words);
}

/// A layer of these entries is what is `expected`; see [`come_out_as`].
#[track_caller]
fn comes_out_as<const N: usize>(entries: [Entry; N], expected: &[&str]) -> Run {
    come_out_as(vec![Layer::new(entries)], expected)
}
