//! Where the system gives little: few descriptors, files no larger than a limit, a disk that is full or cannot be written to.
//! What can be done is done; what cannot is said, and nothing is left behind.

use std::path::PathBuf;

use crate::support::*;

/// The program, as a shell starts it that has set a limit first.
fn limited<S: AsRef<std::ffi::OsStr>>(limit: &str, arguments: &[S]) -> Program {
    artifact(arguments).under(&["/bin/sh", "-c", &format!("{limit}; exec \"$0\" \"$@\"")])
}

/// `levels` directories in one another, with a file in the innermost.
fn pit(levels: usize) -> Layer {
    let path = vec!["d"; levels].join("/");
    Layer::new([file(format!("{path}/bottom"), "hello")])
}

fn bottom(levels: usize) -> PathBuf {
    PathBuf::from(vec!["d"; levels].join("/")).join("bottom")
}

#[test]
fn a_deep_tree_is_written_and_merged_into_with_few_descriptors() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer(pit(500)));
    let dir = WorkDir::new();
    for _ in ["new", "there already"] {
        limited("ulimit -n 48", &["get", &reference, "/d"]).run_in(&dir).exits(0);
        assert_eq!(dir.read(bottom(500).to_str().unwrap()), b"hello");
    }
    let entries: Vec<_> = std::fs::read_dir(dir.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(entries, ["d"]);
    limited("ulimit -n 48", &["get", &reference, "/d", "-o", "-"]).run_in(&dir).exits(0);
}

#[test]
fn a_deep_tree_that_cannot_be_published_is_removed_with_few_descriptors() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer(pit(500)).layer([file("other", "x")]));
    let dir = WorkDir::new();
    std::fs::create_dir(dir.path("other")).unwrap();
    limited("ulimit -n 48", &["get", &reference, "/d", "/other"]).run_in(&dir).exits(1).says("existing directory");
    assert_eq!(dir.listing(), ["other/ 755"]);
}

#[test]
fn a_tree_deeper_than_any_is_refused_with_few_descriptors_and_leaves_nothing() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer(pit(1000)));
    let dir = WorkDir::new();
    limited("ulimit -n 48", &["get", &reference, "/d"]).run_in(&dir).exits(1).says("nested deeper than 512 levels");
    assert!(dir.listing().is_empty());
}

#[test]
fn too_few_descriptors_for_anything_leave_nothing_at_whatever_point_they_run_out() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer(pit(20)));
    for descriptors in (3..40).step_by(3) {
        let dir = WorkDir::new();
        let run = limited(&format!("ulimit -n {descriptors}"), &["get", &reference, "/d", "-o", "new/"]).run_in(&dir);
        // Without descriptors for its own libraries it does not even start.
        if run.code != 0 {
            assert!(dir.listing().is_empty(), "{descriptors}: {:?}", dir.listing());
            run.never_says("panicked");
        }
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_that_names_it() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer([file("big", vec![7; 1 << 20])]));
    let dir = WorkDir::new();
    for words in [&["get", &reference, "/big"][..], &["get", &reference, "/big", "-o", "-"]] {
        limited("ulimit -f 100", words).run_in(&dir).exits(1).says("File too large").says("ulimit -f");
        assert!(dir.listing().is_empty() && listing(&dir.tmp()).is_empty());
    }
}
