//! Flags that several commands have.

use clap::ValueEnum;

/// How to reach a registry, for every command that does.
#[derive(Debug, clap::Args)]
pub struct RegistryArguments {
    /// Use HTTP without TLS for the registry
    #[arg(long)]
    pub plain_http: bool,
    /// Do not check the registry's certificate
    #[arg(long)]
    pub insecure: bool,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// Bars.
    Tty,
    /// Lines.
    Plain,
    /// Nothing.
    None,
}

/// When names are painted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorMode {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
