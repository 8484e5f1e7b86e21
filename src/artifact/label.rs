//! Naming artifacts in an image: labels written into the config, the manifest and the index mended, nothing else touched.
//!
//! `found` takes apart what a reference names, `wanted` says what is to be labelled in each image, `relabel` finds it and edits
//! the config, and `prepare` does all of that and mends whatever pointed at something that changed. Where the result goes
//! is another matter: `push` sends it to a registry, with the range index that `publish` keeps beside the image and the `tables` of its
//! layers, and `copy` writes a copy of an archive or a layout, and `engine` has one loaded.

mod copy;
mod engine;
mod prepare;
mod publish;
mod push;
mod relabel;
mod request;
mod tables;
mod wanted;

pub use copy::label_copy;
pub use engine::label_in_engine;
pub use push::label;
pub use request::{Labelled, LabelledImage, Request};
