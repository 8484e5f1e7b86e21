//! The options of `copy_binary`.

use std::ffi::OsString;

use super::problem::Problem;
use super::surroundings::Surroundings;
use crate::cli::access::{Access, Location, location};
use crate::cli::arguments::{CopyBinaryArguments, ProgressMode};
use crate::cli::local_cache::LocalCache;
use crate::cli::progress::DisplayMode;
use crate::image::platform::Choice;

const NEEDED: &str = "--from IMAGE, a PATH or a NAME, and at most one DEST";

/// The options of `copy_binary`.
#[derive(Debug)]
pub struct CopyBinaryOptions {
    /// Where the image is.
    pub image: Location,
    /// What to copy: a path, or an artifact's name, as raw bytes.
    pub what: Vec<u8>,
    /// Where to, if not where it is in the image.
    pub destination: Option<OsString>,
    /// The platform whose image is meant.
    pub platform: Choice,
    /// What is shown while it goes on.
    pub display: DisplayMode,
    /// How to reach the registry.
    pub access: Access,
}

impl CopyBinaryOptions {
    pub(super) fn new(typed: CopyBinaryArguments, surroundings: &Surroundings) -> Result<Self, Problem> {
        let mut operands = typed.operands.into_iter();
        let (Some(image), Some(what), destination, None) =
            (typed.from, operands.next(), operands.next(), operands.next())
        else {
            return Err(Problem::Operands(NEEDED));
        };
        if what.is_empty() || destination.as_ref().is_some_and(|destination| destination.is_empty()) {
            return Err(Problem::Other("PATH and DEST cannot be empty; write / for the root".to_owned()));
        }
        Ok(CopyBinaryOptions {
            image: location(&image)?,
            what: what.into_encoded_bytes(),
            destination,
            platform: surroundings.platform(typed.platform)?,
            display: surroundings.display_mode(ProgressMode::Auto, typed.quiet),
            // What is kept while an image is built would be in that image.
            access: Access::new(typed.registry, surroundings.engine.clone(), LocalCache::default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Options};
    use super::*;
    use crate::cli::arguments::{Stop, UsageError};

    fn options(line: &str) -> Result<CopyBinaryOptions, UsageError> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match Options::copy_binary(&words) {
            Ok(Options { action: Action::CopyBinary(copy), .. }) => Ok(copy),
            Err(Stop::Usage(error)) => Err(error),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn flags_stand_where_they_like() {
        for line in ["--from=alpine /bin/sh /x/", "--from alpine /bin/sh /x/", "/bin/sh /x/ --from alpine -q"] {
            let copy = options(line).unwrap();
            assert_eq!(copy.image, location("alpine".as_ref()).unwrap());
            assert_eq!((copy.what.as_slice(), copy.destination), (b"/bin/sh".as_slice(), Some("/x/".into())));
        }
        assert_eq!(options("--from=alpine busybox").unwrap().destination, None);
    }

    #[test]
    fn what_is_missing_or_too_much_is_said_with_the_usage() {
        for line in ["/bin/sh", "--from=alpine", "--from=alpine /a /b /c"] {
            let error = options(line).unwrap_err();
            assert_eq!(error.command, "copy_binary");
            assert_eq!(error.message, format!("'copy_binary' requires {NEEDED}"));
            assert_eq!(error.usage.unwrap(), "copy_binary [OPTIONS] --from IMAGE PATH|NAME [DEST]");
        }
        assert_eq!(options("--form=alpine /x").unwrap_err().message, "unknown flag: --form; did you mean --from?");
        assert!(options("--from=alpine ").unwrap_err().message.contains("cannot be empty"));
    }

    #[test]
    fn help_and_version_are_its_own() {
        let printed = |word: &str| match Options::copy_binary(&[word.into()]) {
            Err(Stop::Print(text)) => text,
            other => panic!("{word}: {other:?}"),
        };
        let help = printed("--help");
        assert!(
            help.starts_with("Usage:  copy_binary [OPTIONS] --from IMAGE PATH|NAME [DEST]\n\nCopy a file"),
            "{help}"
        );
        for part in ["\nExamples:\n  RUN copy_binary --from=alpine", "\n      --from image "] {
            assert!(help.contains(part), "no {part:?} in {help}");
        }
        assert_eq!(printed("--version"), format!("copy_binary version {}\n", env!("CARGO_PKG_VERSION")));
    }
}
