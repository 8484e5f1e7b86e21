//! One path at a time, through every kind of link, against `docker cp --follow-link`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::engine::{self, NEEDS};
use crate::plugin::Plugin;
use crate::tools::{can_run, finish, run, stream};
use crate::tree::{Kind, Tree, show};

/// Each names a regular file in the end.
const FILES: &[&[u8]] = &[
    b"/bin/ls",
    b"/usr/bin/ls",
    b"bin/ls",
    b"/bin/../bin/./ls",
    b"/bin/sh",
    b"/bin/perl",
    b"/usr/bin/perl5.36.0",
    b"/lib64/ld-linux-x86-64.so.2",
    b"/lib/x86_64-linux-gnu/libc.so.6",
    b"/lib/x86_64-linux-gnu/libssl.so.3",
    b"/lib/x86_64-linux-gnu/libtinfo.so.6",
    b"/etc/os-release",
    b"/bin/newgrp",
    b"/sbin/through-link",
    b"/lib/tool",
    b"/srv/deleted/2",
    b"/srv/opaque/1",
    b"/srv/opaque/new",
    b"/srv/merged/both/1",
    b"/srv/merged/both/2",
    b"/srv/merged/both/6",
    b"/srv/file-then-dir",
    b"/srv/dir-then-file/inner/back",
    b"/srv/kept/link-then-file",
    b"/srv/kept/rewritten",
    b"/srv/kept/chmod",
    b"/srv/modes/0000",
    b"/srv/modes/4755",
    b"/srv/links/relative",
    b"/srv/links/absolute",
    b"/srv/links/chain3",
    b"/srv/links/to-dir/end",
    b"/srv/links/abs-to-a/b/end",
    b"/srv/links/through-dotdot",
    b"/srv/links/above-root",
    b"/srv/links/two-dirs/end",
    b"/srv/links/slash/end",
    b"/srv/links/self/self/self/relative",
    b"/srv/links/top/srv/links/top/bin/true",
    b"/srv/links/to-dir/made-through-link/../end",
    b"/srv/hard/one/second",
    b"/srv/hard/two/third",
    b"/srv/hard/two/fourth",
    b"/srv/hard/one/symlink",
    b"/srv/hard/true",
    b"/srv/hard/target",
    b"/srv/names/empty",
    b"/srv/names/with space",
    "/srv/names/prüfung-日本語-🦀".as_bytes(),
    b"/srv/names/new\nline",
    b"/srv/names/-dash",
    b"/srv/names/long-target",
    b"/srv/data/sparse",
    b"/srv/data/random",
    b"/srv/data/only-hole",
];

#[test]
fn one_path_at_a_time_gives_what_docker_cp_gives() {
    if !can_run("one_path_at_a_time_gives_what_docker_cp_gives", NEEDS) {
        return;
    }
    let (built, pushed, plugin) = (engine::built(), engine::pushed(), Plugin::installed());
    let mut wrong = Vec::new();
    for path in FILES {
        let mut source = built.container.clone().into_bytes();
        source.push(b':');
        source.extend_from_slice(path);
        let theirs = stream(
            Command::new("docker").args(["cp", "--follow-link"]).arg(OsStr::from_bytes(&source)).arg("-"),
            |tar| Tree::from_tar(tar),
        );
        let theirs = theirs.0.into_values().next().map(|node| node.kind);
        let ours = finish(plugin.get(&pushed.reference).arg(OsStr::from_bytes(path)).args(["-o", "-"]));
        if !ours.status.success() || Some(Kind::of(&ours.stdout)) != theirs {
            let said = String::from_utf8_lossy(&ours.stderr);
            wrong.push(format!(
                "{}: {} with {:?}, docker cp gives {theirs:?}; {said}",
                show(path),
                ours.status,
                Kind::of(&ours.stdout)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} paths:\n{}", wrong.len(), FILES.len(), wrong.join("\n"));
}

#[test]
fn what_the_container_does_not_have_is_not_found() {
    if !can_run("what_the_container_does_not_have_is_not_found", NEEDS) {
        return;
    }
    let (pushed, plugin) = (engine::pushed(), Plugin::installed());
    for (path, part) in [
        ("/srv/deleted/1", "deleted"),
        ("/srv/deleted/dir/deep", "deleted"),
        ("/srv/opaque/inner/hidden", ""),
        ("/srv/file-then-dir/inside", ""),
        ("/srv/links/dangling", ""),
        ("/srv/links/chain3/", ""),
        ("/bin/truee", "true"),
        ("/srv/kept/.wh.rewritten", ""),
    ] {
        let output = finish(plugin.get(&pushed.reference).args([path, "-o", "-"]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{path}: {said}");
        assert!(output.stdout.is_empty() && said.contains(part), "{path}: {said}");
    }
    let looping = finish(plugin.get(&pushed.reference).args(["/srv/links/loop1", "-o", "-"]));
    assert!(!looping.status.success());
}

/// Docker's API takes no such path, so only our side is asked; the whole image's comparison has it on both.
#[test]
fn a_path_of_raw_bytes_can_be_typed() {
    if !can_run("a_path_of_raw_bytes_can_be_typed", NEEDS) {
        return;
    }
    let raw = OsStr::from_bytes(b"/srv/names/raw-\xff\xfe-bytes");
    let content = run(Plugin::installed().get(&engine::pushed().reference).arg(raw).args(["-o", "-"]));
    assert_eq!(content, b"r\n");
}
