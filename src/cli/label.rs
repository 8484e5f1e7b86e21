//! `docker artifact label`: from its options to what the library does, and from what it did to what a person reads.

use std::sync::Arc;

use serde_json::{Value, json};

use super::access::{Location, tell_rate_limit};
use super::columns::{LABELLED, LABELLED_WITH_PLATFORM};
use super::failure::Failure;
use super::format::Format;
use super::options::{LabelOptions, Output};
use super::output::write_out;
use super::progress::Display;
use super::sanitize;
use crate::artifact::Error;
use crate::artifact::label::{Labelled, label, label_copy, label_in_engine};
use crate::image::digest::Digest;
use crate::image::label::{Mode, Name as ArtifactName, Record};
use crate::source::Source as _;
use crate::source::name::Name;
use crate::source::registry::pinned;
use crate::source::renamed::NewName;

/// Labels what `options` say, and prints what was asked to be printed.
pub async fn run(options: LabelOptions, display: Arc<Display>) -> Result<(), Failure> {
    let has_stdout = options.copy.as_deref() == Some("-".as_ref()) && !options.request.dry_run;
    let dry_run = options.request.dry_run;
    let output = options.output.clone();
    let (labelled, images) = perform(options, &display).await?;
    let text = match output {
        Output::Arguments => arguments(&labelled)?,
        Output::Digest => format!("{}\n", labelled.new),
        Output::Format(format) => format.render(&rows(&labelled, &images.after), false),
        Output::Table => table(&labelled, &images.after),
    };
    display.clear();
    if !has_stdout {
        write_out(&text).map_err(Failure::Output)?;
    }
    display.close(&summary(&labelled, &images, dry_run));
    Ok(())
}

/// An image before and after, each as it can be typed, with its digest.
struct Images {
    before: String,
    after: String,
    how: How,
}

/// How the result gets to where it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Pushed,
    Copied,
    Loaded,
}

/// Labels in the way that the place has: what is in a registry is pushed, of what is on this machine a copy is written.
async fn perform(options: LabelOptions, display: &Arc<Display>) -> Result<(Labelled, Images), Failure> {
    let LabelOptions { image, tag, copy, mut request, access, .. } = options;
    request.tables = access.cache.tables(true, &**display);
    if let Location::Named(Name::Registry { reference, .. }) = &image {
        let from = access.registry(reference, display.clone()).map_err(Error::from)?;
        let to = match &tag {
            Some(tag) => access.registry(tag, display.clone()).map_err(Error::from)?,
            None => Arc::clone(&from),
        };
        let names = (from.name(), to.name());
        let labelled = label(Arc::clone(&from), to, request, display.clone()).await?;
        tell_rate_limit(&*from);
        let (before, after) = (pinned(&names.0, Some(&labelled.old)), pinned(&names.1, Some(&labelled.new)));
        return Ok((labelled, Images { before, after, how: How::Pushed }));
    }
    let name = tag.as_deref().map(NewName::parse).transpose().map_err(Error::from)?;
    if let Location::Named(Name::Engine { reference }) = &image {
        let from = access.in_engine(reference, display.clone()).map_err(Error::from)?;
        let after = name.as_ref().map_or(reference.as_str(), NewName::short).to_owned();
        let labelled = label_in_engine(from, name, request, display.clone()).await?;
        let (before, after) = (format!("local://{reference}"), format!("local://{after}"));
        return Ok((labelled, Images { before, after, how: How::Loaded }));
    }
    let from = access.local(&image, display.clone()).await?;
    let labelled = label_copy(Arc::clone(&from), copy.clone(), name, request, display.clone()).await?;
    let after = match copy.as_deref().filter(|copy| *copy != "-") {
        Some(copy) if from.is_folder() => format!("oci-dir://{}@{}", copy.display(), labelled.new),
        Some(copy) => format!("archive://{}#{}", copy.display(), labelled.new),
        None => from.address(Some(&labelled.new)),
    };
    let before = from.address(Some(&labelled.old));
    Ok((labelled, Images { before, after, how: How::Copied }))
}

/// What was labelled; nothing where nothing is labelled any more.
fn table(labelled: &Labelled, image: &str) -> String {
    let rows = rows(labelled, image);
    if rows.is_empty() {
        return String::new();
    }
    let template = if labelled.images.len() > 1 { LABELLED_WITH_PLATFORM } else { "table" };
    // Both are well-formed.
    Format::parse(template, &LABELLED).map(|format| format.render(&rows, false)).unwrap_or_default()
}

fn rows(labelled: &Labelled, image: &str) -> Vec<Value> {
    let of_image = |platform: &str, (name, record): &(ArtifactName, Record)| {
        let (kind, mode, layers) = match record {
            Record::File { mode, layer, .. } => ("file", mode, vec![layer.to_string()]),
            Record::Directory { mode, layers, .. } => {
                ("directory", mode, layers.iter().map(ToString::to_string).collect())
            }
        };
        let Mode(bits) = mode;
        json!({
            "Name": name.as_str(),
            "Path": record.path(),
            "Type": kind,
            "Size": record.size(),
            "Mode": format!("{bits:04o}"),
            "Digest": record.digest(),
            "Layer": layers.join(","),
            "Platform": platform,
            "Image": image,
            "Label": record.to_label(),
        })
    };
    let images = labelled.images.iter();
    images.flat_map(|image| image.artifacts.iter().map(|artifact| of_image(&image.platform, artifact))).collect()
}

/// The labels as arguments that a shell hands on to `docker build` unchanged, in one line.
fn arguments(labelled: &Labelled) -> Result<String, Error> {
    let mut images = labelled.images.iter();
    let first = images.next().map(|image| image.artifacts.as_slice()).unwrap_or_default();
    if images.any(|image| image.artifacts != first) {
        let problem = "--print-args: the platforms have different labels, but one build gives all of them the same; \
                       label the pushed image instead";
        return Err(Error::Usage(problem.to_owned()));
    }
    let argument = |(name, record): &(ArtifactName, Record)| {
        // What a terminal would obey can only stand in a string, where JSON has another way to write it.
        let value = sanitize::json(&record.to_label());
        format!("--label {}", quoted(&format!("{}={value}", name.label_key())))
    };
    let arguments: Vec<String> = first.iter().map(argument).collect();
    Ok(if arguments.is_empty() { String::new() } else { format!("{}\n", arguments.join(" ")) })
}

/// One word of a POSIX shell (XCU section 2.2.2, *Single-Quotes*).
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The closing line: what the image was and what it is now.
fn summary(labelled: &Labelled, Images { before, after, how }: &Images, dry_run: bool) -> String {
    // The engine's IDs are no part of a name there.
    let shown = |image: &str, digest: &Digest| match how {
        How::Loaded => format!("{image} ({digest})"),
        How::Pushed | How::Copied => image.to_owned(),
    };
    let (old, new) = (shown(before, &labelled.old), shown(after, &labelled.new));
    let is_same = if *how == How::Copied { labelled.old == labelled.new } else { old == new };
    match (dry_run, labelled.pushed, is_same) {
        (false, true, true) if *how == How::Copied => format!("nothing changed: {new} is the same as {old}"),
        (true, _, true) => format!("{old} would stay as it is"),
        (true, _, false) => format!("{old} would become {new}"),
        (false, false, _) => format!("nothing changed: {new}"),
        (false, true, true) => format!("{old} stays as it is; its range index was attached"),
        (false, true, false) => format!("{old} -> {new}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::label::LabelledImage;
    use crate::image::digest::{ChainId, DiffId, Digest};

    fn record(path: &str) -> Record {
        Record::File {
            path: path.to_owned(),
            real: None,
            size: 1_048_576,
            mode: Mode(0o755),
            digest: Digest::of(b"tool"),
            layer: DiffId(Digest::of(b"layer")),
            offset: 512,
            chain: ChainId(Digest::of(b"chain")),
        }
    }

    fn labelled(paths: &[&str]) -> Labelled {
        let image = |path: &&str| LabelledImage {
            platform: "linux/amd64".to_owned(),
            artifacts: vec![("tool".parse().unwrap(), record(path))],
        };
        let images = paths.iter().map(image).collect();
        Labelled { old: Digest::of(b"old"), new: Digest::of(b"new"), configs: Vec::new(), images, pushed: true }
    }

    #[test]
    fn a_table_has_a_column_of_platforms_only_where_there_are_several() {
        let digest = Digest::of(b"tool");
        let short = digest.short();
        let expected = format!("NAME   PATH           SIZE   DIGEST\ntool   /bin/tool   1.05 MB   {short}\n");
        assert_eq!(table(&labelled(&["/bin/tool"]), "a:1"), expected);
        assert!(table(&labelled(&["/a", "/b"]), "a:1").starts_with("PLATFORM      NAME"));
        assert_eq!(table(&labelled(&[]), "a:1"), "");
        Format::parse("table", &LABELLED).unwrap();
        Format::parse(LABELLED_WITH_PLATFORM, &LABELLED).unwrap();
    }

    #[test]
    fn every_field_is_in_a_row() {
        let row = rows(&labelled(&["/bin/tool"]), "a:1").remove(0);
        assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), LABELLED.fields);
        assert_eq!(row["Image"], "a:1");
    }

    #[test]
    fn arguments_come_through_a_shell_unchanged_and_show_no_control_character() {
        let text = arguments(&labelled(&["/it's\u{7f}"])).unwrap();
        let value = text.strip_prefix("--label 'org.docker-artifact.tool=").unwrap().strip_suffix("'\n").unwrap();
        let value = value.replace("'\\''", "'");
        assert_eq!(serde_json::from_str::<Record>(&value).unwrap(), record("/it's\u{7f}"));
        assert!(!text.contains('\u{7f}'));
        assert!(arguments(&labelled(&["/a", "/a"])).is_ok());
        assert!(matches!(arguments(&labelled(&["/a", "/b"])), Err(Error::Usage(_))));
        assert_eq!(arguments(&labelled(&[])).unwrap(), "");
    }

    #[test]
    fn the_closing_line_says_what_became_of_the_image() {
        let (old, new) = (format!("a:1@{}", Digest::of(b"old")), format!("a:1@{}", Digest::of(b"new")));
        let images = |before: &str, after: &str, how| Images { before: before.into(), after: after.into(), how };
        let mut labelled = labelled(&["/x"]);
        assert_eq!(summary(&labelled, &images(&old, &new, How::Pushed), false), format!("{old} -> {new}"));
        assert_eq!(summary(&labelled, &images(&old, &new, How::Pushed), true), format!("{old} would become {new}"));
        assert_eq!(summary(&labelled, &images("x.tar", "y.tar", How::Copied), false), "x.tar -> y.tar");
        let loaded = format!("local://a:1 ({}) -> local://a:1 ({})", labelled.old, labelled.new);
        assert_eq!(summary(&labelled, &images("local://a:1", "local://a:1", How::Loaded), false), loaded);
        labelled.new = labelled.old.clone();
        assert_eq!(
            summary(&labelled, &images(&old, &old, How::Pushed), false),
            format!("{old} stays as it is; its range index was attached")
        );
        assert_eq!(summary(&labelled, &images(&old, &old, How::Pushed), true), format!("{old} would stay as it is"));
        assert_eq!(
            summary(&labelled, &images("x.tar", "y.tar", How::Copied), false),
            "nothing changed: y.tar is the same as x.tar"
        );
        labelled.pushed = false;
        assert_eq!(summary(&labelled, &images(&old, &old, How::Pushed), false), format!("nothing changed: {old}"));
    }
}
