//! Which engine is meant, as Docker's global flags say it.

use std::path::PathBuf;

/// Docker's global flags that say which engine is meant, and how to reach it. What is left open, Docker's variables and its
/// current context say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// `--host`: the engine's address.
    pub host: Option<String>,
    /// `--context`: a name for an engine's address and TLS.
    pub context: Option<String>,
    /// `--config`: the folder of `config.json` and of the contexts, in place of `DOCKER_CONFIG` and `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// How to speak TLS with an engine that no context describes.
    pub tls: TlsOptions,
    /// Whether nobody is there to answer a question: then no program is started that may ask one, such as ssh.
    pub unattended: bool,
}

/// Docker's global flags about TLS with the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// `--tls`: speak TLS.
    pub tls: Option<bool>,
    /// `--tlsverify`: speak TLS, and check the engine's certificate where it is true.
    pub verify: Option<bool>,
    /// `--tlscacert`: the file of the roots that vouch for the engine.
    pub ca: Option<PathBuf>,
    /// `--tlscert`: the file of the certificate that is shown to the engine.
    pub cert: Option<PathBuf>,
    /// `--tlskey`: the file of its key.
    pub key: Option<PathBuf>,
}
