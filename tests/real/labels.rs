//! Labelling an image that the real engine built, in a real registry: the engine pulls and runs it as before, and the file comes alone.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::engine::{self, NEEDS};
use crate::plugin::Plugin;
use crate::registry::Registry;
use crate::tools::{at_exit, can_run, run};

fn layers(reference: &str) -> Value {
    let inspect = ["inspect", "--tls-verify=false", "--raw"];
    let raw = run(Command::new("skopeo").args(inspect).arg(format!("docker://{reference}")));
    serde_json::from_slice::<Value>(&raw).unwrap()["layers"].clone()
}

#[test]
fn a_labelled_image_is_pulled_and_run_as_before() {
    if !can_run("a_labelled_image_is_pulled_and_run_as_before", &[NEEDS, &["skopeo"]].concat()) {
        return;
    }
    let registry = Registry::open();
    let reference = engine::push(&engine::built().tag, &registry, "labelled:1");
    let before = layers(&reference);
    let plugin = Plugin::installed();
    let label = ["artifact", "label", "-q", &reference, "true=/bin/true", "kept=/srv/kept"];
    run(plugin.docker().args(label));
    assert_eq!(layers(&reference), before);

    let pulled = run(plugin.docker().args(["pull", "--quiet", &reference]));
    at_exit(&format!("docker rmi --no-prune {reference}"));
    assert!(String::from_utf8_lossy(&pulled).contains("labelled:1"));
    let labels = run(plugin.docker().args(["inspect", "--format", "{{json .Config.Labels}}", &reference]));
    let labels: Value = serde_json::from_slice(&labels).unwrap();
    let record: Value = serde_json::from_str(labels["org.docker-artifact.true"].as_str().unwrap()).unwrap();
    assert_eq!((&record["path"], &record["real"]), (&"/bin/true".into(), &"/usr/bin/true".into()));
    run(plugin.docker().args(["run", "--rm", &reference, "/bin/true"]));

    let dir = TempDir::new().unwrap();
    run(plugin.get(&reference).arg("true").current_dir(dir.path()));
    let expected = run(plugin.docker().args(["run", "--rm", &reference, "/usr/bin/cat", "/usr/bin/true"]));
    assert!(std::fs::read(dir.path().join("true")).unwrap() == expected, "the file is not the container's");
    let listed = String::from_utf8(run(plugin.docker().args(["artifact", "ls", &reference]))).unwrap();
    assert!(listed.lines().filter(|line| line.contains("range")).count() == 2, "{listed}");
}
