use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use reqwest::Method;
use tempfile::TempDir;

use super::*;
use crate::source::registry::loopback::{Authority, Reply, Server};

/// A home and a runtime directory, and variables that point there.
struct Machine {
    folder: TempDir,
    variables: HashMap<&'static str, String>,
    options: EngineOptions,
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let search_path = format!("{}:/bin:/usr/bin", path("bin"));
        let variables = [("HOME", path("home")), ("XDG_RUNTIME_DIR", path("run")), ("PATH", search_path)].into();
        Machine { folder, variables, options: EngineOptions::default() }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.variables.insert(name, value.to_string());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes a context as `docker context create` does, and gives the folder of its TLS files.
    fn context(&self, name: &str, host: &str) -> String {
        let digest = crate::image::digest::Digest::of(name.as_bytes()).to_string();
        let hash = digest.strip_prefix("sha256:").unwrap();
        let meta = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
        self.write(&format!("home/.docker/contexts/meta/{hash}/meta.json"), &meta);
        format!("home/.docker/contexts/tls/{hash}/docker")
    }

    /// Puts a program on the PATH.
    fn script(&self, name: &str, content: &str) {
        let path = self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{content}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn find(&self) -> Result<Endpoint, SourceError> {
        Endpoint::in_environment(&self.options, &|name| self.variables.get(name).map(OsString::from))
    }

    /// The address that was found, and what said so.
    fn found(&self) -> String {
        let endpoint = self.find().unwrap();
        format!("{} ({})", endpoint.shown(), endpoint.origin)
    }

    async fn connect(&self) -> Result<Connection, SourceError> {
        self.find().unwrap().connect().await
    }

    async fn refused(&self) -> String {
        self.connect().await.unwrap_err().to_string()
    }
}

/// An engine on a socket, as far as this module asks it for anything.
fn engine(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            std::thread::spawn(move || {
                let (mut request, mut byte) = (Vec::new(), [0]);
                while let Ok(1) = connection.read(&mut byte) {
                    request.push(byte[0]);
                    if request.ends_with(b"\r\n\r\n") {
                        let line = String::from_utf8(request.clone()).unwrap().lines().next().unwrap().to_owned();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: {}\r\n\r\n", line.len());
                        connection.write_all((answer + &line).as_bytes()).unwrap();
                        request.clear();
                    }
                }
            });
        }
    });
}

/// What the engine hears of a request for `path`.
async fn ask(connection: &Connection, path: &str) -> String {
    connection.request(Method::GET, path).send().await.unwrap().text().await.unwrap()
}

#[test]
fn flags_come_before_variables_and_variables_before_the_current_context() {
    let mut machine = Machine::new();
    assert_eq!(machine.found(), "unix:///var/run/docker.sock (Docker's default)");
    machine.context("current", "unix:///current");
    machine.write("home/.docker/config.json", r#"{"currentContext":"current","auths":{}}"#);
    assert_eq!(machine.found(), "unix:///current (context \"current\" of docker context use)");
    machine.context("other", "tcp://other:1");
    machine = machine.with("DOCKER_CONTEXT", "other");
    assert_eq!(machine.found(), "tcp://other:1 (context \"other\" of DOCKER_CONTEXT)");
    machine = machine.with("DOCKER_HOST", "unix:///variable");
    assert_eq!(machine.found(), "unix:///variable (DOCKER_HOST)");
    machine.options.context = Some("current".to_owned());
    assert_eq!(machine.found(), "unix:///current (context \"current\" of --context)");
    // The default context is the one that the variable counts in.
    machine.options.context = Some("default".to_owned());
    assert_eq!(machine.found(), "unix:///variable (DOCKER_HOST)");
    machine.options.context = None;
    machine.options.host = Some("unix:///flag".to_owned());
    assert_eq!(machine.found(), "unix:///flag (--host)");
    machine.options.host = Some(String::new());
    assert_eq!(machine.found(), "unix:///var/run/docker.sock (--host)");
}

#[test]
fn an_empty_variable_is_none() {
    let machine = Machine::new().with("DOCKER_HOST", "").with("DOCKER_CONTEXT", "").with("DOCKER_TLS_VERIFY", "");
    assert_eq!(machine.found(), "unix:///var/run/docker.sock (Docker's default)");
}

#[test]
fn the_folder_of_contexts_is_the_configs() {
    let mut machine = Machine::new().with("DOCKER_CONTEXT", "x");
    machine.context("x", "unix:///x");
    assert_eq!(machine.found(), "unix:///x (context \"x\" of DOCKER_CONTEXT)");
    machine.options.docker_config = Some(machine.path("elsewhere"));
    assert!(machine.find().unwrap_err().to_string().contains("no Docker context \"x\""));
    std::fs::rename(machine.path("home/.docker"), machine.path("elsewhere")).unwrap();
    assert_eq!(machine.found(), "unix:///x (context \"x\" of DOCKER_CONTEXT)");
}

#[test]
fn a_context_that_is_not_there_is_told_with_those_that_are() {
    let machine = Machine::new().with("DOCKER_CONTEXT", "../../x\u{1b}[2J");
    let error = machine.find().unwrap_err();
    assert!(matches!(error, SourceError::Setting { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.ends_with(r#""../../x\u{1b}[2J" (DOCKER_CONTEXT); there is default"#), "{text}");
    machine.context("b", "unix:///b");
    machine.context("a", "unix:///a");
    assert!(machine.find().unwrap_err().to_string().ends_with("there is default, a, b"));
    for number in 0..40 {
        machine.context(&format!("c{number:02}"), "unix:///c");
    }
    let text = machine.find().unwrap_err().to_string();
    assert!(text.contains("default, a, b, c00") && text.ends_with("and 22 more"), "{text}");
}

#[test]
fn a_broken_context_is_named_and_what_is_in_it_is_not() {
    let machine = Machine::new().with("DOCKER_CONTEXT", "x");
    machine.context("x", r#"secret","#);
    let text = machine.find().unwrap_err().to_string();
    assert!(text.contains("meta.json") && text.contains("line 1") && !text.contains("secret"), "{text}");
    machine.context("x", "nonsense://x");
    let text = machine.find().unwrap_err().to_string();
    assert!(text.contains("\"nonsense://x\" (context \"x\" of DOCKER_CONTEXT)"), "{text}");
}

#[tokio::test]
async fn a_socket_is_connected_to_and_says_its_version() {
    let machine = Machine::new();
    let socket = machine.path("engine.sock");
    engine(&socket);
    let machine = machine.with("DOCKER_HOST", format!("unix://{}", socket.display())).with("HTTP_PROXY", "http://x:1");
    let connection = machine.connect().await.unwrap();
    assert_eq!(connection.api_version(), Some("1.41"));
    assert_eq!(connection.shown(), format!("unix://{}", socket.display()));
    assert_eq!(ask(&connection, "/v1.41/info?x=%2F..").await, "GET /v1.41/info?x=%2F.. HTTP/1.1");
}

#[tokio::test]
async fn without_an_engine_the_error_says_where_it_was_looked_for_and_what_else_is_there() {
    let machine = Machine::new();
    let socket = machine.path("none.sock");
    let machine = machine.with("DOCKER_HOST", format!("unix://{}", socket.display()));
    let text = machine.refused().await;
    let place = format!("the Docker engine at unix://{} (DOCKER_HOST): ", socket.display());
    assert!(text.starts_with(&place) && text.contains("there is no such socket; start the engine"), "{text}");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(machine.refused().await.contains("nobody listens on that socket"));
    // Only someone who named no engine is told of others.
    machine.write("run/podman/podman.sock", "");
    assert!(!machine.refused().await.contains("podman"));
    let mut endpoint = Machine { variables: machine.variables.clone(), ..Machine::new() };
    endpoint.variables.remove("DOCKER_HOST");
    let mut endpoint = endpoint.find().unwrap();
    endpoint.address = Address::Socket(socket.with_extension("gone"));
    let text = endpoint.connect().await.unwrap_err().to_string();
    let podman = machine.path("run/podman/podman.sock");
    assert!(text.contains(&format!("there is DOCKER_HOST=unix://{}", podman.display())), "{text}");
}

#[tokio::test]
async fn a_socket_that_is_not_for_this_user_is_a_refusal() {
    let place = Place { shown: "unix:///s".into(), origin: "DOCKER_HOST".into(), others: Vec::new() };
    let error = place.no_socket(Path::new("/s"), std::io::ErrorKind::PermissionDenied.into());
    assert!(matches!(error, SourceError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("use sudo, or have your user added to the group that owns /s"), "{error}");
}

#[tokio::test]
async fn what_answers_and_is_no_engine_is_told_so() {
    let server = Server::start(|_, _| Reply::new(404, &[], "nothing here"));
    let machine = Machine::new().with("DOCKER_HOST", format!("tcp://{}", server.address));
    assert!(machine.refused().await.contains("is not a Docker engine (404 Not Found)"));
    let tls = Server::start(|_, _| Reply::new(400, &[], "Client sent an HTTP request to an HTTPS server.\n"));
    let machine = machine.with("DOCKER_HOST", format!("tcp://{}", tls.address));
    assert!(machine.refused().await.contains("it speaks TLS; set DOCKER_TLS_VERIFY=1"));
    // A proxy that keeps this answer to itself may let others through.
    let proxy = Server::start(|_, _| Reply::status(403));
    let machine = machine.with("DOCKER_HOST", format!("tcp://{}", proxy.address));
    assert_eq!(machine.connect().await.unwrap().api_version(), None);
}

#[tokio::test]
async fn no_proxy_is_asked_and_no_redirect_followed() {
    let proxy = Server::start(|_, _| Reply::ok("not for me"));
    let away = proxy.url("/_ping");
    let server = Server::start(move |_, _| Reply::new(307, &[("Location", &away), ("Api-Version", "1.41")], ""));
    let machine = Machine::new().with("DOCKER_HOST", format!("tcp://{}", server.address));
    machine.with("http_proxy", proxy.url("")).connect().await.unwrap();
    assert_eq!(server.paths(), ["GET /_ping"]);
    assert!(proxy.received().is_empty());
}

/// An engine that wants a client certificate, and a machine with the files for it in the folder `tls`.
fn mutual(folder: &str) -> (Server, Machine) {
    let authority = Authority::new();
    let server = Server::start_tls(authority.server(true), |_, _| Reply::new(200, &[("Api-Version", "1.41")], "OK"));
    let machine = Machine::new().with("DOCKER_HOST", format!("tcp://{}", server.address));
    let (certificate, key) = authority.sign("client");
    machine.write(&format!("{folder}/ca.pem"), &authority.certificate.pem());
    machine.write(&format!("{folder}/cert.pem"), &certificate.pem());
    machine.write(&format!("{folder}/key.pem"), &key.serialize_pem());
    (server, machine)
}

#[tokio::test]
async fn tls_takes_the_files_of_dockers_variables_and_of_its_flags() {
    let (server, machine) = mutual("certificates");
    let folder = machine.path("certificates");
    let machine = machine.with("DOCKER_TLS_VERIFY", "1").with("DOCKER_CERT_PATH", folder.display());
    assert_eq!(machine.connect().await.unwrap().api_version(), Some("1.41"));
    let mut machine = machine.with("DOCKER_TLS_VERIFY", "").with("DOCKER_CERT_PATH", "");
    let file = |name: &str| Some(folder.join(name));
    machine.options.tls =
        TlsOptions { tls: None, verify: Some(true), ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem") };
    machine.connect().await.unwrap();
    // Any certificate will do where it is not to be checked.
    machine.options.tls.verify = Some(false);
    machine.options.tls.ca = None;
    machine.connect().await.unwrap();
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn a_context_has_its_own_tls_files() {
    let (server, machine) = mutual("spare");
    let folder = machine.context("x", &format!("tcp://{}", server.address));
    let machine = machine.with("DOCKER_HOST", "").with("DOCKER_CONTEXT", "x");
    assert!(machine.find().unwrap().tls.is_none());
    std::fs::create_dir_all(machine.path(&folder).parent().unwrap()).unwrap();
    std::fs::rename(machine.path("spare"), machine.path(&folder)).unwrap();
    machine.connect().await.unwrap();
}

#[tokio::test]
async fn an_engine_that_another_ca_vouches_for_is_not_trusted() {
    let (server, machine) = mutual("certificates");
    let machine = machine.with("DOCKER_TLS_VERIFY", "1");
    let folder = machine.path("certificates");
    let machine = machine.with("DOCKER_CERT_PATH", folder.display());
    machine.write("certificates/ca.pem", &Authority::new().certificate.pem());
    let text = machine.refused().await;
    assert!(text.contains("certificate is not trusted") && text.contains("certificates/ca.pem"), "{text}");
    assert!(server.received().is_empty());
    for (file, content) in [("ca.pem", "nonsense"), ("cert.pem", "nonsense"), ("key.pem", "nonsense")] {
        let (_server, machine) = mutual("certificates");
        let folder = machine.path("certificates");
        let machine = machine.with("DOCKER_TLS_VERIFY", "1").with("DOCKER_CERT_PATH", folder.display());
        machine.write(&format!("certificates/{file}"), content);
        let error = machine.connect().await.unwrap_err();
        assert!(matches!(error, SourceError::Credentials { .. }) && error.to_string().contains(file), "{error}");
        // Where the certificate is to be checked, there is no falling back on other roots.
        std::fs::remove_file(machine.path("certificates/ca.pem")).unwrap();
        assert!(machine.refused().await.contains("ca.pem"));
    }
}

#[tokio::test]
async fn ssh_runs_dockers_own_command_there_and_speaks_http_through_it() {
    let machine = Machine::new().with("DOCKER_HOST", "ssh://me@host.test:2222");
    // Answers each request as an engine does, with the arguments it was run with.
    machine.script(
        "ssh",
        r#"args="$*"
while read -r line; do
    if [ "$line" = "$(printf '\r')" ]; then
        printf 'HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: %s\r\n\r\n%s' "${#args}" "$args"
    fi
done"#,
    );
    let connection = machine.connect().await.unwrap();
    assert_eq!(connection.api_version(), Some("1.41"));
    let arguments = "-o ConnectTimeout=30 -T -l me -p 2222 -- host.test docker system dial-stdio";
    assert_eq!(ask(&connection, "/info").await, arguments);
    assert_eq!(ask(&connection, "/info").await, arguments);
}

#[tokio::test]
async fn what_ssh_says_is_in_the_error() {
    let machine = Machine::new().with("DOCKER_HOST", "ssh://host.test");
    machine.script("ssh", r"printf 'Permission denied\033[2J (publickey).\n' >&2; exit 255");
    let text = machine.refused().await;
    let expected = "the Docker engine at ssh://host.test (DOCKER_HOST): ssh: Permission denied[2J (publickey).; check";
    assert!(text.starts_with(expected), "{text}");
    machine.script("ssh", "exit 127");
    assert!(machine.refused().await.contains("ssh ended with exit status: 127, and did not say why"));
    let nowhere = machine.path("empty").display().to_string();
    assert!(machine.with("PATH", nowhere).refused().await.contains("ssh cannot be started"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_socket_of_a_tunnel_is_nowhere_on_the_disk() {
    let Ok(Address::Ssh(destination)) = Address::parse("ssh://host.test", false) else { panic!("an address") };
    let tunnel = ssh::Tunnel::open(&destination, None).unwrap();
    assert!(tunnel.socket().starts_with("/proc/self/fd"));
    let target = std::fs::read_link(tunnel.socket()).unwrap();
    assert!(!target.exists() && !target.parent().unwrap().exists(), "{}", target.display());
}
