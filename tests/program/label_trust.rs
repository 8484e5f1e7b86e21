//! What a label speaks for: the image that was labelled, whole files, and each file by itself.

use crate::support::labelled::*;
use crate::support::program::binary;
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
fn an_attached_record_of_other_layers_names_nothing() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer([file("a", "a"), file("b", "b")]));
    try_label(&reference, Request { attach: true, ..add(&[("a", "/a"), ("named", "/b")]) }).unwrap();
    let dir = WorkDir::new();
    artifact(&["get", &reference, "named"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("named"), b"b");
    let (_, mut index) = index_of(&registry);
    let mut part = unpack(index["layers"][1]["data"].as_str().unwrap());
    part["record"]["chain"] = sha256(b"other layers").into();
    index["layers"][1]["annotations"]["org.docker-artifact.record"] = part["record"].to_string().into();
    replace_index(&registry, &subject_of(&registry), &index, &part);
    artifact(&["get", &reference, "named"]).run().exits(3);
    artifact(&["get", &reference, "a"]).run().exits(0);
    artifact(&["ls", &reference]).run().exits(0).never_says("named");
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

#[test]
fn a_labelled_file_is_preserved_with_its_owner_or_not_at_all() {
    use std::os::unix::fs::MetadataExt;
    let registry = Registry::start();
    let image = Image::new().layer([
        file("su", "su").mode(0o4755).owner(1000, 1000).xattr("user.note", b"kept"),
        dir("d"),
        file("d/su", "su").mode(0o4755).owner(1000, 1000),
    ]);
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("d", "/d"), ("su", "/su")]);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "su", "d"]).run_in(&dir).exits(0);
    assert_eq!((dir.mode("su"), dir.mode("d/su")), (0o755, 0o755), "without --preserve, setuid is dropped");
    // A tar records what only root may set.
    for asked in [["su"].as_slice(), &["/su"], &["su", "d"]] {
        let dir = WorkDir::new();
        let run = artifact(&["get", "--preserve", "-o", "-", &reference, "d"]).args(asked).run_in(&dir).exits(0);
        let mut archive = tar::Archive::new(&run.stdout[..]);
        let mut owners = Vec::new();
        for mut entry in archive.entries().unwrap().map(Result::unwrap) {
            let header = entry.header();
            if header.entry_type().is_file() {
                owners.push((header.mode().unwrap() & 0o7777, header.uid().unwrap()));
            }
            if entry.path().unwrap().as_os_str() == "su" {
                let mut records = entry.pax_extensions().unwrap().unwrap().map(Result::unwrap);
                assert!(records.any(|record| record.key().unwrap() == "SCHILY.xattr.user.note"));
            }
        }
        assert_eq!(owners, [(0o4755, 1000), (0o4755, 1000)], "{asked:?}");
    }
    if rustix::process::geteuid().is_root() {
        let dir = WorkDir::new();
        artifact(&["get", "--preserve", &reference, "su"]).run_in(&dir).exits(0);
        assert_eq!((dir.mode("su"), dir.metadata("su").uid()), (0o4755, 1000));
    }
}

#[test]
fn what_vouches_is_said_file_by_file() {
    let registry = Registry::start();
    let image = Image::new().layer([file("tool", "tool"), file("other", "other"), file("third", "third")]);
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("tool", "/tool")]);
    let get = |asked: &[&str]| {
        let dir = WorkDir::new();
        let run = artifact(&["get", "--no-verify", "--format", "{{.Path}} {{.Verified}}", &reference]).args(asked);
        run.run_in(&dir).exits(0)
    };
    let run = get(&["tool"]);
    assert_eq!(run.out(), "/tool true\n");
    run.never_says("not verified");
    let run = get(&["tool", "/other"]);
    assert_eq!(run.out(), "/tool true\n/other false\n");
    run.says("; /other not verified");
    let run = get(&["/tool", "/other", "/third"]);
    assert_eq!(run.out(), "/tool true\n/other false\n/third false\n");
    run.says("; 2 of 3 not verified");
    get(&["/other"]).says("; not verified");
}

/// The disk is full, in a way that needs no disk of its own: no file may be longer than 32 kB.
#[test]
fn a_full_disk_is_said_and_nothing_more_is_read() {
    let registry = Registry::start();
    let reference = push_labelled(&registry);
    let (dir, before) = (WorkDir::new(), registry.log().len());
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let run = Program::new("/bin/sh").args(&["-c", limited]).args(&[binary().to_str().unwrap(), "get", &reference]);
    let run = run.args(&["tool"]).run_in(&dir).exits(1);
    run.says("cannot write").says("File too large").never_says("instead");
    assert!(dir.listing().is_empty());
    let blobs = registry.log()[before..].iter().filter(|request| request.target.contains("/blobs/")).count();
    assert_eq!(blobs, 3, "the config, the list of parts, and one range");
}

#[test]
fn a_legacy_label_below_other_layers_says_that_they_may_have_changed_its_file() {
    let registry = Registry::start();
    let bare = Image::new().layer([file("tool", "old")]).layer([file("tool", "new")]);
    let layers: Vec<String> = bare.pack().layers.iter().map(|layer| layer.digest()).collect();
    let stale = registry.push("team/app:1", &bare.clone().label("tool", &layers[0]));
    assert!(read_of(&stale, "tool").ends_with("; 1 layer above may have changed it"), "{}", read_of(&stale, "tool"));
    artifact(&["get", &stale, "tool"]).run().exits(0).says("layer 1 of 2").says("above");
    let top = registry.push("team/app:2", &bare.label("tool", &layers[1]));
    assert!(read_of(&top, "tool").ends_with("B)"), "{}", read_of(&top, "tool"));
    artifact(&["get", &top, "tool"]).run().exits(0).never_says("above");
}

#[test]
fn a_sparse_file_that_cannot_be_labelled_is_named_by_its_path() {
    let registry = Registry::start();
    let data: &[(u64, &[u8])] = &[(0, &[1; 512]), (512_000, &[2; 512])];
    let image = Image::new().layer([dir("d"), sparse_file("d/many", SparseFormat::Pax10, 1_024_000, data)]);
    let reference = registry.push("team/app:1", &image);
    for path in ["/d/many", "/d"] {
        let error = try_label(&reference, add(&[("many", path)])).unwrap_err().to_string();
        assert!(error.starts_with("/d/many is stored with holes"), "{error}");
    }
}

#[test]
fn what_a_legacy_label_names_is_never_taken_for_what_the_image_has_at_that_path() {
    let registry = Registry::start();
    let base = Image::new().layer([file("bin/tool", "old")]);
    let blob = base.pack().layers[0].digest();
    let image = base.clone().layer([file("bin/tool", "newer")]).label("tool", &blob);
    let reference = registry.push("team/app:1", &image);
    for words in [["tool", "/bin/tool"], ["/bin/tool", "tool"], ["tool", "/bin/*"]] {
        for parents in [&[][..], &["--parents"]] {
            let dir = WorkDir::new();
            let run = artifact(&["get", "-o", "out/", &reference]).args(&words).args(parents).run_in(&dir);
            run.exits(2).says("the /bin/tool of the layer that a label names").says("one by one");
            assert!(dir.listing().is_empty());
        }
    }
    // Where no layer above has changed it, it is one file.
    let reference = registry.push("team/app:2", &base.layer([file("other", "")]).label("tool", &blob));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "tool", "/bin/tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), b"old");
}
