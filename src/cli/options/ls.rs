//! The options of `docker artifact ls`.

use std::ffi::OsString;

use super::problem::Problem;
use super::surroundings::Surroundings;
use crate::artifact::list_files::Depth;
use crate::artifact::may_be_name;
use crate::cli::access::{Access, Location, location};
use crate::cli::arguments::{ColorMode, LsArguments};
use crate::cli::columns::{ARTIFACTS, FILES, LAYERS};
use crate::cli::format::{Columns, Format, InvalidFormat};
use crate::cli::local_cache::LocalCache;
use crate::cli::progress::DisplayMode;
use crate::cli::time_style::TimeStyle;
use crate::image::platform::Choice;

/// The options of `ls`.
#[derive(Debug)]
pub struct LsOptions {
    /// Where the image is.
    pub image: Location,
    /// What to list.
    pub what: What,
    /// Whether tables of contents that the image carries are believed.
    pub tables: bool,
    /// The platform whose image is meant.
    pub platform: Choice,
    /// How to print it.
    pub format: TypedFormat,
    /// Whether files are drawn as a tree.
    pub tree: bool,
    /// How times are shown.
    pub time: TimeStyle,
    /// When names are painted.
    pub color: ColorMode,
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
    /// What these words name, raw bytes, at least one of which is an artifact's name where the image has artifacts, and a path
    /// where it has none.
    Named(Vec<Vec<u8>>),
    /// Files: at these paths or globs, as raw bytes.
    Files(Vec<Vec<u8>>, Depth),
    /// Layers.
    Layers,
}

/// How rows are to be printed, whatever rows it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypedFormat {
    /// The one column that names a row.
    Names,
    /// As `--format` says.
    Template(String),
}

impl TypedFormat {
    /// The format of rows with these columns, of which `name` names a row.
    pub fn of(&self, (columns, name): (&'static Columns, &str)) -> Result<Format, InvalidFormat> {
        match self {
            TypedFormat::Names => Format::parse(name, columns),
            TypedFormat::Template(template) => Format::parse(template, columns),
        }
    }
}

impl LsOptions {
    pub(super) fn new(typed: LsArguments, surroundings: &Surroundings) -> Result<Self, Problem> {
        let mut operands = typed.operands.into_iter();
        let image = operands.next().ok_or(Problem::Operands("an IMAGE"))?;
        let words: Vec<Vec<u8>> = operands.map(OsString::into_encoded_bytes).collect();
        if words.iter().any(Vec::is_empty) {
            return Err(Problem::Other("a PATH is empty; write / for the whole image".to_owned()));
        }
        if typed.tree && (typed.directory || typed.layers || typed.quiet || typed.format.is_some()) {
            let problem =
                "--tree draws files and all that is below them; leave out --directory, --layers, --quiet and --format";
            return Err(Problem::Other(problem.to_owned()));
        }
        let depth = match (typed.directory, typed.all || typed.recursive || typed.tree) {
            (true, _) => Some(Depth::Itself),
            (false, true) => Some(Depth::All),
            (false, false) => None,
        };
        let what = match (typed.layers, depth) {
            (true, None) if words.is_empty() => What::Layers,
            (true, _) => {
                return Err(Problem::Other("--layers lists no files; leave out --all and PATH".to_owned()));
            }
            (false, None) if words.is_empty() => What::Artifacts,
            (false, None) if words.iter().any(|word| may_be_name(word)) => What::Named(words),
            (false, None) => What::Files(words, Depth::Children),
            (false, Some(depth)) if words.is_empty() => What::Files(vec![b"/".to_vec()], depth),
            (false, Some(depth)) => What::Files(words, depth),
        };
        let format = match (typed.quiet, typed.format) {
            (true, Some(_)) => {
                return Err(Problem::Other("--quiet prints only names; leave out --format".to_owned()));
            }
            (true, None) => TypedFormat::Names,
            (false, template) => TypedFormat::Template(template.unwrap_or_else(|| "table".to_owned())),
        };
        let parsed = match what {
            What::Artifacts => format.of(ARTIFACTS),
            What::Files(..) => format.of(FILES),
            What::Layers => format.of(LAYERS),
            What::Named(_) => format.of(ARTIFACTS).or_else(|_| format.of(FILES)),
        };
        parsed.map_err(|invalid| Problem::Other(invalid.to_string()))?;
        Ok(LsOptions {
            image: location(&image)?,
            platform: surroundings.platform(typed.platform)?,
            format,
            tree: typed.tree,
            time: TimeStyle::parse(&typed.time_style)
                .map_err(|problem| Problem::Other(format!("--time-style: {problem}")))?,
            color: typed.color,
            what,
            tables: !typed.no_index,
            whole: typed.no_trunc,
            display: surroundings.display_mode(typed.progress, typed.quiet),
            access: Access::new(typed.registry, surroundings.engine.clone(), LocalCache::new(!typed.no_cache)),
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

    fn paths(paths: &[&str], depth: Depth) -> What {
        What::Files(paths.iter().map(|path| path.as_bytes().to_vec()).collect(), depth)
    }

    #[test]
    fn artifacts_are_listed_unless_files_or_layers_are_asked_for() {
        assert_eq!(what("ls alpine"), What::Artifacts);
        assert_eq!(what("ls -l alpine"), What::Artifacts);
        assert_eq!(what("ls --layers alpine"), What::Layers);
        for (flags, depth) in [("-a", Depth::All), ("-R", Depth::All), ("-d", Depth::Itself), ("-laRd", Depth::Itself)]
        {
            assert_eq!(what(&format!("ls {flags} alpine")), paths(&["/"], depth), "{flags}");
            assert_eq!(what(&format!("ls alpine {flags} /etc tool")), paths(&["/etc", "tool"], depth), "{flags}");
        }
        assert_eq!(what("ls alpine /etc usr/*"), paths(&["/etc", "usr/*"], Depth::Children));
    }

    #[test]
    fn a_word_may_be_the_name_of_an_artifact() {
        assert_eq!(what("ls alpine tool"), What::Named(vec![b"tool".to_vec()]));
        assert_eq!(what("ls alpine /etc tool"), What::Named(vec![b"/etc".to_vec(), b"tool".to_vec()]));
        for path in ["/tool", "./tool", "tool/", "t*", ".", ".."] {
            assert_eq!(what(&format!("ls alpine {path}")), paths(&[path], Depth::Children), "{path}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert_eq!(message("ls"), "'docker artifact ls' requires an IMAGE");
        for more in ["/etc", "tool", "-a", "-R", "-d"] {
            assert!(message(&format!("ls --layers alpine {more}")).contains("--layers lists no files"), "{more}");
        }
        assert!(message("ls -q --format json alpine").contains("leave out --format"));
        assert!(message("ls alpine ").contains("PATH is empty"));
    }

    #[test]
    fn each_list_has_fields_of_its_own() {
        assert!(message("ls --format {{.Step}} alpine").contains("{{.Read}}"));
        assert!(message("ls --format {{.DiffID}} alpine /").contains("{{.Target}}"));
        assert!(message("ls --layers --format {{.Target}} alpine").contains("{{.Step}}"));
        assert_eq!(what("ls --layers --format {{.Step}} alpine"), What::Layers);
        for field in ["{{.Read}}", "{{.Target}}"] {
            assert!(matches!(what(&format!("ls --format {field} alpine tool")), What::Named(_)));
        }
        assert!(message("ls --format {{.DiffID}} alpine tool").contains("{{.DiffID}}"));
    }
}
