//! The options of `docker artifact index`.

use super::problem::{Problem, format};
use super::surroundings::Surroundings;
use crate::artifact::table_index::Request;
use crate::cli::access::{Access, Location, location};
use crate::cli::arguments::IndexArguments;
use crate::cli::columns::INDEXED;
use crate::cli::format::Format;
use crate::cli::local_cache::LocalCache;
use crate::cli::progress::DisplayMode;
use crate::image::platform::Platform;
use crate::source::name::Name as Place;

/// The options of `index`.
#[derive(Debug)]
pub struct IndexOptions {
    /// The image's reference.
    pub image: String,
    /// What to index.
    pub request: Request,
    /// What standard output gets.
    pub output: IndexOutput,
    /// Whether nothing is shortened.
    pub whole: bool,
    /// What is shown while it goes on.
    pub display: DisplayMode,
    /// How to reach the registry.
    pub access: Access,
}

/// What standard output gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexOutput {
    /// A table of the layers.
    Table,
    /// The layers, in a form of one's own.
    Format(Format),
    /// The digest of the image.
    Digest,
}

impl IndexOptions {
    pub(super) fn new(typed: IndexArguments, surroundings: &Surroundings) -> Result<Self, Problem> {
        let [image] = <[_; 1]>::try_from(typed.operands).map_err(|_| Problem::Operands("one IMAGE"))?;
        let image = match location(&image)? {
            Location::Named(Place::Registry { reference, .. }) => reference,
            Location::Named(Place::Engine { .. }) => {
                return Err(elsewhere(
                    "the engine cannot keep tables beside an image; push it, and index it in the registry",
                ));
            }
            Location::Named(Place::Archive { .. } | Place::Stdin { .. } | Place::Layout { .. })
            | Location::Missing { .. } => {
                return Err(elsewhere(
                    "IMAGE is a file, and tables cannot be kept beside a file; push the image, and index it in the registry",
                ));
            }
        };
        let format = typed.format.as_deref().map(|typed| format(typed, &INDEXED)).transpose()?;
        let output = match (format, typed.quiet) {
            (Some(format), _) => IndexOutput::Format(format),
            (None, true) => IndexOutput::Digest,
            (None, false) => IndexOutput::Table,
        };
        let platforms =
            typed.platform.iter().map(|typed| typed.parse().map_err(|invalid| format!("--platform: {invalid}")));
        Ok(IndexOptions {
            image,
            request: Request { platforms: platforms.collect::<Result<Vec<Platform>, _>>()?, dry_run: typed.dry_run },
            output,
            whole: typed.no_trunc,
            display: surroundings.display_mode(typed.progress, typed.quiet),
            access: Access::new(typed.registry, surroundings.engine.clone(), LocalCache::new(true)),
        })
    }
}

fn elsewhere(problem: &str) -> Problem {
    Problem::Other(format!("tables are kept in a registry: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::tests::{action, message};
    use super::*;

    fn options(line: &str) -> IndexOptions {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        match action(&words) {
            Ok(Action::Index(index)) => index,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn all_platforms_are_meant_where_none_is_named() {
        assert!(options("index alpine").request.platforms.is_empty());
        assert_eq!(options("index --platform linux/amd64,linux/arm64 alpine").request.platforms.len(), 2);
        assert!(message("index --platform / alpine").contains("--platform: "));
    }

    #[test]
    fn an_image_that_is_in_no_registry_is_to_be_pushed_first() {
        for image in ["local://app", "oci-dir://folder", "archive://app.tar", "./missing.tar"] {
            let problem = message(&format!("index {image}"));
            assert!(problem.contains("push"), "{problem}");
        }
    }

    #[test]
    fn one_image_is_indexed() {
        assert_eq!(message("index"), "'docker artifact index' requires one IMAGE");
        assert_eq!(message("index alpine /etc"), "'docker artifact index' requires one IMAGE");
    }

    #[test]
    fn what_is_printed() {
        assert_eq!(options("index alpine").output, IndexOutput::Table);
        assert_eq!(options("index -q alpine").output, IndexOutput::Digest);
        assert!(matches!(options("index --format json alpine").output, IndexOutput::Format(_)));
        assert!(message("index --format {{.Nope}} alpine").contains("Nope"));
    }
}
