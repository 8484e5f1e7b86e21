//! Images in files: what the engine saves, what skopeo writes, plain or compressed as a whole, on disk or through a pipe.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::engine::{self, NEEDS, without_special_files};
use crate::plugin::Plugin;
use crate::tools::{can_run, run, skopeo_copy};
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
