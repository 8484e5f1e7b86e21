//! What a label speaks for: the image that was labelled, whole files, and each file by itself.

use crate::support::labelled::*;
use crate::support::*;
use docker_artifact::artifact::label::Request;
use serde_json::Value;

/// A labelled image, and what its labels say, by key.
struct Base {
    layers: Vec<Layer>,
    labels: Vec<(String, String)>,
}

impl Base {
    /// Labels an image of these layers, `/bin` being a link to `/usr/bin`.
    fn labelled(registry: &Registry, artifacts: &[(&str, &str)]) -> Base {
        let layers = vec![
            Layer::new([
                dir("usr"),
                dir("usr/bin"),
                symlink("bin", "usr/bin"),
                file("usr/bin/tool", "old tool").mode(0o755),
                file("usr/bin/gone", "gone"),
            ]),
            Layer::new([dir("etc"), dir("etc/app"), file("etc/app/a.conf", "a")]),
        ];
        let image = layers.iter().cloned().fold(Image::new(), Image::layer);
        let reference = registry.push("team/base:1", &image);
        label_as(&reference, artifacts);
        let (_, config) = manifest_and_config(registry, "team/base", "1");
        let labels = config["config"]["Labels"].as_object().unwrap();
        let labels = labels.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()));
        Base { layers, labels: labels.collect() }
    }

    /// An image built from this one: its layers, its labels, and one more layer.
    fn child(&self, layer: impl Into<Layer>) -> Image {
        let image = self.layers.iter().cloned().fold(Image::new(), Image::layer).layer(layer);
        self.labels.iter().fold(image, |image, (key, value)| image.label(key, value))
    }
}

/// The field `Read` of the artifact `name`, as `ls` prints it.
#[track_caller]
fn read_of(reference: &str, name: &str) -> String {
    let run = artifact(&["ls", "--format", "json", reference]).run().exits(0);
    let mut rows = run.out().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    rows.retain(|row| row["Name"] == name);
    rows[0]["Read"].as_str().unwrap().to_owned()
}

#[test]
fn a_derived_image_gives_its_own_file_and_not_the_one_that_was_labelled() {
    let registry = Registry::start();
    let base = Base::labelled(&registry, &[("tool", "/bin/tool"), ("app", "/etc/app")]);
    let child = base.child([
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/tool", "new tool").mode(0o755),
        dir("etc"),
        dir("etc/app"),
        file("etc/app/b.conf", "b"),
    ]);
    let reference = registry.push("team/child:1", &child);
    for asked in ["tool", "/bin/tool", "/usr/bin/tool", "/bin/./tool"] {
        let dir = WorkDir::new();
        artifact(&["get", &reference, asked]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), b"new tool", "{asked}");
    }
    let dir = WorkDir::new();
    artifact(&["get", &reference, "app"]).run_in(&dir).exits(0);
    assert_eq!((dir.read("app/a.conf"), dir.read("app/b.conf")), (b"a".to_vec(), b"b".to_vec()));
    assert_eq!(read_of(&reference, "tool"), "inherited");
    assert_eq!(read_of(&reference, "app"), "inherited");
}

#[test]
fn a_file_that_the_derived_image_deleted_is_not_found() {
    let registry = Registry::start();
    let base = Base::labelled(&registry, &[("gone", "/bin/gone")]);
    let reference = registry.push("team/child:1", &base.child([whiteout("usr/bin/gone")]));
    for asked in ["gone", "/bin/gone", "/usr/bin/gone"] {
        let dir = WorkDir::new();
        artifact(&["get", &reference, asked]).run_in(&dir).exits(3).says("deleted by layer 3 of 3");
        assert!(dir.listing().is_empty());
    }
}

#[test]
fn a_link_that_the_derived_image_turned_leads_where_it_leads_now() {
    let registry = Registry::start();
    let base = Base::labelled(&registry, &[("tool", "/bin/tool")]);
    let child = base.child([dir("opt"), file("opt/tool", "other tool"), symlink("bin", "opt")]);
    let reference = registry.push("team/child:1", &child);
    for asked in ["tool", "/bin/tool"] {
        let dir = WorkDir::new();
        artifact(&["get", &reference, asked]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), b"other tool", "{asked}");
    }
}

#[test]
fn labelling_a_derived_image_renews_what_it_inherited() {
    let registry = Registry::start();
    let base = Base::labelled(&registry, &[("tool", "/bin/tool")]);
    let reference = registry.push("team/child:1", &base.child([file("usr/bin/tool", "new tool").mode(0o700)]));
    assert!(try_label(&reference, Request::default()).unwrap().pushed);
    assert_eq!(read_of(&reference, "tool"), "range");
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0);
    assert_eq!((dir.read("tool"), dir.mode("tool")), (b"new tool".to_vec(), 0o700));
    let (_, config) = manifest_and_config(&registry, "team/child", "1");
    let record: Value =
        serde_json::from_str(config["config"]["Labels"]["org.docker-artifact.tool"].as_str().unwrap()).unwrap();
    assert_eq!((&record["path"], &record["real"]), (&"/bin/tool".into(), &"/usr/bin/tool".into()));
}

#[test]
fn what_is_labelled_by_way_of_a_link_is_cheap_by_either_path() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "//bin/./tool")]);
    for asked in ["/bin/tool", "/usr/bin/tool", "bin/tool", "//usr/bin/./tool", "tool"] {
        let (dir, before) = (WorkDir::new(), registry.log().len());
        artifact(&["get", &reference, asked]).run_in(&dir).exits(0);
        assert_eq!(dir.read("tool"), noise(2, 200_000), "{asked}");
        let sent: u64 = registry.log()[before..].iter().map(|request| request.sent()).sum();
        assert!(sent < 400_000, "{asked}: {sent} bytes");
    }
}

#[test]
fn a_link_that_is_labelled_stays_a_link_where_that_is_asked_for() {
    let registry = Registry::start();
    let image = Image::new().layer([file("mawk", "mawk"), symlink("awk", "mawk")]);
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("awk", "/awk")]);
    let dir = WorkDir::new();
    artifact(&["get", "--no-dereference", &reference, "/awk"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), ["awk -> mawk"]);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/awk"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), ["awk 644 \"mawk\""]);
}
