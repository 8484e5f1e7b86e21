//! Which server certificates are good: those that certain roots vouch for, or, where the user says so, any.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{self, CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whose word counts for a server's certificate.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// That of the system's roots, and of these.
    System(&'a [CertificateDer<'static>]),
    /// That of these roots alone.
    Only(&'a [CertificateDer<'static>]),
    /// Nobody's is needed: any certificate is taken.
    Anyone,
}

/// Takes the certificates that `trust` says.
pub fn verifier(trust: Trust<'_>) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let roots = match trust {
        Trust::Anyone => return Ok(Arc::new(TrustAnyone(ring::default_provider()))),
        Trust::Only(roots) => roots.to_vec(),
        Trust::System(private) => {
            let mut roots = system_roots();
            roots.extend(private.iter().cloned());
            roots
        }
    };
    Ok(Arc::new(TrustRoots::new(roots)?))
}

/// The roots that the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` included), or, on a system without any (an image
/// made from scratch), Mozilla's as they were when this program was built.
fn system_roots() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a system certificate cannot be read");
    }
    if found.certs.is_empty() {
        tracing::debug!("the system has no root certificates; using the built-in ones");
        return webpki_root_certs::TLS_SERVER_ROOT_CERTS.to_vec();
    }
    found.certs
}

/// Takes a certificate that one of the roots vouches for, or that is one of the roots.
///
/// The latter is what Docker's own guide to private registries makes: one self-signed certificate, which is its own CA,
/// on the server and in `certs.d`. Go takes it, webpki by itself does not.
#[derive(Debug)]
struct TrustRoots {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
}

impl TrustRoots {
    fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let provider = Arc::new(ring::default_provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build();
        let webpki = webpki.map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(TrustRoots { webpki, roots })
    }
}

impl ServerCertVerifier for TrustRoots {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.webpki.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            // "CA used as end entity" is the only complaint left that has no variant of its own once the dates have
            // been found right; what it comes before, the name, is checked here.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) if self.roots.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
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
