//! Whether Docker asks this plugin what to say after a `docker cp` that failed: a matter of Docker's `config.json`, of which all else stays as
//! it is.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::hook::COMMAND;

/// The mode of a `config.json` that was not there: it may hold credentials one day.
const MODE: u32 = 0o600;

/// The keys of the plugin's configuration: after each command, and (since Docker 29.3) only after one that failed.
const KEYS: [&str; 2] = ["hooks", "error-hooks"];

/// The feature of Docker's that has it ask plugins at all.
const FEATURE: &str = "hooks";

/// Says, in the plugin's configuration, that the feature was switched on for this plugin.
const OURS: &str = "switched-hooks-on";

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// There is no home for it.
    #[error("cannot tell where Docker's config.json is: HOME is not set; set it, or DOCKER_CONFIG")]
    NoFolder,
    /// It cannot be read or written.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// It is nothing that Docker could read either.
    #[error("{path} is not a Docker config: {problem}; nothing was changed", path = .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Whether somebody has switched off that Docker asks plugins.
pub fn is_off(folder: &Path) -> bool {
    let config = fs::read(folder.join("config.json")).ok();
    let config: Option<Value> = config.and_then(|text| serde_json::from_slice(&text).ok());
    config.is_some_and(|config| config["features"][FEATURE] != "true")
}

/// Switches it on, or off, in the `config.json` of `folder`. Says whether that changed anything.
pub fn switch(folder: &Path, on: bool) -> Result<bool, HookError> {
    // A link stays one.
    let path = folder.join("config.json");
    let path = fs::canonicalize(&path).unwrap_or(path);
    let failed = |error| HookError::File { path: path.clone(), error };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let invalid = |problem: String| HookError::Invalid { path: path.clone(), problem };
    let mut config: Value = match text.trim() {
        "" => json!({}),
        text => serde_json::from_str(text).map_err(|error| {
            // Where it is wrong, not what is there, which may be a secret.
            invalid(format!("not valid JSON at line {}, column {}", error.line(), error.column()))
        })?,
    };
    let config_object = config.as_object_mut().ok_or_else(|| invalid("it is not an object".to_owned()))?;
    if !set(config_object, on).map_err(invalid)? {
        return Ok(false);
    }
    fs::create_dir_all(folder).map_err(failed)?;
    write(&path, &config).map_err(failed)?;
    Ok(true)
}

/// Changes `config`. Says whether it was otherwise; fails where it is not of Docker's form.
fn set(config: &mut Map<String, Value>, on: bool) -> Result<bool, String> {
    let before = config.clone();
    let mut plugins = taken(config, "plugins")?;
    let mut features = taken(config, "features")?;
    let mut plugin = taken(&mut plugins, "artifact")?;
    if on {
        for key in KEYS {
            plugin.insert(key.to_owned(), json!(COMMAND));
        }
        if !features.contains_key(FEATURE) {
            features.insert(FEATURE.to_owned(), json!("true"));
            plugin.insert(OURS.to_owned(), json!("true"));
        }
    } else {
        for key in KEYS {
            plugin.shift_remove(key);
        }
        let others = plugins.iter().filter(|(name, _)| *name != "artifact");
        let others = others.into_iter().any(|(_, other)| KEYS.iter().any(|key| other.get(key).is_some()));
        if plugin.shift_remove(OURS).is_some() && !others {
            features.shift_remove(FEATURE);
        }
    }
    put_back(&mut plugins, "artifact", plugin);
    put_back(config, "plugins", plugins);
    put_back(config, "features", features);
    Ok(*config != before)
}

/// The object under `key`, an empty one where there is none.
fn taken(from: &mut Map<String, Value>, key: &str) -> Result<Map<String, Value>, String> {
    match from.get(key) {
        None => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(format!("\"{key}\" is not an object")),
    }
}

/// Puts it back to where it was, unless it is empty.
fn put_back(to: &mut Map<String, Value>, key: &str, object: Map<String, Value>) {
    match object.is_empty() {
        true => drop(to.shift_remove(key)),
        false => drop(to.insert(key.to_owned(), Value::Object(object))),
    }
}

/// Writes `config` as Docker does, with tabs, and takes it to its name by one rename.
fn write(path: &Path, config: &Value) -> io::Result<()> {
    let mode = fs::metadata(path).map_or(MODE, |metadata| metadata.permissions().mode() & 0o777);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile_in(folder)?;
    let written = (|| {
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        serde::Serialize::serialize(config, &mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
        file.1.write_all(&text)?;
        file.1.set_permissions(fs::Permissions::from_mode(mode))?;
        file.1.sync_all()?;
        fs::rename(&file.0, path)
    })();
    written.inspect_err(|_| drop(fs::remove_file(&file.0)))
}

/// A new file in `folder` that nobody else can read.
fn tempfile_in(folder: &Path) -> io::Result<(PathBuf, fs::File)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = folder.join(format!("config.json.{}", std::process::id()));
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path)?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: &str = "{\n\t\"credsStore\": \"x\",\n\t\"auths\": {\n\t\t\"b\": {},\n\t\t\"a\": {}\n\t}\n}";

    fn config(text: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn on_and_off_leave_all_else_as_it_was() {
        let (folder, path) = config(Some(HELD));
        assert!(switch(folder.path(), true).unwrap());
        let on: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(on["plugins"]["artifact"], json!({"hooks": "cp", "error-hooks": "cp", "switched-hooks-on": "true"}));
        assert_eq!(on["features"], json!({"hooks": "true"}));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!switch(folder.path(), true).unwrap(), "it is on already");
        assert!(switch(folder.path(), false).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), HELD);
        assert!(!switch(folder.path(), false).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn other_plugins_and_other_settings_stay() {
        for text in [
            r#"{"plugins":{"artifact":{"x":"y"},"scout":{"hooks":"build"}},"features":{"hooks":"true"}}"#,
            r#"{"plugins":{"artifact":{"x":"y"}},"features":{"hooks":"false","buildkit":"true"}}"#,
        ] {
            let (folder, path) = config(Some(text));
            assert!(switch(folder.path(), true).unwrap() && switch(folder.path(), false).unwrap());
            let left: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(left, serde_json::from_str::<Value>(text).unwrap());
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_made_for_nobody_else_and_a_broken_one_stays() {
        let (folder, path) = config(None);
        assert!(switch(&folder.path().join("new"), true).unwrap());
        let made = folder.path().join("new/config.json");
        assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, MODE);
        for broken in
            ["{\"auths\": secret}", "[]", r#"{"plugins":[]}"#, r#"{"plugins":{"artifact":"x"}}"#, r#"{"features":1}"#]
        {
            fs::write(&path, broken).unwrap();
            let error = switch(folder.path(), true).unwrap_err().to_string();
            assert!(error.contains("nothing was changed") && !error.contains("secret"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
    }
}
