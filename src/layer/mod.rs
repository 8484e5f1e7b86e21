//! One layer: from the blob's compressed bytes to tar entries. Plain [`std::io::Read`], so that everything here can be tested
//! with a byte slice; it knows nothing of images or of where the bytes come from.

pub mod entry;
