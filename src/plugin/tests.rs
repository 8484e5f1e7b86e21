use super::*;
use crate::source::engine::endpoint::TlsOptions;

fn parse(line: &str) -> Call {
    Call::parse(line.split(' ').map(OsString::from)).unwrap()
}

fn command(line: &str) -> Invocation {
    match parse(line) {
        Call::Command(invocation) => invocation,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_handshake_is_what_docker_wants() {
    assert_eq!(parse("docker-artifact docker-cli-plugin-metadata"), Call::Metadata);
    let metadata: serde_json::Value = serde_json::from_str(&metadata()).unwrap();
    assert_eq!(metadata["SchemaVersion"], "0.1.0");
    assert_eq!(metadata["Version"], env!("CARGO_PKG_VERSION"));
    for key in ["Vendor", "ShortDescription", "URL"] {
        assert!(metadata[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
}

#[test]
fn dockers_global_flags_stand_before_the_name() {
    let line = "docker-artifact --config /c -D --host=tcp://b -l debug --log-level=info \
                --tls --tlscacert ca --tlscert=cert --tlskey key --tlsverify=false artifact get -D IMAGE /p";
    let invocation = command(line);
    assert!(invocation.by_docker);
    assert_eq!(invocation.program(), "docker artifact");
    let file = |name: &str| Some(PathBuf::from(name));
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    let engine = EngineOptions {
        host: Some("tcp://b".to_owned()),
        context: None,
        docker_config: file("/c"),
        tls: TlsOptions { tls: Some(true), verify: Some(false), ca, cert, key },
        unattended: false,
    };
    assert_eq!(invocation.globals, Globals { debug: true, engine });
    assert_eq!(invocation.words, ["get", "-D", "IMAGE", "/p"]);
}

#[test]
fn short_flags_may_stand_together_and_carry_their_value() {
    let invocation = command("x -DHtcp://a artifact ls");
    assert_eq!((invocation.words, invocation.globals.engine.host), (vec!["ls".into()], Some("tcp://a".to_owned())));
    let invocation = command("x -c=old -Dcnew artifact ls");
    assert_eq!((invocation.words, invocation.globals.engine.context), (vec!["ls".into()], Some("new".to_owned())));
    assert!(!command("x -D=false artifact ls").globals.debug);
    assert!(command("x -ldebug artifact ls").globals.debug);
}

#[test]
fn the_program_works_under_its_own_name() {
    let invocation = command("/usr/bin/docker-artifact --config=/c get IMAGE /p");
    assert!(!invocation.by_docker);
    assert_eq!(invocation.program(), "docker-artifact");
    assert_eq!(invocation.globals.engine.docker_config, Some("/c".into()));
    assert_eq!(invocation.words, ["get", "IMAGE", "/p"]);
}

#[test]
fn help_is_asked_for_before_and_after_the_name() {
    assert_eq!(command("x help artifact get").words, ["help", "get"]);
    assert!(command("x --help artifact").by_docker);
    assert_eq!(command("x artifact --help").words, ["--help"]);
    assert_eq!(command("x --help").words, ["--help"]);
    assert!(!command("x help get").by_docker);
}

#[test]
fn a_flag_that_is_not_dockers_is_left_to_the_command() {
    assert_eq!(command("x -v").words, ["-v"]);
    assert_eq!(command("x -Dv").words, ["-Dv"]);
    assert_eq!(command("x --configs c").words, ["--configs", "c"]);
}

#[test]
fn a_global_flag_without_its_value_is_said() {
    let fails = |line: &str| Call::parse(line.split(' ').map(OsString::from)).unwrap_err();
    assert_eq!(fails("x --config"), InvalidGlobal::NoValue("--config".into()));
    assert_eq!(fails("x -Dc"), InvalidGlobal::NoValue("--context".into()));
    assert!(matches!(fails("x --tls=maybe artifact"), InvalidGlobal::NotBoolean { .. }));
}

#[test]
fn two_engines_are_one_too_many() {
    let fails = |line: &str| Call::parse(line.split(' ').map(OsString::from)).unwrap_err();
    for line in ["x -H tcp://a -H tcp://b artifact ls", "x -H tcp://a -c ctx artifact ls"] {
        assert!(matches!(fails(line), InvalidGlobal::Conflict(_)), "{line}");
    }
    assert_eq!(command("x -H tcp://a --context= artifact ls").words, ["ls"]);
}

#[test]
fn a_path_that_is_no_text_arrives_whole() {
    let words = [b"x".as_slice(), b"--config=/\xff", b"get"].map(|word| OsString::from_vec(word.to_vec()));
    let Ok(Call::Command(invocation)) = Call::parse(words) else { panic!("a command") };
    assert_eq!(invocation.globals.engine.docker_config, Some(PathBuf::from(OsString::from_vec(b"/\xff".to_vec()))));
}

#[test]
fn completion_comes_with_and_without_descriptions() {
    let unfinished = |line: &str| match parse(line) {
        Call::Complete(Unfinished { invocation, is_copy_binary, describe }) => {
            (invocation.words.join(OsStr::new(" ")), invocation.by_docker, is_copy_binary, describe)
        }
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(unfinished("x __complete artifact get --pl"), ("get --pl".into(), true, false, true));
    assert_eq!(unfinished("x __completeNoDesc artifact "), ("".into(), true, false, false));
    assert_eq!(unfinished("x __complete get "), ("get ".into(), false, false, true));
    assert_eq!(unfinished("x __complete"), ("".into(), false, false, true));
    assert_eq!(unfinished("copy_binary __complete --from=a "), ("--from=a ".into(), false, true, true));
}

#[test]
fn global_flags_before_what_is_completed_count_and_unfinished_ones_do_not() {
    let Call::Complete(line) = parse("x __complete --config /c -D artifact get ") else { panic!("a completion") };
    assert_eq!(line.invocation.globals.engine.docker_config, Some("/c".into()));
    assert_eq!(line.invocation.words, ["get", ""]);
    for words in [&["--config", "/c"][..], &["--conf"], &["-H"], &["-H", "a", "-H", "b", "get", "x"]] {
        let line = ["x", "__complete"].iter().chain(words).map(OsString::from);
        let Ok(Call::Complete(line)) = Call::parse(line) else { panic!("a completion") };
        assert_eq!(line.invocation.words, words, "{words:?}");
    }
}

#[test]
fn copy_binary_is_told_by_the_programs_name() {
    let words = ["--from=x", "/y"].map(OsString::from).to_vec();
    assert_eq!(parse("/usr/local/bin/copy_binary --from=x /y"), Call::CopyBinary(words));
}

#[tokio::test]
async fn the_end_of_dockers_socket_means_stop() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut socket = Some(connect(path.as_os_str()).unwrap());
    let (mut server, _) = listener.accept().await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut server, b"words mean nothing").await.unwrap();
    drop(server);
    closed(&mut socket).await;
    assert!(socket.is_none(), "it closes only once");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_socket_may_be_an_abstract_one() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("docker_artifact_test_{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let mut socket = Some(connect(OsStr::new(&format!("@{name}"))).unwrap());
    drop(listener.accept().unwrap());
    closed(&mut socket).await;
}
