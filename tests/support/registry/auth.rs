//! Who may do what: nobody asked, Basic, or Bearer tokens with the server that issues them (RFC 7235, RFC 6750, and the
//! distribution project's *Token Authentication* and *OAuth2 Token Authentication*).

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::http::{Request, Response, form, value_of};

/// How a registry asks for credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Scheme {
    /// It does not.
    #[default]
    Open,
    /// User name and password in each request.
    Basic,
    /// Tokens, from the registry's own `/token`.
    Bearer,
}

/// The accounts of a registry and the tokens it gave.
#[derive(Default)]
pub struct Auth {
    /// How credentials are asked for.
    pub scheme: Scheme,
    /// Users and passwords.
    pub accounts: Vec<(String, String)>,
    /// Refresh tokens that `/token` exchanges.
    pub identity_tokens: Vec<String>,
    /// Tokens that are accepted as they are, for everything.
    pub registry_tokens: Vec<String>,
    /// Whether anyone may pull.
    pub public: bool,
    /// How many requests a token lasts for.
    pub token_uses: Option<usize>,
    /// What the token server gave out.
    pub issued: Mutex<HashMap<String, Token>>,
}

/// A token that was issued.
pub struct Token {
    scopes: Vec<String>,
    uses: usize,
}

impl Auth {
    /// Lets the request pass, or gives the answer that asks for (other) credentials. `scope` is what it needs, such as
    /// `repository:team/app:pull`; `base` is the registry's own URL.
    pub fn check(&self, request: &Request, scope: Option<&str>, base: &str) -> Result<(), Response> {
        let header = request.header("authorization");
        let accepted = match self.scheme {
            Scheme::Open => true,
            Scheme::Basic => {
                (self.public && scope.is_some_and(|scope| scope.ends_with(":pull"))) || self.knows_basic(header)
            }
            Scheme::Bearer => header.strip_prefix("Bearer ").is_some_and(|token| self.spend(token, scope)),
        };
        if accepted {
            return Ok(());
        }
        let challenge = match (self.scheme, scope) {
            (Scheme::Bearer, Some(scope)) => {
                format!(r#"Bearer realm="{base}/token",service="registry.test",scope="{scope}""#)
            }
            (Scheme::Bearer, None) => format!(r#"Bearer realm="{base}/token",service="registry.test""#),
            _ => r#"Basic realm="registry.test""#.to_owned(),
        };
        Err(Response::error(401, "UNAUTHORIZED").header("WWW-Authenticate", &challenge))
    }

    fn knows_basic(&self, header: &str) -> bool {
        let pair = header.strip_prefix("Basic ").and_then(|encoded| STANDARD.decode(encoded).ok());
        pair.is_some_and(|pair| {
            self.accounts.iter().any(|(user, password)| format!("{user}:{password}").as_bytes() == pair)
        })
    }

    fn spend(&self, token: &str, scope: Option<&str>) -> bool {
        if self.registry_tokens.iter().any(|known| known == token) {
            return true;
        }
        let mut issued = self.issued.lock().expect("no thread panics here");
        let Some(known) = issued.get_mut(token).filter(|known| known.uses > 0) else { return false };
        known.uses -= 1;
        scope.is_none_or(|wanted| known.scopes.iter().any(|granted| covers(granted, wanted)))
    }

    /// The token server.
    pub fn token(&self, request: &Request) -> Response {
        let is_post = request.method == "POST";
        let fields = if is_post { form(&request.text()) } else { request.query() };
        let field = |name: &str| value_of(fields.clone(), name);
        let header = request.header("authorization");
        let asked: Vec<String> =
            fields.iter().filter(|(key, _)| key == "scope").map(|(_, value)| value.clone()).collect();
        let is_known = match field("grant_type").as_deref() {
            Some("refresh_token") => {
                self.identity_tokens.iter().any(|known| Some(known) == field("refresh_token").as_ref())
            }
            Some("password") => {
                let pair = (field("username").unwrap_or_default(), field("password").unwrap_or_default());
                self.accounts.contains(&pair)
            }
            Some(_) => false,
            None => self.knows_basic(header),
        };
        if !is_known && (is_post || !header.is_empty()) {
            return Response::error(401, "UNAUTHORIZED");
        }
        // Who shows no credentials gets a token all the same, but one that opens nothing private, as Docker Hub does it.
        let scopes = match (is_known, self.public) {
            (true, _) => asked,
            (false, true) => {
                asked.iter().filter_map(|scope| Some(format!("{}:pull", scope.rsplit_once(':')?.0))).collect()
            }
            (false, false) => Vec::new(),
        };
        let mut issued = self.issued.lock().expect("no thread panics here");
        let token = format!("issued-token-{}", issued.len() + 1);
        issued.insert(token.clone(), Token { scopes, uses: self.token_uses.unwrap_or(usize::MAX) });
        let name = if is_post { "access_token" } else { "token" };
        Response::json(&json!({name: token, "expires_in": 300}))
    }
}

/// Whether a granted scope (`repository:NAME:pull,push`) covers a wanted one with a single action.
fn covers(granted: &str, wanted: &str) -> bool {
    let (Some((granted_name, actions)), Some((wanted_name, action))) =
        (granted.rsplit_once(':'), wanted.rsplit_once(':'))
    else {
        return false;
    };
    granted_name == wanted_name && actions.split(',').any(|known| known == action || known == "*")
}
