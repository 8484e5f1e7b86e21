//! What a Dockerfile says, as far as it decides which files are copied out of images.
//!
//! [`parse`] makes it of the text: `lines` gives one line for each instruction, the crate `parse-dockerfile` takes
//! these apart, and here comes what the crate leaves as text: the words of `ARG`, `ENV` and `LABEL`, mounts, quotes in flags. No
//! variable is expanded yet.
//!
//! Memory: an instruction costs about 150 bytes and its text, and a Dockerfile has at most 1 MiB of text.

use parse_dockerfile::{Flag, Instruction as Parsed, Source};

use super::lines::{self, Line, not_understood};
use super::mount::Mount;
use super::pairs::{self, Pair};
use super::{NotUnderstood, frontend};

/// A Dockerfile.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// What escapes a character.
    pub(super) escape: char,
    /// `ARG` before the first `FROM`.
    pub(super) arguments: Vec<Argument>,
    /// At least one.
    pub(super) stages: Vec<Stage>,
}

/// One variable of `ARG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: String,
    /// Its default, as it is written.
    pub(super) default: Option<String>,
}

/// `FROM`, and the instructions that follow.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// The line that it begins in, from 1.
    pub(super) line: usize,
    /// Its name, in lower case.
    pub(super) name: Option<String>,
    /// The image or the stage that it begins with, as it is written.
    pub(super) base: String,
    /// `--platform`, as it is written.
    pub(super) platform: Option<String>,
    pub(super) instructions: Vec<Instruction>,
}

/// One instruction of a stage.
#[derive(Clone, Debug)]
pub(super) struct Instruction {
    /// The line that it begins in, from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// What an instruction does, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Arg(Vec<Argument>),
    Env(Vec<Pair>),
    Label(Vec<Pair>),
    /// `COPY --from=…`.
    CopyFrom(CopyFrom),
    /// `RUN`, with those of its mounts that come from somewhere.
    Run(Vec<Mount>),
    /// `ADD`, and `COPY` from the build context.
    Add,
    /// `WORKDIR`, which makes a folder.
    Workdir,
    Onbuild(Trigger),
    /// An instruction that changes nothing but the image's config.
    Config,
}

/// `COPY --from=…`.
#[derive(Clone, Debug)]
pub(super) struct CopyFrom {
    /// A stage, by name or number, or an image.
    pub(super) from: String,
    /// The paths, as they are written. All words but the last one.
    pub(super) sources: Vec<String>,
    /// `--chown`, as it is written.
    pub(super) chown: Option<String>,
    /// Whether `--parents` is given.
    pub(super) with_parents: bool,
    /// Whether some of it is left out (`--exclude`).
    pub(super) excludes: bool,
    /// Why it is not known what it copies, as the end of a sentence that begins with what it copies from.
    pub(super) problem: Option<String>,
}

/// What `ONBUILD` does to the stages that begin with the stage that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    /// It copies from a stage or an image, or mounts it.
    pub(super) has_source: bool,
    /// It sets variables.
    pub(super) has_variables: bool,
}

/// Reads a Dockerfile. It fails where the text does not parse, or is for a frontend that is not BuildKit's own.
pub fn parse(text: &str) -> Result<Dockerfile, NotUnderstood> {
    let lines = lines::read(text)?;
    if let Some(frontend) = &lines.syntax {
        frontend::check(frontend)?;
    }
    let mut joined = if lines.escape == '`' { "# escape=`\n".to_owned() } else { String::new() };
    let directives = joined.lines().count();
    for line in &lines.lines {
        joined.push_str(&line.text);
        joined.push('\n');
    }
    let parsed = parse_dockerfile::parse(&joined).map_err(|error| {
        let line = error.line().checked_sub(directives + 1).and_then(|index| lines.lines.get(index));
        let place = line.map(|line| format!("line {} of ", line.number)).unwrap_or_default();
        let problem = format!("{error:#}").replace(char::is_control, "");
        NotUnderstood(format!("{place}the Dockerfile does not parse: {problem}"))
    })?;
    if parsed.instructions.len() != lines.lines.len() {
        return Err(NotUnderstood("the Dockerfile has lines that are not understood".to_owned()));
    }
    let mut dockerfile = Dockerfile { escape: lines.escape, arguments: Vec::new(), stages: Vec::new() };
    for (line, instruction) in lines.lines.iter().zip(&parsed.instructions) {
        dockerfile.add(line, instruction, &joined)?;
    }
    let mut names: Vec<&str> = dockerfile.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(NotUnderstood("two stages of the Dockerfile have the same name".to_owned()));
    }
    Ok(dockerfile)
}

impl Dockerfile {
    fn add(&mut self, line: &Line, instruction: &Parsed<'_>, text: &str) -> Result<(), NotUnderstood> {
        if let Parsed::From(from) = instruction {
            let name = from.as_.as_ref().map(|(_, name)| name.value.to_lowercase());
            if name.as_deref().is_some_and(|name| !is_stage_name(name)) {
                return not_understood(line.number, "names a stage as BuildKit does not allow it");
            }
            let mut flags = Flags::read(&from.options, line)?;
            let platform = flags.take("platform");
            flags.end(line)?;
            let base = from.image.value.clone().into_owned();
            self.stages.push(Stage { line: line.number, name, base, platform, instructions: Vec::new() });
            return Ok(());
        }
        let kind = self.kind(line, instruction, text)?;
        match (self.stages.last_mut(), kind) {
            (Some(stage), kind) => stage.instructions.push(Instruction { line: line.number, kind }),
            (None, Kind::Arg(arguments)) => self.arguments.extend(arguments),
            (None, _) => return not_understood(line.number, "stands before the first FROM"),
        }
        Ok(())
    }

    fn kind(&self, line: &Line, instruction: &Parsed<'_>, text: &str) -> Result<Kind, NotUnderstood> {
        let pairs = |text: &str| {
            let pairs = pairs::parse(text, self.escape);
            pairs.map_or_else(|| not_understood(line.number, "has a pair without \"=\""), Ok)
        };
        Ok(match instruction {
            Parsed::Arg(arg) => Kind::Arg(self.arguments_of(line, &arg.arguments.value)?),
            Parsed::Env(env) => Kind::Env(pairs(&env.arguments.value)?),
            Parsed::Label(label) => Kind::Label(pairs(&label.arguments.value)?),
            Parsed::Copy(copy) => copy_from(line, copy, text)?.map_or(Kind::Add, Kind::CopyFrom),
            Parsed::Run(run) => Kind::Run(mounts(line, &run.options)?),
            Parsed::Add(_) => Kind::Add,
            Parsed::Workdir(_) => Kind::Workdir,
            Parsed::Onbuild(onbuild) => Kind::Onbuild(match self.kind(line, &onbuild.instruction, text)? {
                Kind::CopyFrom(_) => Trigger { has_source: true, has_variables: false },
                Kind::Run(mounts) => Trigger { has_source: !mounts.is_empty(), has_variables: false },
                Kind::Arg(_) | Kind::Env(_) => Trigger { has_source: false, has_variables: true },
                _ => Trigger { has_source: false, has_variables: false },
            }),
            Parsed::Cmd(_)
            | Parsed::Entrypoint(_)
            | Parsed::Expose(_)
            | Parsed::Healthcheck(_)
            | Parsed::Maintainer(_)
            | Parsed::Shell(_)
            | Parsed::Stopsignal(_)
            | Parsed::User(_)
            | Parsed::Volume(_) => Kind::Config,
            _ => return not_understood(line.number, "has an instruction that is not known here"),
        })
    }

    /// The variables of an `ARG`: words, each with a default or without.
    fn arguments_of(&self, line: &Line, text: &str) -> Result<Vec<Argument>, NotUnderstood> {
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let arguments = pairs::words(text, self.escape).into_iter().map(|word| {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
                None => (word, None),
            };
            if !is_name(&name) {
                return not_understood(
                    line.number,
                    "names a variable with other characters than letters, digits and \"_\"",
                );
            }
            Ok(Argument { name, default })
        });
        arguments.collect()
    }
}

/// What a `COPY` copies from a stage or an image; `None` where it copies from the build context.
fn copy_from(
    line: &Line,
    copy: &parse_dockerfile::CopyInstruction<'_>,
    text: &str,
) -> Result<Option<CopyFrom>, NotUnderstood> {
    let mut flags = Flags::read(&copy.options, line)?;
    let from = flags.take("from").filter(|from| !from.is_empty());
    let Some(from) = from else { return Ok(None) };
    check_from(line, &from)?;
    let mut problem = line.has_here_document.then(|| "is copied from together with a here-document".to_owned());
    let mut sources = Vec::new();
    for source in &copy.src {
        let Source::Path(path) = source else { return not_understood(line.number, "has a here-document") };
        // What begins as an array and is none for the crate may be one for BuildKit.
        let is_in_array = path.span.start.checked_sub(1).and_then(|at| text.as_bytes().get(at)) == Some(&b'"');
        if (!is_in_array && path.value.starts_with('[')) || path.value.contains(|c: char| c.is_control()) {
            problem.get_or_insert_with(|| "is copied from by a path that is not understood".to_owned());
        }
        sources.push(path.value.clone().into_owned());
    }
    let chown = flags.take("chown");
    let with_parents = flags.take_switch("parents", line)?;
    flags.take_switch("link", line)?;
    flags.take("chmod");
    let excludes = !flags.take_all("exclude").is_empty();
    if let Some(name) = flags.names().next() {
        problem
            .get_or_insert_with(|| format!("is copied from with --{}, which is not known here", name.escape_debug()));
    }
    Ok(Some(CopyFrom { from, sources, chown, with_parents, excludes, problem }))
}

fn mounts(line: &Line, options: &[Flag<'_>]) -> Result<Vec<Mount>, NotUnderstood> {
    let mut flags = Flags::read(options, line)?;
    let mounts: Vec<Mount> = flags.take_all("mount").iter().filter_map(|value| Mount::parse(value)).collect();
    for mount in &mounts {
        check_from(line, &mount.from)?;
    }
    Ok(mounts)
}

/// BuildKit refuses what a variable, a quote or an escape would change.
fn check_from(line: &Line, from: &str) -> Result<(), NotUnderstood> {
    if from.contains(['$', '\'', '"', '\\', '`']) {
        return not_understood(line.number, "copies from an image that a variable names");
    }
    Ok(())
}

/// BuildKit's `parseBuildStageName`.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
}

/// The flags of an instruction: names and values, without quotes.
struct Flags(Vec<(String, Option<String>)>);

impl Flags {
    fn read(options: &[Flag<'_>], line: &Line) -> Result<Self, NotUnderstood> {
        let flag = |flag: &Flag<'_>| {
            let value = flag.value.as_ref().map(|value| unquoted(&value.value));
            let is_clear = !flag.name.value.is_empty() && !flag.name.value.contains(['\'', '"', '\\', '`']);
            match value {
                None if is_clear => Ok((flag.name.value.clone().into_owned(), None)),
                Some(Some(value)) if is_clear => Ok((flag.name.value.clone().into_owned(), Some(value))),
                _ => not_understood(line.number, "has a flag with quotes that are not understood"),
            }
        };
        let flags = options.iter().map(flag).collect::<Result<Vec<_>, _>>()?;
        let is_again = |index: usize| flags[..index].iter().any(|(name, _)| *name == flags[index].0);
        let may_repeat = |name: &str| matches!(name, "mount" | "exclude" | "device");
        if (0..flags.len()).any(|index| !may_repeat(&flags[index].0) && (index > MAX_FLAGS || is_again(index))) {
            return not_understood(line.number, "has a flag twice");
        }
        Ok(Flags(flags))
    }

    /// Takes the value of a flag away.
    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(flag, value)| flag == name && value.is_some())?;
        self.0.remove(index).1
    }

    fn take_all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(flag, value)| flag == name && value.is_some()).filter_map(|(_, value)| value).collect()
    }

    /// Takes a flag that is on or off away.
    fn take_switch(&mut self, name: &str, line: &Line) -> Result<bool, NotUnderstood> {
        let Some(index) = self.0.iter().position(|(flag, _)| flag == name) else { return Ok(false) };
        match self.0.remove(index).1.map(|value| value.to_lowercase()).as_deref() {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => not_understood(line.number, "has a flag that is neither true nor false"),
        }
    }

    /// The names of the flags that are left.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Fails if there are flags left.
    fn end(&self, line: &Line) -> Result<(), NotUnderstood> {
        if self.0.is_empty() { Ok(()) } else { not_understood(line.number, "has a flag that is not known here") }
    }
}

/// More flags than any instruction knows. What stands behind so many is not compared with all of them.
const MAX_FLAGS: usize = 64;

/// A flag's value without quotes. `None` where it has escapes, or quotes that it does not close: then it has white space in it, and
/// the crate has cut it there.
fn unquoted(value: &str) -> Option<String> {
    let mut quote = None;
    let mut plain = String::with_capacity(value.len());
    for c in value.chars() {
        match (c, quote) {
            // Versions of BuildKit differ in which of them escapes.
            ('\\' | '`', _) => return None,
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if open == c => quote = None,
            _ => plain.push(c),
        }
    }
    quote.is_none().then_some(plain)
}

#[cfg(test)]
mod tests;
