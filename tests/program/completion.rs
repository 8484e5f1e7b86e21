//! What a shell is offered: from the engine, from the image on the line, from the cache; what that costs, and what it never does.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

/// What is offered for the words after the program's name, the last of them under the cursor.
#[track_caller]
fn offered_in(dir: &WorkDir, words: &[&str]) -> Vec<String> {
    let request = [&["__completeNoDesc"], words].concat();
    let run = artifact(&request).env("DOCKER_HOST", "unix:///nonexistent").run_in(dir).exits(0);
    assert_eq!(run.stderr, "");
    run.out().lines().map(str::to_owned).collect()
}

#[track_caller]
fn offered(words: &[&str]) -> Vec<String> {
    offered_in(&WorkDir::new(), words)
}

/// A layer that is small enough to be read without having been asked for.
fn small() -> Layer {
    Layer::new([
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/tool", "tool"),
        file("usr/bin/tools", "tools"),
        dir("usr/lib"),
        symlink("bin", "usr/bin"),
        symlink("dangling", "nowhere"),
        file("etc/odd name", ""),
        file("etc/odd*", ""),
        file("etc/odd\nline", ""),
        file("etc/odd$(id)", ""),
    ])
}

/// One that is not.
fn large() -> Layer {
    Layer::new([dir("opt"), file("opt/large", noise(1, 2_000_000)), file("opt/last", "last")])
}

/// Which requests `work` made.
fn asked(registry: &Registry, work: impl FnOnce()) -> Vec<String> {
    let before = registry.log().len();
    work();
    registry.log()[before..].iter().map(|request| format!("{} {}", request.method, request.target)).collect()
}

// The engine's images

#[test]
fn an_image_comes_from_the_engine_where_one_answers_and_else_from_files() {
    let engine = Engine::start(&Image::new().layer(small()), "team/app:1");
    for (words, expected) in [
        (&["get", "te"][..], "team/app:1 :0"),
        (&["ls", ""], "team/app:1 :0"),
        (&["label", "local://te"], "local://team/app:1 :0"),
        (&["index", "te"], "team/app:1 :4"),
        (&["index", "local://te"], ":4"),
        (&["build", "--leave", "te"], "team/app:1 :4"),
        (&["get", "other"], ":0"),
        (&["get", "./te"], ":0"),
    ] {
        let request = [&["__complete"], words].concat();
        let run = artifact(&request).env("DOCKER_HOST", engine.host()).run().exits(0);
        assert_eq!(run.out().split_whitespace().collect::<Vec<_>>().join(" "), expected, "{words:?}");
    }
    assert_eq!(offered(&["get", "te"]), [":0"]);
}

#[test]
fn an_engine_is_asked_for_names_and_never_for_a_container() {
    let image = Image::new().layer(small()).label("org.docker-artifact.tool", "/usr/bin/tool");
    let engine = Engine::start(&image, "team/app:1");
    let offered = |word| {
        let request = ["__completeNoDesc", "get", "local://team/app:1", word];
        artifact(&request).env("DOCKER_HOST", engine.host()).run().exits(0).out()
    };
    assert_eq!(offered(""), "tool\n:4\n");
    assert_eq!(offered("/usr/"), ":4\n");
    assert_eq!(engine.count("POST"), 0);
}

#[test]
fn an_engine_behind_ssh_is_not_asked() {
    let dir = WorkDir::new();
    dir.script("ssh", "#!/bin/sh\ntouch \"$HOME/asked\"\n");
    for words in [["get", "te"], ["get", "local://te"]] {
        let request = [&["__complete"], &words[..]].concat();
        artifact(&request).env("DOCKER_HOST", "ssh://somewhere.test").run_in(&dir).exits(0);
    }
    assert!(!dir.home("asked").exists());
}

// The image on the line

#[test]
fn a_word_with_a_slash_is_a_path_by_one_directory_at_a_time() {
    let (_registry, reference, _) = Registry::serving(&Image::new().layer(small()));
    for (word, expected) in [
        ("/", &["/bin", "/dangling", "/etc/", "/usr/", ":4"][..]),
        ("/u", &["/usr/", ":6"]),
        ("/usr/", &["/usr/bin/", "/usr/lib/", ":4"]),
        ("/usr/bin/to", &["/usr/bin/tool", "/usr/bin/tools", ":4"]),
        ("usr/bin/tools", &["usr/bin/tools", ":4"]),
        // A link that leads to a directory goes on, too, where it is the only one.
        ("/b", &["/bin/", ":6"]),
        ("/bin/tools", &["/bin/tools", ":4"]),
        ("/da", &["/dangling", ":4"]),
        ("/etc/odd", &["/etc/odd name", "/etc/odd$(id)", ":4"]),
        ("/no/such/", &[":4"]),
        ("/usr/bin/tool/", &[":4"]),
        ("/u*/", &[":4"]),
    ] {
        for command in ["get", "ls", "label"] {
            assert_eq!(offered(&[command, &reference, word]), expected, "{command} {word}");
        }
    }
    assert_eq!(offered(&["label", &reference, "cli=/usr/bin/to"])[0], "cli=/usr/bin/tool");
    assert_eq!(offered(&["get", &reference, "/x", "/u"]), ["/usr/", ":6"]);
    assert_eq!(offered(&["get", &format!("{reference}:/u")]), [format!("{reference}:/usr/"), ":6".to_owned()]);
    let second = [format!("{reference}:/x"), format!("{reference}:/usr/l")];
    assert_eq!(offered(&["get", &second[0], &second[1]]), [format!("{reference}:/usr/lib/"), ":6".to_owned()]);
}

#[test]
fn through_docker_nothing_is_offered_that_its_scripts_could_run() {
    let (_registry, reference, _) = Registry::serving(&Image::new().layer(small()));
    assert_eq!(offered(&["artifact", "get", &reference, "/etc/"]), [":4"]);
    assert_eq!(offered(&["artifact", "get", &reference, "/usr/bin/tools"]), ["/usr/bin/tools", ":4"]);
}

#[test]
fn a_word_without_a_slash_is_the_name_of_an_artifact() {
    let image = Image::new().layer(small()).label("org.docker-artifact.tool", "/usr/bin/tool");
    let image = image.label("org.docker-artifact.other", "/usr/bin/tools").label("org.docker-artifact.$(id)", "/x");
    let (_registry, reference, _) = Registry::serving(&image);
    assert_eq!(offered(&["get", &reference, ""]), ["other", "tool", "/", ":4"]);
    assert_eq!(offered(&["ls", &reference, "t"]), ["tool", ":4"]);
    assert_eq!(offered(&["label", &reference, "--remove", "o"]), ["other", ":4"]);
    assert_eq!(offered(&["label", &reference, "--remove="]), ["other", "tool", ":4"]);
    let described = artifact(&["__complete", "get", &reference, "to"]).run().exits(0).out();
    assert_eq!(described, "tool\t/usr/bin/tool\n:4\n");
    let (_registry, plain, _) = Registry::serving(&Image::new().layer(small()));
    assert_eq!(offered(&["get", &plain, ""]), ["/", ":6"]);
}

#[test]
fn copy_binary_is_completed_under_its_own_name() {
    let (_registry, reference, _) = Registry::serving(&Image::new().layer(small()));
    let dir = WorkDir::new();
    let program = dir.path("copy_binary");
    std::os::unix::fs::symlink(program::binary(), &program).unwrap();
    let from = format!("--from={reference}");
    for (words, expected) in [
        (&["--fr"][..], "--from\n:4\n"),
        (&[&from, "/usr/l"], "/usr/lib/\n:6\n"),
        (&["--from", &reference, "/usr/l"], "/usr/lib/\n:6\n"),
        (&[&from, "/usr/lib", ""], ":0\n"),
        (&["/usr/l"], ":4\n"),
    ] {
        let run = Program::new(&program).args(&[&["__completeNoDesc"], words].concat()).run_in(&dir).exits(0);
        assert_eq!((run.out(), run.stderr), (expected.to_owned(), String::new()), "{words:?}");
    }
}

#[test]
fn the_flags_on_the_line_count() {
    let (arm, amd) = (Layer::new([file("arm", "")]), Layer::new([file("amd", "")]));
    let index = Index::new().image(&Image::new().layer(arm).platform("linux/arm64"));
    let (_registry, reference, _) = Registry::serving(&index.image(&Image::new().layer(amd).platform("linux/amd64")));
    assert_eq!(offered(&["get", "--platform", "linux/arm64", &reference, "/a"]), ["/arm", ":4"]);
    assert_eq!(offered(&["get", "--platform=linux/amd64", &reference, "/a"]), ["/amd", ":4"]);
    assert_eq!(offered(&["label", "--platform=linux/arm64,linux/amd64", &reference, "/a"]), ["/arm", ":4"]);
    assert_eq!(offered(&["get", "--platform", "nonsense/x/y/z", &reference, "/a"]), [":4"]);
}

#[test]
fn layers_are_offered_by_number_with_their_steps_and_by_digest() {
    let image = Image::new().layer(small().created_by("RUN make small")).layer(large().created_by("RUN make large"));
    let (_registry, reference, packed) = Registry::serving(&image);
    let described = artifact(&["__complete", "get", &reference, "/x", "--layer", ""]).run().exits(0).out();
    assert_eq!(described, "1\tRUN make small\n2\tRUN make large\n:4\n");
    let digest = packed.layers[1].digest();
    assert_eq!(offered(&["get", &reference, "--layer", &digest[..20]]), [&digest, ":4"]);
    assert_eq!(offered(&["get", &reference, "--created-by", "RUN make l"]), ["RUN make large", ":4"]);
}

#[test]
fn archives_and_layouts_are_looked_into_whatever_their_size() {
    let dir = WorkDir::new();
    let image = Image::new().layer(small()).layer(large());
    fs::write(dir.path("app.tar"), archive(&image, Form::Docker110, "team/app:1")).unwrap();
    assert_eq!(offered_in(&dir, &["get", "./app.tar", "/opt/la"]), ["/opt/large", "/opt/last", ":4"]);
    assert_eq!(offered_in(&dir, &["ls", "app.tar", "/u"]), ["/usr/", ":6"]);
    assert_eq!(offered_in(&dir, &["get", "./missing.tar", "/u"]), [":4"]);
    assert!(!dir.home(".cache").exists());
}

// What it costs, and what it does not do

#[test]
fn no_layer_is_read_that_no_table_tells_of_unless_all_such_are_small_together() {
    let image = Image::new().layer(large()).layer(small());
    let (registry, reference, packed) = Registry::serving(&image);
    let dir = WorkDir::new();
    for word in ["/usr/", "/opt/", "/"] {
        let asked = asked(&registry, || assert_eq!(offered_in(&dir, &["get", &reference, word]), [":4"]));
        assert!(packed.layers.iter().all(|layer| !asked.iter().any(|request| request.contains(&layer.digest()))));
    }
    assert!(!dir.home(".cache").exists());
    // Once its layers were read, the cache tells.
    artifact(&["ls", "-a", &reference]).run_in(&dir).exits(0);
    let before = listing(&dir.home(".cache"));
    let costs = asked(&registry, || {
        assert_eq!(offered_in(&dir, &["get", &reference, "/opt/"]), ["/opt/large", "/opt/last", ":4"]);
    });
    assert_eq!(costs, ["HEAD /v2/team/app/manifests/1"]);
    assert_eq!(offered_in(&dir, &["get", "--no-cache", &reference, "/opt/"]), [":4"]);
    assert_eq!(listing(&dir.home(".cache")), before);
}

#[test]
fn a_damaged_table_costs_nothing_and_stays_for_whoever_reads_the_layer() {
    let (registry, reference, packed) = Registry::serving(&Image::new().layer(large()));
    let dir = WorkDir::new();
    artifact(&["ls", "-a", &reference]).run_in(&dir).exits(0);
    let layer = packed.layers[0].digest();
    let table = dir.home(".cache/docker-artifact/tables/sha256").join(&layer["sha256:".len()..]);
    fs::write(&table, "no table").unwrap();
    let asked = asked(&registry, || assert_eq!(offered_in(&dir, &["get", &reference, "/opt/"]), [":4"]));
    assert!(!asked.iter().any(|request| request.contains(&layer)), "{asked:?}");
    assert_eq!(fs::read_to_string(table).unwrap(), "no table");
}

#[test]
fn tables_that_the_image_brings_or_has_beside_it_tell() {
    let carried = Image::new().layer(large().with_table(TableFormat::ZstdChunked)).layer(small());
    let (registry, reference, packed) = Registry::serving(&carried);
    let large_one = packed.layers[0].digest();
    assert_eq!(offered(&["get", &reference, "/opt/"]), ["/opt/large", "/opt/last", ":4"]);
    assert!(registry.logged("GET", &large_one).iter().all(|request| request.sent() < 10_000));
    let registry = Registry::options().referrers().start();
    let reference = registry.push("team/app:1", &Image::new().layer(large()).layer(small()));
    assert_eq!(offered(&["get", &reference, "/opt/"]), [":4"]);
    artifact(&["index", &reference]).run().exits(0);
    let costs = asked(&registry, || {
        assert_eq!(offered(&["get", &reference, "/opt/"]), ["/opt/large", "/opt/last", ":4"]);
    });
    let referrers = costs.iter().filter(|request| request.contains("/referrers/")).count();
    assert!(referrers == 1 && costs.len() < 12, "{costs:?}");
}

#[test]
fn no_helper_is_started_and_a_password_in_the_config_is_used() {
    let registry = Registry::options().tokens().account("ann", "secret").start();
    let reference = registry.push("team/app:1", &Image::new().layer(small()));
    let dir = WorkDir::new();
    dir.script("docker-credential-vault", "#!/bin/sh\ntouch \"$HOME/asked\"\n");
    dir.docker_config(&json!({"credsStore": "vault"}));
    assert_eq!(offered_in(&dir, &["get", &reference, "/u"]), [":4"]);
    assert!(!dir.home("asked").exists());
    dir.docker_config(&json!({"auths": {registry.host(): {"username": "ann", "password": "secret"}}}));
    assert_eq!(offered_in(&dir, &["get", &reference, "/u"]), ["/usr/", ":6"]);
    let folder = dir.home(".docker");
    let folder = folder.to_str().unwrap();
    fs::rename(folder, dir.home("elsewhere")).unwrap();
    assert_eq!(offered_in(&dir, &["get", &reference, "/u"]), [":4"]);
    let elsewhere = dir.home("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    assert_eq!(offered_in(&dir, &["--config", elsewhere, "artifact", "get", &reference, "/u"]), ["/usr/", ":6"]);
}

#[test]
fn a_registry_that_says_nothing_is_waited_for_no_longer_than_the_limit() {
    let (registry, reference, _) = Registry::serving(&Image::new().layer(small()));
    registry.requests_for("/manifests/").fail(Fault::StallAfter(0));
    let began = Instant::now();
    let run = artifact(&["__complete", "get", &reference, "/u"]);
    let run = run.env("DOCKER_ARTIFACT_COMPLETION_TIMEOUT", "0.2").run().exits(0);
    assert_eq!((run.out(), run.stderr), (":4\n".to_owned(), String::new()));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn digests_of_the_cache_are_offered_to_be_removed() {
    let (_registry, reference, packed) = Registry::serving(&Image::new().layer(large()));
    let dir = WorkDir::new();
    assert_eq!(offered_in(&dir, &["cache", "rm", ""]), [":4"]);
    artifact(&["ls", "-a", &reference]).run_in(&dir).exits(0);
    let digest = packed.layers[0].digest();
    let short = &digest["sha256:".len()..][..12];
    assert_eq!(offered_in(&dir, &["cache", "rm", ""]), [short, ":4"]);
    assert_eq!(offered_in(&dir, &["cache", "rm", &digest[..14]]), [&digest, ":4"]);
    assert_eq!(offered_in(&dir, &["cache", "rm", "x", &short[..3]]), [short, ":4"]);
}

// The scripts

#[test]
fn there_is_a_script_for_each_shell_and_docker_does_not_list_the_command() {
    for (shell, has) in [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete --command")] {
        for program in [&["completion", shell][..], &["artifact", "completion", shell]] {
            let script = artifact(program).run().exits(0).out();
            assert!(script.contains(has) && script.contains("copy_binary"), "{script}");
        }
    }
    artifact(&["completion", "csh"]).run().exits(2).says("bash, zsh, fish");
    assert!(artifact(&["--help"]).run().out().contains("\n  completion "));
    assert!(!artifact(&["artifact", "--help"]).run().out().contains("completion"));
    assert_eq!(offered(&["completion", "z"]), ["zsh", ":4"]);
}
