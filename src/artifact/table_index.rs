//! The table index of an image: tables of its layers, in the registry beside the image, so that whoever has never seen the image pays
//! for a file, and for some nodes of a table, and not for layers.
//!
//! `list` is the form of what lists the tables, `attached` finds it for an image, and `named` where the image itself names it. `make`
//! makes the tables, `send` attaches them, and `publish` does both for whoever asks. What a table holds is [`table::own`](crate::table::own)'s affair.
//! Spec: `docs/formats.md`.

mod attached;
mod list;
mod lookup;
mod make;
pub mod named;
mod publish;
mod send;

pub use attached::{Attached, attached};
pub use list::{ARTIFACT_TYPE, LayerTable, Tables, manifest, of_manifest};
pub use lookup::{beside, is_worth_asking};
pub use make::{Workshop, fitting};
pub use publish::{Indexed, IndexedImage, IndexedLayer, Request, Table, Told, index};
pub use send::{Subject, attach_tables, send, send_list};
