//! The credentials for a registry, found where the docker CLI finds them.
//!
//! In order: the variable `DOCKER_AUTH_CONFIG`, the credential helper that `config.json` names for the registry
//! (`credHelpers`, else `credsStore`), the file's own `auths`. None at all means anonymous and is no error; a file or a helper
//! that is broken is one, and names what is broken, never what is in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use oci_distribution::secrets::RegistryAuth;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::fault::printable;
use crate::source::SourceError;

/// Looks up an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The key that `docker login` stores Docker Hub's credentials under, from the days of the registry's first protocol.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
const AUTH_VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// How to show a registry who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// What registries take directly: nothing, name and password, or a token.
    Direct(RegistryAuth),
    /// A token that the token server exchanges for one that the registry takes.
    Identity(IdentityToken),
}

/// An OAuth2 refresh token. Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct IdentityToken(pub String);

impl std::fmt::Debug for IdentityToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<redacted>")
    }
}

/// Credentials and where they came from.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// What to show.
    pub login: Login,
    /// The file, helper or variable that held it; for an anonymous login, where it would have been.
    pub origin: String,
}

/// Docker's configuration, as far as it is about credentials.
#[derive(Debug)]
pub(super) struct DockerConfig {
    /// The folder of `config.json`, where one is known.
    pub folder: Option<PathBuf>,
    file: ConfigFile,
    variable: Option<ConfigFile>,
    search_path: Option<OsString>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    // Entries are decoded when asked for: a broken one for another registry does no harm.
    auths: Option<BTreeMap<String, Value>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

impl DockerConfig {
    /// Reads `config.json` in `folder`, else in `DOCKER_CONFIG`, else in `~/.docker`. A file that is not there is an
    /// empty one.
    pub fn load(folder: Option<&Path>, environment: Environment<'_>) -> Result<Self, SourceError> {
        let from_variable = || environment("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let from_home = || dirs::home_dir().map(|home| home.join(".docker"));
        let folder = folder.map(Path::to_owned).or_else(from_variable).or_else(from_home);
        let file = match &folder {
            Some(folder) => read_file(&folder.join("config.json"))?,
            None => ConfigFile::default(),
        };
        let variable = match environment(AUTH_VARIABLE).filter(|json| !json.is_empty()) {
            Some(json) => Some(parse(&json.to_string_lossy(), &format!("the variable {AUTH_VARIABLE}"))?),
            None => None,
        };
        Ok(DockerConfig { folder, file, variable, search_path: environment("PATH") })
    }

    /// The credentials for `registry`, a reference's host with an optional port.
    pub async fn lookup(&self, registry: &str) -> Result<Credentials, SourceError> {
        let is_docker_hub = DOCKER_HUB_HOSTS.contains(&registry);
        let key = if is_docker_hub { DOCKER_HUB_KEY } else { registry };
        let names: &[&str] = if is_docker_hub { &DOCKER_HUB_HOSTS } else { &[registry] };
        if let Some(variable) = &self.variable
            && let Some(login) = variable.login(key, names, &format!("the variable {AUTH_VARIABLE}"))?
        {
            return Ok(Credentials { login, origin: format!("the variable {AUTH_VARIABLE}") });
        }
        let file = match &self.folder {
            Some(folder) => folder.join("config.json").display().to_string(),
            None => "the Docker config".to_owned(),
        };
        // A registry's own helper may be the empty string: this registry's credentials are in the file.
        let own_helper = self.file.cred_helpers.as_ref().and_then(|helpers| helpers.get(key));
        let helper = own_helper.or(self.file.creds_store.as_ref()).filter(|helper| !helper.is_empty());
        if let Some(helper) = helper {
            let program = format!("docker-credential-{helper}");
            let login = self.ask_helper(&program, key, &file).await?;
            return Ok(Credentials { login, origin: format!("{program} (named in {file})") });
        }
        let login = self.file.login(key, names, &file)?.unwrap_or(Login::Direct(RegistryAuth::Anonymous));
        Ok(Credentials { login, origin: file })
    }

    /// Runs a credential helper: Docker's protocol is the server on its standard input, JSON on its standard output.
    async fn ask_helper(&self, program: &str, server: &str, file: &str) -> Result<Login, SourceError> {
        let broken = |problem: &str| {
            let message = format!("the credential helper {program} (named in {file}) {problem}");
            Err(SourceError::Credentials { message })
        };
        let mut command = Command::new(program);
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        if let Some(path) = &self.search_path {
            command.env("PATH", path);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return broken("is not installed; install it, or take its name out of the file");
            }
            Err(error) => return broken(&format!("cannot be started: {error}")),
        };
        if let Some(mut input) = child.stdin.take() {
            // A helper that answers without reading closes the pipe early, and is in its right.
            let _ = input.write_all(server.as_bytes()).await;
        }
        let output = match child.wait_with_output().await {
            Ok(output) => output,
            Err(error) => return broken(&format!("failed: {error}")),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            if text.contains("credentials not found in native keychain") {
                return Ok(Login::Direct(RegistryAuth::Anonymous));
            }
            return broken(&format!("failed ({}): {}", output.status, printable(&text)));
        }
        match serde_json::from_str(&text) {
            Ok(HelperAnswer { username, secret }) if username == "<token>" => {
                Ok(Login::Identity(IdentityToken(secret)))
            }
            Ok(HelperAnswer { username, secret }) if username.is_empty() && secret.is_empty() => {
                Ok(Login::Direct(RegistryAuth::Anonymous))
            }
            Ok(HelperAnswer { username, secret }) => Ok(Login::Direct(RegistryAuth::Basic(username, secret))),
            // serde's message may quote the input, and the input is secret.
            Err(_) => broken("answered something that is not a credential"),
        }
    }
}

impl ConfigFile {
    fn login(&self, key: &str, names: &[&str], origin: &str) -> Result<Option<Login>, SourceError> {
        let Some(auths) = &self.auths else { return Ok(None) };
        let by_name = || auths.iter().find(|(entry, _)| names.contains(&host_of(entry)));
        let Some((entry, value)) = auths.get_key_value(key).or_else(by_name) else { return Ok(None) };
        let broken = |problem: &str| SourceError::Credentials {
            message: format!("{origin}: the entry for {} {problem}; run: docker login", printable(entry)),
        };
        let entry: AuthEntry = serde_json::from_value(value.clone())
            .map_err(|_| broken("is not of the shape that docker login writes"))?;
        let given = |field: Option<String>| field.filter(|text| !text.is_empty());
        if let Some(token) = given(entry.registrytoken) {
            return Ok(Some(Login::Direct(RegistryAuth::Bearer(token))));
        }
        if let Some(token) = given(entry.identitytoken) {
            return Ok(Some(Login::Identity(IdentityToken(token))));
        }
        let (user, password) = match given(entry.auth) {
            Some(auth) => {
                decode_auth(&auth).ok_or_else(|| broken("has an \"auth\" that is not base64 of user:password"))?
            }
            None => match (given(entry.username), entry.password) {
                (Some(user), password) => (user, password.unwrap_or_default()),
                // Where a helper keeps the secret, the file has an empty entry to say that there is one.
                (None, _) => return Ok(None),
            },
        };
        Ok(Some(Login::Direct(RegistryAuth::Basic(user, password))))
    }
}

/// `user:password`, in base64 with or without padding.
fn decode_auth(auth: &str) -> Option<(String, String)> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&STANDARD, config).decode(auth.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    // Docker's own store once padded passwords with NUL bytes.
    (!user.is_empty()).then(|| (user.to_owned(), password.trim_matches('\0').to_owned()))
}

/// The host (and port) of an entry's key, which may be a URL or have a path.
fn host_of(key: &str) -> &str {
    let without_scheme = key.split_once("://").map_or(key, |(_, rest)| rest);
    without_scheme.split_once('/').map_or(without_scheme, |(host, _)| host)
}

fn read_file(path: &Path) -> Result<ConfigFile, SourceError> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(ConfigFile::default()),
        Ok(text) => parse(&text, &path.display().to_string()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(ConfigFile::default())
        }
        Err(error) => Err(SourceError::Credentials { message: format!("{} cannot be read: {error}", path.display()) }),
    }
}

fn parse(text: &str, origin: &str) -> Result<ConfigFile, SourceError> {
    serde_json::from_str(text).map_err(|error| SourceError::Credentials {
        // Where it is wrong, not what is there: serde's own message may quote a secret.
        message: format!(
            "{origin} is not a Docker config: not valid JSON of its shape at line {}, column {}",
            error.line(),
            error.column()
        ),
    })
}
