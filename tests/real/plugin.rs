//! The plugin as the real `docker` finds and calls it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::engine;
use crate::tools::{can_run, run};

/// A Docker configuration folder that holds the plugin and nothing else.
pub struct Plugin {
    config: TempDir,
}

impl Plugin {
    pub fn installed() -> Self {
        let config = TempDir::new().unwrap();
        let plugins = config.path().join("cli-plugins");
        std::fs::create_dir(&plugins).unwrap();
        symlink(env!("CARGO_BIN_EXE_docker-artifact"), plugins.join("docker-artifact")).unwrap();
        Self { config }
    }

    /// Where `config.json` is.
    pub fn config(&self) -> &Path {
        self.config.path()
    }

    /// `docker`, with this configuration and a cache that nobody else fills.
    pub fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_CONFIG", self.config.path());
        docker.env("DOCKER_ARTIFACT_CACHE", self.config.path().join("cache"));
        docker
    }

    /// `docker artifact get IMAGE`.
    pub fn get(&self, image: &str) -> Command {
        let mut docker = self.docker();
        docker.args(["artifact", "get", image]);
        docker
    }
}

#[test]
fn docker_lists_the_plugin_and_shows_its_help() {
    if !can_run("docker_lists_the_plugin_and_shows_its_help", &["docker"]) {
        return;
    }
    let plugin = Plugin::installed();
    let text = |arguments: &[&str]| String::from_utf8(run(plugin.docker().args(arguments))).unwrap();

    let listed = text(&["--help"]);
    assert!(listed.lines().any(|line| line.trim_start().starts_with("artifact*")), "{listed}");
    for help in [
        &["artifact", "--help"][..],
        &["help", "artifact"],
        &["artifact", "get", "--help"],
        &["help", "artifact", "get"],
    ] {
        let shown = text(help);
        assert!(shown.contains("docker artifact") && shown.contains("get"), "docker {}: {shown}", help.join(" "));
    }
    assert!(text(&["artifact", "get", "--help"]).contains("--platform"));
}

#[test]
fn docker_passes_its_own_flags_in_front_of_the_plugins_name() {
    if !can_run("docker_passes_its_own_flags_in_front_of_the_plugins_name", engine::NEEDS) {
        return;
    }
    let plugin = Plugin::installed();
    let image = engine::pushed();

    let mut docker = Command::new("docker");
    docker.arg("--config").arg(plugin.config()).args([
        "-D",
        "--log-level",
        "debug",
        "-c",
        "default",
        "artifact",
        "get",
        &image.reference,
    ]);
    let content = run(docker.args(["/srv/kept/chmod", "-o", "-"]));

    assert_eq!(content, b"only its mode changes\n");
}
