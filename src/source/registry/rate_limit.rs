//! How many more requests a registry will answer, where it says so: Docker Hub's `ratelimit-limit` and `ratelimit-remaining`
//! (<https://docs.docker.com/docker-hub/usage/pulls/>), of the form `97;w=21600`, after the IETF draft
//! draft-polli-ratelimit-headers.

use std::fmt;

use reqwest::header::HeaderMap;

/// What a registry said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many are left.
    pub remaining: u64,
    /// Of how many, where it says.
    pub limit: Option<u64>,
    /// In how many seconds, where it says.
    pub window: Option<u64>,
}

impl RateLimit {
    /// What these headers of an answer say, if anything.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let read = |name: &str| {
            let text = headers.get(name)?.to_str().ok()?;
            let mut parts = text.split(';').map(str::trim);
            let number: u64 = parts.next()?.parse().ok()?;
            Some((number, parts.find_map(|part| part.strip_prefix("w=")?.parse().ok())))
        };
        let (remaining, window) = read("ratelimit-remaining")?;
        let limit = read("ratelimit-limit");
        let window = window.or_else(|| limit.and_then(|(_, window)| window));
        Some(RateLimit { remaining, limit: limit.map(|(number, _)| number), window })
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ratelimit-remaining {}", self.remaining)?;
        if let Some(limit) = self.limit {
            write!(f, " of {limit}")?;
        }
        match self.window {
            Some(window) if window >= 3600 && window % 3600 == 0 => write!(f, " in {} h", window / 3600),
            Some(window) => write!(f, " in {window} s"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::*;

    #[test]
    fn what_is_left_is_told_in_one_phrase() {
        for (headers, told) in [
            (&[("ratelimit-remaining", "97;w=21600")][..], "ratelimit-remaining 97 in 6 h"),
            (
                &[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")],
                "ratelimit-remaining 0 of 100 in 6 h",
            ),
            (&[("ratelimit-limit", "100, 100;w=60"), ("ratelimit-remaining", "5")], "ratelimit-remaining 5"),
            (&[("ratelimit-remaining", "5;comment=x; w=90")], "ratelimit-remaining 5 in 90 s"),
            (&[("ratelimit-remaining", "many")], ""),
            (&[("ratelimit-limit", "100")], ""),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
                .collect();
            assert_eq!(RateLimit::of(&map).map_or(String::new(), |limit| limit.to_string()), told);
        }
    }
}
