//! Where an image is, by Docker's own prefixes, and how to get there: the one place that makes sources of what was typed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::arguments::RegistryArguments;
use super::local_cache::LocalCache;
use crate::artifact::{Error, blocking};
use crate::progress::Progress;
use crate::source::engine::{Engine, EngineOptions, OrEngine};
use crate::source::name::Name;
use crate::source::place::LocalSource;
use crate::source::registry::{Registry, RegistryOptions};
use crate::source::{Source, SourceError};

/// How to reach a registry, and the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// HTTP without TLS.
    pub plain_http: bool,
    /// TLS without checking the certificate.
    pub insecure: bool,
    /// Which engine is meant, and the folder of Docker's `config.json`, where one was named.
    pub engine: EngineOptions,
    /// Where what was seen is kept for the next time, if anywhere.
    pub cache: LocalCache,
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// There, as far as can be told without opening it.
    Named(Name),
    /// Nowhere: it is written as a file, and there is none.
    Missing {
        /// The file.
        what: String,
        /// What is wrong.
        detail: String,
    },
}

impl Location {
    /// Where it is. Fails where it is nowhere.
    fn named(&self) -> Result<&Name, SourceError> {
        match self {
            Location::Named(name) => Ok(name),
            Location::Missing { what, detail } => {
                Err(SourceError::NotFound { what: what.clone(), detail: detail.clone() })
            }
        }
    }
}

impl Access {
    /// What was typed, with what says which engine is meant.
    pub fn new(typed: RegistryArguments, engine: EngineOptions, cache: LocalCache) -> Self {
        Access { plain_http: typed.plain_http, insecure: typed.insecure, engine, cache }
    }

    /// The image in a registry that `reference` names.
    pub fn registry(&self, reference: &str, progress: Arc<dyn Progress>) -> Result<Arc<Registry>, SourceError> {
        let Access { plain_http, insecure, engine, cache } = self.clone();
        let cache = cache.open(&*progress);
        let EngineOptions { docker_config, unattended, .. } = engine;
        let options = RegistryOptions { plain_http, insecure, docker_config, cache, unattended, ..Default::default() };
        Ok(Arc::new(Registry::new(reference, options, progress)?))
    }

    /// The source that an image is in: one arm for each kind of place.
    pub async fn open(&self, image: &Location, progress: Arc<dyn Progress>) -> Result<Arc<dyn Source>, Error> {
        match image.named()?.clone() {
            Name::Registry { reference, is_prefixed, no_such_file } => {
                if let Some(file) = no_such_file {
                    let file = file.display();
                    progress
                        .notice(&format!("there is no file {file}; looking for an image of that name in a registry"));
                }
                let registry = self.registry(&reference, Arc::clone(&progress))?;
                if is_prefixed || registry.is_pinned() {
                    return Ok(registry);
                }
                Ok(Arc::new(OrEngine::new(registry, reference, self.engine.clone(), progress)))
            }
            Name::Archive { .. } | Name::Stdin { .. } | Name::Layout { .. } => Ok(self.local(image, progress).await?),
            Name::Engine { reference } => Ok(self.in_engine(&reference, progress)?),
        }
    }

    /// The image of the engine that `reference` names.
    pub fn in_engine(&self, reference: &str, progress: Arc<dyn Progress>) -> Result<Arc<Engine>, SourceError> {
        Ok(Arc::new(Engine::new(reference, &self.engine, progress)?))
    }

    /// The archive or the layout that an image is in.
    pub async fn local(&self, image: &Location, progress: Arc<dyn Progress>) -> Result<Arc<LocalSource>, Error> {
        type Open = dyn FnOnce() -> Result<LocalSource, SourceError> + Send;
        let open: Box<Open> = match image.named()?.clone() {
            Name::Archive { file, image } => Box::new(move || LocalSource::archive(&file, image, progress)),
            Name::Stdin { image } => Box::new(move || LocalSource::stdin(image, progress)),
            Name::Layout { directory, image } => Box::new(move || LocalSource::layout(&directory, image, progress)),
            name @ (Name::Registry { .. } | Name::Engine { .. }) => {
                return Err(Error::Bug(format!("{name:?} was taken for a file")));
            }
        };
        // Looking through an archive, and perhaps copying it, takes its time.
        Ok(Arc::new(blocking(move || Ok(open()?)).await?))
    }
}

/// Says, to whoever wants to know all, how much more the place will answer.
pub fn tell_rate_limit(source: &dyn Source) {
    if let Some(limit) = source.rate_limit() {
        tracing::debug!("{}: {limit}", source.name());
    }
}

/// Reads an IMAGE.
pub fn location(typed: &OsStr) -> Result<Location, String> {
    let text = typed.to_str().ok_or_else(|| format!("\"{}\" is not an image reference", typed.display()))?;
    if text.is_empty() {
        return Err("IMAGE is empty; write a reference such as debian:12".to_owned());
    }
    match Name::parse(text) {
        Ok(name) => {
            let (prefix, reference) = match &name {
                Name::Registry { reference, .. } => ("", reference.as_str()),
                Name::Engine { reference } => ("local://", reference.as_str()),
                Name::Archive { .. } | Name::Stdin { .. } | Name::Layout { .. } => ("", ""),
            };
            if let Some((image, path)) = with_path(reference) {
                return Err(format!("\"{text}\" is an image and a path; write them apart: {prefix}{image} /{path}"));
            }
            Ok(Location::Named(name))
        }
        Err(SourceError::NotFound { what, detail }) => Ok(Location::Missing { what, detail }),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads the name of an image in a registry, and gives its reference.
pub fn registry(typed: &OsStr) -> Result<String, String> {
    match location(typed)? {
        Location::Named(Name::Registry { reference, .. }) => Ok(reference),
        Location::Named(_) | Location::Missing { .. } => {
            let typed = typed.display();
            Err(format!(
                "\"{typed}\" is not a reference to an image in a registry; write one such as registry.example/app:1"
            ))
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
            ("local://app:1:etc/motd", "local://app:1 /etc/motd"),
        ] {
            let problem = location(typed.as_ref()).unwrap_err();
            assert!(problem.ends_with(&format!("write them apart: {apart}")), "{problem}");
        }
        for image in
            ["alpine", "alpine:3", "host:5000/app", "host:5000/app:1", "[::1]:5000/app", ":5000/x", "a/b@sha256:0"]
        {
            assert_eq!(registry(image.as_ref()).unwrap(), image);
        }
    }

    #[test]
    fn a_path_after_a_file_is_split_off_too_and_never_a_part_of_the_files_own() {
        let split = |typed: &str| {
            split_path(typed.as_ref())
                .map(|(image, path)| (image.to_str().unwrap().to_owned(), String::from_utf8(path.to_vec()).unwrap()))
        };
        for image in
            ["archive:///tmp/x.tar", "archive://x.tar#localhost:5000/app:1", "oci-dir:///tmp/layout:1", "./x", "-"]
        {
            assert_eq!(split(&format!("{image}:/bin/sh")), Some((image.to_owned(), "/bin/sh".to_owned())));
            assert_eq!(split(image), None);
        }
    }

    #[test]
    fn the_registry_prefix_is_taken_off_and_what_is_not_built_yet_says_so() {
        let refused = |image: &str| location(image.as_ref()).unwrap_err();
        assert_eq!(registry("registry://a/b:c".as_ref()).unwrap(), "a/b:c");
        assert!(registry("local://alpine".as_ref()).unwrap_err().contains("is not a reference"));
        assert!(registry("archive://image.tar".as_ref()).unwrap_err().contains("is not a reference"));
        assert!(refused("https://ghcr.io/a/b").contains("leave out the scheme"));
        assert!(refused("").contains("IMAGE is empty"));
    }

    #[test]
    fn a_missing_file_is_not_a_wrong_command_line() {
        assert!(matches!(location("./none/x.tar".as_ref()), Ok(Location::Missing { .. })));
    }
}
