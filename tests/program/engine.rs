//! Images of a Docker engine: paths from a container that is made and removed, layers from an export, and what is left behind.

use std::os::unix::ffi::OsStrExt;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::labelled::{add, manifest_and_config, try_label};
use crate::support::*;

/// An image with links, hard links, odd names, a pipe, and files where engines put their own.
fn image() -> Image {
    let base = [
        dir("usr"),
        dir("usr/bin").mode(0o751).mtime(1_600_000_000),
        file("usr/bin/tool", "a tool").mode(0o755),
        hardlink("usr/bin/same", "usr/bin/tool").mode(0o755),
        symlink("bin", "usr/bin"),
        dir("etc"),
        file("etc/hosts", "the image's hosts"),
        file("etc/passwd", "root:x:0:0"),
    ];
    let upper = [
        dir("app").mtime(1_500_000_000),
        file("app/trace.log", "traced"),
        symlink("app/latest", "../bin/tool"),
        symlink("app/gone", "nowhere"),
        fifo("app/pipe"),
        dir("app/deep/er"),
        hardlink("app/deep/er/log", "app/trace.log"),
        file("srv/a b%?#&+=\n\u{e4}", "odd"),
        file(b"srv/raw-\xff", "raw"),
    ];
    Image::new()
        .layer(Layer::from(base).created_by("ADD base"))
        .empty_step("ENV A=b")
        .layer(Layer::from(upper).created_by("RUN make -o trace.log"))
}

/// The program, with this engine.
fn with(engine: &Engine, arguments: &[&str]) -> Program {
    artifact(arguments).env("DOCKER_HOST", engine.host())
}

#[track_caller]
fn nothing_is_left(engine: &Engine) {
    assert_eq!(engine.containers(), [""; 0], "{:#?}", engine.asked());
}

#[test]
fn a_path_comes_from_a_container_that_is_made_and_removed_and_the_image_is_not_exported() {
    let engine = Engine::start(&image(), "app:1");
    let dir = WorkDir::new();
    let run = with(&engine, &["get", "local://app:1", "/bin/tool", "--format", "json"]).run_in(&dir).exits(0);
    let run = run.says("not checked: this is what the engine gave; --verify checks the image's layers");
    let row: Value = serde_json::from_str(&run.out()).unwrap();
    assert_eq!((&row["Proof"], &row["Verified"]), (&"engine".into(), &false.into()));
    assert_eq!((&row["Image"], &row["Path"]), (&"local://app:1".into(), &"/bin/tool".into()));
    assert_eq!(dir.listing(), [r#"tool 755 "a tool""#]);
    nothing_is_left(&engine);
    assert_eq!((engine.count("POST "), engine.count("DELETE "), engine.count("/get")), (1, 1, 0));
    assert_eq!(engine.count("/start"), 0);
}

#[test]
fn several_paths_come_from_one_container() {
    let engine = Engine::start(&image(), "app:1");
    let dir = WorkDir::new();
    let paths = ["get", "local://app:1", "/bin/tool", "/etc/passwd", "app/trace.log", "/app/deep"];
    with(&engine, &paths).run_in(&dir).exits(0);
    let expected = [
        "deep/ 755",
        "deep/er/ 755",
        r#"deep/er/log 644 "traced""#,
        r#"passwd 644 "root:x:0:0""#,
        r#"tool 755 "a tool""#,
        r#"trace.log 644 "traced""#,
    ];
    assert_eq!(dir.listing(), expected);
    assert_eq!((engine.count("POST "), engine.count("/get")), (1, 0));
    nothing_is_left(&engine);
}

#[test]
fn every_path_comes_as_from_an_archive_of_the_same_image() {
    let engine = Engine::start(&image(), "app:1");
    let archived = WorkDir::new();
    std::fs::write(archived.path("x.tar"), archive(&image(), Form::Docker110, "app:1")).unwrap();
    let lines: [&[&str]; 12] = [
        &["/bin"],
        &["/bin", "--no-dereference"],
        &["/usr/bin/"],
        &["/app"],
        &["/app/latest"],
        &["/app/latest", "--no-dereference"],
        &["/app/../bin/./tool", "--parents"],
        &["/app/deep/er/log", "/usr/bin/tool", "--parents"],
        &["/etc/passwd", "--parents"],
        &["/etc"],
        &["/usr/**/t*"],
        &["/"],
    ];
    for line in lines {
        let mut listed = Vec::new();
        for image in [archived.path("x.tar").display().to_string().as_str(), "local://app:1"] {
            let dir = WorkDir::new();
            let line = [&["get", image, "-o", "out/"], line].concat();
            with(&engine, &line).run_in(&dir).exits(0);
            let times = std::fs::read_dir(dir.path("out")).unwrap().map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name(), entry.metadata().unwrap().modified().unwrap())
            });
            let mut times: Vec<_> = times.collect();
            times.sort();
            listed.push((dir.listing(), times));
        }
        assert_eq!(listed[0], listed[1], "{line:?}");
    }
    nothing_is_left(&engine);
}

#[test]
fn names_of_any_bytes_are_asked_for_as_they_are() {
    let engine = Engine::start(&image(), "app:1");
    let line = ["get", "-o", "-", "local://app:1", "/srv/a b%\\?#&+=\n\u{e4}"];
    assert_eq!(with(&engine, &line).run().exits(0).out(), "odd");
    let bytes = std::ffi::OsStr::from_bytes(b"/srv/raw-\xff");
    let run = with(&engine, &["get", "-o", "-", "local://app:1"]).args(&[bytes]).run().exits(0);
    assert_eq!(run.out(), "raw");
    assert_eq!(engine.count("/get"), 0);
}

#[test]
fn what_an_engine_puts_into_every_container_comes_from_the_layers() {
    let engine = Engine::start(&image(), "app:1");
    let get = |path: &str| with(&engine, &["get", "-o", "-", "local://app:1", path]).run();
    assert_eq!(get("/etc/hosts").exits(0).out(), "the image's hosts");
    for path in ["/.dockerenv", "/etc/hostname", "/etc/resolv.conf", "/dev/console", "/proc", "/sys/x"] {
        get(path).exits(3);
    }
    let dir = WorkDir::new();
    with(&engine, &["get", "local://app:1", "/etc"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), ["etc/ 755", r#"etc/hosts 644 "the image\'s hosts""#, r#"etc/passwd 644 "root:x:0:0""#]);
    nothing_is_left(&engine);
}

#[test]
fn a_link_that_an_engine_replaces_with_a_folder_of_its_own_still_leads_where_the_image_says() {
    let image = Image::new().layer([file("config/etc/app.conf", "configured"), symlink("etc", "config/etc")]);
    let engine = Engine::start(&image, "app:1");
    let run = with(&engine, &["get", "-o", "-", "local://app:1", "/etc/app.conf"]).run().exits(0);
    assert_eq!(run.out(), "configured");
}

#[test]
fn what_a_volume_hides_comes_from_the_layers() {
    let image = Image::new().layer([file("var/lib/data/rows", "the image's"), file("var/lib/other", "beside")]);
    let engine = Engine::exporting(&image, "app:1", Form::Docker110, &["/var/lib/data"]);
    let get = |path: &str| with(&engine, &["get", "-o", "-", "local://app:1", path]).run().exits(0).out();
    assert_eq!(get("/var/lib/other"), "beside");
    assert_eq!(engine.count("/get"), 0);
    assert_eq!(get("/var/lib/data/rows"), "the image's");
    assert_eq!(engine.count("/get"), 1);
}

#[test]
fn a_volume_that_is_reached_through_a_link_hides_what_the_link_leads_to() {
    let image = Image::new().layer([dir("real"), file("real/x/rows", "the image's"), symlink("link", "real")]);
    let engine = Engine::exporting(&image, "app:1", Form::Docker110, &["/link/x"]);
    let get = |path: &str| with(&engine, &["get", "-o", "-", "local://app:1", path]).run().exits(0).out();
    assert_eq!(get("/real/x/rows"), "the image's");
    assert_eq!(engine.count("/get"), 1);
    assert_eq!(get("/link/x/rows"), "the image's");
    assert_eq!(engine.count("/get"), 2);
    nothing_is_left(&engine);
}

#[test]
fn what_is_not_there_is_said_without_exporting_the_image() {
    let engine = Engine::start(&image(), "app:1");
    for (path, says) in [
        ("/nope", "local://app:1 has no /nope"),
        ("/bin/nope/x", "has no /bin/nope/x"),
        ("/bin/tool/x", "/usr/bin/tool is not a directory"),
        ("/bin/tool/", "/usr/bin/tool is not a directory"),
        ("/app/gone", "/app/gone in local://app:1 is a symlink to nowhere"),
    ] {
        with(&engine, &["get", "local://app:1", path]).run().exits(3).says(says);
    }
    with(&engine, &["get", "local://app:1", "/app/pipe"]).run().exits(1).says("is a device node or a FIFO");
    with(&engine, &["get", "local://app:2", "/x"]).run().exits(3).says("No such image: app:2");
    assert_eq!(engine.count("/get"), 0);
    nothing_is_left(&engine);
}

#[test]
fn an_engines_image_is_read_by_layers_and_checked_where_that_is_asked_for() {
    for form in [Form::Docker110, Form::Docker25] {
        let engine = Engine::exporting(&image(), "app:1", form, &[]);
        let by_id = format!("local://{}", engine.id());
        for line in [&["local://app:1", "--verify"][..], &[&by_id]] {
            let line = [&["get"], line, &["/bin/tool", "--format", "json", "-o", "x"]].concat();
            let run = with(&engine, &line).run().exits(0).says("is exported by the engine");
            let row: Value = serde_json::from_str(&run.out()).unwrap();
            assert_eq!((&row["Proof"], &row["Verified"]), (&"layer".into(), &true.into()), "{form:?} {line:?}");
        }
        assert_eq!(engine.count("POST "), 0);
    }
}

#[test]
fn what_a_step_wrote_is_got_from_the_engine_too() {
    for form in [Form::Docker110, Form::Docker25, Form::Oci] {
        let engine = Engine::exporting(&image(), "app:1", form, &[]);
        let line = ["get", "-o", "-", "local://app:1", "trace.log", "--created-by", "-o trace.log"];
        assert_eq!(with(&engine, &line).run().exits(0).out(), "traced", "{form:?}");
        let line = ["ls", "local://app:1", "/app/trace.log", "--format", "{{.Step}}"];
        assert_eq!(with(&engine, &line).run().exits(0).out(), "RUN make -o trace.log\n", "{form:?}");
        assert_eq!(engine.count("POST "), 0);
    }
}

#[test]
fn layers_are_listed_by_what_the_engine_says_where_that_adds_up() {
    let engine = Engine::start(&image(), "app:1");
    let list = |engine: &Engine| {
        let line = ["ls", "--layers", "local://app:1", "--format", "{{.Index}} {{.Step}}"];
        with(engine, &line).run().exits(0).out()
    };
    assert_eq!(list(&engine), "1 ADD base\n2 RUN make -o trace.log\n");
    assert_eq!(engine.count("/get"), 0);
    let image = image().layer(Layer::new([]).created_by("WORKDIR /")).empty_step("CMD x");
    let engine = Engine::start(&image, "app:1");
    assert_eq!(list(&engine), "1 ADD base\n2 RUN make -o trace.log\n3 WORKDIR /\n");
    assert_eq!(engine.count("/get"), 1);
}

/// The image with a label of `/bin/tool`, as labelling in a registry makes it.
fn labelled() -> Image {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    try_label(&reference, add(&[("tool", "/bin/tool")])).unwrap();
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let key = "org.docker-artifact.tool";
    image().label(key, config["config"]["Labels"][key].as_str().unwrap())
}

#[test]
fn a_labelled_file_is_checked_by_its_own_digest() {
    let engine = Engine::start(&labelled(), "app:1");
    let list = ["ls", "local://app:1", "--format", "{{.Name}} {{.Read}}"];
    assert_eq!(with(&engine, &list).run().exits(0).out(), "tool path\n");
    let dir = WorkDir::new();
    let run = with(&engine, &["get", "local://app:1", "tool", "--format", "json"]).run_in(&dir).exits(0);
    let row: Value = serde_json::from_str(&run.out()).unwrap();
    assert_eq!((&row["Proof"], &row["Verified"]), (&"file".into(), &true.into()));
    assert_eq!(engine.count("/get"), 0);
    run.never_says("not checked");
    // The engine shows another file of the same name.
    engine.requests_for("GET /v1.41/containers/docker").after(1).fail(Fault::Altered(514));
    with(&engine, &["get", "local://app:1", "tool"]).run().exits(5).says("does not match its digest");
    nothing_is_left(&engine);
}

#[test]
fn no_container_is_left_whatever_the_engine_does() {
    for (request, fault, code) in [
        ("POST ", Fault::Status(500), 1),
        ("POST ", Fault::NoAnswer, 1),
        ("GET /v1.41/containers/docker", Fault::Status(500), 1),
        // What an engine cannot show is in the layers.
        ("HEAD ", Fault::Status(500), 0),
        ("HEAD ", Fault::NoAnswer, 1),
        ("HEAD ", Fault::Without("X-Docker-Container-Path-Stat"), 1),
        ("HEAD ", Fault::Header("X-Docker-Container-Path-Stat", "e30="), 1),
        ("/archive?path=/app/trace.log", Fault::Status(403), 4),
        ("GET /v1.41/containers/docker", Fault::CutAfter(700), 1),
        ("GET /v1.41/containers/docker", Fault::NoAnswer, 1),
    ] {
        let engine = Engine::start(&image(), "app:1");
        engine.requests_for(request).fail(fault.clone());
        let dir = WorkDir::new();
        with(&engine, &["get", "local://app:1", "/app/trace.log"]).run_in(&dir).exits(code);
        assert_eq!(dir.listing().is_empty(), code != 0, "{request} {fault:?}");
        nothing_is_left(&engine);
    }
}

#[test]
fn a_full_disk_leaves_no_container() {
    let image = Image::new().layer([file("big", vec![1; 3 << 20])]);
    let engine = Engine::start(&image, "app:1");
    let limited = with(&engine, &["get", "local://app:1", "/big"]);
    let dir = WorkDir::new();
    limited.under(&["/bin/sh", "-c", "ulimit -f 1024; exec \"$0\" \"$@\""]).run_in(&dir).exits(1);
    assert!(dir.listing().is_empty());
    nothing_is_left(&engine);
}

#[test]
fn a_container_that_somebody_else_removes_is_not_taken_for_a_missing_file() {
    let engine = Engine::start(&image(), "app:1");
    engine.requests_for("HEAD ").fail(Fault::Status(404));
    engine.requests_for("GET /v1.41/containers/docker").after(1).fail(Fault::Status(404));
    with(&engine, &["get", "local://app:1", "/app/trace.log"]).run().exits(1).says("somebody has removed it");
}

#[test]
fn a_signal_in_the_middle_of_a_file_removes_the_container_first() {
    let image = Image::new().layer([file("big", vec![1; 3 << 20])]);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let engine = Engine::start(&image, "app:1");
        engine.requests_for("/archive?path=/big").after(1).fail(Fault::StallAfter(1 << 20));
        let dir = WorkDir::new();
        let running = with(&engine, &["get", "local://app:1", "/big"]).heeding_signals().start_in(&dir);
        engine.wait_for_stall();
        assert_eq!(engine.containers().len(), 1);
        running.signal(signal);
        running.wait().exits(code);
        assert!(dir.listing().is_empty());
        nothing_is_left(&engine);
    }
}

#[test]
fn a_signal_while_the_container_is_being_made_waits_for_it_and_removes_it() {
    let engine = Engine::start(&image(), "app:1");
    engine.hold();
    let dir = WorkDir::new();
    let running = with(&engine, &["get", "local://app:1", "/app/trace.log"]).heeding_signals().start_in(&dir);
    engine.wait_for_stall();
    running.signal(Signal::INT);
    engine.release();
    running.wait().exits(130);
    nothing_is_left(&engine);
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_killed_run_left_is_removed_by_the_next_and_nothing_else_is() {
    let image = Image::new().layer([file("big", vec![1; 3 << 20]), file("small", "s")]);
    let engine = Engine::start(&image, "app:1");
    engine.requests_for("/archive?path=/big").after(1).fail(Fault::StallAfter(1 << 20));
    let (killed, living) = (WorkDir::new(), WorkDir::new());
    let running = with(&engine, &["get", "local://app:1", "/big"]).heeding_signals().start_in(&killed);
    engine.wait_for_stall();
    running.signal(Signal::KILL);
    running.wait().exits(137);
    let left = engine.containers();
    assert_eq!(left.len(), 1);
    // Somebody's own, and such as somebody may make of an image that was made of ours.
    let gone = "none/1/2/3";
    engine.add("docker-artifact-mine", &[], "created", 0);
    engine.add("mine", &[("docker-artifact.owner", gone)], "created", 0);
    engine.add("docker-artifact-runs", &[("docker-artifact.owner", gone)], "running", 0);
    engine.hold();
    let running = with(&engine, &["get", "local://app:1", "/small"]).start_in(&living);
    engine.wait_for_stalls(2);
    with(&engine, &["ls", "local://app:1"]).run().exits(0);
    engine.release();
    running.wait().exits(0);
    assert_eq!(engine.containers(), ["docker-artifact-mine", "mine", "docker-artifact-runs"]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_container_of_a_run_that_goes_on_is_left_to_it() {
    let image = Image::new().layer([file("big", vec![1; 3 << 20])]);
    let engine = Engine::start(&image, "app:1");
    engine.requests_for("/archive?path=/big").after(1).fail(Fault::StallAfter(1 << 20));
    let dir = WorkDir::new();
    let running = with(&engine, &["get", "local://app:1", "/big"]).heeding_signals().start_in(&dir);
    engine.wait_for_stall();
    with(&engine, &["ls", "local://app:1"]).run().exits(0);
    assert_eq!(engine.containers().len(), 1);
    running.signal(Signal::INT);
    running.wait().exits(130);
    nothing_is_left(&engine);
}

#[test]
fn a_container_that_cannot_be_removed_is_said() {
    let engine = Engine::start(&image(), "app:1");
    engine.requests_for("DELETE ").fail(Fault::Status(500));
    let run = with(&engine, &["get", "local://app:1", "/app/trace.log"]).run().exits(0);
    run.says("is left in the engine").says("docker rm -v docker-artifact-");
}

#[test]
fn without_an_engine_the_error_says_which_socket_was_tried() {
    let dir = WorkDir::new();
    let host = format!("unix://{}/none.sock", dir.path("").display());
    let run = artifact(&["get", "local://app", "/x"]).env("DOCKER_HOST", &host).run_in(&dir).exits(1);
    run.says(&host).says("DOCKER_HOST");
}

#[test]
fn dockers_global_flags_say_which_engine_is_meant() {
    let (engine, other) = (Engine::start(&image(), "app:1"), Engine::start(&image(), "other:1"));
    let line = ["--host", &engine.host(), "get", "-o", "-", "local://app:1", "/app/trace.log"];
    assert_eq!(with(&other, &line).run().exits(0).out(), "traced");
    assert_eq!(other.asked(), [""; 0]);
}

#[test]
fn what_is_no_reference_of_an_engine_is_wrong_usage() {
    let engine = Engine::start(&image(), "app:1");
    for reference in ["local://../containers/x", "local://a b", "local://a?b=c"] {
        with(&engine, &["get", reference, "/x"]).run().exits(2).says("is not an image reference");
    }
    with(&engine, &["get", "local://app:1:etc/passwd"]).run().exits(2).says("local://app:1 /etc/passwd");
    assert_eq!(engine.asked(), [""; 0]);
}

#[test]
fn an_image_for_another_platform_is_said() {
    let engine = Engine::start(&image(), "app:1");
    let other = with(&engine, &["get", "local://app:1", "/app/trace.log", "--platform", "linux/s390x"]);
    other.run().exits(3).says("linux/s390x");
}

#[test]
fn an_image_that_the_registry_does_not_know_or_keeps_is_the_engines() {
    let registry = Registry::start();
    let reference = format!("{}/team/app:1", registry.host());
    let engine = Engine::start(&image(), &reference);
    for fault in [None, Some(401), Some(403)] {
        if let Some(status) = fault {
            registry.requests_for("/manifests/").fail(Fault::Status(status));
        }
        let dir = WorkDir::new();
        let run = with(&engine, &["get", &reference, "/app/trace.log"]).run_in(&dir).exits(0);
        run.says(&format!("using the engine's image, local://{reference}"));
        assert_eq!(dir.listing(), [r#"trace.log 644 "traced""#]);
        let list = ["ls", &reference, "/app/trace.log", "--format", "{{.Path}}"];
        assert_eq!(with(&engine, &list).run().exits(0).out(), "/app/trace.log\n");
    }
    nothing_is_left(&engine);
}

#[test]
fn a_registrys_image_is_never_the_engines_where_something_else_is_wrong() {
    let registry = Registry::start();
    let image = image();
    let reference = format!("{}/team/app:1", registry.host());
    let engine = Engine::start(&image, &reference);
    let get = |image: &str| with(&engine, &["get", image, "/app/trace.log"]).run();
    get(&format!("registry://{reference}")).exits(3);
    let digest = image.pack().digest();
    get(&format!("{}/team/app@{digest}", registry.host())).exits(3);
    get(&format!("127.0.0.1:{}/team/app:1", unused_port())).exits(1).says("connection refused");
    registry.push("team/app:1", &image);
    registry.requests_for(&image.pack().config.unwrap().digest()).fail(Fault::Status(404));
    get(&reference).exits(3);
    artifact(&["label", &format!("{}/team/none:1", registry.host()), "/app"])
        .env("DOCKER_HOST", engine.host())
        .run()
        .exits(3);
    assert_eq!(engine.asked(), [""; 0]);
}

#[test]
fn a_registrys_error_stays_as_it_is_where_the_engine_cannot_help() {
    let registry = Registry::start();
    let reference = format!("{}/team/app:1", registry.host());
    let said = artifact(&["get", &reference, "/x"]).env("DOCKER_HOST", "unix:///nowhere").run().exits(3).stderr;
    let engine = Engine::start(&image(), "another:1");
    assert_eq!(with(&engine, &["get", &reference, "/x"]).run().exits(3).stderr, said);
    engine.requests_for("/images/").fail(Fault::StallAfter(0));
    assert_eq!(with(&engine, &["get", &reference, "/x"]).run().exits(3).stderr, said);
}

#[test]
fn copy_binary_copies_out_of_the_engine() {
    let engine = Engine::start(&image(), "app:1");
    let dir = WorkDir::new();
    let program = dir.outside("copy_binary");
    std::os::unix::fs::symlink(program::binary(), &program).unwrap();
    let copy = Program::new(program).args(&["--from=local://app:1", "/bin/tool", "here/"]);
    let run = copy.env("DOCKER_HOST", engine.host()).run_in(&dir).exits(0);
    run.says("not checked: this is what the engine gave").never_says("--verify");
    assert_eq!(dir.listing(), ["here/ 755", r#"here/tool 755 "a tool""#]);
    nothing_is_left(&engine);
}
