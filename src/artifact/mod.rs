//! From names to bytes: what was asked for, where it lies, and the cheapest honest way to it.
//!
//! [`get::get`] is the main job, [`label::label`] what makes it cheap, [`list`] and [`list_files`] what tell of it.

mod absent;
mod again;
mod annotated;
mod blocking;
mod candidate;
mod collect;
pub mod context;
mod error;
pub mod expected;
mod filling;
#[cfg(test)]
mod fixture;
mod found;
pub mod get;
pub mod index_manifest;
pub mod label;
mod labelled;
mod layers;
pub mod list;
pub mod list_files;
mod listing;
mod look_up;
mod measure;
mod merged;
mod names;
mod of_layer;
pub mod offers;
mod origins;
mod pace;
mod place;
pub mod range_index;
mod record;
mod referrer;
pub mod remember;
mod request;
mod second_look;
mod shown;
mod soci;
mod step;
mod survey;
pub mod table_index;
mod tables;
pub mod tabulate;
mod told;

pub use blocking::blocking;
pub use error::{Error, ExitClass};
pub use layers::{Proof, Verify};
pub use names::may_be_name;
pub use step::Step;
pub use tables::{Attached, AttachedTable, Cached, Tables};
