//! Where an engine listens, in the words of the docker CLI: `unix://PATH`, `tcp://HOST:PORT`, `ssh://[USER@]HOST[:PORT][/SOCKET]`.
//!
//! Spec: docker/cli, `opts/hosts.go` and `cli/connhelper/ssh`.

use std::fmt;
use std::path::PathBuf;

use reqwest::Url;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The ports of an engine without TLS and of one with it.
const PORTS: [u16; 2] = [2375, 2376];

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Socket(PathBuf),
    /// HTTP at this URL, with or without TLS, as its scheme says.
    Url(Url),
    /// The engine of a machine that is reached by ssh.
    Ssh(Destination),
}

/// A machine that is reached by ssh. Each part is a word that neither ssh nor a shell takes for anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// Who logs in, where it is not whom ssh's own configuration says.
    pub user: Option<String>,
    /// The machine, by a name that ssh knows.
    pub host: String,
    /// The port of its ssh server.
    pub port: Option<u16>,
    /// The engine's socket there, where it is not the one that `docker` uses there.
    pub socket: Option<String>,
}

impl Address {
    /// Reads an address; an empty one is the default. `over_tls` says whether TLS is set up for it. The error says what is wrong
    /// with the address, and what to write.
    pub fn parse(text: &str, over_tls: bool) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            _ if text.is_empty() && over_tls => ("tcp", ""),
            _ if text.is_empty() => ("unix", ""),
            Some(parts) => parts,
            None => ("tcp", text),
        };
        match scheme {
            "unix" if rest.is_empty() => Ok(Address::Socket(DEFAULT_SOCKET.into())),
            "unix" => Ok(Address::Socket(rest.into())),
            "tcp" | "http" => url(rest, over_tls).map(Address::Url),
            "https" => url(rest, true).map(Address::Url),
            "ssh" => Destination::parse(text).map(Address::Ssh),
            "npipe" => Err("npipe:// is a Windows pipe; use unix://, tcp:// or ssh://".to_owned()),
            "fd" => Err("fd:// is where an engine listens, not where it is reached; use unix://".to_owned()),
            _ => Err("write unix://PATH, tcp://HOST:PORT or ssh://USER@HOST".to_owned()),
        }
    }
}

/// The URL of an engine at `rest`, which is `[HOST][:PORT][/PATH]`.
fn url(rest: &str, over_tls: bool) -> Result<Url, String> {
    let scheme = if over_tls { "https" } else { "http" };
    let host = if rest.is_empty() || rest.starts_with([':', '/']) { "localhost" } else { "" };
    let invalid = |problem: String| format!("it is not of the form tcp://HOST:PORT: {problem}");
    let mut url = Url::parse(&format!("{scheme}://{host}{rest}")).map_err(|error| invalid(error.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("it contains a ? or a #".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it contains a user name, which an engine does not ask for".to_owned()));
    }
    // A port that is the scheme's own is left out of a URL, and may have been written all the same.
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
    let has_port = after_host.split_once(':').is_some_and(|(_, port)| !port.is_empty());
    if url.port().is_none() && !has_port {
        let _ = url.set_port(Some(PORTS[usize::from(over_tls)]));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

impl Destination {
    fn parse(text: &str) -> Result<Self, String> {
        let invalid = |problem: &str| format!("it is not of the form ssh://[USER@]HOST[:PORT][/SOCKET]: {problem}");
        let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
        if url.password().is_some() {
            return Err(invalid("it contains a password; leave it out, and ssh asks for it or takes a key"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it contains a ? or a #"));
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(invalid("it has no host"));
        }
        let user = Some(url.username().to_owned()).filter(|user| !user.is_empty());
        let socket = Some(url.path().to_owned()).filter(|path| !path.trim_matches('/').is_empty());
        for (what, word) in [("user", user.as_deref()), ("host", Some(&*host)), ("socket", socket.as_deref())] {
            let Some(word) = word else { continue };
            // ssh would take it for an option; a name as short as this has been used to run commands.
            if word.starts_with('-') {
                return Err(invalid(&format!("its {what} begins with -")));
            }
            // The other side's shell reads the socket's name; `%` is ssh's, and what a URL cannot hold otherwise.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@+/".contains(c);
            if !word.chars().all(is_plain) {
                return Err(invalid(&format!("its {what} may only contain letters, digits and - _ . : @ + /")));
            }
        }
        Ok(Destination { user, host, port: url.port(), socket })
    }

    /// What `ssh` is told: to run, at the other machine, what joins its standard input and output to the engine's socket.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
        if let Some(user) = &self.user {
            add(&["-l", user]);
        }
        if let Some(port) = self.port {
            add(&["-p", &port.to_string()]);
        }
        add(&["--", &self.host, "docker"]);
        if let Some(socket) = &self.socket {
            add(&["--host", &format!("unix://{socket}")]);
        }
        add(&["system", "dial-stdio"]);
        arguments
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "unix://{}", path.display()),
            Address::Url(url) => {
                let host = url.host_str().unwrap_or_default();
                let port = url.port_or_known_default().unwrap_or_default();
                write!(f, "tcp://{host}:{port}{}", url.path().trim_end_matches('/'))
            }
            Address::Ssh(Destination { user, host, port, socket }) => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                if host.contains(':') {
                    write!(f, "[{host}]")?
                } else {
                    f.write_str(host)?
                }
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                f.write_str(socket.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_docker_reads_it() {
        for (text, over_tls, expected) in [
            ("", false, "unix:///var/run/docker.sock"),
            (" \n", false, "unix:///var/run/docker.sock"),
            ("", true, "tcp://localhost:2376"),
            ("unix://", false, "unix:///var/run/docker.sock"),
            ("unix:///run/user/1000/docker.sock", false, "unix:///run/user/1000/docker.sock"),
            ("unix:///run/user/1000/docker.sock", true, "unix:///run/user/1000/docker.sock"),
            ("unix://relative/x", false, "unix://relative/x"),
            ("tcp://", false, "tcp://localhost:2375"),
            ("tcp://:1", false, "tcp://localhost:1"),
            ("tcp://h.test", false, "tcp://h.test:2375"),
            ("tcp://h.test", true, "tcp://h.test:2376"),
            ("tcp://h.test:", false, "tcp://h.test:2375"),
            ("tcp://h.test:80", false, "tcp://h.test:80"),
            ("tcp://h.test:443/a/", true, "tcp://h.test:443/a"),
            ("tcp://[::1]:1", false, "tcp://[::1]:1"),
            ("tcp://[::1]", false, "tcp://[::1]:2375"),
            ("127.0.0.1:1", false, "tcp://127.0.0.1:1"),
            ("h", false, "tcp://h:2375"),
            ("http://h.test:1", false, "tcp://h.test:1"),
            ("https://h.test:1", false, "tcp://h.test:1"),
            ("ssh://h", false, "ssh://h"),
            ("ssh://me@h.test:22/run/x.sock", false, "ssh://me@h.test:22/run/x.sock"),
            ("ssh://[::1]/", false, "ssh://[::1]"),
        ] {
            assert_eq!(Address::parse(text, over_tls).unwrap().to_string(), expected, "{text}");
        }
        let scheme = |text, over_tls| match Address::parse(text, over_tls) {
            Ok(Address::Url(url)) => url.scheme().to_owned(),
            other => panic!("{text}: {other:?}"),
        };
        // What TLS is set up for is never spoken to without it.
        assert_eq!((scheme("tcp://h", false), scheme("tcp://h", true)), ("http".to_owned(), "https".to_owned()));
        assert_eq!((scheme("https://h", false), scheme("http://h", true)), ("https".to_owned(), "https".to_owned()));
    }

    #[test]
    fn what_is_no_address_of_an_engine_is_told_why() {
        for (text, expected) in [
            ("npipe:////./pipe/docker_engine", "a Windows pipe"),
            ("fd://", "where an engine listens"),
            ("UNIX:///x", "write unix://PATH"),
            ("foo://x", "write unix://PATH"),
            ("tcp://h:99999", "tcp://HOST:PORT"),
            ("tcp://me:secret@h:1", "it contains a user name"),
            ("tcp://h:1?x", "? or a #"),
            ("ssh://", "ssh://[USER@]HOST"),
            ("ssh://me:secret@h", "it contains a password"),
            ("ssh://h?x=1", "? or a #"),
            ("ssh://-oProxyCommand=x", "begins with -"),
            ("ssh://-oX@h", "begins with -"),
            ("ssh://h/run/x;reboot", "its socket may only contain letters"),
            ("ssh://h/$(reboot)", "its socket may only contain letters"),
            ("ssh://a%20b@h", "its user may only contain letters"),
        ] {
            let problem = Address::parse(text, false).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("secret"), "{text}: {problem}");
        }
    }

    #[test]
    fn ssh_is_told_what_docker_tells_it() {
        let arguments = |text| match Address::parse(text, false) {
            Ok(Address::Ssh(destination)) => destination.arguments().join(" "),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(arguments("ssh://h"), "-o ConnectTimeout=30 -T -- h docker system dial-stdio");
        assert_eq!(
            arguments("ssh://me@h:22/run/x.sock"),
            "-o ConnectTimeout=30 -T -l me -p 22 -- h docker --host unix:///run/x.sock system dial-stdio"
        );
        assert_eq!(arguments("ssh://[::1]/"), "-o ConnectTimeout=30 -T -- ::1 docker system dial-stdio");
    }
}
