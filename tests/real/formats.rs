//! The same image as other tools store it: each copy gives the same tree.

use tempfile::TempDir;

use crate::engine::{self, NEEDS, without_special_files};
use crate::registry::Registry;
use crate::tools::{can_run, skopeo_copy};
use crate::tree::Metadata;
use crate::whole_image::assert_get_shows;

fn can_copy(test: &str) -> bool {
    can_run(test, &[NEEDS, &["skopeo"]].concat())
}

/// A registry of its own for each copy: skopeo would find the layers of another copy there and use those.
fn assert_a_copy_is_the_same(options: &[&str]) {
    let registry = Registry::open();
    let built = engine::built();
    let reference = format!("{}/copied/image:latest", registry.host);
    skopeo_copy(options, &format!("docker-daemon:{}", built.tag), &format!("docker://{reference}"));

    assert_get_shows(&reference, &[], &without_special_files(&built.tree), Metadata::Permissions, &options.join(" "));
}

#[test]
fn an_oci_manifest_gives_the_same_tree() {
    if can_copy("an_oci_manifest_gives_the_same_tree") {
        assert_a_copy_is_the_same(&["--format", "oci"]);
    }
}

#[test]
fn zstd_layers_give_the_same_tree() {
    if can_copy("zstd_layers_give_the_same_tree") {
        assert_a_copy_is_the_same(&["--format", "oci", "--dest-compress-format", "zstd"]);
    }
}

/// skopeo copies the layers uncompressed but, up to 1.9 at least, says gzip in their media type all the same: the bytes count.
#[test]
fn plain_tar_layers_give_the_same_tree() {
    if !can_copy("plain_tar_layers_give_the_same_tree") {
        return;
    }
    let registry = Registry::open();
    let built = engine::built();
    let layout = TempDir::new().unwrap();
    let local = format!("oci:{}:plain", layout.path().display());
    let reference = format!("{}/plain/image:latest", registry.host);
    skopeo_copy(&["--dest-oci-accept-uncompressed-layers"], &format!("docker-daemon:{}", built.tag), &local);
    skopeo_copy(&["--preserve-digests"], &local, &format!("docker://{reference}"));

    assert_get_shows(&reference, &[], &without_special_files(&built.tree), Metadata::Permissions, "plain tar layers");
}
