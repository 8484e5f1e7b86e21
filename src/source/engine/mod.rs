//! The Docker engine.

pub mod endpoint;
