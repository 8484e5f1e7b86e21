//! Gives a written file, directory or link the metadata that the image has for it.
