//! What may be typed after `docker artifact index`.

use std::ffi::OsString;

use super::flags::{ProgressMode, RegistryArguments};

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Keep tables of an image's files beside it, and make each of them cheap to get

Reads the layers once, and attaches to the image what is in each of them and
where. The image and its digest stay as they are. From then on, getting any file
takes the file's own bytes and some parts of these tables, and listing all files
takes the tables, without reading a layer. A layer that images share has one
table, which a repository stores once.

IMAGE is in a registry. What was attached before is kept as far as it is good,
so that indexing again costs little.";

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
    /// Make the tables and say what would be attached, and attach nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print nothing but the digest of IMAGE
    #[arg(short, long)]
    pub quiet: bool,
    /// How to show progress: bars on a terminal, lines elsewhere ("auto", "tty", "plain", "none")
    #[arg(long, value_name = "string", value_enum, default_value_t, hide_possible_values = true)]
    pub progress: ProgressMode,
    /// Shorten nothing
    #[arg(long)]
    pub no_trunc: bool,
    /// Print what was indexed: "table", "json", or a Go template such as "{{.Digest}} {{.Table}}"
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
    /// How to reach the registry.
    #[command(flatten)]
    pub registry: RegistryArguments,
}
