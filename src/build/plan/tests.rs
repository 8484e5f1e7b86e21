//! What is planned, as lines of text: `NAME (IMAGE) for PLATFORM…: LINE INSTRUCTION PATH…`. A pattern has `~` before it, and what a
//! copy does with owners and parents stands behind it.

mod forms;

use std::collections::BTreeSet;

use super::super::dockerfile;
use super::*;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// A build for one platform, on a machine of that platform.
fn request() -> Request {
    Request {
        target: None,
        arguments: BTreeMap::new(),
        platforms: vec![platform("linux/amd64")],
        build_platform: platform("linux/amd64"),
        given: BTreeSet::new(),
        leave: BTreeSet::new(),
    }
}

fn with(change: impl FnOnce(&mut Request)) -> Request {
    let mut request = request();
    change(&mut request);
    request
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn for_platforms(platforms: &[&str]) -> Request {
    with(|request| request.platforms = platforms.iter().map(|text| platform(text)).collect())
}

fn planned(text: &str, request: &Request) -> Result<Vec<String>, NotUnderstood> {
    plan(&dockerfile::parse(text)?, request).map(|plan| show(&plan))
}

fn show(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for context in &plan.contexts {
        let platforms: Vec<String> = context.platforms.iter().map(Platform::to_string).collect();
        let mut line = format!("{} ({}) for {}:", context.name, context.image, platforms.join(", "));
        for used in &context.uses {
            line += &format!(" {} {}", used.line, used.instruction);
            for path in &used.paths {
                line += if path.is_pattern { " ~" } else { " " };
                line += &path.text;
            }
            line += if used.keeps_owner { "" } else { " with an owner" };
            line += if used.with_parents { " with parents" } else { "" };
        }
        lines.push(line);
    }
    for left in &plan.left {
        let reason = left.reason.strip_prefix("it ").unwrap_or("reads badly");
        lines.push(format!("{}: line {} {reason}", left.name, left.line));
    }
    lines.extend(plan.declared.iter().map(|name| format!("declares {name}")));
    lines
}

/// As much of a Dockerfile as a message should show.
fn start(text: &str) -> &str {
    text.get(..2000).unwrap_or(text)
}

#[track_caller]
fn check_with(request: &Request, text: &str, expected: &[&str]) {
    match planned(text, request) {
        Ok(lines) => assert_eq!(lines, expected, "\n{}", start(text)),
        Err(error) => panic!("{error}\n{}", start(text)),
    }
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    check_with(&request(), text, expected);
}

#[track_caller]
fn refuses(request: &Request, text: &str, expected: &str) {
    assert_eq!(planned(text, request).unwrap_err().to_string(), expected, "\n{}", start(text));
}

#[test]
fn an_image_is_planned_by_the_name_that_buildkit_looks_up() {
    check(
        "FROM alpine\nCOPY --from=docker.io/library/busybox:latest /bin/busybox /bin/\nCOPY --from=busybox bin/sh /bin/",
        &["busybox (docker.io/library/busybox:latest) for linux/amd64: \
         2 COPY --from=docker.io/library/busybox:latest /bin/busybox 3 COPY --from=busybox /bin/sh"],
    );
}

#[test]
fn a_stage_that_adds_nothing_is_planned_by_its_name() {
    check(
        "FROM tool:1 AS Tools\nARG A=1\nENV B=2\nLABEL c=d\nEXPOSE 80\nCMD [\"x\"]\nENTRYPOINT x\nUSER 1\nSTOPSIGNAL TERM\nHEALTHCHECK NONE\nSHELL [\"sh\"]\nMAINTAINER me\nVOLUME /v\n\
         FROM alpine\nCOPY --from=tools /bin/tool /bin/\nCOPY --from=0 --chown=1 /etc/tool.d /etc/tool.d",
        &["tools (tool:1) for linux/amd64: 15 COPY --from=tools /bin/tool 16 COPY --from=0 /etc/tool.d with an owner"],
    );
}

#[test]
fn a_stage_on_top_of_one_is_planned_too() {
    check(
        "FROM tool:1 AS a\nFROM a AS b\nENV X=1\nFROM alpine\nCOPY --from=b /t /t",
        &["b (tool:1) for linux/amd64: 5 COPY --from=b /t"],
    );
    // Both may be, as each is replaced whole.
    check(
        "FROM tool:1 AS a\nFROM a AS b\nFROM alpine\nCOPY --from=b /t /t\nCOPY --from=a /u /u",
        &["b (tool:1) for linux/amd64: 4 COPY --from=b /t", "a (tool:1) for linux/amd64: 5 COPY --from=a /u"],
    );
}

#[test]
fn a_stage_without_a_name_is_planned_by_its_image() {
    check(
        "FROM tool:1\nFROM alpine\nCOPY --from=0 /t /t\nRUN --mount=from=tool:1,source=/u,target=/u u",
        &["tool:1 (tool:1) for linux/amd64: 3 COPY --from=0 /t 4 RUN --mount=from=tool:1 /u"],
    );
    check(
        "FROM tool:1\nRUN x\nFROM alpine\nCOPY --from=0 /t /t\nCOPY --from=tool:1 /u /u",
        &["tool:1: line 1 is the base of a stage that adds files"],
    );
    // One on top of a stage has the files of that.
    check(
        "FROM tool:1 AS a\nFROM a\nFROM alpine\nCOPY --from=1 /t /t\nCOPY --from=a /u /u",
        &["a (tool:1) for linux/amd64: 4 COPY --from=1 /t 5 COPY --from=a /u"],
    );
    check(
        "FROM tool:1 AS a\nFROM a\nRUN x\nFROM alpine\nCOPY --from=1 /t /t\nCOPY --from=a /u /u",
        &["a: line 2 is the base of a stage that adds files"],
    );
}

#[test]
fn a_context_says_whether_a_stage_is_replaced() {
    let text = "FROM a AS one\nFROM b\nFROM alpine\nCOPY --from=one /x /\nCOPY --from=1 /x /\nCOPY --from=c /x /";
    let plan = plan(&dockerfile::parse(text).unwrap(), &request()).unwrap();
    let is_stage = |context: &Context| (context.name.clone(), context.is_stage);
    let expected = [("one", true), ("b", true), ("c", false)].map(|(name, is)| (name.to_owned(), is));
    assert_eq!(plan.contexts.iter().map(is_stage).collect::<Vec<_>>(), expected);
}

#[test]
fn stages_that_are_built_are_no_news() {
    check("FROM golang AS build\nCOPY . .\nRUN make\nFROM alpine\nCOPY --from=build /x /x", &[]);
    check("FROM scratch AS files\nFROM alpine\nCOPY --from=files /x /x\nCOPY --from=scratch /y /y", &[]);
    check("FROM golang AS a\nRUN make\nFROM a AS b\nFROM alpine\nCOPY --from=b /x /x", &[]);
}

#[test]
fn an_image_that_is_the_base_of_a_stage_that_is_built_is_left() {
    check("FROM alpine\nCOPY --from=alpine /etc/x /x", &["alpine: line 1 is the base of a stage that adds files"]);
    check(
        "FROM alpine:3 AS a\nRUN x\nFROM scratch\nCOPY --from=a /x /x\nCOPY --from=docker.io/alpine:3 /y /y",
        &["alpine:3: line 1 is the base of a stage that adds files"],
    );
    check(
        "FROM tool:1 AS tools\nFROM tools\nCOPY --from=tools /x /y",
        &["tools: line 2 is the base of a stage that adds files"],
    );
    // One that is left leaves what it begins with.
    check(
        "FROM tool:1 AS a\nFROM a AS b\nFROM b\nRUN x\nCOPY --from=a /x /x\nCOPY --from=b /y /y",
        &["a: line 2 is the base of a stage that is built", "b: line 3 is the base of a stage that adds files"],
    );
    check(
        "FROM tool:1 AS a\nFROM alpine\nCOPY --from=a / /x\nCOPY --from=tool:1 /y /y",
        &["a: line 3 is copied as a whole", "tool:1: line 1 is the base of a stage that is built"],
    );
}

#[test]
fn a_name_of_a_stage_and_of_an_image_is_one_name() {
    check(
        "FROM tool AS tool\nFROM alpine\nCOPY --from=tool /x /x\nCOPY --from=docker.io/library/tool /y /y",
        &["tool (tool) for linux/amd64: 3 COPY --from=tool /x 4 COPY --from=docker.io/library/tool /y"],
    );
    check(
        "FROM tool AS tool\nRUN x\nFROM alpine\nCOPY --from=tool /x /x\nCOPY --from=library/tool /y /y",
        &["tool: line 1 is the name of a stage that adds files"],
    );
    check(
        "FROM other AS tool\nFROM alpine\nCOPY --from=tool /x /x\nCOPY --from=library/tool /y /y",
        &["tool: line 4 names an image, and a stage of another image"],
    );
    // The stage that is built must not be replaced.
    check("FROM debian AS tool\nCOPY --from=library/tool /y /y", &["tool: line 1 is the stage that is built"]);
    check(
        "FROM tool AS a\nRUN x\nFROM tool AS tool\nFROM alpine\nCOPY --from=tool /x /\nCOPY --from=a /y /",
        &["tool: line 1 is the base of a stage that adds files"],
    );
    // Not one that nobody needs.
    check(
        "FROM tool AS a\nRUN x\nFROM alpine\nCOPY --from=tool /x /",
        &["tool (tool) for linux/amd64: 4 COPY --from=tool /x"],
    );
    check(
        "FROM alpine AS context\nFROM debian\nCOPY --from=context /x /x",
        &["context: line 3 is a name that no context can have"],
    );
}

#[test]
fn only_what_the_target_needs_counts() {
    let text = "FROM a AS one\nCOPY --from=x /x /x\nFROM b AS two\nCOPY --from=y /y /y\nFROM c\nCOPY --from=z /z /z\nCOPY --from=one /x /x";
    check(text, &["x (x) for linux/amd64: 2 COPY --from=x /x", "z (z) for linux/amd64: 6 COPY --from=z /z"]);
    check_with(
        &with(|request| request.target = Some("Two".to_owned())),
        text,
        &["y (y) for linux/amd64: 4 COPY --from=y /y"],
    );
    refuses(&with(|request| request.target = Some("0".to_owned())), text, "the Dockerfile has no stage \"0\"");
}

#[test]
fn variables_are_those_of_the_place() {
    let text = "ARG V=1\nARG IMAGE=tool:$V\nFROM $IMAGE AS tools\nFROM alpine\nARG V\nARG DIR=/opt/$V\nENV BIN=${DIR}/bin\nCOPY --from=tools ${BIN}/tool $NONE${V:-x} /bin/";
    check(
        text,
        &["tools: line 8 is copied from by a path with the variable NONE, whose value is not in the Dockerfile"],
    );
    let text = &text.replace("$NONE", "/");
    check(text, &["tools (tool:1) for linux/amd64: 8 COPY --from=tools /opt/1/bin/tool /1"]);
    let given = with(|request| request.arguments = [("V".to_owned(), "2".to_owned())].into());
    check_with(&given, text, &["tools (tool:2) for linux/amd64: 8 COPY --from=tools /opt/2/bin/tool /2"]);
    // A stage has those of the stage that it begins with.
    check(
        "FROM alpine AS a\nENV D=/d\nFROM a\nCOPY --from=tool $D/x /x",
        &["tool (tool) for linux/amd64: 4 COPY --from=tool /d/x"],
    );
    check(
        "FROM alpine AS a\nENV D=/d\nONBUILD ENV D=/e\nFROM a\nCOPY --from=tool $D/x /x",
        &["tool: line 5 is copied from by a path with the variable D, whose value is not in the Dockerfile"],
    );
    check(
        "FROM alpine\nARG V=1.2\nCOPY --from=tool /${V%.*}/x /x",
        &["tool: line 3 is copied from by the path /${V%.*}/x, which is not understood"],
    );
    refuses(&request(), "ARG V=1.2\nFROM a:${V%.*}", "line 2 of the Dockerfile has a variable that is not understood");
    refuses(&request(), "ARG V\nFROM $V", "line 2 of the Dockerfile names no image");
}

#[test]
fn a_mount_is_planned_by_its_source() {
    check(
        "FROM alpine\nARG T=/t\nRUN --mount=from=tool,source=$T/x,target=/x --mount=type=bind,from=tool,src=y,dst=/y,rw z\nRUN --mount=type=cache,target=/c x",
        &["tool (tool) for linux/amd64: 3 RUN --mount=from=tool /t/x 3 RUN --mount=from=tool /y"],
    );
    check("FROM alpine\nRUN --mount=from=tool,target=/x x", &["tool: line 2 is mounted as a whole"]);
    check("FROM alpine\nRUN --mount=type=cache,from=tool,target=/x x", &["tool: line 2 is mounted with type=cache"]);
    refuses(
        &request(),
        "FROM a\nFROM b\nRUN --mount=from=0,target=/x x",
        "line 3 of the Dockerfile mounts from a number",
    );
}

#[test]
fn a_copy_that_is_not_known_leaves_what_it_copies_from() {
    for (copy, reason) in [
        ("COPY --from=tool / /x", "is copied as a whole"),
        ("COPY --from=tool . /x", "is copied as a whole"),
        ("COPY --from=tool /* /x", "is copied as a whole"),
        ("COPY --from=tool --new=1 /a /x", "is copied from with --new, which is not known here"),
        ("COPY --from=tool /a\\\\* /x", "is copied from by a path that is not understood"),
        ("COPY --from=tool --parents /a/**/b /x", "is copied from with --parents by a pattern that is not understood"),
    ] {
        check(&format!("FROM alpine\nCOPY --from=tool /ok /ok\n{copy}"), &[&format!("tool: line 3 {reason}")]);
    }
    check(
        "FROM alpine\nCOPY --from=tool --parents --exclude=*.md /usr/./share/x /y\nCOPY --from=tool /a?/b* /z",
        &["tool (tool) for linux/amd64: 2 COPY --from=tool /usr/share/x with parents 3 COPY --from=tool ~/a?/b*"],
    );
}

#[test]
fn an_owner_counts_if_it_is_known() {
    let owners = ["1000", "app:app", ":app", "$U", "$HOME", "$NONE", ""];
    let copies = owners.map(|owner| format!("COPY --from=tool --chown={owner} /x /x\n")).concat();
    check(
        &format!("FROM scratch\nARG U=1\n{copies}"),
        &["tool (tool) for linux/amd64: \
          3 COPY --from=tool /x with an owner 4 COPY --from=tool /x with an owner 5 COPY --from=tool /x with an owner \
          6 COPY --from=tool /x with an owner 7 COPY --from=tool /x 8 COPY --from=tool /x 9 COPY --from=tool /x"],
    );
}

#[test]
fn stages_that_add_more_than_settings_are_left() {
    check(
        "FROM tool AS t\nWORKDIR /w\nFROM alpine\nCOPY --from=t /x /x",
        &["t: line 2 has a WORKDIR, which makes a folder"],
    );
    check("FROM tool AS t\nONBUILD RUN x\nFROM alpine\nCOPY --from=t /x /x", &["t: line 2 has ONBUILD triggers"]);
}

#[test]
fn a_trigger_that_copies_may_copy_from_anything() {
    check(
        "FROM debian AS base\nONBUILD COPY --from=tool /x /x\nFROM base\nCOPY --from=other /y /y",
        &["other: line 2 may be copied from by an ONBUILD trigger"],
    );
}

#[test]
fn what_the_person_gives_or_leaves_is_left() {
    let text = "FROM tool AS t\nFROM alpine\nCOPY --from=t /x /x\nCOPY --from=other /y /y\nCOPY --from=third /z /z";
    let request = with(|request| (request.given, request.leave) = (names(&["t", "other"]), names(&["third"])));
    check_with(
        &request,
        text,
        &[
            "t: line 3 is given with --build-context",
            "other: line 4 is given with --build-context",
            "third: line 5 is left alone, as --leave says",
        ],
    );
    // What a stage says that is given does not count.
    let text =
        "FROM tool AS t\nRUN x\nCOPY --from=tool /q /q\nFROM t\nCOPY --from=tool $A/x /x\nCOPY --from=other /y /y";
    check_with(
        &with(|request| request.given = names(&["t"])),
        text,
        &[
            "other (other) for linux/amd64: 6 COPY --from=other /y",
            "tool: line 5 is copied from by a path with the variable A, whose value is not in the Dockerfile",
        ],
    );
}

#[test]
fn platforms_of_several_builds_come_together() {
    let text = "FROM --platform=$BUILDPLATFORM tool AS host\nFROM alpine\nARG TARGETARCH\nCOPY --from=host /x /x\nCOPY --from=other /y /y\nCOPY --from=third /$TARGETARCH/z /z";
    check_with(
        &for_platforms(&["linux/arm64", "linux/arm/v7"]),
        text,
        &[
            "host (tool) for linux/amd64: 4 COPY --from=host /x",
            "other (other) for linux/arm64, linux/arm/v7: 5 COPY --from=other /y",
            "third: line 6 is copied from differently for each platform",
        ],
    );
    check_with(
        &for_platforms(&["linux/arm64"]),
        text,
        &[
            "host (tool) for linux/amd64: 4 COPY --from=host /x",
            "other (other) for linux/arm64: 5 COPY --from=other /y",
            "third (third) for linux/arm64: 6 COPY --from=third /arm64/z",
        ],
    );
    // A stage for each.
    let text = "FROM tool-a AS for-amd64\nFROM tool-b AS for-arm64\nFROM for-${TARGETARCH} AS tool\nFROM alpine\nCOPY --from=tool /x /x\nCOPY --from=for-amd64 /y /y";
    check_with(
        &for_platforms(&["linux/amd64", "linux/arm64"]),
        text,
        &[
            "tool: line 5 is copied from differently for each platform",
            "for-amd64: line 3 is the base of a stage that is built",
        ],
    );
    // One that one of them needs whole.
    let text =
        "FROM tool AS for-amd64\nFROM alpine AS for-arm64\nFROM for-${TARGETARCH}\nRUN x\nCOPY --from=tool /x /x";
    check_with(
        &for_platforms(&["linux/arm64", "linux/amd64"]),
        text,
        &["tool: line 1 is the base of a stage that is built"],
    );
    check_with(&for_platforms(&["linux/arm64"]), text, &["tool (tool) for linux/arm64: 5 COPY --from=tool /x"]);
}

#[test]
fn what_one_platform_leaves_is_built_for_the_others_too() {
    // For arm64 `tool` cannot be planned, so for amd64 it is built from what else could be.
    let text = "ARG TARGETARCH\nFROM tool-$TARGETARCH AS tool\nFROM alpine\nARG TARGETARCH\nCOPY --from=tool /$TARGETARCH /x\nCOPY --from=tool-amd64 /y /y";
    check_with(
        &for_platforms(&["linux/amd64", "linux/arm64"]),
        text,
        &[
            "tool: line 5 is copied from differently for each platform",
            "tool-amd64: line 2 is the base of a stage that is built",
        ],
    );
    check_with(
        &for_platforms(&["linux/amd64"]),
        text,
        &[
            "tool (tool-amd64) for linux/amd64: 5 COPY --from=tool /amd64",
            "tool-amd64 (tool-amd64) for linux/amd64: 6 COPY --from=tool-amd64 /y",
        ],
    );
}

#[test]
fn two_platforms_of_one_image_in_one_build_are_left() {
    let text = "FROM --platform=$BUILDPLATFORM tool\nFROM alpine\nCOPY --from=0 /x /x\nCOPY --from=tool /y /y";
    check_with(&for_platforms(&["linux/arm64"]), text, &["tool: line 4 is needed for two platforms in one build"]);
    check(text, &["tool (tool) for linux/amd64: 3 COPY --from=0 /x 4 COPY --from=tool /y"]);
    check(
        "FROM --platform=arm64 tool AS t\nFROM alpine\nCOPY --from=t /x /x",
        &["t: line 3 is for a platform that is not understood"],
    );
    check(
        "FROM --platform=windows/amd64 tool AS t\nFROM alpine\nCOPY --from=t /x /x",
        &["t: line 3 is for windows/amd64"],
    );
    refuses(&for_platforms(&["windows/amd64"]), text, "it is for windows/amd64");
}

#[test]
fn declared_artifacts_are_those_of_the_target() {
    check(
        "FROM alpine AS a\nLABEL org.docker-artifact.one=/1 org.docker-artifact.two=/2\nFROM b AS c\nLABEL org.docker-artifact.other=/o\n\
         FROM a\nARG N=three\nLABEL org.docker-artifact.two=\"{}\" org.docker-artifact.$N=/x org.docker-artifact.home=$HOME/y\n\
         LABEL org.docker-artifact.-=/x org.docker-artifact.rel=x other=/z\nLABEL org.docker-artifact.three /$N",
        &["declares one", "declares three", "declares home"],
    );
}

#[test]
fn a_frontend_by_build_argument_counts_as_one_by_directive() {
    let by = |frontend: &str| {
        with(|request| request.arguments = [("BUILDKIT_SYNTAX".to_owned(), frontend.to_owned())].into())
    };
    refuses(&by("example.com/frontend"), "FROM a", "\"example.com/frontend\" reads its Dockerfile");
    check_with(&by("docker/dockerfile:1"), "FROM a", &[]);
}

#[test]
fn what_buildkit_refuses_is_not_understood() {
    for (text, error) in [
        (
            "FROM a AS b\nCOPY --from=b /x /x",
            "line 2 of the Dockerfile copies from a stage that does not stand before it",
        ),
        ("FROM a\nCOPY --from=1 /x /x", "line 2 of the Dockerfile copies from a stage that does not stand before it"),
        ("FROM a\nCOPY --from=-1 /x /x", "line 2 of the Dockerfile copies from a stage that does not stand before it"),
        ("FROM a\nCOPY --from=Upper /x /x", "line 2 of the Dockerfile names no image"),
        ("FROM a AS tools-\nFROM tools-", "line 1 of the Dockerfile names a stage that can be no context"),
    ] {
        refuses(&request(), text, error);
    }
}

#[test]
fn a_hostile_dockerfile_costs_about_its_size() {
    let start = std::time::Instant::now();
    // Each stage on top of the one before, with all its variables.
    let stages = (1..20_000).map(|index| format!("FROM s{} AS s{index}\nENV V{index}=1\n", index - 1));
    let text = format!("FROM a AS s0\n{}FROM b\nCOPY --from=s19999 /x /x", stages.collect::<String>());
    refuses(&request(), &text, "the variables of the Dockerfile grow too long");
    let text = text.replace("ENV V", "LABEL V");
    check(&text, &["s19999 (a) for linux/amd64: 40001 COPY --from=s19999 /x"]);
    // One that is left leaves all of them.
    check(
        &format!("{text}\nCOPY --from=s19999 / /\nCOPY --from=s0 /y /y"),
        &["s19999: line 40002 is copied as a whole", "s0: line 2 is the base of a stage that is built"],
    );
    // Variables that hold others twice.
    let double = (1..100).map(|index| format!("ENV A{index}=$A{0}$A{0}\n", index - 1)).collect::<String>();
    refuses(&request(), &format!("FROM a\nENV A0=x\n{double}"), "the variables of the Dockerfile grow too long");
    // A long value in many words.
    let long = "x".repeat(60_000);
    let text = format!("FROM a\nENV A={long}\n{}", "ENV B=$A\n".repeat(100_000));
    refuses(&request(), &text, "the variables of the Dockerfile grow too long");
    // Many stages on top of a large one, all of which are needed.
    let stages = (0..15_000).map(|index| format!("FROM a AS b{index}\n")).collect::<String>();
    let copies = (0..15_000).map(|index| format!("COPY --from=b{index} /x /x\n")).collect::<String>();
    let text = format!("FROM tool AS a\n{}{stages}FROM b\n{copies}", "CMD x\n".repeat(60_000));
    assert_eq!(planned(&text, &request()).unwrap().len(), 15_000);
    let labels = (0..20_000).map(|index| format!("LABEL org.docker-artifact.a{index}=/a\n")).collect::<String>();
    assert_eq!(planned(&format!("FROM a\n{labels}"), &request()).unwrap().len(), 20_000);
    let copies = "COPY --from=tool /x /x\n".repeat(40_000);
    assert_eq!(planned(&format!("FROM a\n{copies}"), &request()).unwrap().len(), 1);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
