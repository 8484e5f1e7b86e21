//! `docker artifact build` beside `docker buildx build`, with an engine that takes folders in the place of images: each form of copying gives the
//! same image, entry by entry, and costs the files and not the image.
//!
//! The engine has a network of its own, and cannot reach the registry: an image comes from there by way of the plugin alone. What plain buildx
//! builds is built afterwards, with the image loaded into the engine.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tempfile::TempDir;

use crate::engine;
use crate::newer::{self, Kind, Shared};
use crate::plugin::Plugin;
use crate::registry::Registry;
use crate::tools::{ENGINE, NEWER_DEBIAN, ROOT, at_exit, can_run, finish, run};
use crate::tree::{Metadata, Tree};

const NEEDS: &[&str] = &["docker", ENGINE, "docker-registry", "busybox", ROOT, NEWER_DEBIAN];

/// The image that files are copied from: a large layer that nobody wants below a small one.
const TOOLS: &str = r#"
FROM scratch AS base
ADD base.tar /
FROM base
RUN dd if=/dev/urandom of=/large bs=1M count=40 2>/dev/null
RUN mkdir -p /usr/bin /usr/lib/app/empty /etc/app /opt/tool/sub /owned && ln -s usr/bin /bin2 && ln -s /opt/tool /opt/current \
 && echo one >/usr/bin/tool && chmod 755 /usr/bin/tool && ln -s tool /usr/bin/tool-link && ln -s /opt/tool/sub/file /usr/bin/absolute \
 && echo 1 >/usr/lib/liba.so.1 && ln -s liba.so.1 /usr/lib/liba.so && echo 2 >/usr/lib/libb.so.2 && ln -s libb.so.2 /usr/lib/libb.so \
 && echo a >/usr/lib/app/a && ln /usr/lib/app/a /usr/lib/app/hard && ln -s ../../bin/tool /usr/lib/app/out && ln -s nowhere /usr/lib/app/dangling \
 && echo conf >/etc/app/conf && chmod 640 /etc/app/conf && echo hidden >/etc/app/.hidden && chmod 1777 /usr/lib/app/empty \
 && echo deep >/opt/tool/sub/file && chmod 751 /opt/tool/sub/file && touch -d '2001-02-03 04:05:06' /opt/tool/sub/file /opt/tool/sub \
 && echo mine >/owned/file && chown -R 7:8 /owned && echo suid >/opt/suid && chmod 4755 /opt/suid
"#;

/// Forms of copying: a name, and a Dockerfile in which `IMAGE` stands for the image, and `BASE` for one with a shell that the engine has.
const FORMS: &[(&str, &str)] = &[
    ("a file", "FROM scratch\nCOPY --from=IMAGE /usr/bin/tool /bin/\n"),
    ("a file by a relative path", "FROM scratch\nCOPY --from=IMAGE usr/bin/tool /renamed\n"),
    ("a file behind a linked directory", "FROM scratch\nCOPY --from=IMAGE /bin2/tool /bin/\n"),
    ("a link", "FROM scratch\nCOPY --from=IMAGE /usr/bin/tool-link /usr/bin/absolute /bin/\n"),
    ("wildcards", "FROM scratch\nCOPY --from=IMAGE /usr/lib/lib*.so* /usr/l?b/lib[b]* /lib/\n"),
    ("a wildcard behind a link", "FROM scratch\nCOPY --from=IMAGE /bin2/t* /opt/current/s*/f* /x/\n"),
    ("a directory", "FROM scratch\nCOPY --from=IMAGE /usr/lib/app /app/\n"),
    ("what a directory holds", "FROM scratch\nCOPY --from=IMAGE /etc/app/. /opt/current/ /x/\n"),
    ("a directory that is a link", "FROM scratch\nCOPY --from=IMAGE /opt/current /x\n"),
    ("several at once", "FROM scratch\nCOPY --from=IMAGE [\"/usr/bin/tool\", \"/etc/app/conf\", \"/x y/\"]\n"),
    (
        "chmod, chown and link",
        "FROM scratch\nCOPY --link --chown=5:6 --chmod=700 --from=IMAGE /owned /opt/tool/sub/file /x/\n",
    ),
    ("a stage", "FROM IMAGE AS Tools\nLABEL a=b\nENV C=d\n\nFROM scratch\nCOPY --from=tools /usr/bin/tool /bin/\n"),
    ("a stage by its number", "FROM IMAGE\nFROM scratch\nCOPY --from=0 /usr/bin/tool /bin/\n"),
    (
        "arguments",
        "ARG NAME=IMAGE\nFROM ${NAME} AS t\nFROM scratch\nARG DIR=bin\nENV WHAT=${DIR}/tool\nCOPY --from=t /usr/$WHAT /bin/\n",
    ),
    (
        "a mount",
        "FROM BASE\nRUN --mount=type=bind,from=IMAGE,source=/usr/bin,target=/m cp -a /m /copied && ls -ln /m | wc -l >/count && touch -d '2001-01-01 00:00:00' /count\n",
    ),
    (
        "a mount of a file",
        "FROM BASE\nRUN --mount=from=IMAGE,src=bin2/tool,dst=/m cat /m >/copied && touch -d '2001-01-01 00:00:00' /copied\n",
    ),
    (
        "several uses, a heredoc and a stage that is not needed",
        "FROM IMAGE AS unused\nRUN false\nFROM BASE AS b\nRUN --mount=from=IMAGE,source=/etc/app,target=/m <<EOF\ncat /m/conf >/conf\ntouch -d '2001-01-01 00:00:00' /conf\nEOF\n\
         FROM scratch\nCOPY --from=b /conf /\nCOPY --from=IMAGE /usr/bin/tool \\\n  # a comment\n  /usr/lib/app/a \\\n  /\n",
    ),
];

/// A machine with docker, its buildx and the plugin, whose engine is one of the newer Debian's.
struct Machine {
    plugin: Plugin,
    work: TempDir,
    engine: Kind,
}

impl Machine {
    fn new(engine: Kind) -> Self {
        let plugin = Plugin::installed();
        let buildx = newer::root().unwrap().join("usr/libexec/docker/cli-plugins/docker-buildx");
        symlink(buildx, plugin.config().join("cli-plugins/docker-buildx")).unwrap();
        Machine { plugin, work: TempDir::new().unwrap(), engine }
    }

    fn docker(&self) -> Command {
        let mut docker = self.plugin.docker();
        docker.env("DOCKER_HOST", newer::engine(self.engine));
        docker
    }

    /// `docker artifact build`, of a Dockerfile in a folder of its own.
    fn build(&self, name: &str, dockerfile: &str, arguments: &[&str]) -> Output {
        let context = self.context(name, dockerfile);
        finish(
            self.docker()
                .current_dir(&context)
                .args(["artifact", "build", "--progress=plain"])
                .args(arguments)
                .arg("."),
        )
    }

    /// Writes the Dockerfile of a build into a folder of its own.
    fn context(&self, name: &str, dockerfile: &str) -> PathBuf {
        let folder = self.work.path().join(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
        folder
    }

    /// What a build makes.
    fn built(&self, command: &[&str], context: &Path) -> Tree {
        let tar = context.join("built.tar");
        let output = format!("--output=type=tar,dest={}", tar.display());
        let mut build = self.docker();
        build.args(command).args(["--progress=plain", "--no-cache", "--network=none", &output]).arg(context);
        run(&mut build);
        Tree::from_tar(&mut fs::File::open(&tar).unwrap())
    }

    /// Loads an image of the engine here under the name `name`.
    fn load(&self, tag: &str, name: &str) {
        let shared = Shared::new();
        run(Command::new("docker").args(["tag", tag, name]));
        run(Command::new("docker").arg("save").arg("--output").arg(shared.here("saved.tar")).arg(name));
        if tag != name {
            run(Command::new("docker").args(["rmi", "--no-prune", name]));
        }
        newer::load(self.engine, &shared.there("saved.tar"));
    }

    fn remove(&self, names: &[&str]) {
        run(newer::docker(self.engine).args(["rmi", "--force"]).args(names));
    }
}

/// The image that files are copied from, built once for all the tests of a run by the engine here.
struct Tools {
    tools: String,
    /// What it is built upon: a shell.
    base: String,
}

fn tools() -> &'static Tools {
    static TOOLS_BUILT: OnceLock<Tools> = OnceLock::new();
    TOOLS_BUILT.get_or_init(|| {
        let work = TempDir::new().unwrap();
        let bin = work.path().join("root/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(busybox(), bin.join("busybox")).unwrap();
        for applet in ["sh", "dd", "mkdir", "ln", "echo", "chmod", "touch", "chown", "cp", "cat", "ls", "wc"] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(work.path().join("root")).args(["--owner=0", "--group=0", "-cf"]);
        run(tar.arg(work.path().join("base.tar")).arg("."));
        fs::remove_dir_all(work.path().join("root")).unwrap();
        fs::write(work.path().join("Dockerfile"), TOOLS).unwrap();
        let tag = |name: &str| format!("docker-artifact-test-{name}:{}", process::id());
        let (tools, base) = (tag("tools"), tag("base"));
        for (tag, options) in [(&tools, &[][..]), (&base, &["--target", "base"])] {
            let mut build = Command::new("docker");
            build.env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--tag", tag]).args(options);
            run(build.arg(work.path()));
        }
        at_exit(&format!("docker rmi --force {tools} {base}"));
        Tools { tools, base }
    })
}

fn busybox() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|program| program.is_file()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn each_form_of_copying_gives_the_image_that_plain_buildx_makes() {
    if !can_run("each_form_of_copying_gives_the_image_that_plain_buildx_makes", NEEDS) {
        return;
    }
    let (machine, registry) = (Machine::new(Kind::Classic), Registry::open());
    let Tools { tools, base } = tools();
    let image = engine::push(tools, &registry, "tools:1");
    machine.load(base, base);
    let forms: Vec<(&str, PathBuf)> = FORMS
        .iter()
        .map(|(name, dockerfile)| (*name, dockerfile.replace("IMAGE", &image).replace("BASE", base)))
        .map(|(name, dockerfile)| (name, machine.context(name, &dockerfile)))
        .collect();
    let ours: Vec<Tree> = forms.iter().map(|(_, context)| machine.built(&["artifact", "build"], context)).collect();
    machine.load(tools, &image);
    for ((name, context), ours) in forms.iter().zip(&ours) {
        let theirs = machine.built(&["buildx", "build"], context);
        assert!(!ours.0.is_empty(), "{name}");
        ours.assert_same(&theirs, Metadata::Everything, name);
    }
    // Now that the engine has the image, nothing of it is fetched.
    let planned = machine.build("there", &format!("FROM scratch\nCOPY --from={image} /usr/bin/tool /\n"), &["--print"]);
    let planned = String::from_utf8(planned.stdout).unwrap();
    assert!(planned.contains(&format!("Dockerfile:2: {image}: it is in the engine already")), "{planned}");
    machine.remove(&[&image, base]);
}

#[test]
fn owners_and_setuid_are_left_to_buildkit_and_come_with_an_image_layout() {
    if !can_run("owners_and_setuid_are_left_to_buildkit_and_come_with_an_image_layout", NEEDS) {
        return;
    }
    let (machine, registry) = (Machine::new(Kind::Containerd), Registry::open());
    let image = engine::push(&tools().tools, &registry, "tools:1");
    let dockerfile = format!("FROM scratch\nCOPY --from={image} /owned /opt/suid /x/\n");
    let plan = machine.build("left", &dockerfile, &["--print"]);
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.contains(&format!("Left to BuildKit:\n  Dockerfile:2: {image}: ")), "{plan}");

    let context = machine.context("kept", &dockerfile);
    let ours = machine.built(&["artifact", "build", "--keep-owners"], &context);
    let owner_and_mode = |path: &str| ours.0.get(path.as_bytes()).map(|node| (node.owner, node.mode));
    assert_eq!(owner_and_mode("x/file"), Some(((7, 8), 0o644)));
    assert_eq!(owner_and_mode("x/suid"), Some(((0, 0), 0o4755)));
    machine.load(&tools().tools, &image);
    let theirs = machine.built(&["buildx", "build"], &context);
    ours.assert_same(&theirs, Metadata::Everything, "with --keep-owners");
    machine.remove(&[&image]);
}

#[test]
fn a_build_costs_the_files_and_the_next_one_nothing() {
    if !can_run("a_build_costs_the_files_and_the_next_one_nothing", NEEDS) {
        return;
    }
    let (machine, registry) = (Machine::new(Kind::Classic), Registry::open());
    let counter = Counter::before(&registry);
    engine::push(&tools().tools, &registry, "tools:1");
    let dockerfile = format!("FROM scratch\nCOPY --from={}/tools:1 /usr/bin/tool /etc/app/conf /\n", counter.host);
    let cost = |arguments: &[&str]| {
        let built = machine.build("cost", &dockerfile, arguments);
        assert!(built.status.success(), "{}", said(&built));
        counter.bytes()
    };
    let first = cost(&["-o", "out"]);
    assert!((1_000..1_000_000).contains(&first), "{first} bytes, of an image of 40 MB");
    let again = cost(&["-o", "out", "--no-cache"]);
    assert!(again < 10_000, "{again} bytes, for nothing but its manifest and config");
    let pulled = cost(&["-o", "out", "--pull"]);
    assert!(
        again < pulled && pulled <= first,
        "{pulled} bytes: the files, and not the {first} that it took to find them"
    );

    let context = machine.work.path().join("cost/out");
    assert_eq!(fs::read(context.join("tool")).unwrap(), b"one\n");
    assert_eq!(fs::read(context.join("conf")).unwrap(), b"conf\n");
}

#[test]
fn a_tag_that_moved_gives_the_new_file_though_its_size_and_time_are_the_old_ones() {
    if !can_run("a_tag_that_moved_gives_the_new_file_though_its_size_and_time_are_the_old_ones", NEEDS) {
        return;
    }
    let (machine, registry) = (Machine::new(Kind::Classic), Registry::open());
    let dockerfile = format!("FROM scratch\nCOPY --from={}/moving:1 /file /\n", registry.host);
    for content in ["one", "two"] {
        let source = machine.context(content, "FROM scratch\nADD file.tar /\n");
        fs::write(source.join("file"), content).unwrap();
        let mut tar = Command::new("tar");
        run(tar.current_dir(&source).args(["--mtime=@0", "--owner=0", "--group=0", "-cf", "file.tar", "file"]));
        let tag = format!("docker-artifact-test-moving:{}", process::id());
        let mut build = Command::new("docker");
        run(build.env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--tag", &tag]).arg(&source));
        engine::push(&tag, &registry, "moving:1");
        run(Command::new("docker").args(["rmi", "--force", &tag]));

        let built = machine.build("moved", &dockerfile, &["-o", "out"]);
        assert!(built.status.success(), "{}", said(&built));
        assert_eq!(fs::read_to_string(machine.work.path().join("moved/out/file")).unwrap(), content);
    }
}

#[test]
fn a_path_that_is_not_there_is_told_with_its_line_before_anything_is_built() {
    if !can_run("a_path_that_is_not_there_is_told_with_its_line_before_anything_is_built", NEEDS) {
        return;
    }
    let (machine, registry) = (Machine::new(Kind::Classic), Registry::open());
    let image = engine::push(&tools().tools, &registry, "tools:1");
    let dockerfile = format!("FROM scratch\n\nCOPY --from={image} \\\n  /usr/bin/tool /usr/bin/tol /\n");
    let built = machine.build("absent", &dockerfile, &["-o", "out"]);
    let message = said(&built);
    assert_eq!(built.status.code(), Some(3), "{message}");
    let expected = format!(
        "docker artifact build: Dockerfile:3: COPY --from={image}: {image} has no /usr/bin/tol; did you mean /usr/bin/tool?\n"
    );
    assert!(message.ends_with(&expected), "{message}");
    assert!(!message.contains("load build definition"), "nothing was built: {message}");
}

#[test]
fn what_a_build_declares_is_labelled_where_it_is_loaded_and_the_files_that_tell_of_it_say_so() {
    if !can_run("what_a_build_declares_is_labelled_where_it_is_loaded_and_the_files_that_tell_of_it_say_so", NEEDS) {
        return;
    }
    for kind in [Kind::Classic, Kind::Containerd] {
        let (machine, tag) = (Machine::new(kind), format!("docker-artifact-test-declared:{}", process::id()));
        let dockerfile = "FROM scratch\nCOPY Dockerfile /opt/file\nLABEL org.docker-artifact.file=/opt/file\n";
        let files = ["--tag", &tag, "--metadata-file", "metadata.json", "--iidfile", "iid"];
        let built = machine.build("declared", dockerfile, &files);
        assert!(built.status.success(), "{kind:?}: {}", said(&built));
        let inspected =
            run(machine.docker().args(["image", "inspect", &tag, "--format", "{{.Id}} {{json .Config.Labels}}"]));
        let inspected = String::from_utf8(inspected).unwrap();
        assert!(inspected.contains(r#"\"path\":\"/opt/file\""#), "{kind:?}: {inspected}");
        let id = inspected.split(' ').next().unwrap();
        let work = machine.work.path().join("declared");
        assert_eq!(fs::read_to_string(work.join("iid")).unwrap(), id, "{kind:?}");
        let metadata: Value = serde_json::from_slice(&fs::read(work.join("metadata.json")).unwrap()).unwrap();
        assert_eq!(metadata["containerimage.digest"], id, "{kind:?}");
        machine.remove(&[&tag]);
    }
}

/// What stands before a registry and counts the bytes that come from it.
struct Counter {
    host: String,
    bytes: Arc<AtomicU64>,
}

impl Counter {
    fn before(registry: &Registry) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let counter = Counter { host: listener.local_addr().unwrap().to_string(), bytes: Arc::default() };
        let (registry, bytes) = (registry.host.clone(), Arc::clone(&counter.bytes));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&registry).unwrap());
                let (from_client, from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let bytes = Arc::clone(&bytes);
                std::thread::spawn(move || pass(from_client, server, &AtomicU64::new(0)));
                std::thread::spawn(move || pass(from_server, client, &bytes));
            }
        });
        counter
    }

    /// The bytes since the last time that somebody asked.
    fn bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::SeqCst)
    }
}

/// Passes on what comes, until one side has enough.
fn pass(mut from: TcpStream, mut to: TcpStream, bytes: &AtomicU64) {
    let mut buffer = [0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        bytes.fetch_add(length as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
