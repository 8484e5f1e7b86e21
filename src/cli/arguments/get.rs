//! What may be typed after `docker artifact get`.

use std::ffi::OsString;

use super::flags::{ProgressMode, RegistryArguments};

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Get files and directories out of an image, without a pull and without an engine

NAME is an artifact of the image. PATH has a slash in it, and is looked up as a
container would see it: through all layers, following symbolic links; \"*\", \"?\",
\"[...]\" and \"**\" match names. DEST is the same as --output. A file is verified
before it appears under its name.

IMAGE is a reference, an image of the Docker engine (local://REF), or a file
from \"docker save\", an OCI archive or layout: ./FILE, FILE.tar,
archive://FILE, oci-dir://DIR, or \"-\" for standard input.";

/// How it is called.
pub const EXAMPLES: &str = "\
docker artifact get debian:12 /bin/ls
docker artifact get registry.example/app:1 tool
docker artifact get alpine:/bin/busybox /usr/local/bin/
docker artifact get -o tools/ alpine /bin/busybox '/etc/*-release'
docker artifact get --parents -o licences/ debian:12 '/usr/share/doc/**/copyright'
docker artifact get --platform linux/arm64 -o - alpine /etc/os-release
docker artifact get myimage.tar trace.log --created-by '-o trace.log'";

/// The arguments of `get`, as typed.
#[derive(Debug, clap::Args)]
pub struct GetArguments {
    /// The image, then the paths, or both in one and then the destination. Their number is checked later, so that the message can be Docker's.
    #[arg(hide = true)]
    pub operands: Vec<OsString>,
    /// Where to put it: a directory, a file name, or "-" for standard output (default: the current directory)
    #[arg(short, long, value_name = "string", value_hint = clap::ValueHint::AnyPath)]
    pub output: Option<OsString>,
    /// Platform of the image, as os/arch[/variant] (default: $DOCKER_DEFAULT_PLATFORM, or this machine's)
    #[arg(long, value_name = "string")]
    pub platform: Option<String>,
    /// Read each layer that is looked at to its end and check it, even a plain one in a local archive
    #[arg(long)]
    pub verify: bool,
    /// Stop reading at the end of the file: no digest is checked, and a later entry for it in the same layer is missed
    #[arg(long)]
    pub no_verify: bool,
    /// Get what the build step with this text in it wrote, whatever later steps did to it
    #[arg(long, value_name = "string", allow_hyphen_values = true)]
    pub created_by: Option<String>,
    /// Get only what this layer has, by its number (1 is the lowest) or digest, as "ls --layers" shows them
    #[arg(long, value_name = "string")]
    pub layer: Option<String>,
    /// Keep the directories of PATH below the destination, as cp --parents does
    #[arg(long)]
    pub parents: bool,
    /// Keep a symbolic link named by PATH instead of following it
    #[arg(long)]
    pub no_dereference: bool,
    /// Keep ownership and setuid bits (needs root)
    #[arg(long)]
    pub preserve: bool,
    /// Print only errors
    #[arg(short, long)]
    pub quiet: bool,
    /// How to show progress: bars on a terminal, lines elsewhere ("auto", "tty", "plain", "none")
    #[arg(long, value_name = "string", value_enum, default_value_t, hide_possible_values = true)]
    pub progress: ProgressMode,
    /// Print what was written: "table", "json", or a Go template such as "{{.Path}} {{.Size}}"
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
    /// Use what is attached to IMAGE even if it is pinned to a digest, which does not cover what is attached
    #[arg(long)]
    pub trust_attached: bool,
    /// Read whole layers, even if the image has tables of what is in them
    #[arg(long)]
    pub no_index: bool,
    /// Do not read or write this machine's cache
    #[arg(long)]
    pub no_cache: bool,
    /// How to reach the registry.
    #[command(flatten)]
    pub registry: RegistryArguments,
}
