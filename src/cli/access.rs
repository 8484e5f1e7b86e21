//! Where an image is, by Docker's own prefixes, and how to get there: the one place that makes sources of what was typed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::arguments::RegistryArguments;
use crate::progress::Progress;
use crate::source::registry::{Registry, RegistryOptions};
use crate::source::{Source, SourceError};

/// How to reach a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// HTTP without TLS.
    pub plain_http: bool,
    /// TLS without checking the certificate.
    pub insecure: bool,
    /// The folder of Docker's `config.json`, where one was named.
    pub docker_config: Option<PathBuf>,
}

/// Where an image is, by Docker's own prefixes. Each place that images can be got from is one variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `registry://REF`, or no prefix.
    Registry(String),
}

impl Access {
    /// What was typed, with the folder of Docker's `config.json` where one was named.
    pub fn new(typed: RegistryArguments, docker_config: Option<PathBuf>) -> Self {
        Access { plain_http: typed.plain_http, insecure: typed.insecure, docker_config }
    }

    /// The image in a registry that `reference` names.
    pub fn registry(&self, reference: &str, progress: Arc<dyn Progress>) -> Result<Arc<Registry>, SourceError> {
        let Access { plain_http, insecure, docker_config } = self.clone();
        let options = RegistryOptions { plain_http, insecure, docker_config, ..Default::default() };
        Ok(Arc::new(Registry::new(reference, options, progress)?))
    }

    /// The source that an image is in: one arm for each kind of place.
    pub fn open(&self, image: &Location, progress: Arc<dyn Progress>) -> Result<Arc<dyn Source>, SourceError> {
        match image {
            Location::Registry(reference) => Ok(self.registry(reference, progress)?),
        }
    }
}

impl Location {
    /// Reads an IMAGE.
    pub fn parse(typed: &OsStr) -> Result<Self, String> {
        let text = typed.to_str().ok_or_else(|| format!("\"{}\" is not an image reference", typed.display()))?;
        let (prefix, rest) = match text.split_once("://") {
            Some((prefix, rest)) => (Some(prefix), rest),
            None => (None, text),
        };
        match prefix {
            None | Some("registry") if rest.is_empty() => {
                Err("IMAGE is empty; write a reference such as debian:12".to_owned())
            }
            None | Some("registry") => match with_path(rest) {
                Some((image, path)) => {
                    Err(format!("\"{text}\" is an image and a path; write them apart: {image} /{path}"))
                }
                None => Ok(Location::Registry(rest.to_owned())),
            },
            Some("local" | "archive" | "oci-dir") => Err(format!(
                "\"{text}\": images at {}:// are not supported yet; use one in a registry",
                prefix.unwrap_or_default()
            )),
            Some("http" | "https" | "docker") => Err(format!(
                "\"{text}\" is not an image reference; leave out the \"{}://\"",
                prefix.unwrap_or_default()
            )),
            Some(_) => {
                Err(format!("\"{text}\" is not an image reference; write registry://REFERENCE, or REFERENCE alone"))
            }
        }
    }
}

/// Splits `IMAGE:/path`, as in `docker cp`, at the first colon with a slash after it, other than that of a prefix
/// (`registry://`). No reference has one. `None` where there is none, or nothing before it.
pub fn split_path(typed: &OsStr) -> Option<(&OsStr, &[u8])> {
    let bytes = typed.as_bytes();
    let colon_after = |from: usize| bytes[from..].windows(2).position(|pair| pair == b":/").map(|at| from + at);
    let (begin, colon) = match colon_after(0)? {
        prefix if bytes[prefix..].starts_with(b"://") => (prefix + 3, colon_after(prefix + 3)?),
        colon => (0, colon),
    };
    if colon == begin {
        return None;
    }
    Some((OsStr::from_bytes(&bytes[..colon]), &bytes[colon + 1..]))
}

/// The image and the path in what `docker cp` would take for both, with or without a slash at the path's beginning. A colon
/// with a slash somewhere behind it is that of a port, or none of a reference.
fn with_path(typed: &str) -> Option<(&str, &str)> {
    let (image, path) = match split_path(typed.as_ref()) {
        Some((image, _)) => typed.split_at(image.len()),
        None => typed.rsplit_once(':').map(|(image, _)| typed.split_at(image.len()))?,
    };
    let path = path.strip_prefix(':')?;
    let first = path.split_once('/')?.0;
    let is_port = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    (!is_port && !image.is_empty()).then(|| (image, path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_after_the_image_is_split_off_at_a_colon_with_a_slash() {
        let split = |typed: &str| {
            split_path(typed.as_ref())
                .map(|(image, path)| (image.to_str().unwrap().to_owned(), String::from_utf8(path.to_vec()).unwrap()))
        };
        let digest = format!("app@sha256:{}", "0".repeat(64));
        for image in ["alpine", "alpine:3", "registry:5000/x:1", "registry:5000/x", "registry://a/b:c", &digest] {
            for path in ["/", "/bin/sh", "/a:/b", "/etc/*", "/x://y"] {
                assert_eq!(split(&format!("{image}:{path}")), Some((image.to_owned(), path.to_owned())));
            }
            assert_eq!(split(image), None);
        }
        for other in [":/x", "registry://:/x", "/a/b", "./x", ""] {
            assert_eq!(split(other), None, "{other}");
        }
    }

    #[test]
    fn an_image_with_a_path_where_an_image_alone_is_meant_is_told_to_be_written_apart() {
        for (typed, apart) in [
            ("alpine:/etc/motd", "alpine /etc/motd"),
            ("alpine:etc/motd", "alpine /etc/motd"),
            ("alpine:3:/", "alpine:3 /"),
            ("localhost:5000/app:etc/motd", "localhost:5000/app /etc/motd"),
            ("registry://host:5000/app:1:/etc/a:/b", "host:5000/app:1 /etc/a:/b"),
        ] {
            let problem = Location::parse(typed.as_ref()).unwrap_err();
            assert!(problem.ends_with(&format!("write them apart: {apart}")), "{problem}");
        }
        for image in
            ["alpine", "alpine:3", "host:5000/app", "host:5000/app:1", "[::1]:5000/app", ":5000/x", "a/b@sha256:0"]
        {
            assert_eq!(Location::parse(image.as_ref()), Ok(Location::Registry(image.into())));
        }
    }

    #[test]
    fn the_registry_prefix_is_taken_off_and_other_places_are_not_built_yet() {
        let refused = |image: &str| Location::parse(image.as_ref()).unwrap_err();
        assert_eq!(Location::parse("registry://a/b:c".as_ref()), Ok(Location::Registry("a/b:c".into())));
        for image in ["local://alpine", "archive://image.tar", "oci-dir://layout:tag"] {
            assert!(refused(image).contains("not supported yet"), "{image}");
        }
        assert!(refused("https://ghcr.io/a/b").contains("leave out the \"https://\""));
        assert!(refused("registry://").contains("IMAGE is empty"));
    }
}
