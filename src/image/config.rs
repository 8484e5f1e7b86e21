//! The image config: labels, the layers' diff IDs, and the history of build steps, matched to the layers.
//!
//! Only what this program needs is read, and leniently: a config that Docker runs must not fail here over a date.
//! Spec: OCI image-spec *Image Configuration*.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::digest::DiffId;

/// What the config says of an image.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ImageConfig {
    /// The operating system, as `GOOS` names it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// The processor architecture, as `GOARCH` names it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// The variant of the architecture, such as `v7` of `arm`.
    #[serde(default)]
    pub variant: Option<String>,
    /// The execution parameters, of which the labels matter here.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Execution,
    /// The layers' diff IDs, bottom first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: RootFs,
    /// The build steps, bottom first, those that made no layer included.
    #[serde(default, deserialize_with = "null_is_default")]
    pub history: Vec<History>,
}

/// The part of the config that says how to run a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// The image's labels.
    #[serde(default, deserialize_with = "null_strings_are_empty")]
    pub labels: BTreeMap<String, String>,
    /// The instructions that run in a build whose stage begins with the image.
    #[serde(default, deserialize_with = "null_lines_are_empty")]
    pub on_build: Vec<String>,
}

/// The config's `rootfs` property.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RootFs {
    /// The layers' diff IDs, bottom first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

/// One build step.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct History {
    /// The command that the step ran, as the builder recorded it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub created_by: String,
    /// Whether the step made no layer.
    #[serde(default, deserialize_with = "null_is_default")]
    pub empty_layer: bool,
}

/// Go writes an empty map or slice as `null`, and reads `null` as the empty value of whatever type it should be.
pub(super) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Labels or annotations, in which `null` is an empty string.
pub(super) fn null_strings_are_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let read: BTreeMap<String, Option<String>> = null_is_default(deserializer)?;
    Ok(read.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// A list of strings, in which `null` is an empty one.
fn null_lines_are_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let read: Vec<Option<String>> = null_is_default(deserializer)?;
    Ok(read.into_iter().map(Option::unwrap_or_default).collect())
}

impl ImageConfig {
    /// The build step behind each of `layers` layers, bottom first: `None` where the history does not say. A history
    /// whose non-empty steps are not as many as the layers is not guessed at.
    pub fn build_steps(&self, layers: usize) -> Vec<Option<String>> {
        let steps: Vec<&History> = self.history.iter().filter(|step| !step.empty_layer).collect();
        if steps.len() != layers {
            return vec![None; layers];
        }
        steps.iter().map(|step| Some(step.created_by.clone()).filter(|text| !text.is_empty())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_unknown_fields_are_as_good_as_absent() {
        let text =
            r#"{"os":"linux","created":"soon","config":{"Labels":null},"history":null,"rootfs":{"type":"layers"}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert!(config.config.labels.is_empty());
        assert_eq!(config.build_steps(2), [None, None]);
    }

    #[test]
    fn null_is_read_wherever_docker_reads_it() {
        let text =
            r#"{"os":null,"architecture":null,"variant":null,"config":{"Labels":{"a":null,"b":"c"}},"rootfs":null}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        let labels = [("a".to_owned(), String::new()), ("b".to_owned(), "c".to_owned())];
        assert_eq!(config.config.labels, BTreeMap::from(labels));
        let text = r#"{"config":{"OnBuild":["RUN make",null]}}"#;
        assert_eq!(serde_json::from_str::<ImageConfig>(text).unwrap().config.on_build, ["RUN make", ""]);
        for text in [r#"{"config":null}"#, r#"{"config":{"OnBuild":null}}"#, "{}"] {
            assert!(serde_json::from_str::<ImageConfig>(text).unwrap().config.on_build.is_empty());
            assert!(serde_json::from_str::<ImageConfig>(text).unwrap().config.labels.is_empty());
        }
    }

    #[test]
    fn steps_that_made_no_layer_are_skipped() {
        let text = r#"{"history":[{"created_by":"ADD"},{"created_by":"ENV","empty_layer":true},{"created_by":"RUN"}]}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.build_steps(2), [Some("ADD".to_owned()), Some("RUN".to_owned())]);
    }
}
