//! Foreign layers: which layers may lie outside the registry, and which of the URLs that a manifest names for them are asked.
//!
//! A manifest is written by a stranger, and each URL in it is a request that the stranger has this machine send, from inside
//! its network. So they are few, never leave TLS and never lead to this machine. They carry no credentials, and what comes
//! back is content only if it has the layer's digest.
//! Spec: OCI image-spec *Descriptors* (`urls`) and *Non-Distributable Layers*.

use std::collections::VecDeque;

use reqwest::Url;

use super::address::{is_local, is_loopback};
use crate::image::manifest::Descriptor;

/// How many URLs of one layer are looked at.
const MAX_URLS: usize = 4;

/// The URLs that `descriptor` names, where its media type is that of a foreign layer.
pub(super) fn urls(descriptor: &Descriptor) -> VecDeque<Url> {
    let media_type = &descriptor.media_type;
    let is_foreign = media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
        || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.");
    let urls = descriptor.urls.iter().flatten().filter(|_| is_foreign);
    urls.take(MAX_URLS).filter_map(|url| Url::parse(url).ok()).collect()
}

/// Why `url` is not asked, if it is not; `registry` is the URL that the registry was reached by.
pub(super) fn objection(url: &Url, registry: Option<&Url>) -> Option<&'static str> {
    let is_plain = registry.is_some_and(|registry| registry.scheme() == "http");
    match url.scheme() {
        "http" if !is_plain => Some("it is without TLS"),
        // A registry on this machine may well have its foreign layers there, too.
        "http" | "https" if is_local(url) && !registry.is_some_and(is_loopback) => {
            Some("it leads to this machine or the network link that it is on")
        }
        "http" | "https" => None,
        _ => Some("it is neither https nor http"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::loopback::*;
    use super::*;
    use crate::source::{SourceError, Store};

    const DOCKER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    const OCI: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

    fn foreign(content: &[u8], media_type: &str, urls: &[String]) -> Descriptor {
        Descriptor { urls: Some(urls.to_vec()), media_type: media_type.to_owned(), ..descriptor(content) }
    }

    #[tokio::test]
    async fn a_foreign_layer_is_asked_of_the_registry_first_and_of_its_urls_then() {
        for media_type in [DOCKER, OCI] {
            let registry = Server::start(|_, _| Reply::status(404));
            let gone = Server::start(|_, _| Reply::status(404));
            let closed = Server::start(|_, _| Reply::status(403));
            let elsewhere = Server::start(move |_, _| Reply::ok("layer"));
            let urls = ["ftp://other.test/x".into(), gone.url("/a"), closed.url("/b"), elsewhere.url("/c?signature=1")];
            let setup = Setup::default();
            let source = setup.open(&registry);
            let reader = source.blob(&foreign(b"layer", media_type, &urls)).await.unwrap();
            assert_eq!(read(reader).await.unwrap(), b"layer");
            assert_eq!((registry.received().len(), gone.received().len(), closed.received().len()), (1, 1, 1));
            let request = &elsewhere.received()[0];
            assert_eq!((request.target.as_str(), request.header("authorization")), ("/c?signature=1", ""));
            let lines = setup.lines().join("\n");
            assert!(lines.contains("not asking ftp://other.test/x") && lines.contains(&elsewhere.url("/c")), "{lines}");
            assert!(!lines.contains("signature"), "{lines}");
        }
    }

    #[tokio::test]
    async fn only_what_is_foreign_and_not_in_the_registry_is_asked_elsewhere() {
        let elsewhere = Server::start(|_, _| Reply::ok("layer"));
        let urls = [elsewhere.url("/layer")];
        let none = Server::start(|_, _| Reply::status(404));
        for media_type in
            ["", "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.config.v1+json"]
        {
            let error = Setup::default().open(&none).blob(&foreign(b"layer", media_type, &urls)).await.err().unwrap();
            assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
        }
        for status in [400, 403, 500] {
            let registry = Server::start(move |_, _| Reply::status(status));
            assert!(Setup::default().open(&registry).blob(&foreign(b"layer", OCI, &urls)).await.is_err());
        }
        assert!(elsewhere.received().is_empty());
    }

    #[tokio::test]
    async fn a_manifest_with_thousands_of_urls_has_four_of_them_asked() {
        let registry = Server::start(|_, _| Reply::status(404));
        let elsewhere = Server::start(|_, _| Reply::status(404));
        let urls = vec![elsewhere.url("/layer"); 5_000];
        let error = Setup::default().open(&registry).blob(&foreign(b"layer", OCI, &urls)).await.err().unwrap();
        assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
        assert_eq!(elsewhere.received().len(), 4);
    }

    #[tokio::test]
    async fn other_content_than_the_layers_is_refused_wherever_it_comes_from() {
        let registry = Server::start(|_, _| Reply::status(404));
        let elsewhere = Server::start(|_, _| Reply::ok("other"));
        let layer = foreign(b"layer", OCI, &[elsewhere.url("/layer")]);
        let reader = Setup::default().open(&registry).blob(&layer).await.unwrap();
        assert!(matches!(read(reader).await, Err(SourceError::Mismatch { .. })));
    }

    #[test]
    fn a_manifest_cannot_make_us_leave_tls_or_ask_this_machine() {
        let objects = |url: &str, registry: &str| {
            objection(&Url::parse(url).unwrap(), Some(&Url::parse(registry).unwrap())).is_some()
        };
        let (public, plain, own) = ("https://r.test/v2/a/", "http://r.test/v2/a/", "http://127.0.0.1:5000/v2/a/");
        for url in ["https://mirror.test/a", "https://10.0.0.1/a", "https://[2001:db8::1]/a"] {
            assert!(!objects(url, public) && !objects(url, plain) && !objects(url, own), "{url}");
        }
        assert!(objects("http://mirror.test/a", public) && !objects("http://mirror.test/a", plain));
        for host in [
            "localhost:8080",
            "a.localhost",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0.0.0.0",
            "169.254.169.254",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
        ] {
            for url in [format!("https://{host}/a"), format!("http://{host}/a")] {
                assert!(objects(&url, public) && objects(&url, plain), "{url}");
            }
            assert!(!objects(&format!("http://{host}/a"), own), "{host}");
        }
        for url in ["file:///etc/passwd", "ftp://mirror.test/a", "data:,a"] {
            assert!(objects(url, own), "{url}");
        }
        assert!(objection(&Url::parse("http://mirror.test/").unwrap(), None).is_some());
    }
}
