//! Finding the cheapest honest way to what was asked for.

pub mod error;
pub mod get;

pub use error::{Error, ExitClass};
