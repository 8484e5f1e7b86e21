//! The image that most tests look at: built by the real engine, step by step (image/Dockerfile), and pushed by it to a real registry. And what the
//! engine itself says is in it.

use std::fs;
use std::process::{self, Command};
use std::sync::OnceLock;

use crate::registry::Registry;
use crate::tools::{ENGINE, ROOT, at_exit, cache, run, sources, stream};
use crate::tree::{Kind, Node, Tree};

/// What it takes to build the image and push it.
pub const NEEDS: &[&str] = &["docker", ENGINE, "docker-registry", "apt-get", "dpkg-deb", ROOT];

/// An image in the engine, with a container of it that was never started.
pub struct Built {
    pub tag: String,
    pub container: String,
    /// Every path of the image, by `docker cp`.
    pub tree: Tree,
}

/// The same image in a registry, pushed by `docker push`: a Docker schema 2 manifest with gzip layers.
pub struct Pushed {
    pub reference: String,
    _registry: Registry,
}

/// The image, built once for all the tests of a run.
pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let context = cache().join("context");
        fs::create_dir_all(&context).unwrap();
        let rootfs = context.join("rootfs.tar");
        if !rootfs.is_file() {
            run(Command::new("sh").arg(sources().join("rootfs.sh")).arg(&rootfs));
        }
        fs::copy(sources().join("Dockerfile"), context.join("Dockerfile")).unwrap();

        let tag = format!("docker-artifact-test:{}", process::id());
        // The classic builder needs no second plugin, and every engine still has it.
        run(Command::new("docker").env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--tag", &tag]).arg(&context));
        let container = run(Command::new("docker").args(["create", &tag, "never-started"]));
        let container = String::from_utf8(container).unwrap().trim().to_owned();
        at_exit(&format!("docker rm {container}; docker rmi --no-prune {tag}"));

        let tree =
            stream(Command::new("docker").args(["cp", &format!("{container}:/"), "-"]), |tar| Tree::from_tar(tar));
        Built { tag, container, tree: tree.without(|path, _| is_made_by_the_engine(path)) }
    })
}

/// The image, pushed once for all the tests of a run.
pub fn pushed() -> &'static Pushed {
    static PUSHED: OnceLock<Pushed> = OnceLock::new();
    PUSHED.get_or_init(|| {
        let registry = Registry::open();
        at_exit(&registry.end_command());
        let reference = push(&built().tag, &registry, "docker:pushed");
        Pushed { reference, _registry: registry }
    })
}

/// Pushes the engine's image `tag` as `name` and gives back the whole reference.
pub fn push(tag: &str, registry: &Registry, name: &str) -> String {
    let reference = format!("{}/{name}", registry.host);
    run(Command::new("docker").args(["tag", tag, &reference]));
    run(Command::new("docker").args(["push", "--quiet", &reference]));
    run(Command::new("docker").args(["rmi", "--no-prune", &reference]));
    reference
}

/// What `get` writes of an image: everything but device nodes and FIFOs.
pub fn without_special_files(tree: &Tree) -> Tree {
    tree.clone().without(|_, node: &Node| matches!(node.kind, Kind::Device | Kind::Fifo))
}

/// What the engine puts into every container so that its mounts have something to cover. No image layer of ours has these paths.
fn is_made_by_the_engine(path: &[u8]) -> bool {
    let made: [&[u8]; 8] = [
        b".dockerenv",
        b"dev/console",
        b"dev/pts",
        b"dev/shm",
        b"etc/hostname",
        b"etc/hosts",
        b"etc/mtab",
        b"etc/resolv.conf",
    ];
    made.contains(&path)
}
