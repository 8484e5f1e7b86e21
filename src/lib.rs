//! Gets files out of a container image without pulling it, wherever the image is: in a registry, in an archive that `docker save` wrote,
//! in an OCI layout, or in an engine.
//!
//! This is the library of the program `docker artifact`. [`Image::open`] opens an image by its name; then [`Image::read`] gives the content of a
//! file, [`Image::get`] writes a file or a directory, and [`Image::list`], [`Image::walk`] and [`Image::look_up`] say what there is.
//!
//! ```
//! # fn main() -> Result<(), docker_artifact::Error> {
//! let image = docker_artifact::Image::open("examples/app.tar")?;
//! for entry in image.list("/etc")? {
//!     println!("{}", entry.path.display());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Paths mean what they mean in a container: whiteouts hide, and links are followed. What comes is verified before you see it: its layer has the digest
//! that the manifest says, or the file has one of its own. Credentials, certificates and proxies are found where the docker command
//! finds them. What was seen once is kept in a cache ([`Options::cache`]), so that the next file costs its own bytes.
//!
//! The folder `examples` has programs of ten lines. The command's manual, `docs/usage.md`, says what an image's name can be, and
//! `docs/trust.md` what is trusted.
//!
//! # Inside
//!
//! The way of data is one: a reference names an image in a `source`; its manifest and config make an
//! `image::Image`; each `layer` is a stream of tar entries; together they make the `rootfs`, in which paths are looked
//! up as a container would; what was asked for is read, verified and handed to `extract`, which writes it. The
//! `artifact` module ties these together, `cli` is what a person types and sees, `plugin` is Docker's side of it, and `open` what other programs see.
//!
//! Imports run one way: `cli → artifact → rootfs → layer → image`. A `table` gives what a `layer` gives, of layers that need not be read then.
//! `source` gives `image` and bytes and knows nothing above itself; `cache` keeps what it gave for the next time; `extract` knows entries, not
//! sources. What a tar's headers say is in `tar`, for layers and for archives of images. These modules are for the program and its
//! tests, and may change in any release.

mod open;

pub use open::{Content, Entry, Error, Image, Kind, Options};

#[doc(hidden)]
pub mod artifact;
#[doc(hidden)]
pub mod build;
#[doc(hidden)]
pub mod cache;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod extract;
#[doc(hidden)]
pub mod image;
#[doc(hidden)]
pub mod layer;
#[doc(hidden)]
pub mod plugin;
#[doc(hidden)]
pub mod progress;
#[doc(hidden)]
pub mod rootfs;
#[doc(hidden)]
pub mod source;
#[doc(hidden)]
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
