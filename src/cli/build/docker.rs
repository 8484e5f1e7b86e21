//! Runs Docker: asks it what it is and what it builds with, and has it build. It is the `docker` on the PATH, with the global flags that
//! this program was given.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::super::exit::Exit;
use super::super::running;
use crate::image::platform::Platform;
use crate::plugin::SOCKET_VARIABLE;
use crate::source::engine::EngineOptions;

/// How long Docker may take to tell something about itself. buildx gives up on a builder that does not answer after 20 seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The oldest BuildKit that takes contexts by name, and the oldest engine with one.
const OLDEST_BUILDKIT: (u32, u32) = (0, 10);
const OLDEST_ENGINE: (u32, u32) = (23, 0);

/// How Docker is run.
#[derive(Debug)]
pub struct Docker {
    program: OsString,
    globals: Vec<OsString>,
    /// The version of buildx, once somebody has asked for it.
    buildx: OnceCell<Option<(u32, u32)>>,
}

/// What builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// How buildx reaches it: `docker`, `docker-container`, `kubernetes` or `remote`.
    pub driver: String,
    /// The platform that it runs on, which is `BUILDPLATFORM`. `None` where it has not started yet, where its machines have several,
    /// and where its list begins with what a person has put there.
    pub platform: Option<Platform>,
    /// The version of BuildKit, the lowest of its machines', or of the engine that it is part of; `None` where it is not told.
    buildkit: Option<(u32, u32)>,
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
    let EngineOptions { host, context, docker_config, tls } = engine;
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

impl Builder {
    /// Whether it is part of the engine, and has the engine's images.
    pub fn is_engine(&self) -> bool {
        self.driver == "docker"
    }

    /// What it is, and what is needed, if it is known to be too old to take contexts by name.
    pub fn too_old(&self) -> Option<(String, &'static str)> {
        let (major, minor) = self.buildkit?;
        // buildx tells the engine's version where there is no other; engines count in years, and no BuildKit does.
        let (what, oldest, needed) = match major {
            0..17 => ("BuildKit", OLDEST_BUILDKIT, "0.10"),
            17.. => ("Docker", OLDEST_ENGINE, "23.0"),
        };
        ((major, minor) < oldest).then(|| (format!("{what} {major}.{minor}"), needed))
    }

    /// Reads what `docker buildx inspect` prints: `Key: value`, first of the builder, and after `Nodes:` of its machines, each of which
    /// begins with `Name:`. Further in stand lists that may have any keys.
    fn parse(text: &str) -> Option<Self> {
        let mut driver = None;
        let mut machines: Vec<Machine> = Vec::new();
        let mut is_of_machines = false;
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "Nodes" => is_of_machines = true,
                "Driver" if !is_of_machines => driver = Some(value.to_owned()),
                "Name" if is_of_machines => machines.push(Machine::default()),
                _ => {
                    let Some(machine) = machines.last_mut() else { continue };
                    match key {
                        "Platforms" => machine.platform = first_platform(value),
                        // Distributions build engines that do not know theirs: `v0.0.0+unknown`.
                        "Buildkit" | "BuildKit" | "BuildKit version" => {
                            machine.buildkit = version(value).filter(|version| *version != (0, 0));
                        }
                        _ => {}
                    }
                }
            }
        }
        let buildkit = machines.iter().map(|machine| machine.buildkit).min().flatten();
        let mut platforms = machines.into_iter().map(|machine| machine.platform);
        let first = platforms.next().flatten();
        let platform = first.filter(|first| platforms.all(|other| other.is_some_and(|other| other.is_same(first))));
        Some(Builder { driver: driver.filter(|driver| !driver.is_empty())?, platform, buildkit })
    }
}

/// One machine of a builder.
#[derive(Default)]
struct Machine {
    platform: Option<Platform>,
    buildkit: Option<(u32, u32)>,
}

/// The first platform of a list, which is the machine's own, unless a person has put others before it; these have an asterisk.
fn first_platform(list: &str) -> Option<Platform> {
    list.split(',').next()?.trim().parse().ok()
}

/// The first two numbers of a version, such as `v0.13.1+ds1`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?;
    let end = minor.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor[..end].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

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

    #[test]
    fn versions_are_read_however_they_are_spelt() {
        for (text, expected) in [
            ("v0.13.1", Some((0, 13))),
            ("0.13.1+ds1", Some((0, 13))),
            ("v0.31.0-desktop.1", Some((0, 31))),
            ("v1.2", Some((1, 2))),
            ("v0.9-rc1", Some((0, 9))),
            ("26.1.5+dfsg1", Some((26, 1))),
            ("github.com/docker/buildx", None),
            ("", None),
            ("v1", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
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

    /// What buildx 0.13 prints of the engine's own builder.
    const PLAIN: &str = "\
Name:          default
Driver:        docker
Last Activity: 2024-06-01 10:00:00 +0000 UTC

Nodes:
Name:      default
Endpoint:  default
Status:    running
Buildkit:  v0.13.2
Platforms: linux/amd64, linux/amd64/v2, linux/386
Labels:
 org.mobyproject.buildkit.worker.moby.host-gateway-ip: 172.17.0.1
GC Policy rule#0:
 All:           false
";

    /// What a newer one prints of a builder with two machines.
    const TWO: &str = "\
Name:   cross
Driver: docker-container

Nodes:
Name:             cross0
Endpoint:         unix:///var/run/docker.sock
Driver Options:   network=\"host\"
Status:           running
BuildKit daemon flags: --allow-insecure-entitlement=network.host
BuildKit version: v0.26.0
Platforms:        linux/arm64, linux/arm/v7
Labels:
 Platforms: linux/s390x
File#buildkitd.toml:
 > Platforms: none

Name:             cross1
Endpoint:         ssh://other
Status:           running
BuildKit version: v0.9.0
Platforms:        linux/arm64/v8
";

    fn builder(driver: &str, platform: Option<&str>, buildkit: Option<(u32, u32)>) -> Option<Builder> {
        let platform = platform.map(|platform| platform.parse().unwrap());
        Some(Builder { driver: driver.to_owned(), platform, buildkit })
    }

    #[test]
    fn a_builder_is_its_driver_and_the_platform_of_all_its_machines() {
        let cases = [
            (PLAIN.to_owned(), builder("docker", Some("linux/amd64"), Some((0, 13)))),
            (TWO.to_owned(), builder("docker-container", Some("linux/arm64"), Some((0, 9)))),
            // Machines that differ, and one that has not started yet.
            (TWO.replace("linux/arm64/v8", "linux/amd64"), builder("docker-container", None, Some((0, 9)))),
            (TWO.replace("Platforms:        linux/arm64/v8\n", ""), builder("docker-container", None, Some((0, 9)))),
            // What a person has put first says nothing of the machine.
            (PLAIN.replace("linux/amd64,", "linux/arm64*, linux/amd64*,"), builder("docker", None, Some((0, 13)))),
            // buildx 0.8 does not tell BuildKit's version; one of two that is not told is not known.
            (PLAIN.replace("Buildkit:  v0.13.2\n", ""), builder("docker", Some("linux/amd64"), None)),
            (TWO.replace("BuildKit version: v0.9.0\n", ""), builder("docker-container", Some("linux/arm64"), None)),
            ("Name: x\nDriver: remote\nError: no answer\n".to_owned(), builder("remote", None, None)),
            ("Name: x\n".to_owned(), None),
            (String::new(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(Builder::parse(&text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_builder_is_asked_for_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let docker = noting(directory.path(), &format!("cat <<'END'\n{PLAIN}END"));
        let expected = builder("docker", Some("linux/amd64"), Some((0, 13)));
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
        assert_eq!(asked, builder("docker", Some("linux/amd64"), Some((20, 10))));
        assert_eq!(noted(directory.path()), ["buildx", "inspect", "version", "--format", "{{.Server.Version}}"]);
    }

    #[test]
    fn a_builder_that_takes_no_contexts_by_name_is_too_old() {
        for (version, expected) in [
            (Some((0, 8)), Some("BuildKit 0.8")),
            (Some((0, 10)), None),
            (Some((1, 0)), None),
            (Some((20, 10)), Some("Docker 20.10")),
            (Some((23, 0)), None),
            (Some((29, 1)), None),
            (None, None),
        ] {
            let too_old = builder("docker", None, version).unwrap().too_old();
            assert_eq!(too_old.as_ref().map(|(what, _)| what.as_str()), expected);
        }
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
