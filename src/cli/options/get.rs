//! The options of `docker artifact get`.

use std::ffi::{OsStr, OsString};

use super::problem::{Problem, format};
use super::surroundings::Surroundings;
use crate::artifact::{Step, Verify};
use crate::cli::access::{Access, Location, location, split_path};
use crate::cli::arguments::GetArguments;
use crate::cli::columns::WRITTEN;
use crate::cli::format::Format;
use crate::cli::local_cache::LocalCache;
use crate::cli::progress::DisplayMode;
use crate::extract::Destination;
use crate::image::platform::Choice;

const NEEDED: &str = "an IMAGE and at least one NAME or PATH";

/// The options of `get`.
#[derive(Debug)]
pub struct GetOptions {
    /// Where the image is.
    pub image: Location,
    /// What to get: names, or paths or globs inside the image, as raw bytes.
    pub paths: Vec<Vec<u8>>,
    /// The platform whose image is meant.
    pub platform: Choice,
    /// Where to put it, as typed.
    pub output: Option<OsString>,
    /// Whether the directories of each path are kept below the destination.
    pub parents: bool,
    /// Whether a symbolic link named by a path is followed.
    pub dereference: bool,
    /// How much is read to check layers against their digests.
    pub verify: Verify,
    /// Whether ownership and setuid bits are kept.
    pub preserve: bool,
    /// Whether an attached record is a source of digests although the image is pinned.
    pub trust_attached: bool,
    /// Whether tables of contents that the image carries are believed.
    pub tables: bool,
    /// The layers whose own copies are wanted.
    pub step: Option<Step>,
    /// What is shown while it goes on.
    pub display: DisplayMode,
    /// How to print what was written; `None` prints nothing.
    pub format: Option<Format>,
    /// How to reach the registry.
    pub access: Access,
}

impl GetOptions {
    pub(super) fn new(typed: GetArguments, surroundings: &Surroundings) -> Result<Self, Problem> {
        let display = surroundings.display_mode(typed.progress, typed.quiet);
        let Operands { image, paths, destination } = Operands::read(typed.operands)?;
        if destination.is_some() && typed.output.is_some() {
            return Err(Problem::Other("DEST and --output both say where to put it; use one of them".to_owned()));
        }
        if let Some(path) = paths.iter().find(|path| paths.len() > 1 && is_destination(path)) {
            let path = path.escape_ascii();
            return Err(Problem::Other(format!(
                "\"{path}\" would mean the whole image here; to write the others there, use -o {path}; to get the whole image, \
                 write /"
            )));
        }
        let output = typed.output.or(destination);
        if paths.iter().any(Vec::is_empty) {
            return Err(Problem::Other("a PATH is empty; write / for the whole image".to_owned()));
        }
        if is_stdout(output.as_deref()) && typed.format.is_some() {
            let problem = "--format and --output - both use standard output; use one of them";
            return Err(Problem::Other(problem.to_owned()));
        }
        if output.as_ref().is_some_and(|output| output.is_empty()) {
            return Err(Problem::Other("--output is empty; write . for the current directory".to_owned()));
        }
        let verify = match (typed.verify, typed.no_verify) {
            (true, true) => {
                return Err(Problem::Other(
                    "--verify and --no-verify contradict each other; use one of them".to_owned(),
                ));
            }
            (true, false) => Verify::Always,
            (false, true) => Verify::Never,
            (false, false) => Verify::WhereRead,
        };
        let step = match (typed.layer, typed.created_by) {
            (Some(_), Some(_)) => {
                return Err(Problem::Other("--layer and --created-by both name a layer; use one of them".to_owned()));
            }
            (_, Some(text)) if text.is_empty() => {
                return Err(Problem::Other("--created-by is empty; write a part of a build step".to_owned()));
            }
            (Some(layer), None) => Some(Step::Layer(layer)),
            (None, Some(text)) => Some(Step::CreatedBy(text)),
            (None, None) => None,
        };
        Ok(GetOptions {
            image: location(&image)?,
            paths,
            platform: surroundings.platform(typed.platform)?,
            output,
            parents: typed.parents,
            dereference: !typed.no_dereference,
            verify,
            preserve: typed.preserve,
            trust_attached: typed.trust_attached,
            // To verify layers is to read them.
            tables: !typed.no_index && verify != Verify::Always,
            step,
            display,
            format: typed.format.as_deref().map(|typed| format(typed, &WRITTEN)).transpose()?,
            access: Access::new(typed.registry, surroundings.engine.clone(), LocalCache::new(!typed.no_cache)),
        })
    }

    /// Whether the content goes to standard output.
    pub fn to_stdout(&self) -> bool {
        is_stdout(self.output.as_deref())
    }
}

/// What stands on the command line besides flags.
struct Operands {
    image: OsString,
    paths: Vec<Vec<u8>>,
    /// Where to put it, as typed.
    destination: Option<OsString>,
}

impl Operands {
    /// Reads `IMAGE NAME|PATH...`, or `IMAGE:PATH... [DEST]`, as in `docker cp`.
    fn read(typed: Vec<OsString>) -> Result<Self, Problem> {
        let mut typed = typed.into_iter();
        let first = typed.next().ok_or(Problem::Operands(NEEDED))?;
        let Some((image, path)) = split_path(&first) else {
            let paths: Vec<Vec<u8>> = typed.map(OsString::into_encoded_bytes).collect();
            if paths.is_empty() {
                location(&first)?;
                return Err(Problem::Operands(NEEDED));
            }
            return Ok(Operands { image: first, paths, destination: None });
        };
        let mut operands = Operands { image: image.to_owned(), paths: vec![path.to_vec()], destination: None };
        for operand in typed {
            let is_local = matches!(operand.as_encoded_bytes().first(), Some(b'/' | b'.'));
            match split_path(&operand).filter(|_| !is_local) {
                _ if operands.destination.is_some() => {
                    let problem = "only one DEST can follow IMAGE:PATH; write IMAGE PATH PATH... for several paths";
                    return Err(Problem::Other(problem.to_owned()));
                }
                Some((image, path)) if image == operands.image => operands.paths.push(path.to_vec()),
                Some((image, _)) => {
                    let (one, other) = (operands.image.display(), image.display());
                    return Err(Problem::Other(format!("{one} and {other} are two images; get from one at a time")));
                }
                None => operands.destination = Some(operand),
            }
        }
        Ok(operands)
    }
}

/// Whether this is what somebody types who means a place on this machine, as in `cp`: nothing but dots and slashes, from
/// where they are.
fn is_destination(path: &[u8]) -> bool {
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    !path.starts_with(b"/") && names.peek().is_some() && names.all(|name| matches!(name, b"." | b".."))
}

fn is_stdout(output: Option<&OsStr>) -> bool {
    matches!(Destination::parse(output), Ok(Destination::Stdout))
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::tests::{action, message};
    use super::*;

    fn options(line: &[&[u8]]) -> GetOptions {
        let words: Vec<&[u8]> = [b"get".as_slice()].into_iter().chain(line.iter().copied()).collect();
        let Ok(Action::Get(get)) = action(&words) else { panic!("options of get") };
        get
    }

    #[test]
    fn paths_arrive_as_raw_bytes() {
        let get = options(&[b"alpine", b"/caf\xe9", b"--", b"-x"]);
        assert_eq!(get.image, location("alpine".as_ref()).unwrap());
        assert_eq!(get.paths, [b"/caf\xe9".to_vec(), b"-x".to_vec()]);
        assert!(
            get.verify == Verify::WhereRead && get.tables && get.dereference && !get.preserve && !get.trust_attached
        );
    }

    #[test]
    fn an_image_and_a_path_are_needed() {
        for line in [&[b"get".as_slice()][..], &[b"get", b"alpine"]] {
            let error = action(line).unwrap_err();
            assert_eq!(error.message, "'docker artifact get' requires an IMAGE and at least one NAME or PATH");
            assert!(error.usage.is_some());
        }
        assert!(action(&[b"get", b"alpine", b""]).unwrap_err().message.contains("PATH is empty"));
    }

    #[test]
    fn a_path_may_follow_the_image_after_a_colon_and_then_a_destination() {
        let read = |line: &str| {
            let GetOptions { image, paths, output, .. } =
                options(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
            let paths: Vec<String> = paths.into_iter().map(|path| String::from_utf8(path).unwrap()).collect();
            (image, paths.join(" "), output)
        };
        let expected = |image: &str, paths: &str, output: Option<&str>| {
            (location(image.as_ref()).unwrap(), paths.to_owned(), output.map(OsString::from))
        };
        assert_eq!(read("alpine:/bin/sh"), expected("alpine", "/bin/sh", None));
        assert_eq!(read("host:5000/x:1:/etc /tmp/"), expected("host:5000/x:1", "/etc", Some("/tmp/")));
        assert_eq!(read("alpine:/a alpine:/b -"), expected("alpine", "/a /b", Some("-")));
        assert_eq!(read("alpine:/a ./b:/c"), expected("alpine", "/a", Some("./b:/c")));
    }

    #[test]
    fn what_follows_image_and_path_is_one_destination() {
        assert!(message("get alpine:/a /b /c").contains("only one DEST"));
        assert!(message("get alpine:/a debian:/b").contains("alpine and debian are two images"));
        assert!(message("get -o x alpine:/a y").contains("use one of them"));
        assert!(message("get alpine:/a - --format json").contains("use one of them"));
    }

    #[test]
    fn a_dot_after_the_paths_is_a_destination_and_not_the_whole_image() {
        for place in [".", "./", "..", "../.."] {
            let problem = message(&format!("get alpine /bin/sh {place}"));
            assert!(problem.contains(&format!("to write the others there, use -o {place};")), "{problem}");
            assert_eq!(options(&[b"alpine", place.as_bytes()]).paths, [place.as_bytes()]);
        }
        for path in ["/", "/.", "./tool", "..."] {
            assert_eq!(options(&[b"alpine", b"/bin/sh", path.as_bytes()]).paths.len(), 2);
        }
    }

    #[test]
    fn standard_output_serves_one_purpose() {
        assert!(message("get -o - --format json alpine /x").contains("use one of them"));
        assert!(options(&[b"-o", b"-", b"alpine", b"/x"]).to_stdout());
        assert!(!options(&[b"-o", b"./-", b"alpine", b"/x"]).to_stdout());
    }
}
