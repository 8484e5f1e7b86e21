//! What may be typed after `docker artifact cache`.

use clap::Subcommand;

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Show and empty what this machine keeps of images

This machine keeps tables of the layers that were read, manifests, and the
files that builds were given. They are in $DOCKER_ARTIFACT_CACHE (\"off\" keeps
nothing), or in the system's folder for caches. Beyond 1 GiB, what was used
least recently is removed.";

/// How it is called.
pub const EXAMPLES: &str = "\
docker artifact cache ls
docker artifact cache rm 3f1e2d4c5b6a
docker artifact cache prune --all --force";

/// The arguments of `cache`, as typed.
#[derive(Debug, clap::Args)]
pub struct CacheArguments {
    /// What to do with it.
    #[command(subcommand)]
    pub command: Option<CacheCommand>,
}

/// The commands of the cache.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List what is kept
    #[command(
        override_usage = "[OPTIONS]",
        long_about = LS_ABOUT,
        before_help = LS_EXAMPLES,
        args_override_self = true
    )]
    Ls(CacheLsArguments),
    /// Forget what is kept of layers and images
    #[command(
        override_usage = "[OPTIONS] DIGEST...",
        long_about = RM_ABOUT,
        before_help = RM_EXAMPLES,
        args_override_self = true
    )]
    Rm(CacheRmArguments),
    /// Remove what was not used for two weeks, or everything
    #[command(
        override_usage = "[OPTIONS]",
        long_about = PRUNE_ABOUT,
        before_help = PRUNE_EXAMPLES,
        args_override_self = true
    )]
    Prune(CachePruneArguments),
}

impl CacheCommand {
    /// What is typed for it.
    pub fn name(&self) -> &'static str {
        match self {
            CacheCommand::Ls(_) => "cache ls",
            CacheCommand::Rm(_) => "cache rm",
            CacheCommand::Prune(_) => "cache prune",
        }
    }
}

const LS_ABOUT: &str = "\
List what this machine keeps of images

Of a \"layer\", its table is kept; of an \"image\", the files that builds were
given. One row counts all manifests and configs.";

const LS_EXAMPLES: &str = "\
docker artifact cache ls
docker artifact cache ls --no-trunc --format '{{.Digest}} {{.DiskSize}}'";

/// The arguments of `cache ls`, as typed.
#[derive(Debug, clap::Args)]
pub struct CacheLsArguments {
    /// Print only digests
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Print as "table", "json", or with a Go template such as "{{.Digest}} {{.DiskSize}}"
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
}

const RM_ABOUT: &str = "\
Forget what is kept of layers and images

DIGEST is the digest of a layer or an image, as \"cache ls\" shows it. Its first
digits are enough if no other digest begins with them.";

const RM_EXAMPLES: &str = "\
docker artifact cache rm 3f1e2d4c5b6a
docker artifact cache rm $(docker artifact cache ls -q)";

/// The arguments of `cache rm`, as typed.
#[derive(Debug, clap::Args)]
pub struct CacheRmArguments {
    /// Digests, or beginnings of them. Their number is checked later, so that the message can be Docker's.
    #[arg(hide = true)]
    pub digests: Vec<String>,
}

const PRUNE_ABOUT: &str = "\
Remove what was not used for two weeks, or everything

Asks first, and prints how much disk space was freed.";

const PRUNE_EXAMPLES: &str = "\
docker artifact cache prune
docker artifact cache prune --all --force";

/// The arguments of `cache prune`, as typed.
#[derive(Debug, clap::Args)]
pub struct CachePruneArguments {
    /// Remove everything, not only what was not used for two weeks
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask first
    #[arg(short, long)]
    pub force: bool,
}
