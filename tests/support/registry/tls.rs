//! A certificate authority of one's own, a server certificate by it, and a client certificate that a server can ask for.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// What a client needs for a TLS registry, as PEM texts.
pub struct Certificates {
    /// The authority that signed the server's certificate.
    pub authority: String,
    /// A certificate that the server accepts from clients.
    pub client: String,
    /// The key of `client`.
    pub client_key: String,
}

/// Makes the certificates, and a server that shows them, for `127.0.0.1`, `localhost` and `names`.
pub fn make(names: &[String], client_required: bool) -> (Certificates, Arc<ServerConfig>) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names are valid names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority_certificate = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(authority, authority_key);

    let mut all_names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    all_names.extend_from_slice(names);
    let server_key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(all_names).expect("valid names");
    let server = server.signed_by(&server_key, &issuer).expect("a certificate");
    let client_key = KeyPair::generate().expect("a key");
    let client = CertificateParams::new(vec!["client.test".to_owned()]).expect("a valid name");
    let client = client.signed_by(&client_key, &issuer).expect("a certificate");

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().expect("the provider knows TLS 1.3");
    let builder = if client_required {
        let mut roots = RootCertStore::empty();
        roots.add(authority_certificate.der().clone()).expect("our own certificate");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("one root"))
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let config =
        builder.with_single_cert(vec![server.der().clone()], key).expect("key and certificate belong together");
    let certificates = Certificates {
        authority: authority_certificate.pem(),
        client: client.pem(),
        client_key: client_key.serialize_pem(),
    };
    (certificates, Arc::new(config))
}
