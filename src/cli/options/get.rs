//! The options of `docker artifact get`.

use std::ffi::{OsStr, OsString};

use super::{DisplayMode, Problem, Surroundings, format};
use crate::cli::access::{Access, Location};
use crate::cli::arguments::GetArguments;
use crate::cli::format::Format;
use crate::cli::get::COLUMNS;
use crate::extract::Destination;
use crate::image::platform::Choice;

const NEEDED: &str = "an IMAGE and at least one PATH";

/// The options of `get`.
#[derive(Debug)]
pub struct GetOptions {
    /// Where the image is.
    pub image: Location,
    /// What to get: paths or globs inside the image, as raw bytes.
    pub paths: Vec<Vec<u8>>,
    /// The platform whose image is meant.
    pub platform: Choice,
    /// Where to put it, as typed.
    pub output: Option<OsString>,
    /// Whether a symbolic link named by a path is followed.
    pub dereference: bool,
    /// Whether layers are read to their end and checked.
    pub verify: bool,
    /// Whether ownership and setuid bits are kept.
    pub preserve: bool,
    /// Whether an attached record is a source of digests although the image is pinned.
    pub trust_attached: bool,
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
        let mut operands = typed.operands.into_iter();
        let image = operands.next().ok_or(Problem::Operands(NEEDED))?;
        let paths: Vec<Vec<u8>> = operands.map(OsString::into_encoded_bytes).collect();
        if paths.is_empty() {
            return Err(Problem::Operands(NEEDED));
        }
        if paths.iter().any(Vec::is_empty) {
            return Err(Problem::Other("a PATH is empty; write / for the whole image".to_owned()));
        }
        if is_stdout(typed.output.as_deref()) && typed.format.is_some() {
            let problem = "--format prints to standard output, which --output - gives to the content; use one of them";
            return Err(Problem::Other(problem.to_owned()));
        }
        if typed.output.as_ref().is_some_and(|output| output.is_empty()) {
            return Err(Problem::Other("--output is empty; write . for the current directory".to_owned()));
        }
        Ok(GetOptions {
            image: Location::parse(&image)?,
            paths,
            platform: surroundings.platform(typed.platform)?,
            output: typed.output,
            dereference: !typed.no_dereference,
            verify: !typed.no_verify,
            preserve: typed.preserve,
            trust_attached: typed.trust_attached,
            display,
            format: typed.format.as_deref().map(|typed| format(typed, &COLUMNS)).transpose()?,
            access: Access::new(typed.registry, surroundings.docker_config.clone()),
        })
    }

    /// Whether the content goes to standard output.
    pub fn to_stdout(&self) -> bool {
        is_stdout(self.output.as_deref())
    }
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
        assert_eq!(get.image, Location::Registry("alpine".into()));
        assert_eq!(get.paths, [b"/caf\xe9".to_vec(), b"-x".to_vec()]);
        assert!(get.verify && get.dereference && !get.preserve && !get.trust_attached);
    }

    #[test]
    fn an_image_and_a_path_are_needed() {
        for line in [&[b"get".as_slice()][..], &[b"get", b"alpine"]] {
            let error = action(line).unwrap_err();
            assert_eq!(error.message, "'docker artifact get' requires an IMAGE and at least one PATH");
            assert!(error.usage.is_some());
        }
        assert!(action(&[b"get", b"alpine", b""]).unwrap_err().message.contains("PATH is empty"));
    }

    #[test]
    fn standard_output_serves_one_purpose() {
        assert!(message("get -o - --format json alpine /x").contains("use one of them"));
        assert!(options(&[b"-o", b"-", b"alpine", b"/x"]).to_stdout());
        assert!(!options(&[b"-o", b"./-", b"alpine", b"/x"]).to_stdout());
    }
}
