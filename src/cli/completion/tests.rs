use std::ffi::OsString;

use super::*;
use crate::plugin::Invocation;

fn asked(words: &[&str], describe: bool, by_docker: bool) -> String {
    let words = words.iter().map(OsString::from).collect();
    let invocation = Invocation { words, by_docker, ..Invocation::default() };
    answer(Unfinished { invocation, is_copy_binary: false, describe })
}

fn offered(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    asked(&words, false, true).lines().map(str::to_owned).collect()
}

#[test]
fn commands_come_first() {
    assert_eq!(offered(""), ["get", "label", "index", "ls", "build", "cache", ":4"]);
    assert_eq!(offered("g"), ["get", ":4"]);
    assert_eq!(offered("l"), ["label", "ls", ":4"]);
    assert_eq!(offered("x"), [":4"]);
    assert_eq!(offered("cache "), ["ls", "rm", "prune", ":4"]);
    assert_eq!(offered("cache p"), ["prune", ":4"]);
    assert_eq!(offered("cache prune --a"), ["--all", ":4"]);
    assert_eq!(asked(&["g"], true, true), "get\tGet files and directories out of an image\n:4\n");
    assert_eq!(asked(&[], false, true), "get\nlabel\nindex\nls\nbuild\ncache\n:4\n");
}

#[test]
fn flags_of_the_command_and_the_global_ones() {
    assert_eq!(offered("get --no"), ["--no-verify", "--no-dereference", "--no-index", "--no-cache", ":4"]);
    assert_eq!(offered("get --deb"), ["--debug", ":4"]);
    assert_eq!(offered("get alpine /bin/ls --ou"), ["--output", ":4"]);
    assert_eq!(asked(&["--conf"], false, false), "--config\n:4\n");
    assert_eq!(asked(&["--config", "/e"], false, false), ":0\n");
}

#[test]
fn values_that_are_known() {
    assert_eq!(offered("get --progress p"), ["plain", ":4"]);
    assert_eq!(offered("get --progress=t"), ["tty", ":4"]);
    assert_eq!(offered("get --platform linux/arm6"), ["linux/arm64", ":4"]);
    assert_eq!(offered("label --platform=linux/amd64,linux/s"), ["linux/amd64,linux/s390x", ":4"]);
    assert_eq!(offered("get --platform linux/amd64,linux/s"), [":4"]);
    assert_eq!(offered("get --format "), ["json", "table", ":4"]);
    assert_eq!(offered("ls --color=a"), ["auto", "always", ":4"]);
    assert_eq!(offered("ls --time-style=lo"), ["locale", "long-iso", ":4"]);
    assert_eq!(offered("build --print="), ["bake", "compose", "flags", "plan", ":4"]);
    assert_eq!(offered("get -o "), [":0"]);
    assert_eq!(offered("get --output=fo"), [":0"]);
    assert_eq!(offered("label --metadata-file "), [":0"]);
    assert_eq!(offered("build -t app "), [":0"]);
}

#[test]
fn a_destination_is_a_file_and_so_is_an_image_that_is_written_as_one() {
    assert_eq!(offered("get alpine:/bin/sh "), [":0"]);
    assert_eq!(offered("get alpine:/bin/sh ./x:/y"), [":0"]);
    for command in ["get", "ls", "label"] {
        assert_eq!(offered(&format!("{command} ./al")), [":0"]);
    }
}

#[test]
fn nothing_where_nothing_is_known() {
    assert_eq!(offered("get --nope=x"), [":4"]);
    assert_eq!(offered("get - /et"), [":4"]);
    assert_eq!(offered("get ./no-such.tar /et"), [":4"]);
    assert_eq!(offered("label --metadata-file x /et"), [":4"]);
    assert_eq!(offered("get -q -"), offered("get -"));
}
