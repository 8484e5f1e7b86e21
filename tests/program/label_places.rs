//! `docker artifact label` of what is no registry: an archive or a layout gets a labelled copy, and nothing happens to the original.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::archive::{Form, archive, blob_name, files, write_layout};
use crate::support::*;

pub const TAG: &str = "team/app:1";

/// The forms that can be labelled.
const LABELLED: [Form; 3] = [Form::Docker25, Form::Docker110, Form::Oci];

/// An image with a plain layer below one that is compressed.
pub fn mixed() -> Image {
    let base = Layer::new([file("etc/motd", "hi"), dir("bin"), file("bin/tool", "hello").mode(0o755)]).plain();
    Image::new().layer(base).layer([file("etc/other", "other")]).label("maintainer", "a <b> & c")
}

/// The members of an archive by their names.
pub fn members(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        std::io::copy(&mut entry, &mut bytes).unwrap();
        assert!(members.insert(name.clone(), bytes).is_none(), "{name} is there twice");
    }
    members
}

pub fn json_in(members: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&members[name]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The config of the only image of an archive.
pub fn config_in(members: &BTreeMap<String, Vec<u8>>) -> Value {
    if members.contains_key("manifest.json") {
        let manifest = json_in(members, "manifest.json");
        return json_in(members, manifest[0]["Config"].as_str().unwrap());
    }
    let index = json_in(members, "index.json");
    let manifest = json_in(members, &blob_name(index["manifests"][0]["digest"].as_str().unwrap()));
    json_in(members, &blob_name(manifest["config"]["digest"].as_str().unwrap()))
}

/// Writes `x.tar`, and gives its path.
pub fn write(dir: &WorkDir, image: &dyn Pack, form: Form) -> String {
    let path = dir.path("x.tar");
    fs::write(&path, archive(image, form, TAG)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_labelled_copy_of_an_archive_has_the_labels_and_everything_else_as_it_was() {
    for form in LABELLED {
        let dir = WorkDir::new();
        write(&dir, &mixed(), form);
        let run = artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(0);
        assert!(run.out().contains("/bin/tool"), "{}", run.out());
        let closing = run.stderr.lines().last().unwrap();
        assert!(closing.starts_with("archive://x.tar#sha256:"), "{closing}");
        assert!(closing.contains(" -> archive://y.tar#sha256:"), "{closing}");
        let listed = artifact(&["ls", "y.tar", "--format", "{{.Name}} {{.Path}}"]).run_in(&dir).exits(0);
        assert_eq!(listed.out(), "tool /bin/tool\n", "{form:?}");
        let got = artifact(&["get", "y.tar", "tool", "--format", "{{.Proof}}"]).run_in(&dir).exits(0);
        assert_eq!((got.out().as_str(), dir.read("tool")), ("file\n", b"hello".to_vec()), "{form:?}");

        let (before, after) = (members(&dir.read("x.tar")), members(&dir.read("y.tar")));
        let (mut old, mut new) = (config_in(&before), config_in(&after));
        let labels = new["config"]["Labels"].take();
        assert_eq!(labels["maintainer"], "a <b> & c");
        old["config"]["Labels"].take();
        assert_eq!(old, new, "{form:?}");
        assert_eq!(before.len(), after.len(), "{:?} {:?}", before.keys(), after.keys());
        let changed = after.iter().filter(|(name, bytes)| before.get(*name) != Some(*bytes)).count();
        // The config, and what names it; in a layout also the manifest, and what names that.
        let expected = match form {
            Form::Docker25 => 4,
            Form::Oci => 3,
            _ => 2,
        };
        assert_eq!(changed, expected, "{form:?}");
    }
}

#[test]
fn an_image_in_a_copy_has_the_digest_that_is_printed() {
    let dir = WorkDir::new();
    for form in LABELLED {
        write(&dir, &mixed(), form);
        let digest = artifact(&["label", "-q", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(0).out();
        let dry = artifact(&["label", "-q", "--dry-run", "x.tar", "/bin/tool"]).run_in(&dir).exits(0);
        assert_eq!(dry.out(), digest, "{form:?}");
        let image = format!("archive://y.tar#{}", digest.trim_end());
        let run = artifact(&["label", "--format", "{{.Image}}", "x.tar", "/bin/tool", "-o", "y.tar"]);
        assert_eq!(run.run_in(&dir).exits(0).out().trim_end(), image);
        assert_eq!(artifact(&["get", &image, "tool", "-o", "-"]).run_in(&dir).exits(0).out(), "hello");
    }
}

#[test]
fn the_same_labels_twice_make_the_same_archive() {
    for form in LABELLED {
        let dir = WorkDir::new();
        write(&dir, &mixed(), form);
        artifact(&["label", "x.tar", "/bin/tool", "-o", "1.tar"]).run_in(&dir).exits(0);
        artifact(&["label", "x.tar", "/bin/tool", "-o", "2.tar"]).run_in(&dir).exits(0);
        let again = artifact(&["label", "1.tar", "-o", "3.tar"]).run_in(&dir).exits(0);
        again.says("nothing changed: archive://3.tar#sha256:");
        assert!(dir.read("1.tar") == dir.read("2.tar") && dir.read("1.tar") == dir.read("3.tar"), "{form:?}");
        let removed = artifact(&["label", "1.tar", "--remove", "tool", "-o", "4.tar"]).run_in(&dir).exits(0);
        assert_eq!(removed.out(), "");
        assert!(members(&dir.read("4.tar")) == members(&dir.read("x.tar")), "{form:?}");
    }
}

#[test]
fn what_docker_wrote_before_1_10_has_no_digests_and_gets_no_labels() {
    let dir = WorkDir::new();
    write(&dir, &mixed(), Form::Legacy);
    for more in [&["/bin/tool"][..], &["--remove", "tool"]] {
        let run = artifact(&["label", "x.tar", "-o", "y.tar"]).args(more).run_in(&dir).exits(1);
        run.says("before version 1.10").says("docker load it, and save it again");
    }
    assert_eq!(dir.listing().len(), 1);
}

#[test]
fn an_archive_is_labelled_from_a_pipe_and_compressed_and_to_standard_output() {
    let dir = WorkDir::new();
    let bytes = archive(&mixed(), Form::Docker25, TAG);
    write(&dir, &mixed(), Form::Docker25);
    artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(0);
    let expected = dir.read("y.tar");
    let label = || artifact(&["label", "-", "/bin/tool", "-o", "-"]);
    let piped = label().stdin_pipe(bytes.clone()).run_in(&dir).exits(0);
    assert!(piped.stdout == expected);
    let closing = piped.stderr.lines().last().unwrap();
    assert!(closing.contains("archive://-#sha256:"), "{closing}");
    assert!(label().stdin_file(dir.path("x.tar")).run_in(&dir).exits(0).stdout == expected);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    fs::write(dir.path("x.tar.gz"), gzip.finish().unwrap()).unwrap();
    artifact(&["label", "x.tar.gz", "/bin/tool", "-o", "z.tar"]).run_in(&dir).exits(0);
    assert!(dir.read("z.tar") == expected);
}

#[test]
fn the_original_is_never_written_to_and_other_files_are_replaced() {
    let dir = WorkDir::new();
    let image = write(&dir, &mixed(), Form::Docker110);
    let original = dir.read("x.tar");
    std::os::unix::fs::symlink("x.tar", dir.path("link.tar")).unwrap();
    fs::hard_link(dir.path("x.tar"), dir.path("hard.tar")).unwrap();
    fs::create_dir(dir.path("folder")).unwrap();
    for output in ["x.tar", "./x.tar", &image, "link.tar", "hard.tar"] {
        let run = artifact(&["label", "x.tar", "/bin/tool", "-o", output]).run_in(&dir).exits(2);
        run.says("is the archive that is read; write the labelled one to another file");
    }
    let by_stdin = artifact(&["label", "-", "/bin/tool", "-o", "x.tar"]).stdin_file(&image);
    by_stdin.run_in(&dir).exits(2).says("is the archive that is read");
    for (output, problem) in [("folder", "-o folder/labelled.tar"), ("none/y.tar", "there is no directory none")] {
        artifact(&["label", "x.tar", "/bin/tool", "-o", output]).run_in(&dir).says(problem);
    }
    artifact(&["label", "x.tar", "/bin/tool"]).run_in(&dir).exits(2).says("-o labelled.tar");
    artifact(&["label", "x.tar", "/bin/tool", "--dry-run"]).run_in(&dir).exits(0).says("would become");
    assert!(dir.read("x.tar") == original);
    assert_eq!(dir.listing().len(), 4, "{:?}", dir.listing());
    fs::write(dir.path("y.tar"), "old").unwrap();
    fs::set_permissions(dir.path("x.tar"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(0);
    assert_eq!((dir.mode("y.tar"), names_in(&dir, "y.tar")), (0o640, vec!["tool".to_owned()]));
}

/// The names of the artifacts in an archive or a layout.
#[track_caller]
pub fn names_in(dir: &WorkDir, image: &str) -> Vec<String> {
    artifact(&["ls", "-q", image]).run_in(dir).exits(0).out().lines().map(str::to_owned).collect()
}

/// An archive of two images, `team/app:1` and `team/second:2`.
fn of_two(form: Form) -> Vec<u8> {
    let second = Image::new().layer(Layer::new([file("bin/second", "2")]).plain()).pack();
    let mut all: BTreeMap<String, Vec<u8>> = files(&mixed().pack(), form, TAG).into_iter().collect();
    for (name, bytes) in files(&second, form, "team/second:2") {
        let list = match name.as_str() {
            "manifest.json" => "",
            "index.json" => "manifests",
            _ => {
                all.insert(name, bytes);
                continue;
            }
        };
        let mut both: Value = serde_json::from_slice(&all[&name]).unwrap();
        let other: Value = serde_json::from_slice(&bytes).unwrap();
        let (to, from) = match list {
            "" => (&mut both, &other),
            list => (&mut both[list], &other[list]),
        };
        to.as_array_mut().unwrap().extend(from.as_array().unwrap().iter().cloned());
        all.insert(name, both.to_string().into_bytes());
    }
    tar_of(all.iter().map(|(name, bytes)| file(name, bytes)))
}

#[test]
fn of_several_images_the_one_that_is_named_is_labelled_and_the_others_stay() {
    for form in LABELLED {
        let dir = WorkDir::new();
        fs::write(dir.path("x.tar"), of_two(form)).unwrap();
        let run = artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(2);
        run.says("has 2 images");
        artifact(&["label", "x.tar#team/app:1", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(0);
        assert_eq!(names_in(&dir, "y.tar#team/app:1"), ["tool"]);
        assert_eq!(names_in(&dir, "y.tar#team/second:2"), [""; 0]);
        let digest = artifact(&["ls", "--layers", "x.tar#team/second:2", "--format", "json"]).run_in(&dir).exits(0);
        let after = artifact(&["ls", "--layers", "y.tar#team/second:2", "--format", "json"]).run_in(&dir).exits(0);
        assert_eq!(digest.out().replace("x.tar", "y.tar"), after.out());
        let got = artifact(&["get", "y.tar#team/second:2", "/bin/second", "-o", "-"]).run_in(&dir).exits(0);
        assert_eq!(got.out(), "2");
    }
}

#[test]
fn the_image_in_a_copy_gets_another_name() {
    for form in LABELLED {
        let dir = WorkDir::new();
        fs::write(dir.path("x.tar"), of_two(form)).unwrap();
        let label = |tag| {
            let run = artifact(&["label", "x.tar#team/app:1", "/bin/tool", "-o", "y.tar", "--tag", tag]);
            run.run_in(&dir)
        };
        label("team/new:3").exits(0);
        assert_eq!(names_in(&dir, "y.tar#team/new:3"), ["tool"], "{form:?}");
        assert_eq!(names_in(&dir, "y.tar#team/second:2"), [""; 0]);
        artifact(&["ls", "y.tar#team/app:1"]).run_in(&dir).exits(3).says("it holds ").never_says("team/app:1, ");
        if form != Form::Oci {
            let manifest = json_in(&members(&dir.read("y.tar")), "manifest.json");
            assert_eq!(manifest[0]["RepoTags"], json!(["team/new:3"]));
        }
        label("team/second:2").says("it holds another image of the name team/second:2");
        label(&format!("team/x@sha256:{}", "0".repeat(64))).says("a digest cannot be part of a name");
    }
}

#[test]
fn names_in_the_old_list_of_repositories_change_with_the_others() {
    let dir = WorkDir::new();
    let mut all = files(&mixed().pack(), Form::Docker110, TAG);
    let repositories = json!({"team/app": {"1": "abc", "x": "def"}, "other": {"2": "ghi"}});
    all.push(("repositories".to_owned(), repositories.to_string().into_bytes()));
    fs::write(dir.path("x.tar"), tar_of(all.iter().map(|(name, bytes)| file(name, bytes)))).unwrap();
    artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(0);
    assert_eq!(json_in(&members(&dir.read("y.tar")), "repositories"), repositories);
    artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar", "-t", "new"]).run_in(&dir).exits(0);
    let renamed = json!({"team/app": {"x": "def"}, "other": {"2": "ghi"}, "new": {"latest": "abc"}});
    assert_eq!(json_in(&members(&dir.read("y.tar")), "repositories"), renamed);
}

#[test]
fn links_and_headers_of_an_archive_stay_as_they_are() {
    let work = WorkDir::new();
    let all = files(&mixed().pack(), Form::Docker110, TAG);
    let long = format!("{}/layer.tar", "d".repeat(120));
    let mut entries = vec![dir("folder")];
    for (name, bytes) in &all {
        entries.push(match name.ends_with(".json") {
            true => file(name, bytes).mtime(1_500_000_000).owner(7, 8).mode(0o600),
            false => file(name, bytes).mtime(1_234_567_890),
        });
    }
    entries.extend([symlink("link", "manifest.json"), file(&long, "x").pax_names(), hardlink("hard", "manifest.json")]);
    fs::write(work.path("x.tar"), tar_of(entries)).unwrap();
    artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&work).exits(0);
    let headers = |name: &str| {
        let bytes = work.read(name);
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let (mode, mtime) = (header.mode().unwrap(), header.mtime().unwrap());
            let link = entry.link_name().unwrap().map(|link| link.display().to_string());
            (entry.path().unwrap().display().to_string(), header.entry_type(), mode, mtime, header.uid().unwrap(), link)
        });
        entries.collect::<Vec<_>>()
    };
    let (before, after) = (headers("x.tar"), headers("y.tar"));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        let is_config = before.0.ends_with(".json") && before.0 != "manifest.json";
        assert_eq!(before.0 == after.0, !is_config, "{before:?} {after:?}");
        assert_eq!((before.1, before.2, before.3, before.4), (after.1, after.2, after.3, after.4));
        assert_eq!(before.5, after.5);
    }
}

#[test]
fn a_config_that_a_link_leads_to_stays_beside_the_new_one() {
    for is_hard in [true, false] {
        let work = WorkDir::new();
        let all = files(&mixed().pack(), Form::Docker110, TAG);
        let config = all.iter().find(|(name, _)| name.ends_with(".json") && name != "manifest.json").unwrap().0.clone();
        let mut entries: Vec<_> = all.iter().map(|(name, bytes)| file(name, bytes)).collect();
        entries.push(match is_hard {
            true => hardlink("other/config", &config),
            false => symlink("other/config", format!("../{config}")),
        });
        fs::write(work.path("x.tar"), tar_of(entries)).unwrap();
        artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&work).exits(0);
        let after = members(&work.read("y.tar"));
        assert!(after.contains_key(&config), "{:?}", after.keys());
        assert!(config_in(&after)["config"]["Labels"]["org.docker-artifact.tool"].is_string());
        // One that nothing leads to is not left behind.
        artifact(&["label", "y.tar", "/etc/motd", "-o", "z.tar"]).run_in(&work).exits(0);
        assert_eq!(members(&work.read("z.tar")).len(), after.len());
    }
}

#[test]
fn a_layer_that_is_not_what_its_digest_says_gets_no_label() {
    let dir = WorkDir::new();
    for form in LABELLED {
        let image = write(&dir, &mixed(), form);
        let mut bytes = dir.read("x.tar");
        // What nobody asks for, beside what is labelled.
        let at = bytes.windows(2).rposition(|window| window == b"hi").unwrap();
        bytes[at] = b'H';
        fs::write(&image, bytes).unwrap();
        let run = artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(5);
        run.says("does not match its digest");
        assert_eq!(dir.listing().len(), 1, "{form:?}");
    }
}

#[test]
fn an_archive_that_is_cut_short_leaves_nothing() {
    let dir = WorkDir::new();
    for form in LABELLED {
        let whole = archive(&mixed(), form, TAG);
        for length in (0..whole.len() - 1024).step_by(1536) {
            fs::write(dir.path("x.tar"), &whole[..length]).unwrap();
            let run = artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir);
            assert!([1, 5].contains(&run.code), "{form:?} {length}: {run:?}");
            assert_eq!(dir.listing().len(), 1, "{form:?} {length}");
        }
    }
}

#[test]
fn a_full_disk_leaves_nothing_of_a_copy() {
    let dir = WorkDir::new();
    let big = Image::new().layer(Layer::new([file("tool", "hello"), file("big", noise(1, 1 << 20))]).plain());
    for form in LABELLED {
        write(&dir, &big, form);
        let limit = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
        let run = artifact(&["label", "x.tar", "/tool", "-o", "y.tar"]).under(&["/bin/sh", "-c", limit]);
        run.run_in(&dir).exits(1).says("cannot write").says("File too large");
        assert_eq!(dir.listing().len(), 1, "{form:?}");
    }
    write_layout(&big, &dir.path("layout"), TAG);
    let before = dir.listing();
    let limit = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let run = artifact(&["label", "./layout", "/tool", "-o", "new"]).under(&["/bin/sh", "-c", limit]);
    run.run_in(&dir).exits(1).says("cannot write");
    assert_eq!(dir.listing(), before);
}

#[test]
fn layers_go_through_and_are_not_held() {
    let dir = WorkDir::new();
    let big = Image::new().layer(Layer::new([file("tool", "hello"), file("big", vec![0; 128 << 20])]).plain());
    write(&dir, &big, Form::Docker25);
    let limit = "ulimit -d 65536; exec \"$0\" \"$@\"";
    let run = artifact(&["label", "x.tar", "/tool", "-o", "y.tar"]).under(&["/bin/sh", "-c", limit]);
    run.run_in(&dir).exits(0);
    assert_eq!(dir.metadata("x.tar").len() / 10_000, dir.metadata("y.tar").len() / 10_000);
}

#[test]
fn a_member_that_is_there_a_thousand_times_is_written_once() {
    let dir = WorkDir::new();
    let index = format!("{{\"manifests\":[], \"padding\":\"{}\"}}", "x".repeat(100_000));
    let packed = mixed().pack();
    let mut entries: Vec<_> = (0..1000).map(|_| file("index.json", "")).collect();
    entries.push(file("index.json", &index));
    entries.extend(files(&packed, Form::Oci, TAG).iter().map(|(name, bytes)| file(name, bytes)));
    fs::write(dir.path("x.tar"), tar_of(entries)).unwrap();
    artifact(&["label", "x.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(0);
    assert!(members(&dir.read("y.tar")).contains_key("index.json"));
    assert_eq!(names_in(&dir, "y.tar"), ["tool"]);
}

/// A tar of the files in a folder, with names relative to it.
pub fn tar_of_folder(folder: &Path) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all("", folder).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn flags_that_make_no_sense_for_a_place_are_refused() {
    let dir = WorkDir::new();
    write(&dir, &mixed(), Form::Docker25);
    artifact(&["label", "x.tar", "/bin/tool", "--attach", "-o", "y.tar"])
        .run_in(&dir)
        .exits(2)
        .says("needs a registry");
    artifact(&["label", "team/app:1", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(2).says("--tag");
    artifact(&["label", "./none.tar", "/bin/tool", "-o", "y.tar"]).run_in(&dir).exits(3).says("there is no such file");
    assert_eq!(dir.listing().len(), 1);
}
