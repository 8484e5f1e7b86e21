//! The files that an engine's TLS takes, found where Docker keeps them: `ca.pem`, `cert.pem` and `key.pem`, of a context, of
//! `DOCKER_CERT_PATH`, or as flags name them.

use std::path::{Path, PathBuf};

use rustls::ClientConfig;

use super::options::TlsOptions;
use crate::source::SourceError;
use crate::source::docker_config::{self, Environment};
use crate::source::http::tls::{self, Identity, Unusable};
use crate::source::http::trust::Trust;

/// The engine is spoken to as the docker CLI does.
const PROTOCOLS: &[&str] = &["http/1.1"];

/// How an engine is spoken to with TLS. Read when the connection is made: a socket needs none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// The roots that alone vouch for the engine; without a file, the system's do.
    pub ca: Option<PathBuf>,
    /// What shows the engine who we are, and its key.
    identity: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate is taken.
    is_unchecked: bool,
}

impl TlsFiles {
    /// The files in a context's folder; `None` where the context says nothing of TLS.
    pub fn in_folder(folder: &Path, is_unchecked: bool) -> Option<Self> {
        let file = |name: &str| Some(folder.join(name)).filter(|file| file.exists());
        let (ca, certificate, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
        let is_any = is_unchecked || ca.is_some() || certificate.is_some() || key.is_some();
        is_any.then(|| TlsFiles { ca, identity: certificate.zip(key), is_unchecked })
    }

    /// What the flags and, for what they leave open, Docker's variables say: `--tls` or `DOCKER_TLS` for TLS with whatever
    /// certificate, `--tlsverify` or `DOCKER_TLS_VERIFY` for one that is checked, `DOCKER_CERT_PATH` for where the files are. `None`
    /// where they ask for none. Spec: docker/cli, `cli/flags/options.go`.
    pub fn asked_for(options: &TlsOptions, environment: Environment<'_>) -> Option<Self> {
        let is_set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
        let is_checked = options.verify.unwrap_or_else(|| is_set("DOCKER_TLS_VERIFY"));
        let is_on = options.tls.unwrap_or_else(|| is_set("DOCKER_TLS"));
        // `--tlsverify=false` is TLS all the same.
        if !is_on && !is_checked && options.verify.is_none() {
            return None;
        }
        let folder = environment("DOCKER_CERT_PATH").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let folder = folder.or_else(|| docker_config::folder(None, environment)).unwrap_or_default();
        let existing = |name: &str| Some(folder.join(name)).filter(|file| file.exists());
        let (certificate, key) = (options.cert.clone(), options.key.clone());
        // Where certificates are checked and no file says by what, Docker does not fall back on the system's roots.
        let default_ca = || if is_checked { Some(folder.join("ca.pem")) } else { existing("ca.pem") };
        Some(TlsFiles {
            ca: options.ca.clone().or_else(default_ca),
            identity: certificate.or_else(|| existing("cert.pem")).zip(key.or_else(|| existing("key.pem"))),
            is_unchecked: !is_checked,
        })
    }

    /// Reads the files.
    pub fn config(&self) -> Result<ClientConfig, SourceError> {
        let roots = match &self.ca {
            Some(_) if self.is_unchecked => None,
            ca => ca.as_deref().map(tls::roots).transpose().map_err(broken)?,
        };
        let identity = self.identity.as_ref().map(|(certificate, key)| Identity::read(certificate, key));
        let trust = match &roots {
            _ if self.is_unchecked => Trust::Anyone,
            Some(roots) => Trust::Only(roots),
            None => Trust::System(&[]),
        };
        tls::config(trust, identity.transpose().map_err(broken)?.as_ref(), PROTOCOLS)
    }
}

fn broken(unusable: Unusable) -> SourceError {
    SourceError::Credentials { message: format!("the file {unusable}; it is for the TLS of the Docker engine") }
}
