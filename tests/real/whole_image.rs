//! Every path of an image, got by `docker artifact get`, against what `docker cp` shows of a container made from it.

use std::process::Command;

use tempfile::TempDir;

use crate::engine::{self, NEEDS, without_special_files};
use crate::plugin::Plugin;
use crate::tools::{can_run, run, stream};
use crate::tree::{Metadata, Tree};

/// Gets the whole of `image` and compares it with `expected`.
pub fn assert_get_shows(image: &str, options: &[&str], expected: &Tree, metadata: Metadata, what: &str) {
    assert_plugin_gets(&Plugin::installed(), image, options, expected, metadata, what);
}

/// The same, by what this plugin has in its cache.
pub fn assert_plugin_gets(
    plugin: &Plugin,
    image: &str,
    options: &[&str],
    expected: &Tree,
    metadata: Metadata,
    what: &str,
) {
    let destination = TempDir::new().unwrap();
    let directory = format!("{}/", destination.path().display());
    run(plugin.get(image).args(["/", "--quiet", "-o", &directory]).args(options));
    Tree::from_directory(destination.path()).assert_same(expected, metadata, what);
}

#[test]
fn every_path_of_an_image_is_what_docker_cp_shows() {
    if !can_run("every_path_of_an_image_is_what_docker_cp_shows", NEEDS) {
        return;
    }
    let expected = without_special_files(&engine::built().tree);
    assert!(expected.0.len() > 700, "only {} paths", expected.0.len());

    assert_get_shows(&engine::pushed().reference, &[], &expected, Metadata::Permissions, "get /");
}

#[test]
fn preserve_keeps_special_bits_and_owners_as_docker_cp_shows_them() {
    if !can_run("preserve_keeps_special_bits_and_owners_as_docker_cp_shows_them", NEEDS) {
        return;
    }
    let expected = without_special_files(&engine::built().tree);

    assert_get_shows(&engine::pushed().reference, &["--preserve"], &expected, Metadata::Everything, "get --preserve /");
}

#[test]
fn a_directory_as_a_tar_stream_is_what_docker_cp_streams() {
    if !can_run("a_directory_as_a_tar_stream_is_what_docker_cp_streams", NEEDS) {
        return;
    }
    let plugin = Plugin::installed();
    let ours =
        stream(plugin.get(&engine::pushed().reference).args(["/srv", "--quiet", "-o", "-"]), |tar| Tree::from_tar(tar));
    let container = format!("{}:/srv", engine::built().container);
    let theirs = stream(Command::new("docker").args(["cp", &container, "-"]), |tar| Tree::from_tar(tar));

    ours.assert_same(&without_special_files(&theirs), Metadata::Permissions, "get /srv -o -");
}
