//! What `docker artifact build` adds to what may be typed after `docker build`. clap lists these flags in help and completion; all
//! the words are read by [`command_line`](crate::build::command_line), as Docker reads them.

use std::ffi::OsString;

/// What the command is about.
pub const LONG_ABOUT: &str = "\
Build an image without pulling those that it only copies files from

Takes what \"docker build\" takes. Where the Dockerfile says COPY --from=IMAGE,
or mounts IMAGE in a RUN, only the files that it names are fetched, and handed
to BuildKit in a folder. BuildKit does everything else, and builds the same
image. If an image cannot be handled this way, BuildKit pulls it as usual.

If the Dockerfile declares artifacts (LABEL org.docker-artifact.NAME=/path) and
the image is pushed or loaded, they are labelled, as \"docker artifact label\"
does.";

/// How it is called.
pub const EXAMPLES: &str = "\
docker artifact build -t app .
docker artifact build --push -t registry.example/app:1 .
docker artifact build --print .
eval \"docker buildx build $(docker artifact build --print=flags .) -t app .\"
docker artifact build --print=bake:app . > contexts.json";

/// The arguments of `build`, as typed.
#[derive(Debug, clap::Args)]
pub struct BuildArguments {
    /// What `docker build` takes.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
    /// Print what would run and what was fetched for it, and build nothing: "plan", "flags", "bake" or "bake:TARGET", "compose" or "compose:SERVICE"
    #[arg(long, value_name = "string", num_args = 0..=1, require_equals = true, default_missing_value = "plan")]
    pub print: Option<String>,
    /// Leave this image to BuildKit (may be repeated)
    #[arg(long, value_name = "image")]
    pub leave: Vec<String>,
    /// Keep the owners of copied files (needs a builder that takes OCI layouts)
    #[arg(long)]
    pub keep_owners: bool,
    /// Do not label the artifacts that the Dockerfile declares
    #[arg(long)]
    pub no_label: bool,
}

impl BuildArguments {
    /// The words after `build`, as they are.
    pub fn of(words: &[OsString]) -> Self {
        BuildArguments { words: words.to_vec(), print: None, leave: Vec::new(), keep_owners: false, no_label: false }
    }
}

/// The words after `build`, if that is the command, and whether `--debug` stands before it. `None` where help is asked for.
pub fn words(typed: &[OsString]) -> Option<(bool, &[OsString])> {
    let flags = typed.iter().take_while(|word| *word == "-D" || *word == "--debug").count();
    let (command, words) = typed[flags..].split_first()?;
    let mut before_operands = words.iter().take_while(|word| *word != "--");
    let asks_for_help = before_operands.any(|word| word == "--help" || word == "-h");
    (command == "build" && !asks_for_help).then_some((flags > 0, words))
}
