//! The options of `docker artifact ls`.

use std::ffi::OsString;

use super::{DisplayMode, Problem, Surroundings, format};
use crate::cli::access::{Access, Location};
use crate::cli::arguments::LsArguments;
use crate::cli::format::{Columns, Format};
use crate::cli::ls;
use crate::image::platform::Choice;

/// The options of `ls`.
#[derive(Debug)]
pub struct LsOptions {
    /// Where the image is.
    pub image: Location,
    /// What to list.
    pub what: What,
    /// The platform whose image is meant.
    pub platform: Choice,
    /// How to print it.
    pub format: Format,
    /// Whether nothing is shortened.
    pub whole: bool,
    /// What is shown while it goes on.
    pub display: DisplayMode,
    /// How to reach the registry.
    pub access: Access,
}

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Artifacts.
    Artifacts,
    /// Files: at these paths or globs, as raw bytes.
    Files(Vec<Vec<u8>>),
    /// Layers.
    Layers,
}

impl What {
    /// What there is to print, and the one column that names a row.
    fn columns(&self) -> (&'static Columns, &'static str) {
        match self {
            What::Artifacts => (&ls::ARTIFACTS, "{{.Name}}"),
            What::Files(_) => (&ls::FILES, "{{.Path}}"),
            What::Layers => (&ls::LAYERS, "{{.Digest}}"),
        }
    }
}

impl LsOptions {
    pub(super) fn new(typed: LsArguments, surroundings: &Surroundings) -> Result<Self, Problem> {
        let mut operands = typed.operands.into_iter();
        let image = operands.next().ok_or(Problem::Operands("an IMAGE"))?;
        let mut paths: Vec<Vec<u8>> = operands.map(OsString::into_encoded_bytes).collect();
        if paths.iter().any(Vec::is_empty) {
            return Err(Problem::Other("a PATH is empty; write / for the whole image".to_owned()));
        }
        let what = match (typed.layers, typed.all || !paths.is_empty()) {
            (true, true) => {
                return Err(Problem::Other("--layers lists no files; leave out --all and PATH".to_owned()));
            }
            (true, false) => What::Layers,
            (false, false) => What::Artifacts,
            (false, true) => {
                if paths.is_empty() {
                    paths.push(b"/".to_vec());
                }
                What::Files(paths)
            }
        };
        let (columns, name) = what.columns();
        if typed.quiet && typed.format.is_some() {
            return Err(Problem::Other("--quiet prints names and nothing else; leave out --format".to_owned()));
        }
        let template = if typed.quiet { name } else { typed.format.as_deref().unwrap_or("table") };
        Ok(LsOptions {
            image: Location::parse(&image)?,
            platform: surroundings.platform(typed.platform)?,
            format: format(template, columns)?,
            what,
            whole: typed.no_trunc,
            display: surroundings.display_mode(typed.progress, typed.quiet),
            access: Access::new(typed.registry, surroundings.docker_config.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::tests::{action, message};
    use super::*;

    fn what(line: &str) -> What {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        match action(&words) {
            Ok(Action::Ls(ls)) => ls.what,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn artifacts_are_listed_unless_files_or_layers_are_asked_for() {
        assert_eq!(what("ls alpine"), What::Artifacts);
        assert_eq!(what("ls --layers alpine"), What::Layers);
        assert_eq!(what("ls -a alpine"), What::Files(vec![b"/".to_vec()]));
        for line in ["ls alpine /etc usr/*", "ls -a alpine /etc usr/*", "ls alpine -a /etc usr/*"] {
            assert_eq!(what(line), What::Files(vec![b"/etc".to_vec(), b"usr/*".to_vec()]), "{line}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert_eq!(message("ls"), "'docker artifact ls' requires an IMAGE");
        assert!(message("ls --layers alpine /etc").contains("--layers lists no files"));
        assert!(message("ls --layers -a alpine").contains("--layers lists no files"));
        assert!(message("ls -q --format json alpine").contains("leave out --format"));
        assert!(message("ls alpine ").contains("PATH is empty"));
    }

    #[test]
    fn each_list_has_fields_of_its_own() {
        assert!(message("ls --format {{.Step}} alpine").contains("{{.Read}}"));
        assert!(message("ls --format {{.Step}} alpine /").contains("{{.Target}}"));
        assert!(message("ls --layers --format {{.Read}} alpine").contains("{{.Step}}"));
        assert_eq!(what("ls --layers --format {{.Step}} alpine"), What::Layers);
    }
}
