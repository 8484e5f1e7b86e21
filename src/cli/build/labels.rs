//! What comes after a build that declares artifacts: its result is labelled as `docker artifact label` does it, by the digest that
//! BuildKit says it has, and the files that tell of the result bear the new digest.

use std::sync::Arc;

use super::super::access::Access;
use super::super::failure::Failure;
use super::super::metadata_file::{MetadataFile, Moved};
use super::super::progress::Display;
use oci_distribution::Reference;

use crate::artifact::Error;
use crate::artifact::label::{Labelled, Request, label, label_in_engine};
use crate::build::command_line::CommandLine;
use crate::image::digest::Digest;
use crate::image::label::{Name, PREFIX};
use crate::plugin::boolean;
use crate::progress::Progress as _;
use crate::source::engine::Engine;
use crate::source::registry::{Registry, pinned};
use crate::source::{Source as _, SourceError, Store as _};

/// Where the result of a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// In registries, under its names.
    Registry,
    /// In the engine.
    Engine,
}

/// Where the result of the build `line` goes, if that is a place where it can be labelled. `has_own_store` says that the builder keeps
/// images in the engine, and puts its results there by itself.
pub fn destination(line: &CommandLine, has_own_store: bool) -> Option<Destination> {
    let outputs: Vec<Output> = line.outputs.iter().map(|typed| Output::parse(typed)).collect();
    if line.push || outputs.iter().any(Output::is_pushed) {
        return Some(Destination::Registry);
    }
    let is_loaded = line.load || outputs.iter().any(|output| output.is_loaded(has_own_store));
    (is_loaded || (outputs.is_empty() && has_own_store)).then_some(Destination::Engine)
}

/// One `--output`: `type=image,push=true`, or a folder.
struct Output<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Output<'a> {
    fn parse(typed: &'a str) -> Self {
        Output(typed.split(',').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known.trim().eq_ignore_ascii_case(key)).map(|(_, value)| value.trim())
    }

    fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| boolean(value.as_ref()) == Some(true))
    }

    fn is_pushed(&self) -> bool {
        self.get("type") == Some("registry") || (self.get("type") == Some("image") && self.is_on("push"))
    }

    fn is_loaded(&self, has_own_store: bool) -> bool {
        match self.get("type") {
            Some("docker") => self.get("dest").is_none(),
            Some("image") => has_own_store,
            _ => false,
        }
    }
}

/// Whether labels of the command line declare an artifact, as those of a Dockerfile may.
pub fn declare(labels: &[(String, String)]) -> bool {
    let is_name = |key: &str| key.strip_prefix(PREFIX).is_some_and(|name| name.parse::<Name>().is_ok());
    labels.iter().any(|(key, value)| is_name(key) && value.starts_with('/'))
}

/// Whether the result gets no tag where it is pushed, as where another build is to be put beside it.
pub fn is_pushed_by_digest(line: &CommandLine) -> bool {
    line.outputs.iter().any(|typed| Output::parse(typed).is_on("push-by-digest"))
}

/// The names of the result: those that BuildKit tells, else, from an older one, those that were asked for.
pub fn names(metadata: &MetadataFile, line: &CommandLine) -> Vec<String> {
    if let Ok(names) = metadata.names() {
        return names.into_iter().map(str::to_owned).collect();
    }
    let of_outputs = line.outputs.iter().filter_map(|typed| Output::parse(typed).get("name").map(str::to_owned));
    // buildx does so, too.
    if line.tags.is_empty() { of_outputs.collect() } else { line.tags.clone() }
}

/// Labels the result that `metadata` tells of, under its `names`: what its Dockerfile declares. Gives the digests that moved.
///
/// # Errors
///
/// A declared path that the image does not have, a name that names another image by now, and whatever the place refuses. The build
/// itself stays as it is.
pub async fn label_result(
    metadata: &MetadataFile,
    names: &[String],
    destination: Destination,
    access: &Access,
    display: &Arc<Display>,
) -> Result<Moved, Failure> {
    let Some((first, others)) = names.split_first() else { return Ok(Moved::new()) };
    match destination {
        Destination::Registry => {
            let expected = metadata.digest().map_err(Failure::Build)?;
            Ok(label_pushed(first, others, expected, access, display).await?)
        }
        Destination::Engine => Ok(label_loaded(first, others, metadata, access, display).await?),
    }
}

async fn label_pushed(
    first: &str,
    others: &[String],
    expected: Digest,
    access: &Access,
    display: &Arc<Display>,
) -> Result<Moved, Error> {
    let registry = |name: &str| access.registry(name, Arc::clone(display) as _);
    let from = registry(first)?;
    let mut moved = Moved::new();
    let labelled = label_one(&from, &from, expected.clone(), display).await?;
    note(&from, &labelled, &mut moved).await?;
    for name in others {
        let to = registry(name)?;
        let is_one_registry = to.reference().resolve_registry() == from.reference().resolve_registry();
        // In one registry the labelled image gets its other names; nothing is read again.
        let now = match is_one_registry {
            true => registry(&format!("{}@{}", repository(from.reference()), labelled.new))?,
            false => Arc::clone(&to),
        };
        let expected = if is_one_registry { labelled.new.clone() } else { expected.clone() };
        let again = label_one(&now, &to, expected, display).await?;
        if !is_one_registry {
            note(&to, &again, &mut moved).await?;
        }
    }
    Ok(moved)
}

/// The name of a repository, with its registry.
fn repository(reference: &Reference) -> String {
    format!("{}/{}", reference.registry(), reference.repository())
}

/// Labels what `from` names, which is to be `expected`, and has `to` name the result.
async fn label_one(
    from: &Arc<Registry>,
    to: &Arc<Registry>,
    expected: Digest,
    display: &Arc<Display>,
) -> Result<Labelled, Error> {
    let request = Request { expected: Some(expected), ..Request::default() };
    let labelled = label(Arc::clone(from), Arc::clone(to), request, Arc::clone(display) as _).await?;
    let artifacts = artifacts(&labelled);
    display.notice(&format!("labelled {} in {}", artifacts.join(", "), pinned(&to.name(), Some(&labelled.new))));
    Ok(labelled)
}

/// Notes what became of a pushed image's digest, and of its configs'.
async fn note(registry: &Registry, labelled: &Labelled, moved: &mut Moved) -> Result<(), SourceError> {
    let new = registry.manifest(Some(&labelled.new)).await?;
    moved.extend(configs(labelled));
    moved.insert(labelled.old.to_string(), (labelled.new.clone(), Some(new.bytes.len() as u64)));
    Ok(())
}

fn configs(labelled: &Labelled) -> impl Iterator<Item = (String, (Digest, Option<u64>))> {
    labelled.configs.iter().map(|(old, new)| (old.to_string(), (new.clone(), None)))
}

async fn label_loaded(
    first: &str,
    others: &[String],
    metadata: &MetadataFile,
    access: &Access,
    display: &Arc<Display>,
) -> Result<Moved, Error> {
    let engine = access.in_engine(first, Arc::clone(display) as _)?;
    check_id(&engine, metadata).await?;
    let labelled = label_in_engine(engine, None, Request::default(), Arc::clone(display) as _).await?;
    display.notice(&format!("labelled {} in local://{first} ({})", artifacts(&labelled).join(", "), labelled.new));
    let labelled_now = access.in_engine(first, Arc::clone(display) as _)?;
    for name in others {
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (name.as_str(), "latest"),
        };
        // It may name another image by now.
        labelled_now.id_of_same_layers(name).await?;
        labelled_now.api().await?.tag(first, repository, tag).await?;
    }
    let mut moved: Moved = configs(&labelled).collect();
    moved.insert(labelled.old.to_string(), (labelled.new, None));
    Ok(moved)
}

/// Fails where the engine's image is none of those that `metadata` tells of. Its ID is the digest of the config, or, in some stores, of
/// the manifest or index.
async fn check_id(engine: &Engine, metadata: &MetadataFile) -> Result<(), Error> {
    let (id, told) = (engine.id().await?, metadata.digests());
    if told.is_empty() || told.contains(&id) {
        return Ok(());
    }
    let problem = format!("expected {}, found {id}; was the tag built again?", told.join(" or "));
    Err(Error::Source(SourceError::Protocol { what: engine.name(), problem }))
}

/// The names of the artifacts that were labelled, each once.
fn artifacts(labelled: &Labelled) -> Vec<&str> {
    let mut names: Vec<&str> =
        labelled.images.iter().flat_map(|image| &image.artifacts).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::command_line::parse;

    #[test]
    fn what_is_pushed_or_loaded_can_be_labelled() {
        let goes = |typed: &str, has_own_store| {
            let words: Vec<_> = typed.split_whitespace().map(Into::into).collect();
            destination(&parse(&words).unwrap().understood.unwrap(), has_own_store)
        };
        let (pushed, loaded) = (Some(Destination::Registry), Some(Destination::Engine));
        assert_eq!(goes("--push .", false), pushed);
        assert_eq!(goes("--push .", true), pushed);
        assert_eq!(goes("-o type=registry .", false), pushed);
        assert_eq!(goes("-o type=image,name=a,push=true .", false), pushed);
        assert_eq!(goes("--load .", false), loaded);
        assert_eq!(goes(".", true), loaded);
        assert_eq!(goes("-o type=docker .", false), loaded);
        assert_eq!(goes("-o type=image .", true), loaded);
        for nowhere in [".", "-o type=local,dest=x .", "-o out .", "-o type=docker,dest=x.tar .", "-o type=image ."] {
            assert_eq!(goes(nowhere, false), None, "{nowhere}");
        }
        assert_eq!(goes("-o type=local,dest=x .", true), None);
    }
}
