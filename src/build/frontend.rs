//! Which frontends build as this program understands Dockerfiles: BuildKit's own, from the version on that takes contexts by name.

use super::NotUnderstood;
use crate::source::familiar;

/// The images of BuildKit's own frontend.
const OWN: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];
/// The first version of the frontend with contexts by name, `1.4`.
const FIRST: (u32, u32) = (1, 4);

/// Fails unless `frontend`, an image that `# syntax=` or the build argument `BUILDKIT_SYNTAX` names, is BuildKit's own.
pub(super) fn check(frontend: &str) -> Result<(), NotUnderstood> {
    let name = familiar(frontend).unwrap_or_default();
    let name = name.split_once('@').map_or(name.as_str(), |(name, _)| name);
    let (image, tag) = name.split_once(':').unwrap_or((name, "latest"));
    if !OWN.contains(&image) {
        return Err(NotUnderstood(format!("\"{}\" reads its Dockerfile", frontend.escape_debug())));
    }
    // `experimental` is an old channel; what comes now is `labs`.
    if tag.contains("experimental") || version(tag).is_some_and(|version| version < FIRST) {
        let problem =
            format!("\"{}\" is older than version 1.4, which takes contexts by name", frontend.escape_debug());
        return Err(NotUnderstood(problem));
    }
    Ok(())
}

/// The version that a tag such as `1.4`, `1.7.0-labs` says; none where it is open (`1`, `1-labs`, `master`).
fn version(tag: &str) -> Option<(u32, u32)> {
    let version = tag.split('-').next()?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildkits_own_frontend_is_understood() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for frontend in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker/dockerfile:1-labs",
            "docker/dockerfile:1.4",
            "docker/dockerfile:1.10.0",
            "docker/dockerfile:labs",
            "docker.io/docker/dockerfile:1.7-labs",
            "docker/dockerfile-upstream:master",
            "docker/dockerfile-upstream:master-labs",
            &format!("docker/dockerfile:1@{digest}"),
            &format!("docker/dockerfile@{digest}"),
        ] {
            assert_eq!(check(frontend), Ok(()), "{frontend}");
        }
    }

    #[test]
    fn another_or_an_old_frontend_is_not() {
        for frontend in [
            "",
            "example.com/docker/dockerfile:1",
            "ghcr.io/docker/dockerfile",
            "docker/dockerfile-x",
            "devthefuture/dockerfile-x",
            "docker/dockerfile:1.3",
            "docker/dockerfile:1.0-experimental",
            "docker/dockerfile:experimental",
            "docker/dockerfile:1.2.1-labs",
        ] {
            assert!(check(frontend).is_err(), "{frontend}");
        }
    }
}
