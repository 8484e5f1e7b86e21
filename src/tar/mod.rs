//! What a tar's headers say: fields, numbers, checksums, PAX records, maps of sparse files, and what of all that holds for a member.
//!
//! Layers and archives of images are both tars, one read as a stream and one by place. What they have in common is here, and knows
//! nothing of either.

mod decimal;
pub(crate) mod header;
mod pax;
pub(crate) mod preceding;
pub(crate) mod shown;
pub(crate) mod sparse;
