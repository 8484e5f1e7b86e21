//! What may be typed after `docker-artifact completion`.

use clap::ValueEnum;

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Print the script that completes docker-artifact and copy_binary in a shell

SHELL is bash, zsh or fish. \"docker artifact\" needs no script of its own: Docker's
asks this program, too. Names and paths of the image on the line are completed,
as far as the image tells of them without its layers being read.";

/// How it is called.
pub const EXAMPLES: &str = "\
source <(docker-artifact completion bash)
docker-artifact completion zsh > ~/.local/share/zsh/site-functions/_docker-artifact
docker-artifact completion fish > ~/.config/fish/completions/docker-artifact.fish";

/// The arguments of `completion`, as typed.
#[derive(Debug, clap::Args)]
pub struct CompletionArguments {
    /// The shell.
    #[arg(hide = true, value_enum)]
    pub shell: Shell,
}

/// A shell that there is a script for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}
