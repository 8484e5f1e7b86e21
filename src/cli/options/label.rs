//! The options of `docker artifact label`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use super::problem::{Problem, format};
use super::surroundings::Surroundings;
use crate::artifact::Tables;
use crate::artifact::label::Request;
use crate::cli::access::{Access, Location, location, registry};
use crate::cli::arguments::LabelArguments;
use crate::cli::columns::LABELLED;
use crate::cli::format::Format;
use crate::cli::local_cache::LocalCache;
use crate::cli::metadata_file::MetadataFile;
use crate::cli::progress::DisplayMode;
use crate::image::digest::Digest;
use crate::image::label::Name;
use crate::image::platform::Platform;
use crate::source::name::Name as Place;

/// The options of `label`.
#[derive(Debug)]
pub struct LabelOptions {
    /// Where the image is.
    pub image: Location,
    /// The name that the result gets, if not that of the image.
    pub tag: Option<String>,
    /// Where a copy of an archive or a layout goes.
    pub copy: Option<OsString>,
    /// What to label, and how.
    pub request: Request,
    /// What standard output gets.
    pub output: Output,
    /// What is shown while it goes on.
    pub display: DisplayMode,
    /// How to reach the registry.
    pub access: Access,
}

/// What standard output gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A table of what was labelled.
    Table,
    /// What was labelled, in a form of one's own.
    Format(Format),
    /// The labels, as arguments of `docker build`.
    Arguments,
    /// The digest of the result.
    Digest,
}

impl LabelOptions {
    pub(super) fn new(mut typed: LabelArguments, surroundings: &Surroundings) -> Result<Self, Problem> {
        let mut operands = std::mem::take(&mut typed.operands).into_iter();
        let (image, expected) = match &typed.metadata_file {
            Some(file) => {
                let (image, digest) = metadata(file)?;
                (image, Some(digest))
            }
            None => (location(&operands.next().ok_or(Problem::Operands("an IMAGE"))?)?, None),
        };
        let goes = Goes::of(&image);
        let add = operands.map(artifact).collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        if let Some((name, _)) = add.iter().find(|(name, _)| !names.insert(name)) {
            return Err(Problem::Other(format!("two PATHs would be named {name}; write NAME=PATH for one of them")));
        }
        let remove = typed.remove.iter().map(|name| name.parse().map_err(|error| format!("--remove: {error}")));
        let remove = remove.collect::<Result<Vec<Name>, _>>()?;
        if let Some(name) = remove.iter().find(|name| names.contains(name)) {
            return Err(Problem::Other(format!("{name} cannot be labelled and removed at once; do one of them")));
        }
        let format = typed.format.as_deref().map(|typed| format(typed, &LABELLED)).transpose()?;
        let output = match (typed.print_args, format, typed.quiet) {
            (true, Some(_), _) | (true, _, true) => {
                let problem = "--print-args prints only arguments; leave out --format and --quiet";
                return Err(Problem::Other(problem.to_owned()));
            }
            (true, ..) => Output::Arguments,
            (_, Some(format), _) => Output::Format(format),
            (_, _, true) => Output::Digest,
            _ => Output::Table,
        };
        let platforms =
            typed.platform.iter().map(|typed| typed.parse().map_err(|invalid| format!("--platform: {invalid}")));
        let platforms = platforms.collect::<Result<Vec<Platform>, _>>()?;
        if typed.attach && (typed.tag.is_some() || typed.print_args) {
            let problem = "--attach leaves the labels and the tag of IMAGE alone; leave out --tag and --print-args";
            return Err(Problem::Other(problem.to_owned()));
        }
        if typed.all && (typed.attach || typed.print_args) {
            let problem = match typed.attach {
                true => {
                    "--all changes IMAGE, and --attach leaves it as it is; to attach tables of all files: docker artifact index"
                }
                false => "--all attaches tables, which arguments of a build cannot do; leave out --print-args",
            };
            return Err(Problem::Other(problem.to_owned()));
        }
        let dry_run = typed.dry_run || typed.print_args;
        goes.check(&typed, dry_run, &output)?;
        Ok(LabelOptions {
            image,
            tag: typed.tag.as_deref().map(registry).transpose().map_err(|problem| format!("--tag: {problem}"))?,
            copy: typed.output,
            request: Request {
                add,
                remove,
                platforms,
                attach: typed.attach,
                all: typed.all,
                dry_run,
                expected,
                tables: Tables::carried(),
            },
            output,
            display: surroundings.display_mode(typed.progress, typed.quiet),
            access: Access::new(typed.registry, surroundings.engine.clone(), LocalCache::new(!typed.no_cache)),
        })
    }
}

/// Where the result goes, by where the image is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// To a registry.
    Up,
    /// To a new file or folder.
    IntoCopy,
    /// Back into the engine.
    Back,
}

impl Goes {
    fn of(image: &Location) -> Self {
        match image {
            Location::Named(Place::Archive { .. } | Place::Stdin { .. } | Place::Layout { .. })
            | Location::Missing { .. } => Goes::IntoCopy,
            Location::Named(Place::Registry { .. }) => Goes::Up,
            Location::Named(Place::Engine { .. }) => Goes::Back,
        }
    }

    /// Whether the flags make sense for that.
    fn check(self, typed: &LabelArguments, dry_run: bool, output: &Output) -> Result<(), Problem> {
        let problem = match (self, typed.output.as_deref().map(OsStr::as_encoded_bytes)) {
            (Goes::Up, Some(_)) => {
                "--output is for a copy of an archive or a layout; IMAGE is in a registry: name the result with --tag"
            }
            (Goes::Back, Some(_)) => {
                "--output is for a copy of an archive or a layout; IMAGE is labelled in the engine, under its own name or that \
                 of --tag"
            }
            (Goes::IntoCopy | Goes::Back, _) if typed.attach => {
                "--attach needs a registry, which keeps records beside an image; leave it out, or push the image first"
            }
            (Goes::IntoCopy | Goes::Back, _) if typed.all => {
                "--all needs a registry, which keeps tables beside an image; leave it out, or push the image first"
            }
            (Goes::IntoCopy, None) if !dry_run => {
                "IMAGE itself is never changed; name the labelled copy with --output, as in -o labelled.tar"
            }
            (Goes::IntoCopy, Some(b"")) => "--output is empty; name a file, as in -o labelled.tar",
            (Goes::IntoCopy, Some(b"-")) if !dry_run && *output != Output::Table => {
                "--output - gives standard output to the archive; leave out --format and --quiet"
            }
            _ => return Ok(()),
        };
        Err(Problem::Other(problem.to_owned()))
    }
}

/// Reads `[NAME=]PATH`. What stands before `=` is a name only where it could be one: a path may hold `=`, too.
fn artifact(typed: OsString) -> Result<(Name, Vec<u8>), Problem> {
    let bytes = typed.into_encoded_bytes();
    let mut parts = bytes.splitn(2, |byte| *byte == b'=');
    if let (Some(before), Some(path)) = (parts.next(), parts.next())
        && let Some(name) = name(before)
    {
        return match path {
            b"" => Err(Problem::Other(format!("{name} has no PATH; write NAME=PATH"))),
            path => Ok((name, path.to_vec())),
        };
    }
    let base = bytes.split(|byte| *byte == b'/').rfind(|part| !part.is_empty()).unwrap_or_default();
    match name(base) {
        Some(name) => Ok((name, bytes)),
        None => {
            let is_glob = base.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
            let no_globs = if is_glob { " (in PATH, no character is a wildcard)" } else { "" };
            let path = bytes.escape_ascii();
            Err(Problem::Other(format!(
                "the base name of \"{path}\" cannot be an artifact's name; write NAME=PATH{no_globs}"
            )))
        }
    }
}

fn name(bytes: &[u8]) -> Option<Name> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// The image and its digest, as `docker buildx build --metadata-file` wrote them. Of several names the first one counts.
fn metadata(file: &OsStr) -> Result<(Location, Digest), Problem> {
    let metadata = MetadataFile::read(file).map_err(Problem::Other)?;
    let names = metadata.names().map_err(Problem::Other)?;
    let digest = metadata.digest().map_err(Problem::Other)?;
    let name = names.first().copied().unwrap_or_default();
    let image = registry(name.as_ref()).and_then(|reference| location(reference.as_ref()));
    Ok((image.map_err(|problem| Problem::Other(metadata.problem(&problem)))?, digest))
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::tests::{action, message};
    use super::*;

    fn options(line: &str) -> LabelOptions {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        match action(&words) {
            Ok(Action::Label(label)) => label,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn added(line: &str) -> Vec<(String, String)> {
        let added = options(line).request.add.into_iter();
        added.map(|(name, path)| (name.to_string(), String::from_utf8(path).unwrap())).collect()
    }

    fn pair(name: &str, path: &str) -> (String, String) {
        (name.to_owned(), path.to_owned())
    }

    #[test]
    fn a_name_is_given_or_the_base_name() {
        assert_eq!(added("label alpine /usr/bin/tool"), [pair("tool", "/usr/bin/tool")]);
        assert_eq!(added("label alpine cli=/opt/cli usr/lib/"), [pair("cli", "/opt/cli"), pair("lib", "usr/lib/")]);
        assert_eq!(added("label alpine"), []);
    }

    #[test]
    fn an_equals_sign_may_be_part_of_a_path() {
        assert_eq!(added("label alpine x=/etc/a=b"), [pair("x", "/etc/a=b")]);
        assert_eq!(added("label alpine /etc/a=b/tool"), [pair("tool", "/etc/a=b/tool")]);
        assert_eq!(added("label alpine etc/a=b/tool"), [pair("tool", "etc/a=b/tool")]);
        assert!(message("label alpine /etc/a=b").contains("write NAME=PATH"));
        assert!(message("label alpine =/etc/x=").contains("write NAME=PATH"));
    }

    #[test]
    fn what_cannot_be_named_says_how_to_name_it() {
        for path in ["/", "/opt/..", "/opt/a+b", "", "x="] {
            assert!(message(&format!("label alpine {path}")).contains("write NAME=PATH"), "{path}");
        }
        assert!(message("label alpine /opt/*").ends_with("write NAME=PATH (in PATH, no character is a wildcard)"));
        assert!(message("label alpine /a/tool /b/tool").contains("two PATHs would be named tool"));
        assert!(message("label alpine --remove a/b").contains("--remove: "));
        assert!(message("label alpine tool=/x --remove tool").contains("do one of them"));
    }

    #[test]
    fn an_image_is_needed() {
        assert_eq!(message("label"), "'docker artifact label' requires an IMAGE");
        assert!(message("label local://alpine /x -o y.tar").contains("--output is for a copy"));
        assert!(message("label local://alpine /x --attach").contains("--attach needs a registry"));
        assert!(message("label -t local://alpine alpine /x").starts_with("--tag: "));
    }

    #[test]
    fn a_copy_of_an_archive_needs_a_place_and_nothing_else_does() {
        let line = "label ./none.tar /bin/x";
        assert!(message(line).contains("-o labelled.tar"));
        assert_eq!(options(&format!("{line} -o out.tar")).copy, Some("out.tar".into()));
        assert_eq!(options(&format!("{line} --dry-run")).copy, None);
        assert_eq!(options("label -o - - /bin/x").copy, Some("-".into()));
        assert!(message(&format!("{line} -o x --attach")).contains("--attach needs a registry"));
        for flag in ["-q", "--format json"] {
            assert!(message(&format!("{line} -o - {flag}")).contains("leave out --format"), "{flag}");
        }
        assert!(message("label alpine /bin/x -o out.tar").contains("--tag"));
    }

    #[test]
    fn several_artifacts_are_forgotten_by_one_command() {
        let request = options("label --remove a --remove=b alpine").request;
        assert_eq!(request.remove.iter().map(Name::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert!(!request.dry_run && !request.attach && request.expected.is_none());
    }

    #[test]
    fn several_platforms_are_named_by_one_flag_or_by_several() {
        let platforms = |line: &str| {
            let platforms = options(line).request.platforms.into_iter();
            platforms.map(|platform| platform.to_string()).collect::<Vec<_>>()
        };
        assert!(platforms("label alpine /x").is_empty());
        for line in ["--platform linux/amd64,linux/aarch64", "--platform linux/amd64 --platform=linux/arm64"] {
            assert_eq!(platforms(&format!("label {line} alpine /x")), ["linux/amd64", "linux/arm64"]);
        }
        assert!(message("label --platform vax alpine /x").starts_with("--platform: \"vax\" is not a platform"));
    }

    #[test]
    fn printed_arguments_are_all_that_is_printed_and_nothing_is_written() {
        let label = options("label --print-args alpine /x");
        assert_eq!(label.output, Output::Arguments);
        assert!(label.request.dry_run);
        assert!(message("label --print-args --format json alpine /x").contains("leave out --format"));
        assert!(message("label --print-args -q alpine /x").contains("leave out --format"));
    }

    #[test]
    fn quiet_leaves_the_digest() {
        let label = options("label -q alpine /x");
        assert_eq!((label.output, label.display), (Output::Digest, DisplayMode::Quiet));
    }

    #[test]
    fn tables_of_all_files_are_kept_in_a_registry() {
        assert!(options("label --all alpine").request.all);
        assert!(message("label --all --attach alpine").contains("docker artifact index"));
        assert!(message("label --all --print-args alpine").contains("leave out --print-args"));
        for image in ["local://app", "oci-dir://folder", "archive://app.tar"] {
            assert!(message(&format!("label --all {image}")).contains("registry"), "{image}");
        }
    }

    #[test]
    fn what_is_attached_moves_nothing() {
        assert!(options("label --attach alpine /x").request.attach);
        assert_eq!(options("label --attach --remove y alpine").request.remove.len(), 1);
        for more in ["-t other", "--print-args"] {
            assert!(message(&format!("label --attach {more} alpine /x")).contains("--attach leaves"), "{more}");
        }
    }

    #[test]
    fn a_metadata_file_stands_for_the_image() {
        let digest = Digest::of(b"");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("build.json");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let line = format!("label --metadata-file {} /bin/x", path.display());

        assert!(message(&line).contains("build.json: "));
        write(&format!(r#"{{"image.name":"a.example/b:1,a.example/b:2","containerimage.digest":"{digest}"}}"#));
        let label = options(&line);
        assert_eq!(label.image, location("a.example/b:1".as_ref()).unwrap());
        assert_eq!(label.request.expected, Some(digest.clone()));
        assert_eq!(label.request.add.len(), 1);
        for (text, problem) in [
            ("{", "EOF"),
            ("[]", "no image.name"),
            (r#"{"containerimage.digest":"x"}"#, "no image.name"),
            (r#"{"image.name":"a"}"#, "no containerimage.digest"),
            (r#"{"image.name":"a","containerimage.digest":"x"}"#, "containerimage.digest: "),
            (r#"{"image.name":7,"containerimage.digest":"x"}"#, "no image.name"),
        ] {
            write(text);
            assert!(message(&line).contains(problem), "{text}: {}", message(&line));
        }
    }
}
