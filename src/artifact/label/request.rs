//! What is asked of labelling, and what is told of it.

use crate::artifact::tables::Tables;
use crate::image::digest::Digest;
use crate::image::label::{Name, Record};
use crate::image::platform::Platform;

/// What to label, and how.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Artifacts to name: a name and a path as typed.
    pub add: Vec<(Name, Vec<u8>)>,
    /// Artifacts to forget.
    pub remove: Vec<Name>,
    /// The platforms whose images are labelled; all, where none is named.
    pub platforms: Vec<Platform>,
    /// Leave the image alone and attach the records as a referrer.
    pub attach: bool,
    /// Make tables of all layers, attach them, and have the image's config name them.
    pub all: bool,
    /// Find out what would be written, and write nothing.
    pub dry_run: bool,
    /// The tables of contents that are believed, so that layers need not be read. Only those tell where contents are that a layer may be
    /// known by for this machine, or that this program has written.
    pub tables: Tables,
    /// The digest that the reference must name, where that is known.
    pub expected: Option<Digest>,
}

/// What was labelled.
#[derive(Debug)]
pub struct Labelled {
    /// The digest that the reference named: of a manifest, or, where the place keeps none, of the config, which is the image's ID.
    pub old: Digest,
    /// The digest that it names now.
    pub new: Digest,
    /// The digests of the configs that changed, before and after.
    pub configs: Vec<(Digest, Digest)>,
    /// The images that were labelled, one for each platform.
    pub images: Vec<LabelledImage>,
    /// Whether anything was written.
    pub pushed: bool,
}

/// One image that was labelled.
#[derive(Debug)]
pub struct LabelledImage {
    /// The platform, as the config names it.
    pub platform: String,
    /// Its artifacts.
    pub artifacts: Vec<(Name, Record)>,
}
