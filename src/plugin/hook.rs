//! What Docker's CLI prints behind a `docker cp` that failed, where somebody switched that on: how to get the file out of an image.
//!
//! Docker runs `docker-artifact artifact docker-cli-plugin-hooks REQUEST` after each command that the plugin's `hooks` in `config.json`
//! names, also after one that went well, and with `error-hooks` (since 29.3) only after one that failed. It prints what the answer's
//! template makes of the command's arguments, on a terminal alone. Where there is nothing to say, nothing is answered, which Docker skips.
//! Spec: docker/cli, `cli-plugins/hooks` and `cli-plugins/manager/hooks.go`.

use serde::Deserialize;
use serde_json::json;

/// The word that asks.
pub const REQUEST: &str = "docker-cli-plugin-hooks";

/// The command whose failure is told of.
pub const COMMAND: &str = "cp";

/// How engines say that there is no container of a name, which stands behind it.
const MISSING: &[&str] = &["No such container: ", "no such container: ", "no container with name or ID "];

/// What Docker tells of a command.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Request {
    /// The command, as it was configured.
    root_cmd: String,
    /// What it failed with.
    command_error: String,
}

/// The answer to `request`, JSON; nothing where there is nothing to say.
pub fn answer(request: &str) -> Option<String> {
    let Request { root_cmd, command_error } = serde_json::from_str(request).ok()?;
    let missing = (root_cmd == COMMAND).then(|| missing(&command_error))??;
    Some(json!({ "Type": 0, "Template": template(missing) }).to_string())
}

/// The name that no container has, if that is what went wrong.
fn missing(error: &str) -> Option<&str> {
    let behind = MISSING.iter().find_map(|said| error.split_once(said))?.1.trim_start_matches('"');
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-' | '/');
    let name = &behind[..behind.find(|letter| !is_name(letter)).unwrap_or(behind.len())];
    (!name.is_empty()).then_some(name)
}

/// What is printed, if `container` stands in the first argument, from which is copied: a copy into a container has it in the second.
/// A template that fails prints nothing, in each version of Docker, where an empty one would print an empty list in some.
fn template(container: &str) -> String {
    let length = container.len() + 1;
    let is_source = format!("eq (printf \"%.{length}s\" (arg . 0)) \"{container}:\"");
    format!(
        "{{{{if {is_source}}}}}If {container} is an image, no container is needed:\n    \
         docker artifact get {{{{arg . 0}}}} {{{{arg . 1}}}}{{{{else}}}}{{{{arg . 99}}}}{{{{end}}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(command: &str, error: &str) -> String {
        json!({"RootCmd": command, "Flags": {"archive": "true"}, "CommandError": error, "New": 1}).to_string()
    }

    #[test]
    fn a_container_that_is_not_there_may_be_an_image() {
        for error in [
            "Error response from daemon: No such container: alpine",
            "Error: no container with name or ID \"alpine\" found: no such container",
        ] {
            let answer = answer(&request("cp", error)).unwrap();
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["Type"], 0);
            let template = answer["Template"].as_str().unwrap();
            assert!(template.contains("\"%.7s\" (arg . 0)) \"alpine:\""), "{template}");
            assert!(template.contains("If alpine is an image"), "{template}");
        }
    }

    #[test]
    fn where_there_is_nothing_to_say_nothing_is_answered() {
        for request in [
            request("cp", ""),
            request("cp", "Could not find the file /x in container app"),
            request("run", "No such container: alpine"),
            request("cp", "No such container: {{.}}"),
            "{".to_owned(),
            String::new(),
        ] {
            assert_eq!(answer(&request), None, "{request}");
        }
    }
}
