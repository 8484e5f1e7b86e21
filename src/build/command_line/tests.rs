use std::os::unix::ffi::OsStringExt as _;

use super::*;

/// The words of a line, as a shell takes it apart that knows no quotes.
fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn parsed(line: &str) -> Parsed {
    parse(&words(line)).unwrap_or_else(|problem| panic!("{line}: {problem}"))
}

fn understood(line: &str) -> CommandLine {
    parsed(line).understood.unwrap_or_else(|why| panic!("{line}: {why}"))
}

/// Why a line is not understood.
fn reason(line: &str) -> String {
    parsed(line).understood.map(|line| format!("understood: {line:?}")).unwrap_err().0
}

/// What is asked by naming a context and nothing else.
fn plain(context: &str) -> CommandLine {
    understood(context)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn path(path: &str) -> Option<PathBuf> {
    Some(PathBuf::from(path))
}

#[test]
fn a_context_alone_asks_for_nothing_else() {
    let line = plain(".");
    assert_eq!(line.folder(), Ok(Path::new(".")));
    assert_eq!((&line.file, &line.target, &line.builder), (&None, &None, &None));
    assert!(!line.push && !line.load && !line.pull && !line.quiet && !line.check_only);
    assert!(line.platforms.is_empty() && line.contexts.is_empty() && line.tags.is_empty() && line.outputs.is_empty());
}

#[test]
fn what_ci_runs_is_understood() {
    let action = "--build-arg VERSION=1.2.3 --build-arg GITHUB_SHA --cache-from type=gha --cache-to type=gha,mode=max \
                  --iidfile /tmp/docker-actions-toolkit-x/build-iidfile-y.txt --label org.opencontainers.image.title=app \
                  --platform linux/amd64,linux/arm64 --attest type=provenance,mode=max,builder-id=https://ci.example/run/1 \
                  --secret id=GIT_AUTH_TOKEN,src=/tmp/z --tag ghcr.io/team/app:1 --tag ghcr.io/team/app:latest \
                  --metadata-file /tmp/docker-actions-toolkit-x/build-metadata-y.json --push .";
    let expected = CommandLine {
        build_arguments: vec![("VERSION".to_owned(), Some("1.2.3".to_owned())), ("GITHUB_SHA".to_owned(), None)],
        iidfile: path("/tmp/docker-actions-toolkit-x/build-iidfile-y.txt"),
        labels: vec![("org.opencontainers.image.title".to_owned(), "app".to_owned())],
        platforms: strings(&["linux/amd64", "linux/arm64"]),
        tags: strings(&["ghcr.io/team/app:1", "ghcr.io/team/app:latest"]),
        metadata_file: path("/tmp/docker-actions-toolkit-x/build-metadata-y.json"),
        push: true,
        ..plain(".")
    };
    assert_eq!(understood(action), expected);

    let gitlab = "--pull --cache-from registry.example/team/app:latest --build-arg BUILDKIT_INLINE_CACHE=1 \
                  -t registry.example/team/app:1a2b -t registry.example/team/app:latest -f docker/Dockerfile.prod .";
    let expected = CommandLine {
        pull: true,
        build_arguments: vec![("BUILDKIT_INLINE_CACHE".to_owned(), Some("1".to_owned()))],
        tags: strings(&["registry.example/team/app:1a2b", "registry.example/team/app:latest"]),
        file: path("docker/Dockerfile.prod"),
        ..plain(".")
    };
    assert_eq!(understood(gitlab), expected);

    let makefile = "--builder=cross --platform=linux/arm/v7 --platform linux/s390x --target release --progress=plain --provenance \
                    false --sbom=true --output type=local,dest=out --no-cache-filter deps --network=host ./image";
    let expected = CommandLine {
        builder: Some("cross".to_owned()),
        platforms: strings(&["linux/arm/v7", "linux/s390x"]),
        target: Some("release".to_owned()),
        progress: Some("plain".to_owned()),
        outputs: strings(&["type=local,dest=out"]),
        ..plain("./image")
    };
    assert_eq!(understood(makefile), expected);

    let older = "--rm --force-rm=true --squash --compress --isolation default --memory 2g --memory-swap -1 -c 512 --cpu-quota 50000 \
                 --cpuset-cpus 0-3 --security-opt seccomp=unconfined --ulimit nofile=1024:2048 --shm-size 1g --cgroup-parent ci \
                 --add-host db:10.0.0.1 --disable-content-trust=false -qt app /srv/app";
    let expected = CommandLine { quiet: true, tags: strings(&["app"]), ..plain("/srv/app") };
    assert_eq!(understood(older), expected);
}

#[test]
fn a_context_that_is_no_folder_says_why() {
    for (context, why) in [
        ("-", "standard input"),
        ("https://github.com/docker/build-push-action.git#heads/master", "is not a folder"),
        ("http://example.com/context.tar.gz", "is not a folder"),
        ("git://example.com/app", "is not a folder"),
        ("ssh://git@example.com/app.git", "is not a folder"),
        ("docker-image://alpine:3.20", "is not a folder"),
        ("oci-layout:///tmp/layout", "is not a folder"),
        ("github.com/moby/buildkit", "a Git repository"),
        ("git@github.com:moby/buildkit.git#v0.20.0:frontend", "a Git repository"),
        ("example.com:app.git", "a Git repository"),
        ("target:base", "a Git repository"),
    ] {
        let line = understood(&format!("--push {context}"));
        let Err(NotUnderstood(said)) = line.folder() else { panic!("{context} is a folder") };
        assert!(said.contains(why), "{context}: {said}");
        assert!(line.push, "the rest is known");
    }
    for folder in [".", "..", "/srv/app", "./git@host:x", "a/b:c", "app.git", "docker", "github.com", "./https://x"] {
        assert_eq!(plain(folder).folder(), Ok(Path::new(folder)), "{folder}");
    }
    let words = ["--push", ""].map(OsString::from);
    assert!(parse(&words).unwrap().understood.unwrap().folder().is_err());
}

#[test]
fn what_is_not_understood_says_why_and_is_passed_on_whole() {
    for (line, why) in [
        ("", "no build context is given"),
        ("--push", "no build context is given"),
        ("a b", "there are two build contexts, a and b"),
        ("--push true .", "there are two build contexts, true and ."),
        ("--nope .", "--nope is not known here"),
        ("--nope=x .", "--nope is not known here"),
        ("-x .", "-x is not known here"),
        (". --tag", "--tag has no value"),
        ("--push=maybe .", "--push=maybe is neither true nor false"),
        (
            "--file https://example.com/Dockerfile .",
            "the Dockerfile, https://example.com/Dockerfile, is not a local file",
        ),
        ("--build-arg =x .", "a --build-arg has no name"),
        ("--build-context tools .", "--build-context tools has no value"),
    ] {
        assert_eq!(reason(line), why, "{line}");
        assert_eq!(parsed(line).passed_on, words(line), "{line}");
    }
}

#[test]
fn odd_spellings_mean_what_they_mean_to_docker() {
    let cases = [
        ("-fDockerfile.dev .", CommandLine { file: path("Dockerfile.dev"), ..plain(".") }),
        ("-f=Dockerfile.dev .", CommandLine { file: path("Dockerfile.dev"), ..plain(".") }),
        ("-f - .", CommandLine { file: path("-"), ..plain(".") }),
        ("--file= .", plain(".")),
        ("--target= --metadata-file= --iidfile= .", plain(".")),
        ("-f a -f b .", CommandLine { file: path("b"), ..plain(".") }),
        (". --push", CommandLine { push: true, ..plain(".") }),
        ("--push --push=false .", plain(".")),
        ("--push=F --load=1 --pull=TRUE .", CommandLine { load: true, pull: true, ..plain(".") }),
        ("-Dqt a .", CommandLine { debug: true, quiet: true, tags: strings(&["a"]), ..plain(".") }),
        ("--label a --label b=c=d .", {
            let labels = [("a", ""), ("b", "c=d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
            CommandLine { labels: labels.to_vec(), ..plain(".") }
        }),
        ("--builder= .", CommandLine { builder: Some(String::new()), ..plain(".") }),
        ("--platform linux/amd64, .", CommandLine { platforms: strings(&["linux/amd64", ""]), ..plain(".") }),
        ("--build-context alpine=docker-image://alpine:3 --build-context src=../src .", {
            CommandLine { contexts: strings(&["alpine", "src"]), ..plain(".") }
        }),
        ("--label --push .", CommandLine { labels: vec![("--push".to_owned(), String::new())], ..plain(".") }),
        ("--push -- .", CommandLine { push: true, ..plain(".") }),
        ("-- --push", plain("./--push").with_folder("--push")),
        ("--call=build .", plain(".")),
        ("--check=false .", plain(".")),
        ("--check --call build .", plain(".")),
    ];
    for (line, expected) in cases {
        assert_eq!(understood(line), expected, "{line}");
    }
    for line in
        ["--check .", "--call check .", "--call=outline,format=json .", "--print=outline .", "--call build --check=1 ."]
    {
        assert!(understood(line).check_only, "{line}");
    }
}

impl CommandLine {
    fn with_folder(self, folder: &str) -> Self {
        CommandLine { context: ContextPath::Local(folder.into()), ..self }
    }
}

#[test]
fn own_flags_are_taken_out_wherever_they_stand() {
    let parsed = parsed(
        "--print=flags -t a --leave node:22 --push --leave=tools . --keep-owners --no-label=true --build-arg --no-label -- ",
    );
    let own = Own {
        print: Some(Print::Flags),
        leave: strings(&["node:22", "tools"]),
        keep_owners: true,
        no_label: true,
        help: false,
    };
    assert_eq!(parsed.own, own);
    assert_eq!(parsed.passed_on, words("-t a --push . --build-arg --no-label --"));
    let line = parsed.understood.unwrap();
    assert_eq!(
        (line.push, line.tags, line.build_arguments),
        (true, strings(&["a"]), vec![("--no-label".into(), None)])
    );
}

#[test]
fn what_is_printed_is_said_by_a_value_that_buildx_does_not_have() {
    let app = Some("app".to_owned());
    for (typed, expected) in [
        ("--print", Some(Print::Plan)),
        ("--print=plan", Some(Print::Plan)),
        ("--print=flags", Some(Print::Flags)),
        ("--print=bake", Some(Print::Bake(None))),
        ("--print=bake:", Some(Print::Bake(None))),
        ("--print=bake:app", Some(Print::Bake(app.clone()))),
        ("--print=compose", Some(Print::Compose(None))),
        ("--print=compose:app", Some(Print::Compose(app))),
        ("--print=flags:app", None),
        ("--print=outline", None),
        ("--print=", None),
        ("-- --print", None),
        ("--label --print", None),
    ] {
        assert_eq!(parsed(typed).own.print, expected, "{typed}");
        let passed_on = if expected.is_some() { Vec::new() } else { words(typed) };
        assert_eq!(parsed(typed).passed_on, passed_on, "{typed}");
    }
}

#[test]
fn own_flags_that_make_no_sense_are_said() {
    for (line, problem) in [
        (". --leave", "flag needs an argument: --leave"),
        ("--leave= .", "invalid argument \"\" for \"--leave\": name an image"),
        ("--no-label=maybe .", "invalid argument \"maybe\" for \"--no-label\": write true or false"),
    ] {
        assert_eq!(parse(&words(line)).unwrap_err(), problem, "{line}");
    }
    // Beside a flag that is not known, they still count.
    let parsed = parsed("--nope --leave a .");
    assert_eq!((parsed.own.leave, parsed.passed_on), (strings(&["a"]), words("--nope .")));
}

#[test]
fn help_is_told_and_passed_on() {
    for line in ["--help", "-h", "-qh", ". --help=true", "--nope -h"] {
        assert!(parsed(line).own.help, "{line}");
        assert_eq!(parsed(line).passed_on, words(line));
    }
    for line in [".", "--label --help .", "-- --help", "--help=false ."] {
        assert!(!parsed(line).own.help, "{line}");
    }
}

#[test]
fn words_that_are_no_text_matter_only_where_they_are_read() {
    let odd = |start: &str| OsString::from_vec([start.as_bytes(), b"\xff"].concat());
    let line = [odd("--secret=id=x,src=/"), odd("--metadata-file=/"), "--push".into(), odd("/srv/")];
    let parsed = parse(&line).unwrap();
    assert_eq!(parsed.passed_on, line);
    let understood = parsed.understood.unwrap();
    assert_eq!(understood.metadata_file, Some(PathBuf::from(odd("/"))));
    assert_eq!(understood.folder(), Ok(Path::new(&odd("/srv/"))));
    let unread = parse(&[odd("--target="), ".".into()]).unwrap();
    assert_eq!(unread.passed_on, [odd("--target="), ".".into()]);
    assert_eq!(unread.understood.unwrap_err().0, "the value of --target is not UTF-8");
    assert!(parse(&[odd("--leave="), ".".into()]).is_err());
}

/// An environment of these variables.
fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
    |name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value))
}

#[test]
fn a_build_argument_without_a_value_comes_from_the_environment() {
    let line =
        understood("--build-arg A=1 --build-arg B --build-arg C --build-arg A=2 --build-arg D=x --build-arg D .");
    let arguments = line.arguments(environment(&[("B", "b"), ("A", "unseen"), ("SOURCE_DATE_EPOCH", "0")])).unwrap();
    let expected = [("A", "2"), ("B", "b"), ("D", "x"), ("SOURCE_DATE_EPOCH", "0")];
    assert_eq!(arguments, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let typed = understood("--build-arg SOURCE_DATE_EPOCH=1 .").arguments(environment(&[("SOURCE_DATE_EPOCH", "0")]));
    assert_eq!(typed.unwrap()["SOURCE_DATE_EPOCH"], "1");
    let odd = line.arguments(|name| (name == "C").then(|| OsString::from_vec(vec![0xff])));
    assert_eq!(odd.unwrap_err().0, "the value of the variable C is not UTF-8");
}

#[test]
fn the_platforms_are_the_typed_ones_then_dockers() {
    let docker = environment(&[("DOCKER_DEFAULT_PLATFORM", "linux/s390x,linux/arm64")]);
    let typed = understood("--platform linux/amd64 .");
    assert_eq!(typed.platforms(&docker), Ok(strings(&["linux/amd64"])));
    assert_eq!(plain(".").platforms(&docker), Ok(strings(&["linux/s390x", "linux/arm64"])));
    for variables in [&[("DOCKER_DEFAULT_PLATFORM", "")][..], &[]] {
        assert_eq!(plain(".").platforms(environment(variables)), Ok(Vec::new()));
    }
}
