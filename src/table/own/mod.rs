//! Our own tables: one for each layer's blob, with all its entries and where the content of each is, made to be read in parts.
//!
//! The cache of this machine has them as files, and an image index in a registry as blobs: `docs/formats.md` is their specification.
//! Rows are sorted by path, in leaves that are each read, checked and decoded alone. Two levels of nodes above the leaves name them by
//! their first keys and their digests, so that a table is covered by the digest of its top node.

mod block;
mod layout;
mod leaf;
mod node;
mod not_written;
mod numbers;
mod order;
mod output;
mod places;
mod query;
mod record;
mod row;
mod shelf;
mod sorted;
mod spool;
mod trail;
mod trailer;
mod wants;
mod window;
mod writer;

pub use not_written::NotWritten;
pub use query::{OwnTable, Query, Step};
pub use row::{Blob, Located, Part, Row, Start, State, Wanted};
pub use trail::{Around, Trail};
pub use trailer::Trailer;
pub use writer::{Writer, Written};

#[cfg(test)]
mod tests;
