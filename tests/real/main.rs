//! The plugin among its real neighbours: Docker's engine and CLI, Debian's registry, skopeo, umoci and crane.
//!
//! Each test names the programs it needs. Where one is missing the test says so, as a line `skipped NAME: TOOL is not installed` on standard error,
//! and passes; with `DOCKER_ARTIFACT_REQUIRE_REAL=1` in the environment it fails instead, so that `.ci/run` proves what it claims to.

mod archives;
mod build;
mod checkpoints;
mod ci_recipes;
mod completion;
mod engine;
mod foreign_layers;
mod formats;
mod forms;
mod go_containerregistry;
mod install;
mod interrupt;
mod label_places;
mod labels;
mod login;
mod newer;
mod newer_engines;
mod platforms;
mod plugin;
mod recipes;
mod registry;
mod single_paths;
mod soci;
mod static_binary;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod tools;
mod tree;
mod whole_image;
