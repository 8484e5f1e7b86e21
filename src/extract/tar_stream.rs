//! Results on standard output: the bytes of one file, or a tar stream of several.

use std::io::Write;

use super::Item;
use super::error::ExtractError;
use super::publish::PublishOptions;

/// Writes the bytes of the one file, or else the tar stream of [`write_tar`]. Gives the warnings.
pub fn write_stdout(
    items: &[(Vec<u8>, Item)],
    options: &PublishOptions,
    out: &mut dyn Write,
) -> Result<Vec<String>, ExtractError> {
    write_tar(items, options, out)
}

/// Writes `items` as a tar stream. Gives the warnings.
pub fn write_tar(
    items: &[(Vec<u8>, Item)],
    options: &PublishOptions,
    out: &mut dyn Write,
) -> Result<Vec<String>, ExtractError> {
    let _ = (options, out);
    todo!("{items:?}")
}
