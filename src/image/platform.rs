//! Platforms: parsing `os/arch[/variant]`, the host's own, and which runs where.
//!
//! Spec: OCI image-spec *Image Index*, the `platform` property; names are Go's `GOOS` and `GOARCH`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::config::null_is_default;

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// The operating system, as `GOOS` names it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// The processor architecture, as `GOARCH` names it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// The variant of the architecture, such as `v7` of `arm`.
    #[serde(default)]
    pub variant: Option<String>,
}

/// Which platform's image is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one that a person asked for: an image for another is not what they want.
    Asked(Platform),
    /// Nobody asked for one, so this machine's is looked for; an image for another platform alone is taken, with a notice.
    Host,
}

impl Choice {
    /// The platform that is looked for.
    pub fn platform(&self) -> Platform {
        match self {
            Choice::Asked(platform) => platform.clone(),
            Choice::Host => Platform::host(),
        }
    }
}

/// A platform nobody can run.
#[derive(Debug, thiserror::Error)]
#[error("\"{}\" is not a platform; write os/arch or os/arch/variant, such as linux/arm64 or linux/arm/v7", .0.escape_debug())]
pub struct InvalidPlatform(String);

/// There is no image for the wanted platform.
#[derive(Debug, thiserror::Error)]
#[error("no image for {wanted}; there is {}; choose one with --platform", list(.available))]
pub struct NoSuchPlatform {
    /// What was asked for.
    pub wanted: Platform,
    /// What there is, in the index's order.
    pub available: Vec<Platform>,
}

impl Platform {
    /// The platform images are for on this machine: its architecture, and Linux wherever containers run in a virtual
    /// machine (macOS, Windows).
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        let os = match std::env::consts::OS {
            "macos" | "windows" => "linux",
            other => other,
        };
        let variant = (architecture == "arm").then(|| "v7".to_owned());
        Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant }
    }

    /// This platform with the spelling variants of the wild made one, as containerd's `platforms.Normalize` does.
    fn normalised(&self) -> Self {
        let os = self.os.to_ascii_lowercase();
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let architecture = self.architecture.to_ascii_lowercase();
        let (architecture, implied) = match architecture.as_str() {
            "x86_64" | "x86-64" => ("amd64", None),
            "i386" => ("386", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            other => (other, None),
        };
        let variant = self.variant.as_deref().map(str::to_ascii_lowercase).filter(|variant| !variant.is_empty());
        let variant = variant.or(implied.map(str::to_owned)).map(|v| match v.as_str() {
            "5" | "6" | "7" | "8" => format!("v{v}"),
            _ => v,
        });
        let variant = match (architecture, variant.as_deref()) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7".to_owned()),
            _ => variant,
        };
        Platform { os, architecture: architecture.to_owned(), variant }
    }

    /// Whether this says what an image runs on: a config, or an index entry, may leave it open.
    pub fn is_known(&self) -> bool {
        !self.os.is_empty() && !self.architecture.is_empty()
    }

    /// Whether both are the same, however they are spelt.
    pub fn is_same(&self, other: &Platform) -> bool {
        self.distance(other) == Some(0)
    }

    /// Whether an image for `self` runs where `wanted` does.
    pub fn runs_on(&self, wanted: &Platform) -> bool {
        self.distance(wanted).is_some()
    }

    /// How well an image for `self` serves someone who wants `wanted`: 0 is the same platform, more is an older variant of it
    /// that still runs there, `None` does not run.
    pub(super) fn distance(&self, wanted: &Platform) -> Option<u32> {
        let (have, want) = (self.normalised(), wanted.normalised());
        if have.os != want.os || have.architecture != want.architecture {
            return None;
        }
        if have.variant == want.variant {
            return Some(0);
        }
        let level = |platform: &Platform| -> Option<u32> {
            match platform.variant.as_deref() {
                None => Some(if platform.architecture == "arm64" { 8 } else { 1 }),
                Some(variant) => variant.strip_prefix('v')?.parse().ok(),
            }
        };
        level(&want)?.checked_sub(level(&have)?).filter(|distance| *distance > 0)
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(is_word) {
            return Err(InvalidPlatform(text.to_owned()));
        }
        let platform = Platform {
            os: parts[0].to_owned(),
            architecture: parts[1].to_owned(),
            variant: parts.get(2).map(|variant| (*variant).to_owned()),
        };
        Ok(platform.normalised())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os.escape_debug(), self.architecture.escape_debug())?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", variant.escape_debug()),
            None => Ok(()),
        }
    }
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "no image at all".to_owned();
    }
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_two_or_three_words() {
        for text in ["", "linux", "linux/", "linux/arm/v7/x", "linux/ar m"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
        assert_eq!("linux/aarch64".parse::<Platform>().unwrap().to_string(), "linux/arm64");
    }
}
