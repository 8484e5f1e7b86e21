//! Gets a file out of a container image without pulling the image.
//!
//! The way of data is one: a reference names an image in a [`source`]; its manifest and config make an
//! [`image::Image`]; each [`layer`] is a stream of tar entries; together they make the [`rootfs`], in which paths are looked
//! up as a container would; what was asked for is read, verified and handed to [`extract`], which writes it. The
//! [`artifact`] module ties these together, [`cli`] is what a person types and sees, and [`plugin`] is Docker's side of it.
//!
//! Imports run one way: `cli → artifact → rootfs → layer → image`. A [`table`] gives what a `layer` gives, of layers that need not be read then. `source` gives `image` and bytes and knows nothing above
//! itself; [`cache`] keeps what it gave for the next time; `extract` knows entries, not sources. What a tar's headers say is in `tar`, for layers and for archives of images.

pub mod artifact;
pub mod build;
pub mod cache;
pub mod cli;
pub mod extract;
pub mod image;
pub mod layer;
pub mod plugin;
pub mod progress;
pub mod rootfs;
pub mod source;
pub mod table;
mod tar;

// What the tests of the whole program stand on serves the unit tests too: the same files, of those that know nothing of
// this library.
#[cfg(test)]
#[path = "../tests/support"]
#[allow(dead_code, unused_imports)]
mod support {
    pub mod block;
    pub mod http;
    pub mod random;
    pub mod ztoc;
}
