//! What the engine answers: as much of it as is needed here, read leniently, as Podman leaves some of it away.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Deserializer};

use crate::image::config::Execution;
use crate::image::digest::DiffId;

/// An image, as `docker inspect` shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    /// Its ID: the digest of its config, or, where containerd keeps the images, of its manifest or index.
    pub id: String,
    /// The operating system.
    #[serde(default)]
    pub os: String,
    /// The processor architecture.
    #[serde(default)]
    pub architecture: String,
    /// The variant of the architecture.
    #[serde(default)]
    pub variant: Option<String>,
    /// How many bytes it takes, as the engine counts.
    #[serde(default)]
    pub size: u64,
    /// How to run it, of which the labels matter.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Execution,
    /// Its layers.
    #[serde(default, rename = "RootFS", deserialize_with = "null_is_default")]
    pub root_fs: RootFs,
}

/// The layers of an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    /// Their diff IDs, bottom first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<DiffId>,
}

/// A build step.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Step {
    /// What it ran.
    #[serde(default)]
    pub created_by: String,
    /// How many bytes it added. A step that made a layer may have added none.
    #[serde(default)]
    pub size: u64,
}

/// A container that has just been made.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Created {
    /// Its ID.
    pub id: String,
}

/// An image in a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListedImage {
    /// Its names, each with a tag; `<none>:<none>` stands for none.
    #[serde(default, deserialize_with = "null_is_default")]
    pub repo_tags: Vec<String>,
}

/// A container in a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// Its ID.
    pub id: String,
    /// Its names, each with a slash in front.
    #[serde(default, deserialize_with = "null_is_default")]
    pub names: Vec<String>,
    /// Its labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub labels: std::collections::BTreeMap<String, String>,
    /// `created`, `running` and so on.
    #[serde(default)]
    pub state: String,
    /// When it was made, in seconds since the Unix epoch.
    #[serde(default)]
    pub created: i64,
}

/// Something mounted in a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// Where.
    #[serde(default)]
    pub destination: String,
}

/// Why the engine refused something.
#[derive(Deserialize)]
pub struct Refusal {
    /// What it says.
    pub message: String,
}

/// What stands at a path of a container.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PathStat {
    /// Kind and permission bits, in the form of Go's `fs.FileMode`.
    #[serde(rename = "mode")]
    go_mode: u32,
    /// When it was last changed: seconds since the Unix epoch, and nanoseconds.
    #[serde(deserialize_with = "rfc_3339")]
    pub mtime: (i64, u32),
    #[serde(rename = "linkTarget", default)]
    link_target: String,
}

/// What a [`PathStat`] is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device node, FIFO or socket.
    Special,
}

impl PathStat {
    /// Reads the header `X-Docker-Container-Path-Stat`: JSON in base64.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let json = STANDARD.decode(header).or_else(|_| URL_SAFE.decode(header)).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// What stands there.
    pub fn kind(&self) -> PathKind {
        // Go's ModeDir, ModeSymlink, and the others of ModeType: device, named pipe, socket, character device, irregular.
        match self.go_mode & 0x8f28_0000 {
            0 => PathKind::File,
            0x8000_0000 => PathKind::Directory,
            0x0800_0000 => PathKind::Symlink,
            _ => PathKind::Special,
        }
    }

    /// Where a symbolic link leads when all links are followed, as an absolute path.
    pub fn leads_to(&self) -> Option<&str> {
        // Bytes that are no UTF-8 do not survive the JSON.
        let is_whole = self.link_target.starts_with('/') && !self.link_target.contains(char::REPLACEMENT_CHARACTER);
        Some(self.link_target.as_str()).filter(|_| is_whole && self.kind() == PathKind::Symlink)
    }

    /// The permission bits with setuid, setgid and sticky, as the kernel has them.
    pub fn mode(&self) -> u32 {
        let bit = |go: u32, unix: u32| if self.go_mode & (1 << go) == 0 { 0 } else { unix };
        (self.go_mode & 0o777) | bit(23, 0o4000) | bit(22, 0o2000) | bit(20, 0o1000)
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn rfc_3339<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(i64, u32), D::Error> {
    // A time that cannot be read is none to fail for.
    Ok(time(&String::deserialize(deserializer)?).unwrap_or_default())
}

/// Reads a time of RFC 3339: `2026-11-25T23:30:54.75Z`, or with an offset such as `+01:00`.
fn time(text: &str) -> Option<(i64, u32)> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), zone) => {
            let (hours, minutes) = zone.split_once(':')?;
            let offset = (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?) * 60;
            if sign == "-" { -offset } else { offset }
        }
        _ => return None,
    };
    // Days since the epoch in the Gregorian calendar, of a year that begins in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 1
            - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second - offset, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(mode: u32) -> PathStat {
        let json = format!(r#"{{"name":"x","size":1,"mode":{mode},"mtime":"1970-01-01T00:00:01Z","linkTarget":""}}"#);
        PathStat::parse(STANDARD.encode(json).as_bytes()).unwrap()
    }

    #[test]
    fn what_stands_at_a_path_is_told_by_gos_bits() {
        // As Docker 20.10 answers for /etc, /bin (a link), /etc/hosts, and what Go has for other kinds.
        for (mode, kind, bits) in [
            (2_147_484_141, PathKind::Directory, 0o755),
            (134_218_239, PathKind::Symlink, 0o777),
            (420, PathKind::File, 0o644),
            ((1 << 23) | 0o755, PathKind::File, 0o4755),
            ((1 << 31) | (1 << 20) | 0o777, PathKind::Directory, 0o1777),
            ((1 << 31) | (1 << 22) | 0o775, PathKind::Directory, 0o2775),
            ((1 << 26) | (1 << 21) | 0o666, PathKind::Special, 0o666),
            ((1 << 25) | 0o644, PathKind::Special, 0o644),
            ((1 << 24) | 0o644, PathKind::Special, 0o644),
        ] {
            assert_eq!((stat(mode).kind(), stat(mode).mode()), (kind, bits), "{mode:o}");
        }
        assert_eq!(PathStat::parse(b"e30"), None);
    }

    #[test]
    fn times_are_read_in_every_form_that_go_writes() {
        for (text, time) in [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2026-11-25T23:30:54.750145409Z", (1_795_649_454, 750_145_409)),
            ("2026-11-25T23:30:54.5Z", (1_795_649_454, 500_000_000)),
            ("2026-11-26T00:30:54+01:00", (1_795_649_454, 0)),
            ("2024-02-29T12:00:00-02:30", (1_709_217_000, 0)),
            ("0001-01-01T00:00:00Z", (-62_135_596_800, 0)),
        ] {
            assert_eq!(super::time(text), Some(time), "{text}");
        }
        for text in ["", "now", "2026-11-25", "2026-11-25T23:30:54", "2026-11-25T23:30:54.Z5"] {
            assert_eq!(super::time(text), None, "{text}");
        }
    }

    #[test]
    fn an_image_is_read_without_what_an_engine_leaves_away() {
        let image: Inspected =
            serde_json::from_str(r#"{"Id":"sha256:ab","Config":null,"RootFS":{"Layers":null}}"#).unwrap();
        assert!(image.config.labels.is_empty() && image.root_fs.layers.is_empty());
    }
}
