//! Images in the engines of the next Debian: Docker's with either of its stores, and podman's behind its compatible socket. Each gives what
//! the engine here shows of the same image, by path and by step, and keeps no container.

use std::process::Command;

use crate::engine::{self, NEEDS, without_special_files};
use crate::newer::{self, Kind, Shared};
use crate::plugin::Plugin;
use crate::tools::{NEWER_DEBIAN, can_run, finish, json_lines, run, stream};
use crate::tree::{Metadata, Tree};

/// The plugin, on its way to the engine of this kind.
fn artifact(plugin: &Plugin, kind: Kind, arguments: &[&str]) -> Command {
    let mut docker = plugin.docker();
    docker.env("DOCKER_HOST", newer::engine(kind)).arg("artifact").args(arguments);
    docker
}

/// Loads the image that the engine here has built into the engine of this kind, and looks at it there.
fn assert_has_the_built_image(kind: Kind) {
    let shared = Shared::new();
    // The engine here does not know this name.
    let tag = shared.save(&format!("{kind:?}").to_lowercase());
    newer::load(kind, &shared.there("saved.tar"));

    let (plugin, image) = (Plugin::installed(), format!("local://{tag}"));
    let expected = without_special_files(&engine::built().tree);
    for options in [&[][..], &["--verify"]] {
        let out = shared.here("out");
        let directory = format!("{}/", out.display());
        run(artifact(&plugin, kind, &["get", &image, "/", "--quiet", "-o", &directory]).args(options));
        let what = format!("{kind:?} {options:?}");
        Tree::from_directory(&out).assert_same(&expected, Metadata::Permissions, &what);
        std::fs::remove_dir_all(out).unwrap();
    }
    // A directory comes from a container.
    let get = ["get", &image, "/srv", "--quiet", "-o", "-"];
    let directory = stream(&mut artifact(&plugin, kind, &get), |tar| Tree::from_tar(tar));
    let expected = expected.without(|path, _| !path.starts_with(b"srv"));
    directory.assert_same(&expected, Metadata::Permissions, &format!("{kind:?}, a directory"));

    let step = ["get", &image, "/srv/deleted/1", "--created-by", "of the first step", "--quiet", "-o", "-"];
    assert_eq!(run(&mut artifact(&plugin, kind, &step)), b"file 1 of the first step\n", "{kind:?}");
    let gone = finish(&mut artifact(&plugin, kind, &["get", &image, "/srv/deleted/1", "-o", "-"]));
    assert_eq!(gone.status.code(), Some(3), "{kind:?}: {}", String::from_utf8_lossy(&gone.stderr));
    let listed = run(&mut artifact(&plugin, kind, &["ls", "-a", "--format", "json", &image]));
    assert_eq!(json_lines(&listed), engine::built().tree.0.len(), "ls -a, {kind:?}");

    let left = run(newer::docker(kind).args(["ps", "--all", "--quiet"]));
    assert_eq!(String::from_utf8_lossy(&left), "", "containers of {kind:?}");
    run(newer::docker(kind).args(["rmi", &tag]));
}

#[test]
fn an_engine_with_dockers_own_store_gives_the_same_tree() {
    if can_run("an_engine_with_dockers_own_store_gives_the_same_tree", &[NEEDS, &[NEWER_DEBIAN]].concat()) {
        assert_has_the_built_image(Kind::Classic);
    }
}

#[test]
fn an_engine_with_containerds_store_gives_the_same_tree() {
    if can_run("an_engine_with_containerds_store_gives_the_same_tree", &[NEEDS, &[NEWER_DEBIAN]].concat()) {
        assert_has_the_built_image(Kind::Containerd);
    }
}

#[test]
fn podman_behind_its_compatible_socket_gives_the_same_tree() {
    if can_run("podman_behind_its_compatible_socket_gives_the_same_tree", &[NEEDS, &[NEWER_DEBIAN]].concat()) {
        assert_has_the_built_image(Kind::Podman);
    }
}
