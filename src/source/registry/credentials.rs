//! The credentials for a registry, found where the docker CLI finds them.
//!
//! In order: the variable `DOCKER_AUTH_CONFIG`, the credential helper that `config.json` names for the registry
//! (`credHelpers`, else `credsStore`), the file's own `auths`. None at all means anonymous and is no error, and neither is a
//! helper that is not installed, as on a machine that was given another's file; a file or a helper that is broken is one, and
//! names what is broken, never what is in it.

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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::source::SourceError;
use crate::source::docker_config::{self, Environment};
use crate::source::http::shown::printable;

/// The key that `docker login` stores Docker Hub's credentials under, from the days of the registry's first protocol.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
const AUTH_VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// No name and token are longer than this many bytes; the largest tokens have some kilobytes.
const MAX_ANSWER: u64 = 1 << 20;

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
    /// Whether `origin` is a helper that is not installed, so that nobody knows what it would have said.
    pub is_missing: bool,
}

/// Docker's configuration, as far as it is about credentials.
#[derive(Debug)]
pub(super) struct DockerConfig {
    /// The folder of `config.json`, where one is known.
    pub folder: Option<PathBuf>,
    file: ConfigFile,
    variable: Option<ConfigFile>,
    search_path: Option<OsString>,
    /// Whether credential helpers are started.
    pub starts_helpers: bool,
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
        let folder = docker_config::folder(folder, environment);
        let file = docker_config::read(folder.as_deref())?;
        let variable = match environment(AUTH_VARIABLE).filter(|json| !json.is_empty()) {
            Some(json) => {
                Some(docker_config::parse(&json.to_string_lossy(), &format!("the variable {AUTH_VARIABLE}"))?)
            }
            None => None,
        };
        Ok(DockerConfig { folder, file, variable, search_path: environment("PATH"), starts_helpers: true })
    }

    /// The credentials for `registry`, a reference's host with an optional port. Where no helper is started, the file's own.
    pub async fn lookup(&self, registry: &str) -> Result<Credentials, SourceError> {
        let is_docker_hub = DOCKER_HUB_HOSTS.contains(&registry);
        let key = if is_docker_hub { DOCKER_HUB_KEY } else { registry };
        let names: &[&str] = if is_docker_hub { &DOCKER_HUB_HOSTS } else { &[registry] };
        if let Some(variable) = &self.variable
            && let Some(login) = variable.login(key, names, &format!("the variable {AUTH_VARIABLE}"))?
        {
            return Ok(Credentials { login, origin: format!("the variable {AUTH_VARIABLE}"), is_missing: false });
        }
        let file = match &self.folder {
            Some(folder) => folder.join("config.json").display().to_string(),
            None => "the Docker config".to_owned(),
        };
        // A registry's own helper may be the empty string: this registry's credentials are in the file.
        let own_helper = self.file.cred_helpers.as_ref().and_then(|helpers| helpers.get(key));
        let helper = own_helper.or(self.file.creds_store.as_ref()).filter(|helper| !helper.is_empty());
        let helper = helper.filter(|_| self.starts_helpers);
        if let Some(helper) = helper {
            let program = format!("docker-credential-{helper}");
            let answer = self.ask_helper(&program, key, &file).await?;
            let (is_missing, anonymous) = (answer.is_none(), Login::Direct(RegistryAuth::Anonymous));
            let origin = format!("{program} (named in {file})");
            return Ok(Credentials { login: answer.unwrap_or(anonymous), origin, is_missing });
        }
        let login = self.file.login(key, names, &file)?.unwrap_or(Login::Direct(RegistryAuth::Anonymous));
        Ok(Credentials { login, origin: file, is_missing: false })
    }

    /// Runs a credential helper: Docker's protocol is the server on its standard input, JSON on its standard output. `None` where
    /// there is no such program.
    async fn ask_helper(&self, program: &str, server: &str, file: &str) -> Result<Option<Login>, SourceError> {
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
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return broken(&format!("cannot be started: {error}")),
        };
        if let Some(mut input) = child.stdin.take() {
            // A helper that answers without reading closes the pipe early, and is in its right.
            let _ = input.write_all(server.as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(output) = child.stdout.take()
            && let Err(error) = output.take(MAX_ANSWER + 1).read_to_end(&mut answer).await
        {
            return broken(&format!("failed: {error}"));
        }
        if answer.len() as u64 > MAX_ANSWER {
            // It is killed as it is dropped.
            return broken("answered with more than 1 MiB, which is not a credential");
        }
        let status = match child.wait().await {
            Ok(status) => status,
            Err(error) => return broken(&format!("failed: {error}")),
        };
        let text = String::from_utf8_lossy(&answer);
        if !status.success() {
            if text.contains("credentials not found in native keychain") {
                return Ok(Some(Login::Direct(RegistryAuth::Anonymous)));
            }
            return broken(&match printable(&text) {
                said if said.is_empty() => format!("failed ({status}), and did not say why"),
                said => format!("failed ({status}): {said}"),
            });
        }
        match serde_json::from_str(&text) {
            Ok(HelperAnswer { username, secret }) if username == "<token>" => {
                Ok(Some(Login::Identity(IdentityToken(secret))))
            }
            Ok(HelperAnswer { username, secret }) if username.is_empty() && secret.is_empty() => {
                Ok(Some(Login::Direct(RegistryAuth::Anonymous)))
            }
            Ok(HelperAnswer { username, secret }) => Ok(Some(Login::Direct(RegistryAuth::Basic(username, secret)))),
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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn basic(user: &str, password: &str) -> Login {
        Login::Direct(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
    }

    const ANONYMOUS: Login = Login::Direct(RegistryAuth::Anonymous);

    async fn look_up(json: &str, registry: &str) -> Result<Credentials, SourceError> {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        DockerConfig::load(Some(folder.path()), &|_| None)?.lookup(registry).await
    }

    async fn login(json: &str, registry: &str) -> Login {
        look_up(json, registry).await.unwrap().login
    }

    /// The login that a helper program with this shell script as its body leads to.
    async fn ask(script: &str) -> Result<Credentials, SourceError> {
        let folder = TempDir::new().unwrap();
        let program = folder.path().join("docker-credential-test");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{"credsStore":"test","auths":{"r.test":{}}}"#).unwrap();
        let path = format!("{}:/bin:/usr/bin", folder.path().display());
        let environment = |name: &str| (name == "PATH").then(|| OsString::from(&path));
        DockerConfig::load(Some(folder.path()), &environment).unwrap().lookup("r.test").await
    }

    #[tokio::test]
    async fn an_entry_may_hold_a_password_or_a_token() {
        // "user:pa:ss", with padding and without.
        for (entry, expected) in [
            (r#"{"auth":"dXNlcjpwYTpzcw=="}"#, basic("user", "pa:ss")),
            (r#"{"auth":"dXNlcjpwYTpzcw"}"#, basic("user", "pa:ss")),
            (r#"{"username":"user","password":"pa:ss"}"#, basic("user", "pa:ss")),
            (r#"{"auth":"dXNlcjpw","identitytoken":"id"}"#, Login::Identity(IdentityToken("id".to_owned()))),
            (r#"{"registrytoken":"reg"}"#, Login::Direct(RegistryAuth::Bearer("reg".to_owned()))),
            ("{}", ANONYMOUS),
        ] {
            assert_eq!(login(&format!(r#"{{"auths":{{"r.test:5000":{entry}}}}}"#), "r.test:5000").await, expected);
        }
    }

    #[tokio::test]
    async fn a_key_may_have_a_scheme_and_a_path_and_the_exact_one_wins() {
        for key in ["r.test", "https://r.test", "https://r.test/v1/", "http://r.test/v2/", "r.test/team"] {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dXNlcjpw"}},"r.test.evil":{{"auth":"eDp5"}}}}}}"#);
            assert_eq!(login(&json, "r.test").await, basic("user", "p"), "{key}");
            assert_eq!(login(&json, "r.test:5000").await, ANONYMOUS, "{key}");
        }
        let both = r#"{"auths":{"https://r.test/v1/":{"auth":"eDp5"},"r.test":{"auth":"dXNlcjpw"}}}"#;
        assert_eq!(login(both, "r.test").await, basic("user", "p"));
    }

    #[tokio::test]
    async fn docker_hub_has_its_own_key() {
        for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io"] {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dXNlcjpw"}}}}}}"#);
            assert_eq!(login(&json, "docker.io").await, basic("user", "p"), "{key}");
        }
    }

    #[tokio::test]
    async fn no_file_no_entry_and_an_empty_file_mean_anonymous() {
        let nowhere = DockerConfig::load(Some(Path::new("/nonexistent/docker")), &|_| None).unwrap();
        let credentials = nowhere.lookup("r.test").await.unwrap();
        assert_eq!(credentials.login, ANONYMOUS);
        assert_eq!(credentials.origin, "/nonexistent/docker/config.json");
        assert_eq!(login("", "r.test").await, ANONYMOUS);
        assert_eq!(login(r#"{"auths":null,"HttpHeaders":{}}"#, "r.test").await, ANONYMOUS);
    }

    #[tokio::test]
    async fn a_broken_file_is_named_and_its_secrets_are_not() {
        for json in [r#"{"auths":{"r.test":{"auth":"c2VjcmV0OnNlY3JldA=="}}"#, r#"{"auths":"secret"}"#] {
            let error = look_up(json, "r.test").await.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, SourceError::Credentials { .. }), "{text}");
            assert!(text.contains("config.json is not a Docker config") && !text.contains("secret"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_broken_entry_matters_only_to_its_own_registry() {
        for entry in [r#"{"auth":"secret!"}"#, r#"{"auth":"c2VjcmV0"}"#, r#""secret""#, r#"{"auth":"OnNlY3JldA=="}"#] {
            let json = format!(r#"{{"auths":{{"r.test":{entry}}}}}"#);
            let text = look_up(&json, "r.test").await.unwrap_err().to_string();
            assert!(text.contains("config.json: the entry for r.test") && !text.contains("secret"), "{text}");
            assert_eq!(login(&json, "other.test").await, ANONYMOUS);
        }
    }

    #[tokio::test]
    async fn the_folder_is_the_given_one_or_the_variables() {
        let (given, variable) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        std::fs::write(given.path().join("config.json"), r#"{"auths":{"r.test":{"auth":"Z2l2ZW46cA=="}}}"#).unwrap();
        std::fs::write(variable.path().join("config.json"), r#"{"auths":{"r.test":{"auth":"dmFyOnA="}}}"#).unwrap();
        let environment = |name: &str| (name == "DOCKER_CONFIG").then(|| variable.path().into());
        let config = DockerConfig::load(Some(given.path()), &environment).unwrap();
        assert_eq!(config.lookup("r.test").await.unwrap().login, basic("given", "p"));
        let config = DockerConfig::load(None, &environment).unwrap();
        assert_eq!(config.lookup("r.test").await.unwrap().login, basic("var", "p"));
        assert_eq!(config.folder.as_deref(), Some(variable.path()));
    }

    #[tokio::test]
    async fn the_auth_variable_comes_before_the_file_and_the_helper() {
        let folder = TempDir::new().unwrap();
        let json = r#"{"auths":{"b.test":{"auth":"ZmlsZTpw"}},"credHelpers":{"a.test":"not-installed"}}"#;
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        let variable = |json: &'static str| move |name: &str| (name == AUTH_VARIABLE).then(|| OsString::from(json));
        let environment = variable(r#"{"auths":{"a.test":{"auth":"dmFyOnA="}}}"#);
        let config = DockerConfig::load(Some(folder.path()), &environment).unwrap();
        let credentials = config.lookup("a.test").await.unwrap();
        assert_eq!(credentials.login, basic("var", "p"));
        assert_eq!(credentials.origin, "the variable DOCKER_AUTH_CONFIG");
        assert_eq!(config.lookup("b.test").await.unwrap().login, basic("file", "p"));
        let error = DockerConfig::load(Some(folder.path()), &variable("{")).unwrap_err().to_string();
        assert!(error.contains("the variable DOCKER_AUTH_CONFIG is not a Docker config"), "{error}");
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_the_server() {
        let script = r#"test "$1" = get && printf '{"ServerURL":"x","Username":"u","Secret":"%s"}' "$(cat)""#;
        let credentials = ask(script).await.unwrap();
        assert_eq!(credentials.login, basic("u", "r.test"));
        assert!(credentials.origin.starts_with("docker-credential-test (named in "), "{}", credentials.origin);
    }

    #[tokio::test]
    async fn a_helpers_token_user_means_an_identity_token() {
        let script = r#"echo '{"ServerURL":"x","Username":"<token>","Secret":"id"}'"#;
        assert_eq!(ask(script).await.unwrap().login, Login::Identity(IdentityToken("id".to_owned())));
    }

    #[tokio::test]
    async fn a_helper_without_credentials_means_anonymous() {
        let script = "echo credentials not found in native keychain; exit 1";
        assert_eq!(ask(script).await.unwrap().login, ANONYMOUS);
    }

    #[tokio::test]
    async fn a_broken_helper_is_named_and_its_secrets_are_not() {
        for (script, expected) in [
            ("echo the keychain is locked; exit 3", "failed (exit status: 3): the keychain is locked"),
            ("exit 1", "failed (exit status: 1), and did not say why"),
            ("yes secret", "answered with more than 1 MiB, which is not a credential"),
            (r#"echo '{"Username":"u","Secret":secret}'"#, "answered something that is not a credential"),
            ("exit 0", "answered something that is not a credential"),
        ] {
            let error = ask(script).await.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, SourceError::Credentials { .. }), "{text}");
            assert!(text.starts_with("the credential helper docker-credential-test (named in /"), "{text}");
            assert!(text.contains(expected) && !text.contains("secret"), "{text}");
        }
        let missing = r#"{"credsStore":"no-such-helper","auths":{"r.test":{"auth":"dXNlcjpw"}}}"#;
        let credentials = look_up(missing, "r.test").await.unwrap();
        assert!(credentials.is_missing && credentials.login == ANONYMOUS, "{credentials:?}");
        assert!(credentials.origin.starts_with("docker-credential-no-such-helper (named in /"), "{credentials:?}");
    }

    #[tokio::test]
    async fn a_registrys_own_helper_replaces_the_store_and_may_be_none() {
        let auths = r#""auths":{"r.test":{"auth":"dXNlcjpw"}}"#;
        let file = format!(r#"{{"credsStore":"no-such-helper","credHelpers":{{"r.test":""}},{auths}}}"#);
        assert_eq!(login(&file, "r.test").await, basic("user", "p"));
        let own = format!(r#"{{"credHelpers":{{"r.test":"own-helper"}},{auths}}}"#);
        assert!(look_up(&own, "r.test").await.unwrap().origin.contains("docker-credential-own-helper"));
    }

    #[tokio::test]
    async fn a_helper_that_may_not_be_started_is_as_good_as_none() {
        let auths = r#""auths":{"r.test":{"auth":"dXNlcjpw"}}"#;
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("config.json"), format!(r#"{{"credsStore":"x",{auths}}}"#)).unwrap();
        let mut config = DockerConfig::load(Some(folder.path()), &|_| None).unwrap();
        config.starts_helpers = false;
        assert_eq!(config.lookup("r.test").await.unwrap().login, basic("user", "p"));
        let other = config.lookup("other.test").await.unwrap();
        assert_eq!((other.login, other.is_missing), (Login::Direct(RegistryAuth::Anonymous), false));
    }

    #[test]
    fn debugging_shows_no_secret() {
        let logins = [basic("user", "secret"), Login::Identity(IdentityToken("secret".to_owned()))];
        assert!(!format!("{logins:?}").contains("secret"));
    }
}
