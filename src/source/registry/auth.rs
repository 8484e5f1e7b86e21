//! Getting let in: from the registry's challenge and the user's credentials to an `Authorization` header.
//!
//! Spec: the distribution project's *Token Authentication* (GET with Basic or nothing) and *OAuth2* (POST with an identity
//! token), as the docker CLI uses them. Nothing is looked up or sent before the registry asks for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oci_distribution::RegistryOperation;
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::token_cache::RegistryToken;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::{Mutex, OnceCell};

use super::address::is_loopback;
use super::challenge::Challenge;
use super::clients::{Answer, Clients, encoding};
use super::credentials::{Credentials, DockerConfig, Login};
use super::fault::Failure;
use super::refusal;
use crate::progress::Progress;
use crate::source::SourceError;
use crate::source::http::shown::{authority, printable};

/// A token answer longer than this many bytes is refused.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// What lets requests in.
#[derive(Clone)]
pub(super) struct Granted {
    /// The `Authorization` header.
    pub header: HeaderValue,
    /// Counts the headers that there have been: tells a new one from the one that a request was sent with.
    generation: u64,
}

/// Holds the authorization for one repository, and renews it.
pub(super) struct Authenticator {
    registry: String,
    repository: String,
    config: DockerConfig,
    progress: Arc<dyn Progress>,
    credentials: OnceCell<Credentials>,
    granted: Mutex<BTreeMap<RegistryOperation, Granted>>,
}

impl Authenticator {
    /// For `repository` at `registry`, as the reference names them.
    pub fn new(registry: String, repository: String, config: DockerConfig, progress: Arc<dyn Progress>) -> Self {
        let (credentials, granted) = Default::default();
        Authenticator { registry, repository, config, progress, credentials, granted }
    }

    /// The authorization that the last challenge ended in, if there was one.
    pub async fn current(&self, operation: RegistryOperation) -> Option<Granted> {
        self.granted.lock().await.get(&operation).cloned()
    }

    /// Meets the `challenges` of a 401 answer to a request that was sent with `used`. Gives the authorization to repeat
    /// it with, and whether that is a new one: where a request beside this one has renewed it meanwhile, it is not.
    pub async fn answer(
        &self,
        clients: &Clients,
        challenges: &[Challenge],
        registry_url: &Url,
        operation: RegistryOperation,
        used: Option<&Granted>,
    ) -> Result<(Granted, bool), Failure> {
        let mut granted = self.granted.lock().await;
        let current = granted.get(&operation);
        if let Some(current) = current.filter(|current| Some(current.generation) != used.map(|used| used.generation)) {
            return Ok((current.clone(), false));
        }
        let generation = current.map_or(0, |current| current.generation + 1);
        let header = self.authorization(clients, challenges, registry_url, operation).await?;
        let new = Granted { header, generation };
        granted.insert(operation, new.clone());
        Ok((new, true))
    }

    async fn look_up(&self) -> Result<Credentials, SourceError> {
        let credentials = self.config.lookup(&self.registry).await?;
        if credentials.is_missing {
            let (registry, origin) = (&self.registry, &credentials.origin);
            self.progress.notice(&format!("{origin} is not installed; asking {registry} without credentials"));
        }
        Ok(credentials)
    }

    async fn authorization(
        &self,
        clients: &Clients,
        challenges: &[Challenge],
        registry_url: &Url,
        operation: RegistryOperation,
    ) -> Result<HeaderValue, Failure> {
        let credentials = self.credentials.get_or_try_init(|| self.look_up()).await?;
        let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        if let Some(Challenge::Bearer { realm, service, scope }) = bearer {
            if let Login::Direct(RegistryAuth::Bearer(token)) = &credentials.login {
                return Ok(self.secret_header("Bearer", token)?);
            }
            let realm = self.token_server(realm, registry_url)?;
            let actions = if operation == RegistryOperation::Push { "pull,push" } else { "pull" };
            let scope = scope.clone().unwrap_or_else(|| format!("repository:{}:{actions}", self.repository));
            let token = self.fetch_token(clients, realm, service.as_deref(), &scope, &credentials.login).await?;
            return Ok(self.secret_header("Bearer", token.token())?);
        }
        if challenges.contains(&Challenge::Basic) {
            return match &credentials.login {
                Login::Direct(RegistryAuth::Basic(user, password)) => Ok(self.basic(user, password)?),
                Login::Direct(RegistryAuth::Bearer(token)) => Ok(self.secret_header("Bearer", token)?),
                _ => Err(self.denied("").into()),
            };
        }
        Err(self.denied("it does not say how to log in").into())
    }

    /// The token server's URL, if it may be given credentials.
    fn token_server(&self, realm: &str, registry_url: &Url) -> Result<Url, SourceError> {
        let unusable = |problem: String| SourceError::Protocol { what: format!("registry {}", self.registry), problem };
        let url = Url::parse(realm).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| unusable(format!("its token server \"{}\" is not a URL", printable(realm))))?;
        if url.scheme() == "http" && registry_url.scheme() == "https" && !is_loopback(&url) {
            return Err(unusable(format!("its token server {} does not use https, which is refused", authority(&url))));
        }
        Ok(url)
    }

    async fn fetch_token(
        &self,
        clients: &Clients,
        mut realm: Url,
        service: Option<&str>,
        scope: &str,
        login: &Login,
    ) -> Result<RegistryToken, Failure> {
        let mut answer = match login {
            Login::Identity(token) => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or_default()),
                    ("client_id", "docker-artifact"),
                    ("scope", scope),
                    ("refresh_token", &token.0),
                ];
                let response = clients.post_form(&realm, &form).await?;
                Answer { response, url: realm, from_origin: true, is_redirected: false }
            }
            Login::Direct(auth) => {
                realm.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
                realm.query_pairs_mut().extend_pairs(scope.split_whitespace().map(|scope| ("scope", scope)));
                let mut authorization = None;
                if let RegistryAuth::Basic(user, password) = auth {
                    realm.query_pairs_mut().append_pair("account", user);
                    authorization = Some(self.basic(user, password)?);
                }
                clients.follow(&Method::GET, realm, &HeaderMap::new(), None, authorization.as_ref()).await?
            }
        };
        let status = answer.response.status();
        let body = clients.body(&mut answer, MAX_TOKEN_BYTES).await?.unwrap_or_default();
        let host = authority(&answer.url);
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(clients.proxy_login(&answer.url).into());
        }
        let protocol = |problem: String| SourceError::Protocol { what: format!("token server {host}"), problem };
        match status {
            StatusCode::OK => serde_json::from_slice::<RegistryToken>(&body)
                .map_err(|_| match encoding(answer.response.headers()) {
                    Some(encoding) => protocol(format!("its answer is encoded ({encoding}), which was not asked for")),
                    None => protocol("its answer holds no token".to_owned()),
                })
                .map_err(Failure::Final),
            // OAuth2 says 400 for a token that is expired or revoked (RFC 6749, section 5.2).
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied(&refusal::message(&body)).into()),
            StatusCode::BAD_REQUEST if matches!(login, Login::Identity(_)) => {
                Err(self.denied("the identity token is no longer valid").into())
            }
            _ => Err(match refusal::passing(&answer, &body) {
                Some(fault) => fault.into(),
                None => protocol(format!("it answered {status}: {}", refusal::message(&body))).into(),
            }),
        }
    }

    fn basic(&self, user: &str, password: &str) -> Result<HeaderValue, SourceError> {
        self.secret_header("Basic", &BASE64_STANDARD.encode(format!("{user}:{password}")))
    }

    fn secret_header(&self, scheme: &str, secret: &str) -> Result<HeaderValue, SourceError> {
        let value = HeaderValue::from_str(&format!("{scheme} {secret}"));
        let mut value = value.map_err(|_| SourceError::Protocol {
            what: format!("registry {}", self.registry),
            problem: "the token for it holds characters that no HTTP header can carry".to_owned(),
        })?;
        // Keeps it out of every log, those of the HTTP libraries included.
        value.set_sensitive(true);
        Ok(value)
    }

    /// The error for a registry that does not let us in; `reason` is what it said, if anything.
    pub fn denied(&self, reason: &str) -> SourceError {
        let (registry, repository) = (&self.registry, &self.repository);
        let said = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        // Registries answer the same for what is not there and what is not for us, so as not to tell which.
        let message = match self.credentials.get() {
            Some(Credentials { is_missing: true, origin, .. }) => {
                let message = format!(
                    "{registry}: {repository} does not exist or needs credentials{said}, and the helper that keeps them, \
                     {origin}, is not installed; install it, or take its name out of the file and run: docker login {registry}"
                );
                return SourceError::Denied { message };
            }
            None => format!("{registry} refuses access to {repository}{said}; it may need credentials"),
            Some(Credentials { login: Login::Direct(RegistryAuth::Anonymous), origin, .. }) => format!(
                "{registry}: {repository} does not exist or needs credentials{said}, and {origin} has none for {registry}"
            ),
            Some(Credentials { origin, .. }) => format!(
                "{registry} refuses access to {repository}{said}: it does not exist, or the credentials from {origin} are \
                 wrong or not enough"
            ),
        };
        SourceError::Denied { message: format!("{message}; run: docker login {registry}") }
    }
}

#[cfg(test)]
mod tests;
