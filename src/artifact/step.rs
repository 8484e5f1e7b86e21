//! One layer of an image, named by its place, its digest, or the build step that made it.

use super::error::Error;
use crate::image::digest::DiffId;
use crate::image::{Image, Layer, LayerPosition};

/// The fewest digits of a digest that name a layer.
const MIN_DIGITS: usize = 6;

/// Which layers are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The one at this place, counted from 1 at the bottom, or with this digest or diff ID, or the beginning of one.
    Layer(String),
    /// Those whose step, as the history has it, has this text in it.
    CreatedBy(String),
}

impl Step {
    /// The positions of the layers of `image` that are meant, the uppermost first; at least one. Messages call the
    /// image `name`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where there is none, and [`Error::History`] where steps cannot be told apart from layers.
    pub fn layers(&self, image: &Image, name: &str) -> Result<Vec<LayerPosition>, Error> {
        match self {
            Step::Layer(text) => by_place(text, image, name),
            Step::CreatedBy(text) => by_step(text, image, name),
        }
    }
}

fn by_place(text: &str, image: &Image, name: &str) -> Result<Vec<LayerPosition>, Error> {
    let missing = |hint: String| Error::NotFound { image: name.to_owned(), path: format!("layer {text}"), hint };
    let count = image.layers.len();
    if let Ok(number) = text.parse::<usize>()
        && text.len() < MIN_DIGITS
    {
        let index = number.checked_sub(1).filter(|index| *index < count);
        let hint = || format!("; it has {count}, and 1 is the lowest; see docker artifact ls --layers");
        return index.map(|index| vec![LayerPosition(index)]).ok_or_else(|| missing(hint()));
    }
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() < MIN_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let problem =
            format!("\"{}\" is neither a layer's number nor {MIN_DIGITS} digits of its digest", text.escape_debug());
        return Err(Error::Usage(problem));
    }
    let begins = |digest: &str| digest.split_once(':').is_some_and(|(_, hex)| hex.starts_with(digits));
    let fits = |layer: &&Layer| {
        let diff_id = layer.diff_id.as_ref().map(|DiffId(digest)| digest);
        layer.digest().into_iter().chain(diff_id).any(|digest| begins(digest.as_str()))
    };
    let found: Vec<&Layer> = image.layers.iter().rev().filter(fits).collect();
    // One that is there twice is the same both times.
    let is_same = |one: &Layer, other: &Layer| {
        (one.digest().is_some() && one.digest() == other.digest())
            || (one.diff_id.is_some() && one.diff_id == other.diff_id)
    };
    match found.as_slice() {
        [] => Err(missing("; see docker artifact ls --layers --no-trunc".to_owned())),
        [first, others @ ..] if others.iter().all(|other| is_same(first, other)) => Ok(vec![first.position()]),
        several => Err(Error::Ambiguous {
            what: digits.to_owned(),
            fits: format!("begins the digests of {} layers of {name}", several.len()),
            choices: several.iter().map(|layer| (layer.index + 1).to_string()).collect::<Vec<_>>().join(", "),
            hint: "name one by its number".to_owned(),
        }),
    }
}

fn by_step(text: &str, image: &Image, name: &str) -> Result<Vec<LayerPosition>, Error> {
    let steps = image.config.history.iter().filter(|step| !step.empty_layer).count();
    let layers = image.layers.len();
    if steps != layers {
        return Err(Error::History { image: name.to_owned(), steps, layers });
    }
    let fits = |layer: &&Layer| layer.created_by.as_ref().is_some_and(|step| step.contains(text));
    let found: Vec<LayerPosition> = image.layers.iter().rev().filter(fits).map(Layer::position).collect();
    if found.is_empty() {
        let is_empty_step = image.config.history.iter().any(|step| step.empty_layer && step.created_by.contains(text));
        let hint = match is_empty_step {
            true => "; only a step that made no layer has this text",
            false => "; see docker artifact ls --layers --no-trunc",
        };
        let path = format!("layer whose step has \"{}\" in it", text.escape_debug());
        return Err(Error::NotFound { image: name.to_owned(), path, hint: hint.to_owned() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Blob;
    use crate::image::config::{History, ImageConfig};
    use crate::image::digest::Digest;

    /// An image with a layer for each step that is not empty.
    fn image(steps: &[(&str, bool)]) -> Image {
        let mut config = ImageConfig::default();
        for (step, empty_layer) in steps {
            config.history.push(History { created_by: (*step).to_owned(), empty_layer: *empty_layer });
        }
        let layers = steps.iter().filter(|(_, is_empty)| !is_empty);
        let blob = |(step, _): &(&str, bool)| Blob { digest: Some(Digest::of(step.as_bytes())), ..Blob::default() };
        config.rootfs.diff_ids =
            layers.clone().map(|(step, _)| DiffId(Digest::of(step.to_uppercase().as_bytes()))).collect();
        Image::of_blobs(None, config, 0, layers.map(blob).collect()).unwrap()
    }

    #[test]
    fn a_layer_is_named_by_number_digest_or_diff_id() {
        let image = image(&[("add", false), ("env", true), ("run", false), ("add", false)]);
        let of = |text: &str| Step::Layer(text.to_owned()).layers(&image, "app");
        let digest = Digest::of(b"run");
        for (text, index) in [
            ("1", 0),
            ("3", 2),
            (digest.as_str(), 1),
            (&digest.as_str()["sha256:".len()..][..12], 1),
            (Digest::of(b"RUN").as_str(), 1),
            // There twice, and the same.
            (Digest::of(b"add").as_str(), 2),
        ] {
            assert_eq!(of(text).unwrap(), [LayerPosition(index)], "{text}");
        }
        for text in ["0", "4", "99999", &"0".repeat(64)] {
            assert!(matches!(of(text), Err(Error::NotFound { .. })), "{text}");
        }
        for text in ["", "x", "-1", "abc", "sha256:"] {
            assert!(matches!(of(text), Err(Error::Usage(_))), "{text}");
        }
    }

    #[test]
    fn digits_that_several_layers_digests_begin_with_name_none_of_them() {
        let mut image = image(&[("add", false), ("run", false), ("run", false)]);
        let digest = |end: char| format!("sha256:abcdef{}", end.to_string().repeat(58)).parse().unwrap();
        image.layers[0].blob.digest = Some(digest('0'));
        image.layers[2].blob.digest = Some(digest('1'));
        let error = Step::Layer("abcdef".to_owned()).layers(&image, "app").unwrap_err();
        assert!(matches!(error, Error::Ambiguous { .. }), "{error:?}");
        let text = "abcdef begins the digests of 2 layers of app: 3, 1; name one by its number";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_step_is_named_by_any_part_of_it_and_empty_ones_do_not_count() {
        let image = image(&[("ADD base", false), ("ENV A=make", true), ("RUN make", false), ("RUN make -o x", false)]);
        let of = |text: &str| Step::CreatedBy(text.to_owned()).layers(&image, "app");
        assert_eq!(of("base").unwrap(), [LayerPosition(0)]);
        assert_eq!(of("make").unwrap(), [LayerPosition(2), LayerPosition(1)]);
        assert_eq!(of("-o x").unwrap(), [LayerPosition(2)]);
        assert!(of("ENV").unwrap_err().to_string().ends_with("only a step that made no layer has this text"));
        assert!(matches!(of("nothing"), Err(Error::NotFound { .. })));
    }

    #[test]
    fn a_history_that_does_not_add_up_is_not_guessed_at() {
        let mut image = image(&[("ADD base", false), ("RUN make", false)]);
        image.config.history.remove(0);
        let error = Step::CreatedBy("make".to_owned()).layers(&image, "app").unwrap_err();
        assert!(matches!(error, Error::History { steps: 1, layers: 2, .. }), "{error}");
        assert_eq!(Step::Layer("2".to_owned()).layers(&image, "app").unwrap(), [LayerPosition(1)]);
    }
}
