//! What may be typed after `docker artifact label`.

use std::ffi::OsString;

use super::flags::{ProgressMode, RegistryArguments};

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Name artifacts in an image, and make them cheap to get

Writes a label for each PATH into the image's config, and puts beside the image
what is needed to read that file alone. Layers stay as they are. Without NAME=,
the name is the base name of PATH. Without PATH, the artifacts are labelled
that the Dockerfile declares with LABEL org.docker-artifact.NAME=/path.

Of an archive or a layout, a labelled copy is written. An image of the engine
(local://) is labelled in the engine. After you push either of them, label it
again without PATH: that makes its artifacts cheap to get.";

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
    /// Name the result. In a registry, this is another tag or repository, and the tag of IMAGE does not move; in an
    /// archive, a layout or the engine, the name replaces those that the image has
    #[arg(short, long, value_name = "string")]
    pub tag: Option<OsString>,
    /// Where the labelled copy of an archive or a layout goes: a file or a new folder, or "-" for standard output
    #[arg(short, long, value_name = "file", value_hint = clap::ValueHint::AnyPath)]
    pub output: Option<OsString>,
    /// Forget the artifact of this name (may be repeated)
    #[arg(long, value_name = "name")]
    pub remove: Vec<String>,
    /// Make every file cheap to get, not only artifacts: attach tables of all layers, covered by the image's digest
    #[arg(long)]
    pub all: bool,
    /// Label only the images for these platforms, as os/arch[/variant],... (default: all)
    #[arg(long, value_name = "string", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave the image as it is, and attach the records to it (with --remove: detach them)
    #[arg(long)]
    pub attach: bool,
    /// Take IMAGE and its digest from what "docker buildx build --metadata-file" wrote
    #[arg(long, value_name = "file", value_hint = clap::ValueHint::AnyPath)]
    pub metadata_file: Option<OsString>,
    /// Print the labels as arguments of a later "docker build", and write nothing
    #[arg(long)]
    pub print_args: bool,
    /// Print only the digest of the result
    #[arg(short, long)]
    pub quiet: bool,
    /// How to show progress: bars on a terminal, lines elsewhere ("auto", "tty", "plain", "none")
    #[arg(long, value_name = "string", value_enum, default_value_t, hide_possible_values = true)]
    pub progress: ProgressMode,
    /// Print what was labelled: "table", "json", or a Go template such as "{{.Name}} {{.Digest}}"
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
    /// Do not read or write this machine's cache
    #[arg(long)]
    pub no_cache: bool,
    /// How to reach the registry.
    #[command(flatten)]
    pub registry: RegistryArguments,
}
