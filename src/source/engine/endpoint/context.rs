//! Docker's contexts: an engine's address and TLS under a name, kept in files beside `config.json`.
//!
//! A context of name NAME is `contexts/meta/HASH/meta.json`, and its TLS files are in `contexts/tls/HASH/docker`, where HASH is
//! the SHA-256 of NAME: so no name, however it is written, leads anywhere else. Spec: docker/cli, `cli/context/store`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::tls::TlsFiles;
use crate::image::digest::Digest;
use crate::source::SourceError;

/// The context that stands for what the flags and `DOCKER_HOST` say, and else for the default socket.
pub(super) const DEFAULT: &str = "default";

/// No `meta.json` is longer than this many bytes: one has some hundred.
const MAX_META: u64 = 1 << 20;

/// How many contexts are listed for someone who named one that is not there.
const MAX_LISTED: usize = 20;

/// What a context says of its engine.
#[derive(Debug)]
pub(super) struct Context {
    /// The engine's address; empty for the default one.
    pub host: String,
    /// How it is spoken to with TLS, where the context has anything to say of that.
    pub tls: Option<TlsFiles>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    #[serde(default)]
    name: String,
    #[serde(default)]
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    host: String,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

impl Context {
    /// Reads the context of this name, which `origin` gave, from Docker's folder.
    pub fn read(folder: Option<&Path>, name: &str, origin: &str) -> Result<Self, SourceError> {
        let hash = Digest::of(name.as_bytes());
        let hash = hash.as_str().rsplit(':').next().unwrap_or_default().to_owned();
        let contexts = folder.map(|folder| folder.join("contexts"));
        let meta = contexts.as_deref().map(|contexts| read_meta(&contexts.join("meta").join(&hash))).transpose()?;
        let (Some(contexts), Some(meta)) = (&contexts, meta.flatten()) else {
            return Err(SourceError::Setting { message: missing(contexts.as_deref(), name, origin) });
        };
        let Some(Endpoint { host, skip_tls_verify }) = meta.endpoints.into_iter().find_map(docker) else {
            let name = name.escape_debug();
            let message = format!("the context \"{name}\" ({origin}) has no Docker engine; name another");
            return Err(SourceError::Setting { message });
        };
        let tls = TlsFiles::in_folder(&contexts.join("tls").join(hash).join("docker"), skip_tls_verify);
        Ok(Context { host, tls })
    }
}

fn docker((kind, endpoint): (String, Endpoint)) -> Option<Endpoint> {
    (kind == "docker").then_some(endpoint)
}

/// The description of a context in its folder; `None` where there is none.
fn read_meta(folder: &Path) -> Result<Option<Meta>, SourceError> {
    let path = folder.join("meta.json");
    let unreadable = |problem: String| SourceError::Credentials {
        message: format!(
            "{} cannot be read: {problem}; remove it with docker context rm, and create it again",
            path.display()
        ),
    };
    let mut text = Vec::new();
    match File::open(&path).and_then(|file| file.take(MAX_META + 1).read_to_end(&mut text)) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
        Ok(_) if text.len() as u64 > MAX_META => Err(unreadable("it is longer than any context's".to_owned())),
        Ok(_) => serde_json::from_slice(&text).map(Some).map_err(|error| {
            unreadable(format!("it is not a context's JSON at line {}, column {}", error.line(), error.column()))
        }),
    }
}

/// What to say of a context that is not there.
fn missing(contexts: Option<&Path>, name: &str, origin: &str) -> String {
    let mut names: Vec<String> = contexts.map(names).unwrap_or_default();
    names.retain(|other| other != DEFAULT);
    names.sort();
    let more = names.len().saturating_sub(MAX_LISTED);
    names.truncate(MAX_LISTED);
    names.insert(0, DEFAULT.to_owned());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "there is no Docker context \"{}\" ({origin}); there is {}{more}",
        name.escape_debug(),
        names.iter().map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(", ")
    )
}

/// The names of the contexts that can be read: about 100 bytes each, of which a user has a handful.
fn names(contexts: &Path) -> Vec<String> {
    let folders = fs::read_dir(contexts.join("meta")).into_iter().flatten().flatten();
    let folders = folders.map(|entry| entry.path()).collect::<Vec<PathBuf>>();
    folders.iter().filter_map(|folder| read_meta(folder).ok().flatten()).map(|meta| meta.name).collect()
}
