//! Builds items inside the staging directory, complete with metadata, from where one rename takes each to its place.
