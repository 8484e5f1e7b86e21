//! What a person may decide about what is written.

use super::destination::Destination;
use super::error::ExtractError;

/// What a person may decide about metadata.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishOptions {
    /// Keep ownership, setuid, setgid, sticky and extended attributes too.
    pub preserve: bool,
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
