//! Manual pages, made of the same definitions as `--help`: a page for each command that is listed, and one for `copy_binary`.
//!
//! `facts` is what no definition says: exit codes, variables, files.

mod facts;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use roff::{Roff, bold, italic, roman};

use self::facts::{EXIT_CODES, FILES, Fact, VARIABLES};
use super::failure::Failure;
use super::{arguments, help};
use crate::artifact::blocking;

/// The section of the manual for programs of users.
const SECTION: &str = "1";

/// The program, as its pages call it. Docker's users type a space in place of the dash.
const PROGRAM: &str = "docker-artifact";

/// A page.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    /// Its name, such as `docker-artifact-get`.
    name: String,
    /// What it holds, as `man` reads it.
    text: String,
}

/// Writes all pages into `folder`, which is made where it is not there.
pub async fn write(folder: PathBuf) -> Result<(), Failure> {
    blocking(move || Ok(write_all(&folder))).await?
}

fn write_all(folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::Manual { path, error }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for Page { name, text } in pages() {
        let path = folder.join(format!("{name}.{SECTION}"));
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

fn pages() -> Vec<Page> {
    let root = arguments::command(PROGRAM);
    let copy_binary = arguments::copy_binary();
    let mut commands = vec![(PROGRAM.to_owned(), &root)];
    add_below(&mut commands, PROGRAM, &root);
    commands.push((arguments::COPY_BINARY.to_owned(), &copy_binary));
    let names: Vec<&str> = commands.iter().map(|(name, _)| name.as_str()).collect();
    commands.iter().map(|(name, command)| Page { name: name.clone(), text: page(name, command, &names) }).collect()
}

/// Adds the commands below `command`, whose page is called `name`.
fn add_below<'a>(commands: &mut Vec<(String, &'a Command)>, name: &str, command: &'a Command) {
    for sub in help::visible_subcommands(command) {
        let name = format!("{name}-{}", sub.get_name());
        commands.push((name.clone(), sub));
        add_below(commands, &name, sub);
    }
}

/// The page of `command`, which is called `name` among `names`.
fn page(name: &str, command: &Command, names: &[&str]) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = command.get_long_about().map_or_else(|| about.clone(), ToString::to_string);
    let version = format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    // Without a date, the same source makes the same page.
    page.control("TH", [&*name.to_uppercase(), SECTION, "\"\"", &version, "User Commands"]);
    // Names of variables and flags are not to be torn apart.
    page.control("nh", []).control("ad", ["l"]);
    page.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
    page.control("SH", ["SYNOPSIS"]);
    for (index, usage) in help::usage(command).lines().enumerate() {
        if index > 0 {
            page.control("br", []);
        }
        let called = command.get_bin_name().unwrap_or(name);
        let operands = usage.trim_start().strip_prefix(called).unwrap_or_default();
        page.text([bold(called), roman(operands)]);
    }
    page.control("SH", ["DESCRIPTION"]);
    // The first paragraph is what NAME says.
    let paragraphs = long.split("\n\n").skip(usize::from(long.contains("\n\n") || name == PROGRAM));
    paragraphs.for_each(|paragraph| add_paragraph(&mut page, paragraph));
    if name == PROGRAM {
        add_paragraph(&mut page, facts::PLUGIN);
    }
    add_options(&mut page, command);
    add_commands(&mut page, name, command);
    add_examples(&mut page, command);
    let is_of = |fact: &&Fact| fact.pages.is_empty() || name == PROGRAM || fact.pages.contains(&name);
    for (title, facts) in [("EXIT STATUS", EXIT_CODES), ("ENVIRONMENT", VARIABLES), ("FILES", FILES)] {
        let mut facts = facts.iter().filter(is_of).peekable();
        if facts.peek().is_some() {
            page.control("SH", [title]);
        }
        for fact in facts {
            page.control("TP", []).text([bold(fact.name)]).text([roman(fact.about)]);
        }
    }
    page.control("SH", ["SEE ALSO"]);
    let others: Vec<String> =
        names.iter().filter(|other| **other != name).map(|other| format!("{other}({SECTION})")).collect();
    page.text([roman(others.join(", "))]);
    page.render()
}

/// Adds a paragraph, whose lines are filled anew.
fn add_paragraph(page: &mut Roff, text: &str) {
    page.control("PP", []).text([roman(text.replace('\n', " "))]);
}

fn add_options(page: &mut Roff, command: &Command) {
    let flags = help::sorted_flags(command);
    if !flags.is_empty() {
        page.control("SH", ["OPTIONS"]);
    }
    for flag in flags {
        let mut names = Vec::new();
        if let Some(short) = flag.get_short() {
            names.extend([bold(format!("-{short}")), roman(", ")]);
        }
        names.push(bold(format!("--{}", flag.get_long().unwrap_or_default())));
        if let Some(kind) = help::kind_of_value(flag) {
            names.extend([roman(if flag.is_require_equals_set() { "=" } else { " " }), italic(kind)]);
        }
        page.control("TP", []).text(names).text([roman(help::meaning(flag))]);
    }
}

fn add_commands(page: &mut Roff, name: &str, command: &Command) {
    let mut commands = help::visible_subcommands(command).peekable();
    if commands.peek().is_some() {
        page.control("SH", ["COMMANDS"]);
    }
    for sub in commands {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        page.control("TP", []).text([bold(format!("{name}-{}({SECTION})", sub.get_name()))]).text([roman(about)]);
    }
}

fn add_examples(page: &mut Roff, command: &Command) {
    let Some(examples) = command.get_before_help() else { return };
    let examples = examples.to_string().replace("docker artifact", PROGRAM);
    page.control("SH", ["EXAMPLES"]).control("nf", []).control("RS", ["4"]);
    for line in examples.lines() {
        page.text([roman(line)]);
    }
    page.control("RE", []).control("fi", []);
}

#[cfg(test)]
mod tests;
