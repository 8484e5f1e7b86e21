//! Docker's `config.json`: where it is and how it is read. What each part of it means is up to whoever asks for that part.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::SourceError;

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The folder of `config.json`: the one that was `named`, else that of `DOCKER_CONFIG`, else `~/.docker`.
pub fn folder(named: Option<&Path>, environment: Environment<'_>) -> Option<PathBuf> {
    let from_variable = || environment("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let from_home = || home(environment).map(|home| home.join(".docker"));
    named.map(Path::to_owned).or_else(from_variable).or_else(from_home)
}

/// Reads `config.json` in `folder`, as far as `T` knows it. A file that is not there is an empty one.
pub fn read<T: DeserializeOwned + Default>(folder: Option<&Path>) -> Result<T, SourceError> {
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(T::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(T::default()),
        Ok(text) => parse(&text, &path.display().to_string()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(T::default()),
        Err(error) => Err(SourceError::Credentials { message: format!("{} cannot be read: {error}", path.display()) }),
    }
}

/// Reads the text of a Docker config, which comes from `origin`.
pub fn parse<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, SourceError> {
    serde_json::from_str(text).map_err(|error| SourceError::Credentials {
        // Where it is wrong, not what is there: serde's own message may quote a secret.
        message: format!(
            "{origin} is not a Docker config: not valid JSON of its shape at line {}, column {}",
            error.line(),
            error.column()
        ),
    })
}

/// The home directory. Without `HOME` the C library is asked for it, but not a static one: that would load the machine's modules
/// for it (nsswitch.conf), which were made for another C library, and crash.
fn home(environment: Environment<'_>) -> Option<PathBuf> {
    let named = environment("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    if cfg!(target_feature = "crt-static") { named } else { named.or_else(dirs::home_dir) }
}
