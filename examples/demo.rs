//! `make demo`: the main job, before one's eyes, on a machine that has nothing but Rust.
//!
//! Makes a small image, serves it from a registry in this process, and gets files out of it, printing each command line
//! before what it says. Then the same image as a file from `docker save`, and out of it what a build step wrote and a later one deleted. The commands go through the real `docker` CLI where there is one, with the plugin in a temporary
//! `DOCKER_CONFIG`, and to the program directly elsewhere. Exits with 1 if any command fails.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use support::{Form, Image, Layer, Registry, archive, dir, file, program, symlink};

fn main() -> ExitCode {
    match demonstrate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("the demo failed: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate() -> Result<(), String> {
    let registry = Registry::start();
    let reference = registry.push("demo/app:1", &image(|layer| layer));
    let stage = Stage::new()?;
    println!("An image of three layers is in a registry at {}. None of it is pulled.", registry.host());

    stage.comment("One file: only the small layers that can hold it are fetched, and its layer is verified.");
    stage.run(&["get", &reference, "/usr/bin/hello"])?;
    stage.shell("./hello")?;

    stage.comment("By the path it has in a container: /bin is a link in the lowest layer, which is needed to know.");
    stage.run(&["get", &reference, "/bin/hello", "-o", "hello-again"])?;
    stage.shell("cmp hello hello-again && ls -l hello-again")?;

    stage.comment("Straight to standard output.");
    stage.run(&["get", "-q", &reference, "/etc/os-release", "-o", "-"])?;

    stage.comment("A directory as all layers together make it.");
    stage.run(&["get", &reference, "/etc", "-o", "config/"])?;
    stage.shell("find config -type f")?;

    stage.comment("Globs, and JSON for machines.");
    stage.run(&["get", "-q", "--format", "json", &reference, "/usr/share/doc/**/*.txt"])?;

    stage.comment("A name, given once by whoever builds the image: no layer is built or pushed again.");
    stage.run(&["label", "-q", &reference, "libdemo=/usr/lib/libdemo.so", "hello=/bin/hello"])?;
    stage.run(&["ls", &reference])?;
    stage.comment("From then on anybody gets it for little more than its own bytes, out of the middle of its layer.");
    stage.run(&["get", &reference, "hello", "-o", "by-name"])?;
    stage.shell("cmp hello by-name")?;

    stage.comment("A path that is not there gets an answer that helps.");
    stage.fails(3, &["get", &reference, "/bin/helo"])?;
    stage.fails(3, &["get", &reference, "/app/trace.log"])?;

    stage.comment(
        "The same image in a file, as docker save writes it: no registry, no engine, and nothing is unpacked.",
    );
    let saved = archive(&image(Layer::plain), Form::Docker25, "demo/app:1");
    std::fs::write(stage.path("app.tar"), saved).map_err(|error| error.to_string())?;
    stage.shell("ls -lh app.tar")?;
    stage.run(&["ls", "--layers", "app.tar"])?;
    stage.comment(
        "One step wrote trace.log, and the next one deleted it: it is got from the layer of the step that wrote it.",
    );
    stage.fails(3, &["get", "app.tar", "/app/trace.log"])?;
    stage.run(&["get", "app.tar", "trace.log", "--created-by", "-o trace.log"])?;
    stage.shell("cat trace.log")?;
    stage.comment("The registry has the same layers, and the same log.");
    stage.run(&["get", "-q", &reference, "trace.log", "--created-by", "-o trace.log", "-o", "-"])?;
    Ok(())
}

/// What a build might have made: a base of some megabytes, an application with the log of its installation, and a last touch. `stored`
/// says how its layers are.
fn image(stored: fn(Layer) -> Layer) -> Image {
    let base = [
        dir("etc"),
        dir("usr"),
        dir("usr/bin"),
        dir("usr/lib"),
        symlink("bin", "usr/bin"),
        file("etc/os-release", "NAME=\"Demo Linux\"\nVERSION=1\n"),
        // Noise, as what compresses well would make a small layer.
        file("usr/lib/libdemo.so", support::random::noise(1, 12 << 20)),
    ];
    let application = [
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/hello", "#!/bin/sh\necho \"Hello from a container image that nobody pulled.\"\n").mode(0o755),
        dir("etc/demo"),
        file("etc/demo/demo.conf", "greeting = hello\n"),
        dir("app"),
        file("app/trace.log", "openat(\"/usr/bin/hello\", O_WRONLY|O_CREAT) = 3\nexited with 0\n"),
        file("usr/share/doc/demo/licence.txt", "Do as you like.\n"),
        file("usr/share/doc/demo/more/readme.txt", "There is little to read.\n"),
    ];
    let touch = [support::whiteout("app/trace.log"), file("etc/demo/demo.conf", "greeting = hello, world\n")];
    Image::new()
        .layer(stored(Layer::new(base).created_by("ADD rootfs.tar /")))
        .layer(stored(Layer::new(application).created_by("RUN strace -o trace.log make install")))
        .layer(stored(Layer::new(touch).created_by("RUN rm trace.log && make configure")))
}

/// Where the commands run, and how they are called.
struct Stage {
    root: tempfile::TempDir,
    program: PathBuf,
    leading: &'static [&'static str],
}

impl Stage {
    fn new() -> Result<Self, String> {
        let root = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
        let plugin = program::binary();
        std::fs::create_dir(root.path().join("work")).map_err(|error| error.to_string())?;
        let Some(docker) = on_path("docker") else {
            return Ok(Stage { root, program: plugin, leading: &[] });
        };
        let folder = root.path().join("config/cli-plugins");
        let copied =
            std::fs::create_dir_all(&folder).and_then(|()| std::fs::copy(&plugin, folder.join("docker-artifact")));
        copied.map_err(|error| format!("cannot copy {} to {}: {error}", plugin.display(), folder.display()))?;
        Ok(Stage { root, program: docker, leading: &["artifact"] })
    }

    /// A file of the directory that the commands run in.
    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    fn comment(&self, text: &str) {
        println!("\n# {text}");
    }

    /// Runs a command of ours, which must succeed.
    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        self.fails(0, arguments)
    }

    /// Runs a command of ours, which must end with `code`.
    fn fails(&self, code: i32, arguments: &[&str]) -> Result<(), String> {
        let name = if self.leading.is_empty() { "docker-artifact" } else { "docker artifact" };
        let shown = format!("{name} {}", arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
        println!("$ {shown}");
        let mut command = Command::new(&self.program);
        command.args(self.leading).args(arguments);
        self.finish(command, code, &shown)
    }

    /// Runs a line of shell, which must succeed.
    fn shell(&self, line: &str) -> Result<(), String> {
        println!("$ {line}");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]);
        self.finish(command, 0, line)
    }

    fn finish(&self, mut command: Command, code: i32, shown: &str) -> Result<(), String> {
        command.current_dir(self.root.path().join("work")).env("DOCKER_CONFIG", self.root.path().join("config"));
        let status = command.stdin(Stdio::null()).status().map_err(|error| format!("{shown}: {error}"))?;
        match status.code() {
            Some(actual) if actual == code => Ok(()),
            _ => Err(format!("{shown}: {status} in place of exit code {code}")),
        }
    }
}

/// A word as a shell needs it.
fn quoted(word: &str) -> String {
    if word.contains(['*', ' ']) { format!("'{word}'") } else { word.to_owned() }
}

/// The program `name` of the PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder: PathBuf| Path::new(&folder).join(name)).find(|program| program.is_file())
}
