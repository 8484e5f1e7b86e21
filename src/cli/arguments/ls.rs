//! What may be typed after `docker artifact ls`.

use std::ffi::OsString;

use super::flags::{ColorMode, ProgressMode, RegistryArguments};

/// What the command is about.
pub const LONG_ABOUT: &str = "\
List the artifacts of an image, its files or its layers

Artifacts are what \"docker artifact label\" and LABEL in a Dockerfile name. READ
says what getting one costs: \"range\" is the file alone, \"layer\" is the layer
that holds it. With a PATH, or --all, files are listed as a container would see
them, with the layer that each comes from. If PATH is a directory, what is in
it is listed.

A word without a slash is an artifact's NAME if IMAGE has artifacts, and a PATH
if it has none.";

/// How it is called.
pub const EXAMPLES: &str = "\
docker artifact ls registry.example/app:1
docker artifact ls registry.example/app:1 tool
docker artifact ls debian:12 /etc '/usr/bin/*sum'
docker artifact ls -R debian:12 /usr/share/doc
docker artifact ls --layers --no-trunc alpine";

/// The arguments of `ls`, as typed.
#[derive(Debug, clap::Args)]
pub struct LsArguments {
    /// The image, then names and paths.
    #[arg(hide = true)]
    pub operands: Vec<OsString>,
    /// List files, and all that is below each PATH (default: /)
    #[arg(short, long)]
    pub all: bool,
    /// List all files below each PATH, as --all does
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// List directories themselves, not what is in them
    #[arg(short, long)]
    pub directory: bool,
    /// Does nothing: files are always listed in this form
    #[arg(short, long)]
    pub long: bool,
    /// List layers, with the build step that made each
    #[arg(long)]
    pub layers: bool,
    /// Draw files, and all that is below each PATH, as a tree
    #[arg(long)]
    pub tree: bool,
    /// Show times as "utc", "full-iso", "long-iso", "iso", "locale" or +FORMAT, as GNU ls does, in UTC
    #[arg(long, value_name = "string", default_value = "utc")]
    pub time_style: String,
    /// Colour names: "auto" (on a terminal), "always" or "never"
    #[arg(
        long,
        value_name = "when",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "always"
    )]
    pub color: ColorMode,
    /// Read whole layers, even if the image has tables of what is in them
    #[arg(long)]
    pub no_index: bool,
    /// Platform of the image, as os/arch[/variant] (default: $DOCKER_DEFAULT_PLATFORM, or this machine's)
    #[arg(long, value_name = "string")]
    pub platform: Option<String>,
    /// Print only the names of artifacts, the paths of files or the digests of layers
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Print as "table", "json", or with a Go template such as "{{.Name}} {{.Size}}"
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
    /// How to show progress: bars on a terminal, lines elsewhere ("auto", "tty", "plain", "none")
    #[arg(long, value_name = "string", value_enum, default_value_t, hide_possible_values = true)]
    pub progress: ProgressMode,
    /// Do not read or write this machine's cache
    #[arg(long)]
    pub no_cache: bool,
    /// How to reach the registry.
    #[command(flatten)]
    pub registry: RegistryArguments,
}
