//! What may be typed after `docker artifact label`.

use std::ffi::OsString;

use super::flags::{ProgressMode, RegistryArguments};

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Name artifacts in an image, and make them cheap to get

The label of each PATH is written into the image's config, and what it takes to
read that file alone is kept beside the image. Layers stay as they are. NAME is
the base name of PATH unless it is given. With no PATH, what the Dockerfile
declared by LABEL org.docker-artifact.NAME=/path is labelled.

Of an archive or a layout a labelled copy is written, and an image of the
engine (local://) gets the labels there. Once it is pushed, label it again with
no PATH: that keeps beside the image what makes it cheap.";

/// How it is called.
pub const EXAMPLES: &str = "\
docker artifact label registry.example/app:1 /usr/bin/tool
docker artifact label -t registry.example/app:labelled registry.example/app:1 cli=/opt/app/bin/cli
docker artifact label --metadata-file build.json
docker artifact label app.tar /usr/bin/tool -o labelled.tar";

/// The arguments of `label`, as typed.
#[derive(Debug, clap::Args)]
pub struct LabelArguments {
    /// The image, then names and paths.
    #[arg(hide = true)]
    pub operands: Vec<OsString>,
    /// Give the result this name: another tag or repository instead of moving the tag of IMAGE; in an archive, a layout or
    /// the engine another name instead of those that it has
    #[arg(short, long, value_name = "string")]
    pub tag: Option<OsString>,
    /// Where the labelled copy of an archive or a layout goes: a file or a new folder, or "-" for standard output
    #[arg(short, long, value_name = "file", value_hint = clap::ValueHint::AnyPath)]
    pub output: Option<OsString>,
    /// Forget the artifact of this name (may be repeated)
    #[arg(long, value_name = "name")]
    pub remove: Vec<String>,
    /// Make every file cheap, not only those that are named: attach tables of all layers, and let the image's digest cover them
    #[arg(long)]
    pub all: bool,
    /// Label only the images for these platforms, as os/arch[/variant],... (default: all)
    #[arg(long, value_name = "string", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave the image as it is, and attach the records to it (with --remove: take them away)
    #[arg(long)]
    pub attach: bool,
    /// Take IMAGE and its digest from what "docker buildx build --metadata-file" wrote
    #[arg(long, value_name = "file", value_hint = clap::ValueHint::AnyPath)]
    pub metadata_file: Option<OsString>,
    /// Print the labels as arguments of a later "docker build", and write nothing
    #[arg(long)]
    pub print_args: bool,
    /// Print nothing but the digest of the result
    #[arg(short, long)]
    pub quiet: bool,
    /// How to show progress: bars on a terminal, lines elsewhere ("auto", "tty", "plain", "none")
    #[arg(long, value_name = "string", value_enum, default_value_t, hide_possible_values = true)]
    pub progress: ProgressMode,
    /// Print what was labelled: "table", "json", or a Go template such as "{{.Name}} {{.Digest}}"
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
    /// Neither use nor fill the cache of this machine
    #[arg(long)]
    pub no_cache: bool,
    /// How to reach the registry.
    #[command(flatten)]
    pub registry: RegistryArguments,
}
