//! What may be typed after `docker artifact index`.

use std::ffi::OsString;

use super::flags::{ProgressMode, RegistryArguments};

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Make every file of an image cheap to get

Reads the layers once, and attaches tables to the image that say what is in
each layer and where. The image and its digest stay as they are. From then on,
getting a file reads some parts of the tables and the file's own bytes; listing
all files reads the tables, and no layer. If images share a layer, they share
its table, and a repository stores it once.

IMAGE must be in a registry. Tables that are attached already are kept if they
are good, so indexing again costs little.";

/// How it is called.
pub const EXAMPLES: &str = "\
docker artifact index registry.example/app:1
docker artifact index --dry-run registry.example/app:1
docker artifact index --platform linux/amd64,linux/arm64 registry.example/app:1";

/// The arguments of `index`, as typed.
#[derive(Debug, clap::Args)]
pub struct IndexArguments {
    /// The image.
    #[arg(hide = true)]
    pub operands: Vec<OsString>,
    /// Index only the images for these platforms, as os/arch[/variant],... (default: all)
    #[arg(long, value_name = "string", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Make the tables, print what would be attached, and attach nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print only the digest of IMAGE
    #[arg(short, long)]
    pub quiet: bool,
    /// How to show progress: bars on a terminal, lines elsewhere ("auto", "tty", "plain", "none")
    #[arg(long, value_name = "string", value_enum, default_value_t, hide_possible_values = true)]
    pub progress: ProgressMode,
    /// Do not truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Print what was indexed: "table", "json", or a Go template such as "{{.Digest}} {{.Table}}"
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
    /// How to reach the registry.
    #[command(flatten)]
    pub registry: RegistryArguments,
}
