//! What may be typed after `docker-artifact man`.

use std::path::PathBuf;

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Write the manual pages of docker-artifact and copy_binary into a folder";

/// How it is called.
pub const EXAMPLES: &str = "\
docker-artifact man ~/.local/share/man/man1";

/// The arguments of `man`, as typed.
#[derive(Debug, clap::Args)]
pub struct ManArguments {
    /// The folder, which is made where it is not there.
    #[arg(hide = true, value_hint = clap::ValueHint::DirPath)]
    pub folder: PathBuf,
}
