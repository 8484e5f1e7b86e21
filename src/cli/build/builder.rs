//! What builds: the builder that buildx tells of, read from what it prints for people, as it prints nothing else of it.

use crate::image::platform::Platform;

/// The oldest BuildKit that takes contexts by name, and the oldest engine with one.
const OLDEST_BUILDKIT: (u32, u32) = (0, 10);
const OLDEST_ENGINE: (u32, u32) = (23, 0);

/// What builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// How buildx reaches it: `docker`, `docker-container`, `kubernetes` or `remote`.
    pub driver: String,
    /// The platform that it runs on, which is `BUILDPLATFORM`. `None` where it has not started yet, where its machines have several,
    /// and where its list begins with what a person has put there.
    pub platform: Option<Platform>,
    /// The version of BuildKit, the lowest of its machines', or of the engine that it is part of; `None` where it is not told.
    pub buildkit: Option<(u32, u32)>,
}

impl Builder {
    /// Whether it is part of the engine, and has the engine's images.
    pub fn is_engine(&self) -> bool {
        self.driver == "docker"
    }

    /// What it is, and what is needed, if it is known to be too old to take contexts by name.
    pub fn too_old(&self) -> Option<(String, &'static str)> {
        let (major, minor) = self.buildkit?;
        // buildx tells the engine's version where there is no other; engines count in years, and no BuildKit does.
        let (what, oldest, needed) = match major {
            0..17 => ("BuildKit", OLDEST_BUILDKIT, "0.10"),
            17.. => ("Docker", OLDEST_ENGINE, "23.0"),
        };
        ((major, minor) < oldest).then(|| (format!("{what} {major}.{minor}"), needed))
    }

    /// Reads what `docker buildx inspect` prints: `Key: value`, first of the builder, and after `Nodes:` of its machines, each of which
    /// begins with `Name:`. Further in stand lists that may have any keys.
    pub fn parse(text: &str) -> Option<Self> {
        let mut driver = None;
        let mut machines: Vec<Machine> = Vec::new();
        let mut is_of_machines = false;
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "Nodes" => is_of_machines = true,
                "Driver" if !is_of_machines => driver = Some(value.to_owned()),
                "Name" if is_of_machines => machines.push(Machine::default()),
                _ => {
                    let Some(machine) = machines.last_mut() else { continue };
                    match key {
                        "Platforms" => machine.platform = first_platform(value),
                        // Distributions build engines that do not know theirs: `v0.0.0+unknown`.
                        "Buildkit" | "BuildKit" | "BuildKit version" => {
                            machine.buildkit = version(value).filter(|version| *version != (0, 0));
                        }
                        _ => {}
                    }
                }
            }
        }
        let buildkit = machines.iter().map(|machine| machine.buildkit).min().flatten();
        let mut platforms = machines.into_iter().map(|machine| machine.platform);
        let first = platforms.next().flatten();
        let platform = first.filter(|first| platforms.all(|other| other.is_some_and(|other| other.is_same(first))));
        Some(Builder { driver: driver.filter(|driver| !driver.is_empty())?, platform, buildkit })
    }
}

/// One machine of a builder.
#[derive(Default)]
struct Machine {
    platform: Option<Platform>,
    buildkit: Option<(u32, u32)>,
}

/// The first platform of a list, which is the machine's own, unless a person has put others before it; these have an asterisk.
fn first_platform(list: &str) -> Option<Platform> {
    list.split(',').next()?.trim().parse().ok()
}

/// The first two numbers of a version, such as `v0.13.1+ds1`.
pub fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?;
    let end = minor.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor[..end].parse().ok()?))
}

/// What buildx 0.13 prints of the engine's own builder.
#[cfg(test)]
pub const PLAIN: &str = "\
Name:          default
Driver:        docker
Last Activity: 2024-06-01 10:00:00 +0000 UTC

Nodes:
Name:      default
Endpoint:  default
Status:    running
Buildkit:  v0.13.2
Platforms: linux/amd64, linux/amd64/v2, linux/386
Labels:
 org.mobyproject.buildkit.worker.moby.host-gateway-ip: 172.17.0.1
GC Policy rule#0:
 All:           false
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_however_they_are_spelt() {
        for (text, expected) in [
            ("v0.13.1", Some((0, 13))),
            ("0.13.1+ds1", Some((0, 13))),
            ("v0.31.0-desktop.1", Some((0, 31))),
            ("v1.2", Some((1, 2))),
            ("v0.9-rc1", Some((0, 9))),
            ("26.1.5+dfsg1", Some((26, 1))),
            ("github.com/docker/buildx", None),
            ("", None),
            ("v1", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    /// What a newer one prints of a builder with two machines.
    const TWO: &str = "\
Name:   cross
Driver: docker-container

Nodes:
Name:             cross0
Endpoint:         unix:///var/run/docker.sock
Driver Options:   network=\"host\"
Status:           running
BuildKit daemon flags: --allow-insecure-entitlement=network.host
BuildKit version: v0.26.0
Platforms:        linux/arm64, linux/arm/v7
Labels:
 Platforms: linux/s390x
File#buildkitd.toml:
 > Platforms: none

Name:             cross1
Endpoint:         ssh://other
Status:           running
BuildKit version: v0.9.0
Platforms:        linux/arm64/v8
";

    fn builder(driver: &str, platform: Option<&str>, buildkit: Option<(u32, u32)>) -> Option<Builder> {
        let platform = platform.map(|platform| platform.parse().unwrap());
        Some(Builder { driver: driver.to_owned(), platform, buildkit })
    }

    #[test]
    fn a_builder_is_its_driver_and_the_platform_of_all_its_machines() {
        let cases = [
            (PLAIN.to_owned(), builder("docker", Some("linux/amd64"), Some((0, 13)))),
            (TWO.to_owned(), builder("docker-container", Some("linux/arm64"), Some((0, 9)))),
            // Machines that differ, and one that has not started yet.
            (TWO.replace("linux/arm64/v8", "linux/amd64"), builder("docker-container", None, Some((0, 9)))),
            (TWO.replace("Platforms:        linux/arm64/v8\n", ""), builder("docker-container", None, Some((0, 9)))),
            // What a person has put first says nothing of the machine.
            (PLAIN.replace("linux/amd64,", "linux/arm64*, linux/amd64*,"), builder("docker", None, Some((0, 13)))),
            // buildx 0.8 does not tell BuildKit's version; one of two that is not told is not known.
            (PLAIN.replace("Buildkit:  v0.13.2\n", ""), builder("docker", Some("linux/amd64"), None)),
            (TWO.replace("BuildKit version: v0.9.0\n", ""), builder("docker-container", Some("linux/arm64"), None)),
            ("Name: x\nDriver: remote\nError: no answer\n".to_owned(), builder("remote", None, None)),
            ("Name: x\n".to_owned(), None),
            (String::new(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(Builder::parse(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_builder_that_takes_no_contexts_by_name_is_too_old() {
        for (version, expected) in [
            (Some((0, 8)), Some("BuildKit 0.8")),
            (Some((0, 10)), None),
            (Some((1, 0)), None),
            (Some((20, 10)), Some("Docker 20.10")),
            (Some((23, 0)), None),
            (Some((29, 1)), None),
            (None, None),
        ] {
            let too_old = builder("docker", None, version).unwrap().too_old();
            assert_eq!(too_old.as_ref().map(|(what, _)| what.as_str()), expected);
        }
    }
}
