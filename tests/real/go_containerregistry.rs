//! What go-containerregistry makes: indexes by `crane`, and a registry whose referrers API tells no artifact types.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::registry::Registry;
use crate::tools::{REFERRERS_REGISTRY, TYPING_CRANE, can_run, referrers_registry, run};

/// go-containerregistry's registry, with its referrers API, for as long as this value lives.
struct ReferrersRegistry {
    host: String,
    process: Child,
}

impl ReferrersRegistry {
    fn start() -> Self {
        let mut process = Command::new(referrers_registry().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let host = said.strip_prefix("listening on ").unwrap().trim_end().to_owned();
        ReferrersRegistry { host, process }
    }
}

impl Drop for ReferrersRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn crane(arguments: &[&str]) -> Vec<u8> {
    run(Command::new("crane").args(arguments))
}

fn artifact(arguments: &[&str]) -> String {
    let config = TempDir::new().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_docker-artifact"));
    String::from_utf8(run(program.env("DOCKER_CONFIG", config.path()).args(arguments))).unwrap()
}

/// Pushes an image that says in `/platform` what it is for, as `REPOSITORY:ARCHITECTURE`.
fn push_image_for(architecture: &str, work: &Path, repository: &str) -> String {
    let layer = work.join(format!("{architecture}.tar")).display().to_string();
    std::fs::write(work.join("platform"), architecture).unwrap();
    run(Command::new("tar").arg("-C").arg(work).args(["-cf", &layer, "platform"]));
    let reference = format!("{repository}:{architecture}");
    crane(&["append", "--oci-empty-base", "-f", &layer, "-t", &reference]);
    crane(&["mutate", "--set-platform", &format!("linux/{architecture}"), "-t", &reference, &reference]);
    reference
}

#[test]
fn an_index_that_crane_appended_to_is_read_and_labelled() {
    let needs = &[TYPING_CRANE, "docker-registry", "tar"];
    if !can_run("an_index_that_crane_appended_to_is_read_and_labelled", needs) {
        return;
    }
    let (work, registry) = (TempDir::new().unwrap(), Registry::open());
    let repository = format!("{}/crane/app", registry.host);
    let [amd64, arm64] = ["amd64", "arm64"].map(|architecture| push_image_for(architecture, work.path(), &repository));
    let index = format!("{repository}:index");
    crane(&["index", "append", "-m", &amd64, "-m", &arm64, "-t", &index]);
    let manifest: Value = serde_json::from_slice(&crane(&["manifest", &index])).unwrap();
    // What this test is about, and what an older crane does not write: were it not there, nothing would be proved.
    assert_eq!(manifest["manifests"][0]["artifactType"], "application/vnd.oci.image.config.v1+json", "{manifest}");

    let get = |what: &str| {
        ["linux/amd64", "linux/arm64"]
            .map(|platform| artifact(&["get", "-q", "--platform", platform, &index, what, "-o", "-"]))
    };
    assert_eq!(get("/platform"), ["amd64", "arm64"]);
    artifact(&["label", "-q", &index, "/platform"]);
    assert_eq!(get("platform"), ["amd64", "arm64"]);
    // crane still takes it for what it is.
    crane(&["validate", "--remote", &index]);
}

#[test]
fn a_registry_that_lists_referrers_by_their_config_keeps_what_is_attached() {
    let needs = &["crane", "tar", REFERRERS_REGISTRY];
    if !can_run("a_registry_that_lists_referrers_by_their_config_keeps_what_is_attached", needs) {
        return;
    }
    let (work, registry) = (TempDir::new().unwrap(), ReferrersRegistry::start());
    let reference = push_image_for("amd64", work.path(), &format!("{}/app", registry.host));
    let names = || artifact(&["ls", "-q", "--platform", "linux/amd64", &reference]);
    artifact(&["label", "-q", "--attach", &reference, "one=/platform"]);
    artifact(&["label", "-q", "--attach", &reference, "two=/platform"]);
    assert_eq!(names(), "one\ntwo\n");
    artifact(&["label", "-q", "--attach", "--remove", "one", &reference]);
    assert_eq!(names(), "two\n");
    artifact(&["label", "-q", &reference, "three=/platform"]);
    assert_eq!(artifact(&["get", "-q", "--platform", "linux/amd64", &reference, "three", "-o", "-"]), "amd64");
    let read = artifact(&["ls", "--format", "{{.Name}} {{.Read}}", "--platform", "linux/amd64", &reference]);
    assert_eq!(read, "three range\ntwo range\n");
}
