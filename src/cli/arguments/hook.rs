//! What may be typed after `docker-artifact hook`.

use clap::ValueEnum;

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Turn hints after a failed \"docker cp\" on or off

Docker asks a plugin for hints if its config.json says so. With \"on\", it asks
this plugin after each \"docker cp\". If that failed because there is no such
container, the hint shows how to get the file out of an image.";

/// How it is called.
pub const EXAMPLES: &str = "\
docker artifact hook on
docker artifact hook off";

/// The arguments of `hook`, as typed.
#[derive(Debug, clap::Args)]
pub struct HookArguments {
    /// Whether there are hints.
    #[arg(hide = true, value_enum)]
    pub state: HookState,
}

/// Whether there are hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookState {
    /// There are.
    On,
    /// There are none.
    Off,
}
