//! Whom a registry's connection trusts, and how it shows who we are: certificates where Docker keeps them.
//!
//! Docker's *certs.d* convention: in a directory named for the registry's host and port, every `*.crt` is a further root
//! and every `NAME.cert` with `NAME.key` is a client certificate.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::source::SourceError;
use crate::source::http::tls::{self, Identity, Unusable};
use crate::source::http::trust::Trust;

/// The protocols that registries are spoken to in.
const PROTOCOLS: &[&str] = &["h2", "http/1.1"];

/// What `certs.d` holds for one registry.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// Whether there is a directory for the registry at all: it says that the registry speaks TLS.
    pub present: bool,
    /// The registry's directory in each of the folders, there or not: where a certificate for it can be put.
    pub places: Vec<PathBuf>,
    roots: Vec<CertificateDer<'static>>,
    client: Option<Identity>,
}

impl Certificates {
    /// Reads the directory `host` inside each of `folders`, where it exists. The first client certificate found, by
    /// folder and then by name, is the one that is shown to the registry.
    pub fn load(folders: &[PathBuf], host: &str) -> Result<Self, SourceError> {
        let mut certificates = Certificates::default();
        for folder in folders {
            let folder = folder.join(host);
            certificates.places.push(folder.clone());
            let mut files = match fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                Err(error) => return Err(broken(Unusable::new(&folder, error.to_string()))),
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
            Some("crt") => self.roots.append(&mut tls::roots(file).map_err(broken)?),
            Some("cert") => {
                let key = file.with_extension("key");
                if !key.exists() {
                    return Err(broken(Unusable::new(file, format!("its key {} is missing", key.display()))));
                }
                let identity = Identity::read(file, &key).map_err(broken)?;
                self.client.get_or_insert(identity);
            }
            Some("key") if !file.with_extension("cert").exists() => {
                let certificate = file.with_extension("cert");
                let problem = format!("its certificate {} is missing", certificate.display());
                return Err(broken(Unusable::new(file, problem)));
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
        let trust = if insecure { Trust::Anyone } else { Trust::System(&self.roots) };
        tls::config(trust, self.client.as_ref(), PROTOCOLS)
    }
}

/// TLS for every other host: the system's roots, no client certificate.
pub(super) fn public_config(insecure: bool) -> Result<ClientConfig, SourceError> {
    let trust = if insecure { Trust::Anyone } else { Trust::System(&[]) };
    tls::config(trust, None, PROTOCOLS)
}

fn broken(unusable: Unusable) -> SourceError {
    SourceError::Credentials { message: format!("the registry certificate {unusable}") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::loopback::*;
    use super::*;
    use crate::source::Store;

    /// A registry with TLS, and a setup that has the files of `certs.d` written by `write`.
    fn tls_registry(mutual: bool, write: impl Fn(&Setup, &Authority, &str)) -> (Server, Setup) {
        let authority = Authority::new();
        let server = Server::start_tls(authority.server(mutual), |_, _| Reply::ok("{}"));
        let setup = Setup::default();
        write(&setup, &authority, &format!("certs.d/{}", server.address));
        (server, setup)
    }

    fn write_root(setup: &Setup, authority: &Authority, folder: &str) {
        setup.write(&format!("{folder}/ca.crt"), &authority.certificate.pem());
    }

    /// A registry whose certificate is its own CA, as Docker's guide to private registries makes it.
    fn self_signed_registry(name: &str) -> (Server, Setup) {
        let (certificate, tls) = self_signed(name);
        let server = Server::start_tls(tls, |_, _| Reply::ok("{}"));
        let setup = Setup::default();
        setup.write(&format!("certs.d/{}/ca.crt", server.address), &certificate);
        (server, setup)
    }

    #[tokio::test]
    async fn a_certificate_that_is_its_own_ca_is_trusted_when_it_is_in_certs_d() {
        let (server, setup) = self_signed_registry("127.0.0.1");
        setup.open(&server).manifest(None).await.unwrap();
        let (_, other_setup) = self_signed_registry("127.0.0.1");
        let stranger = Server::start_tls(self_signed("127.0.0.1").1, |_, _| Reply::ok("{}"));
        assert!(other_setup.open(&stranger).manifest(None).await.is_err());
    }

    #[tokio::test]
    async fn a_certificate_in_certs_d_is_for_its_own_name_only() {
        let (server, setup) = self_signed_registry("other.test");
        let error = setup.open(&server).manifest(None).await.unwrap_err().to_string();
        assert!(error.contains("certificate is not trusted"), "{error}");
        assert!(server.received().is_empty());
    }

    /// The error for a registry with this TLS, where `certs.d` has the authority's certificate if it `is_known`.
    async fn distrust_of(tls: Arc<rustls::ServerConfig>, known: Option<&Authority>) -> (String, Setup, Server) {
        let server = Server::start_tls(tls, |_, _| Reply::ok("{}"));
        let setup = Setup::default();
        if let Some(authority) = known {
            write_root(&setup, authority, &format!("certs.d/{}", server.address));
        }
        // A loopback registry without certificates would first be asked without TLS.
        std::fs::create_dir_all(setup.folder.path().join(format!("certs.d/{}", server.address))).unwrap();
        let error = setup.open(&server).manifest(None).await.unwrap_err().to_string();
        assert!(server.received().is_empty());
        assert!(error.ends_with("or skip the check with --insecure"), "{error}");
        assert!(!error.contains("Other(") && !error.contains("Context"), "{error}");
        (error, setup, server)
    }

    #[tokio::test]
    async fn an_unknown_ca_names_both_folders_where_its_certificate_can_be_put() {
        let unknown = Authority::new().server(false);
        let (_, own_ca) = self_signed("127.0.0.1");
        for (tls, words) in [
            (unknown, "it is signed by a CA that this machine does not know"),
            (own_ca, "it is a CA's own, or self-signed, and this machine does not know it"),
        ] {
            let (error, setup, server) = distrust_of(tls, None).await;
            assert!(error.contains(&format!("its certificate is not trusted: {words}")), "{error}");
            for folder in [setup.folder.path().join("certs.d"), setup.options.system_certs.clone()] {
                let file = folder.join(server.address.to_string()).join("ca.crt");
                assert!(error.contains(&file.display().to_string()), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_certificate_of_another_time_or_name_says_which() {
        let authority = Authority::new();
        let expired = authority.server_with(|parameters| parameters.not_after = rcgen::date_time_ymd(2001, 2, 3));
        let (error, ..) = distrust_of(expired, Some(&authority)).await;
        assert!(error.contains("it expired on Sat, 03 Feb 2001 00:00:00 GMT; check this machine's clock"), "{error}");
        let early = authority.server_with(|parameters| parameters.not_before = rcgen::date_time_ymd(4000, 1, 1));
        let (error, ..) = distrust_of(early, Some(&authority)).await;
        assert!(error.contains("it is not valid before Sat, 01 Jan 4000"), "{error}");
        let other = authority.server_with(|parameters| {
            parameters.subject_alt_names = vec![rcgen::SanType::DnsName("other.test".try_into().unwrap())];
        });
        let (error, ..) = distrust_of(other, Some(&authority)).await;
        assert!(error.contains("it is for other.test, not for 127.0.0.1"), "{error}");
        let client = authority.server_with(|parameters| {
            parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        });
        let (error, ..) = distrust_of(client, Some(&authority)).await;
        assert!(error.contains("it is not made for a server"), "{error}");
    }

    #[tokio::test]
    async fn certs_d_is_no_help_for_a_host_that_the_registry_redirects_to() {
        let authority = Authority::new();
        let storage = Server::start_tls(Authority::new().server(false), |_, _| Reply::ok("{}"));
        let away = format!("https://{}/blob", storage.address);
        let server =
            Server::start_tls(authority.server(false), move |_, _| Reply::new(307, &[("Location", &away)], ""));
        let setup = Setup::default();
        write_root(&setup, &authority, &format!("certs.d/{}", server.address));
        let error = setup.open(&server).manifest(None).await.unwrap_err().to_string();
        assert!(error.contains(&storage.address.to_string()) && error.contains("SSL_CERT_FILE"), "{error}");
        assert!(!error.contains("certs.d"), "{error}");
    }

    #[tokio::test]
    async fn a_server_without_tls_is_said_to_have_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let away = format!("https://{}/blob", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let _ = std::io::Write::write_all(&mut connection.unwrap(), b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        });
        let registry = Server::start(move |_, _| Reply::new(307, &[("Location", &away)], ""));
        let error = Setup::default().open(&registry).manifest(None).await.unwrap_err().to_string();
        assert!(error.contains("TLS failed (what answers there does not speak TLS)"), "{error}");
    }

    fn write_client(setup: &Setup, authority: &Authority, folder: &str) {
        let (certificate, key) = authority.sign("client");
        setup.write(&format!("{folder}/client.cert"), &certificate.pem());
        setup.write(&format!("{folder}/client.key"), &key.serialize_pem());
    }

    #[tokio::test]
    async fn a_private_ca_in_certs_d_is_trusted_and_tells_that_there_is_tls() {
        let (server, setup) = tls_registry(false, write_root);
        setup.open(&server).manifest(None).await.unwrap();
        assert_eq!(server.received().len(), 1);
    }

    #[tokio::test]
    async fn the_systems_certs_d_counts_too() {
        let (server, mut setup) = tls_registry(false, |setup, authority, folder| {
            write_root(setup, authority, &format!("system/{folder}"));
        });
        setup.options.system_certs = setup.folder.path().join("system/certs.d");
        setup.open(&server).manifest(None).await.unwrap();
    }

    #[tokio::test]
    async fn an_unknown_ca_is_an_error_that_is_not_tried_again() {
        let (server, setup) = tls_registry(false, |_, _, _| {});
        let error = setup.open(&server).manifest(None).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, SourceError::Network { .. }) && text.contains("certificate is not trusted"), "{text}");
        assert!(text.contains("--insecure"), "{text}");
        assert!(setup.lines().is_empty(), "{:?}", setup.lines());
    }

    #[tokio::test]
    async fn insecure_takes_any_certificate() {
        let (server, mut setup) = tls_registry(false, |_, _, _| {});
        setup.options.insecure = true;
        // A loopback registry is tried without TLS first, and found to speak it.
        setup.open(&server).manifest(None).await.unwrap();
    }

    #[tokio::test]
    async fn a_client_certificate_is_shown_to_who_asks_for_it() {
        let (server, setup) = tls_registry(true, |setup, authority, folder| {
            write_root(setup, authority, folder);
            write_client(setup, authority, folder);
        });
        setup.open(&server).manifest(None).await.unwrap();
        let (server, setup) = tls_registry(true, write_root);
        let error = setup.open(&server).manifest(None).await.unwrap_err();
        assert!(error.to_string().contains("a client certificate, put it"), "{error}");
    }

    #[tokio::test]
    async fn certificates_are_for_the_registry_and_not_for_where_it_redirects() {
        let authority = Authority::new();
        let other = Server::start_tls(authority.server(false), |_, _| Reply::ok("{}"));
        let away = format!("https://{}/x", other.address);
        let registry =
            Server::start_tls(authority.server(false), move |_, _| Reply::new(307, &[("Location", &away)], ""));
        let setup = Setup::default();
        write_root(&setup, &authority, &format!("certs.d/{}", registry.address));
        let error = setup.open(&registry).manifest(None).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{}: its certificate is not trusted", other.address)), "{error}");
    }

    #[tokio::test]
    async fn a_loopback_registry_with_certificates_but_without_tls_is_still_reached() {
        let server = Server::start(|_, _| Reply::ok("{}"));
        let setup = Setup::default();
        write_root(&setup, &Authority::new(), &format!("certs.d/{}", server.address));
        setup.open(&server).manifest(None).await.unwrap();
    }

    #[tokio::test]
    async fn plain_http_is_never_tls() {
        let (server, mut setup) = tls_registry(false, write_root);
        setup.options.plain_http = true;
        assert!(setup.open(&server).manifest(None).await.is_err());
        assert!(server.received().is_empty());
    }

    #[test]
    fn a_broken_certificate_is_named() {
        let authority = Authority::new();
        let (certificate, key) = authority.sign("client");
        let (pem, key, other) = (certificate.pem(), key.serialize_pem(), authority.sign("other").1.serialize_pem());
        let truncated = &pem[..pem.len() / 2];
        for (files, expected) in [
            (&[("ca.crt", "")][..], "ca.crt cannot be used: it holds no certificate"),
            (&[("ca.crt", truncated)], "ca.crt cannot be used"),
            (&[("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")], "ca.crt cannot be used"),
            (&[("x.cert", &pem)], "x.key is missing"),
            (&[("x.key", &key)], "x.cert is missing"),
            (&[("x.cert", &pem), ("x.key", "nonsense")], "x.key cannot be used: it holds no private key"),
            (&[("x.cert", &pem), ("x.key", &other)], "x.cert cannot be used: it does not work with its key"),
        ] {
            let setup = Setup::default();
            for (name, text) in files {
                setup.write(&format!("certs.d/r.test:5000/{name}"), text);
            }
            let error = setup.try_open("r.test:5000/app").unwrap_err();
            assert!(matches!(error, SourceError::Credentials { .. }), "{error}");
            assert!(error.to_string().contains(expected), "{error} does not say {expected}");
            assert!(setup.try_open("r.test/app").is_ok(), "another registry does not mind");
        }
    }
}
