//! References as people type them, by Docker's rules for short names, and what to say if the text is not a reference.

use oci_distribution::{ParseError, Reference};

use crate::image::digest::Digest;
use crate::source::SourceError;
use crate::source::reference;

/// The host that requests to a registry go to. Docker Hub is asked where Docker asks it, which is what firewalls let through.
pub(super) fn host_of(registry: &str) -> &str {
    if matches!(registry, "docker.io" | "index.docker.io") { "registry-1.docker.io" } else { registry }
}

const LOWER_CASE: &str = "a repository's name is in lower case";

/// Reads a reference, and its digest as one that can be verified.
pub(super) fn parse(text: &str) -> Result<(Reference, Option<Digest>), SourceError> {
    let invalid = |problem: String| SourceError::InvalidReference { text: text.to_owned(), problem };
    let reference = reference::parse(text).map_err(|error| {
        let name = text.split(['@']).next().unwrap_or_default();
        let repository = name.rsplit_once('/').map_or(name, |(_, last)| last).split(':').next().unwrap_or_default();
        if let Some(problem) =
            text.split_once('@').filter(|_| !text.contains("://")).and_then(|(_, digest)| misspelt(digest))
        {
            return invalid(problem);
        }
        invalid(match error {
            ParseError::NameEmpty => {
                "it is empty; a reference looks like debian:12 or registry.example.com/app:1".into()
            }
            ParseError::ReferenceInvalidFormat if text.contains("://") => {
                "it is a URL; leave out the scheme, as in registry.example.com/app:1".into()
            }
            ParseError::ReferenceInvalidFormat if repository.contains(char::is_uppercase) => LOWER_CASE.into(),
            ParseError::ReferenceInvalidFormat => "it is not of the form [HOST[:PORT]/]NAME[:TAG][@DIGEST]".into(),
            other => other.to_string(),
        })
    })?;
    // The parser lets capitals through in a first component that could be a host but is not, as in `Team/app`.
    if reference.repository().contains(char::is_uppercase) {
        return Err(invalid(LOWER_CASE.to_owned()));
    }
    let pinned = reference.digest().map(str::parse::<Digest>).transpose();
    let pinned = pinned.map_err(|error| {
        let digest = reference.digest().unwrap_or_default();
        invalid(misspelt(digest).unwrap_or_else(|| error.to_string()))
    })?;
    Ok((reference, pinned))
}

/// What is wrong with a reference's digest, if anything is.
fn misspelt(digest: &str) -> Option<String> {
    let (algorithm, digits) = digest.split_once(':').unwrap_or((digest, ""));
    let length = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return Some("after @ comes a digest, sha256:… or sha512:…".to_owned()),
    };
    let rule = format!("a {algorithm} digest has {length} hexadecimal digits");
    match digits.chars().count() {
        _ if digits.chars().any(|digit| !digit.is_ascii_hexdigit()) => Some(format!("{rule}, 0 to 9 and a to f")),
        count if count != length => Some(format!("{rule}, and this one has {count}")),
        _ if digits.contains(|digit: char| digit.is_ascii_uppercase()) => Some(format!("{rule}, in lower case")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn short_names_are_docker_hubs() {
        for (text, whole) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("debian:12", "docker.io/library/debian:12"),
            ("grafana/grafana:11", "docker.io/grafana/grafana:11"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/team/app:1", "localhost:5000/team/app:1"),
        ] {
            assert_eq!(parse(text).unwrap().0.whole(), whole);
        }
    }

    #[test]
    fn a_tag_with_a_digest_is_pinned_to_the_digest() {
        let digest = Digest::of(b"x");
        let (reference, pinned) = parse(&format!("ghcr.io/o/app:1@{digest}")).unwrap();
        assert_eq!((reference.tag(), pinned), (Some("1"), Some(digest)));
    }

    #[test]
    fn what_is_no_reference_is_told_why() {
        assert!(error_of("").contains("it is empty"));
        for capital in ["registry.test/App:1", "App", "Team/app", "UPPER/case"] {
            assert!(error_of(capital).contains("lower case"), "{capital}");
        }
        assert!(error_of("https://registry.test/app").contains("leave out the scheme"));
        assert!(error_of("app:").contains("[HOST[:PORT]/]NAME[:TAG][@DIGEST]"));
        for (digest, expected) in [
            ("sha256:abc".to_owned(), "a sha256 digest has 64 hexadecimal digits, and this one has 3"),
            ("sha256:".to_owned(), "a sha256 digest has 64 hexadecimal digits, and this one has 0"),
            (format!("sha256:{}", "a".repeat(63)), "and this one has 63"),
            (format!("sha256:{}", "a".repeat(128)), "and this one has 128"),
            (format!("sha256:{}", "A".repeat(64)), "in lower case"),
            (format!("sha256:{}", "g".repeat(64)), "0 to 9 and a to f"),
            (format!("sha512:{}", "a".repeat(64)), "a sha512 digest has 128 hexadecimal digits, and this one has 64"),
            (format!("sha384:{}", "a".repeat(96)), "after @ comes a digest, sha256:… or sha512:…"),
            ("latest".to_owned(), "after @ comes a digest"),
            (String::new(), "after @ comes a digest"),
        ] {
            for name in ["app", "registry.test:5000/team/app:1"] {
                let error = error_of(&format!("{name}@{digest}"));
                assert!(error.contains("is not an image reference") && error.contains(expected), "{error}");
            }
        }
        // Where the digest is right, what is wrong is something else.
        assert!(error_of(&format!("App@{}", Digest::of(b""))).contains("lower case"));
    }
}
