//! The program as a user meets it: what is typed, what comes out, and what stays on the disk.
//!
//! Each module is one part of that; `support` builds images, serves them from an in-process registry and runs the real binary.

#[cfg(target_os = "linux")]
mod adversaries;
mod archives;
mod attach;
mod build_docker;
mod build_labels;
mod build_stopped;
mod cache;
mod completion;
mod context;
mod copy_binary;
mod damaged;
mod engine;
mod entries;
mod faults;
mod get;
mod globs;
mod hostile;
mod index;
mod index_attacks;
mod label;
mod label_adversaries;
mod label_again;
mod label_annotated;
mod label_cli;
mod label_engine;
mod label_layouts;
mod label_lies;
mod label_places;
mod label_trust;
mod layers;
mod library;
mod limits;
mod lookup;
mod ls;
#[cfg(target_os = "linux")]
mod merged_view;
mod names;
mod own_tables;
mod platforms;
mod plugin;
mod registries;
mod registry;
mod second_look;
mod soci;
mod specification;
#[cfg(target_os = "linux")]
mod stacks;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod support_itself;
mod table_fields;
mod table_lies;
mod tables;
