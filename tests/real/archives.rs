//! Images in files: what the engine saves, what skopeo writes, plain or compressed as a whole, on disk or through a pipe.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::engine::{self, NEEDS, without_special_files};
use crate::plugin::Plugin;
use crate::tools::{ENGINE, at_exit, can_run, finish, run, skopeo_copy};
use crate::tree::{Metadata, Tree};
use crate::whole_image::assert_get_shows;

/// Gets the whole of `image` and compares it with what `docker cp` shows of the image that the engine built.
fn assert_is_the_built_image(image: &str, options: &[&str]) {
    let expected = without_special_files(&engine::built().tree);
    assert_get_shows(image, options, &expected, Metadata::Permissions, image);
}

/// What `docker save` writes of the engine's image.
fn save(tag: &str, file: &Path) -> String {
    let path = file.display().to_string();
    run(Command::new("docker").args(["save", "--output", &path, tag]));
    path
}

#[test]
fn what_docker_save_writes_gives_the_same_tree_from_a_file_and_from_standard_input() {
    let test = "what_docker_save_writes_gives_the_same_tree_from_a_file_and_from_standard_input";
    if !can_run(test, &[NEEDS, &["gzip", "zstd", "xz", "bzip2"]].concat()) {
        return;
    }
    let work = TempDir::new().unwrap();
    let saved = save(&engine::built().tag, &work.path().join("saved.tar"));
    assert_is_the_built_image(&saved, &[]);
    assert_is_the_built_image(&saved, &["--verify"]);

    for (compress, suffix) in [
        (&["gzip", "--keep", "--fast"][..], "gz"),
        (&["zstd", "--quiet", "-1"], "zst"),
        (&["xz", "--keep", "-0"], "xz"),
        (&["bzip2", "--keep", "--fast"], "bz2"),
    ] {
        run(Command::new(compress[0]).args(&compress[1..]).arg(&saved));
        assert_is_the_built_image(&format!("{saved}.{suffix}"), &[]);
    }

    // As a file that stands on standard input, and as a pipe.
    for through in ["exec \"$@\" <\"$0\"", "cat \"$0\" | \"$@\""] {
        let out = TempDir::new().unwrap();
        let plugin = Plugin::installed();
        let get = ["artifact", "get", "-", "/", "--quiet", "-o"];
        let directory = format!("{}/", out.path().display());
        let mut shell = Command::new("sh");
        shell.env("DOCKER_CONFIG", plugin.config()).args(["-c", through, &saved, "docker"]).args(get).arg(&directory);
        assert!(shell.stdout(Stdio::null()).status().unwrap().success(), "{through}");
        let expected = without_special_files(&engine::built().tree);
        Tree::from_directory(out.path()).assert_same(&expected, Metadata::Permissions, through);
    }
}

#[test]
fn what_skopeo_writes_gives_the_same_tree() {
    if !can_run("what_skopeo_writes_gives_the_same_tree", &[NEEDS, &["skopeo"]].concat()) {
        return;
    }
    let work = TempDir::new().unwrap();
    let path = |name: &str| work.path().join(name).display().to_string();
    let from = format!("docker-daemon:{}", engine::built().tag);
    let none: &[&str] = &[];
    for (options, to, image) in [
        (none, format!("docker-archive:{}:a/b:1", path("docker.tar")), path("docker.tar")),
        (none, format!("oci-archive:{}:1", path("oci.tar")), path("oci.tar")),
        (none, format!("oci:{}:1", path("layout")), format!("oci-dir://{}:1", path("layout"))),
        (&["--dest-compress-format", "zstd"], format!("oci:{}:1", path("zstd")), path("zstd")),
        (&["--dest-oci-accept-uncompressed-layers"], format!("oci:{}:1", path("plain")), path("plain")),
    ] {
        skopeo_copy(options, &from, &to);
        assert_is_the_built_image(&image, &[]);
        assert_is_the_built_image(&image, &["--verify"]);
    }
}

#[test]
fn what_one_build_step_wrote_comes_out_of_a_saved_image_although_a_later_step_deleted_it() {
    let test = "what_one_build_step_wrote_comes_out_of_a_saved_image_although_a_later_step_deleted_it";
    if !can_run(test, &["docker", ENGINE, "docker-registry", "busybox"]) {
        return;
    }
    let work = TempDir::new().unwrap();
    fs::copy(which("busybox"), work.path().join("busybox")).unwrap();
    // Noise, so that a layer is as long in a registry as it is here.
    let noise = "dd if=/dev/urandom of=/noise bs=1M count=8 2>/dev/null";
    fs::write(
        work.path().join("Dockerfile"),
        format!(
            "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\nRUN /bin/busybox --install -s /bin\nRUN {noise}\n\
             RUN mkdir app && echo it was built > /app/trace.log && : -o trace.log\nRUN rm /app/trace.log && {noise}2\n"
        ),
    )
    .unwrap();
    let tag = format!("docker-artifact-test-story:{}", std::process::id());
    run(Command::new("docker").env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--tag", &tag]).arg(work.path()));
    at_exit(&format!("docker rmi {tag}"));
    let saved = save(&tag, &work.path().join("saved.tar"));
    let registry = crate::registry::Registry::open();
    let pushed = engine::push(&tag, &registry, "story:1");

    let plugin = Plugin::installed();
    for image in [&saved, &pushed] {
        let out = work.path().join("out");
        let log = out.join("trace.log");
        let mut get = plugin.get(image);
        get.args(["trace.log", "--created-by", "-o trace.log", "-o"]).arg(format!("{}/", out.display()));
        let told = finish(&mut get);
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(fs::read_to_string(&log).unwrap(), "it was built\n", "{image}: {told}");
        fs::remove_file(log).unwrap();
        // Some kilobytes of 17 MB.
        let (_, fetched) = told.split_once("fetched ").unwrap_or_else(|| panic!("{told}"));
        assert!(fetched.split(' ').nth(1).is_some_and(|unit| unit == "kB" || unit == "B"), "{told}");
        // The merged view does not have it any more.
        let gone = plugin.get(image).args(["/app/trace.log", "-o", "-"]).output().unwrap();
        assert_eq!(gone.status.code(), Some(3), "{image}");
    }
    assert!(File::open(&saved).unwrap().metadata().unwrap().len() > 16 << 20);
}

/// Where `program` is.
fn which(program: &str) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file()).unwrap()
}
