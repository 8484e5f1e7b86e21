//! Runs Docker: asks it what it is and what it builds with, and has it build. It is the `docker` on the PATH, with the global flags that
//! this program was given.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::super::exit::Exit;
use super::super::running;
use super::builder::{Builder, version};
use crate::plugin::SOCKET_VARIABLE;
use crate::source::engine::EngineOptions;

/// How long Docker may take to tell something about itself. buildx gives up on a builder that does not answer after 20 seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How Docker is run.
#[derive(Debug)]
pub struct Docker {
    program: OsString,
    globals: Vec<OsString>,
    /// The version of buildx, once somebody has asked for it.
    buildx: OnceCell<Option<(u32, u32)>>,
}

impl Docker {
    /// Docker with these global flags.
    pub fn new(engine: &EngineOptions, debug: bool) -> Self {
        Docker { program: "docker".into(), globals: globals(engine, debug), buildx: OnceCell::new() }
    }

    /// The version of buildx; `None` where there is none.
    pub async fn buildx_version(&self) -> Option<(u32, u32)> {
        let ask = || async { self.said(&["buildx", "version"]).await?.split_whitespace().find_map(version) };
        *self.buildx.get_or_init(ask).await
    }

    /// The builder of this name, or the one that buildx takes by itself. `None` where nothing can be learnt of it.
    pub async fn builder(&self, name: Option<&str>) -> Option<Builder> {
        let mut words = vec!["buildx", "inspect"];
        words.extend(name);
        let mut builder = Builder::parse(&self.said(&words).await?)?;
        if builder.is_engine() && builder.buildkit.is_none() {
            let engine = self.said(&["version", "--format", "{{.Server.Version}}"]).await;
            builder.buildkit = engine.and_then(|said| version(said.trim()));
        }
        Some(builder)
    }

    /// Whether `builder` takes OCI image layouts as contexts. The engine's own does if it keeps its images with containerd.
    pub async fn takes_layouts(&self, builder: Option<&Builder>) -> bool {
        if builder.is_some_and(|builder| !builder.is_engine()) {
            return true;
        }
        let stores = self.said(&["info", "--format", "{{.DriverStatus}}"]).await;
        stores.is_some_and(|stores| stores.contains("io.containerd.snapshotter"))
    }

    /// Whether the engine has an image of this name.
    pub async fn has_image(&self, reference: &str) -> bool {
        self.said(&["image", "inspect", "--format", "{{.Id}}", "--", reference]).await.is_some()
    }

    /// The command that builds what `words` say, the program first: buildx's, unless it is known that there is none.
    pub fn command_line(&self, words: Vec<OsString>) -> Vec<OsString> {
        let build: &[&str] = if self.buildx.get() == Some(&None) { &["build"] } else { &["buildx", "build"] };
        let start = [&self.program].into_iter().chain(&self.globals).cloned();
        start.chain(build.iter().map(OsString::from)).chain(words).collect()
    }

    /// Builds what `words` say, and gives how that ended. Docker has this program's terminal; its standard input is `stdin`, or this
    /// program's own. What it says on standard output is given, too, if it `is_heard`. Whoever asks this program to stop meanwhile
    /// asks Docker.
    ///
    /// # Errors
    ///
    /// Docker cannot be started.
    pub async fn build(
        &self,
        words: Vec<OsString>,
        stdin: Option<Vec<u8>>,
        is_heard: bool,
    ) -> io::Result<(Exit, Vec<u8>)> {
        self.buildx_version().await;
        let words = self.command_line(words);
        let build = tokio::task::spawn_blocking(move || {
            let mut words = words.iter();
            let mut command = Command::new(words.next().map_or(OsStr::new("docker"), |program| program));
            command.args(words).env_remove(SOCKET_VARIABLE);
            if stdin.is_some() {
                command.stdin(Stdio::piped());
            }
            if is_heard {
                command.stdout(Stdio::piped());
            }
            let mut heard = Vec::new();
            let exit = running::run(&mut command, |child| {
                if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), stdin) {
                    // One that does not read to the end is no failure of this program's.
                    std::thread::spawn(move || pipe.write_all(&bytes));
                }
                if let Some(mut pipe) = child.stdout.take() {
                    // What came before a failure counts.
                    let _ = pipe.read_to_end(&mut heard);
                }
            })?;
            Ok((exit, heard))
        });
        build.await.map_err(io::Error::other)?
    }

    /// What Docker says on standard output to these words; `None` if it fails, for whatever reason.
    async fn said(&self, words: &[&str]) -> Option<String> {
        let mut command = Command::new(&self.program);
        command.args(&self.globals).args(words).env_remove(SOCKET_VARIABLE);
        let asked = tokio::task::spawn_blocking(move || running::ask(&mut command));
        let Ok(asked) = tokio::time::timeout(PATIENCE, asked).await else {
            running::stop_asking();
            return None;
        };
        let (said, status) = asked.ok()?.ok()?;
        tracing::debug!(?words, %status, "ran docker");
        status.success().then(|| String::from_utf8_lossy(&said).into_owned())
    }
}

/// Docker's global flags, as they were given to this program.
fn globals(engine: &EngineOptions, debug: bool) -> Vec<OsString> {
    let EngineOptions { host, context, docker_config, tls, .. } = engine;
    let on = |on: Option<bool>| on.map(|on| OsString::from(if on { "true" } else { "false" }));
    let path = |path: &Option<std::path::PathBuf>| path.clone().map(OsString::from);
    let text = |text: &Option<String>| text.clone().map(OsString::from);
    let flags = [
        ("config", path(docker_config)),
        ("context", text(context)),
        ("host", text(host)),
        ("tls", on(tls.tls)),
        ("tlsverify", on(tls.verify)),
        ("tlscacert", path(&tls.ca)),
        ("tlscert", path(&tls.cert)),
        ("tlskey", path(&tls.key)),
        ("debug", on(debug.then_some(true))),
    ];
    let given = flags.into_iter().filter_map(|(name, value)| Some((name, value?)));
    given
        .map(|(name, value)| {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            flag
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::super::builder::PLAIN;
    use super::*;
    use crate::source::engine::endpoint::TlsOptions;

    /// A Docker that runs this script. It is a shell that is started, as a file just written may not be run while another test starts
    /// something.
    fn docker(directory: &Path, script: &str) -> Docker {
        let path = directory.join("docker");
        fs::write(&path, script).unwrap();
        Docker { program: "/bin/sh".into(), globals: vec![path.into()], buildx: OnceCell::new() }
    }

    /// A Docker that is not there.
    fn absent() -> Docker {
        Docker { program: "/nonexistent/docker".into(), globals: Vec::new(), buildx: OnceCell::new() }
    }

    /// A Docker that notes the words of each run.
    fn noting(directory: &Path, then: &str) -> Docker {
        let words = directory.join("words");
        docker(directory, &format!("printf '%s\\n' \"$@\" >> '{}'\n{then}", words.display()))
    }

    fn noted(directory: &Path) -> Vec<String> {
        fs::read_to_string(directory.join("words")).unwrap().lines().map(str::to_owned).collect()
    }

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_global_flags_are_passed_on() {
        let file = |name: &str| Some(PathBuf::from(name));
        let engine = EngineOptions {
            host: Some("tcp://b".to_owned()),
            context: Some("ctx".to_owned()),
            docker_config: file("/c"),
            tls: TlsOptions {
                tls: Some(true),
                verify: Some(false),
                ca: file("ca"),
                cert: file("cert"),
                key: file("key"),
            },
            unattended: false,
        };
        let expected = [
            "--config=/c",
            "--context=ctx",
            "--host=tcp://b",
            "--tls=true",
            "--tlsverify=false",
            "--tlscacert=ca",
            "--tlscert=cert",
            "--tlskey=key",
            "--debug=true",
        ];
        assert_eq!(globals(&engine, true), words(&expected));
        assert!(globals(&EngineOptions::default(), false).is_empty());
        let docker = Docker::new(&EngineOptions { docker_config: file("/c"), ..EngineOptions::default() }, false);
        let command = docker.command_line(words(&["--push", "."]));
        assert_eq!(command, words(&["docker", "--config=/c", "buildx", "build", "--push", "."]));
        docker.buildx.set(None).unwrap();
        assert_eq!(docker.command_line(words(&["."])), words(&["docker", "--config=/c", "build", "."]));
    }

    #[tokio::test]
    async fn the_version_of_buildx_is_what_it_says() {
        for (said, expected) in [
            ("echo github.com/docker/buildx v0.13.1+ds1 1.2.3", Some((0, 13))),
            ("echo github.com/docker/buildx v0.31.0-desktop.1 0a1b2c3", Some((0, 31))),
            ("echo github.com/docker/buildx 0.13.1 ", Some((0, 13))),
            ("echo \"docker: 'buildx' is not a docker command.\" >&2; exit 1", None),
            ("echo something", None),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let docker = noting(directory.path(), said);
            assert_eq!(docker.buildx_version().await, expected, "{said}");
            assert_eq!(docker.buildx_version().await, expected, "{said}");
            assert_eq!(noted(directory.path()), ["buildx", "version"], "it is asked once");
        }
        assert_eq!(absent().buildx_version().await, None);
    }

    #[tokio::test]
    async fn a_builder_is_asked_for_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let docker = noting(directory.path(), &format!("cat <<'END'\n{PLAIN}END"));
        let expected = Builder::parse(PLAIN);
        assert_eq!(docker.builder(None).await, expected);
        assert_eq!(docker.builder(Some("cross")).await, expected);
        assert_eq!(docker.builder(Some("")).await, expected);
        assert_eq!(
            noted(directory.path()),
            ["buildx", "inspect", "buildx", "inspect", "cross", "buildx", "inspect", ""]
        );
        let failing = noting(directory.path(), "echo 'ERROR: no builder \"x\" found' >&2; exit 1");
        assert_eq!(failing.builder(Some("x")).await, None);
    }

    #[tokio::test]
    async fn an_image_is_there_if_docker_can_inspect_it() {
        let directory = tempfile::tempdir().unwrap();
        let docker = noting(directory.path(), "test \"$6\" = debian:12 && echo sha256:1");
        assert!(docker.has_image("debian:12").await);
        assert_eq!(noted(directory.path()), ["image", "inspect", "--format", "{{.Id}}", "--", "debian:12"]);
        assert!(!docker.has_image("debian:13").await);
    }

    #[tokio::test]
    async fn an_engine_that_buildx_tells_nothing_of_is_asked_itself() {
        let directory = tempfile::tempdir().unwrap();
        let silent = PLAIN.replace("Buildkit:  v0.13.2\n", "");
        let then = format!("case \"$1\" in version) echo 20.10.24+dfsg1;; *) cat <<'END'\n{silent}END\n;; esac");
        let asked = noting(directory.path(), &then).builder(None).await;
        assert_eq!(asked.and_then(|builder| builder.too_old()).unwrap().0, "Docker 20.10");
        assert_eq!(noted(directory.path()), ["buildx", "inspect", "version", "--format", "{{.Server.Version}}"]);
    }

    #[tokio::test]
    async fn a_build_gets_its_words_and_input_and_gives_its_exit_code() {
        let directory = tempfile::tempdir().unwrap();
        let then = format!(
            "[ \"$2\" = version ] && echo v0.13.1 && exit; cat > '{}/stdin'; exit 3",
            directory.path().display()
        );
        let docker = noting(directory.path(), &then);
        let input = Some(b"FROM scratch\n".to_vec());
        let (exit, _) = docker.build(words(&["-f", "-", "a b"]), input, false).await.unwrap();
        assert_eq!(exit, Exit::Build(3));
        assert_eq!(noted(directory.path()), ["buildx", "version", "buildx", "build", "-f", "-", "a b"]);
        assert_eq!(fs::read(directory.path().join("stdin")).unwrap(), b"FROM scratch\n");
    }

    #[tokio::test]
    async fn without_buildx_the_older_builder_builds() {
        let directory = tempfile::tempdir().unwrap();
        let docker = noting(directory.path(), "[ \"$1\" = build ]");
        // It does not read what it is given, either.
        assert_eq!(docker.build(words(&["."]), Some(vec![b'x'; 1 << 20]), false).await.unwrap().0, Exit::Done);
        assert_eq!(noted(directory.path()), ["buildx", "version", "build", "."]);
    }

    #[tokio::test]
    async fn a_docker_that_is_not_there_is_said() {
        let error = absent().build(words(&["."]), None, false).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
