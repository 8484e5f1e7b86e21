//! Docker's own lists of an archive's images, in which one has become another: `manifest.json`, and `repositories` where names are
//! given there too.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::SourceError;
use super::super::copied::Exchange;
use super::super::files::{Files, read_small};
use super::super::local::malformed;
use super::super::renamed::NewName;
use super::docker::{MANIFEST, promised_digest};
use super::legacy::REPOSITORIES;
use crate::image::digest::Digest;
use crate::image::edit::{EditError, Step, quoted, remove, replace, set_members};

/// What `manifest.json` says of an image, as far as it changes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
}

/// The name of the file for a config of this digest, where one of another digest is in the file `old`.
pub(in crate::source) fn file_of(old: &str, digest: &Digest) -> String {
    let hex = |digest: &Digest| digest.as_str().split_once(':').map(|(_, hex)| hex.to_owned()).unwrap_or_default();
    match promised_digest(old) {
        Some(promised) => old.replace(&hex(&promised), &hex(digest)),
        // A name that promises nothing stays.
        None => old.to_owned(),
    }
}

/// What is exchanged where the image that had its configs, one for each platform, in these files has them in those that they are
/// mapped to, and, where there is one, `name` for all its names. Nothing in an archive without `manifest.json`.
pub(in crate::source) fn renewed(
    files: &dyn Files,
    configs: &BTreeMap<String, String>,
    name: Option<&NewName>,
) -> Result<Vec<Exchange>, SourceError> {
    let unreadable = |error: EditError| malformed(files.place(), error.to_string());
    let invalid =
        |error: serde_json::Error| malformed(files.place(), format!("its {MANIFEST} cannot be read: {error}"));
    let Some(before) = text(files, MANIFEST)? else { return Ok(Vec::new()) };
    let entries: Vec<Entry> = serde_json::from_str(&before).map_err(invalid)?;
    let (own, others): (Vec<_>, Vec<_>) =
        entries.iter().enumerate().partition(|(_, entry)| configs.contains_key(&entry.config));
    let names =
        own.iter().flat_map(|(_, entry)| entry.repo_tags.iter().flatten()).map(String::as_str).collect::<Vec<_>>();
    if let Some(name) = name
        && others.iter().any(|(_, entry)| entry.repo_tags.iter().flatten().any(|other| name.is(other)))
    {
        return Err(name.is_taken(files));
    }
    let mut manifest = before;
    for (position, entry) in own.iter().rev() {
        let at = Step::Index(*position);
        let Some(config) = configs.get(&entry.config) else { continue };
        let config = quoted(config).map_err(unreadable)?;
        manifest = replace(&manifest, &[at, Step::Key("Config")], &config).map_err(unreadable)?;
        // An image may be listed once for each of its names.
        let is_again = || entries[..*position].iter().any(|other| other.config == entry.config);
        manifest = match name {
            None => manifest,
            Some(_) if is_again() => remove(&manifest, &[at]).map_err(unreadable)?,
            Some(name) => {
                let tags = format!("[{}]", quoted(name.short()).map_err(unreadable)?);
                set_members(&manifest, &[at], &[("RepoTags".to_owned(), Some(tags))]).map_err(unreadable)?
            }
        };
    }
    let exchange = |name: &str, content: String| Exchange {
        old: name.to_owned(),
        new: name.to_owned(),
        content: content.into(),
        keeps_old: false,
    };
    let mut exchanges = vec![exchange(MANIFEST, manifest)];
    if let Some(name) = name
        && let Some(repositories) = text(files, REPOSITORIES)?
    {
        exchanges.push(exchange(REPOSITORIES, repositories_renewed(files, &repositories, &names, name)?));
    }
    Ok(exchanges)
}

/// The image that has `names` in `repositories` under this name alone.
fn repositories_renewed(
    files: &dyn Files,
    repositories: &str,
    names: &[&str],
    name: &NewName,
) -> Result<String, SourceError> {
    let invalid =
        |error: serde_json::Error| malformed(files.place(), format!("its {REPOSITORIES} cannot be read: {error}"));
    let mut named: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(repositories).map_err(invalid)?;
    let mut id = None;
    for (repository, tag) in names.iter().filter_map(|name| name.rsplit_once(':')) {
        id = named.get_mut(repository).and_then(|tags| tags.remove(tag)).or(id);
    }
    named.retain(|_, tags| !tags.is_empty());
    if let (Some(id), Some((repository, tag))) = (id, name.short().rsplit_once(':')) {
        named.entry(repository.to_owned()).or_default().insert(tag.to_owned(), id);
    }
    serde_json::to_string(&named).map_err(invalid)
}

fn text(files: &dyn Files, name: &str) -> Result<Option<String>, SourceError> {
    let Some(bytes) = read_small(files, name)? else { return Ok(None) };
    let not_utf8 = |_| malformed(files.place(), format!("its {name} is not UTF-8"));
    String::from_utf8(bytes.to_vec()).map(Some).map_err(not_utf8)
}
