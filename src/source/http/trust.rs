//! Which server certificates are good: those that certain roots vouch for, or, where the user says so, any.

use std::sync::{Arc, LazyLock};
use std::thread;

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

/// Takes the certificates that `trust` says. The system's roots are read meanwhile, by a thread of their own: it takes some
/// milliseconds, and they are not needed before the server has shown its certificate.
pub fn verifier(trust: Trust<'_>) -> Arc<dyn ServerCertVerifier> {
    let (private, with_systems) = match trust {
        Trust::Anyone => return Arc::new(TrustAnyone(ring::default_provider())),
        Trust::Only(roots) => (roots.to_vec(), false),
        Trust::System(private) => (private.to_vec(), true),
    };
    let load = move || Roots::new(if with_systems { [system_roots(), private].concat() } else { private });
    let roots: Arc<LazyRoots> = Arc::new(LazyLock::new(Box::new(load)));
    if with_systems {
        let roots = roots.clone();
        // Where there is no thread to be had, whoever needs them reads them.
        let _ = thread::Builder::new().name("roots".to_owned()).spawn(move || LazyLock::force(&roots).is_ok());
    }
    Arc::new(TrustRoots { provider: ring::default_provider(), roots })
}

/// Roots that are read when they are first needed, and waited for by whoever needs them meanwhile.
type LazyRoots = LazyLock<Result<Roots, rustls::Error>, Box<dyn FnOnce() -> Result<Roots, rustls::Error> + Send>>;

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
    provider: CryptoProvider,
    roots: Arc<LazyRoots>,
}

#[derive(Debug)]
struct Roots {
    webpki: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        let provider = Arc::new(ring::default_provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build();
        let webpki = webpki.map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Roots { webpki, certificates })
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
        let Roots { webpki, certificates } = LazyLock::force(&self.roots).as_ref().map_err(Clone::clone)?;
        match webpki.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            // "CA used as end entity" is the only complaint left that has no variant of its own once the dates have
            // been found right; what it comes before, the name, is checked here.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if certificates.contains(certificate) =>
            {
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
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
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
