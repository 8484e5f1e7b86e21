//! From staging to final names: everything is built complete beside its destination, flushed, and then renamed.

use std::path::PathBuf;

use super::Item;
use super::destination::Destination;
use super::error::ExtractError;
use super::staging::Staging;

/// What a person may decide about metadata.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishOptions {
    /// Keep ownership, setuid, setgid, sticky and extended attributes too.
    pub preserve: bool,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Published {
    /// The final path of each item that was written; a directory counts as one. Empty for standard output.
    pub written: Vec<PathBuf>,
    /// What a person should know: one line each, safe for a terminal.
    pub warnings: Vec<String>,
}

impl PublishOptions {
    /// Tells at the door, before anything is fetched, whether the options can be kept.
    ///
    /// # Errors
    ///
    /// [`ExtractError::PreserveNeedsRoot`]; a tar stream can record what only root can set.
    pub fn check(&self, destination: &Destination) -> Result<(), ExtractError> {
        if self.preserve && *destination != Destination::Stdout && !rustix::process::geteuid().is_root() {
            return Err(ExtractError::PreserveNeedsRoot);
        }
        Ok(())
    }
}

/// Writes `items`, base names and what they stand for, to the destination that `staging` was made for.
///
/// # Errors
///
/// Whatever can be known before, is; then nothing was written.
pub fn publish(
    staging: Staging,
    items: Vec<(Vec<u8>, Item)>,
    options: &PublishOptions,
) -> Result<Published, ExtractError> {
    todo!("{staging:?} {items:?} {options:?}")
}
