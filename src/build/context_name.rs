//! The names that BuildKit looks contexts up by.

use crate::source::familiar;

/// The name by which BuildKit looks for a context in place of the image or the stage that is named `name`: Docker's short form,
/// without `:latest`. `None` where it is no reference, which BuildKit refuses.
///
/// Two spellings of one image have the same name; so have a stage and an image of the same name. It is what
/// `frontend/dockerui/config.go` (`NamedContext`) does, and buildx with the names of `--build-context`.
pub fn context_name(name: &str) -> Option<String> {
    let mut name = familiar(name)?;
    if let Some(length) = name.strip_suffix(":latest").map(str::len) {
        name.truncate(length);
    }
    Some(name)
}

/// Whether BuildKit looks for a context in place of a stage of this name (`dockerfile2llb/convert.go`, `namedContextFunc`).
pub(super) fn is_looked_up(stage: &str) -> bool {
    !["scratch", "context"].contains(&stage)
}

/// Whether buildx has another use for this name, or BuildKit does not look it up in all places.
pub(super) fn is_reserved(name: &str) -> bool {
    !is_looked_up(name) || name == "dockerfile"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_image_have_one_name() {
        for name in ["alpine", "alpine:latest", "docker.io/library/alpine", "index.docker.io/library/alpine:latest"] {
            assert_eq!(context_name(name).as_deref(), Some("alpine"), "{name}");
        }
        let pinned = "alpine:latest@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(context_name(pinned).as_deref(), Some(pinned));
        assert_eq!(context_name("localhost:5000/x:latest").as_deref(), Some("localhost:5000/x"));
        assert_eq!(context_name("No Reference"), None);
    }
}
