//! The challenges in a `WWW-Authenticate` header (RFC 9110, section 11.6.1; distribution-spec token authentication).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// One way in which the registry would let us in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from the server at `realm`.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
    /// User name and password.
    Basic,
}

/// All challenges of an answer that this program knows how to meet.
pub(super) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE);
    values.iter().filter_map(|value| value.to_str().ok()).flat_map(parse).collect()
}

fn parse(header: &str) -> Vec<Challenge> {
    let mut schemes: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            // Nothing a token can begin with: skip one character rather than give up on what follows.
            let mut characters = rest.chars();
            match characters.next() {
                Some(_) => rest = characters.as_str(),
                None => break,
            }
            continue;
        }
        // `name = value` belongs to the scheme before it; a word alone is the next scheme.
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = parameter_value(value.trim_start());
                if let Some((_, parameters)) = schemes.last_mut() {
                    parameters.push((word.to_ascii_lowercase(), value));
                }
                rest = after;
            }
            None => {
                schemes.push((word.to_ascii_lowercase(), Vec::new()));
                rest = after;
            }
        }
    }
    schemes.into_iter().filter_map(|(scheme, parameters)| known(&scheme, parameters)).collect()
}

fn known(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let get = |name: &str| {
        parameters.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone())
    };
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: get("realm")?, service: get("service"), scope: get("scope") }),
        _ => None,
    }
}

/// The token at the start of `text`, and what follows it.
fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// The token or quoted string at the start of `text`, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        // More than a token may hold: some registries leave the quotes out around a URL.
        let (value, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    (value, characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn a_bearer_challenge_keeps_the_commas_inside_its_quotes() {
        let header =
            r#"Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull,push""#;
        let expected = bearer("https://auth.test/token", Some("registry.test"), Some("repository:a/b:pull,push"));
        assert_eq!(parse(header), [expected]);
    }

    #[test]
    fn several_challenges_in_one_header_are_told_apart() {
        let header =
            r#"Negotiate abc==, basic realm="a \"quoted\" realm", BEARER Realm = https://auth.test/t , service=s"#;
        assert_eq!(parse(header), [Challenge::Basic, bearer("https://auth.test/t", Some("s"), None)]);
    }

    #[test]
    fn nonsense_is_no_challenge_and_no_panic() {
        for header in ["", ",,,", "\"", "Bearer", "Bearer realm=", "Bearer realm=\"", "=\"x", "Digest a=\"\\", "é ä=ö"]
        {
            assert_eq!(parse(header), [], "{header}");
        }
    }
}
