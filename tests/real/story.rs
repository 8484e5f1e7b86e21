//! The story that the options for build steps are for: one step of a build writes a log among big layers, and a later one deletes it. It comes
//! out of the saved image, out of a registry and out of the engine, whichever builder made it.

use std::fs;
use std::path::PathBuf;
use std::process::{self, Command};

use tempfile::TempDir;

use crate::engine;
use crate::plugin::Plugin;
use crate::registry::Registry;
use crate::tools::{BUILDKIT, ENGINE, at_exit, can_run, docker_with_buildkit, finish, run};

/// Noise, so that a layer is as long in a registry as it is here.
const NOISE: &str = "dd if=/dev/urandom bs=1M count=8 2>/dev/null";

/// busybox has a program that writes its output where `-o` says. What the step writes beside that, a later one changes.
fn dockerfile() -> String {
    format!(
        "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\nRUN /bin/busybox --install -s /bin\nRUN {NOISE} >/first\n\
         WORKDIR /app\nRUN printf 'b\\na\\n' >state && sort -o trace.log state && {NOISE} >second\nENV later=yes\n\
         RUN rm trace.log && echo changed >state && {NOISE} >third\n"
    )
}

/// Tells the story of the image that `docker build` makes with `DOCKER_BUILDKIT=buildkit`.
fn tell(builder: &str, docker: PathBuf, buildkit: &str) {
    let work = TempDir::new().unwrap();
    fs::copy(which("busybox"), work.path().join("busybox")).unwrap();
    fs::write(work.path().join("Dockerfile"), dockerfile()).unwrap();
    let tag = format!("docker-artifact-test-story:{builder}-{}", process::id());
    let mut build = Command::new(docker);
    run(build
        .env("DOCKER_BUILDKIT", buildkit)
        .args(["build", "--quiet", "--no-cache", "--tag", &tag])
        .arg(work.path()));
    at_exit(&format!("docker rmi {tag}"));

    let saved = work.path().join("saved.tar");
    run(Command::new("docker").args(["save", "--output"]).arg(&saved).arg(&tag));
    assert!(saved.metadata().unwrap().len() > 24 << 20);
    let registry = Registry::open();
    let pushed = engine::push(&tag, &registry, "story:1");

    let plugin = Plugin::installed();
    // In each, the step's layer is 8 MiB of 24; a file that is seeked gives the log alone.
    for (image, at_most) in
        [(saved.display().to_string(), 1 << 20), (pushed, 9 << 20), (format!("local://{tag}"), u64::MAX)]
    {
        let out = work.path().join("out");
        let mut get = plugin.get(&image);
        get.args(["trace.log", "state", "--created-by", "-o trace.log", "-o"]).arg(format!("{}/", out.display()));
        let got = finish(&mut get);
        let told = String::from_utf8_lossy(&got.stderr);
        assert!(got.status.success(), "{builder}, {image}: {told}");
        assert_eq!(fs::read_to_string(out.join("trace.log")).unwrap(), "a\nb\n", "{builder}, {image}: {told}");
        assert_eq!(fs::read_to_string(out.join("state")).unwrap(), "b\na\n", "{builder}, {image}: {told}");
        fs::remove_dir_all(out).unwrap();
        assert!(fetched(&told) < at_most, "{builder}, {image}: {told}");

        // All layers together have the changed file, and no log.
        let state = run(plugin.get(&image).args(["/app/state", "-o", "-"]));
        assert_eq!(state, b"changed\n", "{builder}, {image}");
        let gone = finish(plugin.get(&image).args(["/app/trace.log", "-o", "-"]));
        assert_eq!(gone.status.code(), Some(3), "{builder}, {image}");
        // The engine shows what there is, and not which layer took the rest away.
        let why = String::from_utf8_lossy(&gone.stderr);
        assert!(image.starts_with("local://") || why.contains("rm trace.log"), "{builder}, {image}: {why}");
    }
}

/// The bytes that the closing line says were fetched.
fn fetched(told: &str) -> u64 {
    let (_, fetched) = told.split_once("fetched ").unwrap_or_else(|| panic!("nothing fetched: {told}"));
    let mut words = fetched.split(' ');
    let number: f64 = words.next().unwrap().parse().unwrap_or_else(|_| panic!("{told}"));
    let unit = match words.next() {
        Some("MB") => 1e6,
        Some("kB") => 1e3,
        Some("B") => 1.0,
        _ => panic!("an unknown unit: {told}"),
    };
    (number * unit) as u64
}

/// Where `program` is.
fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file()).unwrap()
}

#[test]
fn what_one_step_of_the_classic_builder_wrote_comes_out_of_a_saved_image_a_registry_and_the_engine() {
    let test = "what_one_step_of_the_classic_builder_wrote_comes_out_of_a_saved_image_a_registry_and_the_engine";
    if can_run(test, &["docker", ENGINE, "docker-registry", "busybox"]) {
        tell("classic", which("docker"), "0");
    }
}

#[test]
fn what_one_step_of_buildkit_wrote_comes_out_of_a_saved_image_a_registry_and_the_engine() {
    let test = "what_one_step_of_buildkit_wrote_comes_out_of_a_saved_image_a_registry_and_the_engine";
    if can_run(test, &["docker", ENGINE, BUILDKIT, "docker-registry", "busybox"]) {
        tell("buildkit", docker_with_buildkit().unwrap().to_owned(), "1");
    }
}
