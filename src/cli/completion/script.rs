//! The scripts that make a shell ask this program how a line may go on.

use crate::cli::arguments::Shell;

/// The script for this shell. It completes `docker-artifact` and `copy_binary`; `docker artifact` is completed by Docker's own.
pub fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("scripts/docker-artifact.bash"),
        Shell::Zsh => include_str!("scripts/_docker-artifact"),
        Shell::Fish => include_str!("scripts/docker-artifact.fish"),
    }
}
