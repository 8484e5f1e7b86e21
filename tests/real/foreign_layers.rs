//! Layers that no engine wrote: every dialect of GNU tar, and what umoci writes, against what `umoci unpack` and `tar` make of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::registry::Registry;
use crate::tools::{ROOT, can_run, run, skopeo_copy, sources};
use crate::tree::{Metadata, Tree};
use crate::whole_image::assert_get_shows;

const NEEDS: &[&str] = &["docker", "docker-registry", "skopeo", "umoci", "tar", ROOT];

fn umoci(arguments: &[&str]) {
    run(Command::new("umoci").args(arguments));
}

/// A folder with the layers of image/foreign.sh, and an OCI layout there of the ones that are named. Gives the image's name for umoci.
fn layout_of(layers: &[&str], work: &Path) -> String {
    run(Command::new("sh").arg(sources().join("foreign.sh")).arg(work));
    let layout = work.join("layout").display().to_string();
    let image = format!("{layout}:latest");
    umoci(&["init", "--layout", &layout]);
    umoci(&["new", "--image", &image]);
    for layer in layers {
        umoci(&["raw", "add-layer", "--image", &image, &work.join(layer).display().to_string()]);
    }
    image
}

fn assert_get_of(image: &str, expected: &Tree, what: &str) {
    let registry = Registry::open();
    let reference = format!("{}/foreign/image:latest", registry.host);
    skopeo_copy::<&str>(&[], &format!("oci:{image}"), &format!("docker://{reference}"));
    assert_get_shows(&reference, &[], expected, Metadata::Permissions, what);
}

#[test]
fn layers_in_every_dialect_of_gnu_tar_give_what_umoci_unpacks() {
    if !can_run("layers_in_every_dialect_of_gnu_tar_give_what_umoci_unpacks", NEEDS) {
        return;
    }
    let work = TempDir::new().unwrap();
    let path = |name: &str| work.path().join(name).display().to_string();
    let image = layout_of(&["1.tar", "2.tar", "3.tar", "4.tar", "5.tar", "6.tar", "7.tar"], work.path());

    // One more layer by umoci itself: it writes whiteouts for what is gone and one entry for what changed.
    let rootfs = work.path().join("bundle/rootfs");
    umoci(&["unpack", "--image", &image, &path("bundle")]);
    fs::remove_dir_all(rootfs.join("pax")).unwrap();
    fs::remove_file(rootfs.join("shared/file")).unwrap();
    fs::create_dir(rootfs.join("shared/file")).unwrap();
    fs::write(rootfs.join("shared/file/inside"), "by umoci\n").unwrap();
    umoci(&["repack", "--refresh-bundle", "--image", &image, &path("bundle")]);
    umoci(&["unpack", "--image", &image, &path("unpacked")]);

    assert_get_of(&image, &Tree::from_directory(&work.path().join("unpacked/rootfs")), "get / of foreign layers");
}

/// Neither umoci nor Docker reads these, so GNU tar itself is the measure.
#[test]
fn old_gnu_sparse_files_give_what_tar_extracts() {
    if !can_run("old_gnu_sparse_files_give_what_tar_extracts", NEEDS) {
        return;
    }
    let work = TempDir::new().unwrap();
    let image = layout_of(&["gnu-sparse.tar"], work.path());
    let extracted = work.path().join("extracted");
    fs::create_dir(&extracted).unwrap();
    run(Command::new("tar").arg("-C").arg(&extracted).arg("-xpf").arg(work.path().join("gnu-sparse.tar")));

    assert_get_of(&image, &Tree::from_directory(&extracted), "get / of old GNU sparse files");
}
