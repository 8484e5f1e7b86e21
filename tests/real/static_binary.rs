//! The binary that `make dist` makes, where there is nothing else: in an image made from scratch, and in an empty directory as root; and the image
//! of `copy_binary`, which holds one for each platform.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{self, Command};

use tempfile::TempDir;

use crate::engine::{self, NEEDS};
use crate::newer::{self, Kind, Shared};
use crate::tools::{NEWER_DEBIAN, ROOT, STATIC_BINARY, at_exit, can_run, finish, run, static_binary};

const PATH: &str = "/srv/kept/chmod";
const CONTENT: &[u8] = b"only its mode changes\n";

/// The reference of the pushed image with another name for this machine.
fn by_name(host: &str) -> String {
    engine::pushed().reference.replacen("127.0.0.1", host, 1)
}

#[test]
fn the_static_binary_finds_registries_from_an_image_made_from_scratch() {
    let test = "the_static_binary_finds_registries_from_an_image_made_from_scratch";
    if !can_run(test, &[NEEDS, &[STATIC_BINARY]].concat()) {
        return;
    }
    let context = TempDir::new().unwrap();
    fs::copy(static_binary(), context.path().join("docker-artifact")).unwrap();
    // There is no /tmp to stage content in until it is made.
    let dockerfile = "FROM scratch\nCOPY docker-artifact /docker-artifact\nWORKDIR /tmp\nENTRYPOINT [\"/docker-artifact\", \"get\"]\n";
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let tag = format!("docker-artifact-static:{}", process::id());
    run(Command::new("docker")
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--quiet", "--tag", &tag])
        .arg(context.path()));
    at_exit(&format!("docker rmi {tag}"));

    // By address, by a name that is loopback's by definition, by one in /etc/hosts, and without a home directory.
    let named = ["--add-host", "registry.test:127.0.0.1"];
    for (host, options, flags) in [
        ("127.0.0.1", &[][..], &[][..]),
        ("localhost", &[], &[]),
        ("registry.test", &named, &["--plain-http"]),
        ("localhost", &["--env", "HOME="], &[]),
    ] {
        let mut docker = Command::new("docker");
        docker.args(["run", "--rm", "--network", "host"]).args(options);
        let content = run(docker.args([&tag, &by_name(host), PATH, "-o", "-"]).args(flags));
        assert_eq!(content, CONTENT, "{host} {options:?}");
    }
}

#[test]
fn the_static_binary_needs_no_file_but_itself() {
    if !can_run("the_static_binary_needs_no_file_but_itself", &[NEEDS, &[STATIC_BINARY, ROOT, "chroot"]].concat()) {
        return;
    }
    let root = TempDir::new().unwrap();
    fs::copy(static_binary(), root.path().join("docker-artifact")).unwrap();
    symlink("docker-artifact", root.path().join("copy_binary")).unwrap();
    let inside = |program: &str| {
        let mut chroot = Command::new("chroot");
        chroot.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg(root.path()).arg(program);
        chroot
    };
    for host in ["127.0.0.1", "localhost"] {
        run(inside("/docker-artifact").args(["get", &by_name(host), PATH]));
        let file = root.path().join("chmod");
        assert_eq!(fs::read(&file).unwrap(), CONTENT, "{host}");
        fs::remove_file(file).unwrap();
    }
    // Without a resolv.conf no other name resolves, and nobody is asked whom nobody named.
    let output = finish(inside("/docker-artifact").args(["get", "registry.invalid/app", PATH]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("registry.invalid"), "{said}");
}

#[test]
fn the_image_of_copy_binary_has_the_binary_of_each_platform() {
    if !can_run("the_image_of_copy_binary_has_the_binary_of_each_platform", &[ROOT, STATIC_BINARY, NEWER_DEBIAN]) {
        return;
    }
    let shared = Shared::new();
    let context = shared.here("dist");
    fs::create_dir(&context).unwrap();
    fs::copy(static_binary(), context.join("docker-artifact-linux-amd64")).unwrap();
    // What it holds is not run in the build.
    fs::write(context.join("docker-artifact-linux-arm64"), "the other platform's").unwrap();
    fs::write(shared.here("Dockerfile"), include_str!("../../packaging/copy_binary/Dockerfile")).unwrap();
    run(newer::docker(Kind::Containerd)
        .args(["buildx", "build", "--platform", "linux/amd64,linux/arm64", "--file", &shared.there("Dockerfile")])
        .args(["--output", &format!("type=oci,dest={}", shared.there("image.tar")), &shared.there("dist")]));

    let file = |platform: &str| {
        let mut get = Command::new(env!("CARGO_BIN_EXE_docker-artifact"));
        get.arg("get").arg(shared.here("image.tar")).args(["/copy_binary", "--platform", platform, "-o", "-"]);
        run(&mut get)
    };
    assert!(file("linux/amd64") == fs::read(static_binary()).unwrap());
    assert_eq!(file("linux/arm64"), b"the other platform's");
}
