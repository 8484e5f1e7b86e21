//! Which requests go through a proxy: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, upper or lower case, as Docker reads them.

use std::fmt;
use std::net::IpAddr;

use reqwest::{ClientBuilder, Proxy, Url};

use super::address::is_loopback;
use crate::source::SourceError;
use crate::source::docker_config::Environment;

/// The proxies of the environment, and who is reached without one.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    http: Option<Named>,
    https: Option<Named>,
    exceptions: Vec<Exception>,
}

/// The proxy that a variable names, or the variable alone, where its value is no proxy's URL. That value is kept nowhere, as it may
/// hold a password.
type Named = Result<ProxyServer, String>;

/// A proxy, and the variable that names it. Shown without the user and the password that its URL may hold.
#[derive(Clone)]
pub(super) struct ProxyServer {
    /// The variable.
    pub variable: String,
    url: Url,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    /// `*`
    All,
    /// An address, or the first so many bits of one.
    Network(IpAddr, u32),
    /// A host and all below its domain, at this port or at any.
    Domain(String, Option<u16>),
}

impl Proxies {
    /// Reads the proxy variables.
    pub fn from_environment(environment: Environment<'_>) -> Self {
        let first = |names: [&'static str; 2]| {
            let values = names.into_iter().filter_map(|name| Some((name, environment(name)?.into_string().ok()?)));
            values.into_iter().find(|(_, value)| !value.trim().is_empty())
        };
        let server = |names| first(names).map(|(name, value)| ProxyServer::new(name, &value));
        let listed = first(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
        // A web server passes a request's `Proxy:` header to a CGI program as HTTP_PROXY: not to be trusted there.
        let is_cgi = environment("REQUEST_METHOD").is_some();
        Proxies {
            http: if is_cgi { None } else { server(["HTTP_PROXY", "http_proxy"]) },
            https: server(["HTTPS_PROXY", "https_proxy"]),
            exceptions: listed.split(',').filter_map(Exception::parse).collect(),
        }
    }

    /// The proxy that requests for `url` go through.
    pub fn for_url(&self, url: &Url) -> Option<&ProxyServer> {
        self.named_for(url)?.as_ref().ok()
    }

    fn named_for(&self, url: &Url) -> Option<&Named> {
        let server = if url.scheme() == "https" { &self.https } else { &self.http };
        // A proxy's loopback is not ours, so none is asked for that, whatever the environment says.
        let is_excepted = is_loopback(url) || self.exceptions.iter().any(|exception| exception.covers(url));
        server.as_ref().filter(|_| !is_excepted)
    }

    /// Fails where requests for `url` would go through a proxy that this program cannot use.
    pub fn check(&self, url: &Url) -> Result<(), SourceError> {
        match self.named_for(url) {
            Some(Ok(server)) if !matches!(server.url.scheme(), "http" | "https") => Err(SourceError::Network {
                what: format!("the proxy {server}"),
                problem: format!("only HTTP proxies are supported, and this is one for {}", server.url.scheme()),
            }),
            Some(Err(variable)) => Err(SourceError::Network {
                what: format!("the proxy in {variable}"),
                problem: "its value is not the URL of an HTTP proxy, such as http://proxy.example.com:3128".to_owned(),
            }),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Has `builder` use these proxies and no others.
    pub fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        let builder = builder.no_proxy();
        if self.http.is_none() && self.https.is_none() {
            return builder;
        }
        let proxies = self.clone();
        builder.proxy(Proxy::custom(move |url| proxies.for_url(url).map(|server| server.url.clone())))
    }
}

impl ProxyServer {
    /// `proxy.test:3128` means `http://proxy.test:3128`.
    fn new(variable: &str, value: &str) -> Named {
        let value = value.trim();
        let url = Url::parse(&if value.contains("://") { value.to_owned() } else { format!("http://{value}") });
        let variable = variable.to_owned();
        match url.ok().filter(Url::has_host) {
            Some(url) => Ok(ProxyServer { variable, url }),
            None => Err(variable),
        }
    }
}

impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "{host}{port} (from {})", self.variable)
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Exception {
    /// `*`, `10.0.0.1`, `10.0.0.0/8`, `[::1]:5000`, `example.com`, `.example.com`, `*.example.com`, `example.com:5000`.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return Some(Exception::All);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            return Some(Exception::Network(address.parse().ok()?, bits.parse().ok()?));
        }
        if let Ok(address) = entry.trim_matches(['[', ']']).parse() {
            return Some(Exception::Network(address, u32::MAX));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        let host = host.strip_prefix("*.").or(host.strip_prefix('.')).unwrap_or(host);
        (!host.is_empty()).then(|| Exception::Domain(host.to_owned(), port))
    }

    fn covers(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        match self {
            Exception::All => true,
            Exception::Network(network, bits) => {
                host.trim_matches(['[', ']']).parse().is_ok_and(|address| is_within(address, *network, *bits))
            }
            Exception::Domain(name, port) => {
                let is_port = port.is_none_or(|port| url.port_or_known_default() == Some(port));
                let below = host.strip_suffix(name.as_str());
                is_port && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    }
}

/// Whether the first `bits` of two addresses of one kind are the same; all of them where it has fewer.
fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits.min(32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits.min(128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::loopback::*;
    use super::*;
    use crate::source::Store;

    /// What a registry at `host` answers in an environment where both proxies are `proxy`.
    async fn reaches(host: &str, proxy: &str, exceptions: &str) -> bool {
        let mut setup = Setup::default();
        setup.options.plain_http = true;
        setup.environment = [("http_proxy", proxy.to_owned()), ("NO_PROXY", exceptions.to_owned())].into();
        setup.try_open(&format!("{host}/app:1")).unwrap().manifest(None).await.is_ok()
    }

    #[tokio::test]
    async fn a_request_goes_through_the_proxy() {
        let proxy = Server::start(|_, _| Reply::ok("{}"));
        assert!(reaches("registry.test", &proxy.address.to_string(), "").await);
        assert_eq!(proxy.received()[0].target, "http://registry.test/v2/app/manifests/1");
        assert!(reaches("registry.test", &proxy.url(""), "other.test").await);
    }

    #[tokio::test]
    async fn no_proxy_is_asked_for_loopback_and_for_exceptions() {
        let registry = Server::start(|_, _| Reply::ok("{}"));
        let proxy = Server::start(|_, _| Reply::ok("{}"));
        assert!(reaches(&registry.address.to_string(), &proxy.url(""), "").await);
        assert!(reaches(&format!("localhost:{}", registry.address.port()), &proxy.url(""), "").await);
        assert!(proxy.received().is_empty());
        assert_eq!(registry.received().len(), 2);
        for exceptions in ["registry.test", ".test", "a.example,*.test", "*"] {
            // There is no such host, so without the proxy it cannot be reached.
            assert!(!reaches("registry.test", &proxy.url(""), exceptions).await, "{exceptions}");
        }
        assert!(proxy.received().is_empty());
    }

    #[tokio::test]
    async fn a_value_that_is_no_url_counts_where_it_would_be_used_and_is_not_repeated() {
        let environment = [("HTTPS_PROXY", "http://user:secret@["), ("HTTP_PROXY", "http://user:secret@[")];
        let environment = environment.map(|(name, value)| (name, value.to_owned())).into();
        let setup = Setup { environment, ..Setup::default() };
        let error = setup.try_open("registry.test/app:1").unwrap().manifest(None).await.unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY") && !error.contains("secret"), "{error}");
        let server = Server::start(|_, _| Reply::ok("{}"));
        setup.open(&server).manifest(None).await.unwrap();
    }

    #[test]
    fn a_web_servers_request_header_is_no_proxy() {
        let environment = |name: &str| matches!(name, "HTTP_PROXY" | "REQUEST_METHOD").then(|| "evil.test".into());
        let proxies = Proxies::from_environment(&environment);
        assert!(proxies.for_url(&Url::parse("http://registry.test").unwrap()).is_none());
    }

    #[test]
    fn an_exception_is_a_host_a_domain_a_network_or_a_port() {
        let is_excepted = |list: &str, url: &str| {
            let environment = |name: &str| match name {
                "http_proxy" => Some("proxy.test".into()),
                "no_proxy" => Some(list.into()),
                _ => None,
            };
            Proxies::from_environment(&environment).for_url(&Url::parse(url).unwrap()).is_none()
        };
        for (list, url) in [
            ("r.test", "http://r.test/"),
            ("R.Test", "http://a.b.r.test:5000/"),
            (".r.test", "http://a.r.test/"),
            ("*.r.test", "http://r.test/"),
            ("a, r.test:80", "http://r.test/"),
            ("10.1.2.3", "http://10.1.2.3/"),
            ("10.0.0.0/8", "http://10.255.0.1:5000/"),
            ("0.0.0.0/0", "http://10.255.0.1:5000/"),
            ("fd00::/8", "http://[fd12::1]:5000/"),
            ("[fd12::1]:5000", "http://[fd12::1]:5000/"),
            ("*", "http://r.test/"),
            ("", "http://localhost:5000/"),
            ("", "http://127.1.2.3/"),
            ("", "http://[::1]/"),
        ] {
            assert!(is_excepted(list, url), "{list} does not cover {url}");
        }
        for (list, url) in [
            ("", "http://r.test/"),
            ("r.test", "http://xr.test/"),
            ("r.test:5000", "http://r.test/"),
            ("r.test:nonsense", "http://r.test/"),
            ("10.0.0.0/8", "http://11.0.0.1/"),
            ("10.0.0.0/8", "http://[fd12::1]/"),
            ("10.0.0.0/x", "http://10.0.0.1/"),
            ("fd00::/8", "http://[fe80::1]/"),
            (".", "http://r.test/"),
            (",,", "http://r.test/"),
        ] {
            assert!(!is_excepted(list, url), "{list} covers {url}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there_is_named_and_its_password_is_not() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (variable, plain_http) in [("HTTPS_PROXY", false), ("https_proxy", false), ("HTTP_PROXY", true)] {
            let mut setup = Setup::default();
            setup.options.plain_http = plain_http;
            setup.environment = [(variable, format!("http://user:secret@{nobody}"))].into();
            let registry = setup.try_open("registry.test/app:1").unwrap();
            let error = registry.manifest(None).await.unwrap_err().to_string();
            let expected =
                format!("registry.test: the proxy {nobody} (from {variable}): connection refused; correct {variable}");
            assert!(error.contains(&expected) && error.ends_with("(tried 2 times)"), "{error}");
            assert!(!error.contains("secret") && !setup.lines().concat().contains("secret"), "{error}");
            assert!(
                setup.lines()[0].starts_with(&format!("proxy {nobody} (from {variable}): ")),
                "{:?}",
                setup.lines()
            );
        }
    }

    #[tokio::test]
    async fn a_socks_proxy_is_refused_where_it_would_be_used() {
        let environment = [("HTTPS_PROXY", "socks5://ann:secret@proxy.test:1080".to_owned())].into();
        let setup = Setup { environment, ..Setup::default() };
        let error = setup.try_open("registry.test/app:1").unwrap().manifest(None).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "the proxy proxy.test:1080 (from HTTPS_PROXY): only HTTP proxies are supported, and this is one for socks5"
        );
        let server = Server::start(|_, _| Reply::ok("{}"));
        setup.open(&server).manifest(None).await.unwrap();
    }

    #[tokio::test]
    async fn a_proxy_that_wants_a_login_or_lets_nobody_through_is_named() {
        for (status, https, words) in [
            (407, true, "asks for a user name and a password"),
            (407, false, "asks for a user name and a password"),
            (403, true, "does not let us through"),
        ] {
            let proxy = Server::start(move |_, _| Reply::status(status));
            let mut setup = Setup::default();
            setup.options.plain_http = !https;
            let variable = if https { "HTTPS_PROXY" } else { "HTTP_PROXY" };
            setup.environment = [(variable, proxy.url(""))].into();
            let registry = setup.try_open("registry.test/app:1").unwrap();
            let error = registry.manifest(None).await.unwrap_err().to_string();
            assert!(error.contains(&format!("the proxy {} (from {variable})", proxy.address)), "{error}");
            assert!(error.contains(words), "{error}");
            let tries = if status == 407 { 1 } else { 2 };
            assert_eq!(proxy.received().len(), tries, "{error}");
        }
    }
}
