//! `copy_binary`: the same program under the name that a Dockerfile's `RUN` calls it by.

use crate::support::*;
use base64::Engine as _;
use serde_json::json;

/// Runs the program under its other name in `dir`.
fn copy_binary(dir: &WorkDir, arguments: &[&str]) -> Run {
    start(dir, arguments).wait()
}

fn start(dir: &WorkDir, arguments: &[&str]) -> program::Running {
    let path = dir.outside("bin/copy_binary");
    if !path.exists() {
        std::os::unix::fs::symlink(program::binary(), &path).unwrap();
    }
    Program::new(path).args(arguments).start_in(dir)
}

fn tool_image() -> (Registry, String) {
    let registry = Registry::start();
    let layer = [
        crate::support::dir("opt"),
        crate::support::dir("opt/lib"),
        file("opt/lib/a", "a"),
        file("bin/tool", "hello").mode(0o755),
    ];
    let reference = registry.push("team/app:1", &Image::new().layer(layer));
    (registry, reference)
}

#[test]
fn a_file_gets_its_destination_as_in_cp_and_keeps_its_mode() {
    let (_registry, reference) = tool_image();
    let from = format!("--from={reference}");
    let dir = WorkDir::new();
    std::fs::create_dir(dir.path("there")).unwrap();
    for destination in ["renamed", "there", "new/er/", "deep/er/renamed"] {
        copy_binary(&dir, &[&from, "/bin/tool", destination]).exits(0);
    }
    let files: Vec<String> = dir.listing().into_iter().filter(|line| line.contains("hello")).collect();
    let expected = ["deep/er/renamed", "new/er/tool", "renamed", "there/tool"];
    assert_eq!(files, expected.map(|name| format!("{name} 755 \"hello\"")));
}

#[test]
fn without_a_destination_a_file_gets_the_path_that_it_has_in_the_image() {
    let dir = WorkDir::new();
    let place = std::fs::canonicalize(dir.path("")).unwrap().join("usr/bin/tool");
    let path = place.to_str().unwrap();
    let registry = Registry::start();
    let image = Image::new().layer([file(path.trim_start_matches('/'), "hello").mode(0o755)]);
    let reference = registry.push("team/app:1", &image);
    let from = format!("--from={reference}");
    let all = ["usr/ 755", "usr/bin/ 755", "usr/bin/tool 755 \"hello\""];
    copy_binary(&dir, &[&from, path]).exits(0).says(path);
    assert_eq!(dir.listing(), all);
    std::fs::remove_dir_all(dir.path("usr")).unwrap();

    // By name, too, whatever the name is; before and after the label is resolved.
    let declared = image.label("org.docker-artifact.cli", path);
    let reference = registry.push("team/app:2", &declared);
    let from = format!("--from={reference}");
    copy_binary(&dir, &[&from, "cli"]).exits(0);
    assert_eq!(dir.listing(), all);
    std::fs::remove_dir_all(dir.path("usr")).unwrap();
    artifact(&["label", &reference]).run().exits(0);
    copy_binary(&dir, &[&from, "cli"]).exits(0);
    assert_eq!(dir.listing(), all);
}

#[test]
fn an_image_is_asked_for_once() {
    let dir = WorkDir::new();
    let path = std::fs::canonicalize(dir.path("")).unwrap().join("tool");
    let path = path.to_str().unwrap();
    let registry = Registry::start();
    let image = Image::new().layer([file(path, "hello")]).label("org.docker-artifact.cli", path);
    let reference = registry.push("team/app:1", &image);
    for what in ["cli", path] {
        let before = (registry.count("GET", "/manifests/1"), registry.count("GET", "/blobs/"));
        copy_binary(&dir, &[&format!("--from={reference}"), what]).exits(0);
        let after = (registry.count("GET", "/manifests/1"), registry.count("GET", "/blobs/"));
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, 2), "{what}: the manifest; the config and the layer");
    }
}

#[test]
fn directories_made_for_what_does_not_come_are_gone_also_when_it_is_stopped() {
    let registry = Registry::start();
    let layer = Layer::new([file("big", vec![9; 4 << 20])]).plain();
    let image = Image::new().layer(layer);
    let reference = registry.push("team/app:1", &image);
    registry.requests_for(&image.pack().layers[0].digest()).fail(Fault::StallAfter(3 << 20));
    let dir = WorkDir::new();
    for destination in ["made/for/it", "made/for/it/"] {
        let running = start(&dir, &[&format!("--from={reference}"), "/big", destination]);
        registry.wait_for_stall();
        running.signal(rustix::process::Signal::TERM);
        running.wait().exits(143);
        assert!(dir.listing().is_empty(), "{:?}", dir.listing());
    }
}

#[test]
fn a_named_artifact_goes_under_its_name_into_a_directory() {
    let (_registry, reference) = tool_image();
    artifact(&["label", &reference, "cli=/bin/tool"]).run().exits(0);
    let dir = WorkDir::new();
    copy_binary(&dir, &[&format!("--from={reference}"), "cli", "bin/"]).exits(0);
    assert_eq!(dir.listing(), ["bin/ 755", "bin/cli 755 \"hello\""]);
}

#[test]
fn a_destination_may_be_a_link_to_a_directory_as_bin_often_is() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    std::fs::create_dir_all(dir.path("usr/bin")).unwrap();
    std::os::unix::fs::symlink("usr/bin", dir.path("bin")).unwrap();
    for destination in ["bin/", "bin/renamed"] {
        copy_binary(&dir, &[&format!("--from={reference}"), "/bin/tool", destination]).exits(0);
    }
    assert_eq!(dir.read("usr/bin/tool"), b"hello");
    assert_eq!(dir.read("usr/bin/renamed"), b"hello");
}

#[test]
fn directories_are_copied_whole() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    copy_binary(&dir, &[&format!("--from={reference}"), "/opt/lib", "made/lib"]).exits(0);
    assert_eq!(dir.listing(), ["made/ 755", "made/lib/ 755", "made/lib/a 644 \"a\""]);
}

#[test]
fn a_failure_has_the_same_exit_codes_and_leaves_nothing() {
    let (registry, reference) = tool_image();
    let from = format!("--from={reference}");
    let dir = WorkDir::new();
    copy_binary(&dir, &[&from, "/bin/tol", "made/for/it"]).exits(3).says("copy_binary: ").says("/bin/tool");
    copy_binary(&dir, &[&format!("{from}9"), "/bin/tool", "made/for/it"]).exits(3);
    copy_binary(&dir, &[&from]).exits(2).says("Usage:  copy_binary [OPTIONS] --from IMAGE PATH|NAME [DEST]");
    copy_binary(&dir, &[&from, "/"]).exits(2).says("DEST");
    let corrupt = Image::new().layer(Layer::new([file("tool", "x")]).plain()).pack();
    let reference = registry.push("team/app:2", &corrupt);
    registry.requests_for(&corrupt.layers[0].digest()).fail(Fault::Altered(512));
    copy_binary(&dir, &[&format!("--from={reference}"), "/tool", "made/for/it"]).exits(5);
    assert!(dir.listing().is_empty(), "{:?}", dir.listing());
}

#[test]
fn quiet_means_nothing_but_errors() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    let run = copy_binary(&dir, &["-q", "--from", &reference, "/bin/tool", "x"]).exits(0);
    assert_eq!((run.out().as_str(), run.stderr.as_str()), ("", ""));
    copy_binary(&dir, &["-q", "--from", &reference, "/bin/tol", "x"]).exits(3).says("/bin/tol");
}

#[test]
fn credentials_are_read_as_by_get() {
    let registry = Registry::options().basic("user", "secret").start();
    let reference = registry.push("team/app:1", &Image::new().layer([file("tool", "hello")]));
    let dir = WorkDir::new();
    let from = format!("--from={reference}");
    copy_binary(&dir, &[&from, "/tool", "x"]).exits(4);
    let auth = base64::engine::general_purpose::STANDARD.encode("user:secret");
    dir.docker_config(&json!({"auths": {registry.host(): {"auth": auth}}}));
    copy_binary(&dir, &[&from, "/tool", "x"]).exits(0).never_says("secret");
    assert_eq!(dir.read("x"), b"hello");
}

#[test]
fn the_platform_option_chooses_the_image() {
    let registry = Registry::start();
    let image = |platform: &str| Image::new().platform(platform).layer([file("tool", platform)]);
    let index = Index::new().image(&image("linux/amd64")).image(&image("linux/arm64"));
    let from = format!("--from={}", registry.push("team/app:1", &index));
    let dir = WorkDir::new();
    copy_binary(&dir, &[&from, "--platform", "linux/arm64", "/tool", "x"]).exits(0);
    assert_eq!(dir.read("x"), b"linux/arm64");
}

#[test]
fn help_names_the_program_and_shows_how_it_is_used() {
    let help = copy_binary(&WorkDir::new(), &["--help"]).exits(0).out();
    for part in
        ["Usage:  copy_binary [OPTIONS] --from IMAGE PATH|NAME [DEST]", "RUN copy_binary --from=alpine", "--platform"]
    {
        assert!(help.contains(part), "no {part:?} in {help}");
    }
}

#[test]
fn what_is_in_the_way_is_told_without_a_flag_that_there_is_not() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    std::fs::write(dir.path("there"), "a file").unwrap();
    let run = copy_binary(&dir, &["--from", &reference, "/bin/tool", "there/tool"]).exits(1);
    run.says("there is not a directory; remove it or choose another destination").never_says(" -o");
}

#[test]
fn a_label_that_does_not_say_where_its_file_is_wants_a_destination() {
    let registry = Registry::start();
    let image = Image::new().layer([file("bin/tool", "hello")]);
    let blob = image.pack().layers[0].digest();
    let from = format!("--from={}", registry.push("team/app:1", &image.label("tool", &blob)));
    let dir = WorkDir::new();
    copy_binary(&dir, &[&from, "tool"]).exits(1).says("has a label that does not say where it is; add DEST");
    copy_binary(&dir, &[&from, "tool", "here"]).exits(0);
    assert_eq!(dir.read("here"), b"hello");
}

#[test]
fn what_only_an_attached_record_names_is_refused_without_a_flag_that_there_is_not() {
    let (_registry, reference) = tool_image();
    let digest = artifact(&["label", "-q", "--attach", &reference, "/bin/tool"]).run().exits(0).out();
    let pinned = format!("--from={reference}@{}", digest.trim_end());
    let run = copy_binary(&WorkDir::new(), &[&pinned, "tool", "here"]).exits(1);
    run.says("use its path (/bin/tool)").never_says("--trust-attached");
}
