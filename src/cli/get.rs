//! `docker artifact get`: from its options to what the library does, and from what it did to what a person reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::DecimalBytes;
use serde_json::{Value, json};

use super::access::tell_rate_limit;
use super::failure::Failure;
use super::options::GetOptions;
use super::output::write_out;
use super::progress::Display;
use super::sanitize;
use crate::artifact::Error;
use crate::artifact::get::{Fetched, Proof, Report, Request, Unverified, get};
use crate::extract::Destination;

/// Gets what `options` say, and prints what was asked to be printed.
pub async fn run(options: GetOptions, display: Arc<Display>) -> Result<(), Failure> {
    let begin = Instant::now();
    let destination = Destination::parse(options.output.as_deref()).map_err(Error::from)?;
    let source = options.access.open(&options.image, display.clone()).await?;
    let mistaken = mistaken_destination(&options);
    let request = Request {
        paths: options.paths,
        platform: options.platform,
        destination,
        parents: options.parents,
        dereference: options.dereference,
        verify: options.verify,
        preserve: options.preserve,
        digests: options.format.is_some(),
        trust_attached: options.trust_attached,
        tables: options.access.cache.tables(options.tables, &*display),
        step: options.step,
    };
    let platform = request.platform.clone();
    let advise = |error: Error| advise(error, options.parents, mistaken.as_deref()).for_platform(&platform);
    let report = get(Arc::clone(&source), request, display.clone()).await.map_err(advise)?;
    display.close(&summary(&report, begin.elapsed(), true));
    tell_rate_limit(&*source);
    match options.format {
        Some(format) => write_out(&format.render(&rows(&report), true)).map_err(Failure::Output),
        None => Ok(()),
    }
}

/// The last of several paths, where it could be a place on this machine, as it is with `cp`.
fn mistaken_destination(options: &GetOptions) -> Option<String> {
    let last = options.paths.last().filter(|_| options.paths.len() > 1 && options.output.is_none())?;
    String::from_utf8(last.clone()).ok().filter(|last| !last.starts_with('/'))
}

/// `error`, with what a flag of this command can do about it; `mistaken` is what could have been meant as a destination.
fn advise(mut error: Error, parents: bool, mistaken: Option<&str>) -> Error {
    match &mut error {
        Error::NotFound { path, hint, .. } => {
            let typed = path.strip_prefix("artifact ").unwrap_or(path);
            if let Some(place) = mistaken.filter(|place| *place == typed) {
                hint.push_str(&format!("; to write the others there, use -o {place}"));
            }
        }
        Error::Dangling { is_last: true, hint, .. } => hint.push_str("; --no-dereference gets the link"),
        Error::NotCovered { hint, .. } => hint.push_str(", or add --trust-attached"),
        Error::Clash { hint, .. } if !parents => hint.push_str("; --parents keeps their directories apart"),
        _ => {}
    }
    error
}

fn rows(report: &Report) -> Vec<Value> {
    report.files.iter().map(|file| row(file, &report.image)).collect()
}

fn row(file: &Fetched, image: &str) -> Value {
    json!({
        "Path": file.path,
        // A path that is not UTF-8 has no exact form in JSON.
        "Destination": file.destination.as_ref().map(|path| match path.to_str() {
            Some(path) => path.to_owned(),
            None => sanitize::for_terminal(path.as_os_str().as_encoded_bytes()),
        }),
        "Type": file.kind,
        "Size": file.size,
        "Mode": format!("{:04o}", file.mode),
        "Digest": file.digest,
        "Layer": file.layer,
        "Image": image,
        "Verified": file.is_verified(),
        "Proof": match file.proof {
            Proof::File => "file",
            Proof::Layer => "layer",
            Proof::Table => "table",
            Proof::Attached => "attached",
            Proof::Place => "place",
            Proof::Engine => "engine",
        },
    })
}

/// The closing line: what, from which digest, how much of the image that took, how long. `can_verify` says whether the command has
/// the flag `--verify`.
pub fn summary(report: &Report, took: Duration, can_verify: bool) -> String {
    let total = DecimalBytes(report.files.iter().map(|file| file.size).fold(0, u64::saturating_add));
    let what = match report.files.as_slice() {
        [file] if file.kind == "file" => format!("{} ({total})", file.path),
        [file] => file.path.clone(),
        files => format!("{} ({total})", count(files.iter().map(|file| file.kind))),
    };
    let (image, fetched, of) = (&report.image, DecimalBytes(report.fetched_bytes), DecimalBytes(report.image_bytes));
    let unverified: Vec<&Fetched> = report.files.iter().filter(|file| !file.is_verified()).collect();
    let why = why_not(&report.unverified, can_verify);
    let unverified = match unverified.as_slice() {
        [] => String::new(),
        all if all.len() == report.files.len() => format!("; {why}"),
        [one] => format!("; {} {why}", one.path),
        some => format!("; {} of {} {why}", some.len(), report.files.len()),
    };
    let by = |proof| report.files.iter().any(|file| file.proof == proof);
    let by_table = match () {
        () if by(Proof::Attached) => ", by a table attached to the image",
        () if by(Proof::Table) => ", by the image's own table",
        () => "",
    };
    format!("{what} from {image}: fetched {fetched} of {of} in {}{by_table}{unverified}", seconds(took))
}

/// What was not checked, and what to do about it.
fn why_not(unverified: &Unverified, can_verify: bool) -> String {
    match unverified {
        Unverified { was_asked: true, .. } => "not verified".to_owned(),
        Unverified { by_engine: true, .. } => {
            let hint = if can_verify { "; --verify checks the image's layers, and reads all of them" } else { "" };
            format!("not checked: this is what the engine gave{hint}")
        }
        Unverified { has_no_digest: true, .. } => {
            "not verified: the image has no digests of its layers to check them against".to_owned()
        }
        Unverified { layers, .. } => {
            let whose = if layers.len() == 1 { "layer's digest" } else { "layers' digests" };
            let bytes = DecimalBytes(layers.values().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)));
            let hint = if can_verify { format!("; --verify does, and reads {bytes}") } else { String::new() };
            format!("not checked against the {whose}{hint}")
        }
    }
}

/// Such as `3 files, 1 directory`.
fn count<'a>(kinds: impl Iterator<Item = &'a str> + Clone) -> String {
    let names = [
        ("file", "file", "files"),
        ("directory", "directory", "directories"),
        ("symlink", "link", "links"),
        ("special", "special file", "special files"),
    ];
    let counted =
        names.iter().filter_map(|(kind, one, many)| match kinds.clone().filter(|found| found == kind).count() {
            0 => None,
            1 => Some(format!("1 {one}")),
            number => Some(format!("{number} {many}")),
        });
    let text = counted.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "nothing".to_owned() } else { text }
}

fn seconds(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1} s", took.as_secs_f64()),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::columns::WRITTEN;
    use crate::image::LayerPosition;
    use crate::image::digest::Digest;

    fn report(kinds: &[&'static str], verified: bool) -> Report {
        let file = |kind: &&'static str| Fetched {
            path: format!("/bin/{kind}"),
            destination: None,
            kind,
            size: if *kind == "file" { 138_200 } else { 0 },
            mode: 0o755,
            digest: None,
            layer: None,
            proof: if verified { Proof::Layer } else { Proof::Place },
        };
        Report {
            image: format!("docker.io/library/debian:12@{}", Digest::of(b"")),
            files: kinds.iter().map(file).collect(),
            image_bytes: 48_500_000,
            fetched_bytes: 12_300_000,
            unverified: Unverified { was_asked: true, ..Unverified::default() },
        }
    }

    #[test]
    fn the_closing_line_says_what_whence_how_much_and_how_long() {
        let line = summary(&report(&["file"], true), Duration::from_millis(2140), true);
        let digest = Digest::of(b"");
        assert_eq!(
            line,
            format!(
                "/bin/file (138.20 kB) from docker.io/library/debian:12@{digest}: fetched 12.30 MB of 48.50 MB in 2.1 s"
            )
        );
        let mut told = report(&["file"], true);
        told.files[0].proof = Proof::Table;
        assert!(summary(&told, Duration::ZERO, true).ends_with(" of 48.50 MB in 0.0 s, by the image's own table"));
        let several = report(&["file", "directory", "file", "symlink"], false);
        let line = summary(&several, Duration::from_secs(61), true);
        assert!(line.starts_with("2 files, 1 directory, 1 link (276.40 kB) from "), "{line}");
        assert!(line.ends_with(" in 1 min 1 s; not verified"), "{line}");
    }

    #[test]
    fn every_field_is_in_a_row() {
        let rows = rows(&report(&["file", "symlink"], true));
        let fields: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
        assert_eq!(fields, WRITTEN.fields);
        assert_eq!((&rows[0]["Size"], &rows[0]["Mode"]), (&json!(138_200), &json!("0755")));
        assert_eq!(rows[1]["Digest"], Value::Null);
    }

    #[test]
    fn what_was_not_checked_is_said_with_what_checks_it() {
        let line = |unverified| {
            let report = Report { unverified, ..report(&["file"], false) };
            summary(&report, Duration::ZERO, true).split_once("; ").unwrap().1.to_owned()
        };
        let one = Unverified { layers: [(LayerPosition(0), 1_200_000_000)].into(), ..Unverified::default() };
        assert_eq!(line(one.clone()), "not checked against the layer's digest; --verify does, and reads 1.20 GB");
        let two = line(Unverified { layers: [(LayerPosition(0), 1), (LayerPosition(1), 2)].into(), ..one.clone() });
        assert!(two.starts_with("not checked against the layers' digests; --verify does"), "{two}");
        let engine = line(Unverified { by_engine: true, ..Unverified::default() });
        assert_eq!(
            engine,
            "not checked: this is what the engine gave; --verify checks the image's layers, and reads all of them"
        );
        let none = line(Unverified { has_no_digest: true, ..one });
        assert_eq!(none, "not verified: the image has no digests of its layers to check them against");
    }
}
