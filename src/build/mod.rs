//! Dockerfiles: which files of which images a build copies.
//!
//! [`command_line`] tells what `docker build` was asked to do; [`dockerfile`] reads the Dockerfile; [`plan()`] follows the stages
//! that the target needs, and says of each image that files are copied from which files these are, or why the image is left to
//! BuildKit. Nothing of this reads a file, asks a registry, or runs anything: what is planned is fetched by
//! [`artifact::context`](crate::artifact::context), stays where [`kept`] says, and is handed to BuildKit by [`cli`](crate::cli).
//!
//! BuildKit takes a local folder in place of an image where `--build-context NAME=FOLDER` names it: for every use of that name, as
//! an image or as a stage. So the unit of a plan is the *context*, by the name that BuildKit looks up, and a context is planned
//! only if all its uses in the stages that are needed are understood.

pub mod command_line;
mod context_name;
pub mod dockerfile;
mod expand;
mod frontend;
pub mod kept;
mod lines;
mod mount;
mod pairs;
mod paths;
pub mod plan;
mod seal;
mod stages;
pub mod temporary;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use crate::image::platform::Platform;

pub use context_name::context_name;
pub use plan::plan;

/// What decides, besides the Dockerfile, which files a build needs.
#[derive(Clone, Debug)]
pub struct Request {
    /// The stage to build, by name or number; the last one where nothing is said.
    pub target: Option<String>,
    /// Build arguments (`--build-arg`), those without a value already looked up in the environment.
    pub arguments: BTreeMap<String, String>,
    /// The platforms to build for; one at least.
    pub platforms: Vec<Platform>,
    /// The platform of the builder, which is `BUILDPLATFORM`.
    pub build_platform: Platform,
    /// The names of the contexts that the person gives (`--build-context`), as BuildKit looks them up ([`plan::context_name`]).
    pub given: BTreeSet<String>,
    /// The images that the person wants left alone (`--leave`), as BuildKit looks them up.
    pub leave: BTreeSet<String>,
}

/// What a build copies out of images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What can be fetched instead of the whole image, in the order of the Dockerfile.
    pub contexts: Vec<Context>,
    /// The contexts that are left to BuildKit although files are copied from them, in the order of the Dockerfile.
    pub left: Vec<Left>,
    /// The artifacts that the target declares (`LABEL org.docker-artifact.NAME=/path`).
    pub declared: Vec<String>,
}

impl Plan {
    /// Leaves everything to BuildKit.
    pub fn leave_all(&mut self, reason: &str) {
        let left = std::mem::take(&mut self.contexts).into_iter().map(|context| Left {
            line: context.line(),
            name: context.name,
            reason: reason.to_owned(),
        });
        self.left.extend(left);
        self.left.sort_by_key(|left| left.line);
    }
}

/// An image, or a stage that adds nothing to one, of which only some files are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The name that BuildKit looks up: a stage's, or an image's familiar name without `:latest`.
    pub name: String,
    /// The image, as the Dockerfile names it, variables replaced.
    pub image: String,
    /// Whether the name is a stage's: what the image's `ONBUILD` triggers do is then part of it.
    pub is_stage: bool,
    /// The platforms that its files are needed for; one at least.
    pub platforms: Vec<Platform>,
    /// Where the Dockerfile copies from it; one at least.
    pub uses: Vec<Use>,
}

impl Context {
    /// The line of the Dockerfile that its first use begins in, from 1.
    pub fn line(&self) -> usize {
        self.uses.first().map_or(0, |of| of.line)
    }
}

/// One instruction that copies from an image, or mounts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The line of the Dockerfile that the instruction begins in, from 1.
    pub line: usize,
    /// The instruction, for messages: its keyword and the flag that names the image, such as `COPY --from=tools`.
    pub instruction: String,
    /// The paths in the image, variables replaced: as BuildKit matches them, absolute, or relative to `/`.
    pub paths: Vec<Path>,
    /// Whether what is copied keeps its owner, which a local folder cannot tell BuildKit.
    pub keeps_owner: bool,
    /// Whether the directories above each path are copied too (`--parents`).
    pub with_parents: bool,
    /// Whether some of what the paths name is left out (`--exclude`).
    pub excludes: bool,
}

/// One path of a [`Use`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// A path or a pattern, in the syntax of Go's `path.Match`, component by component.
    pub text: String,
    /// Whether it is a pattern. One that matches nothing is no error.
    pub is_pattern: bool,
}

/// A context that is left to BuildKit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The name that BuildKit looks up.
    pub name: String,
    /// The line of the Dockerfile that gives the reason, from 1; of the first use otherwise.
    pub line: usize,
    /// Why, as the end of a sentence that begins with `NAME is left to BuildKit: `.
    pub reason: String,
}

/// Why a build cannot be looked into at all, so that it is passed on as it is. Displays as the end of a sentence that begins with
/// `the build is passed on as it is: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(pub String);
