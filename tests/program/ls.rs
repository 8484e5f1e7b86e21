//! `docker artifact ls`: artifacts, files and layers of an image.

use crate::support::*;
use serde_json::{Value, json};

#[track_caller]
fn rows(arguments: &[&str]) -> Vec<Value> {
    let run = artifact(&["ls", "--format", "json"]).args(arguments).run().exits(0);
    run.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn lines(arguments: &[&str]) -> Vec<String> {
    artifact(&["ls"]).args(arguments).run().exits(0).out().lines().map(str::to_owned).collect()
}

/// The fields `Name` and `Read` of each artifact.
#[track_caller]
fn reads(reference: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows(&[reference]).iter().map(|row| (text(&row["Name"]), text(&row["Read"]))).collect()
}

fn pair(name: &str, read: &str) -> (String, String) {
    (name.to_owned(), read.to_owned())
}

// Artifacts

#[test]
fn an_image_without_artifacts_is_no_error_and_what_to_type_next_is_said() {
    let registry = Registry::start();
    let image = Image::new().layer([file("tool", "x")]).pack();
    let reference = registry.push("team/app:1", &image);
    let run = artifact(&["ls", &reference]).run().exits(0);
    assert_eq!(run.out(), "");
    run.says(&format!("docker artifact label {reference} /path")).says(&format!("docker artifact ls {reference} /"));
    let run = artifact(&["ls", "-q", &reference]).run().exits(0);
    assert_eq!((run.out().as_str(), run.stderr.as_str()), ("", ""));
    let pinned = format!("{}@{}", reference.rsplit_once(':').unwrap().0, image.digest());
    artifact(&["ls", &pinned]).run().exits(0).says(&format!("docker artifact label --tag NAME {pinned} /path"));
    let run = artifact(&["ls", "--platform", "linux/amd64", &reference]).run().exits(0);
    run.says(&format!("docker artifact ls --platform linux/amd64 {reference} /"));
}

#[test]
fn each_artifact_says_how_it_will_be_read() {
    for registry in [Registry::start(), Registry::options().referrers().start()] {
        let layer: Layer = [file("bin/tool", "hello").mode(0o755), file("bin/other", "x")].into();
        let blob = Image::new().layer(layer.clone()).pack().layers[0].digest();
        let image = Image::new()
            .layer([file("base", "x")])
            .layer(layer)
            .label("org.docker-artifact.said", "/bin/other")
            .label("org.docker-artifact.broken", "{\"type\":\"file\"}")
            .label("org.docker-artifact.-x", "/bin/other")
            .label("other", &blob)
            .label("maintainer", "nobody");
        let reference = registry.push("team/app:1", &image);
        let size = image.pack().layers[1].bytes.len();
        let legacy = pair("other", &format!("legacy, layer ({size} B)"));
        let found = reads(&reference);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].0 == "-x" && found[0].1.starts_with("malformed: "), "{found:?}");
        assert!(found[1].0 == "broken" && found[1].1.starts_with("malformed: "), "{found:?}");
        assert_eq!(found[2..], [legacy.clone(), pair("said", "declared")]);

        artifact(&["label", &reference, "/bin/tool"]).run().exits(0);
        let found = reads(&reference);
        assert_eq!(found[2..], [legacy, pair("said", "range"), pair("tool", "range")]);
        let table = lines(&[&reference]);
        assert!(table[0].starts_with("NAME     PATH         SIZE"), "{table:?}");
        let tool = table.iter().find(|line| line.starts_with("tool ")).unwrap();
        let columns: Vec<&str> = tool.split_whitespace().collect();
        let short = blob.trim_start_matches("sha256:").get(..12).unwrap();
        assert_eq!(columns, ["tool", "/bin/tool", "5", "B", short, "range"]);
        assert!(lines(&["--no-trunc", &reference]).iter().any(|line| line.contains(&blob)));
    }
}

#[test]
fn without_a_range_index_a_label_costs_its_layer() {
    let registry = Registry::start();
    let image = Image::new().layer([dir("opt"), file("opt/a", "a")]).layer([file("bin/tool", "hello")]);
    let reference = registry.push("team/app:1", &image);
    let run = artifact(&["label", "--print-args", &reference, "/bin/tool", "/opt"]).run().exits(0);
    let labels: Vec<String> = run.out().split('\'').filter(|part| part.contains('=')).map(str::to_owned).collect();
    let labelled = labels.iter().fold(image.clone(), |image, label| {
        let (key, value) = label.split_once('=').unwrap();
        image.label(key, value)
    });
    let size = image.pack().layers[1].bytes.len();
    let labelled_reference = registry.push("team/app:2", &labelled);
    assert_eq!(reads(&labelled_reference), [pair("opt", "path"), pair("tool", &format!("layer ({size} B)"))]);
    // In an image of other layers, the same labels say no more than a path.
    let strange = labels.iter().fold(Image::new().layer([file("x", "x")]), |image, label| {
        let (key, value) = label.split_once('=').unwrap();
        image.label(key, value)
    });
    assert_eq!(reads(&registry.push("team/app:3", &strange)), [pair("opt", "inherited"), pair("tool", "inherited")]);
}

#[test]
fn without_a_range_index_a_label_costs_its_file_where_a_table_tells_of_the_layer() {
    let content = noise(7, 200_000);
    let layer = Layer::new([
        file("before", noise(1, 3_000_000)),
        file("bin/tool", content.clone()),
        file("after", noise(2, 3_000_000)),
    ]);
    let plain = Image::new().layer(layer.clone());
    let carried = Image::new().layer(layer.with_table(TableFormat::ZstdChunked));
    for (image, offer) in [(&plain, "cached"), (&carried, "zstd:chunked")] {
        let registry = Registry::start();
        let dir = WorkDir::new();
        let reference = registry.push("team/app:1", image);
        let run = artifact(&["label", "--print-args", "--no-cache", &reference, "/bin/tool"]).run_in(&dir).exits(0);
        let printed = run.out();
        let (key, value) = printed.split('\'').find(|part| part.contains('=')).unwrap().split_once('=').unwrap();
        let labelled = image.clone().label(key, value);
        let reference = registry.push("team/app:2", &labelled);
        if offer == "cached" {
            artifact(&["ls", "-a", &reference]).run_in(&dir).exits(0);
        }
        let read = artifact(&["ls", &reference, "--format", "{{.Read}}"]).run_in(&dir).exits(0).out();
        assert_eq!(read, format!("{offer}\n"));
        let before = registry.log().len();
        artifact(&["get", &reference, "tool"]).run_in(&dir).exits(0).never_says("unverified");
        assert!(dir.read("tool") == content);
        let sent: u64 = registry.log()[before..].iter().map(|request| request.sent()).sum();
        assert!(sent < 1_300_000, "{offer}: {sent} bytes");
        let files = artifact(&["ls", &reference, "/bin/tool", "--format", "{{.Read}}"]).run_in(&dir).exits(0).out();
        assert_eq!(files, format!("{offer}\n"));
        // A label that is of another file gives none of them.
        let wrong = value.replacen("\"digest\":\"sha256:", "\"digest\":\"sha256:00", 1);
        assert_ne!(wrong, value, "{value}");
        let wrong = wrong.replacen(&sha256(&content)[7..], &sha256(&content)[7..69], 1);
        let other = registry.push("team/app:3", &image.clone().label(key, &wrong));
        artifact(&["get", &other, "tool", "-o", "other"]).run_in(&dir).exits(5).says("reading its layer instead");
        assert!(!dir.path("other").exists());
    }
}

#[test]
fn what_is_only_attached_is_marked() {
    let registry = Registry::options().referrers().start();
    let reference = registry.push("team/app:1", &Image::new().layer([file("bin/tool", "hello")]));
    artifact(&["label", "--attach", &reference, "/bin/tool"]).run().exits(0);
    assert_eq!(reads(&reference), [pair("tool", "attached")]);
}

#[test]
fn names_alone_and_templates_are_for_scripts() {
    let registry = Registry::start();
    let image = Image::new().layer([file("a", "1")]).label("org.docker-artifact.one", "/a");
    let reference = registry.push("team/app:1", &image.label("org.docker-artifact.two", "/a"));
    assert_eq!(lines(&["-q", &reference]), ["one", "two"]);
    assert_eq!(lines(&["--format", "{{.Name}}={{.Path}} {{.Read}}", &reference])[0], "one=/a declared");
    assert_eq!(
        lines(&["--format", "table {{.Name}}\\t{{.Path}}", &reference]),
        ["NAME   PATH", "one    /a", "two    /a"]
    );
}

#[test]
fn no_name_or_path_reaches_the_terminal_as_it_is() {
    let registry = Registry::start();
    let image = Image::new()
        .layer([file("e\x1b[2Jvil", "x"), symlink("l\u{202e}ink", "t\x07arget")])
        .label("org.docker-artifact.\x1b[31m", "/x")
        .label("org.docker-artifact.tool", "/\x1b[31mx");
    let reference = registry.push("team/app:1", &image);
    for arguments in [&["ls"][..], &["ls", "-a"], &["ls", "-q"], &["ls", "-aq"], &["ls", "--layers"]] {
        for format in [None, Some("json"), Some("{{.Image}} {{json .}}")] {
            let format = format.filter(|_| !arguments.iter().any(|word| word.contains('q')));
            let format: Vec<&str> = format.into_iter().flat_map(|format| ["--format", format]).collect();
            let run = artifact(arguments).args(&format).args(&[&reference]).run().exits(0);
            run.never_says("\x1b").never_says("\u{202e}").never_says("\x07");
        }
    }
}

#[test]
fn a_name_lists_that_artifact() {
    let registry = Registry::start();
    let image = Image::new()
        .layer([dir("tool"), file("tool/x", "1")])
        .label("org.docker-artifact.tool", "/tool/x")
        .label("org.docker-artifact.other", "/tool/x");
    let reference = registry.push("team/app:1", &image);
    assert_eq!(reads(&reference), [pair("other", "declared"), pair("tool", "declared")]);
    assert_eq!(lines(&["-q", &reference, "tool"]), ["tool"]);
    assert_eq!(lines(&["-q", "-l", &reference, "tool", "other", "tool"]), ["tool", "other"]);
    assert_eq!(lines(&["--format", "{{.Name}} {{.Read}}", &reference, "tool"]), ["tool declared"]);
    assert!(rows(&[&reference, "tool"])[0]["Path"] == "/tool/x");
    assert_eq!(registry.count("GET", "/blobs/"), 5, "one config for each list, and no layer");

    let run = artifact(&["ls", &reference, "tol"]).run().exits(3);
    run.says("tool").says("other").says("/tol");
    artifact(&["ls", &reference, "tool", "/tool"]).run().exits(2).says("one at a time").says("/tool for a path");
    artifact(&["ls", "--format", "{{.Target}}", &reference, "tool"]).run().exits(2).says("{{.Read}}");
    // As a path, it is one in any case.
    for words in [&["/tool"][..], &["tool/"], &["-R", "tool"]] {
        assert_eq!(lines(&[&["-q", &reference], words].concat()), ["/tool/x"], "{words:?}");
    }
}

#[test]
fn a_word_is_a_path_where_an_image_has_no_artifacts() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &tree());
    assert_eq!(lines(&["-q", &reference, "tmp", "etc"]), lines(&["-q", &reference, "/tmp", "/etc"]));
    assert!(rows(&[&reference, "etc"])[0]["Path"] == "/etc/link");
    artifact(&["ls", &reference, "et"]).run().exits(3).says("/etc");
    assert_eq!(registry.count("GET", "/manifests/1"), 4, "one request for each list");
}

// Files

fn tree() -> Image {
    Image::new().layer([dir("etc"), file("etc/motd", "old"), file("etc/gone", "x"), dir("tmp").mode(0o1777)]).layer([
        dir("etc"),
        file("etc/motd", "hello").mode(0o640).owner(1000, 50),
        whiteout("etc/gone"),
        symlink("etc/link", "motd"),
        hardlink("etc/same", "etc/motd"),
        char_device("etc/null", 1, 3),
    ])
}

#[test]
fn files_are_listed_as_a_container_sees_them_with_their_layers() {
    let registry = Registry::start();
    let image = tree();
    let reference = registry.push("team/app:1", &image);
    let layers: Vec<String> = image.pack().layers.iter().map(|layer| layer.digest()).collect();
    let short = |layer: usize| layers[layer].trim_start_matches("sha256:").get(..12).unwrap();
    let found: Vec<Vec<String>> =
        lines(&["-a", &reference]).iter().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    let time = "2023-11-14T22:13:20Z";
    let expected = [
        "PERMISSIONS OWNER SIZE MODIFIED LAYER NAME".to_owned(),
        format!("drwxr-xr-x 0/0 0 B {time} {} /etc", short(1)),
        format!("lrwxrwxrwx 0/0 4 B {time} {} /etc/link -> motd", short(1)),
        format!("-rw-r----- 1000/50 5 B {time} {} /etc/motd", short(1)),
        format!("crw------- 0/0 0 B {time} {} /etc/null", short(1)),
        format!("-rw-r----- 1000/50 5 B {time} {} /etc/same", short(1)),
        format!("drwxrwxrwt 0/0 0 B {time} {} /tmp", short(0)),
    ];
    assert_eq!(found.iter().map(|words| words.join(" ")).collect::<Vec<_>>(), expected);
}

#[test]
fn paths_and_globs_choose_files_without_a_flag() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &tree());
    assert_eq!(lines(&["-q", &reference, "/etc/m*", "/t*"]), ["/etc/motd", "/tmp"]);
    assert_eq!(lines(&["-q", &reference, "/*"]), ["/etc", "/tmp"]);
    assert_eq!(lines(&["-q", &reference, "/etc/link"]), ["/etc/link"]);
    assert_eq!(lines(&["-q", &reference, "/etc/null"]), ["/etc/null"]);
    let row = rows(&[&reference, "/etc/link", "/etc/link"]);
    assert_eq!(row.len(), 1);
    assert_eq!(
        (&row[0]["Target"], &row[0]["Type"], &row[0]["Path"]),
        (&json!("motd"), &json!("symlink"), &json!("/etc/link"))
    );
    artifact(&["ls", &reference, "/etc/gone"]).run().exits(3).says("was deleted by layer 2 of 2");
    artifact(&["ls", &reference, "/etc/mot"]).run().exits(3).says("/etc/motd");
}

#[test]
fn of_a_directory_what_is_in_it_is_listed() {
    let registry = Registry::start();
    let image = Image::new().layer([
        dir("opt").mode(0o750),
        dir("opt/a"),
        dir("opt/a/b"),
        file("opt/a/b/deep", "x"),
        file("opt/file", "hello"),
        symlink("opt/link", "a"),
    ]);
    let reference = registry.push("team/app:1", &image);
    let list = |words: &[&str]| lines(&[&["-q", &reference], words].concat());
    let all = ["/opt/a", "/opt/a/b", "/opt/a/b/deep", "/opt/file", "/opt/link"];
    assert_eq!(list(&["/"]), ["/opt"]);
    for words in [&["/opt"][..], &["-l", "/opt/"], &["/opt/."], &["/opt/*"]] {
        assert_eq!(list(words), ["/opt/a", "/opt/file", "/opt/link"], "{words:?}");
    }
    for words in [&["-R", "/opt"][..], &["-a", "/opt"], &["-R", "/opt/*"], &["/opt/**"]] {
        assert_eq!(list(words), all, "{words:?}");
    }
    for words in [&["-a"][..], &["-R"], &["-R", "/"], &["-R", "/*"], &["/**"]] {
        assert_eq!(list(words), [&["/opt"], &all[..]].concat(), "{words:?}");
    }
    assert_eq!(list(&["-d", "/opt", "/opt/file", "/opt/a/"]), ["/opt", "/opt/file", "/opt/a"]);
    assert_eq!(list(&["-d"]), ["/"]);
    assert!(rows(&["-d", &reference, "/opt"])[0]["Mode"] == "0750");
    // As with `ls -l`, a link is itself unless a slash follows it.
    assert_eq!(
        (list(&["/opt/link"]), list(&["/opt/link/"])),
        (vec!["/opt/link".to_owned()], vec!["/opt/a/b".to_owned()])
    );
    assert_eq!(list(&["/opt/file"]), ["/opt/file"]);
    artifact(&["ls", &reference, "/opt/file/"]).run().exits(3).says("not a directory");
}

#[test]
fn no_layer_is_read_below_the_one_that_decides() {
    let registry = Registry::start();
    let base = Layer::new([file("base", vec![7; 9 << 20])]).plain();
    let image = Image::new().layer(base.clone()).layer([dir("opt"), opaque("opt"), file("opt/new", "x")]);
    let reference = registry.push("team/app:1", &image);
    assert_eq!(lines(&["-q", &reference, "/opt"]), ["/opt/new"]);
    assert_eq!(lines(&["-q", &reference, "/opt/new"]), ["/opt/new"]);
    assert_eq!(registry.count("GET", &image.pack().layers[0].digest()), 0);
}

#[test]
fn each_layer_is_read_once_even_for_what_links_lead_to() {
    let registry = Registry::start();
    let image = tree();
    let reference = registry.push("team/app:1", &image);
    artifact(&["ls", &reference, "/etc/same", "/etc/link", "/"]).run().exits(0);
    for layer in image.pack().layers {
        assert_eq!(registry.count("GET", &layer.digest()), 1);
    }
}

#[test]
fn a_corrupt_layer_is_exit_code_5() {
    let registry = Registry::start();
    let image = Image::new().layer(Layer::new([file("tool", "x")]).plain()).pack();
    let reference = registry.push("team/app:1", &image);
    registry.requests_for(&image.layers[0].digest()).fail(Fault::Altered(512));
    artifact(&["ls", "-a", &reference]).run().exits(5);
}

// Layers

#[test]
fn layers_come_with_the_step_that_made_each() {
    let registry = Registry::start();
    let long = format!("RUN /bin/sh -c {}", "x".repeat(80));
    let image = Image::new()
        .layer(Layer::new([file("a", "1")]).created_by("ADD base"))
        .empty_step("ENV A=b")
        .layer(Layer::new([file("b", "2")]).created_by(&long))
        .empty_step("CMD [\"sh\"]");
    let reference = registry.push("team/app:1", &image);
    let digests: Vec<String> = image.pack().layers.iter().map(|layer| layer.digest()).collect();
    let found = rows(&["--layers", &reference]);
    let fields = |row: &Value| (row["Index"].clone(), row["Digest"].clone(), row["Step"].clone());
    let expected =
        [(json!(1), json!(digests[0]), json!("ADD base")), (json!(2), json!(digests[1]), json!(long.clone()))];
    assert_eq!(found.iter().map(fields).collect::<Vec<_>>(), expected);
    let table = lines(&["--layers", &reference]);
    assert!(table[0].starts_with("INDEX   SIZE") && table[2].ends_with("xx…"), "{table:?}");
    assert!(lines(&["--layers", "--no-trunc", &reference])[2].ends_with(&long));
    assert_eq!(lines(&["--layers", "-q", &reference]), digests);
    assert_eq!(registry.count("GET", "/blobs/"), 4, "one config for each list, and no layer");
}

#[test]
fn an_image_that_is_not_there_is_exit_code_3() {
    let registry = Registry::start();
    let reference = format!("{}/team/none:1", registry.host());
    for arguments in [&["ls"][..], &["ls", "-a"], &["ls", "--layers"]] {
        artifact(arguments).args(&[&reference]).run().exits(3).says(&reference);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_listing_takes_little_memory_for_each_file_and_none_for_its_row() {
    let registry = Registry::start();
    let peak = |count: usize| {
        let files = (0..count).map(|i| file(format!("srv/data/d{:04}/file-{:04}.txt", i / 1000, i % 1000), ""));
        let reference = registry.push("team/app:1", &Image::new().layer(Layer::new(files)));
        artifact(&["ls", "-a", &reference]).start_in(&WorkDir::new()).peak_at_first_output()
    };
    let (few, many) = (peak(10_000), peak(110_000));
    let each = many.saturating_sub(few) / 100_000;
    assert!(each <= 200, "{each} bytes for each file: {few} bytes for 10,000, {many} for 110,000");
}

#[test]
fn what_several_paths_name_is_listed_once_in_the_order_of_the_paths() {
    let registry = Registry::start();
    let image = Image::new().layer([
        dir("a/"),
        file("a/x", "1"),
        dir("a/b/"),
        file("a/b/y", "1"),
        file("a/b/c/z", "1"),
        file("d", "1"),
    ]);
    let reference = registry.push("team/app:1", &image);
    let all = ["/a/b/c/z", "/a", "/a/b", "/a/b/c", "/a/b/y", "/a/x", "/d"];
    assert_eq!(lines(&["-aq", &reference, "/a/b/c/z", "/", "/a"]), all);
    assert_eq!(
        lines(&["-aq", &reference, "/a/b/c", "/a/b/*", "/a/*"]),
        ["/a/b/c/z", "/a/b/c", "/a/b/y", "/a/b", "/a/x"]
    );
    assert_eq!(
        lines(&["-q", &reference, "/a/b", "/a/**", "/d", "/"]),
        ["/a/b/c", "/a/b/y", "/a/b", "/a/b/c/z", "/a/x", "/d", "/a"]
    );
}

#[test]
fn files_are_drawn_as_a_tree_with_the_colours_of_ls() {
    let layer = [
        dir("bin"),
        file("bin/tool", "hello").mode(0o755),
        symlink("bin/t", "tool"),
        dir("etc"),
        dir("etc/app"),
        file("etc/app/a.conf", "a"),
        file("etc/e\x1bvil", ""),
    ];
    let (_registry, reference, _) = Registry::serving(&Image::new().layer(layer));
    let ls = |words: &[&str]| {
        artifact(&[&["ls", &reference][..], words].concat()).env("LC_ALL", "C.UTF-8").env("LS_COLORS", "di=01;34:ex=32")
    };
    let whole = ls(&["--tree"]).run().exits(0).out();
    assert_eq!(
        whole,
        "/\n├── bin\n│   ├── t -> tool\n│   └── tool\n└── etc\n    ├── app\n    │   └── a.conf\n    └── e\\x1bvil\n\n\
         3 directories, 4 files\n"
    );
    let ascii = ls(&["--tree", "/bin"]).env("LC_ALL", "C").run().exits(0).out();
    assert_eq!(ascii, "/bin\n|-- t -> tool\n`-- tool\n\n0 directories, 2 files\n");
    let painted = ls(&["--tree", "--color", "/bin"]).run().exits(0).out();
    assert!(painted.contains("└── \x1b[32mtool\x1b[0m\n"), "{painted:?}");
    let table = |words: &[&str]| ls(&[&["/", "-d", "/bin/tool"][..], words].concat()).run().exits(0).out();
    assert!(!table(&[]).contains('\x1b') && !table(&["--color=auto"]).contains('\x1b'), "this is no terminal");
    assert!(table(&["--color=always"]).contains("   \x1b[32m/bin/tool\x1b[0m\n"));
    ls(&["--tree", "-q"]).run().exits(2).says("--tree");
    ls(&["--color=some", "/"]).run().exits(2).says("color");
}

#[test]
fn times_and_sizes_are_shown_as_in_ls() {
    let layer = [file("small", "12345").mtime(1_700_000_000), file("large", noise(1, 12_345)).mtime(1_700_000_000)];
    let (_registry, reference, _) = Registry::serving(&Image::new().layer(layer));
    let ls = |words: &[&str]| artifact(&[&["ls", &reference, "/"][..], words].concat()).run();
    let table =
        ls(&["--time-style", "long-iso", "--format", "table {{.Size}}\\t{{.Modified}}\\t{{.Name}}"]).exits(0).out();
    assert_eq!(
        table,
        "    SIZE   MODIFIED           NAME\n12.35 kB   2023-11-14 22:13   /large\n     5 B   2023-11-14 22:13   /small\n"
    );
    assert_eq!(ls(&["--time-style=+%s", "--format", "{{.Modified}}"]).exits(0).out(), "1700000000\n1700000000\n");
    assert!(ls(&["--time-style=+%s", "--format", "json"]).exits(0).out().contains("2023-11-14T22:13:20Z"));
    ls(&["--time-style", "mine"]).exits(2).says("long-iso");
}
