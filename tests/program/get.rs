//! `docker artifact get`: what comes out, where, and under which name.

use crate::support::*;
use rustix::process::Signal;
use serde_json::{Value, json};

/// An image with one tool in it, in a registry.
fn tool_image() -> (Registry, String) {
    let registry = Registry::start();
    let reference =
        registry.push("team/app:1", &Image::new().layer([dir("bin"), file("bin/tool", "hello").mode(0o755)]));
    (registry, reference)
}

/// The members of a tar: their names with what they hold or link to.
fn members(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let member = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = String::new();
        std::io::Read::read_to_string(&mut entry, &mut content).unwrap();
        match entry.link_name_bytes() {
            Some(target) => format!("{name} -> {}", String::from_utf8_lossy(&target)),
            None if content.is_empty() => name,
            None => format!("{name} {content:?}"),
        }
    };
    archive.entries().unwrap().map(member).collect()
}

#[test]
fn a_file_lands_in_the_current_directory_under_its_own_name() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    let run = artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), [r#"tool 755 "hello""#]);
    assert_eq!(run.out(), "");
}

#[test]
fn the_closing_line_says_what_came_from_which_digest_and_how_much_was_fetched() {
    let image = Image::new().layer([file("etc/motd", "hi")]).layer([file("bin/tool", "hello")]).pack();
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image);
    let run = artifact(&["get", &reference, "/bin/tool"]).run().exits(0);
    let closing = run.stderr.lines().last().unwrap();
    for part in ["/bin/tool", &reference, &image.digest(), "fetched", " of ", " in "] {
        assert!(closing.contains(part), "no {part:?} in {closing:?}");
    }
}

#[test]
fn a_path_may_be_written_in_any_way_that_a_shell_takes() {
    let (_registry, reference) = tool_image();
    for path in ["bin/tool", "/bin/tool", "//bin///tool", "/bin/../bin/./tool", "../../bin/tool"] {
        let run = artifact(&["get", &reference, path, "-o", "-"]).run().exits(0);
        assert_eq!(run.out(), "hello", "{path}");
    }
}

#[test]
fn the_output_option_names_a_file_a_new_directory_or_an_existing_one() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    std::fs::create_dir(dir.path("there")).unwrap();
    artifact(&["get", &reference, "/bin/tool", "-o", "renamed"]).run_in(&dir).exits(0);
    artifact(&["get", "-o", "there", &reference, "/bin/tool"]).run_in(&dir).exits(0);
    artifact(&["get", &reference, "/bin/tool", "--output=new/er/"]).run_in(&dir).exits(0);
    let files: Vec<String> = dir.listing().into_iter().filter(|line| line.contains("hello")).collect();
    assert_eq!(files, [r#"new/er/tool 755 "hello""#, r#"renamed 755 "hello""#, r#"there/tool 755 "hello""#]);
}

#[test]
fn a_destination_in_no_directory_is_an_error_that_says_so() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/bin/tool", "-o", "missing/tool"]).run_in(&dir).exits(1).says("missing");
    assert!(dir.listing().is_empty());
}

#[test]
fn a_dash_writes_one_file_to_standard_output_as_it_is() {
    let registry = Registry::start();
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let reference = registry.push("team/app:1", &Image::new().layer([file("data", &content)]));
    let dir = WorkDir::new();
    let run = artifact(&["get", &reference, "data", "-o", "-"]).run_in(&dir).exits(0);
    assert!(run.stdout == content);
    assert!(dir.listing().is_empty() && listing(&dir.tmp()).is_empty());
}

#[test]
fn a_dash_writes_several_things_as_a_tar_stream() {
    let registry = Registry::start();
    let layer =
        [dir("etc"), file("etc/a", "1"), symlink("etc/link", "a"), hardlink("etc/same", "etc/a"), file("b", "2")];
    let reference = registry.push("team/app:1", &Image::new().layer(layer));
    let run = artifact(&["get", &reference, "/etc", "/b", "-o", "-"]).run().exits(0);
    let mut found = members(&run.stdout);
    found.iter_mut().for_each(|name| *name = name.trim_end_matches('/').to_owned());
    found.sort();
    assert_eq!(found, [r#"b "2""#, "etc", r#"etc/a "1""#, "etc/link -> a", "etc/same -> etc/a"]);
}

#[test]
fn a_root_that_holds_one_file_is_a_tar_stream_like_any_directory() {
    let registry = Registry::start();
    let reference = registry.push("app:1", &Image::new().layer([file("tool", "hello")]));
    for arguments in [&["/"][..], &["/", "/tool"]] {
        let run = artifact(&["get", &reference, "-o", "-"]).args(arguments).run().exits(0);
        let mut stream = tar::Archive::new(&run.stdout[..]);
        let names = stream.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
        assert_eq!(names.collect::<Vec<_>>(), [std::path::Path::new("tool")], "{arguments:?}");
    }
    assert_eq!(artifact(&["get", &reference, "/*", "-o", "-"]).run().exits(0).out(), "hello");
}

#[test]
fn an_existing_file_is_replaced_whole() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    std::fs::write(dir.path("tool"), "something much longer that was there before").unwrap();
    std::fs::hard_link(dir.path("tool"), dir.path("kept")).unwrap();
    artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(0);
    assert_eq!(dir.read("tool"), b"hello");
    assert_eq!(dir.read("kept"), b"something much longer that was there before");
}

#[test]
fn an_existing_directory_in_a_files_place_is_an_error() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    std::fs::create_dir(dir.path("tool")).unwrap();
    artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(1).says("tool");
    assert_eq!(dir.listing(), ["tool/ 755"]);
}

#[test]
fn several_paths_and_globs_read_each_layer_once() {
    let registry = Registry::start();
    let image = Image::new()
        .layer([
            file("etc/a.conf", "lower"),
            file("etc/b.conf", "b"),
            file("etc/c.txt", "c"),
            file("lib/x/deep.conf", "d"),
        ])
        .layer([file("etc/a.conf", "upper"), file("bin/tool", "hello")])
        .pack();
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/etc/*.conf", "/bin/tool", "/lib/**/*.conf", "/etc/[c].t?t"]).run_in(&dir).exits(0);
    let expected = [
        r#"a.conf 644 "upper""#,
        r#"b.conf 644 "b""#,
        r#"c.txt 644 "c""#,
        r#"deep.conf 644 "d""#,
        r#"tool 644 "hello""#,
    ];
    assert_eq!(dir.listing(), expected);
    for layer in &image.layers {
        assert_eq!(registry.count("GET", &layer.digest()), 1);
    }
}

#[test]
fn a_glob_that_matches_nothing_is_not_found() {
    let (_registry, reference) = tool_image();
    artifact(&["get", &reference, "/bin/*.so"]).run().exits(3).says("/bin/*.so");
}

#[test]
fn a_directory_is_merged_from_all_its_layers() {
    let registry = Registry::start();
    let image = Image::new()
        .layer([dir("app").mode(0o700), file("app/keep", "1"), file("app/change", "old"), file("app/drop", "2")])
        .layer([dir("app/sub"), file("app/sub/hidden", "3"), file("app/change", "new"), whiteout("app/drop")])
        .layer([dir("app").mode(0o750), opaque("app/sub"), file("app/sub/shown", "4")]);
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/app"]).run_in(&dir).exits(0);
    let expected =
        ["app/ 750", r#"app/change 644 "new""#, r#"app/keep 644 "1""#, "app/sub/ 755", r#"app/sub/shown 644 "4""#];
    assert_eq!(dir.listing(), expected);
}

#[test]
fn a_directory_goes_where_the_output_option_says() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer([dir("app"), file("app/a", "1")]));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/app", "-o", "renamed"]).run_in(&dir).exits(0);
    artifact(&["get", &reference, "/app/", "-o", "into/"]).run_in(&dir).exits(0);
    let files: Vec<String> = dir.listing().into_iter().filter(|line| line.contains('"')).collect();
    assert_eq!(files, [r#"into/app/a 644 "1""#, r#"renamed/a 644 "1""#]);
}

#[test]
fn a_missing_path_gets_the_nearest_names_that_exist() {
    let registry = Registry::start();
    let image =
        Image::new().layer([file("usr/bin/python3.11", "x"), file("usr/bin/perl", "x"), file("opt/x/curl", "y")]);
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/usr/bin/python"]).run_in(&dir).exits(3).says("/usr/bin/python3.11");
    artifact(&["get", &reference, "/bin/curl"]).run_in(&dir).exits(3).says("/opt/x/curl");
    artifact(&["get", &reference, "/usr/bin/perl/"]).run_in(&dir).exits(3);
    assert!(dir.listing().is_empty());
}

#[test]
fn a_deleted_path_names_the_layer_and_the_build_step_that_deleted_it() {
    let registry = Registry::start();
    let image = Image::new()
        .layer([file("tmp/secret", "x")])
        .empty_step("ENV A=b")
        .layer(Layer::new([whiteout("tmp/secret")]).created_by("RUN rm /tmp/secret"))
        .layer([file("other", "y")]);
    let reference = registry.push("team/app:1", &image);
    artifact(&["get", &reference, "/tmp/secret"]).run().exits(3).says("deleted by layer 2").says("RUN rm /tmp/secret");
}

#[test]
fn if_one_of_several_paths_is_missing_nothing_is_written() {
    let (_registry, reference) = tool_image();
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/bin/tool", "/bin/none"]).run_in(&dir).exits(3).says("/bin/none");
    assert!(dir.listing().is_empty());
}

#[test]
fn two_files_of_one_name_do_not_overwrite_each_other() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer([file("a/tool", "1"), file("b/tool", "2")]));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/a/tool", "/b/tool"]).run_in(&dir).exits(2).says("tool");
    assert!(dir.listing().is_empty());
}

#[test]
fn json_says_what_was_written_one_object_a_line() {
    let registry = Registry::start();
    let image = Image::new().layer([file("bin/tool", "hello").mode(0o755), file("etc/conf", "c")]).pack();
    let reference = registry.push("team/app:1", &image);
    let run = artifact(&["get", "--format", "json", &reference, "/bin/tool", "/etc/conf"]).run().exits(0);
    let rows: Vec<Value> = run.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let tool = rows.iter().find(|row| row["Path"] == "/bin/tool").unwrap();
    assert_eq!(tool["Type"], "file");
    assert_eq!(tool["Size"], 5);
    assert_eq!(tool["Mode"], "0755");
    assert_eq!(tool["Digest"], sha256(b"hello"));
    assert_eq!(tool["Layer"], image.layers[0].digest());
    assert_eq!(tool["Verified"], json!(true));
    assert_eq!(tool["Image"], format!("{reference}@{}", image.digest()));
    assert!(tool["Destination"].as_str().unwrap().ends_with("tool"));
}

#[test]
fn a_table_and_a_template_print_what_they_name() {
    let (_registry, reference) = tool_image();
    let run = artifact(&["get", "--format", "{{.Path}} {{.Size}}", &reference, "/bin/tool"]).run().exits(0);
    assert_eq!(run.out(), "/bin/tool 5\n");
    let table = artifact(&["get", "--format", "table", &reference, "/bin/tool"]).run().exits(0).out();
    assert!(table.starts_with("PATH") && table.contains("/bin/tool"), "{table}");
    artifact(&["get", "--format", "{{.Nope}}", &reference, "/bin/tool"]).run().exits(2).says(".Path");
}

#[test]
fn quiet_says_nothing_but_errors() {
    let (_registry, reference) = tool_image();
    for flag in ["-q", "--quiet"] {
        let run = artifact(&["get", flag, &reference, "/bin/tool"]).run().exits(0);
        assert_eq!((run.out(), run.stderr), (String::new(), String::new()));
        assert!(!artifact(&["get", flag, &reference, "/no"]).run().exits(3).stderr.is_empty());
    }
}

#[test]
fn progress_is_plain_lines_where_there_is_no_terminal() {
    let registry = Registry::start();
    let image = Image::new().layer(Layer::new([file("big", vec![1; 1 << 20])]).plain());
    let reference = registry.push("team/app:1", &image);
    let none = artifact(&["get", "--progress", "none", &reference, "/big"]).run().exits(0).stderr;
    for mode in ["plain", "auto"] {
        let plain =
            artifact(&["get", "--progress", mode, &reference, "/big"]).run().exits(0).says("layer 1 of 1").stderr;
        assert!(plain.lines().count() > none.lines().count(), "{plain}");
        assert!(!plain.contains(['\r', '\x1b']), "{plain:?}");
    }
}

#[test]
fn layers_that_cannot_matter_are_not_fetched() {
    let registry = Registry::start();
    // A small one might come along with the upper ones, as asking for it later would take longer.
    let base = Layer::new([file("base", vec![1; 9 << 20])]).plain();
    let image = Image::new().layer(base).layer([dir("bin"), file("bin/tool", "hello")]).pack();
    let reference = registry.push("team/app:1", &image);
    artifact(&["get", &reference, "/bin/tool"]).run().exits(0);
    assert_eq!(registry.count("GET", &image.layers[0].digest()), 0);
    assert_eq!(registry.count("GET", &image.layers[1].digest()), 1);
}

#[test]
fn without_verification_reading_stops_at_the_end_of_the_file_and_that_is_said() {
    let registry = Registry::start();
    let layer = Layer::new([file("first", "hello"), file("rest", vec![7; 48 << 20])]).plain();
    let image = Image::new().layer(layer).pack();
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    artifact(&["get", "--no-verify", &reference, "/first"]).run_in(&dir).exits(0).says("not verified");
    assert_eq!(dir.read("first"), b"hello");
    let sent: u64 = registry.logged("GET", &image.layers[0].digest()).iter().map(|request| request.sent()).sum();
    // What the program had not read when it stopped may lie in the sockets' buffers, some megabytes at most.
    assert!(sent < 24 << 20, "{sent} bytes of 48 MiB were sent");
}

#[test]
fn the_whole_root_can_be_fetched() {
    let registry = Registry::start();
    let reference =
        registry.push("team/app:1", &Image::new().layer([dir("bin"), file("bin/tool", "hello"), file("top", "t")]));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/", "-o", "rootfs"]).run_in(&dir).exits(0);
    let expected = ["rootfs/ 755", "rootfs/bin/ 755", r#"rootfs/bin/tool 644 "hello""#, r#"rootfs/top 644 "t""#];
    assert_eq!(dir.listing(), expected);
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_says_what_to_type() {
    for arguments in [
        &["get"][..],
        &["get", "image"],
        &["get", "image", "/a", "--nope"],
        &["get", "IMAGE", "/a"],
        &["get", "image", "/a", "--platform", "linux"],
        &["nope"],
    ] {
        let run = artifact(arguments).run().exits(2);
        assert!(run.out().is_empty() && !run.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_one_in_that_place_and_a_running_one_is_left_alone() {
    let (registry, reference, packed) = Registry::serving(&Image::new().layer([file("big", noise(1, 5 << 20))]));
    registry.requests_for(&packed.layers[0].digest()).first(2).fail(Fault::StallAfter(3 << 20));
    let dir = WorkDir::new();
    let hidden = || dir.listing().iter().filter(|line| line.starts_with(".docker-artifact-")).count();
    let get =
        |to: &str| artifact(&["get", "--no-cache", &reference, "/big", "-o", to]).heeding_signals().start_in(&dir);
    let killed = get("killed");
    registry.wait_for_stall();
    let running = get("running");
    registry.wait_for_stalls(2);
    assert!(hidden() > 2, "{:?}", dir.listing());
    killed.signal(Signal::KILL);
    killed.wait().exits(137);
    artifact(&["get", &reference, "/big"]).run_in(&dir).exits(0);
    assert!(hidden() > 0, "one goes on: {:?}", dir.listing());
    running.signal(Signal::TERM);
    running.wait().exits(143);
    assert_eq!(hidden(), 0, "{:?}", dir.listing());
    assert!(dir.read("big") == noise(1, 5 << 20));
}
