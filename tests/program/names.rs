//! What is typed after IMAGE: names of artifacts, paths, both in one with the image, and what they are written as.

use serde_json::Value;

use crate::support::labelled::{add, try_label};
use crate::support::*;

/// An image with two artifacts that its labels name.
fn labelled() -> (Registry, String, Packed) {
    let image = Image::new()
        .layer([file("opt/bin/tool", "t"), file("opt/bin/cli", "c"), file("tol", "a path")])
        .label("org.docker-artifact.cli", "/opt/bin/cli")
        .label("org.docker-artifact.tool", "/opt/bin/tool");
    Registry::serving(&image)
}

fn rows(run: &Run) -> Vec<Value> {
    run.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_word_is_no_path_where_what_is_attached_cannot_be_asked() {
    let registry = Registry::options().referrers().start();
    let image = Image::new().layer([file("opt/bin/tool", "the artifact"), file("tool", "another file")]);
    let reference = registry.push("team/app:1", &image);
    artifact(&["label", "--attach", &reference, "/opt/bin/tool"]).run().exits(0);
    registry.requests_for("/referrers/").fail(Fault::Redirect("http://127.0.0.1:1/".to_owned()));
    let dir = WorkDir::new();
    let run = artifact(&["get", &reference, "tool"]).run_in(&dir).exits(1);
    run.says("connection refused").says("type a slash: /tool");
    let run = artifact(&["ls", &reference, "tool"]).run().exits(1);
    run.says("connection refused").says("type a slash: /tool");
    artifact(&["get", &reference, "/tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), b"another file");
    assert_eq!(artifact(&["ls", "-q", &reference, "/tool"]).run().exits(0).out(), "/tool\n");
}

#[test]
fn a_mistyped_name_says_which_names_there_are_before_any_layer_is_read() {
    let (registry, reference, image) = labelled();
    artifact(&["get", &reference, "tol"])
        .run()
        .exits(3)
        .says("has no artifact tol; it has tool, cli; for a path, type a slash: /tol");
    artifact(&["get", &reference, "tool", "zzz"]).run().exits(3).says("it has cli, tool;");
    assert_eq!(registry.count("GET", &image.layers[0].digest()), 0);
}

#[test]
fn a_path_is_typed_with_a_slash_or_a_wildcard_where_an_image_has_artifacts() {
    let (_registry, reference, _) = labelled();
    for path in ["/tol", "./tol", "to[l]"] {
        assert_eq!(artifact(&["get", "-o", "-", &reference, path]).run().exits(0).out(), "a path", "{path}");
    }
    assert_eq!(artifact(&["get", "-o", "-", &reference, "tool"]).run().exits(0).out(), "t");
    artifact(&["get", "-o", "all", &reference, "."]).run().exits(0);
}

#[test]
fn attached_artifacts_count_as_artifacts() {
    let image = Image::new().layer([file("opt/tool", "t"), file("tol", "a path")]).pack();
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image);
    assert_eq!(artifact(&["get", "-o", "-", &reference, "tol"]).run().exits(0).out(), "a path");
    let mut request = add(&[("tool", "/opt/tool")]);
    request.attach = true;
    try_label(&reference, request).unwrap();
    artifact(&["get", &reference, "tol"]).run().exits(3).says("has no artifact tol; it has tool;");
}

#[test]
fn a_label_that_cannot_be_read_is_said_and_names_nothing() {
    let image = Image::new().layer([file("broken", "b")]).label("org.docker-artifact.broken", "{").pack();
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image);
    artifact(&["get", &reference, "broken"])
        .run()
        .exits(1)
        .says("has a label that cannot be read")
        .says("give its path");
    assert_eq!(artifact(&["get", "-o", "-", &reference, "/broken"]).run().exits(0).out(), "b");
    artifact(&["get", &reference, "other"]).run().exits(3).never_says("artifact other");
}

#[test]
fn a_path_may_follow_the_image_after_a_colon_as_in_docker_cp() {
    let (_registry, reference, image) = labelled();
    let dir = WorkDir::new();
    artifact(&["get", &format!("{reference}:/opt/bin/tool")]).run_in(&dir).exits(0);
    let pinned = format!("{}@{}", reference.rsplit_once(':').unwrap().0, image.digest());
    artifact(&["get", &format!("{pinned}:/opt/bin/cli"), "renamed"]).run_in(&dir).exits(0);
    artifact(&["get", &format!("{reference}:/opt/./bin/tool"), &format!("{reference}:/tol"), "into/"])
        .run_in(&dir)
        .exits(0);
    let files: Vec<String> = dir.listing().into_iter().filter(|line| line.contains('"')).collect();
    assert_eq!(files, [r#"into/tol 644 "a path""#, r#"into/tool 644 "t""#, r#"renamed 644 "c""#, r#"tool 644 "t""#]);
    assert_eq!(artifact(&["get", &format!("{reference}:/tol"), "-"]).run().exits(0).out(), "a path");
}

#[test]
fn a_place_typed_after_the_paths_as_for_cp_is_told_to_go_with_o() {
    let (registry, reference, image) = labelled();
    for place in [".", "./", ".."] {
        artifact(&["get", &reference, "tool", place]).run().exits(2).says(&format!("use -o {place}"));
    }
    artifact(&["get", &reference, "tool", "out"]).run().exits(3).says("to write the others there, use -o out");
    assert_eq!(registry.count("GET", &image.layers[0].digest()), 0);
    artifact(&["get", &reference, "tool", "./out"]).run().exits(3).says("to write the others there, use -o ./out");
    let (dir, run) = (WorkDir::new(), artifact(&["get", &reference, "tool", "-o", "./out"]));
    run.run_in(&dir).exits(0);
    assert_eq!(dir.listing(), [r#"out 644 "t""#]);
}

#[test]
fn a_path_behind_the_image_is_told_to_be_written_apart_where_only_an_image_is_meant() {
    let (_registry, reference, _) = labelled();
    let both = format!("{reference}:/tol");
    let apart = format!("write them apart: {reference} /tol");
    for line in [&["ls", both.as_str()][..], &["label", &both], &["get", &format!("{reference}:./tol")]] {
        let says = if line[0] == "get" { format!("{reference} /./tol") } else { apart.clone() };
        artifact(line).run().exits(2).says(&says);
    }
    artifact(&["ls", &reference, "/tol"]).run().exits(0);
}

/// Three packages with a file of the same name each.
fn packages() -> (Registry, String, Packed) {
    let layer = [
        dir("usr"),
        dir("usr/share").mode(0o750),
        dir("usr/share/doc"),
        file("usr/share/doc/a/copyright", "A"),
        file("usr/share/doc/b/copyright", "B"),
        file("usr/share/doc/c/deep/copyright", "C"),
        symlink("doc", "usr/share/doc"),
    ];
    Registry::serving(&Image::new().layer(layer))
}

#[test]
fn parents_keeps_the_directories_of_matches_with_one_name() {
    let (_registry, reference, _) = packages();
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/usr/share/doc/**/copyright"])
        .run_in(&dir)
        .exits(2)
        .says("both /usr/share/doc/a/copyright and /usr/share/doc/b/copyright would be written as copyright")
        .says("--parents");
    assert!(dir.listing().is_empty());
    let all = ["get", "--parents", "--format", "json", &reference, "/usr/share/doc/**/copyright", "-o", "out/"];
    let run = artifact(&all).run_in(&dir).exits(0);
    let expected = [
        "out/ 755",
        "out/usr/ 755",
        "out/usr/share/ 750",
        "out/usr/share/doc/ 755",
        "out/usr/share/doc/a/ 755",
        r#"out/usr/share/doc/a/copyright 644 "A""#,
        "out/usr/share/doc/b/ 755",
        r#"out/usr/share/doc/b/copyright 644 "B""#,
        "out/usr/share/doc/c/ 755",
        "out/usr/share/doc/c/deep/ 755",
        r#"out/usr/share/doc/c/deep/copyright 644 "C""#,
    ];
    assert_eq!(dir.listing(), expected);
    assert_eq!(rows(&run)[0]["Destination"], "out/usr/share/doc/a/copyright");
}

#[test]
fn parents_keeps_the_path_as_typed_and_leads_nowhere_outside() {
    let (_registry, reference, _) = packages();
    let files = |paths: &[&str]| {
        let dir = WorkDir::new();
        artifact(&["get", "--parents", &reference]).args(paths).run_in(&dir).exits(0);
        dir.listing().into_iter().filter(|line| line.contains('"')).collect::<Vec<_>>()
    };
    assert_eq!(files(&["/doc/a/copyright"]), [r#"doc/a/copyright 644 "A""#]);
    assert_eq!(files(&["/doc/../../../../usr/share/doc/a/copyright"]), [r#"usr/share/doc/a/copyright 644 "A""#]);
    let both = [r#"usr/share/doc/a/copyright 644 "A""#, r#"usr/share/doc/c/deep/copyright 644 "C""#];
    assert_eq!(files(&["/usr/share/doc/a/copyright", "usr/share/doc/c"]), both);
    assert_eq!(files(&["/usr/share/doc/a/."]), [r#"usr/share/doc/a/copyright 644 "A""#]);
    artifact(&["get", "--parents", &reference, "/doc/a/copyright", "-o", "file"]).run().exits(2).says("end it with /");
    for paths in [["/doc", "/doc/a/copyright"], ["/doc/a/copyright", "/doc"]] {
        let run = artifact(&["get", "--parents", "--no-dereference", &reference]).args(&paths).run().exits(2);
        run.says("/doc/a/copyright").says(" /doc ").says("would be written as doc");
    }
}

#[test]
fn parents_keeps_the_path_that_a_label_names_however_it_is_read() {
    let layer = [dir("usr/bin"), symlink("bin", "usr/bin"), file("usr/bin/tool", "t")];
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer(layer));
    try_label(&reference, add(&[("cli", "/bin/tool")])).unwrap();
    for (flags, expected) in
        [(&["--parents"][..], "bin/tool"), (&[], "cli"), (&["-o", "x/", "--parents"], "x/bin/tool")]
    {
        for name in ["cli", "/bin/tool"] {
            let expected = if *expected == *"cli" && name != "cli" { "tool" } else { expected };
            let run = artifact(&["get", "--format", "{{.Destination}}", &reference, name]).args(flags).run().exits(0);
            assert_eq!(run.out().trim_end(), expected, "{flags:?} {name}");
        }
    }
    if rustix::process::geteuid().is_root() {
        let dir = WorkDir::new();
        artifact(&["get", "--parents", "--preserve", &reference, "cli"]).run_in(&dir).exits(0);
        assert_eq!(dir.read("bin/tool"), b"t");
    }
}

#[test]
fn two_paths_with_one_base_name_are_refused_before_anything_is_read() {
    let (registry, reference, image) = packages();
    artifact(&["get", &reference, "/doc/a/copyright", "/doc/b/copyright"]).run().exits(2).says("--parents");
    artifact(&["get", &reference, "/doc/a/copyright", "/usr", "-o", "one"])
        .run()
        .exits(2)
        .says("cannot write several things to one file");
    assert_eq!(registry.count("GET", &image.layers[0].digest()), 0);
}

#[test]
fn matches_with_one_base_name_are_refused_as_soon_as_they_have_passed_by() {
    let upper = Layer::new([file("doc/a/copyright", "A"), file("doc/b/copyright", "B")]);
    let base = Layer::new([file("big", vec![1; 9 << 20])]).plain();
    let image = Image::new().layer(base).layer(upper).pack();
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image);
    artifact(&["get", &reference, "/doc/**/copyright"]).run().exits(2).says("--parents");
    assert_eq!(registry.count("GET", &image.layers[0].digest()), 0);
}

#[test]
fn matches_with_one_name_in_different_layers_are_refused_unless_one_hides_the_other() {
    let image = |lower: &str| {
        let upper = [file("doc/a/copyright", "A"), whiteout("doc/gone")];
        Image::new().layer([file(format!("{lower}/copyright"), "B")]).layer(upper)
    };
    let registry = Registry::start();
    let get = |lower: &str| {
        let reference = registry.push("team/app:1", &image(lower));
        artifact(&["get", "-o", "-", &reference, "/doc/**/copyright"]).run()
    };
    get("doc/b").exits(2).says("both /doc/a/copyright and /doc/b/copyright would");
    assert_eq!(get("doc/gone").exits(0).out(), "A");
    assert_eq!(get("doc/a").exits(0).out(), "A");
}

#[test]
fn several_matches_on_standard_output_are_one_tar() {
    let (_registry, reference, _) = packages();
    let names = |arguments: &[&str]| {
        let run = artifact(&["get", "-o", "-", &reference]).args(arguments).run().exits(0);
        let mut archive = tar::Archive::new(run.stdout.as_slice());
        let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        names.filter(|name| !name.ends_with('/')).collect::<Vec<_>>()
    };
    let copyrights = "/usr/share/doc/?/copyright";
    assert_eq!(names(&["--parents", copyrights]), ["usr/share/doc/a/copyright", "usr/share/doc/b/copyright"]);
    assert_eq!(names(&["--parents", "/doc/a/copyright"]), ["doc/a/copyright"]);
    assert_eq!(names(&["/doc/c/d*", "/doc/a/copyright"]), ["deep/copyright", "copyright"]);
    artifact(&["get", "-o", "-", &reference, copyrights]).run().exits(2).says("--parents");
}

#[test]
fn one_thing_named_in_two_ways_is_written_and_told_once() {
    let (_registry, reference, _) = packages();
    let both =
        ["get", "--format", "json", &reference, "/doc/a/copy*", "/doc/a/copyright", "usr//share/doc/a/copyright"];
    artifact(&both).run().exits(2).says("--parents");
    let both = ["get", "--format", "json", &reference, "/doc/a/copy*", "/doc/a/copyright", "/usr/share/doc/a/c*"];
    assert_eq!(rows(&artifact(&both).run().exits(0)).len(), 1);
}

#[test]
fn the_root_and_what_a_directory_holds_say_where_they_went() {
    let (_registry, reference, _) = packages();
    let row = |path: &str, destination: &[&str]| {
        let run = artifact(&["get", "--format", "{{.Path}} {{.Destination}}", &reference, path]).args(destination);
        run.run().exits(0).out().trim_end().to_owned()
    };
    assert_eq!(row("/", &[]), "/ .");
    assert_eq!(row("/", &["-o", "out/"]), "/ out/");
    assert_eq!(row("/doc/a/.", &["-o", "out/"]), "/doc/a/ out/");
    assert_eq!(row("/doc/a/.", &["-o", "renamed"]), "/doc/a/ renamed");
    assert_eq!(row("/doc/a", &["-o", "out/"]), "/doc/a out/a");
}

#[test]
fn a_layer_that_a_legacy_label_names_keeps_its_number() {
    let base = Layer::new([file("base", "b")]);
    let damaged = Layer::of_tar(b"no tar at all".repeat(100));
    let image = Image::new().layer(base).layer(damaged).layer([file("top", "t")]).pack();
    let blob = image.layers[1].digest();
    let registry = Registry::start();
    let image = Image::new()
        .layer([file("base", "b")])
        .layer(Layer::of_tar(b"no tar at all".repeat(100)))
        .layer([file("top", "t")])
        .label("tool", &blob);
    let reference = registry.push("team/app:1", &image);
    artifact(&["get", &reference, "tool"]).run().exits(1).says("layer 2 of 3");
}
