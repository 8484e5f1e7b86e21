//! Where the Docker engine is, and a connection to it: as the docker CLI finds it.
//!
//! In order: `--context`, `--host`, the variable `DOCKER_HOST`, the variable `DOCKER_CONTEXT`, the current context of
//! `config.json`, the default socket. Nothing here knows what the engine is asked.
//! Spec: docker/cli, `cli/command/cli.go`, `resolveContextName` and `resolveDefaultDockerEndpoint`.

mod address;
mod connection;
mod context;
mod options;
mod ssh;
mod tls;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use connection::Connection;
pub use options::{EngineOptions, TlsOptions};

use self::address::Address;
use self::connection::Place;
use self::context::Context;
use self::tls::TlsFiles;
use crate::source::SourceError;
use crate::source::docker_config::{self, Environment};

/// Where an engine is.
#[derive(Clone, Debug)]
pub struct Endpoint {
    address: Address,
    tls: Option<TlsFiles>,
    shown: String,
    origin: Origin,
    /// Where other engines often are and something is, for someone who named none.
    others: Vec<PathBuf>,
    search_path: Option<OsString>,
    /// Whether nobody is there to answer a question.
    unattended: bool,
}

/// What said where the engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Flag,
    Variable,
    /// A context, with what chose it.
    Context(String, &'static str),
    Default,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    current_context: Option<String>,
}

impl Endpoint {
    /// Finds out where the engine is. Reads Docker's configuration, connects to nothing. Fails where the address cannot be one, or
    /// the context is not there.
    pub fn find(options: &EngineOptions) -> Result<Self, SourceError> {
        Self::in_environment(options, &|name| std::env::var_os(name))
    }

    fn in_environment(options: &EngineOptions, environment: Environment<'_>) -> Result<Self, SourceError> {
        let folder = docker_config::folder(options.docker_config.as_deref(), environment);
        let variable = |name: &str| {
            let value = environment(name).map(|value| value.to_string_lossy().into_owned());
            value.filter(|value| !value.is_empty())
        };
        let (host, tls, origin) = match chosen_context(options, folder.as_deref(), &variable)? {
            Some((name, by)) => {
                let Context { host, tls } = Context::read(folder.as_deref(), &name, by)?;
                (host, tls, Origin::Context(name, by))
            }
            None => {
                let tls = TlsFiles::asked_for(&options.tls, environment);
                match (options.host.clone(), variable("DOCKER_HOST")) {
                    (Some(host), _) => (host, tls, Origin::Flag),
                    (None, Some(host)) => (host, tls, Origin::Variable),
                    (None, None) => (String::new(), tls, Origin::Default),
                }
            }
        };
        let address = Address::parse(&host, tls.is_some()).map_err(|problem| {
            let message = format!("\"{}\" ({origin}) is not the address of an engine: {problem}", host.escape_debug());
            SourceError::Setting { message }
        })?;
        let others = if origin == Origin::Default { other_sockets(environment) } else { Vec::new() };
        let (shown, search_path) = (address.to_string(), environment("PATH"));
        Ok(Endpoint { address, tls, shown, origin, others, search_path, unattended: options.unattended })
    }

    /// The engine's address, as messages show it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Connects to the engine, and hears from it that it is one. Takes at most half a minute, or, by ssh, two, as ssh may ask
    /// somebody for a password; where nobody is there to be asked, it fails at once.
    pub async fn connect(&self) -> Result<Connection, SourceError> {
        let place = Place { shown: self.shown.clone(), origin: self.origin.to_string(), others: self.others.clone() };
        match &self.address {
            Address::Socket(path) => Connection::by_socket(path, place).await,
            Address::Url(url) => Connection::by_url(url, self.tls.as_ref(), place).await,
            Address::Ssh(_) if self.unattended => {
                let message = format!("{} is reached by ssh, which may ask a question", self.shown);
                Err(SourceError::Setting { message })
            }
            Address::Ssh(destination) => Connection::by_ssh(destination, self.search_path.clone(), place).await,
        }
    }
}

/// The context that counts, with what chose it; `None` where none does, or the default one, which has nothing to say.
fn chosen_context(
    options: &EngineOptions,
    folder: Option<&Path>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(String, &'static str)>, SourceError> {
    let flag = options.context.clone().filter(|name| !name.is_empty());
    let chosen = match flag {
        Some(name) => Some((name, "--context")),
        None if options.host.is_some() || variable("DOCKER_HOST").is_some() => None,
        None => match variable("DOCKER_CONTEXT") {
            Some(name) => Some((name, "DOCKER_CONTEXT")),
            None => {
                let current = docker_config::read::<ConfigFile>(folder)?.current_context;
                current.filter(|name| !name.is_empty()).map(|name| (name, "docker context use"))
            }
        },
    };
    Ok(chosen.filter(|(name, _)| name != context::DEFAULT))
}

/// The sockets of an engine without root and of podman that are there: to be named, not to be guessed at.
fn other_sockets(environment: Environment<'_>) -> Vec<PathBuf> {
    let own = environment("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let own = own.iter().flat_map(|folder| [folder.join("docker.sock"), folder.join("podman/podman.sock")]);
    own.chain([PathBuf::from("/run/podman/podman.sock")]).filter(|socket| socket.exists()).collect()
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("--host"),
            Origin::Variable => f.write_str("DOCKER_HOST"),
            Origin::Context(name, by) => write!(f, "context \"{}\" of {by}", name.escape_debug()),
            Origin::Default => f.write_str("Docker's default"),
        }
    }
}

#[cfg(test)]
mod tests;
