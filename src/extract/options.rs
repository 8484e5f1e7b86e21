//! What a person may decide about what is written.

use super::destination::Destination;
use super::error::ExtractError;
use crate::layer::entry::Metadata;

/// What a person may decide about metadata.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishOptions {
    /// Keep ownership, setuid, setgid, sticky and extended attributes too.
    pub preserve: bool,
    /// Keep setuid, setgid and sticky without the owner that they are about, in a copy that is read and not run.
    pub special_bits: bool,
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

    /// The permission bits that are kept of what has this `metadata`: setuid, setgid and sticky only on request.
    pub(super) fn mode(&self, metadata: &Metadata) -> u32 {
        metadata.mode & if self.preserve || self.special_bits { 0o7777 } else { 0o777 }
    }
}
