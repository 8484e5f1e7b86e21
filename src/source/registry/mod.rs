//! A registry: the OCI distribution-spec over HTTP.
