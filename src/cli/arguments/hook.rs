//! What may be typed after `docker-artifact hook`.

use clap::ValueEnum;

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Say after a failed \"docker cp\" how to copy out of an image, or stop doing so

Docker asks its plugins what to say next, if its config.json says so. With \"on\",
it asks this plugin after each \"docker cp\", and one that failed because there is
no such container gets a hint.";

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
