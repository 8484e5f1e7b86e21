//! The image that most tests look at: built by the real engine, step by step (image/Dockerfile), and pushed by it to a real registry. And what the
//! engine itself says is in it.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::plugin::Plugin;
use crate::registry::Registry;
use crate::tools::{ENGINE, ROOT, at_exit, cache, can_run, feed, finish, run, sources, stream};
use crate::tree::{Kind, Metadata, Node, Tree};

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

/// An image of its own, so that its containers can be told from other tests'.
fn own_image(name: &str) -> String {
    let tag = format!("docker-artifact-test:{name}-{}", process::id());
    let dockerfile = format!("FROM {}\nLABEL test={name}\n", built().tag);
    let mut build = Command::new("docker");
    build.env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--tag", &tag, "-"]);
    let built = feed(&mut build, dockerfile.as_bytes());
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    at_exit(&format!("docker rmi --no-prune {tag}"));
    tag
}

/// The containers of an image that the program has made.
fn containers_of(tag: &str) -> usize {
    let (image, name) = (format!("ancestor={tag}"), "name=docker-artifact-");
    let listed = run(Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &image, "--filter", name]));
    listed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

/// Begins to get a directory that no pipe holds, and waits until it comes: the container is there then. Content is staged in `scratch`,
/// as what is killed cannot remove it.
fn in_the_middle(image: &str, scratch: &Path) -> Child {
    // Whatever runs the tests may ignore the signal, as a shell does for its background jobs.
    let mut get = Command::new("env");
    get.args(["--default-signal=INT,TERM", env!("CARGO_BIN_EXE_docker-artifact")]);
    get.args(["get", image, "/usr/bin", "--quiet", "-o", "-"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = get.env("TMPDIR", scratch).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child
}

#[test]
fn a_directory_of_the_engines_image_is_what_docker_cp_streams() {
    if !can_run("a_directory_of_the_engines_image_is_what_docker_cp_streams", NEEDS) {
        return;
    }
    let (plugin, image) = (Plugin::installed(), format!("local://{}", built().tag));
    for directory in ["/srv", "/usr"] {
        let ours = stream(plugin.get(&image).args([directory, "--quiet", "-o", "-"]), |tar| Tree::from_tar(tar));
        let container = format!("{}:{directory}", built().container);
        let theirs = stream(Command::new("docker").args(["cp", &container, "-"]), |tar| Tree::from_tar(tar));
        ours.assert_same(&without_special_files(&theirs), Metadata::Permissions, directory);
    }
}

#[test]
fn every_path_by_itself_is_what_docker_cp_shows_of_the_engines_image() {
    if !can_run("every_path_by_itself_is_what_docker_cp_shows_of_the_engines_image", NEEDS) {
        return;
    }
    let (plugin, image) = (Plugin::installed(), format!("local://{}", built().tag));
    // What lies beside the engine's own files would come from the layers.
    let is_shown = |path: &[u8]| path.starts_with(b"srv/") || path.starts_with(b"usr/bin/");
    let is_leaf = |node: &Node| matches!(node.kind, Kind::File { .. } | Kind::Symlink(_));
    let expected = built().tree.clone().without(|path, node| !is_shown(path) || !is_leaf(node));
    assert!(expected.0.len() > 200, "only {} paths", expected.0.len());
    let escaped = |path: &Vec<u8>| {
        let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\').then_some(b'\\');
        OsString::from_vec(path.iter().flat_map(|byte| special(byte).into_iter().chain([*byte])).collect())
    };
    let mut get = plugin.get(&image);
    get.args(["--no-dereference", "--parents", "--quiet", "-o", "-", "--"]).args(expected.0.keys().map(escaped));
    let ours = stream(&mut get, |tar| Tree::from_tar(tar)).without(|_, node| !is_leaf(node));
    // Names that were asked for one by one are files of their own, whatever they share in the image.
    let apart = |mut tree: Tree| {
        tree.0.values_mut().zip(0..).for_each(|(node, number)| node.inode = number);
        tree
    };
    apart(ours).assert_same(&apart(expected), Metadata::Permissions, "every path by itself");
}

#[test]
fn what_a_step_wrote_is_got_from_the_real_engine_although_a_later_step_deleted_it() {
    if !can_run("what_a_step_wrote_is_got_from_the_real_engine_although_a_later_step_deleted_it", NEEDS) {
        return;
    }
    let (plugin, image) = (Plugin::installed(), format!("local://{}", built().tag));
    let content = run(plugin.get(&image).args(["/srv/deleted/1", "--created-by", "of the first step", "-o", "-"]));
    assert_eq!(content, b"file 1 of the first step\n");
    let gone = finish(plugin.get(&image).args(["/srv/deleted/1", "-o", "-"]));
    assert_eq!(gone.status.code(), Some(3));
}

#[test]
fn no_container_stays_in_the_engine_and_the_next_run_removes_what_a_killed_one_left() {
    if !can_run("no_container_stays_in_the_engine_and_the_next_run_removes_what_a_killed_one_left", NEEDS) {
        return;
    }
    let (plugin, tag) = (Plugin::installed(), own_image("left"));
    let image = format!("local://{tag}");
    run(plugin.get(&image).args(["/usr/bin/env", "/srv/kept", "--quiet", "-o", "-"]));
    assert_eq!(containers_of(&tag), 0);

    let scratch = TempDir::new().unwrap();
    for (signal, left) in [(Signal::INT, 0), (Signal::TERM, 0), (Signal::KILL, 1)] {
        let mut child = in_the_middle(&image, scratch.path());
        assert_eq!(containers_of(&tag), 1);
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
        assert_eq!(containers_of(&tag), left, "{signal:?}");
    }
    run(plugin.get(&image).args(["/usr/bin/env", "--quiet", "-o", "-"]));
    assert_eq!(containers_of(&tag), 0);
}
