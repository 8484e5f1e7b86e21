//! What may be typed after `docker artifact cache`.

use clap::Subcommand;

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Show and empty what this machine keeps of images

Tables of the layers that were read, manifests, and what builds were given. It
lies in $DOCKER_ARTIFACT_CACHE (\"off\" keeps nothing), or else in the system's
folder for caches, and what was used least recently goes beyond 1 GiB.";

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
    /// Remove what was not used for two weeks, or all of it
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

A \"layer\" has its table, an \"image\" the files that builds were given of it;
manifests and configs are counted in one row.";

const LS_EXAMPLES: &str = "\
docker artifact cache ls
docker artifact cache ls --no-trunc --format '{{.Digest}} {{.DiskSize}}'";

/// The arguments of `cache ls`, as typed.
#[derive(Debug, clap::Args)]
pub struct CacheLsArguments {
    /// Print digests alone
    #[arg(short, long)]
    pub quiet: bool,
    /// Shorten nothing
    #[arg(long)]
    pub no_trunc: bool,
    /// Print as "table", "json", or by a Go template such as "{{.Digest}} {{.DiskSize}}"
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
}

const RM_ABOUT: &str = "\
Forget what is kept of layers and images

DIGEST is that of a layer or an image, as \"cache ls\" shows it; the beginning is
enough if nothing else begins so.";

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
Remove what was not used for two weeks, or all of it

Asks first, and says how many bytes of the disk are free again.";

const PRUNE_EXAMPLES: &str = "\
docker artifact cache prune
docker artifact cache prune --all --force";

/// The arguments of `cache prune`, as typed.
#[derive(Debug, clap::Args)]
pub struct CachePruneArguments {
    /// Remove all of it, not only what was not used for two weeks
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask first
    #[arg(short, long)]
    pub force: bool,
}
