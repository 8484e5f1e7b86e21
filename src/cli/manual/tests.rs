use super::*;

const GUIDE: &str = include_str!("../../../docs/usage.md");

/// The commands that have a page, with its name.
fn each_command(see: &mut dyn FnMut(&str, &Command, &str)) {
    let root = arguments::command(PROGRAM);
    let copy_binary = arguments::copy_binary();
    let mut commands = vec![(PROGRAM.to_owned(), &root), (arguments::COPY_BINARY.to_owned(), &copy_binary)];
    add_below(&mut commands, PROGRAM, &root);
    let pages = pages();
    assert_eq!(pages.len(), commands.len());
    for (name, command) in commands {
        let page = pages.iter().find(|page| page.name == name).unwrap();
        see(&name, command, &shown(&page.text));
    }
}

/// What a reader sees of a page, without line breaks.
fn shown(text: &str) -> String {
    let text = text.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "").replace("\\*(Aq", "'");
    let lines = text.lines().map(|line| line.trim_start_matches("\\&"));
    joined(&lines.collect::<Vec<_>>().join(" ").replace("\\-", "-").replace("\\\\", "\\").replace("\\e", "\\"))
}

fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the guide's reference says under the headings of this command, and under those of all commands.
fn reference(command: &str) -> String {
    let sections = GUIDE.split("\n## ");
    let of_command = sections.filter(|section| [command, "Global options", "As a plugin"].contains(&heading(section)));
    of_command.collect::<Vec<_>>().join("\n")
}

fn heading(section: &str) -> &str {
    section.lines().next().unwrap_or_default().trim().trim_matches('`')
}

#[test]
fn every_flag_is_in_help_in_its_page_and_in_the_reference() {
    each_command(&mut |name, command, page| {
        let help = joined(&command.clone().render_help().to_string());
        let section = name.strip_prefix("docker-artifact-").unwrap_or(name).split('-').next().unwrap();
        let reference = reference(section);
        for flag in help::sorted_flags(command) {
            let long = format!("--{}", flag.get_long().unwrap());
            let meaning = help::meaning(flag);
            assert!(help.contains(&format!("{long} ")) && help.contains(&meaning), "{name} --help: {long}: {meaning}");
            assert!(page.contains(&long) && page.contains(&meaning), "{name}(1): {long}: {meaning}\n{page}");
            assert!(reference.contains(&long), "docs/usage.md, {section}: {long}");
        }
    });
}

#[test]
fn usage_and_examples_are_those_of_help() {
    each_command(&mut |name, command, page| {
        for line in help::usage(command).lines() {
            assert!(page.contains(line.trim()), "{name}(1): {line}\n{page}");
        }
        let examples = command.get_before_help().map(ToString::to_string).unwrap_or_default();
        for example in examples.replace("docker artifact", PROGRAM).lines() {
            assert!(page.contains(&joined(example)), "{name}(1): {example}\n{page}");
        }
    });
}

#[test]
fn a_page_has_its_sections_in_the_order_that_readers_know() {
    let page = pages().into_iter().find(|page| page.name == "docker-artifact-get").unwrap();
    let headings: Vec<&str> = page.text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let expected = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "EXAMPLES",
        "\"EXIT STATUS\"",
        "ENVIRONMENT",
        "FILES",
        "\"SEE ALSO\"",
    ];
    assert_eq!(headings, expected);
    let page = shown(&page.text);
    assert!(page.contains("docker-artifact-get - Get files and directories out of an image"), "{page}");
    assert!(page.contains("docker-artifact-cache-ls(1)") && !page.contains(" docker-artifact-get(1)"), "{page}");
    assert!(!page.contains("docker-artifact-hook"), "{page}");
}

#[test]
fn what_the_pages_say_of_codes_and_variables_is_what_the_reference_does() {
    let names = VARIABLES.iter().flat_map(|fact| fact.name.split(", "));
    let codes = EXIT_CODES.iter().filter(|fact| fact.name.parse::<u8>().is_ok()).map(|fact| fact.name);
    for (name, written) in
        names.map(|name| (name, format!("`{name}`"))).chain(codes.map(|code| (code, format!("| {code} |"))))
    {
        assert!(GUIDE.contains(&written), "docs/usage.md: {name}");
    }
}

#[test]
fn pages_are_written_into_a_folder_that_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("share/man/man1");
    write_all(&man).unwrap();
    let get = fs::read_to_string(man.join("docker-artifact-get.1")).unwrap();
    assert!(get.contains(".TH DOCKER-ARTIFACT-GET 1 "), "{get}");
    assert!(man.join("copy_binary.1").exists() && man.join("docker-artifact.1").exists());
    fs::write(folder.path().join("file"), "").unwrap();
    let failure = write_all(&folder.path().join("file/man1")).unwrap_err().to_string();
    assert!(failure.contains("file/man1: "), "{failure}");
}
