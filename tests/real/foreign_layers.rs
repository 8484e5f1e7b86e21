//! Layers that no engine wrote: every dialect of GNU tar, and what umoci writes, against `umoci unpack`.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::registry::Registry;
use crate::tools::{ROOT, can_run, run, skopeo_copy, sources};
use crate::tree::{Metadata, Tree};
use crate::whole_image::assert_get_shows;

#[test]
fn layers_in_every_dialect_of_gnu_tar_give_what_umoci_unpacks() {
    if !can_run(
        "layers_in_every_dialect_of_gnu_tar_give_what_umoci_unpacks",
        &["docker", "docker-registry", "skopeo", "umoci", "tar", ROOT],
    ) {
        return;
    }
    let work = TempDir::new().unwrap();
    let image = format!("{}:latest", work.path().join("layout").display());
    let umoci = |arguments: &[&str]| run(Command::new("umoci").args(arguments));
    umoci(&["init", "--layout", &work.path().join("layout").display().to_string()]);
    umoci(&["new", "--image", &image]);
    run(Command::new("sh").arg(sources().join("foreign.sh")).arg(work.path()));
    for number in 1..=7 {
        umoci(&[
            "raw",
            "add-layer",
            "--image",
            &image,
            &work.path().join(format!("{number}.tar")).display().to_string(),
        ]);
    }

    // One more layer by umoci itself: it writes whiteouts for what is gone and one entry for what changed.
    let bundle = work.path().join("bundle");
    umoci(&["unpack", "--image", &image, &bundle.display().to_string()]);
    fs::remove_dir_all(bundle.join("rootfs/pax")).unwrap();
    fs::remove_file(bundle.join("rootfs/shared/file")).unwrap();
    fs::create_dir(bundle.join("rootfs/shared/file")).unwrap();
    fs::write(bundle.join("rootfs/shared/file/inside"), "by umoci\n").unwrap();
    umoci(&["repack", "--refresh-bundle", "--image", &image, &bundle.display().to_string()]);
    let unpacked = work.path().join("unpacked");
    umoci(&["unpack", "--image", &image, &unpacked.display().to_string()]);
    let expected = Tree::from_directory(&unpacked.join("rootfs"));

    let registry = Registry::open();
    let reference = format!("{}/foreign/image:latest", registry.host);
    skopeo_copy::<&str>(&[], &format!("oci:{image}"), &format!("docker://{reference}"));
    assert_get_shows(&reference, &[], &expected, Metadata::Permissions, "get / of foreign layers");
}
