use super::*;

fn only(text: &str) -> Kind {
    let dockerfile = parse(&format!("FROM a\n{text}\n")).unwrap();
    let mut instructions = dockerfile.stages.into_iter().next().unwrap().instructions;
    assert_eq!(instructions.len(), 1);
    instructions.remove(0).kind
}

fn copied(text: &str) -> CopyFrom {
    match only(text) {
        Kind::CopyFrom(copy) => copy,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn stages_have_names_bases_and_lines() {
    let text = "# syntax=docker/dockerfile:1\nARG V=1 W\nARG X=\"a b\"\n\nFROM --platform=$BUILDPLATFORM go:$V AS Build\nRUN \\\n  make\nCOPY a b\n\nfrom scratch\nCOPY --from=build /a /b\n";
    let dockerfile = parse(text).unwrap();
    let arguments: Vec<_> =
        dockerfile.arguments.iter().map(|arg| (arg.name.as_str(), arg.default.as_deref())).collect();
    assert_eq!(arguments, [("V", Some("1")), ("W", None), ("X", Some("\"a b\""))]);
    let [build, last] = &dockerfile.stages[..] else { panic!("{dockerfile:?}") };
    assert_eq!((build.line, build.name.as_deref(), build.base.as_str()), (5, Some("build"), "go:$V"));
    assert_eq!(build.platform.as_deref(), Some("$BUILDPLATFORM"));
    assert_eq!(build.instructions.iter().map(|instruction| instruction.line).collect::<Vec<_>>(), [6, 8]);
    assert_eq!((last.line, last.name.as_deref(), last.base.as_str()), (10, None, "scratch"));
}

#[test]
fn copy_says_what_it_copies_and_how() {
    let copy = copied("COPY --from=uv:1 --chown=$U:0 --chmod=755 --link --exclude=*.md /uv /uvx /bin/");
    assert_eq!((copy.from.as_str(), copy.chown.as_deref()), ("uv:1", Some("$U:0")));
    assert_eq!(copy.sources, ["/uv", "/uvx"]);
    assert_eq!((copy.with_parents, copy.problem), (false, None));

    assert_eq!(copied(r#"COPY --from=a ["/a b", "/c\"", "/d"]"#).sources, ["/a b", "/c\""]);
    assert_eq!(copied(r#"COPY --from=a ["/\u0061", "/b"]"#).sources, ["/a"]);
    assert_eq!(copied("copy \\\n --from=a \\\n /a \\\n # no\n /b").sources, ["/a"]);
    assert!(copy.excludes && !copied("COPY --from=a /a /b").excludes);
    assert!(copied("COPY --from=a --parents --link=false /a /b").with_parents);
    assert!(!copied("COPY --from=a --parents=FALSE /a /b").with_parents);
    assert_eq!(copied("COPY --from=\"a\" /a /b").from, "a");
    assert!(matches!(only("COPY a b"), Kind::Add));
    assert!(matches!(only("COPY --from= a b"), Kind::Add));
    assert!(matches!(only("ADD --chown=1 a b"), Kind::Add));
}

#[test]
fn what_a_copy_does_not_tell_is_a_problem_of_what_it_copies_from() {
    for text in [
        "COPY --from=a --unpack=true /a /b",
        "COPY --from=a <<x /a /b\nx",
        "COPY --from=a [a-z]* /b",
        "COPY --from=a [\"/a\", 1, \"/b\"]",
        "COPY --from=a [\"/a\tb\", \"/b\"]",
        "COPY --from=a --link=$X /a /b",
    ] {
        let result = parse(&format!("FROM a\n{text}\n"));
        let is_problem = |dockerfile: Dockerfile| match &dockerfile.stages[0].instructions[0].kind {
            Kind::CopyFrom(copy) => copy.problem.is_some(),
            _ => false,
        };
        assert!(result.is_err() || is_problem(result.unwrap()), "{text}");
    }
}

#[test]
fn run_says_what_it_mounts() {
    let text = "RUN --mount=type=cache,target=/c --mount=from=uv,source=/uv,target=/uv --network=none \\\n  --mount=type=bind,\"from=x\" cmd --mount=from=no";
    let Kind::Run(mounts) = only(text) else { panic!() };
    assert_eq!(mounts.iter().map(|mount| mount.from.as_str()).collect::<Vec<_>>(), ["uv", "x"]);
    assert!(matches!(only("RUN [\"a\", \"--mount=from=b\"]"), Kind::Run(mounts) if mounts.is_empty()));
    assert!(matches!(only("RUN cat <<EOF > /x\nCOPY --from=a / /\nEOF"), Kind::Run(_)));
}

#[test]
fn a_trigger_says_whether_it_names_a_source() {
    let trigger = |text: &str| match only(text) {
        Kind::Onbuild(trigger) => (trigger.has_source, trigger.has_variables),
        other => panic!("{other:?}"),
    };
    assert_eq!(trigger("ONBUILD COPY --from=b /a /b"), (true, false));
    assert_eq!(trigger("ONBUILD RUN --mount=from=b,target=/c make"), (true, false));
    assert_eq!(trigger("ONBUILD COPY . /app"), (false, false));
    assert_eq!(trigger("ONBUILD ENV A=1"), (false, true));
}

#[test]
fn what_does_not_parse_says_where() {
    let error = parse("FROM a\n\n# c\nCOPIES x\n").unwrap_err().to_string();
    assert_eq!(error, "line 4 of the Dockerfile does not parse: unknown instruction 'COPIES'");
    let error = parse("# escape=`\nFROM a\nRUN x `\n y\nBAD").unwrap_err().to_string();
    assert_eq!(error, "line 5 of the Dockerfile does not parse: unknown instruction 'BAD'");
}

#[test]
fn what_is_not_a_dockerfile_is_not_understood() {
    for text in [
        "",
        "# only a comment",
        "ARG A",
        "RUN a\nFROM b",
        "// syntax=other\nFROM a",
        "{\"syntax\": \"other\"}",
        "# syntax=other/frontend\nFROM a",
        "FROM a AS 1",
        "FROM a AS b/c",
        "FROM a AS b\nFROM c AS B",
        "FROM --other=1 a",
        "FROM a b",
        "FROM a\nCOPY --from=$X /a /b",
        "FROM a\nCOPY --from=b --from=c /a /b",
        "FROM a\nCOPY --from='b /a /b",
        "FROM a\nCOPY --from=b\\c /a /b",
        "FROM a\nCOPY --exclude=\"a b\" --from=c /a /b",
        "FROM a\nRUN --mount=from=${X},target=/a b",
        "FROM a\nENV A",
        "FROM a\nARG A-B=1",
        "FROM a\nONBUILD FROM b",
        "FROM a\nRUN <<EOF\n",
        "FROM a\nCOPY a",
    ] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}
