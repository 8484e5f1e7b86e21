//! Whom a registry's connection trusts, and how it shows who we are: certificates where Docker keeps them.
//!
//! Docker's *certs.d* convention: in a directory named for the registry's host and port, every `*.crt` is a further root
//! and every `NAME.cert` with `NAME.key` is a client certificate.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier};

use crate::source::SourceError;

/// What `certs.d` holds for one registry.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// Whether there is a directory for the registry at all: it says that the registry speaks TLS.
    pub present: bool,
    roots: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Certificates {
    /// Reads the directory `host` inside each of `folders`, where it exists. The first client certificate found, by
    /// folder and then by name, is the one that is shown to the registry.
    pub fn load(folders: &[PathBuf], host: &str) -> Result<Self, SourceError> {
        let mut certificates = Certificates::default();
        for folder in folders {
            let folder = folder.join(host);
            let mut files = match fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                Err(error) => return Err(broken(&folder, &error.to_string())),
            };
            certificates.present = true;
            files.sort();
            for file in files {
                certificates.take(&file)?;
            }
        }
        Ok(certificates)
    }

    fn take(&mut self, file: &Path) -> Result<(), SourceError> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => self.roots.append(&mut read_certificates(file)?),
            Some("cert") => {
                let key_file = file.with_extension("key");
                if !key_file.exists() {
                    return Err(broken(file, &format!("its key {} is missing", key_file.display())));
                }
                let chain = read_certificates(file)?;
                let key = PrivateKeyDer::from_pem_slice(&read(&key_file)?)
                    .map_err(|_| broken(&key_file, "it holds no private key in PEM format without a passphrase"))?;
                if self.client.is_none() {
                    let provider = ring::default_provider();
                    rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider)
                        .map_err(|error| broken(file, &format!("it does not go with its key: {error}")))?;
                    self.client = Some((chain, key));
                }
            }
            Some("key") if !file.with_extension("cert").exists() => {
                let certificate = file.with_extension("cert");
                return Err(broken(file, &format!("its certificate {} is missing", certificate.display())));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether connections to the registry differ from those to any other host.
    pub fn are_any(&self) -> bool {
        !self.roots.is_empty() || self.client.is_some()
    }

    /// TLS for the registry itself.
    pub fn registry_config(&self, insecure: bool) -> Result<ClientConfig, SourceError> {
        config(&self.roots, self.client.as_ref(), insecure)
    }
}

/// TLS for every other host: the system's roots, no client certificate.
pub(super) fn public_config(insecure: bool) -> Result<ClientConfig, SourceError> {
    config(&[], None, insecure)
}

/// TLS that trusts nobody, for a client that never speaks it.
pub(super) fn no_config() -> Result<ClientConfig, SourceError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The provider is named, not taken from the process: a library must not change what its host program chose.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, SourceError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    builder.with_safe_default_protocol_versions().map_err(unusable)
}

fn unusable(error: rustls::Error) -> SourceError {
    SourceError::Io { what: "setting up TLS".to_owned(), error: std::io::Error::other(error) }
}

fn config(
    private_roots: &[CertificateDer<'static>],
    client: Option<&(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    insecure: bool,
) -> Result<ClientConfig, SourceError> {
    let builder = builder()?;
    let builder = if insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone(ring::default_provider())))
    } else {
        let mut roots = system_roots();
        roots.add_parsable_certificates(private_roots.iter().cloned());
        builder.with_root_certificates(roots)
    };
    let mut config = match client {
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The roots that the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` included), or, on a system without any (an image
/// made from scratch), Mozilla's as they were when this program was built.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a system certificate cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::debug!("the system has no root certificates; using the built-in ones");
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let certificates = CertificateDer::pem_slice_iter(&read(file)?).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => {
            let mut store = RootCertStore::empty();
            let unreadable = certificates.iter().find_map(|certificate| store.add(certificate.clone()).err());
            unreadable.map_or(Ok(certificates), |error| Err(broken(file, &error.to_string())))
        }
        Ok(_) => Err(broken(file, "it holds no certificate in PEM format")),
        Err(error) => Err(broken(file, &error.to_string())),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, SourceError> {
    fs::read(file).map_err(|error| broken(file, &error.to_string()))
}

fn broken(file: &Path, problem: &str) -> SourceError {
    SourceError::Credentials {
        message: format!("the registry certificate {} cannot be used: {problem}", file.display()),
    }
}

/// Takes any certificate for any name: what `--insecure` asks for. Signatures are still checked, so that the handshake
/// itself is sound.
#[derive(Debug)]
struct TrustAnyone(CryptoProvider);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
