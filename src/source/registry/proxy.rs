//! Which requests go through a proxy: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, upper or lower case, as Docker reads them.

use reqwest::{ClientBuilder, NoProxy, Proxy};

use super::credentials::Environment;
use crate::source::SourceError;

/// Hosts that no proxy is asked for, whatever the environment says: a proxy's loopback is not ours.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies of the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies(Vec<Proxy>);

impl Proxies {
    /// Reads the proxy variables. A value that is no proxy's URL is an error that names the variable, not the value,
    /// which may hold a password.
    pub fn from_environment(environment: Environment<'_>) -> Result<Self, SourceError> {
        let first = |names: [&'static str; 2]| {
            let values = names.into_iter().filter_map(|name| Some((name, environment(name)?.into_string().ok()?)));
            values.into_iter().find(|(_, value)| !value.trim().is_empty())
        };
        let listed = first(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
        // Go also takes `*.example.com`, which means the same as `.example.com`.
        let exceptions = listed.split(',').map(|host| host.trim()).map(|host| host.strip_prefix("*.").unwrap_or(host));
        let exceptions = exceptions.chain([LOOPBACK]).collect::<Vec<_>>().join(",");
        let mut proxies = Vec::new();
        // A web server passes a request's `Proxy:` header to a CGI program as HTTP_PROXY: not to be trusted there.
        if environment("REQUEST_METHOD").is_none()
            && let Some((name, value)) = first(["HTTP_PROXY", "http_proxy"])
        {
            proxies.push(proxy(name, Proxy::http(with_scheme(&value)))?.no_proxy(NoProxy::from_string(&exceptions)));
        }
        if let Some((name, value)) = first(["HTTPS_PROXY", "https_proxy"]) {
            proxies.push(proxy(name, Proxy::https(with_scheme(&value)))?.no_proxy(NoProxy::from_string(&exceptions)));
        }
        Ok(Proxies(proxies))
    }

    /// Has `builder` use these proxies and no others.
    pub fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        self.0.iter().cloned().fold(builder.no_proxy(), ClientBuilder::proxy)
    }
}

/// `proxy.test:3128` means `http://proxy.test:3128`.
fn with_scheme(value: &str) -> String {
    let value = value.trim();
    if value.contains("://") { value.to_owned() } else { format!("http://{value}") }
}

fn proxy(name: &str, proxy: reqwest::Result<Proxy>) -> Result<Proxy, SourceError> {
    proxy.map_err(|_| SourceError::Network {
        what: format!("the proxy in {name}"),
        problem: "its value is not the URL of a proxy, such as http://proxy.example.com:3128".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::loopback::*;
    use super::*;
    use crate::source::Source;

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

    #[test]
    fn a_value_that_is_no_url_is_not_repeated() {
        let environment = |name: &str| (name == "HTTPS_PROXY").then(|| "http://user:secret@[".into());
        let error = Proxies::from_environment(&environment).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_web_servers_request_header_is_no_proxy() {
        let environment = |name: &str| matches!(name, "HTTP_PROXY" | "REQUEST_METHOD").then(|| "evil.test".into());
        assert!(Proxies::from_environment(&environment).unwrap().0.is_empty());
    }
}
