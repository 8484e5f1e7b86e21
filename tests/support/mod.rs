//! What every test of the whole program stands on: images built in a line or two, a registry that serves them (and fails
//! when told to), and the program itself, run as a person would.
//!
//! Each test binary uses a part of this and none uses all of it, so what is unused in one of them is no dead code.
#![allow(dead_code, unused_imports)]

pub mod apart;
pub mod archive;
pub mod block;
pub mod engine;
pub mod entry;
pub mod http;
pub mod image;
pub mod indexed;
pub mod labelled;
pub mod library;
pub mod own_table;
pub mod program;
pub mod random;
pub mod registry;
pub mod soci;
pub mod sparse;
pub mod tabled;
pub mod ztoc;

pub use archive::{FORMS, Form, archive, blob_name, write_layout};
pub use block::Block;
pub use engine::Engine;
pub use entry::*;
pub use image::{Image, Index, Layer, OtherManifest, Pack, Packed, sha256};
pub use own_table::OwnTables;
pub use program::{Program, Run, WorkDir, artifact, listing};
pub use random::{Random, noise};
pub use registry::{Fault, Place, Registry, unused_port};
pub use soci::{SociImage, SociLayer, SociVersion, soci_image};
pub use sparse::SparseFormat;
pub use tabled::{CHUNK, TABLE_FORMATS, TableFormat, Tabled, tabled};
pub use ztoc::Ztoc;
