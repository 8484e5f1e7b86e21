//! What every connection over HTTP takes, whoever is at its other end: names to addresses, TLS, and what went wrong in words.

pub mod certificate;
pub mod fault_kind;
pub mod resolver;
pub mod shown;
pub mod tls;
pub mod trust;
