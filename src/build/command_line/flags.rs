//! The flags of `docker buildx build` and of the older `docker build`, and how they are typed: which take a value, and where it
//! stands. Nothing here knows what a flag means.
//!
//! Docker reads its flags with pflag (spf13/pflag, `flag.go`): flags and operands mix, `--` ends the flags, several short ones may
//! share a word. Sources of the tables: docker/buildx, `commands/build.go` and `commands/root.go`, 0.8 and newer; docker/cli,
//! `cli/command/image/build.go`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// A flag, by what decides how it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flag {
    /// Its name, without dashes.
    pub long: &'static str,
    /// The letter that stands for it.
    short: Option<u8>,
    /// What it says where no value is attached to it by `=`. `None`: then the next word is its value.
    alone: Option<&'static str>,
    /// Whether it is this program's, so that Docker is not to see it.
    pub is_own: bool,
}

/// A flag that takes a value.
const fn value(long: &'static str) -> Flag {
    Flag { long, short: None, alone: None, is_own: false }
}

/// A flag that is on or off.
const fn switch(long: &'static str) -> Flag {
    Flag { long, short: None, alone: Some("true"), is_own: false }
}

impl Flag {
    const fn short(self, letter: u8) -> Self {
        Flag { short: Some(letter), ..self }
    }

    /// One of this program's.
    const fn own(self) -> Self {
        Flag { is_own: true, ..self }
    }
}

/// The word that [`--print`](PRINT) alone stands for.
pub(super) const PLAN: &str = "plan";

/// buildx has a flag of this name, too, whose values are others.
pub(super) const PRINT: &str = "print";

const FLAGS: &[Flag] = &[
    // This program's.
    switch("keep-owners").own(),
    value("leave").own(),
    switch("no-label").own(),
    Flag { long: PRINT, short: None, alone: Some(PLAN), is_own: true },
    // buildx's.
    value("add-host"),
    value("allow"),
    value("annotation"),
    value("attest"),
    value("build-arg"),
    value("build-context"),
    value("builder"),
    value("cache-from"),
    value("cache-to"),
    value("call"),
    value("cgroup-parent"),
    switch("check"),
    switch("debug").short(b'D'),
    switch("detach"),
    value("file").short(b'f'),
    switch("help").short(b'h'),
    value("iidfile"),
    value("invoke"),
    value("label"),
    switch("load"),
    value("metadata-file"),
    value("network"),
    switch("no-cache"),
    value("no-cache-filter"),
    value("output").short(b'o'),
    value("platform"),
    value("policy"),
    value("progress"),
    value("provenance"),
    switch("pull"),
    switch("push"),
    switch("quiet").short(b'q'),
    value("root"),
    value("sbom"),
    value("secret"),
    value("server-config"),
    value("shm-size"),
    value("ssh"),
    value("tag").short(b't'),
    value("target"),
    value("ulimit"),
    // The older builder's, most of which buildx takes and ignores.
    switch("compress"),
    value("cpu-period"),
    value("cpu-quota"),
    value("cpu-shares").short(b'c'),
    value("cpuset-cpus"),
    value("cpuset-mems"),
    switch("disable-content-trust"),
    switch("force-rm"),
    value("isolation"),
    value("memory").short(b'm'),
    value("memory-swap"),
    switch("rm"),
    value("security-opt"),
    switch("squash"),
    switch("stream"),
];

/// What one word, or a flag and the word after it, say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said<'a> {
    /// The words.
    pub words: &'a [OsString],
    /// What they are.
    pub what: What<'a>,
}

/// What words are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// What is neither a flag nor a flag's value.
    Operand(&'a OsStr),
    /// Flags, each with its value: several only where short ones share a word.
    Flags(Vec<(&'static Flag, &'a OsStr)>),
    /// The `--` that ends the flags.
    EndOfFlags,
    /// A flag, as it was typed, that is in none of the tables; whether it takes a value cannot be known.
    Unknown(String),
    /// A flag that wants a value and stands last.
    NoValue(&'static Flag),
}

/// Reads all of `words`.
pub(super) fn read(words: &[OsString]) -> impl Iterator<Item = Said<'_>> {
    let mut rest = words;
    let mut flags_ended = false;
    std::iter::from_fn(move || {
        let (word, after) = rest.split_first()?;
        let (what, taken) = match word.as_bytes() {
            _ if flags_ended => (What::Operand(word), 1),
            b"--" => {
                flags_ended = true;
                (What::EndOfFlags, 1)
            }
            [b'-', b'-', name @ ..] => long(name, after.first()),
            [b'-', letters @ ..] if !letters.is_empty() => short(word, letters, after.first()),
            _ => (What::Operand(word), 1),
        };
        let (words, left) = rest.split_at(taken);
        rest = left;
        Some(Said { words, what })
    })
}

/// `--name`, `--name=value` or `--name value`; gives how many words these are, too.
fn long<'a>(name: &'a [u8], next: Option<&'a OsString>) -> (What<'a>, usize) {
    let (name, attached) = match name.iter().position(|byte| *byte == b'=') {
        Some(at) => (&name[..at], Some(OsStr::from_bytes(&name[at + 1..]))),
        None => (name, None),
    };
    let Some(flag) = FLAGS.iter().find(|flag| flag.long.as_bytes() == name) else {
        return (What::Unknown(format!("--{}", OsStr::from_bytes(name).display())), 1);
    };
    match (attached, flag.alone, next) {
        (Some(value), ..) => (What::Flags(vec![(flag, value)]), 1),
        (None, Some(alone), _) => (What::Flags(vec![(flag, OsStr::new(alone))]), 1),
        (None, None, Some(value)) => (What::Flags(vec![(flag, value)]), 2),
        (None, None, None) => (What::NoValue(flag), 1),
    }
}

/// `-n`, `-nvalue`, `-n=value`, `-n value`, or several letters of which only the last takes a value.
fn short<'a>(word: &OsStr, mut letters: &'a [u8], next: Option<&'a OsString>) -> (What<'a>, usize) {
    let mut flags = Vec::new();
    while let Some((letter, after)) = letters.split_first() {
        let Some(flag) = FLAGS.iter().find(|flag| flag.short == Some(*letter)) else {
            return (What::Unknown(word.display().to_string()), 1);
        };
        // `-n=` has no value after its `=`: pflag reads the sign as the value.
        match (after, flag.alone, next) {
            ([b'=', attached @ ..], ..) if !attached.is_empty() => {
                flags.push((flag, OsStr::from_bytes(attached)));
                return (What::Flags(flags), 1);
            }
            (_, Some(alone), _) => {
                flags.push((flag, OsStr::new(alone)));
                letters = after;
            }
            ([_, ..], None, _) => {
                flags.push((flag, OsStr::from_bytes(after)));
                return (What::Flags(flags), 1);
            }
            ([], None, Some(value)) => {
                flags.push((flag, value));
                return (What::Flags(flags), 2);
            }
            ([], None, None) => return (What::NoValue(flag), 1),
        }
    }
    (What::Flags(flags), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    /// What is said, a line each: `file=x quiet=true` for flags, `(x)` for operands.
    fn said(line: &str) -> Vec<String> {
        let words = words(line);
        let shown = |said: Said<'_>| match said.what {
            What::Operand(word) => format!("({})", word.display()),
            What::Flags(flags) => {
                let flags: Vec<_> =
                    flags.iter().map(|(flag, value)| format!("{}={}", flag.long, value.display())).collect();
                flags.join(" ")
            }
            What::EndOfFlags => "--".to_owned(),
            What::Unknown(flag) => format!("{flag}?"),
            What::NoValue(flag) => format!("{}!", flag.long),
        };
        read(&words).map(shown).collect()
    }

    #[test]
    fn flags_are_read_as_pflag_reads_them() {
        let cases: &[(&str, &[&str])] = &[
            ("--file x .", &["file=x", "(.)"]),
            ("--file=x .", &["file=x", "(.)"]),
            ("--file= .", &["file=", "(.)"]),
            ("--file=a=b .", &["file=a=b", "(.)"]),
            (". --file x", &["(.)", "file=x"]),
            ("-f x .", &["file=x", "(.)"]),
            ("-fx .", &["file=x", "(.)"]),
            ("-f=x .", &["file=x", "(.)"]),
            ("-f= .", &["file==", "(.)"]),
            ("-f - .", &["file=-", "(.)"]),
            ("-qt name .", &["quiet=true tag=name", "(.)"]),
            ("-qtname .", &["quiet=true tag=name", "(.)"]),
            ("-Dq=false .", &["debug=true quiet=false", "(.)"]),
            ("-q= .", &["-q=?", "(.)"]),
            ("-tq .", &["tag=q", "(.)"]),
            ("--push true .", &["push=true", "(true)", "(.)"]),
            ("--push=false .", &["push=false", "(.)"]),
            ("--label --push .", &["label=--push", "(.)"]),
            ("--label -- .", &["label=--", "(.)"]),
            ("-c 512 -m 2g -", &["cpu-shares=512", "memory=2g", "(-)"]),
            ("-- --push", &["--", "(--push)"]),
            ("-- --", &["--", "(--)"]),
            ("--tags x .", &["--tags?", "(x)", "(.)"]),
            ("--tags=x .", &["--tags?", "(.)"]),
            ("--ta x .", &["--ta?", "(x)", "(.)"]),
            ("---push .", &["---push?", "(.)"]),
            ("--=x .", &["--?", "(.)"]),
            ("-x .", &["-x?", "(.)"]),
            ("-qx .", &["-qx?", "(.)"]),
            (". --tag", &["(.)", "tag!"]),
            (". -qt", &["(.)", "tag!"]),
            ("--print .", &["print=plan", "(.)"]),
            ("--print=outline .", &["print=outline", "(.)"]),
        ];
        for (line, expected) in cases {
            assert_eq!(said(line), *expected, "{line}");
        }
    }

    #[test]
    fn every_word_is_part_of_what_is_said_once() {
        let words = words("-qt a --push --nope --leave b . -- --x - --label");
        let again: Vec<OsString> = read(&words).flat_map(|said| said.words).cloned().collect();
        assert_eq!(again, words);
    }

    #[test]
    fn no_two_flags_share_a_name() {
        for (at, flag) in FLAGS.iter().enumerate() {
            let others = &FLAGS[at + 1..];
            assert!(others.iter().all(|other| other.long != flag.long), "--{}", flag.long);
            assert!(flag.short.is_none() || others.iter().all(|other| other.short != flag.short), "--{}", flag.long);
        }
    }
}
