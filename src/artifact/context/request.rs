//! What is asked of [`context`](super::context()) and [`layout`](super::layout()).

use std::path::PathBuf;

use crate::artifact::tables::Tables;

/// What one instruction copies, or mounts.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The paths in the image.
    pub paths: Vec<Path>,
    /// Whether what is copied keeps its owner.
    pub keeps_owner: bool,
    /// Whether the directories above each path are copied too.
    pub with_parents: bool,
    /// Whether some of what the paths name is left out by patterns. It is in the folder all the same.
    pub excludes: bool,
}

/// A path in the image, as the build has it: absolute, or relative to the root.
#[derive(Clone, Debug)]
pub struct Path {
    /// Its text.
    pub text: String,
    /// Whether it is a pattern. One that matches nothing is no error.
    pub is_pattern: bool,
}

/// What to get, and where to put it.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the build copies from the image; one at least.
    pub wanted: Vec<Wanted>,
    /// Whether it is to stand in for a stage that begins with the image, and not only for the image.
    pub is_stage: bool,
    /// The tables of contents that are believed, so that layers need not be read.
    pub tables: Tables,
    /// Where it goes: a name that nothing has. All of it appears at once.
    pub folder: PathBuf,
}
