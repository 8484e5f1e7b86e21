//! A container of the image that is created, never started, and removed: the engine shows in it what its image's layers come to
//! together, and gives any path of that without the rest.
//!
//! Not all that is seen there is the image's. Engines put files of their own into every container, and what is mounted hides what
//! the image has there.

use std::sync::Arc;

use super::answer::{Mount, PathKind, PathStat};
use super::api::{Api, Stated};
use super::endpoint::Endpoint;
use super::live::{Listed, NAME};
use super::owner;
use crate::progress::Progress;
use crate::source::merged::{Seen, Stat, StatKind};
use crate::source::{BlobReader, SourceError};

/// What engines put into a container that they create: Docker its mount points and files (moby, `daemon/initlayer`), which takes
/// away what the image has there if that is of another kind; Podman its own.
const ENGINES_OWN: [&[u8]; 10] = [
    b".dockerenv",
    b"dev",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/mtab",
    b"etc/resolv.conf",
    b"proc",
    b"run/.containerenv",
    b"run/secrets",
    b"sys",
];

/// How many containers of earlier runs are removed at most.
const MOST_SWEPT: usize = 100;

/// A created container.
pub(super) struct Container {
    api: Api,
    listed: Listed,
    foreign: Foreign,
}

/// The places whose content is not the image's, as canonical paths without the slash in front.
struct Foreign(Vec<Vec<u8>>);

/// How a path lies to what is not the image's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lies {
    /// At or below it.
    Within,
    /// Above it.
    Above,
    /// Elsewhere.
    Apart,
}

impl Container {
    /// Creates a container of the image `id`.
    pub(super) async fn create(
        api: Api,
        endpoint: &Arc<Endpoint>,
        id: &str,
        progress: &Arc<dyn Progress>,
    ) -> Result<Self, SourceError> {
        let listed = Listed::new(endpoint, progress)?;
        let created = api.create(id, listed.name(), (owner::LABEL, &owner::this())).await;
        listed.settle();
        created?;
        let mut mounts = api.mounts(listed.name()).await?;
        for mount in &mut mounts {
            mount.destination = real_destination(&api, listed.name(), &mount.destination).await?;
        }
        Ok(Container { api, listed, foreign: Foreign::new(&mounts) })
    }

    /// What stands at the canonical `path`, whose parents are directories.
    pub(super) async fn stat(&self, path: &[u8]) -> Result<Seen<Stat>, SourceError> {
        let lies = self.foreign.lies(path);
        if lies == Lies::Within {
            return Ok(Seen::NotTheImages);
        }
        match self.api.stat(self.listed.name(), &absolute(path)).await? {
            Stated::There(stat) => Ok(Seen::There(Stat { is_the_images: lies == Lies::Apart, ..stat_of(&stat) })),
            Stated::Absent => self.absent(path).await,
            Stated::Unable => Ok(Seen::NotTheImages),
        }
    }

    /// What stands at the canonical `path`, whose parents are directories, as a tar whose names begin with the path's last one.
    pub(super) async fn tree(&self, path: &[u8]) -> Result<Seen<BlobReader>, SourceError> {
        if self.foreign.lies(path) != Lies::Apart {
            return Ok(Seen::NotTheImages);
        }
        match self.api.archive(self.listed.name(), &absolute(path)).await? {
            Some(tar) => Ok(Seen::There(tar)),
            None => self.absent(path).await,
        }
    }

    /// That there is nothing at `path`, which the engine also says where somebody has removed the container meanwhile.
    async fn absent<T>(&self, path: &[u8]) -> Result<Seen<T>, SourceError> {
        if let Err(SourceError::NotFound { detail, .. }) = self.api.mounts(self.listed.name()).await {
            let what = format!("the container {} that paths are read from", self.listed.name());
            return Err(SourceError::Protocol { what, problem: format!("somebody has removed it ({detail})") });
        }
        let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
        // A directory that the engine had to put something into may have been made by it, in place of a link of the image.
        match !parent.is_empty() && self.foreign.lies(parent) == Lies::Above {
            true => Ok(Seen::NotTheImages),
            false => Ok(Seen::Absent),
        }
    }
}

/// Removes what killed runs have left: containers that were never started, with our label and one of our names, whose owner has
/// ended. A failure to is none of this run's.
pub(super) async fn sweep(api: &Api) {
    let listed = match api.created_containers(owner::LABEL).await {
        Ok(listed) => listed,
        Err(error) => return tracing::debug!("cannot look for containers of earlier runs: {error}"),
    };
    let left = listed.into_iter().filter(|container| {
        let is_ours = container.names.iter().any(|name| name.trim_start_matches('/').starts_with(NAME));
        let owner = container.labels.get(owner::LABEL);
        let has_ended = owner.is_some_and(|owner| owner::has_ended(owner, container.created));
        is_ours && container.state == "created" && has_ended
    });
    for container in left.take(MOST_SWEPT) {
        if let Err(error) = api.remove(&container.id).await {
            tracing::debug!("cannot remove the container {} of an earlier run: {error}", container.id);
        }
    }
}

/// Where something is mounted that is to be at `destination`: engines follow the image's links on the way. Where that cannot be
/// told, all of the container, so that nothing in it counts as the image's.
async fn real_destination(api: &Api, container: &str, destination: &str) -> Result<String, SourceError> {
    const ANYWHERE: &str = "/";
    let mut here = String::new();
    for name in destination.split('/').filter(|name| !matches!(*name, "" | ".")) {
        if name == ".." {
            return Ok(ANYWHERE.to_owned());
        }
        let at = format!("{here}/{name}");
        here = match api.stat(container, at.as_bytes()).await? {
            Stated::There(stat) if stat.kind() == PathKind::Symlink => match stat.leads_to() {
                Some("/") => String::new(),
                Some(target) => target.to_owned(),
                None => return Ok(ANYWHERE.to_owned()),
            },
            Stated::There(_) | Stated::Absent => at,
            Stated::Unable => return Ok(ANYWHERE.to_owned()),
        };
    }
    Ok(format!("{here}/"))
}

fn stat_of(stat: &PathStat) -> Stat {
    let kind = match stat.kind() {
        PathKind::File => StatKind::File,
        PathKind::Directory => StatKind::Directory,
        PathKind::Symlink => StatKind::Symlink,
        PathKind::Special => StatKind::Special,
    };
    let leads_to = stat.leads_to().map(|path| path.as_bytes().to_vec());
    Stat { kind, mode: stat.mode(), mtime: stat.mtime, leads_to, is_the_images: true }
}

fn absolute(path: &[u8]) -> Vec<u8> {
    [b"/", path].concat()
}

impl Foreign {
    fn new(mounts: &[Mount]) -> Self {
        let mounted = mounts.iter().map(|mount| mount.destination.as_bytes());
        let all = ENGINES_OWN.into_iter().chain(mounted);
        let trimmed = all.map(|path| path.strip_prefix(b"/").unwrap_or(path));
        Foreign(trimmed.map(|path| path.strip_suffix(b"/").unwrap_or(path).to_vec()).collect())
    }

    fn lies(&self, path: &[u8]) -> Lies {
        let is_within = |path: &[u8], place: &[u8]| {
            place.is_empty() || path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        if self.0.iter().any(|place| is_within(path, place)) {
            return Lies::Within;
        }
        if self.0.iter().any(|place| is_within(place, path)) { Lies::Above } else { Lies::Apart }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_puts_into_a_container_is_told_from_what_is_beside_it() {
        let foreign = Foreign::new(&[Mount { destination: "/var/lib/data/".to_owned() }]);
        for (path, lies) in [
            ("", Lies::Above),
            ("etc", Lies::Above),
            ("etc/hosts", Lies::Within),
            ("etc/hosts.allow", Lies::Apart),
            ("etc/passwd", Lies::Apart),
            ("dev/null", Lies::Within),
            ("device", Lies::Apart),
            ("proc", Lies::Within),
            ("run", Lies::Above),
            ("var/lib", Lies::Above),
            ("var/lib/data", Lies::Within),
            ("var/lib/data/x/y", Lies::Within),
            ("var/lib/data2", Lies::Apart),
        ] {
            assert_eq!(foreign.lies(path.as_bytes()), lies, "{path}");
        }
    }

    #[test]
    fn a_mount_at_the_root_leaves_nothing_of_the_image() {
        assert_eq!(Foreign::new(&[Mount { destination: "/".to_owned() }]).lies(b"usr/bin/ls"), Lies::Within);
    }
}
