//! What `docker artifact build --print` prints: the plan for a person, or what other programs take. Everything comes as one text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use indicatif::DecimalBytes;
use serde_json::{Map, Value, json};

use super::contexts::{Folder, Ready};
use crate::build::Left;
use crate::build::kept::Record;
use crate::cli::sanitize;

/// The plan, as a person reads it: the command that would run, what is fetched of each image and for which lines, and what is left
/// to BuildKit and why.
pub fn plan(command: &[String], dockerfile: &str, ready: &[Ready], left: &[Left]) -> String {
    let mut text = format!("{}\n", command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
    for Ready { context, folders } in ready {
        for folder in folders {
            let _ = writeln!(text, "\n{}", heading(&context.name, folder, folders.len() > 1));
        }
        for of in &context.uses {
            let paths: Vec<&str> = of.paths.iter().map(|path| path.text.as_str()).collect();
            let _ = writeln!(text, "  {dockerfile}:{}: {}: {}", of.line, of.instruction, paths.join(" "));
        }
    }
    if !left.is_empty() {
        text.push_str("\nLeft to BuildKit:\n");
    }
    for Left { name, line, reason } in left {
        let _ = writeln!(text, "  {dockerfile}:{line}: {name}: {reason}");
    }
    text.lines().map(|line| sanitize::for_terminal(line) + "\n").collect()
}

/// Such as `tools (registry.example/tools:1@sha256:…): 1.20 MB of 40.00 MB`.
fn heading(name: &str, folder: &Folder, tells_platforms: bool) -> String {
    let record = &folder.record;
    let platforms = match tells_platforms {
        true => format!(" for {}", platforms(folder).join(", ")),
        false => String::new(),
    };
    let (bytes, all) = (DecimalBytes(record.bytes()), DecimalBytes(record.image_bytes));
    format!("{}{platforms}: {bytes} of {all}", self::name(name, record))
}

/// The image, with its digest; before it the name that BuildKit looks it up by, if that is another.
pub fn name(name: &str, record: &Record) -> String {
    let image = &record.image;
    let is_image =
        image.split(['@', ':']).next() == name.split(['@', ':']).next() || image.contains(&format!("/{name}"));
    if is_image { image.clone() } else { format!("{name} ({image})") }
}

fn platforms(folder: &Folder) -> Vec<String> {
    folder.platforms.iter().map(ToString::to_string).collect()
}

/// The arguments of `docker buildx build` for what is ready, in order.
pub fn arguments(ready: &[Ready]) -> Vec<String> {
    let pairs = ready.iter().flat_map(|ready| {
        let name = &ready.context.name;
        ready.folders.iter().map(move |folder| format!("{name}={}", folder.value))
    });
    pairs.flat_map(|pair| ["--build-context".to_owned(), pair]).collect()
}

/// The arguments in one line, for a shell.
pub fn flags(ready: &[Ready]) -> String {
    let words: Vec<String> = arguments(ready).iter().map(|word| quoted(word)).collect();
    if words.is_empty() { String::new() } else { format!("{}\n", words.join(" ")) }
}

/// A file that `docker buildx bake -f … -f FILE` lays over the target of this name.
pub fn bake(target: &str, ready: &[Ready]) -> String {
    format!("{:#}\n", json!({ "target": { target: { "contexts": contexts(ready, bake_text) } } }))
}

/// A file that `docker compose -f … -f FILE` lays over the service of this name.
pub fn compose(service: &str, ready: &[Ready]) -> String {
    format!(
        "{:#}\n",
        json!({ "services": { service: { "build": { "additional_contexts": contexts(ready, compose_text) } } } })
    )
}

/// A string of a bake file, in which `${` and `%{` begin a template, in JSON as well (HCL JSON Syntax Specification, *Strings*).
fn bake_text(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

/// A string of a Compose file, in which `$` begins a variable (Compose Specification, *Interpolation*).
fn compose_text(text: &str) -> String {
    text.replace('$', "$$")
}

/// Names and folders, these as `written`. Where an image has one for each platform, the platform is a part of the name, as BuildKit
/// looks it up.
fn contexts(ready: &[Ready], written: fn(&str) -> String) -> Value {
    let mut contexts = Map::new();
    for Ready { context, folders } in ready {
        let values: BTreeMap<String, &str> = match folders.as_slice() {
            [one] => [(context.name.clone(), one.value.as_str())].into(),
            several => several
                .iter()
                .flat_map(|folder| platforms(folder).into_iter().map(move |platform| (platform, folder)))
                .map(|(platform, folder)| (format!("{}::{platform}", context.name), folder.value.as_str()))
                .collect(),
        };
        contexts.extend(values.into_iter().map(|(name, value)| (name, Value::from(written(value)))));
    }
    Value::Object(contexts)
}

/// One word of a POSIX shell (XCU section 2.2, *Quoting*).
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::kept::Record;
    use crate::build::{Context, Path, Use};
    use crate::image::platform::Platform;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    fn ready(name: &str, folders: &[(&[&str], &str)]) -> Ready {
        let folder = |(platforms, value): &(&[&str], &str)| Folder {
            platforms: platforms.iter().map(|text| platform(text)).collect(),
            value: (*value).to_owned(),
            record: Record::of(
                "x".as_ref(),
                format!("{name}@sha256:1"),
                vec![("/bin/tool".to_owned(), 1_200_000)],
                40_000_000,
            ),
            fetched_bytes: Some(1_300_000),
        };
        let of = Use {
            line: 7,
            instruction: format!("COPY --from={name}"),
            paths: vec![Path { text: "/bin/tool".to_owned(), is_pattern: false }],
            keeps_owner: true,
            with_parents: false,
            excludes: false,
        };
        let folders: Vec<Folder> = folders.iter().map(folder).collect();
        let platforms = folders.iter().flat_map(|folder| folder.platforms.clone()).collect();
        let context = Context {
            name: name.to_owned(),
            image: format!("{name}:latest"),
            is_stage: false,
            platforms,
            uses: vec![of],
        };
        Ready { context, folders }
    }

    #[test]
    fn the_plan_says_what_runs_what_is_fetched_and_what_is_left() {
        let left = Left { name: "node".to_owned(), line: 9, reason: "it is the base of the target".to_owned() };
        let command = ["docker", "buildx", "build", "--build-context", "tools=/kept/a b", "."].map(str::to_owned);
        let text = plan(&command, "Dockerfile", &[ready("tools", &[(&["linux/amd64"], "/kept/a b")])], &[left]);
        let expected = "\
docker buildx build --build-context 'tools=/kept/a b' .

tools@sha256:1: 1.20 MB of 40.00 MB
  Dockerfile:7: COPY --from=tools: /bin/tool

Left to BuildKit:
  Dockerfile:9: node: it is the base of the target
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_shell_reads_the_flags_as_they_were() {
        let ready = [ready("tools", &[(&["linux/amd64"], "/it's")]), ready("a/b:1", &[(&["linux/amd64"], "/kept/x")])];
        let expected = "--build-context 'tools=/it'\\''s' --build-context a/b:1=/kept/x\n";
        assert_eq!(flags(&ready), expected);
        assert_eq!(flags(&[]), "");
    }

    #[test]
    fn bake_and_compose_get_a_folder_for_each_platform_that_has_its_own() {
        let two = [ready("tools", &[(&["linux/amd64"], "/a"), (&["linux/arm64"], "/b")])];
        let bake: Value = serde_json::from_str(&bake("app", &two)).unwrap();
        let contexts = json!({ "tools::linux/amd64": "/a", "tools::linux/arm64": "/b" });
        assert_eq!(bake, json!({ "target": { "app": { "contexts": contexts } } }));
        let one = [ready("tools", &[(&["linux/amd64", "linux/arm64"], "/a")])];
        let compose: Value = serde_json::from_str(&compose("web", &one)).unwrap();
        let build = json!({ "additional_contexts": { "tools": "/a" } });
        assert_eq!(compose, json!({ "services": { "web": { "build": build } } }));
    }

    #[test]
    fn what_bake_and_compose_would_replace_in_a_path_is_escaped() {
        let ready = [ready("tools", &[(&["linux/amd64"], "/$a/${b}/%{c}/100%")])];
        let bake: Value = serde_json::from_str(&bake("app", &ready)).unwrap();
        assert_eq!(bake["target"]["app"]["contexts"]["tools"], "/$a/$${b}/%%{c}/100%");
        let compose: Value = serde_json::from_str(&compose("web", &ready)).unwrap();
        let contexts = &compose["services"]["web"]["build"]["additional_contexts"];
        assert_eq!(contexts["tools"], "/$$a/$${b}/%{c}/100%");
    }
}
