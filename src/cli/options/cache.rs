//! The options of `docker artifact cache`.

use super::problem::{Problem, format};
use crate::cli::arguments::{CacheCommand, CacheLsArguments, CachePruneArguments, CacheRmArguments};
use crate::cli::columns::CACHED;
use crate::cli::format::Format;

/// What to do with the cache.
#[derive(Debug)]
pub enum CacheOptions {
    /// List what is in it.
    Ls {
        /// How to print it.
        format: Format,
        /// Whether nothing is shortened.
        whole: bool,
        /// Whether what has no digest is left out.
        digests: bool,
    },
    /// Forget what has these digests, or the one that begins so.
    Rm(Vec<String>),
    /// Remove what is old, or everything.
    Prune {
        /// Everything.
        all: bool,
        /// Without a question.
        force: bool,
    },
}

impl CacheOptions {
    pub(super) fn new(typed: CacheCommand) -> Result<Self, Problem> {
        match typed {
            CacheCommand::Ls(CacheLsArguments { quiet: true, format: Some(_), .. }) => {
                Err(Problem::Other("--quiet prints only digests; leave out --format".to_owned()))
            }
            CacheCommand::Ls(CacheLsArguments { quiet, no_trunc, format: typed }) => {
                let (columns, digest) = CACHED;
                let template = if quiet { digest } else { typed.as_deref().unwrap_or("table") };
                Ok(CacheOptions::Ls { format: format(template, columns)?, whole: no_trunc, digests: quiet })
            }
            CacheCommand::Rm(CacheRmArguments { digests }) if digests.is_empty() => {
                Err(Problem::Operands("at least one DIGEST"))
            }
            CacheCommand::Rm(CacheRmArguments { digests }) => {
                let is_beginning = |text: &str| {
                    let digits = ["sha256:", "sha512:"].iter().find_map(|algorithm| text.strip_prefix(algorithm));
                    let digits = digits.unwrap_or(text);
                    !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                };
                match digests.iter().find(|text| !is_beginning(text)) {
                    Some(text) => Err(Problem::Other(format!(
                        "\"{}\" is neither a digest nor the beginning of one",
                        text.escape_debug()
                    ))),
                    None => Ok(CacheOptions::Rm(digests)),
                }
            }
            CacheCommand::Prune(CachePruneArguments { all, force }) => Ok(CacheOptions::Prune { all, force }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::tests::{action, message};
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_done() {
        let cache = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            match action(&words) {
                Ok(Action::Cache(cache)) => cache,
                other => panic!("{line}: {other:?}"),
            }
        };
        assert!(matches!(cache("cache ls --no-trunc"), CacheOptions::Ls { whole: true, digests: false, .. }));
        assert!(matches!(cache("cache rm sha256:ab 12"), CacheOptions::Rm(digests) if digests == ["sha256:ab", "12"]));
        assert!(matches!(cache("cache prune -af"), CacheOptions::Prune { all: true, force: true }));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(message("cache rm"), "'docker artifact cache rm' requires at least one DIGEST");
        assert!(message("cache rm alpine:3").contains("\"alpine:3\" is neither a digest"));
        assert!(message("cache ls -q --format json").contains("leave out --format"));
        assert!(message("cache ls --format {{.Nope}}").contains("{{.DiskSize}}"));
        assert!(message("cache lss").contains("unknown command: lss; did you mean ls?"));
    }
}
