//! One reference, several platforms: a manifest list made by Docker and the image index that skopeo makes of it.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::plugin::Plugin;
use crate::registry::Registry;
use crate::tools::{can_run, finish, run, skopeo_copy};

/// Pushes an image that says in `/platform` what it is for.
fn push_image_for(architecture: &str, work: &Path, registry: &Registry) -> String {
    let layout = work.join(architecture);
    let image = format!("{}:latest", layout.display());
    let layer = work.join(format!("{architecture}.tar"));
    std::fs::write(work.join("platform"), format!("linux/{architecture}\n")).unwrap();
    run(Command::new("tar").arg("-C").arg(work).arg("-cf").arg(&layer).arg("platform"));
    run(Command::new("umoci").arg("init").arg("--layout").arg(&layout));
    run(Command::new("umoci").args(["new", "--image", &image]));
    run(Command::new("umoci").args(["config", "--image", &image, "--os", "linux", "--architecture", architecture]));
    run(Command::new("umoci").args(["raw", "add-layer", "--image", &image]).arg(&layer));
    let reference = format!("{}/platforms:{architecture}", registry.host);
    skopeo_copy(&["--format", "v2s2"], &format!("oci:{image}"), &format!("docker://{reference}"));
    reference
}

#[test]
fn platform_chooses_from_a_manifest_list_and_from_an_image_index() {
    if !can_run(
        "platform_chooses_from_a_manifest_list_and_from_an_image_index",
        &["docker", "docker-registry", "skopeo", "umoci", "tar"],
    ) {
        return;
    }
    let work = TempDir::new().unwrap();
    let registry = Registry::open();
    let plugin = Plugin::installed();
    let images = ["amd64", "arm64", "arm"].map(|architecture| push_image_for(architecture, work.path(), &registry));
    let list = format!("{}/platforms:list", registry.host);
    run(plugin
        .docker()
        .args(["manifest", "create", "--insecure", &list])
        .args(&images)
        .env("DOCKER_CLI_EXPERIMENTAL", "enabled"));
    run(plugin
        .docker()
        .args(["manifest", "annotate", "--variant", "v7", &list, &images[2]])
        .env("DOCKER_CLI_EXPERIMENTAL", "enabled"));
    run(plugin.docker().args(["manifest", "push", "--insecure", &list]).env("DOCKER_CLI_EXPERIMENTAL", "enabled"));
    let index = format!("{}/platforms-oci:index", registry.host);
    skopeo_copy(&["--all", "--format", "oci"], &format!("docker://{list}"), &format!("docker://{index}"));

    for reference in [&list, &index] {
        for (platform, expected) in [
            ("linux/amd64", "linux/amd64\n"),
            ("linux/arm64", "linux/arm64\n"),
            ("linux/arm/v7", "linux/arm\n"),
            ("linux/arm64/v8", "linux/arm64\n"),
        ] {
            let content = run(plugin.get(reference).args(["--platform", platform, "/platform", "-o", "-"]));
            assert_eq!(String::from_utf8_lossy(&content), expected, "{reference} for {platform}");
        }
        let output = finish(plugin.get(reference).args(["--platform", "linux/s390x", "/platform", "-o", "-"]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        for there in ["linux/amd64", "linux/arm64", "linux/arm/v7"] {
            assert!(said.contains(there), "{there} is there, but: {said}");
        }
    }
}
