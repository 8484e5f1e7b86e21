//! What may be typed after `copy_binary`, in a Dockerfile's `RUN`.

use std::ffi::OsString;

use clap::{ArgAction, Parser};

use super::flags::RegistryArguments;

/// Copy a file out of another image while an image is being built
#[derive(Debug, Parser)]
#[command(
    name = "copy_binary",
    override_usage = "[OPTIONS] --from IMAGE PATH|NAME [DEST]",
    long_about = LONG_ABOUT,
    before_help = EXAMPLES,
    disable_version_flag = true,
    args_override_self = true
)]
pub struct CopyBinaryArguments {
    /// What to copy, then where to.
    #[arg(hide = true)]
    pub operands: Vec<OsString>,
    /// The image to copy from
    #[arg(long, value_name = "image")]
    pub from: Option<OsString>,
    /// Platform of the image, as os/arch[/variant] (default: $DOCKER_DEFAULT_PLATFORM, or this machine's)
    #[arg(long, value_name = "string")]
    pub platform: Option<String>,
    /// Print only errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Show the causes of errors, and a log
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// Print version information and quit
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub version: bool,
    /// How to reach the registry.
    #[command(flatten)]
    pub registry: RegistryArguments,
}

const LONG_ABOUT: &str = "\
Copy a file out of another image while an image is being built

Fetches what it needs to read the file, not the whole image. DEST is as in cp:
if it is a directory, or ends in \"/\", the file is copied into it. Missing
directories are created. Without DEST, the file gets the path that it has in
IMAGE. Its mode is kept.";

const EXAMPLES: &str = "\
RUN copy_binary --from=alpine /bin/busybox
RUN copy_binary --from=registry.example/tools:1 protoc /usr/local/bin/
RUN --mount=type=secret,id=docker,target=/run/docker/config.json \\
    DOCKER_CONFIG=/run/docker \\
    copy_binary --from=registry.example/private:1 /app/bin/server";
