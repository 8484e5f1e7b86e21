//! The grammar of references, as Docker and the crate `oci_distribution` have it, taken apart by hand.
//!
//! The crate's own parser does it with a pattern whose compiling takes more time than a small file does to come. Both agree, as the
//! tests show, except in one thing: a tag is ASCII here, as the distribution-spec has it (*Pulling manifests*), and may have any
//! script's letters there.
//!
//! ```text
//! reference = [ domain "/" ] path [ ":" tag ] [ "@" digest ]
//! domain    = label *( "." label ) [ ":" port ]
//! path      = component *( "/" component )
//! component = alnum *( ( "." | "_" | "__" | *"-" ) alnum )          in lower case
//! ```

use oci_distribution::{ParseError, Reference};

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_BEFORE: &str = "index.docker.io";
/// No repository's name has more bytes.
const MAX_REPOSITORY: usize = 255;
/// No tag has more bytes.
const MAX_TAG: usize = 128;
/// No digest has fewer digits, whatever its algorithm.
const MIN_DIGITS: usize = 32;

/// Reads a reference by Docker's rules for short names. It fails as the crate's parser does.
pub fn parse(text: &str) -> Result<Reference, ParseError> {
    if text.is_empty() {
        return Err(ParseError::NameEmpty);
    }
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    // A colon with a slash behind it is that of a port.
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    if !is_name(name) || !tag.is_none_or(is_tag) || !digest.is_none_or(is_digest) {
        return Err(ParseError::ReferenceInvalidFormat);
    }
    let (registry, repository) = split(name);
    if repository.len() > MAX_REPOSITORY {
        return Err(ParseError::NameTooLong);
    }
    digest.map_or(Ok(()), check_length)?;
    let (tag, digest) = (tag.map(str::to_owned), digest.map(str::to_owned));
    Ok(match (tag, digest) {
        (Some(tag), Some(digest)) => Reference::with_tag_and_digest(registry, repository, tag, digest),
        (None, Some(digest)) => Reference::with_digest(registry, repository, digest),
        (tag, None) => Reference::with_tag(registry, repository, tag.unwrap_or_else(|| "latest".to_owned())),
    })
}

/// The short form in which Docker writes a reference: without `docker.io/`, `library/`, and a tag that is not written. `None` where
/// Docker takes the text for no reference.
///
/// It is what `reference.FamiliarString` of distribution gives for what `reference.ParseNormalizedNamed` reads. These differ from
/// `parse` in that a bare image ID is no reference, and that capital letters in the first component make it a registry's name.
pub fn familiar(text: &str) -> Option<String> {
    let is_id = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let reference = parse(text).ok().filter(|_| !is_id)?;
    let (registry, repository) = (reference.registry(), reference.repository());
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut short = match repository.strip_prefix("library/") {
        _ if registry != DOCKER_HUB => format!("{registry}/{repository}"),
        Some(name) if !name.contains('/') => name.to_owned(),
        _ => repository.to_owned(),
    };
    // `parse` adds a tag where none is written, so whether there is one is for the text to say.
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    if let Some((_, tag)) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        short.extend([":", tag]);
    }
    if let Some(digest) = reference.digest() {
        short.extend(["@", digest]);
    }
    Some(short)
}

/// The registry and the repository that a name means: its first component is the registry's if it could be that of a host
/// on a network (`HOST.TEST/app`, `host:5000/app`, `localhost/app`).
fn split(name: &str) -> (String, String) {
    let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
    let (registry, repository) = match name.split_once('/') {
        Some((DOCKER_HUB_BEFORE, rest)) => (DOCKER_HUB, rest),
        Some((first, rest)) if is_host(first) => (first, rest),
        _ => (DOCKER_HUB, name),
    };
    let is_official = registry == DOCKER_HUB && !repository.contains('/');
    let repository = if is_official { format!("library/{repository}") } else { repository.to_owned() };
    (registry.to_owned(), repository)
}

fn is_name(name: &str) -> bool {
    let is_path = |path: &str| path.split('/').all(is_component);
    is_path(name) || name.split_once('/').is_some_and(|(domain, path)| is_domain(domain) && is_path(path))
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = domain.split_once(':').map_or((domain, None), |(host, port)| (host, Some(port)));
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_component(component: &str) -> bool {
    let is_alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator =
        |separator: &str| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
    component.starts_with(is_alnum) && component.ends_with(is_alnum) && component.split(is_alnum).all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_TAG).contains(&tag.len())
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
        && tag.bytes().next().is_some_and(is_word)
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, digits)) = digest.split_once(':') else { return false };
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(is_part)
        && digits.len() >= MIN_DIGITS
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Checks that a digest is of an algorithm that is known, and has its number of digits.
fn check_length(digest: &str) -> Result<(), ParseError> {
    let (algorithm, digits) = digest.split_once(':').ok_or(ParseError::DigestInvalidFormat)?;
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(ParseError::DigestUnsupported),
    };
    if digits.len() == length { Ok(()) } else { Err(ParseError::DigestInvalidLength) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the crate's parser.
    fn check(text: &str) {
        let theirs = text.parse::<Reference>();
        let ours = parse(text);
        assert_eq!(ours, theirs, "{text:?}");
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            assert_eq!(ours.whole(), theirs.whole(), "{text:?}");
        }
    }

    #[test]
    fn the_short_form_leaves_out_what_docker_leaves_out() {
        let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (text, short) in [
            ("alpine", "alpine"),
            ("alpine:3.20", "alpine:3.20"),
            ("alpine:latest", "alpine:latest"),
            ("library/alpine", "alpine"),
            ("docker.io/library/alpine:3", "alpine:3"),
            ("index.docker.io/alpine", "alpine"),
            ("docker.io/golangci/golangci-lint:v2", "golangci/golangci-lint:v2"),
            ("docker.io/library/a/b", "library/a/b"),
            ("ghcr.io/library/alpine", "ghcr.io/library/alpine"),
            ("ghcr.io/astral-sh/uv:0.5", "ghcr.io/astral-sh/uv:0.5"),
            ("localhost:5000/app", "localhost:5000/app"),
            ("localhost:5000/app:1", "localhost:5000/app:1"),
            (&format!("app@sha256:{id}"), &format!("app@sha256:{id}")),
            (&format!("docker.io/library/app:1@sha256:{id}"), &format!("app:1@sha256:{id}")),
        ] {
            assert_eq!(familiar(text).as_deref(), Some(short), "{text}");
        }
        for text in ["", "App", "Foo/bar", "a b", "a:", id, "a@sha256:00", "a//b", "tools-", "$A"] {
            assert_eq!(familiar(text), None, "{text}");
        }
    }

    #[test]
    fn every_short_text_is_read_as_the_crate_reads_it() {
        // A letter of each kind that the grammar tells apart.
        let letters = ['a', 'A', '0', '.', '_', '-', ':', '/', '@'];
        let mut texts = vec![String::new()];
        for _ in 0..6 {
            texts.iter().for_each(|text| check(text));
            texts = texts.iter().flat_map(|text| letters.map(|letter| format!("{text}{letter}"))).collect();
        }
    }

    #[test]
    fn every_combination_of_odd_parts_is_read_as_the_crate_reads_it() {
        let long = |length: usize| "a".repeat(length);
        let (longest, too_long) = (format!("r.test/{}", long(255)), format!("r.test/{}", long(256)));
        let names = [
            "",
            "a",
            "A",
            "a.b",
            "A.b",
            "a/b",
            "A/b",
            "a/B",
            "A.B/c",
            "a..b",
            "a__b",
            "a___b",
            "a_.b",
            "a--b",
            "a-._b",
            "a-",
            "-a",
            "a.",
            ".a",
            "_a",
            "a_",
            "localhost",
            "localhost/a",
            "LOCALHOST/a",
            "docker.io/a",
            "docker.io/a/b",
            "docker.io",
            "index.docker.io/a",
            "index.docker.io/a/b",
            "index.docker.io/library/a",
            "Docker.io/a",
            "registry-1.docker.io/a",
            "h:1/a",
            "h:1/A",
            "h:/a",
            "h:x/a",
            "h:1:2/a",
            "h:99999999/a",
            ":1/a",
            "h:1",
            "-h:1/a",
            "h-:1/a",
            "h-.x/a",
            "h..x/a",
            ".h/a",
            "h./a",
            "h_x:1/a",
            "h_x/a",
            "h.x//a",
            "/a",
            "a/",
            "h.x/",
            "a//b",
            "[::1]:5000/a",
            "[::1]/a",
            "::1/a",
            "1.2.3.4/a",
            "1.2.3.4:5/a/b/c",
            "https://h.x/a",
            "a b",
            " a",
            "a ",
            "a\n",
            "\na",
            "a\0",
            "ä",
            "h.ä/a",
            "xn--n3h.com/a",
            "a/b:c/d",
            "a/b__c/d-e.f",
            &longest,
            &too_long,
            &long(255),
            &long(256),
            &long(2000),
        ];
        let tags = [
            "",
            ":",
            ":1",
            ":a",
            ":A.b-c_d",
            ":.a",
            ":-a",
            ":_a",
            ":a:b",
            ":a/b",
            ":a b",
            ":latest\n",
            &format!(":{}", long(128)),
            &format!(":{}", long(129)),
        ];
        let digest = |algorithm: &str, digit: &str, length: usize| format!("@{algorithm}:{}", digit.repeat(length));
        let digests = [
            String::new(),
            "@".into(),
            "@sha256".into(),
            "@sha256:".into(),
            "@:".into(),
            digest("sha256", "a", 64),
            digest("sha256", "A", 64),
            digest("sha256", "g", 64),
            digest("sha256", "a", 63),
            digest("sha256", "a", 65),
            digest("sha256", "a", 32),
            digest("sha256", "a", 31),
            digest("sha384", "0", 96),
            digest("sha512", "0", 128),
            digest("sha512", "0", 64),
            digest("SHA256", "0", 64),
            digest("md5", "0", 32),
            digest("sha256+b64", "0", 64),
            digest("sha256.a-b_c", "0", 64),
            digest("sha256..a", "0", 64),
            digest("256", "0", 64),
            digest("", "0", 64),
            digest("a.2", "0", 64),
            format!("{0}{0}", digest("sha256", "a", 64)),
            format!("{}\n", digest("sha256", "a", 64)),
        ];
        for name in names {
            for tag in tags {
                for digest in &digests {
                    check(&format!("{name}{tag}{digest}"));
                }
            }
        }
    }

    #[test]
    fn a_tag_is_ascii() {
        for tag in ["ä", "1ä", "日本", "a\u{301}", "٣"] {
            assert_eq!(parse(&format!("app:{tag}")), Err(ParseError::ReferenceInvalidFormat));
        }
    }
}
