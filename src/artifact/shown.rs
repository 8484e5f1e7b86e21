//! How messages show what an image holds.

use crate::image::Layer;

/// A canonical path as a person would type it.
pub fn show_path(path: &[u8]) -> String {
    format!("/{}", show(path.strip_prefix(b"/").unwrap_or(path)))
}

/// Raw bytes as text, each byte that is not UTF-8 as `\xNN`.
pub fn show(bytes: &[u8]) -> String {
    let chunks = bytes.utf8_chunks();
    chunks.fold(String::new(), |text, chunk| text + chunk.valid() + &chunk.invalid().escape_ascii().to_string())
}

/// A layer as messages name it: `layer 3 of 5 (sha256:0123456789ab)`.
pub fn describe(layer: &Layer, layers: usize) -> String {
    let digest = layer.digest().map(|digest| format!(" (sha256:{})", digest.short())).unwrap_or_default();
    format!("layer {} of {layers}{digest}", layer.index + 1)
}
