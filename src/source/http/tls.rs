//! TLS for a client: whom it trusts, how it shows who we are, and both from files in PEM format.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::certificate;
use super::trust::{self, Trust};
use crate::source::SourceError;

/// What shows a server who we are: a certificate, with those that lead to its root, and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A file of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file} cannot be used: {problem}")]
pub struct Unusable {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Unusable {
    /// `file`, with what is wrong with it.
    pub fn new(file: &Path, problem: impl Into<String>) -> Self {
        Unusable { file: file.display().to_string(), problem: problem.into() }
    }
}

impl Identity {
    /// Reads a certificate and its key, and checks that they belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, Unusable> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|_| Unusable::new(key, "it holds no private key in PEM format without a passphrase"))?;
        let provider = ring::default_provider();
        rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).map_err(|error| {
            Unusable::new(certificate, format!("it does not work with its key: {}", certificate::problem(&error)))
        })?;
        Ok(Identity { chain, key })
    }
}

/// Reads a file of root certificates.
pub fn roots(file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let roots = certificates(file)?;
    let mut store = RootCertStore::empty();
    for root in &roots {
        store.add(root.clone()).map_err(|error| Unusable::new(file, certificate::problem(&error)))?;
    }
    Ok(roots)
}

/// TLS for a client that offers these protocols over it (ALPN), the one it likes best first.
pub fn config(trust: Trust<'_>, identity: Option<&Identity>, protocols: &[&str]) -> Result<ClientConfig, SourceError> {
    let builder = builder()?.dangerous().with_custom_certificate_verifier(trust::verifier(trust));
    let mut config = match identity {
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(failed)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
}

/// TLS that trusts nobody, for a client that never speaks it.
pub fn no_config() -> Result<ClientConfig, SourceError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The provider is named, not taken from the process: a library must not change what its host program chose.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, SourceError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    builder.with_safe_default_protocol_versions().map_err(failed)
}

fn failed(error: rustls::Error) -> SourceError {
    SourceError::Io { what: "setting up TLS".to_owned(), error: std::io::Error::other(error) }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let certificates = CertificateDer::pem_slice_iter(&read(file)?).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Unusable::new(file, "it holds no certificate in PEM format")),
        Err(_) => Err(Unusable::new(file, "it is not in PEM format")),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Unusable> {
    fs::read(file).map_err(|error| Unusable::new(file, error.to_string()))
}
